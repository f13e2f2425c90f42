//! `windlass plan`: it shows what a run commits then, and leaves everything as it is.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use windlass_testkit::eventually;
use windlass_testkit::git_repository::{self, BRANCH};
use windlass_testkit::git_server::GitServer;
use windlass_testkit::observed::AUTOMATION;
use windlass_testkit::windlass;
use windlass_testkit::world::{self, MANIFEST_PATH, PATIENCE, World, WorldOptions};

const VARIANTS: &str = "variants.yaml";

/// `windlass plan` for the world's configuration, with these arguments: exit code, standard output, standard error.
async fn plan(world: &World, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let config = world.config.path().as_os_str().to_owned();
    let start = [OsString::from("plan"), "--config".into(), config];
    let arguments: Vec<OsString> = start.into_iter().chain(arguments.iter().map(OsString::from)).collect();
    let output = windlass::command(&arguments).await?;
    let read = |bytes: Vec<u8>| String::from_utf8(bytes).context("not UTF-8");
    Ok((output.status.code(), read(output.stdout)?, read(output.stderr)?))
}

/// As a JSON document; `code` is the expected exit code.
async fn planned(world: &World, code: i32, arguments: &[&str]) -> Result<Value> {
    let (found, out, err) = plan(world, &[arguments, &["--output", "json"]].concat()).await?;
    ensure!(found == Some(code), "exit code {found:?}: {out}\n{err}");
    serde_json::from_str(&out).context("not JSON")
}

/// What `git apply` makes of the branch's files and this patch, at the path.
async fn applied(world: &World, path: &str, diff: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join(path);
    std::fs::create_dir_all(file.parent().context("a folder")?)?;
    std::fs::write(&file, world.repository.show(BRANCH, path).await?)?;
    git_apply(folder.path(), diff).await?;
    std::fs::read_to_string(file).context("reading what git made")
}

async fn git_apply(folder: &Path, patch: &str) -> Result<()> {
    let mut git = git_repository::isolated_git(folder);
    let mut git = git.args(["apply", "-"]).stdin(Stdio::piped()).spawn()?;
    git.stdin.take().context("standard input")?.write_all(patch.as_bytes()).await?;
    ensure!(git.wait().await?.success(), "git apply refuses\n{patch}");
    Ok(())
}

#[tokio::test]
async fn what_the_plan_shows_is_what_the_run_commits() -> Result<()> {
    world::run_prepared(
        WorldOptions { digest: "IfNotPresent".to_owned(), ..WorldOptions::default() },
        async |world| {
            let (code, out, err) = plan(world, &["--check"]).await?;
            ensure!(
                (code, out.contains("nothing would be committed")) == (Some(0), true),
                "{code:?}: {out}{err}"
            );
            let digest = world.push("1.0.1").await?;
            let document = planned(world, 0, &[]).await?;
            assert_eq!(document["changes"], true);
            assert_eq!(document["not_ready"], serde_json::json!([]));
            let commit = &document["branches"][0]["commits"][0];
            let (message, file) = (commit["message"].as_str().context("a message")?, &commit["files"][0]);
            assert_eq!(file["path"], MANIFEST_PATH);
            let made = applied(world, MANIFEST_PATH, file["diff"].as_str().context("a diff")?).await?;
            assert_eq!(made, world.expected_manifest(&format!("1.0.1@{digest}")));

            let (code, out, err) = plan(world, &["--check"]).await?;
            assert_eq!(code, Some(3));
            assert!(err.contains("looking at 1 images"), "{err}");
            assert_eq!(applied(world, MANIFEST_PATH, &out).await?, made, "the text is a patch too");
            for line in message.lines() {
                assert!(out.contains(line), "{out}");
            }
            // Nobody heard of it, and nothing was pushed or kept.
            assert_eq!(world.git.traffic().count(&GitServer::pushes()), 0);
            assert!(world.commits().await?.is_empty() && world.slack.messages().is_empty());

            world.start_windlass().await?;
            world.wait_for(&format!("1.0.1@{digest}")).await?;
            let landed = world.expect_commits(1).await?.remove(0);
            assert_eq!(world.manifest_at_head().await?, made);
            let lines = landed.message.lines().filter(|line| !line.starts_with("Windlass-Event: "));
            let without_events = lines.collect::<Vec<_>>().join("\n");
            assert_eq!(without_events.trim_end(), message.trim_end());
            assert_eq!(landed.author, commit["author"].as_str().context("an author")?);
            assert_eq!(planned(world, 0, &["--check"]).await?["changes"], false);
            Ok(())
        },
    )
    .await
}

