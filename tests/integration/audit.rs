//! `windlass audit`: from the event to the confirmation, by image, by resource and by commit, wherever the state is.

use std::collections::BTreeSet;
use std::ffi::OsString;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use windlass_testkit::git_repository::Commit;
use windlass_testkit::http_fault::tag_lists;
use windlass_testkit::http_server::Canned;
use windlass_testkit::nats::NatsServer;
use windlass_testkit::observed::IMAGE;
use windlass_testkit::windlass::command;
use windlass_testkit::world::{self, MANIFEST_PATH, PATIENCE, REPOSITORY, World, WorldOptions};
use windlass_testkit::{eventually, world::NAMESPACE};

const TAG: &str = "1.0.1";
/// What happens to an image that an event brings in, in its order.
const WAY: [&str; 5] = ["received", "scanned", "selected", "committed", "notified"];

fn of_data(world: &World) -> Vec<OsString> {
    vec!["--data".into(), world.data.path().into()]
}

async fn audit(place: &[OsString], words: &[&str]) -> Result<(Option<i32>, String, String)> {
    let words = ["audit"].iter().chain(words).map(OsString::from);
    let output = command(&words.chain(place.iter().cloned()).collect::<Vec<_>>()).await?;
    let text = |bytes| String::from_utf8(bytes).context("not UTF-8");
    Ok((output.status.code(), text(output.stdout)?, text(output.stderr)?))
}

/// The entries, the oldest first.
async fn entries(place: &[OsString], words: &[&str]) -> Result<Vec<Value>> {
    let (code, json, problem) = audit(place, &[words, &["--output", "json"]].concat()).await?;
    ensure!(code == Some(0), "windlass audit {words:?}: {problem}");
    let document: Value = serde_json::from_str(&json)?;
    ensure!(document["reaches_back_to"].is_string() && document["left_out"] == 0, "{document:#}");
    document["entries"].as_array().cloned().context("no entries")
}

fn of_kind<'e>(entries: &'e [Value], kind: &str) -> Result<&'e Value> {
    entries.iter().find(|entry| entry["kind"] == kind).with_context(|| format!("no `{kind}` in {entries:#?}"))
}

/// Whether the entries are those of one tag's way, each linked to the next.
fn expect_way(world: &World, entries: &[Value], commit: &Commit, digest: &str) -> Result<()> {
    let mut kinds: Vec<&str> = entries.iter().filter_map(|entry| entry["kind"].as_str()).collect();
    kinds.dedup();
    ensure!(kinds == WAY, "{kinds:?}: {entries:#?}");
    let image = format!("{}/{REPOSITORY}", world.proxy.host());
    let [received, scanned, selected, committed, notified] = WAY.map(|kind| of_kind(entries, kind));
    let (received, scanned, selected, committed, notified) =
        (received?, scanned?, selected?, committed?, notified?);
    let event = received["event"].as_str().context("no event")?;
    ensure!(commit.message.contains(&format!("Windlass-Event: {event}")), "{}", commit.message);
    let detail = &received["detail"];
    ensure!(
        detail["sender"] == "distribution" && detail["receiver"] == "apps/registry" && detail["tag"] == TAG,
        "{received:#}"
    );
    ensure!(detail["delivery"].is_string() && detail["digest"] == digest, "{received:#}");
    ensure!(scanned["event"] == event && scanned["detail"]["digests"][TAG] == digest, "{scanned:#}");
    ensure!(
        scanned["detail"]["new"][0] == TAG && scanned["detail"]["image"] == image.as_str(),
        "{scanned:#}"
    );
    let (from, to) = (format!("{image}:1.0.0"), format!("{image}:{TAG}"));
    let choice = &selected["detail"];
    ensure!(choice["from"] == from.as_str() && choice["to"] == to.as_str(), "{selected:#}");
    ensure!(selected["event"] == event, "{selected:#}");
    let landed = &committed["detail"];
    ensure!(landed["commit"] == commit.id.as_str() && landed["files"][0] == MANIFEST_PATH, "{committed:#}");
    ensure!(landed["branch"] == "main" && landed["events"][0] == event, "{committed:#}");
    ensure!(notified["detail"]["commit"] == commit.id.as_str(), "{notified:#}");
    ensure!(notified["object"]["key"]["name"] == "slack", "{notified:#}");
    Ok(())
}

/// Pushes, and waits until all is told.
async fn promoted(world: &mut World) -> Result<(Commit, String)> {
    world.wait_working(IMAGE).await?;
    world.idle().await?;
    let digest = world.push(TAG).await?;
    let commit = world.wait_for(TAG).await?;
    world.slack.wait_for(1, PATIENCE).await?;
    world.idle().await?;
    Ok((commit, digest))
}

