//! Registries that lie, stall, flood and refuse: never allowed what nobody signed, never unsigned what was not read, with
//! bounded memory and in the deadline.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use windlass_testkit::cosign::{Layout, Line, Signing};
use windlass_testkit::evidence::{layers, only_bundle, signature_tag};
use windlass_testkit::hostile::{blob, blobs, legacy_signatures, referrers, signature_paths};
use windlass_testkit::http_fault::Proxy;
use windlass_testkit::http_server::Canned;
use windlass_testkit::image::{INDEX, MANIFEST, digest_of};
use windlass_testkit::referrers_registry::AnyRegistry;
use windlass_testkit::registry::{PASSWORD, Registry, RegistryOptions, USER};
use windlass_testkit::traffic::{Fault, Match, Point};

use super::{ALLOWED, Answer, DENIED, Image, REPOSITORY, Setting, UNKNOWN, by_key, push_to, verify, with};

const BYTES: &str = "application/octet-stream";
/// More than any limit, and more than may be in memory.
const BOMB: usize = 512 << 20;

/// A registry behind a proxy, with an image that is signed in both forms and one that is not signed.
struct Scene {
    setting: Setting,
    registry: AnyRegistry,
    proxy: Proxy,
    authority: Value,
    signed: Image,
    unsigned: Image,
}

impl Scene {
    async fn both() -> Result<Vec<Self>> {
        let mut scenes = Vec::new();
        for registry in AnyRegistry::both().await? {
            let (setting, proxy) = (Setting::new().await?, Proxy::start(registry.url())?);
            let authority = with(by_key(&setting.key)?, "insecureIgnoreTlog", true);
            let signed = push_to(&proxy.host(), registry.images(), "signed").await?;
            let unsigned = push_to(&proxy.host(), registry.images(), "unsigned").await?;
            let direct = format!("{}/{REPOSITORY}@{}", registry.host(), signed.digest);
            for (line, layout) in [(Line::Two, Layout::Legacy), (Line::Three, Layout::Bundle)] {
                setting.cosign(line).sign(&direct, &Signing::with_key(&setting.key, layout)).await?;
            }
            scenes.push(Self { setting, registry, proxy, authority, signed, unsigned });
        }
        Ok(scenes)
    }

    async fn ask(&self, image: &str) -> Result<Answer> {
        self.setting.ask(image, self.authority.clone()).await
    }

    fn tagged(&self, tag: &str) -> String {
        format!("{}/{REPOSITORY}:{tag}", self.proxy.host())
    }

    /// While the fault lasts, the unsigned image is not allowed and nothing is called unsigned; afterwards everything is
    /// as before.
    async fn is_unknown(&self, what: &str, faults: Vec<Fault>) -> Result<()> {
        for image in [&self.unsigned, &self.signed] {
            self.ask(&image.name).await?.is(UNKNOWN, what)?;
        }
        ensure!(faults.iter().any(|fault| fault.hits() > 0), "{what}: nobody met the fault");
        drop(faults);
        self.ask(&self.signed.name).await?.is(ALLOWED, what)?;
        self.ask(&self.unsigned.name).await?.is(DENIED, what)
    }
}

#[tokio::test]
async fn a_tag_that_flips_never_gets_the_verdict_of_another_digest() -> Result<()> {
    for scene in Scene::both().await? {
        let images = scene.registry.images();
        let manifests = vec![
            images.manifest(REPOSITORY, &scene.signed.digest).await?,
            images.manifest(REPOSITORY, &scene.unsigned.digest).await?,
        ];
        let flips = scene.proxy.flipping("signed", manifests);
        for round in 0..4 {
            let answer = scene.ask(&scene.tagged("signed")).await?;
            let wanted = if answer.document["digest"] == scene.signed.digest { ALLOWED } else { DENIED };
            answer.is(wanted, &format!("round {round}"))?;
        }
        ensure!(flips.hits() >= 4, "the tag was read {} times", flips.hits());
    }
    Ok(())
}

