//! A run under a Guard against a registry that wants something written that nobody signed: nothing is, the status says
//! why, and as soon as the registry is honest the run goes on by itself.

use anyhow::{Context as _, Result, ensure};
use windlass_testkit::cosign::Layout;
use windlass_testkit::evidence::{layers, only_bundle, put_bundle, put_layers, signature_tag};
use windlass_testkit::git_repository::BRANCH;
use windlass_testkit::hostile::{blob, signature_paths};
use windlass_testkit::image::{INDEX, MANIFEST, descriptor, digest_of};
use windlass_testkit::traffic::Fault;
use windlass_testkit::world::{self, REPOSITORY, World, WorldOptions};

use super::{Signer, wait_for_policy};

/// More than any limit, and more than may be in memory.
const BOMB: usize = 512 << 20;
/// What a run may have in memory while it is lied to. An unoptimised program needs about a fifth.
const MEMORY: u64 = 400 << 20;

/// A signed image that has no tag of the policy's range yet: signed behind the proxy, which may then lie from the first
/// request on.
async fn signed_aside(world: &World, signer: &Signer, tag: &str, layout: Layout) -> Result<String> {
    let digest = world.registry.images().push(REPOSITORY, "aside", tag).await?;
    signer.sign_at(&world.registry.host(), &digest, layout).await?;
    Ok(digest)
}

/// While the fault lasts nothing is written and the status says that it is not known; afterwards the image is written.
async fn waits(world: &mut World, tag: &str, digest: &str, faults: Vec<Fault>, what: &str) -> Result<()> {
    let before = world.commits().await?.len();
    world.push(tag).await?;
    wait_for_policy(world, "failing", &format!("{tag} cannot be verified")).await.context(what.to_owned())?;
    ensure!(faults.iter().all(|fault| fault.hits() > 0), "{what}: nobody met the fault");
    ensure!(world.commits().await?.len() == before, "{what}: something was written");
    drop(faults);
    world.wait_for(&format!("{tag}@{digest}")).await.context(what.to_owned())?;
    ensure!(world.commits().await?.len() == before + 1, "{what}: more was written than was signed");
    Ok(())
}

