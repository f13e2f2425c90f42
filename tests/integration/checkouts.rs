//! Checkouts that are no branch: a tag, the newest tag in a range, another ref, a commit. The push branch is made from
//! them, and then built upon.

use anyhow::Result;
use windlass_testkit::git_repository::BRANCH;
use windlass_testkit::observed::AUTOMATION;
use windlass_testkit::world::{self, World, WorldOptions};

use crate::path::layouts::{edit_configuration, wait_on_branch};

const CHECKOUT: &str = "      ref:\n        branch: main\n";
const PUSH: &str = "    push:\n      branch: main\n";
const UPDATES: &str = "windlass/updates";

/// Sets what the automation checks out and where it pushes to.
fn configure(world: &World, reference: &str, push: &str) -> Result<()> {
    edit_configuration(world, "git.yaml", |text| {
        // The automation's comes after the GitRepository's, which has the same field on another level.
        text.replace(CHECKOUT, &format!("      ref:\n        {reference}\n")).replace(PUSH, push)
    })
}

/// Another commit on `main`; its id.
async fn commit(world: &World, text: &str) -> Result<String> {
    let files = [("NOTES.md".to_owned(), format!("{text}\n"))];
    world.repository.commit(BRANCH, &format!("{text}\n"), files).await?;
    world.repository.git(&["rev-parse", BRANCH]).await
}

#[tokio::test]
async fn the_push_branch_is_made_from_whatever_is_checked_out() -> Result<()> {
    for kind in ["tag", "semver", "name", "commit"] {
        world::run_prepared(WorldOptions::default(), async |world| {
            let git = async |arguments: &[&str]| world.repository.git(arguments).await;
            let old = commit(world, "old").await?;
            git(&["tag", "v1.9.0", &old]).await?;
            let wanted = commit(world, "wanted").await?;
            git(&["tag", "--annotate", "--message", "Release", "v1.10.0", &wanted]).await?;
            git(&["update-ref", "refs/pull/7/head", &wanted]).await?;
            let new = commit(world, "new").await?;
            git(&["tag", "v2.0.0-rc.1", &new]).await?;
            let reference = match kind {
                "tag" => "tag: v1.10.0".to_owned(),
                "semver" => "semver: '>=1.0.0'".to_owned(),
                "name" => "name: refs/pull/7/head".to_owned(),
                _ => format!("commit: '{wanted}'"),
            };
            configure(world, &reference, &format!("    push:\n      branch: {UPDATES}\n"))?;
            world.start_windlass().await?;
            for tag in ["1.0.1", "1.0.2"] {
                world.push(tag).await?;
                wait_on_branch(world, UPDATES, tag).await?;
                world.idle().await?;
            }
            let log = world.repository.log(UPDATES).await?;
            assert_eq!(log[0].parents, [log[1].id.clone()], "{kind}");
            assert_eq!(log[1].parents, [wanted], "{kind}");
            assert_eq!(
                world.repository.head(BRANCH).await?,
                Some(new),
                "{kind}: others' branch is left alone"
            );
            world.repository.fsck().await
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_named_and_taken_once_it_is() -> Result<()> {
    world::run_prepared(WorldOptions::default(), async |world| {
        configure(world, "semver: '>=3.0.0'", &format!("    push:\n      branch: {UPDATES}\n"))?;
        world.start_windlass().await?;
        world.push("1.0.1").await?;
        let missing = "no tag of the repository is a version in the range `>=3.0.0`";
        world.wait_failing(AUTOMATION, missing).await?;
        world.repository.git(&["tag", "v3.0.0", BRANCH]).await?;
        world.push("1.0.2").await?;
        wait_on_branch(world, UPDATES, "1.0.2").await?;
        world.repository.fsck().await
    })
    .await
}
