//! Partitions between any two parts: a link passes nothing, for both sides the other one is silent. Meanwhile webhooks
//! are taken, or refused where they could not be kept; and when the partition is over, however it ends, there is one
//! commit for each decision, and each is told once, or again with a mark and a count.

use anyhow::{Result, ensure};
use windlass_testkit::eventually;
use windlass_testkit::git_server::GitServer;
use windlass_testkit::http_fault::manifest;
use windlass_testkit::link::{Flow, Link, Use, Way};
use windlass_testkit::nats::NatsServer;
use windlass_testkit::observed::IMAGE;
use windlass_testkit::traffic::{Match, Point};
use windlass_testkit::world::{self, Announces, PATIENCE, Part, World, WorldOptions};

use crate::queue::{Second, on_queue, on_queue_at, second_of};

const TAG: &str = "1.0.1";
/// What the log says when another process has taken work over.
const OVER: &str = "this process lost a share of the work";

/// How a partition ends for the connections that it caught.
#[derive(Debug, Clone, Copy)]
enum End {
    /// What was said arrives.
    Late,
    Closed,
    Reset,
    /// The server's half alone is closed, and what was said arrives there.
    HalfClosed,
}

const ENDS: [End; 4] = [End::Late, End::Closed, End::Reset, End::HalfClosed];

impl End {
    fn apply(self, link: &Link) {
        match self {
            Self::Late => {}
            Self::Closed => link.cut(),
            Self::Reset => link.reset(),
            Self::HalfClosed => link.half_close(Way::ToClient),
        }
        link.open();
    }
}

/// The webhooks are the test's own: what is cut off from a registry hears of pushes all the same.
fn with_link(part: Part) -> WorldOptions {
    WorldOptions { links: vec![part], ..quiet() }
}

fn quiet() -> WorldOptions {
    WorldOptions { announces: Announces::Nothing, ..WorldOptions::default() }
}

/// A delivery that is taken, whatever is cut off.
async fn deliver(world: &World, tag: &str, digest: &str) -> Result<()> {
    let answer = world.announce(&format!("event-{tag}"), tag, digest).await?;
    ensure!(answer.status() == 200, "the webhook of {tag} was answered {}", answer.status());
    Ok(())
}

/// A tag that goes through undisturbed: everything is connected and warm afterwards.
async fn warm(world: &World) -> Result<()> {
    let digest = world.push(TAG).await?;
    deliver(world, TAG, &digest).await?;
    world.wait_for(TAG).await?;
    world.idle().await
}

fn stop(link: &Link) -> Use {
    let mark = link.mark();
    link.stop();
    mark
}

