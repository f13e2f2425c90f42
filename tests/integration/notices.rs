//! What people are told, by each kind of Notifier: its content, to whom it goes, once, and never in the way of a commit.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use windlass_testkit::config;
use windlass_testkit::eventually;
use windlass_testkit::git_server::{GitAuth, GitServer};
use windlass_testkit::http_fault::tag_lists;
use windlass_testkit::http_server::Canned;
use windlass_testkit::observed::{AUTOMATION, IMAGE};
use windlass_testkit::slack::{BOT_TOKEN, Message, Via};
use windlass_testkit::traffic::{Match, Method, Point};
use windlass_testkit::world::{
    self, FLEET, MANIFEST_PATH, NAMESPACE, PATIENCE, REPOSITORY, World, WorldOptions,
};

/// A forge by its name, reached through a proxy: no such host exists.
const FORGE: &str = "http://gitea.example.org/fleet.git";
const JSON_TOKEN: &str = "json-webhook-token";

/// A Notifier to the plain JSON webhook, with further lines of its `spec`.
fn json_webhook(name: &str, more: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: Notifier\nmetadata:\n  name: {name}\n  namespace: {NAMESPACE}\nspec:\n  \
         webhook:\n    secretRef:\n      name: json-webhook\n{more}"
    )
}

/// A Notifier by the bot to a channel of its own, with further lines of its `spec`.
fn bot(world: &World, channel: &str, more: &str) -> String {
    config::slack_bot(NAMESPACE, channel, "slack-bot", &format!("#{channel}"), &world.slack.api_url()) + more
}

/// The Secrets of the Notifiers that a world does not have of itself.
fn secrets(world: &World, bot_token: &str) -> String {
    config::documents([
        config::secret(NAMESPACE, "slack-bot", &[("token", bot_token)]),
        config::secret(
            NAMESPACE,
            "json-webhook",
            &[("address", &world.slack.json_url()), ("token", JSON_TOKEN)],
        ),
    ])
}

