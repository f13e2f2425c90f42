//! What a running process serves beside webhooks: health, readiness, metrics and the local API.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};
use serde_json::Value;
use windlass_testkit::config;
use windlass_testkit::eventually;
use windlass_testkit::http_fault::tag_lists;
use windlass_testkit::http_server::{Canned, client};
use windlass_testkit::metrics::Metrics;
use windlass_testkit::observed::IMAGE;
use windlass_testkit::port;
use windlass_testkit::traffic::{Method, Point};
use windlass_testkit::windlass::Windlass;
use windlass_testkit::world::{self, Announces, NAMESPACE, PATIENCE, RECEIVER, TOKEN, World, WorldOptions};

/// A counter or gauge that holds a whole number.
fn is(metrics: &Metrics, name: &str, labels: &[(&str, &str)], expected: f64) -> Result<()> {
    let found = metrics.get(name, labels);
    ensure!(
        found.is_some_and(|found| (found - expected).abs() < 0.5),
        "{name} {labels:?} is {found:?}, not {expected}"
    );
    Ok(())
}

#[tokio::test]
async fn the_administrative_address_takes_everything_but_webhooks_off_the_port() -> Result<()> {
    let mut world = World::prepare(WorldOptions::default()).await?;
    let options = windlass_testkit::windlass::WindlassOptions {
        admin_listen: Some(port::free()?),
        ..world.windlass_options()
    };
    let windlass = world.windlass.insert(Windlass::start(options).await?);
    windlass.wait_ready(PATIENCE).await?;
    ensure!(windlass.url() != windlass.admin_url(), "there are two addresses");
    let http = client()?;
    for path in ["/healthz", "/readyz", "/metrics", "/api/v1/status", "/api/v1/reconcile"] {
        let there = http.get(format!("{}{path}", windlass.url())).send().await?.status();
        ensure!(there == 404, "{path} on the webhooks' port: {there}");
    }
    let path = config::webhook_path(TOKEN, RECEIVER, NAMESPACE);
    let elsewhere = http.post(format!("{}{path}", windlass.admin_url())).send().await?.status();
    ensure!(elsewhere == 404, "a webhook on the administrative address: {elsewhere}");
    for (path, expected) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/api/v1/status", 401)]
    {
        let status = windlass.get(path).await?.status();
        ensure!(status == expected, "{path}: {status}");
    }
    windlass.status().await?;
    world.push("1.0.1").await?;
    world.wait_for("1.0.1").await?;
    Ok(())
}

#[tokio::test]
async fn the_local_api_asks_for_its_token() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let windlass = world.windlass();
        let (http, base, token) =
            (client()?, windlass.admin_url().to_owned(), windlass.admin_token().to_owned());
        let body = r#"{"kind":"ImageRepository","key":{"namespace":"apps","name":"podinfo"}}"#;
        for given in [
            None,
            Some(String::new()),
            Some(TOKEN.to_owned()),
            Some(token[1..].to_owned()),
            Some(token.clone() + "0"),
        ] {
            for (method, path) in [(Method::GET, "/api/v1/status"), (Method::POST, "/api/v1/reconcile")] {
                let mut request =
                    http.request(method, format!("{base}{path}")).header("content-type", "application/json");
                if let Some(given) = &given {
                    request = request.bearer_auth(given);
                }
                let answer = request.body(body).send().await?;
                ensure!(answer.status() == 401, "{path} with {given:?}: {}", answer.status());
            }
        }
        let post = |body: String| {
            http.post(format!("{base}/api/v1/reconcile"))
                .bearer_auth(&token)
                .header("content-type", "application/json")
                .body(body)
        };
        for (body, expected) in [
            (body.to_owned(), 202),
            (body.replace("podinfo", "other"), 404),
            (body.replace("ImageRepository", "Pod"), 422),
            ("{".to_owned(), 400),
            (" ".repeat(20 << 10), 413),
        ] {
            let status = post(body.clone()).send().await?.status();
            ensure!(status == expected, "{body:.60}: {status}");
        }
        ensure!(windlass.get("/no/such/page").await?.status() == 404, "an unknown page");
        let file = world.data.path().join("endpoint.json");
        let mode = std::fs::metadata(&file)?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "others may read the token: {mode:o}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn readiness_waits_for_each_first_try_and_not_for_its_success() -> Result<()> {
    let mut world = World::prepare(WorldOptions::default()).await?;
    // What the configuration itself keeps from working is not waited for.
    world.config.write(
        "cloud.yaml",
        config::documents([
            config::image_repository(NAMESPACE, "cloud", "registry.example.org/cloud", "1h", None)
                + "  provider: aws\n",
            config::image_policy(NAMESPACE, "cloud", ">=1.0.0", "Never"),
        ]),
    )?;
    let held = world.proxy.traffic().hold(tag_lists(), Point::Before);
    let windlass = Windlass::start(world.windlass_options()).await?;
    held.arrived(PATIENCE).await?;
    let answer = windlass.get("/readyz").await?;
    ensure!(answer.status() == 503, "ready before the registry was tried");
    let checks: Value = answer.json().await?;
    let check = |name: &str| {
        let checks = checks.as_array().into_iter().flatten();
        checks.clone().find(|check| check["name"] == name).map(|check| check["ok"].clone())
    };
    for (name, ok) in [("configuration", true), ("store", true), ("resources", false)] {
        ensure!(check(name) == Some(Value::Bool(ok)), "{checks:#}");
    }
    ensure!(windlass.get("/healthz").await?.status() == 200, "alive before it is ready");

    // Webhooks are taken meanwhile: this event alone brings its tag in.
    let digest = world.images.push(world::REPOSITORY, "1.0.1", "1.0.1").await?;
    world.registry.down();
    world.windlass = Some(windlass);
    let answer = world.announce("while-not-ready", "1.0.1", &digest).await?;
    ensure!(answer.status() == 200, "a webhook while not ready: {}", answer.status());
    held.answer(Canned::status(503));
    world.windlass().wait_ready(PATIENCE).await?;
    world.wait_failing(IMAGE, "50").await?;
    let ready = world.running()?.get("/readyz").await?.status();
    ensure!(ready == 200, "a dead registry must not take the webhooks down: {ready}");
    world.registry.up().await?;
    world.wait_for("1.0.1").await?;
    world.wait_failing("ImageRepository/apps/cloud", "spec.provider").await.map(drop)
}

