//! Signatures of every form that people make: accepted by the right Guard, denied by each wrong one.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use windlass_testkit::cosign::{Cosign, KeyKind, Layout, Line, Logged, Signing};
use windlass_testkit::referrers_registry::AnyRegistry;
use windlass_testkit::sigstore::Sigstore;

use super::{
    ALLOWED, DENIED, ISSUER, Image, REPOSITORY, SUBJECT, Setting, by_identity, by_key, keyless, push,
    signed_by, with,
};

const FORMS: [(Line, Layout); 4] = [
    (Line::Two, Layout::Legacy),
    (Line::Two, Layout::Bundle),
    (Line::Three, Layout::Legacy),
    (Line::Three, Layout::Bundle),
];

fn unlogged(authority: Value) -> Value {
    with(authority, "insecureIgnoreTlog", true)
}

#[tokio::test]
async fn a_signature_by_key_is_accepted_for_that_key_and_that_image() -> Result<()> {
    let setting = Setting::new().await?;
    for registry in AnyRegistry::both().await? {
        for (line, layout) in FORMS {
            for logged in [Logged::No, Logged::One] {
                let what = format!("{line:?} {layout:?} {logged:?}");
                let seed = what.replace(' ', "-");
                let (image, other) =
                    (push(&registry, &seed).await?, push(&registry, &format!("{seed}-")).await?);
                let sigstore = (logged == Logged::One).then_some(&setting.sigstore);
                let how = Signing { sigstore, logged, ..Signing::with_key(&setting.key, layout) };
                setting.cosign(line).sign(&image.name, &how).await?;

                let right = by_key(&setting.key)?;
                let lax = setting.ask(&image.name, unlogged(right.clone())).await?;
                lax.is(ALLOWED, &what)?;
                ensure!(lax.document["digest"] == image.digest, "{what}: {:#}", lax.document);
                let strict = setting.ask(&image.name, right).await?;
                strict.is(if logged == Logged::One { ALLOWED } else { DENIED }, &what)?;
                let stranger = unlogged(by_key(&setting.stranger)?);
                setting.ask(&image.name, stranger).await?.is(DENIED, &what)?;
                let nobody = by_identity(ISSUER, SUBJECT);
                setting.ask(&image.name, unlogged(nobody)).await?.is(DENIED, &what)?;
                let right = unlogged(by_key(&setting.key)?);
                setting.ask(&other.name, right).await?.is(DENIED, &what)?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_keyless_signature_is_accepted_for_its_identity_alone() -> Result<()> {
    let setting = Setting::new().await?;
    for registry in AnyRegistry::both().await? {
        for (line, layout) in FORMS {
            for stamped in [false, true] {
                let what = format!("{line:?}-{layout:?}-{stamped}");
                let image = push(&registry, &what).await?;
                let how = Signing { stamped, ..Signing::keyless(&setting.sigstore, ISSUER, SUBJECT, layout) };
                setting.cosign(line).sign(&image.name, &how).await?;
                identities(&setting, &image, &what).await?;
                let timestamped = with(by_identity(ISSUER, SUBJECT), "timestamps", "required");
                let wanted = if stamped { ALLOWED } else { DENIED };
                setting.ask(&image.name, timestamped).await?.is(wanted, &what)?;
            }
        }
        let image = push(&registry, "second-log").await?;
        let how = Signing {
            logged: Logged::Two,
            ..Signing::keyless(&setting.sigstore, ISSUER, SUBJECT, Layout::Bundle)
        };
        setting.three.sign(&image.name, &how).await?;
        identities(&setting, &image, "Rekor's second version").await?;
    }
    Ok(())
}

/// Every right and every wrong way to name [`SUBJECT`].
async fn identities(setting: &Setting, image: &Image, what: &str) -> Result<()> {
    let subject = |expression: &str| json!({"issuer": ISSUER, "subjectRegExp": expression});
    let right = [
        json!({"issuer": ISSUER, "subject": SUBJECT}),
        subject(r"https://ci\.example\.org/team/app/\.github/workflows/release\.yml@refs/heads/.*"),
        json!({"issuerRegExp": r"https://token\.example\.(org|com)", "subject": SUBJECT}),
    ];
    for identity in right {
        let what = format!("{what}: {identity}");
        setting.ask(&image.name, keyless(&identity)).await?.is(ALLOWED, &what)?;
    }
    let wrong = [
        json!({"issuer": ISSUER, "subject": "https://ci.example.org/team/other"}),
        json!({"issuer": "https://token.example.com", "subject": SUBJECT}),
        json!({"issuer": format!("{ISSUER}/"), "subject": SUBJECT}),
        subject("https://ci.example.org/team/app"),
        subject("https://CI.example.org/team/app/.*"),
        subject("team/app"),
    ];
    for identity in wrong {
        let what = format!("{what}: {identity}");
        setting.ask(&image.name, keyless(&identity)).await?.is(DENIED, &what)?;
    }
    let key = by_key(&setting.key)?;
    setting.ask(&image.name, key).await?.is(DENIED, what)
}

#[tokio::test]
async fn a_look_alike_is_refused_unless_the_expression_is_loosened_by_name() -> Result<()> {
    let (setting, [registry, _]) = (Setting::new().await?, AnyRegistry::both().await?);
    let image = push(&registry, "look-alike").await?;
    let evil = "https://evil.example/?https://ci.example.org/team/app/";
    let how = Signing::keyless(&setting.sigstore, ISSUER, evil, Layout::Bundle);
    setting.three.sign(&image.name, &how).await?;
    let expression = r"https://ci\.example\.org/team/app/";
    for (unanchored, wanted) in [(false, DENIED), (true, ALLOWED)] {
        let identity = json!({
            "issuer": ISSUER, "subjectRegExp": expression, "insecureUnanchored": unanchored,
        });
        setting.ask(&image.name, keyless(&identity)).await?.is(wanted, "look-alike")?;
    }
    Ok(())
}

#[tokio::test]
async fn another_trust_root_and_an_unlogged_certificate_are_refused() -> Result<()> {
    let (setting, [registry, _]) = (Setting::new().await?, AnyRegistry::both().await?);
    let elsewhere = Sigstore::start()?;
    for (line, layout) in FORMS {
        let what = format!("{line:?}-{layout:?}");
        let image = push(&registry, &what).await?;
        let how = Signing::keyless(&elsewhere, ISSUER, SUBJECT, layout);
        setting.cosign(line).sign(&image.name, &how).await?;
        setting.ask(&image.name, by_identity(ISSUER, SUBJECT)).await?.is(DENIED, &what)?;
    }
    setting.sigstore.fulcio.set_logged(false);
    let image = push(&registry, "unlogged").await?;
    let how = Signing::keyless(&setting.sigstore, ISSUER, SUBJECT, Layout::Bundle);
    setting.three.sign(&image.name, &how).await?;
    let right = by_identity(ISSUER, SUBJECT);
    setting.ask(&image.name, right.clone()).await?.is(DENIED, "an unlogged certificate")?;
    let lax = with(right, "insecureIgnoreSCT", true);
    setting.ask(&image.name, lax).await?.is(ALLOWED, "an unlogged certificate")
}

#[tokio::test]
async fn annotations_must_be_stated_by_the_signature() -> Result<()> {
    let setting = Setting::new().await?;
    for registry in AnyRegistry::both().await? {
        // cosign 2 leaves them out of bundles.
        for (line, layout) in FORMS.into_iter().filter(|form| *form != (Line::Two, Layout::Bundle)) {
            let what = format!("{line:?}-{layout:?}");
            let image = push(&registry, &what).await?;
            let annotations = [("stage", "release"), ("build", "42")];
            let how = Signing { annotations: &annotations, ..Signing::with_key(&setting.key, layout) };
            setting.cosign(line).sign(&image.name, &how).await?;
            let right = unlogged(by_key(&setting.key)?);
            for (wanted, status) in [
                (json!({"stage": "release"}), ALLOWED),
                (json!({"stage": "release", "build": "42"}), ALLOWED),
                (json!({"stage": "test"}), DENIED),
                (json!({"stage": "release", "approved": "yes"}), DENIED),
                (json!({"Stage": "release"}), DENIED),
            ] {
                let what = format!("{what}: {wanted}");
                let authority = with(right.clone(), "annotations", wanted);
                setting.ask(&image.name, authority).await?.is(status, &what)?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_kind_of_key_that_cosign_verifies_is_accepted() -> Result<()> {
    let (setting, [registry, _]) = (Setting::new().await?, AnyRegistry::both().await?);
    for kind in [KeyKind::P384, KeyKind::Rsa] {
        let key = setting.three.key_pair(kind, &format!("{kind:?}")).await?;
        for layout in [Layout::Legacy, Layout::Bundle] {
            let what = format!("{kind:?}-{layout:?}");
            let image = push(&registry, &what).await?;
            setting.three.sign(&image.name, &Signing::with_key(&key, layout)).await?;
            let right = unlogged(by_key(&key)?);
            setting.ask(&image.name, right).await?.is(ALLOWED, &what)?;
            let wrong = unlogged(by_key(&setting.key)?);
            setting.ask(&image.name, wrong).await?.is(DENIED, &what)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_signed_image_says_nothing_of_its_index_nor_an_index_of_its_images() -> Result<()> {
    let setting = Setting::new().await?;
    for registry in AnyRegistry::both().await? {
        for (line, layout) in FORMS {
            let seed = format!("{line:?}-{layout:?}");
            let index = registry.images().push_index(REPOSITORY, &seed, &seed, &["amd64", "arm64"]).await?;
            let name = |digest: &str| format!("{}/{REPOSITORY}@{digest}", registry.host());
            let manifest = registry.images().manifest(REPOSITORY, &index).await?.1;
            let manifest: Value = serde_json::from_slice(&manifest)?;
            let child = |at: usize| manifest["manifests"][at]["digest"].as_str().context("an image's digest");
            let right = unlogged(by_key(&setting.key)?);
            let how = Signing::with_key(&setting.key, layout);
            setting.cosign(line).sign(&name(child(0)?), &how).await?;
            setting.ask(&name(&index), right.clone()).await?.is(DENIED, "the index of a signed image")?;
            setting.ask(&name(child(0)?), right.clone()).await?.is(ALLOWED, "the signed image")?;
            setting.cosign(line).sign(&name(&index), &how).await?;
            setting.ask(&name(&index), right.clone()).await?.is(ALLOWED, "the signed index")?;
            setting.ask(&name(child(1)?), right).await?.is(DENIED, "an image of a signed index")?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn signers_are_counted_and_not_signatures() -> Result<()> {
    let (setting, [registry, _]) = (Setting::new().await?, AnyRegistry::both().await?);
    let image = push(&registry, "twice").await?;
    for (line, layout) in FORMS {
        setting.cosign(line).sign(&image.name, &Signing::with_key(&setting.key, layout)).await?;
    }
    let first = unlogged(with(by_key(&setting.key)?, "name", "first"));
    let again = with(first.clone(), "name", "again");
    let second = unlogged(with(by_key(&setting.stranger)?, "name", "second"));
    let mut spec = signed_by(&[first, again, second]);
    spec["require"]["signatures"]["minimum"] = json!(2);
    setting.ask_for(&image.name, &spec).await?.is(DENIED, "one signer")?;
    setting.three.sign(&image.name, &Signing::with_key(&setting.stranger, Layout::Bundle)).await?;
    setting.ask_for(&image.name, &spec).await?.is(ALLOWED, "two signers")
}

#[tokio::test]
async fn cosigns_own_arguments_are_understood() -> Result<()> {
    let (setting, [registry, _]) = (Setting::new().await?, AnyRegistry::both().await?);
    let image = push(&registry, "arguments").await?;
    let how = Signing::keyless(&setting.sigstore, ISSUER, SUBJECT, Layout::Bundle);
    setting.three.sign(&image.name, &how).await?;
    setting.two.sign(&image.name, &Signing::with_key(&setting.key, Layout::Legacy)).await?;
    let root = setting.sigstore.trusted_root_file().display().to_string();
    let key = setting.key.public.display().to_string();
    let tag = format!("{}/{REPOSITORY}:arguments", registry.host());
    for (arguments, wanted) in [
        (
            vec![
                "--certificate-identity",
                SUBJECT,
                "--certificate-oidc-issuer",
                ISSUER,
                "--trusted-root",
                &root,
            ],
            ALLOWED,
        ),
        (vec!["--certificate-identity", SUBJECT, "--certificate-oidc-issuer", ISSUER], DENIED),
        (vec!["--key", &key, "--insecure-ignore-tlog"], ALLOWED),
        (vec!["--key", &key], DENIED),
    ] {
        for image in [image.name.as_str(), tag.as_str()] {
            let what = format!("{image} {arguments:?}");
            let all: Vec<&str> = [image].into_iter().chain(arguments.iter().copied()).collect();
            super::verify(&all).await?.is(wanted, &what)?;
        }
    }
    // What they mean, cosign says too.
    let accepted: Result<()> = Cosign::new(Line::Three)?
        .verify(
            &image.name,
            Some(&setting.sigstore),
            &["--certificate-identity", SUBJECT, "--certificate-oidc-issuer", ISSUER],
        )
        .await;
    accepted
}
