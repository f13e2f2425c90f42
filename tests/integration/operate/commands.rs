//! The commands: `check`, `status`, `reconcile`, `--help`, and what they say when nothing runs.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use windlass_testkit::config::{self, ConfigFolder};
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::git_server::GitServer;
use windlass_testkit::http_fault::tag_lists;
use windlass_testkit::observed::{AUTOMATION, IMAGE, POLICY};
use windlass_testkit::windlass::{command, resource};
use windlass_testkit::world::{self, APP, FLEET, NAMESPACE, PATIENCE, RECEIVER, TOKEN, World, WorldOptions};

use super::{SOON, code, stderr, stdout, windlass};

#[tokio::test]
async fn check_accepts_a_good_directory_and_prints_its_webhooks() -> Result<()> {
    let folder = ConfigFolder::new()?;
    let path = config::webhook_path(TOKEN, RECEIVER, NAMESPACE);
    folder.write(
        "images.yaml",
        config::documents([
            config::image_repository(NAMESPACE, APP, "registry.example.org/team/podinfo", "5m", None),
            config::image_policy(NAMESPACE, APP, ">=1.0.0", "Never"),
            config::receiver(NAMESPACE, RECEIVER, "distribution", "hook", &[APP]),
            config::secret(NAMESPACE, "hook", &[("token", TOKEN)]),
        ]),
    )?;
    folder.write(
        "git.yml",
        config::documents([
            config::git_repository(NAMESPACE, FLEET, "http://git.example.org/fleet.git", Some("git")),
            config::automation(NAMESPACE, FLEET, "30m", "./"),
            config::secret(NAMESPACE, "git", &[("username", "bot"), ("password", "a-git-password")]),
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: podinfo\n".to_owned(),
        ]),
    )?;
    let table = windlass(&["check", "--config"], folder.path()).await?;
    let text = stdout(&table);
    ensure!(code(&table) == Some(0), "{text}{}", stderr(&table));
    for shown in ["apps/podinfo", &path, "1 Deployment.apps", "unencrypted", "0 errors, 1 warning"] {
        ensure!(text.contains(shown), "`{shown}` is not in\n{text}");
    }
    let json = windlass(&["check", "--output", "json", "--config"], folder.path()).await?;
    let report: Value = serde_json::from_slice(&json.stdout).context("reading the JSON")?;
    ensure!(code(&json) == Some(0) && report["errors"] == 0 && report["warnings"] == 1, "{report:#}");
    ensure!(
        report["webhooks"][0]["path"] == path.as_str() && report["webhooks"][0]["ready"] == true,
        "{report:#}"
    );
    ensure!(report["ignored"]["Deployment.apps"] == 1, "{report:#}");
    for text in [text, stdout(&json)] {
        ensure!(!text.contains(TOKEN) && !text.contains("a-git-password"), "a secret is printed:\n{text}");
    }
    Ok(())
}

#[tokio::test]
async fn check_reports_every_problem_at_once_with_its_place() -> Result<()> {
    let folder = ConfigFolder::new()?;
    folder.write(
        "a.yaml",
        config::documents([
            config::image_repository(NAMESPACE, APP, "registry.example.org/Team/podinfo", "5 minutes", None),
            config::image_policy(NAMESPACE, APP, ">=1.0.0 <<", "Sometimes"),
            config::receiver(NAMESPACE, RECEIVER, "harbour", "hook", &[APP]),
        ]),
    )?;
    folder.write("b.yaml", "apiVersion: windlass.dev/v1alpha1\nkind: Notifer\nmetadata:\n  name: a\n")?;
    folder.write(
        "c.yaml",
        config::automation(NAMESPACE, FLEET, "30m", "./").replace("strategy: Setters", "strategie: Setters"),
    )?;
    folder.write("d.yaml", "a: [")?;
    let table = windlass(&["check", "--config"], folder.path()).await?;
    let text = stdout(&table);
    ensure!(code(&table) == Some(1), "{text}");
    for (place, what) in [
        ("a.yaml:8:", "spec.image"),
        ("a.yaml:9:", "spec.interval"),
        ("a.yaml:", "spec.policy.semver.range"),
        ("a.yaml:", "spec.digestReflectionPolicy"),
        ("a.yaml:", "spec.type"),
        ("b.yaml:", "Notifer"),
        ("c.yaml:", "did you mean `strategy`?"),
        ("d.yaml:", "error"),
    ] {
        let found = text.lines().any(|line| line.starts_with(place) && line.contains(what));
        ensure!(found, "nothing says {place} {what}:\n{text}");
    }
    let json = windlass(&["check", "--output", "json", "--config"], folder.path()).await?;
    let report: Value = serde_json::from_slice(&json.stdout).context("reading the JSON")?;
    let problems = report["problems"].as_array().context("a list of problems")?;
    ensure!(code(&json) == Some(1) && report["errors"] == problems.len(), "{report:#}");
    let placed = |problem: &Value| problem["file"].is_string() && problem["line"].as_u64() > Some(0);
    ensure!(problems.len() >= 8 && problems.iter().all(placed), "{report:#}");

    for (folder, why) in [("/nonexistent/config", "cannot be read"), ("/dev/null", "cannot be read")] {
        let missing = windlass(&["check", "--config"], Path::new(folder)).await?;
        ensure!(code(&missing) == Some(1) && stdout(&missing).contains(why), "{}", stdout(&missing));
    }
    Ok(())
}

