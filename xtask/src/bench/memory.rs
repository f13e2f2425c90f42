//! Resident memory: idle with one application, with very many images, and with many mirrors of a large repository.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use windlass_testkit::config::{self, ConfigFolder};
use windlass_testkit::fleet::{FIRST_TAG, Fleet, NAMESPACE};
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::git_server::{GitOptions, GitServer};
use windlass_testkit::http_fault::{Proxy, manifests, tag_lists};
use windlass_testkit::http_server::Canned;
use windlass_testkit::image::{MANIFEST, digest_of};
use windlass_testkit::traffic::{Fault, Match};
use windlass_testkit::world::{Announces, World, WorldOptions};

use super::report::Table;
use super::stage::{self, FLEET, INTERVAL, Instance, Memory, Stage};
use crate::figures::{Figure, Target};

/// Tags of each of the many images.
const TAGS: usize = 100;
/// Nothing listens there (the discard service): every request is answered before it is passed on.
const NOWHERE: &str = "http://127.0.0.1:9";

/// Measures both.
pub(crate) async fn measure(stage: &Stage) -> Result<Vec<Table>> {
    let mut table = Table::new("memory: resident");
    one(stage, &mut table).await.context("one application")?;
    many(stage, &mut table).await.context("many images")?;
    mirrors(stage, &mut table).await.context("many mirrors")?;
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

async fn mirrors(stage: &Stage, table: &mut Table) -> Result<()> {
    let mirrors = stage.size(100, 10);
    let instance = mirroring(stage, mirrors, Fleet::default()).await?;
    let memory = instance.memory()?;
    let name = format!("{mirrors} mirrors of 10,000 files");
    table.row(format!("{name}, all read, without mapped packs"), Figure::megabytes(memory.anonymous));
    table
        .row(format!("{name}: with the mapped packs that are in memory"), Figure::megabytes(memory.resident));
    Ok(())
}

/// An instance with as many GitRepositories of one URL, each with an automation of its own, and so with a mirror of its
/// own, all of which were read. Its data is on disk.
pub(crate) async fn mirroring(stage: &Stage, mirrors: usize, fleet: Fleet) -> Result<Instance> {
    let registry = stage.start_registry().await?;
    stage::push_all(&registry, 1, FIRST_TAG).await?;
    let server = GitServer::start(GitOptions::default())?;
    fleet.create(&server, FLEET, &registry.host()).await?;
    let config = ConfigFolder::new()?;
    stage::write_images(&config, &registry.host(), 1)?;
    let resources = (0..mirrors).flat_map(|mirror| {
        let name = format!("{FLEET}-{mirror}");
        let repository = config::git_repository(NAMESPACE, &name, &server.url(FLEET), None);
        [repository, config::automation(NAMESPACE, &name, INTERVAL, "./")]
    });
    config.write("git.yaml", config::documents(resources))?;
    let mut instance = stage.start(config, stage::on_disk()?).await?;
    instance.ready().await?;
    Ok(instance)
}

async fn many(stage: &Stage, table: &mut Table) -> Result<()> {
    let images = stage.size(10_000, 1_000);
    let read = Read::start(stage, images, TAGS).await?;
    let memory = read.instance.memory()?;
    let name = format!("{images} images × {TAGS} tags");
    table.goal(format!("{name}, all read"), Figure::megabytes(memory.resident), Target::AtMost(150.0));
    table.row(format!("{name}: the most until then"), Figure::megabytes(memory.peak));
    table.row(format!("{name}: from start to all read"), Figure::time(read.took));
    Ok(())
}

/// An instance that has read very many images, from a registry that answers at once: each has the same tags, and every
/// tag that is asked for is there. Its data is in memory.
pub(crate) struct Read {
    pub(crate) instance: Instance,
    /// From the start until all were read.
    pub(crate) took: Duration,
    /// The registry's name in images.
    pub(crate) host: String,
    /// The content of every tag.
    pub(crate) digest: String,
    _answers: [Fault; 3],
    _registry: Proxy,
}

impl Read {
    pub(crate) async fn start(stage: &Stage, images: usize, tags: usize) -> Result<Self> {
        let registry = Proxy::start(NOWHERE)?;
        let names: Vec<String> = (0..tags).map(|tag| format!("1.0.{tag}")).collect();
        let list = json!({"name": "any", "tags": names}).to_string();
        let list = Canned::status(200).header("content-type", "application/json").body(list);
        let digest = digest_of(b"any");
        let manifest = Canned::status(200).header("docker-content-digest", &digest);
        let answers = [
            registry.traffic().answer(Match::path_ends_with("/v2/"), Canned::status(200)),
            registry.traffic().answer(tag_lists(), list),
            registry.traffic().answer(manifests(), manifest.header("content-type", MANIFEST)),
        ];
        let (config, host) = (ConfigFolder::new()?, registry.host());
        stage::write_images(&config, &host, images)?;
        let started = Instant::now();
        let mut instance = stage.start(config, fresh(Storage::Memory)?).await?;
        instance.ready().await?;
        let read = registry.traffic().count(&tag_lists());
        ensure!(read >= images, "of {images} images {read} were read");
        Ok(Self { instance, took: started.elapsed(), host, digest, _answers: answers, _registry: registry })
    }
}