#[tokio::test]
async fn a_digest_in_a_header_is_not_believed() -> Result<()> {
    for scene in Scene::both().await? {
        let (media_type, bytes) =
            scene.registry.images().manifest(REPOSITORY, &scene.unsigned.digest).await?;
        let lie = scene.proxy.lying("signed", &media_type, bytes.clone(), &scene.signed.digest);
        let answer = scene.ask(&scene.tagged("signed")).await?;
        ensure!(answer.status != ALLOWED, "{answer:?}");
        ensure!(answer.document["digest"] != scene.signed.digest, "{answer:?}");
        lie.lift();
        // Evidence that is not what its digest says.
        let tag = signature_tag(&scene.signed.digest);
        let layer = layers(scene.registry.images(), REPOSITORY, &tag).await?.remove(0);
        let bundle = only_bundle(scene.registry.images(), REPOSITORY, &scene.signed.digest).await?;
        let swapped = [
            scene.proxy.swapped_blob(&digest_of(&layer.content), bundle.clone()),
            scene.proxy.swapped_blob(&digest_of(&bundle), b"{}".to_vec()),
        ];
        let answer = scene.ask(&scene.signed.name).await?;
        answer.is_not_allowed("swapped blobs")?;
        ensure!(swapped.iter().all(|fault| fault.hits() > 0), "nobody read the blobs");
    }
    Ok(())
}

