//! Human hands: a value that a person sets back stays, is shown and told once, and is lifted by something newer, by a
//! change of the policy, by the person, or by `windlass resume`. Nothing goes back and forth by itself.

use std::ffi::OsString;

use anyhow::{Result, ensure};
use windlass_testkit::eventually;
use windlass_testkit::git_repository::BRANCH;
use windlass_testkit::observed::AUTOMATION;
use windlass_testkit::windlass;
use windlass_testkit::world::{
    self, APP, FLEET, MANIFEST_PATH, NAMESPACE, PATIENCE, REPOSITORY, World, WorldOptions,
};

/// A person commits this tag.
pub(crate) async fn set_by_hand(world: &World, tag: &str) -> Result<()> {
    let text = world.expected_manifest(tag);
    world.repository.commit(BRANCH, &format!("By hand: {tag}\n"), [(MANIFEST_PATH, text)]).await.map(drop)
}

/// `windlass resume` for the policy; its exit code.
async fn resume(world: &World, automation: &str) -> Result<Option<i32>> {
    let data = world.data.path().as_os_str();
    let arguments = ["resume", automation, "--policy", APP, "--data"].map(OsString::from);
    let output = windlass::command(&[&arguments[..], &[data.to_owned()]].concat()).await?;
    Ok(output.status.code())
}

/// Asks for a run, and waits until the automation's diagnostics contain this; `None` waits until there are none.
pub(crate) async fn wait_for_diagnostic(world: &World, wanted: Option<&str>) -> Result<()> {
    world.running()?.reconcile(AUTOMATION).await?;
    eventually(PATIENCE, format!("the diagnostic {wanted:?}"), async || {
        let found = world.diagnostics(AUTOMATION).await?.join("\n");
        ensure!(wanted.map_or(found.is_empty(), |wanted| found.contains(wanted)), "it has `{found}`");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn a_value_set_back_by_a_person_stays_and_is_told_once_until_something_newer_comes() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        world.push("1.1.0").await?;
        world.wait_for("1.1.0").await?;
        set_by_hand(world, "1.0.0").await?;
        wait_for_diagnostic(world, Some("a person set 1.0.0 in place of 1.1.0")).await?;
        // Neither another look nor a restart changes that, nor tells it again.
        wait_for_diagnostic(world, Some("is held")).await?;
        world.windlass().restart().await?;
        world.windlass().wait_ready(PATIENCE).await?;
        wait_for_diagnostic(world, Some("is held")).await?;
        assert_eq!(world.manifest_at_head().await?, world.expected_manifest("1.0.0"));

        world.push("1.2.0").await?;
        world.wait_for("1.2.0").await?;
        world.expect_commits(2).await?;
        let messages = world.slack.wait_for(3, PATIENCE).await?;
        let told: Vec<bool> =
            messages.iter().map(|message| message.body.to_string().contains("*Held*")).collect();
        assert_eq!(told.iter().filter(|held| **held).count(), 1, "{messages:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_value_set_back_by_a_person_stays_when_all_that_windlass_knew_is_lost() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        world.push("1.1.0").await?;
        world.wait_for("1.1.0").await?;
        set_by_hand(world, "1.0.0").await?;
        wait_for_diagnostic(world, Some("a person set 1.0.0 in place of 1.1.0")).await?;
        world.windlass().kill();
        for entry in std::fs::read_dir(world.data.path())? {
            let path = entry?.path();
            if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
        }
        // The trailer of the commit that the person took back is all there is; from then on the ledger has it.
        for _ in 0..2 {
            world.windlass().restart().await?;
            world.windlass().wait_ready(PATIENCE).await?;
            wait_for_diagnostic(world, Some("a person set 1.0.0 in place of 1.1.0")).await?;
            assert_eq!(world.manifest_at_head().await?, world.expected_manifest("1.0.0"));
        }
        assert_eq!(resume(world, &format!("{NAMESPACE}/{FLEET}")).await?, Some(0));
        world.wait_for("1.1.0").await?;
        world.expect_commits(2).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_hold_is_lifted_by_resume_by_a_changed_policy_and_by_the_person() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        world.push("1.1.0").await?;
        world.wait_for("1.1.0").await?;

        set_by_hand(world, "1.0.0").await?;
        wait_for_diagnostic(world, Some("is held")).await?;
        assert_eq!(resume(world, &format!("{NAMESPACE}/{FLEET}")).await?, Some(0));
        world.wait_for("1.1.0").await?;

        set_by_hand(world, "latest").await?;
        wait_for_diagnostic(world, Some("a person set latest in place of 1.1.0")).await?;
        set_by_hand(world, "1.1.0").await?;
        wait_for_diagnostic(world, None).await?;

        set_by_hand(world, "1.0.0").await?;
        wait_for_diagnostic(world, Some("is held")).await?;
        let file = world.config.path().join("images.yaml");
        let images = std::fs::read_to_string(file)?.replace(">=1.0.0", ">=1.0.1");
        world.config.write("images.yaml", images)?;
        world.wait_for("1.1.0").await?;
        assert_eq!(resume(world, "apps/nothing").await?, Some(2), "no such automation");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_release_that_was_replaced_does_not_come_back_by_itself() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        world.push("1.1.0").await?;
        world.wait_for("1.1.0").await?;
        world.images.delete_tag(REPOSITORY, "1.1.0").await?;
        world.running()?.reconcile("ImageRepository/apps/podinfo").await?;
        wait_for_diagnostic(world, Some("1.0.0 was replaced by 1.1.0 before")).await?;
        assert_eq!(world.manifest_at_head().await?, world.expected_manifest("1.1.0"));
        world.push("1.2.0").await?;
        world.wait_for("1.2.0").await?;
        world.expect_commits(2).await.map(drop)
    })
    .await
}
