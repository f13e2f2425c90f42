//! How commits are signed and pushed: signing keys, push options, further refs, and push branches whose checkout branch
//! moves on.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use windlass_testkit::config::documents;
use windlass_testkit::eventually;
use windlass_testkit::git_repository::BRANCH;
use windlass_testkit::observed::AUTOMATION;
use windlass_testkit::world::{
    self, MANIFEST_PATH, NAMESPACE, PATIENCE, REGISTRY_PLACE, World, WorldOptions,
};

const UPDATES: &str = "windlass/updates";
const AUTHOR: &str = "        email: windlass@example.org\n";
const PUSH: &str = "    push:\n      branch: main\n";

/// Rewrites the automation.
fn configure(world: &World, before: &str, after: &str) -> Result<()> {
    let path = world.config.path().join("git.yaml");
    let text = std::fs::read_to_string(path).context("reading the configuration")?;
    ensure!(text.contains(before), "{before} is not in\n{text}");
    world.config.write("git.yaml", text.replace(before, after))
}

fn secret(name: &str, pairs: &[(&str, &str)]) -> String {
    let head = format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: {NAMESPACE}\n");
    let pairs = pairs.iter().map(|(key, value)| {
        let value = value.trim_end().replace('\n', "\n    ");
        format!("  {key}: |\n    {value}\n")
    });
    let pairs: Vec<String> = pairs.collect();
    format!("{head}stringData:\n{}", pairs.concat().replace("password: |", "password: |-"))
}

async fn wait_on(world: &World, branch: &str, tag: &str) -> Result<()> {
    let wanted = world.expected_manifest(tag);
    eventually(PATIENCE, format!("{tag} on {branch}"), async || {
        let found = world.repository.show(branch, MANIFEST_PATH).await?;
        ensure!(found == wanted.as_bytes(), "{}", String::from_utf8_lossy(&found));
        Ok(Some(()))
    })
    .await
}

fn updates_branch(world: &World) -> Result<()> {
    configure(world, PUSH, &format!("    push:\n      branch: {UPDATES}\n"))
}

#[tokio::test]
async fn commits_are_signed_and_a_key_that_does_not_open_is_told() -> Result<()> {
    const PASSWORD: &str = "hunter2-passphrase";
    world::run_prepared(WorldOptions::default(), async |world| {
        let keys = tempfile::tempdir()?;
        let path = keys.path().join("identity");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", PASSWORD, "-C", "windlass", "-f"])
            .arg(&path)
            .status()
            .context("ssh-keygen is needed")?;
        ensure!(made.success(), "ssh-keygen failed");
        let (key, public) =
            (std::fs::read_to_string(&path)?, std::fs::read_to_string(path.with_extension("pub"))?);
        let signed = format!(
            "{AUTHOR}      signingKey:\n        type: ssh\n        secretRef:\n          name: signing\n"
        );
        configure(world, AUTHOR, &signed)?;
        world
            .config
            .write("signing.yaml", secret("signing", &[("identity", &key), ("password", "wrong")]))?;
        world.start_windlass().await?;
        world.wait_failing(AUTOMATION, "the key `identity` of Secret/apps/signing cannot be opened").await?;
        assert_eq!(world.commits().await?, [], "nothing is committed unsigned");

        world
            .config
            .write("signing.yaml", secret("signing", &[("identity", &key), ("password", PASSWORD)]))?;
        world.wait_working(AUTOMATION).await?;
        world.push("1.0.1").await?;
        world.wait_for("1.0.1").await?;
        let allowed = keys.path().join("allowed");
        std::fs::write(&allowed, format!("windlass@example.org {public}"))?;
        let allowed = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
        world.repository.git(&["-c", &allowed, "verify-commit", BRANCH]).await?;
        let log = world.log_text();
        assert!(!log.contains(PASSWORD) && !log.contains("PRIVATE KEY"), "{log}");
        world.repository.fsck().await
    })
    .await
}

