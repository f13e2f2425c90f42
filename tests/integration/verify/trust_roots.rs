//! Trust roots from a TUF repository, by arguments and by a Guard.

use std::ffi::OsString;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use windlass_testkit::cosign::{Layout, Line, Signing};
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::http_server::{Canned, client};
use windlass_testkit::referrers_registry::{AnyRegistry, ReferrersRegistry};
use windlass_testkit::sigstore::Sigstore;
use windlass_testkit::traffic::Match;
use windlass_testkit::tuf::TufRepository;
use windlass_testkit::windlass::command;

use super::{
    ALLOWED, DENIED, ISSUER, REPOSITORY, SUBJECT, Setting, UNKNOWN, keyless, push, signed_by, verify, with,
};

fn by_tuf(tuf: &Value) -> Value {
    with(keyless(&json!({"issuer": ISSUER, "subject": SUBJECT})), "trustRoot", json!({"tuf": tuf}))
}

#[tokio::test]
async fn an_image_is_verified_by_the_trust_root_of_a_mirror_and_of_a_folder() -> Result<()> {
    let setting = Setting::new().await?;
    let registry = AnyRegistry::WithReferrers(ReferrersRegistry::start().await?);
    let image = push(&registry, "tuf").await?;
    let how = Signing::keyless(&setting.sigstore, ISSUER, SUBJECT, Layout::Bundle);
    setting.cosign(Line::Three).sign(&image.name, &how).await?;
    let mut repository = TufRepository::start(&setting.sigstore.trusted_root().to_string())?;
    let (folder, url) = (fresh(Storage::Memory)?, repository.url());
    let root = folder.path().join("root.json");
    std::fs::write(&root, repository.first_root())?;
    let (root, cache) = (root.display().to_string(), folder.path().join("cache").display().to_string());
    let arguments = [
        &image.name,
        "--certificate-identity",
        SUBJECT,
        "--certificate-oidc-issuer",
        ISSUER,
        "--tuf-mirror",
        &url,
        "--tuf-root",
        &root,
        "--allow-http-mirror",
    ];
    let ask = async |more: &[&str]| verify(&[&arguments[..], more].concat()).await;
    let answer = ask(&[]).await?;
    answer.is(ALLOWED, "a mirror")?;
    let hash = answer.document["evidence"][0]["trustRoot"].as_str().map(str::len);
    ensure!(hash == Some(64), "{:#}", answer.document);

    let offline = ["--tuf-cache", &cache, "--tuf-offline"];
    ask(&offline).await?.is(UNKNOWN, "a folder that holds nothing")?;
    ask(&["--tuf-cache", &cache]).await?.is(ALLOWED, "a folder that is filled")?;
    let outage = repository.traffic().answer(Match::any(), Canned::status(503));
    ask(&offline).await?.is(ALLOWED, "a folder")?;
    ask(&["--tuf-cache", &cache]).await?.is(ALLOWED, "a mirror that is down, and a folder")?;
    let unreachable = ask(&[]).await?;
    unreachable.is(UNKNOWN, "a mirror that is down")?;
    ensure!(unreachable.document.to_string().contains("503"), "{:#}", unreachable.document);
    outage.lift();

    let tuf = json!({"mirror": url, "insecureHTTP": true, "root": {"json": repository.first_root()}});
    let by_guard = signed_by(&[by_tuf(&tuf)]);
    setting.ask_for(&image.name, &by_guard).await?.is(ALLOWED, "a Guard")?;
    let no_root = json!({"mirror": url, "insecureHTTP": true, "root": {"json": "{}"}});
    let broken = setting.ask_for(&image.name, &signed_by(&[by_tuf(&no_root)])).await?;
    broken.is(UNKNOWN, "a first root that is none")?;
    ensure!(broken.errors.contains("first root"), "{}", broken.errors);
    repository.publish(&Sigstore::start()?.trusted_root().to_string());
    setting.ask_for(&image.name, &by_guard).await?.is(DENIED, "another trust root")?;
    Ok(())
}

#[tokio::test]
async fn a_mirror_needs_its_first_root_and_plain_http_has_to_be_allowed() -> Result<()> {
    let image = format!("localhost:1/a@sha256:{}", "0".repeat(64));
    for (arguments, why) in [
        (&["--tuf-mirror", "https://tuf.example"][..], "give --tuf-root"),
        (&["--tuf-mirror", "http://tuf.example"], "must be an https URL"),
        (&["--tuf-mirror", "https://tuf.example", "--tuf-offline"], "--tuf-cache"),
        (&["--tuf-root", "root.json"], "--tuf-mirror"),
        (&["--tuf-mirror", "https://tuf.example", "--trusted-root", "root.json"], "cannot be used with"),
    ] {
        let identity = ["--certificate-identity", SUBJECT, "--certificate-oidc-issuer", ISSUER];
        let answer = verify(&[&[image.as_str()][..], &identity, arguments].concat()).await?;
        ensure!(answer.status == 2 && answer.errors.contains(why), "{arguments:?}: {}", answer.errors);
    }
    let answer = verify(&[&image, "--guard", "guard.yaml", "--tuf-mirror", "https://tuf.example"]).await?;
    ensure!(answer.status == 2 && answer.errors.contains("cannot be used with"), "{}", answer.errors);
    Ok(())
}