#[tokio::test]
async fn refusals_on_signature_paths_alone_are_unknown() -> Result<()> {
    for scene in Scene::both().await? {
        for status in [401, 403, 429, 500, 503] {
            let faults = [&scene.signed, &scene.unsigned]
                .map(|image| scene.proxy.refusing(signature_paths(&image.digest), status));
            scene.is_unknown(&format!("status {status}"), faults.into()).await?;
        }
        let dropped = [&scene.signed, &scene.unsigned]
            .map(|image| scene.proxy.traffic().disconnect(signature_paths(&image.digest), Point::Before));
        scene.is_unknown("dropped connections", dropped.into()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn one_path_that_is_not_read_denies_nothing_and_hides_nothing() -> Result<()> {
    for scene in Scene::both().await? {
        // The bundle is enough where the `.sig` is not read; where nothing else is there, it is not known.
        let refused = [&scene.signed, &scene.unsigned]
            .map(|image| scene.proxy.refusing(legacy_signatures(&image.digest), 503));
        scene.ask(&scene.signed.name).await?.is(ALLOWED, "the bundle alone")?;
        scene.ask(&scene.unsigned.name).await?.is(UNKNOWN, "no `.sig` was read")?;
        drop(refused);
        let bundle = only_bundle(scene.registry.images(), REPOSITORY, &scene.signed.digest).await?;
        let gone = scene.proxy.refusing(blob(&digest_of(&bundle)), 500);
        scene.ask(&scene.signed.name).await?.is(ALLOWED, "the `.sig` alone")?;
        ensure!(gone.hits() > 0, "nobody read the bundle");
    }
    Ok(())
}

#[tokio::test]
async fn endless_lists_and_bodies_are_unknown_and_cost_little() -> Result<()> {
    for scene in Scene::both().await? {
        let proxy = &scene.proxy;
        let endless = proxy.endless_referrers("application/vnd.dev.sigstore.bundle.v0.3+json");
        let refused = proxy.refusing(any_legacy(), 500);
        scene.is_unknown("referrers without an end", vec![endless, refused]).await?;
        for (what, which, media_type) in [
            ("a `.sig` and referrers without an end", all_signatures(), MANIFEST),
            ("blobs without an end", blobs(), BYTES),
        ] {
            let fault = proxy.endless_body(which, media_type);
            stalled(&scene, what, fault).await?;
        }
        let bomb = proxy.gzip_bomb(all_signatures(), INDEX, BOMB)?;
        stalled(&scene, "a bomb", bomb).await?;
        let bomb = proxy.gzip_bomb(blobs(), BYTES, BOMB)?;
        stalled(&scene, "a bomb", bomb).await?;
    }
    Ok(())
}

/// What is signed is not allowed while its signatures cannot be read.
async fn stalled(scene: &Scene, what: &str, fault: Fault) -> Result<()> {
    let answer = scene.ask(&scene.signed.name).await?;
    answer.is_not_allowed(what)?;
    ensure!(fault.hits() > 0, "{what}: nobody met the fault");
    drop(fault);
    scene.ask(&scene.signed.name).await?.is(ALLOWED, what)
}

fn all_signatures() -> Match {
    Match::new("read of signatures", |head| {
        head.path.contains("/referrers/") || head.path.contains("/manifests/sha256-")
    })
}

fn any_legacy() -> Match {
    Match::path_contains("/manifests/sha256-").and(Match::path_ends_with(".sig"))
}

#[tokio::test]
async fn a_registry_that_drips_is_given_up() -> Result<()> {
    let scenes = Scene::both().await?;
    let (lists, content) = (&scenes[0], &scenes[1]);
    let every = Duration::from_millis(100);
    let _lists = lists.proxy.dripping_body(all_signatures(), INDEX, every);
    let _content = content.proxy.dripping_body(blobs(), BYTES, every);
    // At once, for each lasts as long as its deadline.
    let (first, second, third, fourth) = tokio::try_join!(
        lists.ask(&lists.signed.name),
        lists.ask(&lists.unsigned.name),
        content.ask(&content.signed.name),
        content.ask(&content.unsigned.name),
    )?;
    first.is(UNKNOWN, "lists of signatures")?;
    second.is(UNKNOWN, "lists of signatures")?;
    third.is(UNKNOWN, "signatures")?;
    fourth.is(DENIED, "nothing to read")
}

#[tokio::test]
async fn a_redirect_to_another_host_takes_no_credentials_along() -> Result<()> {
    let setting = Setting::new().await?;
    let registry =
        Registry::start(RegistryOptions { authentication: true, ..RegistryOptions::default() }).await?;
    let (proxy, elsewhere) = (Proxy::start(registry.url())?, Proxy::start(registry.url())?);
    let unsigned = push_to(&proxy.host(), registry.images(), "unsigned").await?;
    let config = setting.folder.path().join("docker.json");
    let entry = serde_json::json!({"username": USER, "password": PASSWORD});
    std::fs::write(&config, serde_json::json!({"auths": {proxy.host(): entry}}).to_string())?;
    let guard =
        setting.guard(&super::signed_by(&[with(by_key(&setting.key)?, "insecureIgnoreTlog", true)]))?;
    let (config, guard) = (config.display().to_string(), guard.display().to_string());
    let ask = async || verify(&[&unsigned.name, "--guard", &guard, "--docker-config", &config]).await;
    ask().await?.is(DENIED, "with credentials")?;
    let _redirect = proxy.redirecting(all_signatures(), &elsewhere.url());
    ask().await?.is_not_allowed("redirected")?;
    let told = elsewhere.traffic().exchanges();
    ensure!(
        told.iter().all(|exchange| !exchange.head.headers.contains_key("authorization")),
        "credentials went to another host"
    );
    Ok(())
}

#[tokio::test]
async fn answers_that_are_no_answers_are_unknown() -> Result<()> {
    for scene in Scene::both().await? {
        let page = Canned::status(200).header("content-type", "text/html").body("<html>sign in</html>");
        for (what, canned) in [
            ("a page", page),
            ("nothing", Canned::status(200).header("content-type", INDEX)),
            ("half of it", Canned::status(200).header("content-type", INDEX).body(r#"{"manifests": ["#)),
            ("no content", Canned::status(204)),
        ] {
            let fault = scene.proxy.traffic().answer(all_signatures(), canned);
            let answer = scene.ask(&scene.signed.name).await?;
            answer.is_not_allowed(what)?;
            scene.ask(&scene.unsigned.name).await?.is_not_allowed(what)?;
            ensure!(fault.hits() > 0, "{what}: nobody met the fault");
        }
        let no_api = scene.proxy.traffic().answer(referrers(&scene.unsigned.digest), Canned::status(404));
        scene.ask(&scene.unsigned.name).await?.is(DENIED, "no referrers API")?;
        drop(no_api);
    }
    Ok(())
}