/// Nothing is committed while the line to a part is still, and everything is once it is not, however it ended.
async fn holds_commits_until_it_ends(part: Part) -> Result<()> {
    world::run(with_link(part), async |world| {
        warm(world).await?;
        for (number, end) in (2..).zip(ENDS) {
            let tag = format!("1.0.{number}");
            let digest = world.push(&tag).await?;
            let mark = stop(world.link(part));
            deliver(world, &tag, &digest).await?;
            world.link(part).used_after(mark, PATIENCE).await?;
            ensure!(world.commits().await?.len() == number - 1, "the line holds the commit");
            end.apply(world.link(part));
            world.wait_for(&tag).await?;
            world.idle().await?;
        }
        world.expect_commits(1 + ENDS.len()).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn between_promoter_and_registry() -> Result<()> {
    holds_commits_until_it_ends(Part::Registry).await
}

#[tokio::test]
async fn between_promoter_and_git_before_a_push() -> Result<()> {
    holds_commits_until_it_ends(Part::Git).await
}

#[tokio::test]
async fn between_git_and_promoter_when_a_push_is_answered() -> Result<()> {
    world::run(with_link(Part::Git), async |world| {
        warm(world).await?;
        for (number, end) in (2..).zip(ENDS) {
            let tag = format!("1.0.{number}");
            let digest = world.push(&tag).await?;
            let gate = world.git.traffic().hold(GitServer::pushes(), Point::After);
            deliver(world, &tag, &digest).await?;
            gate.arrived(PATIENCE).await?;
            ensure!(world.commits().await?.len() == number, "the server has it");
            world.link(Part::Git).set(Way::ToClient, Flow::Stopped);
            let (mark, answered) = (world.git.traffic().mark(), Match::any());
            gate.open();
            world.git.traffic().next_after(mark, &answered, PATIENCE).await?;
            end.apply(world.link(Part::Git));
            world.slack.wait_for(number, PATIENCE).await?;
            world.idle().await?;
        }
        world.expect_commits(1 + ENDS.len()).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn between_promoter_and_slack_before_a_message() -> Result<()> {
    world::run(with_link(Part::Slack), async |world| {
        warm(world).await?;
        for (number, end) in (2..).zip(ENDS) {
            let tag = format!("1.0.{number}");
            let digest = world.push(&tag).await?;
            let mark = stop(world.link(Part::Slack));
            deliver(world, &tag, &digest).await?;
            world.wait_for(&tag).await?;
            world.link(Part::Slack).used_after(mark, PATIENCE).await?;
            ensure!(world.slack.messages().len() < number, "the message is held by the link");
            end.apply(world.link(Part::Slack));
            world.slack.wait_for(number, PATIENCE).await?;
            world.idle().await?;
        }
        world.expect_commits(1 + ENDS.len()).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn between_slack_and_promoter_when_a_message_is_answered() -> Result<()> {
    world::run(with_link(Part::Slack), async |world| {
        let gate = world.slack.traffic().hold(Match::any(), Point::After);
        let digest = world.push(TAG).await?;
        deliver(world, TAG, &digest).await?;
        gate.arrived(PATIENCE).await?;
        world.link(Part::Slack).set(Way::ToClient, Flow::Stopped);
        gate.open();
        world.slack.wait_for(1, PATIENCE).await?;
        End::Reset.apply(world.link(Part::Slack));
        let messages = world.slack.wait_for(2, PATIENCE).await?;
        ensure!(!messages[0].is_repeat() && messages[1].is_repeat(), "{messages:#?}");
        world.expect_commits(1).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn between_the_queue_and_the_process_whose_turn_it_is() -> Result<()> {
    let server = NatsServer::start().await?;
    let link = Link::start(server.address())?;
    let options = WorldOptions { announces: Announces::Nothing, ..on_queue_at(&at(&link), &[]) };
    world::run(options, async |world| {
        world.wait_working(IMAGE).await?;
        let mut second = Second::start(world, Some(second_of(&on_queue(&server, &[]).arguments))).await?;
        let digest = world.push(TAG).await?;
        let gate = world.proxy.traffic().hold(manifest(TAG), Point::Before);
        deliver(world, TAG, &digest).await?;
        gate.arrived(PATIENCE).await?;
        link.stop();
        // The other one takes the turn and the work; both learn at once what the tag is.
        gate.arrivals(2, PATIENCE).await?;
        gate.open();
        std::mem::swap(world.windlass(), &mut second.windlass);
        world.wait_for(TAG).await?;
        refused(world, &mut second).await?;
        link.open();
        logged(world, OVER).await?;
        // What is cut off no more takes webhooks again, and the other one works.
        std::mem::swap(world.windlass(), &mut second.windlass);
        let digest = world.push("1.0.2").await?;
        taken(world, "1.0.2", &digest).await?;
        std::mem::swap(world.windlass(), &mut second.windlass);
        world.wait_for("1.0.2").await?;
        world.expect_commits(2).await?;
        Ok(())
    })
    .await
}

/// Who is cut off from the queue answers 503: what it took could be lost with it.
async fn refused(world: &mut World, cut_off: &mut Second) -> Result<()> {
    std::mem::swap(world.windlass(), &mut cut_off.windlass);
    let answer = world.announce("while cut off", TAG, &format!("sha256:{}", "0".repeat(64))).await;
    std::mem::swap(world.windlass(), &mut cut_off.windlass);
    let status = answer?.status();
    ensure!(status == 503, "a webhook that could not be kept was answered {status}");
    Ok(())
}

/// A sender repeats a webhook until it is taken.
async fn taken(world: &World, tag: &str, digest: &str) -> Result<()> {
    eventually(PATIENCE, format!("the webhook of {tag} to be taken"), async || {
        let status = world.announce(&format!("event-{tag}"), tag, digest).await?.status();
        ensure!(status == 200 || status == 503, "it was answered {status}");
        Ok((status == 200).then_some(()))
    })
    .await
}

async fn logged(world: &World, words: &str) -> Result<()> {
    eventually(PATIENCE, format!("`{words}` in the log"), async || {
        Ok(world.log_text().contains(words).then_some(()))
    })
    .await
}

fn at(link: &Link) -> String {
    format!("nats://{}", link.address())
}

#[tokio::test]
async fn between_the_queue_and_the_process_that_stands_by() -> Result<()> {
    let server = NatsServer::start().await?;
    let link = Link::start(server.address())?;
    let options = WorldOptions { announces: Announces::Nothing, ..on_queue(&server, &[]) };
    world::run(options, async |world| {
        world.wait_working(IMAGE).await?;
        let mut second =
            Second::start(world, Some(second_of(&on_queue_at(&at(&link), &[]).arguments))).await?;
        link.stop();
        logged(world, "another windlass on the queue is not heard of").await?;
        warm(world).await?;
        refused(world, &mut second).await?;
        link.open();
        // It is as good as before: it takes over when the first one dies.
        world.windlass().kill();
        let _data = second.replaces_the_first(world);
        let digest = world.push("1.0.2").await?;
        taken(world, "1.0.2", &digest).await?;
        world.wait_for("1.0.2").await?;
        world.expect_commits(2).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn between_the_queue_and_a_process_that_takes_webhooks_alone() -> Result<()> {
    let server = NatsServer::start().await?;
    let link = Link::start(server.address())?;
    let options =
        WorldOptions { announces: Announces::Nothing, ..on_queue(&server, &["--roles", "promoter"]) };
    world::run(options, async |world| {
        world.wait_working(IMAGE).await?;
        let roles = on_queue_at(&at(&link), &["--roles", "watcher"]).arguments;
        let mut watcher = Second::start(world, Some(second_of(&roles))).await?;
        let digest = world.push(TAG).await?;
        link.stop();
        refused(world, &mut watcher).await?;
        ensure!(world.commits().await?.is_empty(), "nobody knows of the tag");
        End::Reset.apply(&link);
        std::mem::swap(world.windlass(), &mut watcher.windlass);
        taken(world, TAG, &digest).await?;
        std::mem::swap(world.windlass(), &mut watcher.windlass);
        world.wait_for(TAG).await?;
        world.expect_commits(1).await?;
        Ok(())
    })
    .await
}
