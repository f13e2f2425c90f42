//! Signatures in wrong places and wrong clothes: referrers and tags that lie about what they are, another repository,
//! and one signer in several forms.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use windlass_testkit::cosign::{Layout, Line, Signing};
use windlass_testkit::evidence::{
    BUNDLE, Layer, SIGNATURE, SIMPLE_SIGNING, attestation_tag, layers, only_bundle, put_layers, put_referrer,
    signature_tag,
};
use windlass_testkit::http_fault::Proxy;
use windlass_testkit::image::{INDEX, MANIFEST, Pusher, descriptor};
use windlass_testkit::referrers_registry::AnyRegistry;
use windlass_testkit::registry::{PASSWORD, Registry, RegistryOptions, USER};

use super::{
    ALLOWED, DENIED, ISSUER, Image, REPOSITORY, SUBJECT, Setting, UNKNOWN, by_identity, by_key, push,
    push_to, signed_by, verify, with,
};

const SIGNATURES: &str = "team/signatures";

fn unlogged(authority: Value) -> Value {
    with(authority, "insecureIgnoreTlog", true)
}

/// A referrer of the image with these layers, of this type.
async fn refer(
    images: &Pusher,
    image: &Image,
    artifact_type: &str,
    layers: &[(&str, &[u8], Value)],
) -> Result<()> {
    let (media_type, bytes) = images.manifest(REPOSITORY, &image.digest).await?;
    images.put_blob(REPOSITORY, b"{}".as_slice()).await?;
    let mut descriptors = Vec::new();
    for (media_type, content, annotations) in layers {
        images.put_blob(REPOSITORY, content.to_vec()).await?;
        let mut entry = descriptor(media_type, content);
        entry["annotations"] = annotations.clone();
        descriptors.push(entry);
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": artifact_type,
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": descriptors,
        "subject": descriptor(&media_type, &bytes),
    });
    put_referrer(images, REPOSITORY, &image.digest, manifest.to_string().into_bytes()).await.map(drop)
}

#[tokio::test]
async fn a_type_that_lies_makes_no_signature() -> Result<()> {
    let setting = Setting::new().await?;
    let key = unlogged(by_key(&setting.key)?);
    for registry in AnyRegistry::both().await? {
        let images = registry.images();
        let (signed, victim) = (push(&registry, "typed").await?, push(&registry, "typed-victim").await?);
        for (line, layout) in [(Line::Two, Layout::Legacy), (Line::Three, Layout::Bundle)] {
            setting.cosign(line).sign(&signed.name, &Signing::with_key(&setting.key, layout)).await?;
        }
        let bundle = only_bundle(images, REPOSITORY, &signed.digest).await?;
        let legacy = layers(images, REPOSITORY, &signature_tag(&signed.digest)).await?.remove(0);
        let (payload, stated) = (legacy.content.as_slice(), legacy.annotations.clone());
        let legacy_type = "application/vnd.dev.cosign.artifact.sig.v1+json";
        for (artifact_type, layer) in [
            (legacy_type, (SIMPLE_SIGNING, payload, stated.clone())),
            (BUNDLE, (SIMPLE_SIGNING, payload, stated.clone())),
            (BUNDLE, (BUNDLE, payload, stated.clone())),
            (legacy_type, (SIMPLE_SIGNING, bundle.as_slice(), stated.clone())),
            (BUNDLE, ("application/vnd.dsse.envelope.v1+json", bundle.as_slice(), json!({}))),
            (BUNDLE, (MANIFEST, bundle.as_slice(), json!({}))),
        ] {
            let what = format!("{artifact_type} with {}", layer.0);
            refer(images, &victim, artifact_type, &[layer]).await?;
            setting.ask(&victim.name, key.clone()).await?.is(DENIED, &what)?;
        }
        // Layers under each other's tag are what they say they are, and nothing more.
        put_layers(images, REPOSITORY, &attestation_tag(&victim.digest), std::slice::from_ref(&legacy))
            .await?;
        setting.ask(&victim.name, key.clone()).await?.is(DENIED, "a signature of another image as `.att`")?;
        setting.ask(&signed.name, key.clone()).await?.is(ALLOWED, "the signed image")?;
    }
    Ok(())
}

/// One blob may be many layers; each is judged with its own annotations, and none lends another anything.
#[tokio::test]
async fn layers_of_one_content_are_judged_alone() -> Result<()> {
    let (setting, [registry, _]) = (Setting::new().await?, AnyRegistry::both().await?);
    let key = unlogged(by_key(&setting.key)?);
    let image = push(&registry, "layers").await?;
    setting.two.sign(&image.name, &Signing::with_key(&setting.key, Layout::Legacy)).await?;
    let tag = signature_tag(&image.digest);
    let good = layers(registry.images(), REPOSITORY, &tag).await?.remove(0);
    let without = Layer { annotations: json!({}), ..good.clone() };
    let mut foreign = good.clone();
    foreign.annotations[SIGNATURE] = json!("MEUCIQ==");
    for (layers, wanted) in [
        (vec![without.clone(), foreign.clone(), without.clone()], DENIED),
        (vec![foreign.clone(), good.clone(), without.clone()], ALLOWED),
        (vec![good.clone(), good.clone(), foreign], ALLOWED),
    ] {
        put_layers(registry.images(), REPOSITORY, &tag, &layers).await?;
        setting.ask(&image.name, key.clone()).await?.is(wanted, &format!("{} layers", layers.len()))?;
    }
    let mut two = signed_by(&[key]);
    two["require"]["signatures"]["minimum"] = json!(2);
    setting.ask_for(&image.name, &two).await?.is_not_allowed("one signature in two layers")
}

