//! Branches and automations: where commits go, and which go together.

use anyhow::{Context as _, Result, ensure};
use windlass_testkit::config;
use windlass_testkit::eventually;
use windlass_testkit::git_repository::BRANCH;
use windlass_testkit::git_server::GitServer;
use windlass_testkit::observed::{AUTHOR, POLICY};
use windlass_testkit::traffic::Point;
use windlass_testkit::world::{
    self, FLEET, MANIFEST_PATH, NAMESPACE, PATIENCE, REGISTRY_PLACE, World, WorldOptions,
};

/// Rewrites a file of the configuration.
pub(crate) fn edit_configuration(world: &World, file: &str, edit: impl FnOnce(&str) -> String) -> Result<()> {
    let before =
        std::fs::read_to_string(world.config.path().join(file)).context("reading the configuration")?;
    let after = edit(&before);
    ensure!(after != before, "the edit changed nothing in {file}:\n{before}");
    world.config.write(file, after)
}

#[tokio::test]
async fn a_push_branch_is_made_from_the_checkout_branch_and_then_built_upon() -> Result<()> {
    world::run_prepared(WorldOptions::default(), async |world| {
        edit_configuration(world, "git.yaml", |text| {
            text.replace("    push:\n      branch: main\n", "    push:\n      branch: windlass/updates\n")
        })?;
        world.start_windlass().await?;
        let branch = "windlass/updates";
        for tag in ["1.0.1", "1.0.2"] {
            world.push(tag).await?;
            wait_on_branch(world, branch, tag).await?;
            world.idle().await?;
        }
        assert_eq!(world.commits().await?, [], "the checkout branch is left alone");
        let log = world.repository.log(branch).await?;
        let authors: Vec<&str> = log.iter().map(|commit| commit.author.as_str()).collect();
        assert_eq!(authors[..2], [AUTHOR, AUTHOR]);
        assert_eq!(log[0].parents, [log[1].id.clone()]);
        assert_eq!(Some(&log[1].parents[0]), world.repository.head(BRANCH).await?.as_ref());
        let told = world.slack.messages();
        assert_eq!(
            told.iter().map(|m| m.event_id()).collect::<Vec<_>>(),
            [Some(&*log[1].id), Some(&*log[0].id)]
        );
        world.repository.fsck().await
    })
    .await
}

pub(crate) async fn wait_on_branch(world: &World, branch: &str, tag: &str) -> Result<()> {
    let wanted = world.expected_manifest(tag);
    eventually(PATIENCE, format!("{tag} on {branch}"), async || {
        let found = world.repository.show(branch, MANIFEST_PATH).await?;
        ensure!(found == wanted.as_bytes(), "{}", String::from_utf8_lossy(&found));
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn two_automations_of_one_branch_share_a_push_and_have_a_commit_each() -> Result<()> {
    let marked =
        format!("image: {REGISTRY_PLACE}/team/podinfo:1.0.0 # {{\"$imagepolicy\": \"apps:podinfo\"}}\n");
    let options = WorldOptions {
        files: vec![
            ("edge/app.yaml".to_owned(), marked),
            ("docs/readme.yaml".to_owned(), "a: 1\n".to_owned()),
        ],
        ..WorldOptions::default()
    };
    world::run_prepared(options, async |world| {
        let automations = [(FLEET, "./apps"), ("edge", "./edge"), ("docs", "./docs")];
        let automations = automations.map(|(name, path)| {
            let text = config::automation(NAMESPACE, name, "1h", path);
            text.replace(
                &format!("kind: GitRepository\n    name: {name}"),
                "kind: GitRepository\n    name: fleet",
            )
        });
        let repository = config::git_repository(NAMESPACE, FLEET, &world.git.url(FLEET), None);
        let all = std::iter::once(repository).chain(automations);
        world.config.write("git.yaml", config::documents(all))?;
        world.start_windlass().await?;
        world.idle().await?;

        // The lane is held by a third automation, which has nothing to write, until both others wait for it.
        let gate = world.git.traffic().hold(GitServer::fetches(), Point::Before);
        world.running()?.reconcile("ImageUpdateAutomation/apps/docs").await?;
        gate.arrived(PATIENCE).await?;
        world.push("1.0.1").await?;
        let chosen = |status: &serde_json::Value| {
            status["latest"].as_str().is_some_and(|latest| latest.ends_with(":1.0.1"))
        };
        world.running()?.wait_for_resource(POLICY, PATIENCE, chosen).await?;
        gate.open();

        world.wait_for("1.0.1").await?;
        let commits = world.expect_commits(2).await?;
        assert_eq!(world.git.traffic().count(&GitServer::pushes()), 1);
        for commit in commits {
            let edge = commit.message.contains("Windlass-Automation: apps/edge");
            let (folder, name) =
                if edge { ("edge/app.yaml", "apps/edge") } else { (MANIFEST_PATH, "apps/fleet") };
            assert!(commit.message.contains(&format!("Windlass-Automation: {name}\n")), "{}", commit.message);
            assert_eq!(world.repository.changed_paths(&commit.id).await?, [folder]);
        }
        Ok(())
    })
    .await
}
