//! One push, followed from server to server.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use windlass_testkit::git_server::GitServer;
use windlass_testkit::http_fault::manifest;
use windlass_testkit::traffic::Method;
use windlass_testkit::traffic::{Match, Traffic};
use windlass_testkit::world::{PATIENCE, REPOSITORY, World};

use super::screen::Screen;

/// Pushes an image and shows each step as it happens, then the commit; gives the time from push to commit.
pub(crate) async fn promote(screen: &Screen, world: &World, tag: &str) -> Result<Duration> {
    let watch = Watch::begin(world);
    let pushed = push(screen, world, tag).await?;
    watch.follow(screen, world, tag, pushed, PATIENCE).await
}

/// Pushes an image; gives the instant at which the registry had it.
pub(crate) async fn push(screen: &Screen, world: &World, tag: &str) -> Result<Instant> {
    let traffic = world.proxy.traffic();
    let mark = traffic.mark();
    let digest = world.push(tag).await?;
    let put = Match::method(Method::PUT).and(Match::path_ends_with(format!("/manifests/{tag}")));
    let pushed = traffic.next_after(mark, &put, PATIENCE).await?.answered;
    screen.heading(&format!("Push {}/{REPOSITORY}:{tag}", world.proxy.host()));
    screen.step(Duration::ZERO, "pushed", &digest);
    Ok(pushed)
}

/// Where each server's record stood before the push.
pub(crate) struct Watch {
    hooks: usize,
    registry: usize,
    git: usize,
    messages: usize,
}

impl Watch {
    pub(crate) fn begin(world: &World) -> Self {
        Self {
            hooks: world.hooks.traffic().mark(),
            registry: world.proxy.traffic().mark(),
            git: world.git.traffic().mark(),
            messages: world.slack.messages().len(),
        }
    }

    /// Shows what comes of a push, up to the message, and the commit's patch.
    pub(crate) async fn follow(
        &self,
        screen: &Screen,
        world: &World,
        tag: &str,
        pushed: Instant,
        within: Duration,
    ) -> Result<Duration> {
        let show = |at: Instant, name: &str, text: &str| {
            let since = at.saturating_duration_since(pushed);
            screen.step(since, name, text);
            since
        };
        let (at, status) =
            answered(world.hooks.traffic(), self.hooks, &Match::path_contains("/hook/"), within).await?;
        show(at, "webhook", &format!("the registry's notification, answered {status}: the event is on disk"));
        let (at, status) = answered(world.proxy.traffic(), self.registry, &manifest(tag), within).await?;
        show(at, "resolved", &format!("one request for the tag's manifest, answered {status}"));
        let (at, _) = answered(world.git.traffic(), self.git, &GitServer::pushes(), within).await?;
        let commit =
            world.repository.log("main").await?.into_iter().next().context("the branch has commits")?;
        let subject = commit.message.lines().next().unwrap_or_default();
        let landed = show(at, "committed", &format!("{:.10} on main: {subject}", commit.id));
        let messages = world.slack.wait_for(self.messages + 1, within).await?;
        let message = messages.get(self.messages).context("a message came")?;
        show(message.at, "told Slack", message.text().lines().next().unwrap_or_default());
        screen.patch(&world.repository.patch(&commit.id).await?);
        Ok(landed)
    }
}

/// The first such request that was answered with success since the mark: when, and how.
async fn answered(traffic: &Traffic, mark: usize, what: &Match, within: Duration) -> Result<(Instant, u16)> {
    let exchange = traffic.next_after(mark, what, within).await?;
    let status = exchange.status.context("the connection was dropped")?;
    ensure!(
        (200..300).contains(&status),
        "{} {} was answered {status}",
        exchange.head.method,
        exchange.head.path
    );
    Ok((exchange.answered, status))
}