#[tokio::test]
async fn a_plan_beside_a_running_instance_knows_its_holds_and_touches_nothing() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        world.push("1.1.0").await?;
        world.wait_for("1.1.0").await?;
        world.idle().await?;
        let by_hand = world.expected_manifest("1.0.0");
        world.repository.commit(BRANCH, "By hand\n", [(MANIFEST_PATH, by_hand)]).await?;
        let data = world.data.path().to_str().context("a path")?.to_owned();
        let files = || -> Result<Vec<OsString>> {
            let mut names: Vec<_> = std::fs::read_dir(world.data.path())?
                .map(|entry| Ok(entry?.file_name()))
                .collect::<Result<_>>()?;
            names.sort();
            Ok(names)
        };
        let before = files()?;
        // The ledger knows of the hold; without it, the trailers of the commits do.
        for ledger in [&["--data", &data, "--check"][..], &["--check"]] {
            let document = planned(world, 0, ledger).await?;
            let waiting = document["branches"][0]["waiting"][0].to_string();
            assert!(waiting.contains("is held: a person set 1.0.0 in place of 1.1.0"), "{document:#}");
            assert_eq!((&document["changes"], files()?), (&Value::Bool(false), before.clone()));
        }

        let slack = world.slack.messages().len();
        world.running()?.reconcile(AUTOMATION).await?;
        world.slack.wait_for(slack + 1, PATIENCE).await?;
        world.push("1.2.0").await?;
        world.wait_for("1.2.0").await?;
        world.expect_commits(2).await.map(drop)
    })
    .await
}

#[tokio::test]
async fn a_plan_finds_the_variants_of_a_locked_policy_and_says_what_waits() -> Result<()> {
    let place = |tag: &str| format!("tag: {tag} # {{\"$imagepolicy\": \"apps:podinfo:tag\"}}\n");
    let text = place("1.0.0-slim") + &place("1.0.0-nano");
    let options = WorldOptions { files: vec![(VARIANTS.to_owned(), text)], ..WorldOptions::default() };
    world::run_prepared(options, async |world| {
        let images = std::fs::read_to_string(world.config.path().join("images.yaml"))?;
        let locked = "kind: ImagePolicy\nmetadata:\n  annotations: {windlass.dev/variant-lock: 'true'}\n";
        world.config.write("images.yaml", images.replace("kind: ImagePolicy\nmetadata:\n", locked))?;
        world.push("1.1.0-slim").await?;
        world.push("1.2.0-alpine").await?;
        let document = planned(world, 0, &[]).await?;
        let branch = &document["branches"][0];
        let patch = branch["commits"][0]["files"][0]["diff"].as_str().context("a diff")?;
        assert_eq!(applied(world, VARIANTS, patch).await?, place("1.1.0-slim") + &place("1.0.0-nano"));
        let waiting = branch["waiting"].to_string();
        assert!(
            waiting.contains("variants.yaml:2: apps:podinfo:tag waits: no tag of the variant `nano`"),
            "{waiting}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_named_and_the_plan_says_that_it_may_lack_something() -> Result<()> {
    world::run_prepared(WorldOptions::default(), async |world| {
        let git = std::fs::read_to_string(world.config.path().join("git.yaml"))?;
        world.config.write("git.yaml", git.replace("branch: main", "branch: nowhere"))?;
        let (code, out, err) = plan(world, &[]).await?;
        assert_eq!(code, Some(1), "{out}{err}");
        assert!(out.contains("failed: branch nowhere does not exist in the repository"), "{out}");
        world.registry.down();
        eventually(PATIENCE, "the registry to be gone", async || {
            let (code, out, _) = plan(world, &["--check"]).await?;
            ensure!(code == Some(1) && out.contains("ImageRepository/apps/podinfo failing: "), "{out}");
            Ok(Some(()))
        })
        .await?;
        let (code, _, err) = plan(world, &["--data", "/nowhere"]).await?;
        assert_eq!(code, Some(2));
        assert!(err.contains("error: --data /nowhere: "), "{err}");
        Ok(())
    })
    .await
}
