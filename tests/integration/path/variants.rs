//! Variant locks: each place takes only tags of the variant that it has.

use anyhow::{Result, ensure};
use windlass_testkit::eventually;
use windlass_testkit::git_repository::BRANCH;
use windlass_testkit::observed::{AUTOMATION, IMAGE, POLICY};
use windlass_testkit::world::{self, PATIENCE, World, WorldOptions};

use super::layouts::edit_configuration;

const FILE: &str = "variants.yaml";

/// Two places of one file, of different variants of the world's policy.
fn places(host: &str, alpine: &str, slim: &str) -> String {
    format!(
        "a: {host}/team/podinfo:{alpine} # {{\"$imagepolicy\": \"apps:podinfo\"}}\n\
         b: {slim} # {{\"$imagepolicy\": \"apps:podinfo:tag@digest\"}}\n"
    )
}

fn options(digest: &str, files: &[(&str, String)]) -> WorldOptions {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.clone())).collect();
    WorldOptions { digest: digest.to_owned(), files, ..WorldOptions::default() }
}

fn lock(world: &World) -> Result<()> {
    edit_configuration(world, "images.yaml", |text| {
        text.replace(
            "kind: ImagePolicy\nmetadata:\n",
            "kind: ImagePolicy\nmetadata:\n  annotations: {windlass.dev/variant-lock: 'true'}\n",
        )
    })
}

async fn wait_for_places(world: &World, alpine: &str, slim: &str) -> Result<()> {
    let wanted = places(&world.proxy.host(), alpine, slim);
    eventually(PATIENCE, format!("{alpine} and {slim}"), async || {
        let found = String::from_utf8(world.repository.show(BRANCH, FILE).await?)?;
        ensure!(found == wanted, "{found}");
        Ok(Some(()))
    })
    .await
}

async fn wait_for_diagnostic(world: &World, wanted: &str) -> Result<()> {
    eventually(PATIENCE, wanted, async || {
        let shown = world.diagnostics(AUTOMATION).await?.join("\n");
        ensure!(shown.contains(wanted), "{shown}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn a_place_takes_only_tags_of_its_variant_and_one_without_a_match_waits() -> Result<()> {
    let nano = "tag: 1.0.0-nano # {\"$imagepolicy\": \"apps:podinfo:tag\"}\n".to_owned();
    let first = places("${REGISTRY}", "1.0.0-alpine", "1.0.0-slim");
    world::run_prepared(options("Never", &[(FILE, first), ("nano.yaml", nano.clone())]), async |world| {
        lock(world)?;
        for tag in ["1.0.0-slim", "1.0.1-slim", "1.0.0-alpine"] {
            world.push(tag).await?;
        }
        world.start_windlass().await?;
        wait_for_places(world, "1.0.0-alpine", "1.0.1-slim").await?;
        world.push("2.0.0-alpine").await?;
        wait_for_places(world, "2.0.0-alpine", "1.0.1-slim").await?;
        world.push("1.5.0").await?;
        world.wait_for("1.5.0").await?;
        world.push("1.1.0-slim").await?;
        wait_for_places(world, "2.0.0-alpine", "1.1.0-slim").await?;
        let commits = world.expect_commits(4).await?;
        assert!(commits[0].message.contains("podinfo:1.1.0-slim\n"), "{}", commits[0].message);
        assert!(!commits[0].message.contains("alpine"), "{}", commits[0].message);
        assert!(commits[0].message.contains("Windlass-Event: "), "{}", commits[0].message);

        let nothing = "nano.yaml:1: apps:podinfo:tag waits: no tag of the variant `nano` is chosen: ";
        wait_for_diagnostic(world, nothing).await?;
        let policy =
            world.running()?.wait_for_resource(POLICY, PATIENCE, |status| status["latest"].is_string());
        let latest = policy.await?["latest"].to_string();
        for tag in [":1.5.0,", ":2.0.0-alpine,", ":1.1.0-slim"] {
            assert!(latest.contains(tag), "{latest}");
        }
        world.push("0.1.0-nano").await?;
        world.push("1.0.1-nano").await?;
        eventually(PATIENCE, "nano", async || {
            let found = String::from_utf8(world.repository.show(BRANCH, "nano.yaml").await?)?;
            ensure!(found == nano.replace("1.0.0-nano", "1.0.1-nano"), "{found}");
            Ok(Some(()))
        })
        .await?;

        // A person's older value of one variant holds, and the other variant goes on.
        let by_hand = places(&world.proxy.host(), "1.0.0-alpine", "1.1.0-slim");
        world.repository.commit(BRANCH, "By hand\n", [(FILE, by_hand)]).await?;
        world.push("1.2.0-slim").await?;
        wait_for_places(world, "1.0.0-alpine", "1.2.0-slim").await?;
        wait_for_diagnostic(world, "a person set 1.0.0-alpine in place of 2.0.0-alpine").await
    })
    .await
}

#[tokio::test]
async fn each_variant_has_its_own_digest_and_keeps_it_over_a_restart() -> Result<()> {
    let first = places("${REGISTRY}", "1.0.0-alpine", "latest-slim");
    world::run_prepared(options("IfNotPresent", &[(FILE, first)]), async |world| {
        lock(world)?;
        let alpine = world.push("1.0.0-alpine").await?;
        let slim = world.push("1.0.0-slim").await?;
        world.start_windlass().await?;
        let pinned = |tag: &str, digest: &str| format!("{tag}@{digest}");
        wait_for_places(world, &pinned("1.0.0-alpine", &alpine), &pinned("1.0.0-slim", &slim)).await?;

        // The tag moves: `IfNotPresent` keeps the digest that belongs to it, also in the next process.
        world.images.push(world::REPOSITORY, "1.0.0-alpine", "moved").await?;
        world.idle().await?;
        world.windlass().restart().await?;
        world.windlass().wait_ready(PATIENCE).await?;
        world.running()?.reconcile(IMAGE).await?;
        let newer = world.push("1.1.0-slim").await?;
        wait_for_places(world, &pinned("1.0.0-alpine", &alpine), &pinned("1.1.0-slim", &newer)).await?;
        world.expect_commits(2).await?;
        Ok(())
    })
    .await
}
