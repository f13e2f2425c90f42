//! Several processes on one queue: they divide the work, and whoever is missed is replaced.

use std::collections::BTreeSet;
use std::ffi::OsString;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use windlass_testkit::config;
use windlass_testkit::event::{ENVELOPE, Push, envelope};
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::git_repository::BRANCH;
use windlass_testkit::git_server::GitServer;
use windlass_testkit::http_fault::manifest;
use windlass_testkit::nats::NatsServer;
use windlass_testkit::observed::IMAGE;
use windlass_testkit::traffic::{Gate, Point};
use windlass_testkit::windlass::{Windlass, WindlassOptions};
use windlass_testkit::world::{
    self, APP, Announces, FLEET, NAMESPACE, PATIENCE, REGISTRY_PLACE, REPOSITORY, TOKEN, World, WorldOptions,
};
use windlass_testkit::{eventually, port};

use crate::hands;

const TAG: &str = "1.0.1";
/// Of these two names, this one has the world's namespace, whether or not the other is there; see `windlass_model::share`.
const FIRST: &str = "one";
const SECOND: &str = "two";
/// As many as `windlass::lead` makes.
const SHARES: u64 = 16;

pub(crate) fn on_queue(server: &NatsServer, more: &[&str]) -> WorldOptions {
    on_queue_at(&server.url(), more)
}

/// As [`on_queue`], at another address if a link stands before the server.
pub(crate) fn on_queue_at(url: &str, more: &[&str]) -> WorldOptions {
    let mut arguments: Vec<OsString> =
        vec!["--queue".into(), url.into(), "--queue-member".into(), FIRST.into()];
    arguments.extend(more.iter().map(OsString::from));
    WorldOptions { arguments, ..WorldOptions::default() }
}

/// A process beside the world's, with a folder of its own.
pub(crate) struct Second {
    pub(crate) windlass: Windlass,
    data: TempDir,
}

/// The arguments of a process beside one with these.
pub(crate) fn second_of(arguments: &[OsString]) -> Vec<OsString> {
    let renamed = |argument: &OsString| if argument == FIRST { SECOND.into() } else { argument.clone() };
    arguments.iter().map(renamed).collect()
}

/// Waits until these processes, none without a share, have all of them.
async fn divided(processes: &[&Windlass]) -> Result<()> {
    eventually(PATIENCE, "the processes to divide the work", async || {
        let mut held = Vec::new();
        for windlass in processes {
            let report = windlass.report().await?;
            held.push(report["shares"]["held"].as_u64().context("a status without shares")?);
        }
        Ok((held.iter().sum::<u64>() == SHARES && !held.contains(&0)).then_some(()))
    })
    .await
}

/// The ImageRepositories that a process works on, as `namespace/name`.
async fn repositories(windlass: &Windlass) -> Result<BTreeSet<String>> {
    let report = windlass.report().await?;
    let resources = report["resources"].as_array().context("a status without resources")?;
    let objects = resources.iter().map(|resource| &resource["object"]);
    let found = objects.filter(|object| object["kind"] == "ImageRepository");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(found
        .map(|object| format!("{}/{}", text(&object["key"]["namespace"]), text(&object["key"]["name"])))
        .collect())
}

impl Second {
    /// Starts a process that promotes too, and waits until the two have divided the work. The world's images stay with
    /// the first.
    pub(crate) async fn beside(world: &mut World) -> Result<Self> {
        let second = Self::start(world, None).await?;
        divided(&[world.windlass(), &second.windlass]).await?;
        ensure!(repositories(&second.windlass).await?.iter().all(|name| !IMAGE.ends_with(name)));
        Ok(second)
    }

    pub(crate) async fn start(world: &World, arguments: Option<Vec<OsString>>) -> Result<Self> {
        let data = fresh(Storage::Memory)?;
        let first = world.windlass_options();
        let mut windlass = Windlass::start(WindlassOptions {
            data: data.path().to_owned(),
            listen: port::free()?,
            arguments: arguments.unwrap_or_else(|| second_of(&first.arguments)),
            ..first
        })
        .await?;
        windlass.wait_ready(PATIENCE).await?;
        Ok(Self { windlass, data })
    }

