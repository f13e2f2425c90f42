//! The process: its log, its end, its memory.

use std::ffi::OsString;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use windlass_testkit::eventually;
use windlass_testkit::git_server::GitServer;
use windlass_testkit::observed::IMAGE;
use windlass_testkit::traffic::Point;
use windlass_testkit::world::{PATIENCE, World, WorldOptions};

use super::SOON;

/// A debug build; a release build is measured by `cargo xtask bench`.
const IDLE_BOUND: u64 = 150 << 20;

#[tokio::test]
async fn json_logs_are_one_object_a_line() -> Result<()> {
    let arguments = ["--log-format", "json", "--log-level", "debug"].map(OsString::from).to_vec();
    let mut world = World::start(WorldOptions { arguments, ..WorldOptions::default() }).await?;
    world.push("1.0.1").await?;
    world.wait_for("1.0.1").await?;
    world.registry.down();
    world.windlass().reconcile(IMAGE).await?;
    world.windlass().wait_for_resource(IMAGE, PATIENCE, |status| status["ready"] == "failing").await?;
    world.config.write("broken.yaml", "apiVersion: v1\nkind: Secret\nmetadata: 7\n")?;
    let path = world.webhook_path();
    world.windlass().post(&path, &[], b"\xff\n{\"level\":\"\n".to_vec()).await?;
    eventually(PATIENCE, "the broken file to be told", async || {
        Ok(world.log_text().contains("broken.yaml").then_some(()))
    })
    .await?;
    ensure!(world.windlass().terminate(SOON).await?.code() == Some(0), "SIGTERM");
    let log = world.log_text();
    let mut levels = std::collections::BTreeSet::new();
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
        for key in ["timestamp", "level", "target", "message"] {
            ensure!(entry[key].is_string(), "no {key}: {line}");
        }
        levels.insert(entry["level"].as_str().unwrap_or_default().to_owned());
    }
    for level in ["DEBUG", "INFO", "WARN", "ERROR"] {
        ensure!(levels.contains(level), "the run was to log at {level}; it did at {levels:?}");
    }
    Ok(())
}

#[tokio::test]
async fn sigterm_ends_in_order_and_a_second_signal_at_once() -> Result<()> {
    let mut world = World::start(WorldOptions::default()).await?;
    let started = Instant::now();
    ensure!(world.windlass().terminate(SOON).await?.code() == Some(0), "SIGTERM");
    println!("SIGTERM to exit: {:?}", started.elapsed());
    ensure!(world.log_text().contains("stopped"), "the log tells the end");
    ensure!(!world.data.path().join("endpoint.json").exists(), "nobody is sent to a process that has ended");

    // A push that the server does not answer: the first signal waits for it, the second does not.
    world.windlass().restart().await?;
    let held = world.git.traffic().hold(GitServer::pushes(), Point::Before);
    world.push("1.0.1").await?;
    held.arrived(PATIENCE).await?;
    world.windlass().process().signal("INT")?;
    eventually(SOON, "the first signal to be told", async || {
        // The log has the first run's end too.
        Ok((world.log_text().matches("finishing what is in flight").count() == 2).then_some(()))
    })
    .await?;
    world.windlass().process().expect_running()?;
    world.windlass().process().signal("INT")?;
    let process = world.windlass().process();
    let ended = eventually(SOON, "the second signal to end it", async || process.exited()).await?;
    ensure!(ended.code() == Some(1), "it ended with {ended}");
    ensure!(world.log_text().contains("stopped at once"), "the log tells the end");

    // What was in flight is found again, whether or not it landed after all.
    held.open();
    world.windlass().restart().await?;
    world.wait_for("1.0.1").await?;
    world.windlass().wait_ready(PATIENCE).await?;
    let held = world.git.traffic().hold(GitServer::pushes(), Point::Before);
    world.push("1.0.2").await?;
    held.arrived(PATIENCE).await?;
    world.windlass().process().signal("TERM")?;
    held.open();
    let process = world.windlass().process();
    let ended = eventually(SOON, "the push to be finished", async || process.exited()).await?;
    ensure!(ended.code() == Some(0), "it ended with {ended}");
    world.wait_for("1.0.2").await?;
    ensure!(world.commits().await?.len() == 2, "each tag was committed once");
    Ok(())
}

#[tokio::test]
async fn an_idle_process_needs_little_memory() -> Result<()> {
    let mut world = World::start(WorldOptions::default()).await?;
    let (now, peak) = (world.windlass().resident_memory()?, world.windlass().peak_memory()?);
    println!("idle memory of a debug build: {} MiB, at most {} MiB", now >> 20, peak >> 20);
    ensure!(now < IDLE_BOUND, "{} MiB", now >> 20);
    Ok(())
}
