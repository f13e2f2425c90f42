//! What the policies choose, and that a lower choice does not roll back what is in Git.

use anyhow::Result;
use serde_json::{Value, json};
use windlass_testkit::http_fault::tag_lists;
use windlass_testkit::http_server::Canned;
use windlass_testkit::observed::{AUTOMATION, IMAGE, POLICY};
use windlass_testkit::world::{self, PATIENCE, REPOSITORY, WorldOptions};

use super::layouts::edit_configuration;

#[tokio::test]
async fn a_numerical_policy_follows_the_number_that_its_filter_extracts() -> Result<()> {
    let policy = "numerical:\n      order: asc\n  filterTags:\n    pattern: '^main-[a-f0-9]+-(?P<n>[0-9]+)$'\n    \
                  extract: '$n'";
    // Text order would choose 9 over 10, and the commit's hash must not count.
    follows(policy, "main-ffff-8", &["main-eeee-9", "main-aaaa-10"], &["main-bbbb-7", "other-cccc-99"]).await
}

#[tokio::test]
async fn an_alphabetical_policy_follows_the_text() -> Result<()> {
    let policy = "alphabetical:\n      order: asc\n  filterTags:\n    pattern: '^RELEASE\\.'";
    let good = ["RELEASE.2024-02-10T00-00-00Z", "RELEASE.2024-11-01T00-00-00Z"];
    follows(policy, "RELEASE.2024-01-31T00-00-00Z", &good, &["RELEASE.2023-12-31T00-00-00Z", "nightly"]).await
}

#[tokio::test]
async fn a_semver_policy_stays_in_its_range() -> Result<()> {
    let good = ["1.0.1", "1.10.0"];
    follows("semver:\n      range: 1.x", "1.0.0", &good, &["1.9.9", "2.0.0", "1.11.0-rc.1", "latest"]).await
}

/// Each good tag is committed when it is pushed; after the worse ones nothing has changed.
async fn follows(policy: &str, first: &str, good: &[&str], worse: &[&str]) -> Result<()> {
    let options = WorldOptions { first_tag: first.to_owned(), ..WorldOptions::default() };
    world::run_prepared(options, async |world| {
        edit_configuration(world, "images.yaml", |text| {
            text.replace("semver:\n      range: '>=1.0.0'", policy)
        })?;
        world.start_windlass().await?;
        for tag in good {
            world.push(tag).await?;
            world.wait_for(tag).await?;
        }
        for tag in worse {
            world.push(tag).await?;
        }
        // A full list has to come to the same.
        world.running()?.reconcile(IMAGE).await?;
        let wanted = 1 + good.len() + worse.len();
        let all_known = |status: &Value| status["tags"] == wanted;
        world.running()?.wait_for_resource(IMAGE, PATIENCE, all_known).await?;
        world.expect_commits(good.len()).await?;
        let last = good.last().copied().unwrap_or(first);
        assert_eq!(world.manifest_at_head().await?, world.expected_manifest(last));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_lower_choice_is_not_written_until_the_present_tag_is_gone() -> Result<()> {
    let options = WorldOptions { first_tag: "1.2.0".to_owned(), ..WorldOptions::default() };
    world::run_prepared(options, async |world| {
        world.push("1.1.0").await?;
        let partial = json!({"name": REPOSITORY, "tags": ["1.1.0"]}).to_string();
        let canned = Canned::status(200).header("content-type", "application/json").body(partial);
        let partial = world.proxy.traffic().answer(tag_lists(), canned);
        world.start_windlass().await?;

        let chooses = |tag: &'static str| {
            move |status: &Value| status["latest"].as_str().is_some_and(|latest| latest.ends_with(tag))
        };
        world.running()?.wait_for_resource(POLICY, PATIENCE, chooses(":1.1.0")).await?;
        world.running()?.reconcile(AUTOMATION).await?;
        world.expect_commits(0).await?;
        let shown = world.diagnostics(AUTOMATION).await?.join("\n");
        let why = "apps:podinfo stays: 1.2.0 is not below 1.1.0, which the policy chooses at present";
        assert!(shown.contains("deployment.yaml:10: ") && shown.contains(why), "{shown}");

        // The whole list again: the policy chooses what is in Git, and nothing happens.
        partial.lift();
        world.running()?.reconcile(IMAGE).await?;
        world.running()?.wait_for_resource(POLICY, PATIENCE, chooses(":1.2.0")).await?;
        world.expect_commits(0).await?;
        // Gone for good: Git follows.
        world.images.delete_tag(REPOSITORY, "1.2.0").await?;
        world.running()?.reconcile(IMAGE).await?;
        world.wait_for("1.1.0").await?;
        world.expect_commits(1).await?;
        Ok(())
    })
    .await
}