    /// From here on, the world's process is this one.
    pub(crate) fn replaces_the_first(self, world: &mut World) -> TempDir {
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
        let second = Second::beside(world).await?;
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
async fn process_that_slept_finds_its_shares_lost() -> Result<()> {
    let server = NatsServer::start().await?;
    let options = WorldOptions { announces: Announces::Nothing, ..on_queue(&server, &[]) };
    world::run(options, async |world| {
        world.wait_working(IMAGE).await?;
        let mut second = Second::beside(world).await?;
        world.windlass().process().signal("STOP")?;
        let digest = world.push(TAG).await?;
        std::mem::swap(world.windlass(), &mut second.windlass);
        world.announce("1", TAG, &digest).await?;
        world.wait_for(TAG).await?;
        second.windlass.process().signal("CONT")?;
        eventually(PATIENCE, "the sleeper to notice", async || {
            Ok(world.log_text().contains("this process lost a share of the work").then_some(()))
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
async fn work_of_a_share_that_changes_hands_while_the_queue_is_away_is_done_by_the_next() -> Result<()> {
    let mut server = NatsServer::start().await?;
    let first = on_queue(&server, &[]).arguments;
    let options = WorldOptions { arguments: second_of(&first), ..on_queue(&server, &[]) };
    world::run(options, async |world| {
        world.wait_working(IMAGE).await?;
        let gate = world.proxy.traffic().hold(manifest(TAG), Point::Before);
        world.push(TAG).await?;
        gate.arrived(PATIENCE).await?;
        // It finishes what it is at, and cannot say so to anybody.
        let _successor = Second::start(world, Some(first)).await?;
        eventually(PATIENCE, "the share to be asked for", async || {
            Ok(world.log_text().contains("another process takes over a share").then_some(()))
        })
        .await?;
        server.kill();
        gate.disconnect();
        eventually(PATIENCE, "what it had in hand to be given up", async || {
            Ok(world.log_text().contains("it is given up, for whoever has it next").then_some(()))
        })
        .await?;
        server.restart().await?;
        world.wait_for(TAG).await?;
        world.expect_commits(1).await?;
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
async fn value_that_a_person_set_back_stays_when_the_queue_is_deleted() -> Result<()> {
    let server = NatsServer::start().await?;
    world::run(on_queue(&server, &[]), async |world| {
        world.push(TAG).await?;
        world.wait_for(TAG).await?;
        hands::set_by_hand(world, "1.0.0").await?;
        let held = Some("a person set 1.0.0 in place of 1.0.1");
        hands::wait_for_diagnostic(world, held).await?;
        server.delete_stream("windlass").await?;
        eventually(PATIENCE, "the loss to be noticed", async || {
            Ok(world.log_text().contains("the queue lost what it held").then_some(()))
        })
        .await?;
        eventually(PATIENCE, "the hold to be known again", async || {
            hands::wait_for_diagnostic(world, held).await.map(Some)
        })
        .await?;
        assert_eq!(world.manifest_at_head().await?, world.expected_manifest("1.0.0"));
        world.push("1.0.2").await?;
        world.wait_for("1.0.2").await?;
        ensure!(
            world.commits().await?.iter().filter(|commit| commit.message.contains("Windlass-")).count() == 2
        );
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
        let mut watcher = Second::start(world, Some(second_of(&roles))).await?;
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

/// Namespaces beside the world's: each has the image, a policy, an automation and a file of its own.
const TEAMS: usize = 12;
/// The Receiver of all of them.
const TEAMS_RECEIVER: &str = "teams";

fn team_file(team: usize) -> String {
    format!("teams/{team}/deployment.yaml")
}

fn team_text(team: usize, host: &str, tag: &str) -> String {
    format!("image: {host}/{REPOSITORY}:{tag} # {{\"$imagepolicy\": \"team-{team}:{APP}\"}}\n")
}

fn configure_teams(world: &World) -> Result<()> {
    let image = format!("{}/{REPOSITORY}", world.proxy.host());
    let mut receiver = config::receiver(NAMESPACE, TEAMS_RECEIVER, "distribution", "webhook-token", &[APP]);
    let mut documents = Vec::new();
    for team in 0..TEAMS {
        let namespace = format!("team-{team}");
        config::and_repository(&mut receiver, &namespace, APP);
        documents.extend([
            config::image_repository(&namespace, APP, &image, "1h", None),
            config::image_policy(&namespace, APP, ">=1.0.0", "Never"),
            config::git_repository(&namespace, FLEET, &world.git.url(FLEET), None),
            config::automation(&namespace, FLEET, "1h", &format!("./teams/{team}")),
        ]);
    }
    documents.push(receiver);
    world.config.write("teams.yaml", config::documents(documents))
}

/// Tells the world's process of a tag of everybody's image, and waits until it is in every file.
async fn release_to_all(world: &mut World, tag: &str) -> Result<()> {
    let digest = world.push(tag).await?;
    let host = world.proxy.host();
    let push = Push { id: tag, host: &host, repository: REPOSITORY, tag: Some(tag), digest: &digest };
    let path = config::webhook_path(TOKEN, TEAMS_RECEIVER, NAMESPACE);
    let headers = [("authorization", TOKEN), ("content-type", ENVELOPE)];
    let answer = world.windlass().post(&path, &headers, envelope(&[push]).to_string().into_bytes()).await?;
    ensure!(answer.status() == 200, "{}", answer.status());
    world.wait_for(tag).await?;
    for team in 0..TEAMS {
        eventually(PATIENCE, format!("{tag} in the file of team {team}"), async || {
            let text = world.repository.show(BRANCH, &team_file(team)).await?;
            Ok((text == team_text(team, &host, tag).into_bytes()).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn namespaces_are_divided_among_processes_and_taken_over() -> Result<()> {
    let server = NatsServer::start().await?;
    let files = (0..TEAMS).map(|team| (team_file(team), team_text(team, REGISTRY_PLACE, "1.0.0")));
    let options = WorldOptions {
        announces: Announces::Nothing,
        files: files.collect(),
        notifier: false,
        ..on_queue(&server, &[])
    };
    world::run(options, async |world| {
        world.wait_working(IMAGE).await?;
        configure_teams(world)?;
        let second = Second::beside(world).await?;
        eventually(PATIENCE, "each namespace to be one process's", async || {
            let (ours, theirs) =
                (repositories(world.windlass()).await?, repositories(&second.windlass).await?);
            let divided = ours.is_disjoint(&theirs) && ours.len() + theirs.len() == TEAMS + 1;
            Ok((divided && !ours.is_empty() && !theirs.is_empty()).then_some(()))
        })
        .await?;
        release_to_all(world, TAG).await?;
        ensure!(world.commits().await?.len() == TEAMS + 1, "one commit for each namespace");
        world.windlass().kill();
        let _data = second.replaces_the_first(world);
        release_to_all(world, "1.0.2").await?;
        ensure!(world.commits().await?.len() == 2 * (TEAMS + 1), "one commit more for each namespace");
        eventually(PATIENCE, "the one that is left to have every share", async || {
            Ok((repositories(world.windlass()).await?.len() == TEAMS + 1).then_some(()))
        })
        .await
    })
    .await
}
