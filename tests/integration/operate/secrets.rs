//! No secret is shown: not in the log at its most talkative, nor in what is served, printed, told, committed or stored.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use windlass_testkit::config;
use windlass_testkit::eventually;
use windlass_testkit::git_repository::BRANCH;
use windlass_testkit::git_server::GitAuth;
use windlass_testkit::http_server::Canned;
use windlass_testkit::observed::{AUTOMATION, IMAGE};
use windlass_testkit::registry::{PASSWORD, USER};
use windlass_testkit::slack::BOT_TOKEN;
use windlass_testkit::traffic::{Fault, Match, RequestHead, Traffic};
use windlass_testkit::world::{NAMESPACE, PATIENCE, TOKEN, World, WorldOptions};

use super::{SOON, code, stderr, stdout, windlass};

const GIT_USER: &str = "git-user";
const GIT_PASSWORD: &str = "git-password-for-tests";
const JSON_TOKEN: &str = "json-webhook-token-for-tests";
const WRONG_BOT_TOKEN: &str = "xoxb-wrong-token-for-tests";

/// What was shown, with the place where.
#[derive(Default)]
struct Shown(Vec<(String, String)>);

impl Shown {
    fn add(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.push((place.into(), text.into()));
    }

    /// Fails where a secret stands in any of it, without repeating it.
    fn expect_none_of(&self, secrets: &[(&str, String)]) -> Result<()> {
        for (place, text) in &self.0 {
            for (what, secret) in secrets {
                if let Some((before, _)) = text.split_once(secret.as_str()) {
                    let near = before.char_indices().rev().nth(200).map_or(0, |(at, _)| at);
                    bail!("{place} shows the {what}, after\n{}", &before[near..]);
                }
            }
        }
        Ok(())
    }
}

fn git_auth() -> GitAuth {
    GitAuth::Basic(GIT_USER.to_owned(), GIT_PASSWORD.to_owned())
}

/// A world in which every party wants a secret and every kind of Notifier is told.
async fn secretive_world() -> Result<World> {
    let world = World::prepare(WorldOptions {
        registry_authentication: true,
        git_auth: Some(git_auth()),
        // Of the libraries too.
        arguments: ["--log-level", "trace"].map(OsString::from).to_vec(),
        ..WorldOptions::default()
    })
    .await?;
    let json = config::slack_webhook(NAMESPACE, "json", "json-webhook").replace(
        "  slack:\n    webhook:\n      secretRef:\n        name",
        "  webhook:\n    secretRef:\n      name",
    );
    let json_values = [("address", world.slack.json_url()), ("token", JSON_TOKEN.to_owned())];
    world.config.write(
        "more-notifiers.yaml",
        config::documents([
            json,
            config::slack_bot(NAMESPACE, "bot", "slack-bot", "#ops", &world.slack.api_url()),
            config::slack_bot(NAMESPACE, "wrong", "slack-wrong", "#ops", &world.slack.api_url()),
            config::secret(NAMESPACE, "slack-bot", &[("token", BOT_TOKEN)]),
            config::secret(NAMESPACE, "slack-wrong", &[("token", WRONG_BOT_TOKEN)]),
            config::secret(
                NAMESPACE,
                "json-webhook",
                &json_values.each_ref().map(|(key, value)| (*key, value.as_str())),
            ),
        ]),
    )?;
    Ok(world)
}

/// Everything that must not be seen, in each form in which it could be. The webhook's path is made of the token by a
/// hash, so that it may be shown.
fn secrets(world: &World) -> Result<Vec<(&'static str, String)>> {
    let slack = world.slack.webhook_url();
    let (_, slack) = slack.split_once("/services").context("Slack's addresses have such a part")?;
    Ok(vec![
        ("webhook token", TOKEN.to_owned()),
        ("git password", GIT_PASSWORD.to_owned()),
        ("git credentials", STANDARD.encode(format!("{GIT_USER}:{GIT_PASSWORD}"))),
        ("registry password", PASSWORD.to_owned()),
        ("registry credentials", STANDARD.encode(format!("{USER}:{PASSWORD}"))),
        ("Slack address", slack.to_owned()),
        ("Slack token", BOT_TOKEN.to_owned()),
        ("wrong Slack token", WRONG_BOT_TOKEN.to_owned()),
        ("JSON webhook token", JSON_TOKEN.to_owned()),
        ("token of the local API", world.running()?.admin_token().to_owned()),
    ])
}

