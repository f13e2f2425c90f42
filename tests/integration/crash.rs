//! `kill -9` at every moment that could lose or double something, the orderly end, and what a data directory survives.

use std::ffi::OsString;

use anyhow::{Context as _, Result, ensure};
use windlass_testkit::git_server::GitServer;
use windlass_testkit::http_fault::{manifest, tag_lists};
use windlass_testkit::http_server::Canned;
use windlass_testkit::observed::IMAGE;
use windlass_testkit::slack::Message;
use windlass_testkit::traffic::{Gate, Match, Point};
use windlass_testkit::world::{self, Announces, PATIENCE, World, WorldOptions};
use windlass_testkit::{eventually, windlass};

const TAG: &str = "1.0.1";

/// When the process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The webhook was answered 200, and the registry was not asked yet.
    Accepted,
    /// The registry has answered where the tag points; nothing was chosen yet.
    Selecting,
    /// The commit is made; its push does not reach the server.
    Built,
    /// The commit is made; its push reaches the server together with the next process's.
    Overtaken,
    /// The server took the push; its answer does not reach us.
    Taken,
}

/// What the registry answers to tag lists, from the first one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lists {
    Served,
    /// 503: only the stored event can bring the tag in.
    Unavailable,
}

#[tokio::test]
async fn killed_after_the_webhook_was_accepted() -> Result<()> {
    survives(Moment::Accepted, Lists::Served).await
}

#[tokio::test]
async fn killed_after_the_webhook_was_accepted_without_tag_lists() -> Result<()> {
    survives(Moment::Accepted, Lists::Unavailable).await
}

#[tokio::test]
async fn killed_during_selection() -> Result<()> {
    survives(Moment::Selecting, Lists::Served).await
}

#[tokio::test]
async fn killed_during_selection_without_tag_lists() -> Result<()> {
    survives(Moment::Selecting, Lists::Unavailable).await
}

#[tokio::test]
async fn killed_after_the_commit_was_built() -> Result<()> {
    survives(Moment::Built, Lists::Served).await
}

#[tokio::test]
async fn killed_after_the_commit_was_built_without_tag_lists() -> Result<()> {
    survives(Moment::Built, Lists::Unavailable).await
}

#[tokio::test]
async fn killed_with_a_push_that_races_the_next_process() -> Result<()> {
    survives(Moment::Overtaken, Lists::Served).await
}

#[tokio::test]
async fn killed_with_a_push_that_races_the_next_process_without_tag_lists() -> Result<()> {
    survives(Moment::Overtaken, Lists::Unavailable).await
}

#[tokio::test]
async fn killed_before_the_servers_answer_arrived() -> Result<()> {
    survives(Moment::Taken, Lists::Served).await
}

#[tokio::test]
async fn killed_before_the_servers_answer_arrived_without_tag_lists() -> Result<()> {
    survives(Moment::Taken, Lists::Unavailable).await
}

/// Kills Windlass at the moment and starts it again: the remote has the commit once, and it is told once.
async fn survives(moment: Moment, lists: Lists) -> Result<()> {
    let options = WorldOptions { announces: Announces::PushedManifests, ..WorldOptions::default() };
    world::run_prepared(options, async |world| {
        let fault = || world.proxy.traffic().answer(tag_lists(), Canned::status(503));
        let outage = (lists == Lists::Unavailable).then(fault);
        world.start_windlass().await?;
        let gate = moment.gate(world);
        push_and_wait_for_acceptance(world).await?;
        gate.arrived(PATIENCE).await?;
        let landed = usize::from(moment == Moment::Taken);
        assert_eq!(world.commits().await?.len(), landed);

        world.windlass().kill();
        moment.go_on(gate, world).await?;
        world.wait_for(TAG).await?;
        if let Some(outage) = outage {
            world.wait_failing(IMAGE, "503").await?;
            outage.lift();
            world.running()?.reconcile(IMAGE).await?;
            world.wait_working(IMAGE).await?;
        }
        let commits = world.expect_commits(1).await?;
        if lists == Lists::Served {
            // Nothing failed and nobody interfered: the commit is all there is to tell.
            let messages = world.slack.messages();
            ensure!(messages.len() == 1, "{messages:#?}");
        }
        let message = &commits[0].message;
        let event = message.lines().find_map(|line| line.strip_prefix("Windlass-Event: "));
        // The registry's ids are UUIDs: the commit names the stored event, not a scan that found the tag as well.
        assert_eq!(event.map(str::len), Some(36), "{message}");
        Ok(())
    })
    .await
}

impl Moment {
    fn gate(self, world: &World) -> Gate {
        match self {
            Moment::Accepted => world.proxy.traffic().hold(manifest(TAG), Point::Before),
            Moment::Selecting => world.proxy.traffic().hold(manifest(TAG), Point::After),
            Moment::Built | Moment::Overtaken => world.git.traffic().hold(GitServer::pushes(), Point::Before),
            Moment::Taken => world.git.traffic().hold(GitServer::pushes(), Point::After),
        }
    }