#[tokio::test]
async fn push_options_and_a_second_destination_reach_the_server() -> Result<()> {
    world::run_prepared(WorldOptions::default(), async |world| {
        let hook = "printf '%s\\n' \"$GIT_PUSH_OPTION_COUNT $GIT_PUSH_OPTION_0 $GIT_PUSH_OPTION_1\" >> options\ncat > /dev/null\n";
        world.repository.install_hook("pre-receive", hook)?;
        let options = "      options:\n        merge_request.create: \"\"\n        merge_request.target: main\n";
        let refspec = "      refspec: refs/heads/main:refs/heads/auto\n";
        configure(world, PUSH, &format!("{PUSH}{refspec}{options}"))?;
        world.start_windlass().await?;
        world.push("1.0.1").await?;
        let commit = world.wait_for("1.0.1").await?;
        wait_on(world, "auto", "1.0.1").await?;
        assert_eq!(world.repository.head("auto").await?, Some(commit.id));
        let seen = std::fs::read_to_string(world.repository.folder().join("options"))?;
        assert_eq!(seen, "2 merge_request.create merge_request.target=main\n", "one push");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_second_destination_that_is_refused_is_no_success_and_is_tried_again() -> Result<()> {
    world::run_prepared(WorldOptions::default(), async |world| {
        world.repository.git(&["config", "receive.advertiseAtomic", "false"]).await?;
        let hook = "if [ \"$1\" = refs/heads/auto ]; then echo 'auto is frozen'; exit 1; fi\n";
        world.repository.install_hook("update", hook)?;
        configure(world, PUSH, &format!("{PUSH}      refspec: HEAD:refs/heads/auto\n"))?;
        world.start_windlass().await?;
        world.push("1.0.1").await?;
        let commit = world.wait_for("1.0.1").await?;
        world.wait_failing(AUTOMATION, "refs/heads/auto: hook declined: auto is frozen").await?;
        world.running()?.reconcile(AUTOMATION).await?;
        world.wait_failing(AUTOMATION, "refs/heads/auto: hook declined: auto is frozen").await?;
        world.repository.remove_hook("update")?;
        world.running()?.reconcile(AUTOMATION).await?;
        world.wait_working(AUTOMATION).await?;
        assert_eq!(world.repository.head("auto").await?, Some(commit.id));
        world.expect_commits(1).await.map(drop)
    })
    .await
}

#[tokio::test]
async fn a_push_branch_is_rebuilt_where_its_files_changed_on_the_checkout_branch() -> Result<()> {
    world::run_prepared(WorldOptions::default(), async |world| {
        updates_branch(world)?;
        world.start_windlass().await?;
        world.push("1.0.1").await?;
        wait_on(world, UPDATES, "1.0.1").await?;
        world.idle().await?;
        let first = world.repository.head(UPDATES).await?;

        // What does not touch our files can be merged as it is.
        world.repository.commit(BRANCH, "Elsewhere\n", [("README.md", "moved on\n")]).await?;
        world.running()?.reconcile(AUTOMATION).await?;
        world.idle().await?;
        assert_eq!(world.repository.head(UPDATES).await?, first);

        // What does would be a conflict.
        let theirs = format!("{}# by a person\n", world.expected_manifest("1.0.0"));
        world.repository.commit(BRANCH, "By hand\n", [(MANIFEST_PATH, theirs)]).await?;
        world.running()?.reconcile(AUTOMATION).await?;
        let wanted = format!("{}# by a person\n", world.expected_manifest("1.0.1"));
        eventually(PATIENCE, "the rebuilt branch".to_owned(), async || {
            let found = world.repository.show(UPDATES, MANIFEST_PATH).await?;
            ensure!(found == wanted.as_bytes(), "{}", String::from_utf8_lossy(&found));
            Ok(Some(()))
        })
        .await?;
        world.idle().await?;
        let log = world.repository.log(UPDATES).await?;
        assert_eq!(Some(&log[0].parents[0]), world.repository.head(BRANCH).await?.as_ref());
        let subjects: Vec<&str> = log.iter().filter_map(|commit| commit.message.lines().next()).collect();
        assert_eq!(subjects[1..], ["By hand", "Elsewhere", "Start"], "one commit of ours on top");
        assert_eq!(world.diagnostics(AUTOMATION).await?, [""; 0]);
        world.repository.fsck().await
    })
    .await
}

#[tokio::test]
async fn what_a_person_added_to_the_push_branch_is_never_overwritten() -> Result<()> {
    world::run_prepared(WorldOptions::default(), async |world| {
        updates_branch(world)?;
        world.start_windlass().await?;
        world.push("1.0.1").await?;
        wait_on(world, UPDATES, "1.0.1").await?;
        world.idle().await?;
        let theirs = world.repository.commit(UPDATES, "Fix\n", [("fix.yaml", "a: 1\n")]).await?;
        world.repository.commit(BRANCH, "Elsewhere\n", [("README.md", "moved on\n")]).await?;
        world.push("1.0.2").await?;
        wait_on(world, UPDATES, "1.0.2").await?;
        world.idle().await?;
        assert_eq!(world.repository.log(UPDATES).await?[0].parents, [theirs]);
        let told = world.diagnostics(AUTOMATION).await?.join("\n");
        assert!(told.contains("has commits of others, so it is not rebuilt"), "{told}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_merged_push_branch_goes_on_from_the_checkout_branch() -> Result<()> {
    world::run_prepared(WorldOptions::default(), async |world| {
        updates_branch(world)?;
        world.start_windlass().await?;
        world.push("1.0.1").await?;
        wait_on(world, UPDATES, "1.0.1").await?;
        world.idle().await?;
        // Squashed, as forges do: the same content by another commit.
        let merged = world.expected_manifest("1.0.1");
        let squashed = world.repository.commit(BRANCH, "Squashed\n", [(MANIFEST_PATH, merged)]).await?;
        world.running()?.reconcile(AUTOMATION).await?;
        world.idle().await?;
        world.push("1.0.2").await?;
        wait_on(world, UPDATES, "1.0.2").await?;
        world.idle().await?;
        assert_eq!(world.repository.log(UPDATES).await?[0].parents, [squashed]);
        assert_eq!(world.diagnostics(AUTOMATION).await?, [""; 0]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_rebuilt_push_branch_keeps_the_commits_of_every_automation() -> Result<()> {
    let marked =
        format!("image: {REGISTRY_PLACE}/team/podinfo:1.0.0 # {{\"$imagepolicy\": \"apps:podinfo\"}}\n");
    let options =
        WorldOptions { files: vec![("edge/app.yaml".to_owned(), marked)], ..WorldOptions::default() };
    world::run_prepared(options, async |world| {
        updates_branch(world)?;
        configure(world, "    path: ./\n", "    path: ./apps\n")?;
        let text = std::fs::read_to_string(world.config.path().join("git.yaml"))?;
        let fleet =
            text.split("---\n").find(|text| text.contains("kind: ImageUpdateAutomation")).context("it")?;
        let edge = fleet.replacen("name: fleet", "name: edge", 1).replace("path: ./apps", "path: ./edge");
        world.config.write("edge.yaml", documents([edge]))?;
        world.start_windlass().await?;
        world.push("1.0.1").await?;
        wait_on(world, UPDATES, "1.0.1").await?;
        world.idle().await?;
        let theirs = format!("{}# by a person\n", world.expected_manifest("1.0.0"));
        world.repository.commit(BRANCH, "By hand\n", [(MANIFEST_PATH, theirs)]).await?;
        // One of them is asked, and both are there afterwards.
        world.running()?.reconcile(AUTOMATION).await?;
        eventually(PATIENCE, "the rebuilt branch".to_owned(), async || {
            let log = world.repository.log(UPDATES).await?;
            ensure!(log[2].message.starts_with("By hand"), "{log:?}");
            Ok(Some(()))
        })
        .await?;
        world.idle().await?;
        for path in [MANIFEST_PATH, "edge/app.yaml"] {
            let found = String::from_utf8(world.repository.show(UPDATES, path).await?)?;
            assert!(found.contains("podinfo:1.0.1"), "{path}: {found}");
        }
        Ok(())
    })
    .await
}