#[tokio::test]
async fn no_secret_is_shown_anywhere() -> Result<()> {
    let mut world = secretive_world().await?;
    world.start_windlass().await?;
    let secrets = secrets(&world)?;
    let mut shown = Shown::default();
    world.push("1.0.1").await?;
    world.wait_for("1.0.1").await?;
    world.slack.wait_for(3, PATIENCE).await?;
    fail_in_every_way(&mut world, &mut shown).await?;
    what_is_served_and_printed(&world, &mut shown).await?;
    shown.add("the commits", world.repository.git(&["log", "--format=%B", BRANCH]).await?);
    for message in world.slack.messages() {
        shown.add("a message", message.body.to_string());
    }
    ensure!(world.windlass().terminate(SOON).await?.code() == Some(0), "SIGTERM");
    let log = world.log_text();
    ensure!(
        log.contains("TRACE") && log.contains("failing") && log.contains("invalid_auth"),
        "a talkative log"
    );
    shown.add("the log", log);
    what_is_stored(world.data.path(), &mut shown)?;
    shown.expect_none_of(&secrets)
}

/// Each party in turn repeats what it was sent, refuses, and is gone.
async fn fail_in_every_way(world: &mut World, shown: &mut Shown) -> Result<()> {
    let fault = repeat_what_was_sent(world.proxy.traffic());
    fails(world, IMAGE, shown).await?;
    fault.lift();
    world.registry.down();
    fails(world, IMAGE, shown).await?;
    world.registry.up().await?;

    let fault = repeat_what_was_sent(world.git.traffic());
    fails(world, AUTOMATION, shown).await?;
    fault.lift();
    world.git.set_auth(Some(GitAuth::Bearer("another".to_owned())));
    fails(world, AUTOMATION, shown).await?;
    world.git.set_auth(Some(git_auth()));
    world.git.down();
    world.slack.down();
    fails(world, AUTOMATION, shown).await?;
    world.push("1.0.2").await?;
    world.git.up()?;
    world.slack.up()?;
    let fault = world.slack.fail(3);
    world.wait_for("1.0.2").await?;
    eventually(PATIENCE, "Slack to fail", async || Ok((fault.hits() == 3).then_some(()))).await?;

    let path = world.webhook_path();
    for (name, value) in [("authorization", TOKEN), ("authorization", "Bearer wrong"), ("x-signature", TOKEN)]
    {
        let answer = world.running()?.post(&path, &[(name, value)], TOKEN.into()).await?;
        let headers = format!("{:?}", answer.headers());
        shown.add("the answer to a bad webhook", headers + &answer.text().await?);
    }
    let broken = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\nstringData: [{TOKEN}]\n");
    world.config.write("broken.yaml", broken)?;
    eventually(PATIENCE, "the broken file to be told", async || {
        Ok(world.log_text().contains("broken.yaml").then_some(()))
    })
    .await
}

/// A server that refuses, and repeats the credentials in its words.
fn repeat_what_was_sent(traffic: &Traffic) -> Fault {
    traffic.answer_with(Match::any(), |head: &RequestHead| {
        let sent =
            head.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let body = format!(r#"{{"errors":[{{"code":"DENIED","message":"you sent {sent}"}}]}}"#);
        Canned::status(403).header("content-type", "application/json").body(body)
    })
}

async fn fails(world: &World, object: &str, shown: &mut Shown) -> Result<()> {
    world.running()?.reconcile(object).await?;
    world.wait_failing(object, "").await?;
    shown.add(format!("the status of {object}"), world.running()?.report().await?.to_string());
    Ok(())
}

async fn what_is_served_and_printed(world: &World, shown: &mut Shown) -> Result<()> {
    let (data, config) = (world.data.path(), world.config.path());
    for (words, path, expected) in [
        (&["status", "--data"][..], data, [0, 1]),
        (&["status", "--output", "json", "--data"], data, [0, 1]),
        (&["reconcile", "ImagePolicy/apps/none", "--data"], data, [2, 2]),
        (&["check", "--config"], config, [1, 1]),
        (&["check", "--output", "json", "--config"], config, [1, 1]),
    ] {
        let output = windlass(words, path).await?;
        let code = code(&output).context("ended by itself")?;
        ensure!(expected.contains(&code), "{words:?} ended with {code}: {}", stderr(&output));
        shown.add(words.join(" "), stdout(&output) + &stderr(&output));
    }
    for page in ["/metrics", "/readyz", "/healthz", "/api/v1/status", "/nothing"] {
        shown.add(page, world.running()?.get(page).await?.text().await?);
    }
    Ok(())
}

/// The names and the contents of the data directory's files, when the process has ended.
fn what_is_stored(data: &Path, shown: &mut Shown) -> Result<()> {
    let mut found = Vec::new();
    files(data, &mut found)?;
    ensure!(found.iter().any(|path| path.ends_with("windlass.db")), "the store is below {}", data.display());
    for path in found {
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        shown.add("a file's name", path.display().to_string());
        shown.add(path.display().to_string(), String::from_utf8_lossy(&bytes));
    }
    Ok(())
}

/// Every file below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}
