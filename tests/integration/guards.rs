//! Guards in a run: what is committed is what was verified, and what is not committed says why. Images are signed by real
//! cosign.

mod hostile;
mod interleavings;
mod trust_roots;

use std::ffi::OsString;

use anyhow::{Result, ensure};
use serde_json::json;
use windlass_testkit::cosign::{Cosign, KeyFiles, KeyKind, Layout, Line, Signing};
use windlass_testkit::eventually;
use windlass_testkit::http_server::Canned;
use windlass_testkit::observed::POLICY;
use windlass_testkit::traffic::Match;
use windlass_testkit::windlass::command;
use windlass_testkit::world::{self, PATIENCE, REPOSITORY, World, WorldOptions};

/// Signs in a world.
struct Signer {
    cosign: Cosign,
    key: KeyFiles,
}

impl Signer {
    async fn new() -> Result<Self> {
        let cosign = Cosign::new(Line::Three)?;
        let key = cosign.key_pair(KeyKind::P256, "release").await?;
        Ok(Self { cosign, key })
    }

    async fn sign(&self, world: &World, digest: &str, layout: Layout) -> Result<()> {
        self.sign_at(&world.proxy.host(), digest, layout).await
    }

    async fn sign_at(&self, host: &str, digest: &str, layout: Layout) -> Result<()> {
        let image = format!("{host}/{REPOSITORY}@{digest}");
        self.cosign.sign(&image, &Signing::with_key(&self.key, layout)).await
    }

    /// A Guard that wants this signer's signature.
    fn guard(&self, world: &World, rest: &str) -> Result<String> {
        let key =
            json!({"name": "release", "key": {"pem": self.key.public_pem()?}, "insecureIgnoreTlog": true});
        Ok(format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: Guard\nmetadata: {{name: signed}}\nspec:\n  match: {{images: \
             ['{}/**']}}\n  authorities: [{key}]\n  require: {{signatures: {{anyOf: [release]}}}}\n{rest}",
            world.proxy.host()
        ))
    }
}

/// Waits until the policy's status says this.
async fn wait_for_policy(world: &mut World, ready: &str, part: &str) -> Result<()> {
    let says = |status: &serde_json::Value| {
        status["ready"] == ready && status["message"].as_str().is_some_and(|message| message.contains(part))
    };
    world.windlass().wait_for_resource(POLICY, PATIENCE, says).await.map(drop)
}