    /// Starts Windlass again, and decides what becomes of the killed process's request.
    async fn go_on(self, gate: Gate, world: &mut World) -> Result<()> {
        if self != Moment::Overtaken {
            gate.disconnect();
            return restart(world).await;
        }
        // It cannot become ready while its own push stands at the gate.
        world.windlass().restart().await?;
        gate.arrivals(2, PATIENCE).await?;
        gate.open();
        Ok(())
    }
}

async fn restart(world: &mut World) -> Result<()> {
    world.windlass().restart().await?;
    world.windlass().wait_ready(PATIENCE).await
}

/// Pushes the tag and waits until the registry has its 200.
async fn push_and_wait_for_acceptance(world: &World) -> Result<()> {
    let mark = world.hooks.traffic().mark();
    world.push(TAG).await?;
    let hook = Match::path_ends_with(world.webhook_path());
    let answer = world.hooks.traffic().next_after(mark, &hook, PATIENCE).await?;
    ensure!(answer.status == Some(200), "the webhook was answered {:?}", answer.status);
    Ok(())
}

#[tokio::test]
async fn killed_between_slacks_acceptance_and_our_record_the_message_repeats_and_says_so() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let gate = world.slack.traffic().hold(Match::any(), Point::After);
        world.push(TAG).await?;
        gate.arrived(PATIENCE).await?;
        world.windlass().kill();
        gate.disconnect();
        restart(world).await?;
        let messages = world.slack.wait_for(2, PATIENCE).await?;
        world.idle().await?;

        let commits = world.commits().await?;
        assert_eq!(commits.len(), 1);
        let ids: Vec<_> = messages.iter().map(|message| message.event_id()).collect();
        let twice = [Some(&*commits[0].id), Some(&*commits[0].id)];
        assert_eq!(ids, twice, "{messages:#?}");
        let repeats: Vec<_> = messages.iter().map(Message::is_repeat).collect();
        assert_eq!(repeats, [false, true]);
        assert_eq!(world.slack.messages().len(), 2);
        assert_eq!(world.running()?.metrics().await?.get("windlass_notice_repeats_total", &[]), Some(1.0));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn killed_before_slack_accepted_the_message_comes_once() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let gate = world.slack.traffic().hold(Match::any(), Point::Before);
        world.push(TAG).await?;
        gate.arrived(PATIENCE).await?;
        world.windlass().kill();
        gate.disconnect();
        restart(world).await?;
        world.slack.wait_for(1, PATIENCE).await?;
        world.expect_commits(1).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_process_that_is_asked_to_end_finishes_its_push() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let gate = world.git.traffic().hold(GitServer::pushes(), Point::Before);
        world.push(TAG).await?;
        gate.arrived(PATIENCE).await?;
        world.windlass().process().signal("TERM")?;
        logged(world, "stopping").await?;
        gate.open();
        assert_eq!(ended(world).await?.code(), Some(0));
        assert_eq!(world.commits().await?.len(), 1, "the push was finished before the end");
        restart(world).await?;
        world.expect_commits(1).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once_and_a_restart_goes_on() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let gate = world.git.traffic().hold(GitServer::pushes(), Point::Before);
        world.push(TAG).await?;
        gate.arrived(PATIENCE).await?;
        world.windlass().process().signal("TERM")?;
        logged(world, "stopping").await?;
        world.windlass().process().signal("TERM")?;
        assert_eq!(ended(world).await?.code(), Some(1));
        assert_eq!(world.commits().await?, []);
        gate.disconnect();
        restart(world).await?;
        world.wait_for(TAG).await?;
        world.expect_commits(1).await?;
        Ok(())
    })
    .await
}

async fn logged(world: &World, words: &str) -> Result<()> {
    eventually(PATIENCE, format!("`{words}` in the log"), async || {
        Ok(world.log_text().contains(words).then_some(()))
    })
    .await
}

async fn ended(world: &mut World) -> Result<std::process::ExitStatus> {
    let process = world.windlass().process();
    eventually(PATIENCE, "the process to end", async || process.exited()).await
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_refused() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let mut arguments: Vec<OsString> = ["run", "--listen", "127.0.0.1:0"].map(OsString::from).to_vec();
        arguments.extend(["--config".into(), world.config.path().into()]);
        arguments.extend(["--data".into(), world.data.path().into()]);
        let refused = windlass::command(&arguments).await?;
        assert_eq!(refused.status.code(), Some(1));
        let said = String::from_utf8(refused.stderr)?;
        let folder = world.data.path().to_str().context("the folder's name is text")?;
        assert!(said.contains(folder) && said.contains("another windlass runs on it"), "{said}");
        // The first one is none the worse.
        world.push(TAG).await?;
        world.wait_for(TAG).await?;
        world.expect_commits(1).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_its_data_directory_it_converges_without_a_second_commit() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        world.push(TAG).await?;
        world.wait_for(TAG).await?;
        world.expect_commits(1).await?;
        world.windlass().kill();
        for entry in std::fs::read_dir(world.data.path())? {
            let path = entry?.path();
            if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
        }
        restart(world).await?;
        world.expect_commits(1).await?;
        // And it works on.
        world.push("1.0.2").await?;
        world.wait_for("1.0.2").await?;
        world.expect_commits(2).await?;
        Ok(())
    })
    .await
}
