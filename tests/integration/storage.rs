//! The queue's storage is full, killed, or deleted while processes run on it: no webhook is taken that could be lost,
//! the processes live, and afterwards everything converges without a restart.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use windlass_testkit::eventually;
use windlass_testkit::folder::SmallDisk;
use windlass_testkit::http_fault::manifest;
use windlass_testkit::nats::NatsServer;
use windlass_testkit::observed::IMAGE;
use windlass_testkit::traffic::Point;
use windlass_testkit::windlass::{Windlass, WindlassOptions};
use windlass_testkit::world::{self, Announces, PATIENCE, World, WorldOptions};

use crate::queue::{Second, on_queue};

const TAG: &str = "1.0.1";
/// Room for the database and the mirror, with some to spare.
const SMALL: u64 = 8 << 20;
/// Far more webhooks than fit into what the database's log has left in a full disk.
const MANY: usize = 4000;

fn quiet() -> WorldOptions {
    WorldOptions { announces: Announces::Nothing, ..WorldOptions::default() }
}

async fn answer(world: &World, event: &str, tag: &str, digest: &str) -> Result<u16> {
    Ok(world.announce(event, tag, digest).await?.status().as_u16())
}

/// Sends webhooks until one is refused.
async fn until_refused(world: &World, tag: &str, digest: &str) -> Result<()> {
    for number in 0..MANY {
        match answer(world, &format!("event-{number}"), tag, digest).await? {
            200 => {}
            503 => return Ok(()),
            other => anyhow::bail!("a webhook was answered {other}"),
        }
    }
    anyhow::bail!("{MANY} webhooks were taken, and nothing was full")
}