/// The bundle that refers to an image.
async fn bundle(registry: &AnyRegistry, digest: &str) -> Result<Vec<u8>> {
    let client = client()?;
    let get = async |path: String| -> Result<Vec<u8>> {
        let url = format!("{}/v2/{REPOSITORY}/{path}", registry.url());
        let accept =
            "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*";
        let answer = client.get(url).header("accept", accept).send().await?.error_for_status()?;
        Ok(answer.bytes().await?.to_vec())
    };
    let part = |json: &[u8], pointer: &str| -> Result<String> {
        let json: Value = serde_json::from_slice(json)?;
        json.pointer(pointer).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("{json:#}"))
    };
    let referrer = part(&get(format!("referrers/{digest}")).await?, "/manifests/0/digest")?;
    let layer = part(&get(format!("manifests/{referrer}")).await?, "/layers/0/digest")?;
    get(format!("blobs/{layer}")).await
}

#[tokio::test]
async fn a_bundle_is_verified_by_the_trust_root_of_a_mirror() -> Result<()> {
    let setting = Setting::new().await?;
    let registry = AnyRegistry::WithReferrers(ReferrersRegistry::start().await?);
    let image = push(&registry, "bundle").await?;
    let how = Signing::keyless(&setting.sigstore, ISSUER, SUBJECT, Layout::Bundle);
    setting.cosign(Line::Three).sign(&image.name, &how).await?;
    let mut repository = TufRepository::start(&setting.sigstore.trusted_root().to_string())?;
    let (file, root) = (setting.folder.path().join("bundle.json"), setting.folder.path().join("root.json"));
    std::fs::write(&file, bundle(&registry, &image.digest).await?)?;
    std::fs::write(&root, repository.first_root())?;
    let (file, root, url) = (file.display().to_string(), root.display().to_string(), repository.url());
    let arguments = [
        "verify-bundle",
        "--bundle",
        &file,
        "--certificate-identity",
        SUBJECT,
        "--certificate-oidc-issuer",
        ISSUER,
        "--tuf-mirror",
        &url,
        "--tuf-root",
        &root,
        "--allow-http-mirror",
        &image.digest,
    ];
    let ask = async || command(&arguments.map(OsString::from)).await;
    let good = ask().await?;
    ensure!(good.status.code() == Some(0), "{good:?}");
    repository.publish(&Sigstore::start()?.trusted_root().to_string());
    let other = ask().await?;
    ensure!(other.status.code() == Some(1), "{other:?}");
    let _outage = repository.traffic().answer(Match::any(), Canned::status(503));
    let down = ask().await?;
    ensure!(down.status.code() == Some(2) && String::from_utf8(down.stderr)?.contains("503"), "it is told");
    Ok(())
}

#[tokio::test]
async fn a_folder_is_prepared_for_guards_that_are_not_to_ask() -> Result<()> {
    let setting = Setting::new().await?;
    let repository = TufRepository::start(&setting.sigstore.trusted_root().to_string())?;
    let tuf = json!({
        "mirror": repository.url(), "insecureHTTP": true, "offline": true, "root": {"json": repository.first_root()},
    });
    let guard = setting.guard(&signed_by(&[by_tuf(&tuf)]))?;
    let into = setting.folder.path().join("trust-roots");
    let arguments =
        ["trust-roots", "--config", &guard.display().to_string(), "--into", &into.display().to_string()];
    let prepare = async || command(&arguments.map(OsString::from)).await;
    let table = prepare().await?;
    ensure!(table.status.success(), "{table:?}");
    let table = String::from_utf8(table.stdout)?;
    ensure!(table.contains("MIRROR") && table.contains("2040-01-01T00:00:00Z"), "{table}");

    let registry = AnyRegistry::WithReferrers(ReferrersRegistry::start().await?);
    let image = push(&registry, "prepared").await?;
    let how = Signing::keyless(&setting.sigstore, ISSUER, SUBJECT, Layout::Bundle);
    setting.cosign(Line::Three).sign(&image.name, &how).await?;
    let guard = guard.display().to_string();
    let (mark, cache) = (repository.traffic().mark(), into.display().to_string());
    verify(&[&image.name, "--guard", &guard]).await?.is(UNKNOWN, "no folder")?;
    verify(&[&image.name, "--guard", &guard, "--tuf-cache", &cache]).await?.is(ALLOWED, "the folder")?;
    ensure!(repository.traffic().mark() == mark, "nobody was asked");

    let outage = repository.traffic().answer(Match::any(), Canned::status(503));
    let failed = prepare().await?;
    ensure!(failed.status.code() == Some(1), "{failed:?}");
    ensure!(String::from_utf8(failed.stdout)?.contains("503"));
    outage.lift();
    Ok(())
}