/// GHSA-9vcr-p3rj-q5q6: two certificates of one identity are one signer.
#[tokio::test]
async fn an_identity_counts_once_however_often_it_signs() -> Result<()> {
    let (setting, [_, registry]) = (Setting::new().await?, AnyRegistry::both().await?);
    let image = push(&registry, "identities").await?;
    let second = "https://ci.example.org/team/other";
    for (line, layout) in
        [(Line::Two, Layout::Legacy), (Line::Three, Layout::Bundle), (Line::Three, Layout::Bundle)]
    {
        let how = Signing::keyless(&setting.sigstore, ISSUER, SUBJECT, layout);
        setting.cosign(line).sign(&image.name, &how).await?;
    }
    let named = |name: &str, subject| with(by_identity(ISSUER, subject), "name", name);
    let mut spec = signed_by(&[named("first", SUBJECT), named("again", SUBJECT), named("second", second)]);
    spec["require"]["signatures"]["minimum"] = json!(2);
    setting.ask_for(&image.name, &spec).await?.is(DENIED, "one identity, three certificates")?;
    let how = Signing::keyless(&setting.sigstore, ISSUER, second, Layout::Bundle);
    setting.three.sign(&image.name, &how).await?;
    setting.ask_for(&image.name, &spec).await?.is(ALLOWED, "two identities")
}

#[tokio::test]
async fn signatures_in_another_repository_are_read_there_and_nowhere_else() -> Result<()> {
    let setting = Setting::new().await?;
    for registry in AnyRegistry::both().await? {
        let images = registry.images();
        let (image, other) = (push(&registry, "apart").await?, push(&registry, "apart-other").await?);
        for image in [&image, &other] {
            setting.two.sign(&image.name, &Signing::with_key(&setting.key, Layout::Legacy)).await?;
        }
        let source = json!({"repository": format!("{}/{SIGNATURES}", registry.host())});
        let apart = with(unlogged(by_key(&setting.key)?), "source", source);
        setting.ask(&image.name, apart.clone()).await?.is(DENIED, "a signature beside the image alone")?;
        let tag = signature_tag(&image.digest);
        let foreign = layers(images, REPOSITORY, &signature_tag(&other.digest)).await?;
        put_layers(images, SIGNATURES, &tag, &foreign).await?;
        setting.ask(&image.name, apart.clone()).await?.is(DENIED, "another image's signature there")?;
        let good = layers(images, REPOSITORY, &tag).await?;
        put_layers(images, SIGNATURES, &tag, &good).await?;
        setting.ask(&image.name, apart.clone()).await?.is(ALLOWED, "the signature there")?;
        setting.ask(&other.name, apart).await?.is(DENIED, "an image that has none there")?;
    }
    Ok(())
}

#[tokio::test]
async fn another_registry_of_signatures_gets_no_credentials_and_its_silence_is_unknown() -> Result<()> {
    let setting = Setting::new().await?;
    let registry =
        Registry::start(RegistryOptions { authentication: true, ..RegistryOptions::default() }).await?;
    let (proxy, elsewhere) = (Proxy::start(registry.url())?, Proxy::start(registry.url())?);
    let image = push_to(&proxy.host(), registry.images(), "apart").await?;
    let config = setting.folder.path().join("docker.json");
    let entry = json!({"username": USER, "password": PASSWORD});
    std::fs::write(&config, json!({"auths": {proxy.host(): entry}}).to_string())?;
    let config = config.display().to_string();
    let source = json!({"repository": format!("{}/{SIGNATURES}", elsewhere.host())});
    let apart = with(unlogged(by_key(&setting.key)?), "source", source);
    let guard = setting.guard(&signed_by(&[apart]))?.display().to_string();
    verify(&[&image.name, "--guard", &guard, "--docker-config", &config]).await?.is(UNKNOWN, "401 there")?;
    let asked = elsewhere.traffic().exchanges();
    ensure!(!asked.is_empty(), "nobody looked there");
    let told = asked.iter().any(|exchange| exchange.head.headers.contains_key("authorization"));
    ensure!(!told, "credentials went to another host");
    Ok(())
}

/// A list under the fallback tag is anybody's: what it says of size, type and order counts for nothing.
#[tokio::test]
async fn a_list_of_referrers_that_lies_adds_nothing_and_hides_nothing_it_names() -> Result<()> {
    let (setting, [plain, _]) = (Setting::new().await?, AnyRegistry::both().await?);
    let key = unlogged(by_key(&setting.key)?);
    let images = plain.images();
    let (signed, victim) = (push(&plain, "listed").await?, push(&plain, "listed-victim").await?);
    setting.three.sign(&signed.name, &Signing::with_key(&setting.key, Layout::Bundle)).await?;
    let listed = images.referrers(REPOSITORY, &signed.digest).await?;
    let good = listed.first().context("a referrer")?;
    let put = async |image: &Image, entries: Value| -> Result<()> {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string();
        let tag = image.digest.replace(':', "-");
        images.put_manifest(REPOSITORY, &tag, INDEX, index.into_bytes()).await.map(drop)
    };
    let edited = |name: &str, value: Value| {
        let mut entry = good.clone();
        entry[name] = value;
        entry
    };
    for entries in [
        json!([good]),
        json!([edited("annotations", json!({"org.opencontainers.image.ref.name": victim.digest}))]),
        json!([edited("artifactType", json!("application/vnd.oci.empty.v1+json"))]),
    ] {
        put(&victim, entries.clone()).await?;
        setting.ask(&victim.name, key.clone()).await?.is(DENIED, &entries.to_string())?;
    }
    for entries in [json!([edited("size", json!(1))]), json!([good, good, good])] {
        put(&signed, entries.clone()).await?;
        setting.ask(&signed.name, key.clone()).await?.is(ALLOWED, &entries.to_string())?;
    }
    Ok(())
}
