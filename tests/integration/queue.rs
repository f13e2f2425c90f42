//! Several processes on one queue: one promotes, and whoever is missed is replaced.

use std::ffi::OsString;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::git_server::GitServer;
use windlass_testkit::http_fault::manifest;
use windlass_testkit::nats::NatsServer;
use windlass_testkit::observed::IMAGE;
use windlass_testkit::traffic::{Gate, Point};
use windlass_testkit::windlass::{Windlass, WindlassOptions};
use windlass_testkit::world::{self, Announces, PATIENCE, World, WorldOptions};
use windlass_testkit::{eventually, port};

const TAG: &str = "1.0.1";

fn on_queue(server: &NatsServer, more: &[&str]) -> WorldOptions {
    let mut arguments: Vec<OsString> = vec!["--queue".into(), server.url().into()];
    arguments.extend(more.iter().map(OsString::from));
    WorldOptions { arguments, ..WorldOptions::default() }
}

/// A process beside the world's, with a folder of its own.
struct Second {
    windlass: Windlass,
    data: TempDir,
}

impl Second {
    /// Starts it once the first has its turn, so that it stands by.
    async fn start(world: &World, arguments: Option<Vec<OsString>>) -> Result<Self> {
        let data = fresh(Storage::Memory)?;
        let first = world.windlass_options();
        let mut windlass = Windlass::start(WindlassOptions {
            data: data.path().to_owned(),
            listen: port::free()?,
            arguments: arguments.unwrap_or_else(|| first.arguments.clone()),
            ..first
        })
        .await?;
        windlass.wait_ready(PATIENCE).await?;
        Ok(Self { windlass, data })
    }

    /// From here on, the world's process is this one.
    fn replaces_the_first(self, world: &mut World) -> TempDir {
        world.windlass = Some(self.windlass);
        self.data
    }
}

/// What the first process is at when it is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// The webhook was answered, and the registry is being asked.
    Selecting,
    /// The push does not reach the server.
    Pushing,
    /// The server took the push; its answer does not reach us.
    Pushed,
}

#[tokio::test]
async fn killed_while_it_selects_another_goes_on() -> Result<()> {
    another_goes_on(Moment::Selecting).await
}

#[tokio::test]
async fn killed_while_it_pushes_another_goes_on() -> Result<()> {
    another_goes_on(Moment::Pushing).await
}

#[tokio::test]
async fn killed_after_the_push_was_taken_another_tells_of_it() -> Result<()> {
    another_goes_on(Moment::Pushed).await
}

async fn another_goes_on(moment: Moment) -> Result<()> {
    let server = NatsServer::start().await?;
    world::run(on_queue(&server, &[]), async |world| {
        world.wait_working(IMAGE).await?;
        let second = Second::start(world, None).await?;
        let gate: Gate = match moment {
            Moment::Selecting => world.proxy.traffic().hold(manifest(TAG), Point::Before),
            Moment::Pushing => world.git.traffic().hold(GitServer::pushes(), Point::Before),
            Moment::Pushed => world.git.traffic().hold(GitServer::pushes(), Point::After),
        };
        world.push(TAG).await?;
        gate.arrived(PATIENCE).await?;
        world.windlass().kill();
        gate.disconnect();
        let _data = second.replaces_the_first(world);
        world.wait_for(TAG).await?;
        world.slack.wait_for(1, PATIENCE).await?;
        let commits = world.expect_commits(1).await?;
        ensure!(commits[0].message.contains("\nWindlass-Event: "), "{}", commits[0].message);
        ensure!(world.slack.messages().len() == 1, "{:#?}", world.slack.messages());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn process_that_slept_finds_its_turn_over_and_stands_by() -> Result<()> {
    let server = NatsServer::start().await?;
    let options = WorldOptions { announces: Announces::Nothing, ..on_queue(&server, &[]) };
    world::run(options, async |world| {
        world.wait_working(IMAGE).await?;
        let mut second = Second::start(world, None).await?;
        world.windlass().process().signal("STOP")?;
        let digest = world.push(TAG).await?;
        std::mem::swap(world.windlass(), &mut second.windlass);
        world.announce("1", TAG, &digest).await?;
        world.wait_for(TAG).await?;
        second.windlass.process().signal("CONT")?;
        eventually(PATIENCE, "the sleeper to notice", async || {
            Ok(world.log_text().contains("this process's turn is over").then_some(()))
        })
        .await?;
        let digest = world.push("1.0.2").await?;
        world.announce("2", "1.0.2", &digest).await?;
        world.wait_for("1.0.2").await?;
        world.expect_commits(2).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn queue_that_is_deleted_costs_no_event() -> Result<()> {
    let server = NatsServer::start().await?;
    world::run(on_queue(&server, &[]), async |world| {
        world.wait_working(IMAGE).await?;
        let gate = world.proxy.traffic().hold(manifest(TAG), Point::Before);
        world.push(TAG).await?;
        gate.arrived(PATIENCE).await?;
        server.delete_stream("windlass").await?;
        gate.open();
        world.wait_for(TAG).await?;
        world.push("1.0.2").await?;
        world.wait_for("1.0.2").await?;
        ensure!(world.commits().await?.len() == 2, "one commit each");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_process_takes_webhooks_and_another_commits() -> Result<()> {
    let server = NatsServer::start().await?;
    let options =
        WorldOptions { announces: Announces::Nothing, ..on_queue(&server, &["--roles", "promoter"]) };
    world::run(options, async |world| {
        world.wait_working(IMAGE).await?;
        let roles = on_queue(&server, &["--roles", "watcher"]).arguments;
        let mut watcher = Second::start(world, Some(roles)).await?;
        let digest = world.push(TAG).await?;
        let refused = world.announce("1", TAG, &digest).await?;
        ensure!(refused.status() == 404, "a promoter takes no webhooks: {}", refused.status());
        std::mem::swap(world.windlass(), &mut watcher.windlass);
        let accepted = world.announce("1", TAG, &digest).await?;
        ensure!(accepted.status() == 200, "{}", accepted.status());
        std::mem::swap(world.windlass(), &mut watcher.windlass);
        world.wait_for(TAG).await?;
        world.expect_commits(1).await?;
        Ok(())
    })
    .await
}
