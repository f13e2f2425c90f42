//! Durable webhooks accepted per second: unique events over kept connections, with `--data` on a real disk. The
//! registry takes connections and never answers, so nothing but acceptance is done.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use windlass_testkit::config::ConfigFolder;
use windlass_testkit::event::Push;
use windlass_testkit::fleet::Fleet;
use windlass_testkit::image::digest_of;

use super::hooks::{Flood, flood};
use super::report::Table;
use super::stage::{self, Stage};
use crate::figures::{Figure, Target};

/// Connections that are kept open, each with one request under way.
const CONNECTIONS: usize = 64;
/// A flood ends after this, however many are left.
const LONGEST: Duration = Duration::from_secs(10);
/// Before the clock starts: caches, the database's first growth.
const WARM_UP: usize = 2_000;

/// Floods an instance with events of many images, then another with events of one.
pub(crate) async fn measure(stage: &Stage) -> Result<Vec<Table>> {
    let requests = stage.size(50_000, 10_000);
    let mut table = Table::new(format!(
        "webhooks: durable deliveries accepted; up to {requests} or {} s over {CONNECTIONS} connections",
        LONGEST.as_secs()
    ));
    for images in [stage.size(1_000, 100), 1] {
        let name = if images == 1 { "one hot image".to_owned() } else { format!("{images} images") };
        let flood = accept(stage, images, requests).await.with_context(|| name.clone())?;
        let rate = Figure::rate(flood.waits.len(), flood.took);
        table.goal(format!("{name}: accepted"), rate, Target::AtLeast(5_000.0));
        table.row(format!("{name}: p50"), Figure::time(flood.waits.median()));
        table.goal(format!("{name}: p99"), Figure::time(flood.waits.quantile(99)), Target::AtMost(100.0));
    }
    let folder = stage::on_disk()?;
    table.row(
        "4 KiB written and synced to the same disk, p50",
        Figure::time(stage::synced(folder.path())?.median()),
    );
    table.note("The sender runs on the same processors.");
    Ok(vec![table])
}

async fn accept(stage: &Stage, images: usize, requests: usize) -> Result<Flood> {
    // The kernel completes connections that nobody accepts.
    let registry = TcpListener::bind("127.0.0.1:0").context("listening")?;
    let host = registry.local_addr().context("reading a listener's address")?.to_string();
    let config = ConfigFolder::new()?;
    stage::write_images(&config, &host, images)?;
    let instance = stage.start(config, stage::on_disk()?).await?;
    let prepared = |range: std::ops::Range<usize>| -> Vec<Vec<u8>> {
        range.map(|number| delivery(&instance, &host, number % images, number)).collect()
    };
    flood(instance.address, prepared(0..WARM_UP), CONNECTIONS, LONGEST).await?;
    let measured =
        flood(instance.address, prepared(WARM_UP..WARM_UP + requests), CONNECTIONS, LONGEST).await?;
    let stored =
        instance.windlass.metrics().await?.count("windlass_webhooks_total", &[("outcome", "accepted")]);
    let sent = Figure::number(WARM_UP + measured.waits.len()).value;
    ensure!((stored - sent).abs() < 0.5, "{sent} webhooks were answered 200, and {stored} were stored");
    Ok(measured)
}

fn delivery(instance: &stage::Instance, host: &str, image: usize, number: usize) -> Vec<u8> {
    let (id, tag) = (format!("c41bb1d1-6a3c-4f5e-9d52-{number:012x}"), format!("1.1.{number}"));
    let repository = Fleet::image_path(image);
    let digest = digest_of(tag.as_bytes());
    let push = Push { id: &id, host, repository: &repository, tag: Some(&tag), digest: &digest };
    stage::announcement(instance.address, &push)
}
