//! `windlass queue`: what waits and why, and a person's hand in it, beside a running instance, on a stopped one's folder,
//! and on a queue that several share.

use std::ffi::OsString;
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use windlass_testkit::eventually;
use windlass_testkit::http_fault::manifest;
use windlass_testkit::http_server::Canned;
use windlass_testkit::nats::NatsServer;
use windlass_testkit::observed::IMAGE;
use windlass_testkit::traffic::Match;
use windlass_testkit::windlass::command;
use windlass_testkit::world::{self, PATIENCE, World, WorldOptions};

const TAG: &str = "1.0.1";
/// After so many tries, the next one is eight seconds away: time enough to look at it, and to ask for it earlier.
const TRIES: u64 = 4;

/// Where a test looks.
struct Place(Vec<OsString>);

impl Place {
    fn data(world: &World) -> Self {
        Self(vec!["--data".into(), world.data.path().into()])
    }

    fn queue(server: &NatsServer) -> Self {
        Self(vec!["--queue".into(), server.url().into()])
    }

    /// `windlass queue …`
    async fn ask(&self, words: &[&str]) -> Result<Output> {
        let words = ["queue"].iter().chain(words).map(OsString::from);
        command(&words.chain(self.0.iter().cloned()).collect::<Vec<_>>()).await
    }

    /// As JSON, with the exit status.
    async fn read(&self) -> Result<(Value, Option<i32>)> {
        let output = self.ask(&["--output", "json"]).await?;
        let value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("windlass queue: {}", String::from_utf8_lossy(&output.stderr)))?;
        Ok((value, output.status.code()))
    }

    /// The exit status and what is printed.
    async fn says(&self, words: &[&str]) -> Result<(Option<i32>, String)> {
        let output = self.ask(words).await?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8(text)?))
    }

    /// Waits for one dead letter and gives its id.
    async fn dead_letter(&self) -> Result<String> {
        eventually(PATIENCE, "a dead letter", async || {
            let (queue, code) = self.read().await?;
            let Some(id) = queue["dead"][0]["id"].as_str() else { return Ok(None) };
            ensure!(code == Some(1), "{queue:#}");
            ensure!(queue["dead"][0]["error"].as_str().is_some_and(|why| why.contains("404")), "{queue:#}");
            Ok(Some(id.to_owned()))
        })
        .await
    }
}

/// Pushes a tag whose notice the chat service refuses for good.
async fn push_untold(world: &World, tag: &str) -> Result<()> {
    let refused = world.slack.traffic().answer_next(1, Match::any(), Canned::status(404).body("no_service"));
    world.push(tag).await?;
    world.wait_for(tag).await?;
    eventually(PATIENCE, "the notice to be refused", async || Ok((refused.hits() == 1).then_some(()))).await
}