#[tokio::test]
async fn metrics_tell_what_a_push_did_and_what_no_event_announced() -> Result<()> {
    let options = WorldOptions { announces: Announces::Nothing, ..WorldOptions::default() };
    world::run(options, async |world| {
        let digest = world.push("1.0.1").await?;
        ensure!(world.announce("the-event", "1.0.1", &digest).await?.status() == 200, "accepted");
        ensure!(world.announce("the-event", "1.0.1", &digest).await?.status() == 200, "a repeat");
        world.wait_for("1.0.1").await?;
        world.slack.wait_for(1, PATIENCE).await?;
        let host = world.proxy.host();
        world.idle().await?;
        let metrics = world.running()?.metrics().await?;
        for (name, labels, expected) in [
            ("windlass_event_to_commit_seconds_count", &[][..], 1.0),
            ("windlass_event_to_commit_seconds_bucket", &[("le", "+Inf")], 1.0),
            ("windlass_pushes_total", &[("outcome", "landed")], 1.0),
            ("windlass_pushes_total", &[], 1.0),
            ("windlass_commits_total", &[], 1.0),
            ("windlass_webhooks_total", &[("sender", "distribution"), ("outcome", "accepted")], 1.0),
            ("windlass_webhooks_total", &[("sender", "distribution"), ("outcome", "duplicate")], 1.0),
            ("windlass_webhook_duration_seconds_count", &[], 2.0),
            ("windlass_queue_waiting", &[], 0.0),
            ("windlass_queue_running", &[], 0.0),
            ("windlass_queue_oldest_seconds", &[], 0.0),
            ("windlass_notices_total", &[("outcome", "sent")], 1.0),
            ("windlass_outbox_waiting", &[], 0.0),
            ("windlass_resync_found_total", &[], 0.0),
            ("windlass_notice_repeats_total", &[], 0.0),
        ] {
            is(&metrics, name, labels, expected)?;
        }
        let requests =
            metrics.count("windlass_registry_requests_total", &[("host", &host), ("outcome", "ok")]);
        ensure!(requests >= 2.0, "a list and a tag were asked for: {requests}");
        let runs = metrics.count("windlass_runs_total", &[("kind", "ImageRepository"), ("outcome", "done")]);
        ensure!(runs >= 2.0, "the first scan and the event: {runs}");

        // A tag that no event announced. The list that finds it leaves its event time to come; the next one counts it,
        // and only the next one.
        world.push("1.0.2").await?;
        world.windlass().reconcile(IMAGE).await?;
        world.wait_for("1.0.2").await?;
        for _ in 0..2 {
            let (mark, traffic) = (world.proxy.traffic().mark(), world.proxy.traffic().clone());
            world.windlass().reconcile(IMAGE).await?;
            traffic.next_after(mark, &tag_lists(), PATIENCE).await?;
        }
        let found = eventually(PATIENCE, "the resync to be counted", async || {
            let metrics = world.running()?.metrics().await?;
            is(&metrics, "windlass_resync_found_total", &[], 1.0)?;
            Ok(Some(metrics))
        })
        .await?;
        is(&found, "windlass_event_to_commit_seconds_count", &[], 1.0)?;
        is(&found, "windlass_commits_total", &[], 2.0)?;

        // What cannot be done grows old where it can be seen.
        world.registry.down();
        ensure!(world.announce("waiting", "1.0.3", &digest).await?.status() == 200, "accepted");
        eventually(PATIENCE, "an event that waits", async || {
            let metrics = world.running()?.metrics().await?;
            let waiting =
                metrics.count("windlass_queue_waiting", &[]) + metrics.count("windlass_queue_running", &[]);
            let failed = metrics
                .count("windlass_registry_requests_total", &[("host", &host), ("outcome", "server_error")])
                + metrics
                    .count("windlass_registry_requests_total", &[("host", &host), ("outcome", "network")]);
            let old = metrics.count("windlass_queue_oldest_seconds", &[]);
            Ok((waiting > 0.5 && failed > 0.5 && old > 0.5).then_some(()))
        })
        .await?;
        let text = world.windlass().get("/metrics").await?.text().await?;
        ensure!(
            text.ends_with("# EOF\n") && text.contains("# HELP windlass_pushes "),
            "it is OpenMetrics text"
        );
        Ok(())
    })
    .await
}
