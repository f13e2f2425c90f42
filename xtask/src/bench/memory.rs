//! Resident memory: idle with one application, and with very many images.

use anyhow::{Context as _, Result};
use serde_json::json;
use windlass_testkit::config::ConfigFolder;
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::http_fault::{Proxy, tag_lists};
use windlass_testkit::http_server::Canned;
use windlass_testkit::traffic::Match;
use windlass_testkit::world::{Announces, World, WorldOptions};

use super::figures::{Figure, Target};
use super::report::Table;
use super::stage::{self, Memory, Stage};

/// Tags of each of the many images.
const TAGS: usize = 100;
/// Nothing listens there (the discard service): every request is answered before it is passed on.
const NOWHERE: &str = "http://127.0.0.1:9";

/// Measures both.
pub(crate) async fn measure(stage: &Stage) -> Result<Vec<Table>> {
    let mut table = Table::new("memory: resident");
    one(stage, &mut table).await.context("one application")?;
    many(stage, &mut table).await.context("many images")?;
    Ok(vec![table])
}

async fn one(stage: &Stage, table: &mut Table) -> Result<()> {
    let mut world = World::start(WorldOptions {
        announces: Announces::PushedManifests,
        notifier: false,
        registry_program: Some(stage.registry.clone()),
        windlass_program: Some(stage.windlass.clone()),
        ..WorldOptions::default()
    })
    .await?;
    let process = world.windlass().id();
    let idle = Figure::megabytes(Memory::of(process)?.resident);
    table.goal("idle, one application, ready", idle, Target::AtMost(40.0));
    world.push("1.0.1").await?;
    world.wait_for("1.0.1").await?;
    table.row("the same after a promotion", Figure::megabytes(Memory::of(process)?.resident));
    Ok(())
}

async fn many(stage: &Stage, table: &mut Table) -> Result<()> {
    let images = stage.size(10_000, 1_000);
    let registry = Proxy::start(NOWHERE)?;
    let tags: Vec<String> = (0..TAGS).map(|tag| format!("1.0.{tag}")).collect();
    let list = json!({"name": "any", "tags": tags}).to_string();
    let list = Canned::status(200).header("content-type", "application/json").body(list);
    let _base = registry.traffic().answer(Match::path_ends_with("/v2/"), Canned::status(200));
    let _lists = registry.traffic().answer(tag_lists(), list);
    let config = ConfigFolder::new()?;
    config.write("images.yaml", stage::images(&registry.host(), images))?;
    let started = std::time::Instant::now();
    let mut instance = stage.start(config, fresh(Storage::Memory)?).await?;
    instance.ready().await?;
    let (ready, memory) = (started.elapsed(), instance.memory()?);
    let name = format!("{images} images × {TAGS} tags");
    table.goal(format!("{name}, all read"), Figure::megabytes(memory.resident), Target::AtMost(150.0));
    table.row(format!("{name}: the most until then"), Figure::megabytes(memory.peak));
    table.row(format!("{name}: from start to all read"), Figure::time(ready));
    Ok(())
}