/// A sender repeats a webhook until it is taken.
async fn taken(world: &World, tag: &str, digest: &str) -> Result<()> {
    eventually(PATIENCE, "the webhook to be taken", async || {
        Ok((answer(world, "repeated", tag, digest).await? == 200).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_full_disk_refuses_webhooks_and_with_room_everything_converges() -> Result<()> {
    world::run_prepared(quiet(), async |world| {
        let disk = SmallDisk::new(SMALL).await?;
        let (data, joins) = (disk.inside().join("data"), Some(disk.holder()));
        let options = WindlassOptions { data, joins, ..world.windlass_options() };
        world.windlass.insert(Windlass::start(options).await?).wait_ready(PATIENCE).await?;
        let digest = world.push(TAG).await?;
        let ballast = disk.fill()?;
        until_refused(world, TAG, &digest).await?;
        let windlass = world.running()?;
        ensure!(windlass.get("/healthz").await?.status() == 200, "the process answers");
        ensure!(world.log_text().contains("is full: free some space"), "the log says why");
        fs::remove_file(ballast).context("making room")?;
        taken(world, TAG, &digest).await?;
        world.wait_for(TAG).await?;
        world.expect_commits(1).await?;
        world.windlass().process().expect_running()
    })
    .await
}

#[tokio::test]
async fn a_full_queue_refuses_webhooks_and_with_room_everything_converges() -> Result<()> {
    let server = NatsServer::start().await?;
    let options = WorldOptions { announces: Announces::Nothing, ..on_queue(&server, &[]) };
    world::run(options, async |world| {
        world.wait_working(IMAGE).await?;
        let digest = world.push(TAG).await?;
        let gate = world.proxy.traffic().hold(manifest(TAG), Point::Before);
        ensure!(answer(world, "before", TAG, &digest).await? == 200, "there is room");
        gate.arrived(PATIENCE).await?;
        bound(&server, 1024).await?;
        until_refused(world, "1.0.2", &digest).await?;
        // What is known of the tag cannot be recorded, so nothing is pushed.
        gate.open();
        let words = "the store cannot be written";
        eventually(PATIENCE, format!("`{words}` in the log"), async || {
            Ok(world.log_text().contains(words).then_some(()))
        })
        .await?;
        ensure!(world.commits().await?.is_empty(), "something was pushed that nobody could record");
        bound(&server, -1).await?;
        world.wait_for(TAG).await?;
        world.expect_commits(1).await?;
        Ok(())
    })
    .await
}

/// Sets how many bytes the stream may have.
async fn bound(server: &NatsServer, bytes: i64) -> Result<()> {
    let jetstream = server.jetstream().await?;
    let mut config = jetstream.get_stream("windlass").await?.get_info().await?.config;
    config.max_bytes = bytes;
    jetstream.update_stream(&config).await.context("editing the stream")?;
    Ok(())
}

#[tokio::test]
async fn a_queues_server_that_is_killed_under_two_processes_costs_no_event() -> Result<()> {
    let mut server = NatsServer::start().await?;
    let options = WorldOptions { announces: Announces::Nothing, ..on_queue(&server, &[]) };
    world::run(options, async |world| {
        world.wait_working(IMAGE).await?;
        let mut second = Second::start(world, None).await?;
        let digest = world.push(TAG).await?;
        let gate = world.proxy.traffic().hold(manifest(TAG), Point::Before);
        ensure!(answer(world, "before", TAG, &digest).await? == 200, "it is taken");
        gate.arrived(PATIENCE).await?;
        server.kill();
        for _ in 0..2 {
            let status = answer(world, "meanwhile", TAG, &digest).await?;
            ensure!(status == 503, "a webhook without a queue was answered {status}");
            std::mem::swap(world.windlass(), &mut second.windlass);
        }
        gate.open();
        server.restart().await?;
        world.wait_for(TAG).await?;
        std::mem::swap(world.windlass(), &mut second.windlass);
        let digest = world.push("1.0.2").await?;
        taken(world, "1.0.2", &digest).await?;
        world.wait_for("1.0.2").await?;
        world.expect_commits(2).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_deleted_stream_and_its_bucket_cost_two_processes_no_event() -> Result<()> {
    let server = NatsServer::start().await?;
    let options = WorldOptions { announces: Announces::Nothing, ..on_queue(&server, &[]) };
    world::run(options, async |world| {
        world.wait_working(IMAGE).await?;
        let mut second = Second::start(world, None).await?;
        let digest = world.push(TAG).await?;
        let gate = world.proxy.traffic().hold(manifest(TAG), Point::Before);
        ensure!(answer(world, "before", TAG, &digest).await? == 200, "it is taken");
        gate.arrived(PATIENCE).await?;
        server.delete_stream("windlass").await?;
        server.jetstream().await?.delete_object_store("windlass-state").await?;
        gate.open();
        world.wait_for(TAG).await?;
        std::mem::swap(world.windlass(), &mut second.windlass);
        let digest = world.push("1.0.2").await?;
        taken(world, "1.0.2", &digest).await?;
        world.wait_for("1.0.2").await?;
        ensure!(world.commits().await?.len() == 2, "one commit each");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_database_that_is_deleted_under_its_process_costs_no_event() -> Result<()> {
    world::run(quiet(), async |world| {
        world.idle().await?;
        let digest = world.push(TAG).await?;
        let gate = world.proxy.traffic().hold(manifest(TAG), Point::Before);
        delete_database(world.data.path())?;
        ensure!(answer(world, "after-the-deletion", TAG, &digest).await? == 200, "it is taken");
        gate.arrived(PATIENCE).await?;
        // It was kept in a file that is there: a process that is killed now finds it again.
        world.windlass().kill();
        gate.disconnect();
        world.windlass().restart().await?;
        world.windlass().wait_ready(PATIENCE).await?;
        let commit = world.wait_for(TAG).await?;
        ensure!(commit.message.contains("\nWindlass-Event: after-the-deletion"), "{}", commit.message);
        // And without a kill, it goes on as if nothing had been.
        let digest = world.push("1.0.2").await?;
        delete_database(world.data.path())?;
        ensure!(answer(world, "again", "1.0.2", &digest).await? == 200, "it is taken");
        world.wait_for("1.0.2").await?;
        world.expect_commits(2).await?;
        ensure!(world.data.path().join("windlass.db").exists(), "the database is in its place");
        Ok(())
    })
    .await
}

fn delete_database(folder: &Path) -> Result<()> {
    for file in ["windlass.db", "windlass.db-wal", "windlass.db-shm"] {
        fs::remove_file(folder.join(file)).with_context(|| format!("deleting {file}"))?;
    }
    Ok(())
}