#[tokio::test]
async fn the_help_of_every_command_has_examples_and_mistakes_have_hints() -> Result<()> {
    for words in [
        &["--help"][..],
        &["run", "--help"],
        &["check", "--help"],
        &["status", "--help"],
        &["reconcile", "--help"],
    ] {
        let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        let help = command(&arguments).await?;
        let text = stdout(&help);
        let example =
            if words.len() == 1 { "windlass run --config" } else { &format!("windlass {} ", words[0]) };
        let (_, examples) =
            text.split_once("Examples:").with_context(|| format!("no examples in\n{text}"))?;
        ensure!(code(&help) == Some(0) && examples.contains(example), "no example of {words:?}:\n{text}");
    }
    for (words, hint) in [
        (&["run"][..], "--config"),
        (&["run", "--config", "a", "--data", "b", "--listen", "nowhere"], "--listen"),
        (&["stauts"], "status"),
        (&["reconcile", "podinfo", "--data", "x"], "KIND/NAMESPACE/NAME"),
        (&["reconcile", "Pod/apps/podinfo", "--data", "x"], "Pod"),
        (&["status", "--data", "x", "--output", "yaml"], "json"),
    ] {
        let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        let refused = command(&arguments).await?;
        let text = stderr(&refused);
        ensure!(code(&refused) == Some(2) && text.contains(hint), "{words:?}: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn commands_say_so_when_nothing_runs_and_run_refuses_what_cannot_work() -> Result<()> {
    let mut world = World::start(WorldOptions::default()).await?;
    let data = world.data.path().to_owned();
    let empty = fresh(Storage::Memory)?;
    let cases = async |path: &Path, why: &str| {
        for words in [&["status", "--data"][..], &["reconcile", IMAGE, "--data"]] {
            let output = windlass(words, path).await?;
            let text = stderr(&output);
            ensure!(
                code(&output) == Some(2) && text.contains(why) && output.stdout.is_empty(),
                "{words:?}: {text}"
            );
        }
        Ok(())
    };
    cases(empty.path(), "no instance has run").await?;

    // A second process on the same folder is refused, and the first one is not disturbed.
    let second = ["run", "--listen", "127.0.0.1:0", "--data"].map(OsString::from);
    let config = world.config.path().as_os_str().to_owned();
    let second = command(&[&second[..], &[data.clone().into(), "--config".into(), config]].concat()).await?;
    let text = format!("{}{}", stdout(&second), stderr(&second));
    ensure!(code(&second) == Some(1) && text.contains(&data.display().to_string()), "{text}");
    // As is one on a port that is taken, or without a configuration.
    let address = world.windlass().url().trim_start_matches("http://").to_owned();
    let other = fresh(Storage::Memory)?;
    let folder = other.path().display().to_string();
    for (config, listen, named) in [
        (world.config.path(), address.as_str(), address.as_str()),
        (Path::new("/nonexistent"), "127.0.0.1:0", "/nonexistent"),
    ] {
        let output = windlass(&["run", "--data", &folder, "--listen", listen, "--config"], config).await?;
        let text = stderr(&output);
        ensure!(code(&output) == Some(1) && text.contains(named), "{text}");
    }
    ensure!(code(&windlass(&["status", "--data"], &data).await?) == Some(0), "the first one was disturbed");

    world.windlass().kill();
    cases(&data, "is `windlass run` still running?").await?;
    world.windlass().restart().await?;
    ensure!(world.windlass().terminate(SOON).await?.code() == Some(0), "SIGTERM");
    cases(&data, "no instance has run").await
}

#[tokio::test]
async fn status_and_reconcile_talk_to_the_running_instance() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let data = world.data.path().to_owned();
        world.push("1.0.1").await?;
        let commit = world.wait_for("1.0.1").await?;
        let committed = |status: &Value| status["last_commit"] == commit.id.as_str();
        world.windlass().wait_for_resource(AUTOMATION, PATIENCE, committed).await?;
        let table = windlass(&["status", "--data"], &data).await?;
        let text = stdout(&table);
        ensure!(code(&table) == Some(0), "{text}{}", stderr(&table));
        for shown in
            ["KIND", "LATEST", "apps/podinfo", "team/podinfo:1.0.1", &commit.id[..10], &world.webhook_path()]
        {
            ensure!(text.contains(shown), "`{shown}` is not in\n{text}");
        }
        ensure!(!text.contains("failing") && !text.contains("pending"), "{text}");
        let json = windlass(&["status", "--output", "json", "--data"], &data).await?;
        let report: Value = serde_json::from_slice(&json.stdout).context("reading the JSON")?;
        ensure!(
            report["version"].is_string() && report["problems"] == Value::Array(Vec::new()),
            "{report:#}"
        );
        let entry =
            |object: &str| resource(&report, object).with_context(|| format!("no {object} in {report:#}"));
        ensure!(entry(IMAGE)?["tags"] == 2 && entry(IMAGE)?["last_scan"].is_string(), "{report:#}");
        for object in
            ["GitRepository/apps/fleet", "Receiver/apps/registry", "Notifier/apps/slack", AUTOMATION, POLICY]
        {
            ensure!(entry(object)?["ready"] == "ready", "{report:#}");
        }

        // A request for a run asks the registry or the Git server anew, by each of the names.
        let (registry, git) = (world.proxy.traffic().clone(), world.git.traffic().clone());
        for (object, traffic, asked, target) in [
            (IMAGE, &registry, tag_lists(), IMAGE),
            ("imagerepo/apps/podinfo", &registry, tag_lists(), IMAGE),
            (POLICY, &registry, tag_lists(), IMAGE),
            ("Receiver/apps/registry", &registry, tag_lists(), IMAGE),
            (AUTOMATION, &git, GitServer::fetches(), AUTOMATION),
            ("GitRepository/apps/fleet", &git, GitServer::fetches(), AUTOMATION),
        ] {
            let mark = traffic.mark();
            let output = windlass(&["reconcile", object, "--data"], &data).await?;
            ensure!(code(&output) == Some(0), "{object}: {}", stderr(&output));
            ensure!(stdout(&output) == format!("{target} queued\n"), "{object}: {}", stdout(&output));
            traffic.next_after(mark, &asked, PATIENCE).await.with_context(|| format!("after {object}"))?;
        }
        for object in [
            "ImagePolicy/apps/other",
            "ImageRepository/other/podinfo",
            "Notifier/apps/slack",
            "Secret/apps/webhook-token",
        ] {
            let output = windlass(&["reconcile", object, "--data"], &data).await?;
            let text = stderr(&output);
            ensure!(
                code(&output) == Some(2) && text.contains(object) && text.contains("windlass status"),
                "{text}"
            );
        }

        world.registry.down();
        world.windlass().reconcile(IMAGE).await?;
        world.windlass().wait_for_resource(IMAGE, PATIENCE, |status| status["ready"] == "failing").await?;
        let table = windlass(&["status", "--data"], &data).await?;
        ensure!(code(&table) == Some(1) && stdout(&table).contains("failing"), "{}", stdout(&table));
        Ok(())
    })
    .await
}