#[tokio::test]
async fn refusals_of_signatures_alone_stop_what_they_concern_until_they_end() -> Result<()> {
    let signer = Signer::new().await?;
    let refusals =
        [(401, Layout::Legacy), (403, Layout::Bundle), (429, Layout::Legacy), (503, Layout::Bundle)];
    for half in refusals.chunks(2) {
        world::run_prepared(WorldOptions::default(), async |world: &mut World| {
            world.config.write("guard.yaml", signer.guard(world, "")?)?;
            world.start_windlass().await?;
            for (number, (status, layout)) in half.iter().enumerate() {
                let tag = format!("1.{}.0", number + 1);
                let digest = signed_aside(world, &signer, &tag, *layout).await?;
                let fault = world.proxy.refusing(signature_paths(&digest), *status);
                waits(world, &tag, &digest, vec![fault], &format!("status {status}")).await?;
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn endless_and_enormous_answers_cost_little_and_are_waited_out() -> Result<()> {
    let signer = Signer::new().await?;
    world::run_prepared(WorldOptions::default(), async |world: &mut World| {
        world.config.write("guard.yaml", signer.guard(world, "")?)?;
        world.start_windlass().await?;
        let digest = signed_aside(world, &signer, "1.1.0", Layout::Legacy).await?;
        let fault = world.proxy.endless_body(signature_paths(&digest), INDEX);
        waits(world, "1.1.0", &digest, vec![fault], "bodies without an end").await?;

        let digest = signed_aside(world, &signer, "1.2.0", Layout::Bundle).await?;
        let bundle = only_bundle(world.registry.images(), REPOSITORY, &digest).await?;
        let fault = world.proxy.gzip_bomb(blob(&digest_of(&bundle)), "application/octet-stream", BOMB)?;
        waits(world, "1.2.0", &digest, vec![fault], "a bomb").await?;

        let digest = signed_aside(world, &signer, "1.3.0", Layout::Bundle).await?;
        let endless = world.proxy.endless_referrers("application/vnd.dev.sigstore.bundle.v0.3+json");
        waits(world, "1.3.0", &digest, vec![endless], "referrers without an end").await?;
        let peak = world.running()?.peak_memory()?;
        ensure!(peak < MEMORY, "{} MiB of memory", peak >> 20);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_tag_that_flips_between_requests_is_written_as_what_was_signed() -> Result<()> {
    let signer = Signer::new().await?;
    world::run_prepared(WorldOptions::default(), async |world: &mut World| {
        let good = signed_aside(world, &signer, "1.1.0", Layout::Bundle).await?;
        let images = world.registry.images();
        let evil = images.push(REPOSITORY, "evil", "evil").await?;
        let (good_manifest, evil_manifest) =
            (images.manifest(REPOSITORY, &good).await?, images.manifest(REPOSITORY, &evil).await?);
        world.push("1.1.0").await?;
        world.config.write("guard.yaml", signer.guard(world, "")?)?;
        let flips = world.proxy.flipping("1.1.0", vec![evil_manifest.clone(), good_manifest.clone()]);
        world.start_windlass().await?;
        world.wait_for(&format!("1.1.0@{good}")).await?;
        ensure!(flips.hits() > 0, "nobody asked for the tag");
        drop(flips);
        // A body under the name of another, in either direction: what is written is what was signed, or nothing.
        let next = signed_aside(world, &signer, "1.2.0", Layout::Legacy).await?;
        let third = signed_aside(world, &signer, "1.3.0", Layout::Bundle).await?;
        let (media_type, evil_bytes) = evil_manifest;
        let lies = [
            world.proxy.lying("1.2.0", &media_type, evil_bytes.clone(), &next),
            world.proxy.lying(&next, &media_type, evil_bytes.clone(), &next),
            world.proxy.lying("1.3.0", &media_type, good_manifest.1, &evil),
            world.proxy.lying(&third, &media_type, evil_bytes, &evil),
        ];
        world.push("1.2.0").await?;
        world.push("1.3.0").await?;
        let last = signed_aside(world, &signer, "1.4.0", Layout::Bundle).await?;
        world.push("1.4.0").await?;
        world.wait_for(&format!("1.4.0@{last}")).await?;
        ensure!(lies.iter().any(|lie| lie.hits() > 0), "nobody was lied to");
        let ours = [good, next, third, last];
        for commit in world.commits().await? {
            let by_us = ours.iter().any(|digest| commit.message.contains(&format!("@{digest} by the key ")));
            ensure!(by_us && !commit.message.contains(&evil), "{}", commit.message);
        }
        Ok(())
    })
    .await
}

/// What others say is no verdict: good evidence of another image, an image that calls itself verified, a commit that has
/// the trailer of one of ours.
#[tokio::test]
async fn words_of_others_and_signatures_of_other_images_move_nothing() -> Result<()> {
    let signer = Signer::new().await?;
    world::run_prepared(WorldOptions::default(), async |world: &mut World| {
        let good = world.push("1.1.0").await?;
        for layout in [Layout::Legacy, Layout::Bundle] {
            signer.sign(world, &good, layout).await?;
        }
        world.config.write("guard.yaml", signer.guard(world, "")?)?;
        world.start_windlass().await?;
        world.wait_for(&format!("1.1.0@{good}")).await?;

        let images = world.registry.images();
        let (_, bytes) = images.manifest(REPOSITORY, &good).await?;
        let mut manifest: serde_json::Value = serde_json::from_slice(&bytes)?;
        manifest["annotations"] = serde_json::json!({
            "windlass.dev/verified": "true", "kyverno.io/verify-images": "{\"verified\": true}",
            "org.opencontainers.image.ref.name": good,
        });
        manifest["subject"] = descriptor(MANIFEST, &bytes);
        let victim = digest_of(manifest.to_string().as_bytes());
        let host = world.proxy.host();
        let trailer = format!(
            "Update from image update automation\n\nWindlass-Verified: {host}/{REPOSITORY}:1.2.0@{victim} by the key of \
             somebody (signed)"
        );
        world.repository.commit(BRANCH, &trailer, [("README.md", "verified\n")]).await?;
        world.images.put_manifest(REPOSITORY, "1.2.0", MANIFEST, manifest.to_string().into_bytes()).await?;
        let foreign = layers(images, REPOSITORY, &signature_tag(&good)).await?;
        put_layers(images, REPOSITORY, &signature_tag(&victim), &foreign).await?;
        let bundle = only_bundle(images, REPOSITORY, &good).await?;
        put_bundle(images, REPOSITORY, &victim, &bundle).await?;
        wait_for_policy(world, "ready", "1.2.0 is not allowed: Guard/signed: ").await?;
        let head = world.manifest_at_head().await?;
        ensure!(head == world.expected_manifest(&format!("1.1.0@{good}")), "{head}");

        signer.sign_at(&world.registry.host(), &victim, Layout::Legacy).await?;
        world.running()?.reconcile("ImageRepository/apps/podinfo").await?;
        world.wait_for(&format!("1.2.0@{victim}")).await.map(drop)
    })
    .await
}

/// The tag of an unsigned image's signatures holds good ones of other images in turns.
#[tokio::test]
async fn evidence_that_flips_between_requests_is_never_mixed() -> Result<()> {
    let signer = Signer::new().await?;
    world::run_prepared(WorldOptions::default(), async |world: &mut World| {
        let (good, other) = (
            signed_aside(world, &signer, "1.1.0", Layout::Legacy).await?,
            signed_aside(world, &signer, "1.2.0", Layout::Legacy).await?,
        );
        let images = world.registry.images();
        let evil = images.push(REPOSITORY, "evil", "1.3.0").await?;
        let manifests = vec![
            images.manifest(REPOSITORY, &signature_tag(&good)).await?,
            images.manifest(REPOSITORY, &signature_tag(&other)).await?,
        ];
        let flips = world.proxy.flipping(&signature_tag(&evil), manifests);
        world.config.write("guard.yaml", signer.guard(world, "")?)?;
        for tag in ["1.1.0", "1.2.0", "1.3.0"] {
            world.push(tag).await?;
        }
        world.start_windlass().await?;
        world.wait_for(&format!("1.2.0@{other}")).await?;
        wait_for_policy(world, "ready", "1.3.0 is not allowed: Guard/signed: ").await?;
        ensure!(flips.hits() > 0, "nobody asked for the signatures");
        drop(flips);
        signer.sign_at(&world.registry.host(), &evil, Layout::Legacy).await?;
        world.running()?.reconcile("ImageRepository/apps/podinfo").await?;
        world.wait_for(&format!("1.3.0@{evil}")).await.map(drop)
    })
    .await
}