#[tokio::test]
async fn an_image_is_committed_when_its_signature_comes_pinned_to_what_was_signed() -> Result<()> {
    for layout in [Layout::Legacy, Layout::Bundle] {
        let signer = Signer::new().await?;
        world::run_prepared(WorldOptions::default(), async |world: &mut World| {
            world.config.write("guard.yaml", signer.guard(world, "")?)?;
            world.start_windlass().await?;
            let digest = world.push("1.1.0").await?;
            wait_for_policy(world, "pending", "1.1.0 (and 1 more) is not allowed").await?;
            ensure!(world.commits().await?.is_empty(), "nothing unverified is written");
            signer.sign(world, &digest, layout).await?;
            let commit = world.wait_for(&format!("1.1.0@{digest}")).await?;
            let image = format!("{}/{REPOSITORY}:1.1.0@{digest}", world.proxy.host());
            let trailer = format!("Windlass-Verified: {image} by the key ");
            ensure!(commit.message.contains(&trailer), "{}", commit.message);
            wait_for_policy(world, "ready", "resolved to 1.1.0").await?;
            ensure!(world.slack.messages().iter().all(|message| !message.text().contains("not allowed")));
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_best_signed_release_is_chosen_and_the_better_unsigned_one_is_named() -> Result<()> {
    let signer = Signer::new().await?;
    world::run_prepared(WorldOptions::default(), async |world: &mut World| {
        let good = world.push("1.1.0").await?;
        signer.sign(world, &good, Layout::Bundle).await?;
        world.push("1.2.0").await?;
        world.config.write("guard.yaml", signer.guard(world, "")?)?;
        world.start_windlass().await?;
        world.wait_for(&format!("1.1.0@{good}")).await?;
        wait_for_policy(world, "ready", "1.2.0 is not allowed: Guard/signed: there is no signature").await?;
        let better = world.push("1.3.0").await?;
        signer.sign(world, &better, Layout::Legacy).await?;
        world.wait_for(&format!("1.3.0@{better}")).await?;
        ensure!(world.commits().await?.len() == 2);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_tag_that_moves_after_it_was_verified_changes_nothing() -> Result<()> {
    let signer = Signer::new().await?;
    world::run_prepared(WorldOptions::default(), async |world: &mut World| {
        let good = world.push("1.1.0").await?;
        signer.sign(world, &good, Layout::Bundle).await?;
        world.config.write("guard.yaml", signer.guard(world, "")?)?;
        world.start_windlass().await?;
        world.wait_for(&format!("1.1.0@{good}")).await?;
        // Somebody with push rights moves the tag, and a later release shows that the event was worked on.
        world.images.push(REPOSITORY, "1.1.0", "another content").await?;
        let next = world.push("1.2.0").await?;
        signer.sign(world, &next, Layout::Bundle).await?;
        world.wait_for(&format!("1.2.0@{next}")).await?;
        ensure!(world.commits().await?.len() == 2, "the moved tag made no commit");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_registry_that_hides_signatures_is_waited_for_and_nothing_else_is_chosen() -> Result<()> {
    let signer = Signer::new().await?;
    world::run_prepared(WorldOptions::default(), async |world: &mut World| {
        let good = world.push("1.1.0").await?;
        signer.sign(world, &good, Layout::Legacy).await?;
        world.config.write("guard.yaml", signer.guard(world, "")?)?;
        let traffic = world.proxy.traffic().clone();
        let outage = traffic.answer(Match::path_ends_with(".sig"), Canned::status(503));
        world.start_windlass().await?;
        wait_for_policy(world, "failing", "1.1.0 cannot be verified").await?;
        ensure!(world.commits().await?.is_empty());
        outage.lift();
        world.wait_for(&format!("1.1.0@{good}")).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_guard_that_breaks_or_changes_its_mind_stops_what_it_concerns() -> Result<()> {
    let (signer, other) = (Signer::new().await?, Signer::new().await?);
    world::run_prepared(WorldOptions::default(), async |world: &mut World| {
        let first = world.push("1.1.0").await?;
        signer.sign(world, &first, Layout::Bundle).await?;
        world.config.write("guard.yaml", signer.guard(world, "")?)?;
        world.start_windlass().await?;
        world.wait_for(&format!("1.1.0@{first}")).await?;
        // Another key from now on: what is there stays, and nothing of the old key is written.
        world.config.write("guard.yaml", other.guard(world, "")?)?;
        wait_for_policy(world, "pending", "1.1.0 (and 1 more) is not allowed").await?;
        let second = world.push("1.2.0").await?;
        signer.sign(world, &second, Layout::Bundle).await?;
        wait_for_policy(world, "pending", "1.2.0 (and 2 more) is not allowed").await?;
        world
            .config
            .write("guard.yaml", "kind: Guard\napiVersion: windlass.dev/v1alpha1\nspec: [broken\n")?;
        wait_for_policy(world, "pending", "the Guard cannot be loaded").await?;
        ensure!(world.commits().await?.len() == 1, "nothing was written meanwhile");
        world.config.write("guard.yaml", signer.guard(world, "")?)?;
        world.wait_for(&format!("1.2.0@{second}")).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_recalled_release_is_passed_over_with_its_reason() -> Result<()> {
    let signer = Signer::new().await?;
    world::run_prepared(WorldOptions::default(), async |world: &mut World| {
        let good = world.push("1.1.0").await?;
        let recalled = world.push("1.2.0").await?;
        for digest in [&good, &recalled] {
            signer.sign(world, digest, Layout::Bundle).await?;
        }
        let deny = "  deny: [{tag: 1.2.0, reason: 'recalled: INC-7'}]\n";
        world.config.write("guard.yaml", signer.guard(world, deny)?)?;
        world.start_windlass().await?;
        world.wait_for(&format!("1.1.0@{good}")).await?;
        wait_for_policy(world, "ready", "recalled: INC-7").await?;
        eventually(PATIENCE, "one commit", async || Ok((world.commits().await?.len() == 1).then_some(())))
            .await
    })
    .await
}

#[tokio::test]
async fn audit_tells_what_a_guard_refused_and_whose_signature_it_took() -> Result<()> {
    let signer = Signer::new().await?;
    world::run_prepared(WorldOptions::default(), async |world: &mut World| {
        world.config.write("guard.yaml", signer.guard(world, "")?)?;
        world.start_windlass().await?;
        let digest = world.push("1.1.0").await?;
        wait_for_policy(world, "pending", "1.1.0 (and 1 more) is not allowed").await?;
        signer.sign(world, &digest, Layout::Bundle).await?;
        world.wait_for(&format!("1.1.0@{digest}")).await?;
        world.idle().await?;
        let image = format!("{}/{REPOSITORY}:1.1.0", world.proxy.host());
        let words = ["audit", &image, "--output", "json", "--data"].map(OsString::from);
        let words: Vec<_> = words.into_iter().chain([world.data.path().into()]).collect();
        let audit: serde_json::Value = serde_json::from_slice(&command(&words).await?.stdout)?;
        let of_kind = |kind: &str| {
            let mut entries = audit["entries"].as_array().into_iter().flatten();
            entries.find(|entry| entry["kind"] == kind).cloned().unwrap_or_default()["detail"].clone()
        };
        let (refused, selected) = (of_kind("refused"), of_kind("selected"));
        let why = refused["reason"].as_str().unwrap_or_default();
        ensure!(why.contains("Guard/signed") && refused["digest"] == digest.as_str(), "{audit:#}");
        let by = &selected["verified"][0];
        ensure!(by["guard"] == "signed" && by["authority"] == "release", "{audit:#}");
        ensure!(
            selected["digest"] == digest.as_str() && of_kind("committed")["commit"].is_string(),
            "{audit:#}"
        );
        Ok(())
    })
    .await
}
