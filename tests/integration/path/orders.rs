//! Orders by annotation: the newest pushed tag, and calendar versions.

use anyhow::Result;
use serde_json::Value;
use windlass_testkit::observed::{AUTOMATION, IMAGE, POLICY};
use windlass_testkit::world::{self, PATIENCE, World, WorldOptions};

use super::layouts::edit_configuration;

/// Gives the policy an annotation, and an own order that knows every tag.
fn annotate(world: &World, annotation: &str) -> Result<()> {
    edit_configuration(world, "images.yaml", |text| {
        let (before, policy) =
            text.split_once("kind: ImagePolicy\nmetadata:\n").expect("the world has a policy");
        let policy = policy.replace("semver:\n      range: '>=1.0.0'", "alphabetical: {}");
        format!("{before}kind: ImagePolicy\nmetadata:\n  annotations:\n    {annotation}\n{policy}")
    })
}

#[tokio::test]
async fn the_newest_pushed_tag_is_committed_and_what_was_there_before_is_left_alone() -> Result<()> {
    let options = WorldOptions { first_tag: "c0ffee".to_owned(), ..WorldOptions::default() };
    world::run_prepared(options, async |world| {
        annotate(world, "windlass.dev/order: newest-pushed")?;
        world.push("f00d").await?;
        world.start_windlass().await?;
        // Nobody knows which of the two is newer: the value in Git stays, although the policy's own order is against it.
        let chooses = |tag: &'static str| {
            move |status: &Value| status["latest"].as_str().is_some_and(|latest| latest.ends_with(tag))
        };
        world.running()?.wait_for_resource(POLICY, PATIENCE, chooses(":f00d")).await?;
        world.running()?.reconcile(AUTOMATION).await?;
        world.expect_commits(0).await?;
        let shown = world.diagnostics(AUTOMATION).await?.join("\n");
        assert!(shown.contains("stays: c0ffee is not below f00d"), "{shown}");

        for tag in ["beef", "abba"] {
            world.push(tag).await?;
            world.wait_for(tag).await?;
        }
        // A tag that moves is no newer for it, and neither a list nor a restart changes the order.
        world.images.push(world::REPOSITORY, "beef", "moved").await?;
        world.windlass().restart().await?;
        world.running()?.reconcile(IMAGE).await?;
        world.running()?.wait_for_resource(POLICY, PATIENCE, chooses(":abba")).await?;
        world.expect_commits(2).await?;
        assert_eq!(world.manifest_at_head().await?, world.expected_manifest("abba"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_latest_calendar_version_is_committed() -> Result<()> {
    let options = WorldOptions { first_tag: "2026.01.5".to_owned(), ..WorldOptions::default() };
    world::run_prepared(options, async |world| {
        annotate(world, "windlass.dev/order: calver:YYYY.0M.DD[-MICRO]")?;
        world.start_windlass().await?;
        for tag in ["2026.01.15", "2026.01.15-9", "2026.01.15-10"] {
            world.push(tag).await?;
            world.wait_for(tag).await?;
        }
        let worse = ["2026.01.15-2", "2026.01.9", "2026.02.30", "2027", "zebra"];
        for tag in worse {
            world.push(tag).await?;
        }
        world.running()?.reconcile(IMAGE).await?;
        let all_known = |status: &Value| status["tags"] == 4 + worse.len();
        world.running()?.wait_for_resource(IMAGE, PATIENCE, all_known).await?;
        world.expect_commits(3).await?;
        assert_eq!(world.manifest_at_head().await?, world.expected_manifest("2026.01.15-10"));
        Ok(())
    })
    .await
}
