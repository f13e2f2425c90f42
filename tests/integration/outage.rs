//! Everything around Windlass fails, and comes back: the status and the log say what is wrong, webhooks are accepted all
//! the while, and afterwards nothing is lost and nothing was done twice, without a restart.

use std::time::Duration;

use anyhow::{Result, ensure};
use windlass_testkit::config;
use windlass_testkit::git_server::GitAuth;
use windlass_testkit::observed::{AUTOMATION, IMAGE};
use windlass_testkit::registry::USER;
use windlass_testkit::slack::Message;
use windlass_testkit::traffic::Match;
use windlass_testkit::world::{self, Announces, NAMESPACE, PATIENCE, TOKEN, World, WorldOptions};

/// The delivery that arrives during the outage; the commit has to name it.
const EVENT: &str = "during-the-outage";

/// The webhook is the test's own, because a registry that is down announces nothing.
fn quiet() -> WorldOptions {
    WorldOptions { announces: Announces::Nothing, ..WorldOptions::default() }
}

/// A delivery is accepted, whatever else is broken.
async fn deliver(world: &World, tag: &str, digest: &str) -> Result<()> {
    let answer = world.announce(EVENT, tag, digest).await?;
    ensure!(answer.status() == 200, "the webhook was answered {}", answer.status());
    Ok(())
}

/// After the outage: the tag is in Git by one commit that names the delivery, everything works, and whoever was told of
/// a failure was told of its end.
async fn recovers(world: &World, tag: &str) -> Result<()> {
    let commit = world.wait_for(tag).await?;
    ensure!(commit.message.contains(&format!("\nWindlass-Event: {EVENT}")), "{}", commit.message);
    world.wait_working(IMAGE).await?;
    world.wait_working(AUTOMATION).await?;
    world.expect_commits(1).await?;
    let messages = world.slack.messages();
    let count = |kind: fn(&Message) -> bool| messages.iter().filter(|message| kind(message)).count();
    let (failures, recoveries) = (count(Message::is_failure), count(Message::is_recovery));
    ensure!(
        failures == recoveries,
        "{failures} failures and {recoveries} recoveries were told: {messages:#?}"
    );
    Ok(())
}

/// The log names the resource and the cause.
fn assert_logged(world: &World, object: &str, words: &str) {
    let log = world.log_text();
    let line = log.lines().find(|line| line.contains(object) && line.contains(words));
    assert!(line.is_some(), "no line of the log names {object} and says `{words}`:\n{log}");
}

#[tokio::test]
async fn a_registry_that_is_down_at_the_start() -> Result<()> {
    world::run_prepared(quiet(), async |world| {
        let digest = world.push("1.0.1").await?;
        world.registry.down();
        // Ready all the same: a dead registry must not take the webhooks down.
        world.start_windlass().await?;
        deliver(world, "1.0.1", &digest).await?;
        world.wait_failing(IMAGE, "502").await?;
        assert_logged(world, IMAGE, "502");
        world.registry.up().await?;
        world.running()?.reconcile(IMAGE).await?;
        recovers(world, "1.0.1").await
    })
    .await
}

#[tokio::test]
async fn a_registry_that_goes_down_later() -> Result<()> {
    world::run(quiet(), async |world| {
        world.idle().await?;
        let digest = world.push("1.0.1").await?;
        world.registry.down();
        deliver(world, "1.0.1", &digest).await?;
        world.wait_failing(IMAGE, "resolving tag `1.0.1`").await?;
        assert_logged(world, IMAGE, "502");
        world.registry.up().await?;
        // No one asks: the next try is a second or two away.
        recovers(world, "1.0.1").await
    })
    .await
}

#[tokio::test]
async fn a_git_server_that_is_down_at_the_start() -> Result<()> {
    world::run_prepared(quiet(), async |world| {
        world.git.down();
        world.start_windlass().await?;
        git_is_down(world).await
    })
    .await
}

#[tokio::test]
async fn a_git_server_that_goes_down_later() -> Result<()> {
    world::run(quiet(), async |world| {
        world.idle().await?;
        world.git.down();
        git_is_down(world).await
    })
    .await
}

async fn git_is_down(world: &mut World) -> Result<()> {
    let digest = world.push("1.0.1").await?;
    deliver(world, "1.0.1", &digest).await?;
    world.wait_failing(AUTOMATION, "cannot connect to the Git server").await?;
    assert_logged(world, AUTOMATION, "cannot connect to the Git server");
    world.git.up()?;
    world.running()?.reconcile(IMAGE).await?;
    recovers(world, "1.0.1").await
}