/// All texts of a message's blocks, one a line.
fn text_of(message: &Message) -> String {
    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
            Value::Object(fields) => {
                fields.iter().filter(|(key, _)| *key != "type").for_each(|(_, value)| texts(value, found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    texts(&message.body["blocks"], &mut found);
    found.join("\n")
}

/// The channels of the bot's messages that satisfy this, in alphabetical order, each as often as it was told.
fn channels(messages: &[Message], wanted: impl Fn(&Message) -> bool) -> Vec<String> {
    let told = messages.iter().filter(|message| message.via == Via::Bot && wanted(message));
    let mut channels: Vec<String> =
        told.filter_map(|message| message.body["channel"].as_str().map(str::to_owned)).collect();
    channels.sort_unstable();
    channels
}

#[tokio::test]
async fn a_commit_is_told_with_everything_that_moved_by_each_kind_of_notifier() -> Result<()> {
    let options = WorldOptions { digest: "IfNotPresent".to_owned(), ..WorldOptions::default() };
    world::run_prepared(options, async |world| {
        // The forge's host is known by its name; the proxy is the Git server itself.
        let git =
            config::git_repository(NAMESPACE, FLEET, FORGE, None) + "  proxySecretRef:\n    name: proxy\n";
        let proxy = format!("http://{}", world.git.address());
        world.config.write(
            "git.yaml",
            config::documents([
                git,
                config::automation(NAMESPACE, FLEET, "1h", "./"),
                config::secret(NAMESPACE, "proxy", &[("address", &proxy)]),
            ]),
        )?;
        world.config.write("json.yaml", json_webhook("json", ""))?;
        world.config.write("bot.yaml", bot(world, "deployments", ""))?;
        world.config.write("more-secrets.yaml", secrets(world, BOT_TOKEN))?;
        world.start_windlass().await?;

        let (_, first) = world.images.manifest(REPOSITORY, "1.0.0").await?;
        let from = format!("1.0.0@{}", windlass_testkit::image::digest_of(&first));
        let digest = world.push("1.0.1").await?;
        let to = format!("1.0.1@{digest}");
        let commit = world.wait_for(&to).await?;
        let messages = world.slack.wait_for(3, PATIENCE).await?;
        let image = format!("{}/{REPOSITORY}", world.proxy.host());
        let by = |via: Via| {
            messages.iter().find(|message| message.via == via).with_context(|| format!("no {via:?}"))
        };

        let link = format!("<http://gitea.example.org/fleet/commit/{}|{}>", commit.id, &commit.id[..12]);
        let (old, new) = (format!("{image}:{from}"), format!("{image}:{to}"));
        for via in [Via::Webhook, Via::Bot] {
            let message = by(via)?;
            let text = text_of(message);
            for part in [
                AUTOMATION,
                &format!("*{image}*"),
                &format!("`{old}` → `{new}`"),
                &format!("`{}`", &digest[.."sha256:".len() + 12]),
                "policy apps/podinfo",
                MANIFEST_PATH,
                FORGE,
                "*Branch* `main`",
                &link,
                &format!("event `{}`", commit.id),
            ] {
                ensure!(text.contains(part), "{via:?} does not show `{part}`:\n{text}");
            }
            ensure!(message.is_commit() && !message.is_repeat(), "{text}");
            let fallback = message.text();
            ensure!(
                fallback.contains(&image) && fallback.contains("1.0.1") && fallback.contains("main"),
                "{via:?}: {fallback}"
            );
        }
        ensure!(by(Via::Bot)?.body["channel"] == "#deployments", "the bot's channel");
        world.idle().await?;
        let traffic = world.slack.traffic();
        let sent = |path: &str, header: &str| {
            let exchanges =
                traffic.exchanges().into_iter().find(|exchange| exchange.head.path.ends_with(path));
            exchanges.and_then(|exchange| Some(exchange.head.headers.get(header)?.to_str().ok()?.to_owned()))
        };
        ensure!(
            sent("/chat.postMessage", "authorization") == Some(format!("Bearer {BOT_TOKEN}")),
            "the bot's token"
        );
        ensure!(
            sent("/json", "authorization") == Some(format!("Bearer {JSON_TOKEN}")),
            "the webhook's token"
        );
        ensure!(
            sent("/json", "idempotency-key").as_deref() == Some(commit.id.as_str()),
            "the idempotency key"
        );

        let mut body = by(Via::Json)?.body.clone();
        ensure!(body["at"].take().is_string() && body["summary"].take().is_string(), "{body:#}");
        let expected = json!({
            "schema": "windlass.dev/notice/v1", "id": commit.id, "kind": "committed", "repeat": false,
            "at": null, "summary": null,
            "object": {"kind": "ImageUpdateAutomation", "namespace": "apps", "name": "fleet"},
            "commit": {
                "repository": FORGE, "branch": "main", "id": commit.id,
                "url": format!("http://gitea.example.org/fleet/commit/{}", commit.id),
                "changes": [{
                    "policy": "apps/podinfo", "image": image, "from": old, "to": new,
                    "digest": digest, "files": [MANIFEST_PATH],
                }],
            },
        });
        ensure!(body == expected, "{body:#}\nis not\n{expected:#}");
        ensure!(world.slack.messages().len() == 3, "each was told once");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn failures_are_told_once_and_recovery_once() -> Result<()> {
    let auth = GitAuth::Basic("bot".to_owned(), "password".to_owned());
    let options = WorldOptions { git_auth: Some(auth.clone()), ..WorldOptions::default() };
    world::run(options, async |world| {
        // Wrong credentials: somebody has to act, so it is told at once, and not again with each retry.
        world.git.set_auth(Some(GitAuth::Bearer("another".to_owned())));
        let (git, mark) = (world.git.traffic().clone(), world.git.traffic().mark());
        world.push("1.0.1").await?;
        world.wait_failing(AUTOMATION, "credentials").await?;
        for _ in 0..3 {
            let mark = git.mark();
            world.running()?.reconcile(AUTOMATION).await?;
            git.next_after(mark, &Match::any(), PATIENCE).await?;
        }
        ensure!(git.exchanges().len() >= mark + 4, "it was tried again");
        world.git.set_auth(Some(auth));
        world.running()?.reconcile(AUTOMATION).await?;
        world.wait_for("1.0.1").await?;
        world.idle().await?;

        // An outage passes by itself, so it is told only when it happened three times in a row.
        let outage = world.proxy.traffic().answer_next(2, tag_lists(), Canned::status(503));
        world.running()?.reconcile(IMAGE).await?;
        eventually(PATIENCE, "two failures", async || Ok((outage.hits() == 2).then_some(()))).await?;
        world.idle().await?;
        ensure!(world.slack.messages().len() == 3, "a short outage was told: {:#?}", world.slack.messages());
        let outage = world.proxy.traffic().answer(tag_lists(), Canned::status(503));
        world.running()?.reconcile(IMAGE).await?;
        eventually(PATIENCE, "four failures", async || Ok((outage.hits() >= 4).then_some(()))).await?;
        outage.lift();
        world.running()?.reconcile(IMAGE).await?;
        world.wait_working(IMAGE).await?;
        world.idle().await?;

        let messages = world.slack.messages();
        let told: Vec<String> = messages
            .iter()
            .map(|message| text_of(message).lines().next().unwrap_or_default().to_owned())
            .collect();
        let of_automation: Vec<&String> = told.iter().filter(|title| title.contains(AUTOMATION)).collect();
        let of_image: Vec<&String> = told.iter().filter(|title| title.contains(IMAGE)).collect();
        ensure!(of_automation.len() == 3 && of_image.len() == 2 && told.len() == 5, "{told:#?}");
        ensure!(
            of_automation[0].starts_with("*Failing*") && of_image[0].starts_with("*Failing*"),
            "{told:#?}"
        );
        ensure!(of_image[1].starts_with("*Recovered*"), "{told:#?}");
        let rest: BTreeSet<&str> =
            of_automation[1..].iter().filter_map(|title| title.split('*').nth(1)).collect();
        ensure!(rest == BTreeSet::from(["Committed", "Recovered"]), "{told:#?}");
        ensure!(text_of(&messages[0]).contains("credentials"), "{}", text_of(&messages[0]));
        let ids: BTreeSet<&str> = messages.iter().filter_map(Message::event_id).collect();
        ensure!(ids.len() == 5, "each notice has an id of its own: {ids:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn notifiers_choose_events_automations_and_namespaces() -> Result<()> {
    world::run_prepared(WorldOptions::default(), async |world| {
        let marked = format!(
            "image: {}/{REPOSITORY}:1.0.0 # {{\"$imagepolicy\": \"apps:podinfo\"}}\n",
            world.proxy.host()
        );
        world.git.create_repository("staging", [("web.yaml", marked)]).await?;
        world.config.remove("notifier.yaml")?;
        world.config.write(
            "staging.yaml",
            config::documents([
                config::git_repository(NAMESPACE, "staging", &world.git.url("staging"), None),
                config::automation(NAMESPACE, "staging", "1h", "./"),
            ]),
        )?;
        let abroad = config::slack_bot("elsewhere", "abroad", "slack-bot", "#abroad", &world.slack.api_url());
        world.config.write(
            "notifiers.yaml",
            config::documents([
                bot(world, "all", ""),
                bot(world, "commits", "  events: [committed]\n"),
                bot(world, "troubles", "  events: [failed, recovered]\n"),
                bot(world, "staging", "  automations: [staging]\n"),
                bot(world, "fleet-commits", "  automations: [fleet]\n  events: [committed]\n"),
                bot(world, "asleep", "  suspend: true\n"),
                abroad.clone(),
                abroad.replace("abroad", "platform") + "  namespaces: [apps]\n",
                abroad.replace("abroad", "intruder").replace("elsewhere", "intruders")
                    + "  namespaces: [apps]\n",
                config::secret("intruders", "slack-bot", &[("token", BOT_TOKEN)]),
                format!(
                    "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  labels:\n    \
                     windlass.dev/notifiers-from: elsewhere\n"
                ),
                config::secret("elsewhere", "slack-bot", &[("token", BOT_TOKEN)]),
            ]),
        )?;
        world.config.write("more-secrets.yaml", secrets(world, BOT_TOKEN))?;
        world.start_windlass().await?;
        world.push("1.0.1").await?;
        world.wait_for("1.0.1").await?;
        world.idle().await?;
        let of = |automation: &str| {
            let title = format!("ImageUpdateAutomation/apps/{automation}");
            channels(&world.slack.messages(), |m| m.is_commit() && text_of(m).contains(&title))
        };
        ensure!(of("fleet") == ["#all", "#commits", "#fleet-commits", "#platform"], "{:?}", of("fleet"));
        ensure!(of("staging") == ["#all", "#commits", "#platform", "#staging"], "{:?}", of("staging"));

        world.git.set_auth(Some(GitAuth::Bearer("another".to_owned())));
        world.running()?.reconcile(AUTOMATION).await?;
        world.wait_failing(AUTOMATION, "credentials").await?;
        world.git.set_auth(None);
        world.running()?.reconcile(AUTOMATION).await?;
        world.wait_working(AUTOMATION).await?;
        world.idle().await?;
        let messages = world.slack.messages();
        for told in [channels(&messages, Message::is_failure), channels(&messages, Message::is_recovery)] {
            ensure!(told == ["#all", "#platform", "#troubles"], "{told:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_notifier_that_is_refused_blocks_nothing_and_is_shown() -> Result<()> {
    world::run_prepared(WorldOptions::default(), async |world| {
        world.config.write("bot.yaml", bot(world, "refused", ""))?;
        world.config.write("more-secrets.yaml", secrets(world, "xoxb-revoked"))?;
        world.start_windlass().await?;
        for tag in ["1.0.1", "1.0.2"] {
            world.push(tag).await?;
            world.wait_for(tag).await?;
        }
        world.idle().await?;
        let messages = world.slack.messages();
        ensure!(messages.len() == 2 && messages.iter().all(|m| m.via == Via::Webhook), "{messages:#?}");
        let metrics = world.running()?.metrics().await?;
        let counted = |outcome| metrics.count("windlass_notices_total", &[("outcome", outcome)]);
        let (sent, rejected, retried) = (counted("sent"), counted("rejected"), counted("retried"));
        ensure!(sent > 1.5 && rejected > 1.5 && retried < 0.5, "{sent}, {rejected}, {retried}");
        let log = world.log_text();
        let told = |line: &&str| {
            line.contains("ERROR") && line.contains("apps/refused") && line.contains("invalid_auth")
        };
        ensure!(log.lines().filter(told).count() == 2, "the log does not tell of it:\n{log}");
        let object = "Notifier/apps/refused";
        let status = world.wait_failing(object, "set a valid bot token").await?;
        ensure!(status["since"].is_string(), "{status:#}");
        world.wait_working("Notifier/apps/slack").await?;

        // The next notice that is taken shows that it works again.
        world.config.write("more-secrets.yaml", secrets(world, BOT_TOKEN))?;
        world.wait_working(object).await?;
        world.push("1.0.3").await?;
        world.wait_for("1.0.3").await?;
        world.idle().await?;
        ensure!(
            channels(&world.slack.messages(), Message::is_commit) == ["#refused"],
            "the new token is used"
        );
        world.wait_working(object).await.map(drop)
    })
    .await
}

#[tokio::test]
async fn a_chat_service_that_hangs_delays_no_commit() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let held = world.slack.traffic().hold(Match::method(Method::POST), Point::Before);
        world.push("1.0.1").await?;
        world.wait_for("1.0.1").await?;
        held.arrived(PATIENCE).await?;
        for tag in ["1.0.2", "1.0.3", "1.0.4"] {
            world.push(tag).await?;
            world.wait_for(tag).await?;
        }
        ensure!(world.slack.messages().is_empty(), "Slack has taken nothing so far");
        held.open();
        world.expect_commits(4).await?;
        ensure!(world.git.traffic().count(&GitServer::pushes()) == 4, "one push for each tag");
        Ok(())
    })
    .await
}