#[tokio::test]
async fn failing_work_is_shown_with_its_reason_and_tried_at_once_when_a_person_asks() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        world.wait_working(IMAGE).await?;
        world.idle().await?;
        let place = Place::data(world);
        let (code, text) = place.says(&[]).await?;
        ensure!(code == Some(0), "{text}");
        ensure!(text.starts_with("work: 0 due, 0 later, 0 being worked on; 0 failing\n"), "{text}");

        let outage = world.proxy.traffic().answer(manifest(TAG), Canned::status(503));
        world.push(TAG).await?;
        let work = eventually(PATIENCE, "the work to fail again and again", async || {
            let (queue, code) = place.read().await?;
            let work = queue["work"][0].clone();
            ensure!(work["attempts"].as_u64().is_some_and(|tries| tries >= TRIES), "{queue:#}");
            ensure!(code == Some(1) && queue["failing"] == 1 && queue["oldest"].is_string(), "{queue:#}");
            Ok((work["claimed"] == false).then_some(work))
        })
        .await?;
        ensure!(work["reason"].as_str().is_some_and(|reason| reason.contains("503")), "{work:#}");
        ensure!(work["not_before"].is_string() && work["first_at"].is_string(), "{work:#}");
        outage.lift();

        let (code, text) = place.says(&["retry", "ImageRepository/apps/podinf"]).await?;
        ensure!(code == Some(2) && text.contains(&format!("did you mean {IMAGE}?")), "{text}");
        let (code, text) = place.says(&["list"]).await?;
        ensure!(code == Some(1), "{text}");
        let row = text.lines().find(|line| line.starts_with(IMAGE)).context("no row")?;
        let header = text.lines().find(|line| line.starts_with("FAILING WORK")).context("no header")?;
        ensure!(header.find("REASON") == row.find(work["reason"].as_str().unwrap_or("?")), "{text}");
        ensure!(row.contains(" in "), "{text}");
        let (code, text) = place.says(&["retry", IMAGE]).await?;
        ensure!(code == Some(0) && text == format!("{IMAGE} is due now\n"), "{text}");
        world.wait_for(TAG).await?;
        world.idle().await?;
        let (code, text) = place.says(&["retry", IMAGE]).await?;
        ensure!(code == Some(2) && text.contains("nothing of the name"), "{text}");
        let (code, text) = place.says(&["retry", "--all"]).await?;
        ensure!(code == Some(0) && text == "nothing waits for a later try\n", "{text}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn dead_letter_is_sent_again_or_dropped_beside_the_instance_and_without_it() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let place = Place::data(world);
        push_untold(world, TAG).await?;
        let letter = place.dead_letter().await?;
        let (code, text) = place.says(&[]).await?;
        ensure!(code == Some(1) && text.contains("1 dead") && text.contains("dead since "), "{text}");
        let (code, text) = place.says(&["retry", &letter]).await?;
        ensure!(code == Some(0) && text == format!("{letter} is due now\n"), "{text}");
        world.slack.wait_for(1, PATIENCE).await?;
        world.idle().await?;

        push_untold(world, "1.0.2").await?;
        let letter = place.dead_letter().await?;
        world.windlass().terminate(PATIENCE).await?;
        ensure!(place.dead_letter().await? == letter, "a stopped instance's folder says the same");
        let (code, text) = place.says(&["drop", "ImageRepository/apps/none"]).await?;
        ensure!(code == Some(2) && text.contains("`windlass queue` shows what does"), "{text}");
        let (code, text) = place.says(&["drop", &letter]).await?;
        ensure!(code == Some(0) && text == format!("{letter} dropped\n"), "{text}");
        let (queue, code) = place.read().await?;
        ensure!(code == Some(0) && queue["outbox"]["dead"] == 0, "{queue:#}");
        world.windlass().restart().await?;
        world.idle().await?;
        ensure!(world.slack.messages().len() == 1, "what was dropped was sent");

        // Each hand is in the audit.
        let mut words: Vec<OsString> =
            ["audit", "Notifier/apps/slack", "--output", "json"].map(Into::into).into();
        words.extend(place.0.iter().cloned());
        let audit: Value = serde_json::from_slice(&command(&words).await?.stdout)?;
        let entries = audit["entries"].as_array().context("no entries")?;
        let told = |kind: &str| entries.iter().filter(|entry| entry["kind"] == kind).collect::<Vec<_>>();
        ensure!(told("undeliverable").len() == 2 && told("notified").len() == 1, "{audit:#}");
        let requests: Vec<_> =
            told("requested").iter().map(|entry| entry["detail"]["request"].clone()).collect();
        ensure!(requests == ["retry", "drop"], "{audit:#}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn shared_queue_is_read_and_changed_without_a_process_beside_it() -> Result<()> {
    let server = NatsServer::start().await?;
    let options =
        WorldOptions { arguments: vec!["--queue".into(), server.url().into()], ..WorldOptions::default() };
    world::run(options, async |world| {
        let (shared, folder) = (Place::queue(&server), Place::data(world));
        push_untold(world, TAG).await?;
        let letter = shared.dead_letter().await?;
        ensure!(folder.dead_letter().await? == letter, "the instance beside it says the same");
        world.windlass().terminate(PATIENCE).await?;
        let (code, text) = folder.says(&[]).await?;
        ensure!(code == Some(2) && text.contains("say --queue URL"), "a copy that nobody keeps up: {text}");
        ensure!(shared.dead_letter().await? == letter);
        let (code, text) = shared.says(&["retry", "--all"]).await?;
        ensure!(code == Some(0) && text == format!("{letter} is due now\n"), "{text}");
        let (queue, code) = shared.read().await?;
        ensure!(code == Some(0) && queue["outbox"]["waiting"] == 1, "{queue:#}");
        let (code, text) = shared.says(&["--queue-stream", "other"]).await?;
        ensure!(code == Some(2) && text.contains("there is no stream `other`"), "{text}");
        world.windlass().restart().await?;
        world.slack.wait_for(1, PATIENCE).await?;
        world.idle().await
    })
    .await
}

#[tokio::test]
async fn commands_without_a_place_say_which_there_are() -> Result<()> {
    for words in [&["queue"][..], &["queue", "retry", "--all"], &["queue", "drop", "x"], &["audit"]] {
        let output = command(&words.iter().map(OsString::from).collect::<Vec<_>>()).await?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(2) && text.contains("--data <DIR>"), "{words:?}: {text}");
    }
    let folder = tempfile::tempdir()?;
    for words in [&["queue"][..], &["queue", "retry", "--all"], &["audit"]] {
        let mut words: Vec<OsString> = words.iter().map(OsString::from).collect();
        words.extend(["--data".into(), folder.path().into()]);
        let output = command(&words).await?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(2) && text.contains("no windlass has run on it yet"), "{text}");
    }
    ensure!(std::fs::read_dir(folder.path())?.next().is_none(), "a store was made");
    Ok(())
}