#[tokio::test]
async fn image_and_commit_are_told_from_the_event_to_the_confirmation() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let (commit, digest) = promoted(world).await?;
        let place = of_data(world);
        let image = format!("{}/{REPOSITORY}", world.proxy.host());
        let (by_tag, by_digest) = (format!("{image}:{TAG}"), format!("{image}:{TAG}@{digest}"));
        for question in [&by_tag, &by_digest, &commit.id, &commit.id[..8]] {
            expect_way(world, &entries(&place, &[question]).await?, &commit, &digest)?;
        }
        // The whole image, and the resource: the first look too, which no event led to.
        let (of_image, of_resource) =
            (entries(&place, &[&image]).await?, entries(&place, &["apps/podinfo"]).await?);
        ensure!(of_image == of_resource && of_image[0]["kind"] == "scanned", "{of_image:#?}");
        ensure!(of_image.iter().any(|entry| entry["detail"]["to"] == format!("{image}:1.0.0").as_str()));
        let of_policy = entries(&place, &["ImagePolicy/apps/podinfo"]).await?;
        ensure!(of_policy.iter().any(|entry| entry["kind"] == "received"), "{of_policy:#?}");
        ensure!(entries(&place, &[]).await?.len() >= of_image.len());

        let (code, table, _) = audit(&place, &[&by_tag]).await?;
        ensure!(code == Some(0) && table.starts_with("TIME "), "{table}");
        for shown in [
            format!("tag {TAG} pushed; by distribution at Receiver apps/registry; delivery "),
            format!("{image}:1.0.0 -> {image}:{TAG}"),
            format!("{} on main; {image} ", &commit.id[..12]),
            format!("committed {}: ", &commit.id[..12]),
        ] {
            ensure!(table.contains(&shown), "`{shown}` is not in\n{table}");
        }
        let column = |line: &str, word: &str| line.find(word);
        let lines: Vec<&str> = table.lines().collect();
        let what = column(lines[0], "WHAT").context("no header")?;
        ensure!(lines[1..].iter().zip(WAY).all(|(line, kind)| line[what..].starts_with(kind)), "{table}");

        let (code, table, problem) = audit(&place, &["--limit", "1"]).await?;
        ensure!(
            code == Some(0) && table.lines().count() == 2 && problem.contains("older entries"),
            "{table}"
        );
        for nothing in [&["0123456789"][..], &["ghcr.io/org/unheard"], &[&by_tag, "--since", "2100-01-01"]] {
            let (code, out, problem) = audit(&place, nothing).await?;
            ensure!(code == Some(1) && out.is_empty(), "{nothing:?}: {out}");
            ensure!(problem.contains("the audit reaches back to 2"), "{problem}");
        }
        let (code, _, problem) = audit(&place, &["no such thing"]).await?;
        ensure!(code == Some(2) && problem.contains("is no image"), "{problem}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn audit_outlives_the_process_and_is_read_from_a_shared_queue() -> Result<()> {
    let server = NatsServer::start().await?;
    let shared: Vec<OsString> = vec!["--queue".into(), server.url().into()];
    for queue in [None, Some(shared)] {
        let arguments = queue.clone().unwrap_or_default();
        world::run(WorldOptions { arguments, ..WorldOptions::default() }, async |world| {
            let (commit, digest) = promoted(world).await?;
            // Beside the running process, then without it.
            expect_way(world, &entries(&of_data(world), &[&commit.id]).await?, &commit, &digest)?;
            world.windlass().terminate(PATIENCE).await?;
            let place = queue.clone().unwrap_or_else(|| of_data(world));
            expect_way(world, &entries(&place, &[&commit.id[..10]]).await?, &commit, &digest)?;
            world.windlass().restart().await?;
            world.idle().await
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn failures_their_end_and_what_a_person_asked_for_are_told() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        world.wait_working(IMAGE).await?;
        world.idle().await?;
        let outage = world.proxy.traffic().answer(tag_lists(), Canned::status(401));
        world.running()?.reconcile(IMAGE).await?;
        world.wait_failing(IMAGE, "credentials").await?;
        outage.lift();
        world.running()?.reconcile(IMAGE).await?;
        world.wait_working(IMAGE).await?;
        world.idle().await?;
        let place = of_data(world);
        let told = eventually(PATIENCE, "the end of the failure in the audit", async || {
            let told = entries(&place, &[IMAGE]).await?;
            Ok(told.iter().any(|entry| entry["kind"] == "recovered").then_some(told))
        })
        .await?;
        let kinds: BTreeSet<&str> = told.iter().filter_map(|entry| entry["kind"].as_str()).collect();
        ensure!(kinds.is_superset(&["requested", "failed", "recovered", "scanned"].into()), "{told:#?}");
        let requested = of_kind(&told, "requested")?;
        ensure!(requested["object"]["key"]["namespace"] == NAMESPACE, "{requested:#}");
        let event = requested["event"].as_str().context("no event")?;
        ensure!(event.starts_with("requested-"), "{requested:#}");
        Ok(())
    })
    .await
}