#[tokio::test]
async fn webhooks_are_accepted_while_registry_and_git_are_down() -> Result<()> {
    world::run(quiet(), async |world| {
        world.idle().await?;
        let mut digests = Vec::new();
        for tag in 1..=10 {
            digests.push(world.push(&format!("1.0.{tag}")).await?);
        }
        world.registry.down();
        world.git.down();
        for (tag, digest) in (1..).zip(&digests) {
            let answer = world.announce(&format!("event-{tag}"), &format!("1.0.{tag}"), digest).await?;
            assert_eq!(answer.status(), 200);
        }
        world.wait_failing(IMAGE, "502").await?;
        // They come back one after the other.
        world.registry.up().await?;
        world.running()?.reconcile(IMAGE).await?;
        world.wait_failing(AUTOMATION, "cannot connect to the Git server").await?;
        world.git.up()?;
        world.running()?.reconcile(IMAGE).await?;
        let commit = world.wait_for("1.0.10").await?;
        assert!(commit.message.contains("\nWindlass-Event: event-10"), "{}", commit.message);
        world.expect_commits(1).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn wrong_registry_credentials_and_then_right_ones() -> Result<()> {
    let options = WorldOptions { registry_authentication: true, ..quiet() };
    world::run_prepared(options, async |world| {
        let host = world.proxy.host();
        let wrong = [
            config::secret(NAMESPACE, "webhook-token", &[("token", TOKEN)]),
            config::secret(NAMESPACE, "slack-webhook", &[("address", &world.slack.webhook_url())]),
            config::registry_secret(NAMESPACE, "registry-credentials", &host, USER, "a wrong password"),
        ];
        world.config.write("secrets.yaml", config::documents(wrong))?;
        world.start_windlass().await?;
        let digest = world.push("1.0.1").await?;
        deliver(world, "1.0.1", &digest).await?;
        world
            .wait_failing(IMAGE, "check that `spec.secretRef` names a Secret with valid credentials")
            .await?;
        assert_logged(world, IMAGE, "401");
        assert!(!world.log_text().contains("a wrong password"));
        // The right ones on disk are enough.
        world.write_configuration()?;
        recovers(world, "1.0.1").await
    })
    .await
}

#[tokio::test]
async fn wrong_git_credentials_and_then_right_ones() -> Result<()> {
    let right = GitAuth::Basic("windlass".to_owned(), "the right password".to_owned());
    world::run_prepared(WorldOptions { git_auth: Some(right), ..quiet() }, async |world| {
        let wrong = [
            config::secret(NAMESPACE, "webhook-token", &[("token", TOKEN)]),
            config::secret(NAMESPACE, "slack-webhook", &[("address", &world.slack.webhook_url())]),
            config::secret(
                NAMESPACE,
                "git-credentials",
                &[("username", "windlass"), ("password", "not this one")],
            ),
        ];
        world.config.write("secrets.yaml", config::documents(wrong))?;
        world.start_windlass().await?;
        git_refuses(world).await?;
        world.write_configuration()?;
        recovers(world, "1.0.1").await
    })
    .await
}

#[tokio::test]
async fn git_credentials_that_the_server_accepts_again() -> Result<()> {
    let right = GitAuth::Bearer("the-right-token".to_owned());
    world::run(WorldOptions { git_auth: Some(right.clone()), ..quiet() }, async |world| {
        world.idle().await?;
        world.git.set_auth(Some(GitAuth::Bearer("revoked-meanwhile".to_owned())));
        git_refuses(world).await?;
        world.git.set_auth(Some(right));
        world.running()?.reconcile(IMAGE).await?;
        recovers(world, "1.0.1").await
    })
    .await
}

async fn git_refuses(world: &World) -> Result<()> {
    let digest = world.push("1.0.1").await?;
    deliver(world, "1.0.1", &digest).await?;
    world.wait_failing(AUTOMATION, "the Git server refuses the credentials (HTTP 401)").await?;
    assert_logged(world, AUTOMATION, "refuses the credentials");
    for secret in ["not this one", "the right password", "the-right-token"] {
        assert!(!world.log_text().contains(secret), "a secret is in the log");
    }
    Ok(())
}

#[tokio::test]
async fn a_chat_service_that_is_down_delays_no_commit_and_loses_no_message() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        world.slack.down();
        for tag in ["1.0.1", "1.0.2"] {
            world.push(tag).await?;
            world.wait_for(tag).await?;
        }
        windlass_testkit::eventually(PATIENCE, "the notices to wait", async || {
            let waiting = world.running()?.metrics().await?.get("windlass_outbox_waiting", &[]);
            ensure!(waiting == Some(2.0), "{waiting:?} wait");
            Ok(Some(()))
        })
        .await?;
        assert_eq!(world.slack.messages().len(), 0);
        world.slack.up()?;
        world.slack.wait_for(2, PATIENCE).await?;
        world.expect_commits(2).await?;
        assert!(world.log_text().contains("a notice was not delivered; it is tried again"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_chat_service_that_asks_for_patience_gets_it() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let patience = 3;
        let limited = world.slack.limit_rate(1, patience);
        world.push("1.0.1").await?;
        world.wait_for("1.0.1").await?;
        world.slack.wait_for(1, PATIENCE).await?;
        world.expect_commits(1).await?;
        assert_eq!(limited.hits(), 1);
        let asked = world.slack.traffic().exchanges();
        assert_eq!(world.slack.traffic().count(&Match::any()), 2);
        let pause = asked[1].started - asked[0].answered;
        assert!(pause >= Duration::from_secs(u64::from(patience)), "asked again after {pause:?}");
        Ok(())
    })
    .await
}
