//! Measures the constants by driving the real parts at two sizes each, and worlds that were not used for them to see
//! whether the constants foretell them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use windlass_testkit::event::Push;
use windlass_testkit::fleet::Fleet;
use windlass_testkit::nats::NatsServer;

use super::constants::{Check, Constants, Measured};
use super::model::Scenario;
use crate::bench::event;
use crate::bench::hooks::flood;
use crate::bench::memory::{Read, mirroring};
use crate::bench::queue::{Queue, Rates, number};
use crate::bench::stage::{self, Instance, PATIENCE, Stage};
use crate::figures::Figure;
use crate::{build, setup};

/// Callers that append at once, as in the benchmark of the queue.
const CALLERS: usize = 64;
/// Events a second while the messages of the log are counted: as the mean of 10 million a day.
const CALM: usize = 116;
/// Webhooks under way while their cost is measured.
const CONNECTIONS: usize = 64;
/// Marked files of each thousand.
const MARKED: usize = 20;

/// Measures everything: minutes.
pub(crate) async fn measure(stage: &Stage, machine: String) -> Result<Measured> {
    let mut checks = Vec::new();
    eprintln!("measuring: images");
    let (images, idle) = images(stage, &mut checks).await.context("images")?;
    eprintln!("measuring: mirrors");
    let mirrors = mirrors(stage, idle, &mut checks).await.context("mirrors")?;
    eprintln!("measuring: commits");
    let commit = event::cost(stage).await.context("commits")?;
    eprintln!("measuring: the queue");
    let queue = queue(stage).await.context("the queue")?;
    // The growth of an event has its delivery and one tag too.
    let state_event = images.state_event - queue.state_delivery;
    let constants = Constants {
        mirror: mirrors.mirror,
        mirror_file: mirrors.mirror_file,
        mirror_disk: mirrors.mirror_disk,
        mirror_disk_file: mirrors.mirror_disk_file,
        commit_cpu: commit.processor.as_secs_f64(),
        state_commit: commit.written - queue.state_delivery - state_event,
        state_event,
        state_delivery: queue.state_delivery,
        embedded_appends: queue.embedded_appends,
        embedded_works: queue.embedded_works,
        follow_cpu: queue.follow_cpu,
        shared_appends: queue.shared_appends,
        shared_works: queue.shared_works,
        log_bytes: queue.log_bytes,
        log_messages: queue.log_messages,
        copy_rate: queue.copy_rate,
        ..images
    };
    Ok(Measured { machine, quick: stage.quick, constants, checks })
}

/// A line through two points: `value = at zero + slope × size`.
fn line([(x0, y0), (x1, y1)]: [(f64, f64); 2]) -> (f64, f64) {
    let slope = (y1 - y0) / (x1 - x0);
    (y0 - slope * x0, slope)
}

fn float(number: usize) -> f64 {
    Figure::number(number).value
}

fn bytes(size: u64) -> f64 {
    Figure::megabytes(size).value * 1e6
}

/// What an instance came to that has read its images.
struct World {
    memory: f64,
    /// Of which so much is in no file.
    anonymous: f64,
    state: f64,
    first_start: f64,
    start: f64,
}

/// Memory and state for each image and each tag, from few tags and many; the times of starts; the cost of an event. Also
/// the memory of an idle process that is in no file.
async fn images(stage: &Stage, checks: &mut Vec<Check>) -> Result<(Constants, f64)> {
    let (images, few, many) = (stage.size(10_000, 1_000), 10, stage.size(200, 100));
    let (idle, _) = world(stage, 1, 1).await?;
    let (thin, mut read) = world(stage, images, few).await?;
    let (event_cpu, event_state) = event(&mut read, images, thin.state).await?;
    drop(read);
    let (thick, _) = world(stage, images, many).await?;
    let each = |of: fn(&World) -> f64| {
        let one = |world: &World| (of(world) - of(&idle)) / float(images);
        line([(float(few), one(&thin)), (float(many), one(&thick))])
    };
    let ((image, image_tag), (state_image, state_image_tag)) =
        (each(|world| world.memory), each(|world| world.state));
    let constants = Constants {
        idle: idle.memory,
        image,
        image_tag,
        state_image,
        state_image_tag,
        event_cpu,
        // Until the queue's part is known.
        state_event: event_state - state_image_tag,
        first_start_image: (thin.first_start - idle.first_start) / float(images),
        start_image: (thin.start - idle.start) / float(images),
        ..Constants::default()
    };
    let (other, tags) = (stage.size(100_000, 4_000), stage.size(20, 50));
    let (found, _) = world(stage, other, tags).await?;
    let foretold = Scenario { images: float(other), tags: float(tags), ..Scenario::nothing() };
    for (what, predicted, measured) in [
        ("memory, bytes", foretold.memory(&constants), found.memory),
        ("state, bytes", foretold.state(&constants), found.state - idle.state),
        ("first start, seconds", foretold.first_start(&constants), found.first_start),
    ] {
        checks.push(Check { what: format!("{other} images × {tags} tags: {what}"), predicted, measured });
    }
    Ok((constants, idle.anonymous))
}

async fn world(stage: &Stage, images: usize, tags: usize) -> Result<(World, Read)> {
    let mut read = Read::start(stage, images, tags).await?;
    let memory = read.instance.memory()?;
    let (memory, anonymous) = (bytes(memory.resident), bytes(memory.anonymous));
    let (size, start) = restarted(&mut read.instance).await?;
    let first_start = read.took.as_secs_f64();
    Ok((World { memory, anonymous, state: size, first_start, start: start.as_secs_f64() }, read))
}

async fn restarted(instance: &mut Instance) -> Result<(f64, Duration)> {
    let size = bytes(instance.restart().await?);
    let started = Instant::now();
    instance.ready().await?;
    Ok((size, started.elapsed()))
}

/// Processor time of an event that names a new tag of an image, without a commit, and how much of the state is its.
async fn event(read: &mut Read, images: usize, state: f64) -> Result<(f64, f64)> {
    let images = images.min(stage::LISTED);
    let requests = (0..images).map(|image| {
        let (id, path) = (format!("sizing-{image}"), Fleet::image_path(image));
        let push =
            Push { id: &id, host: &read.host, repository: &path, tag: Some("1.1.0"), digest: &read.digest };
        stage::announcement(read.instance.address, &push)
    });
    let requests = requests.collect();
    let before = read.instance.processor_time()?;
    let flooded = flood(read.instance.address, requests, CONNECTIONS, PATIENCE).await?;
    ensure!(flooded.waits.len() == images, "not every webhook was sent");
    read.instance.settled().await?;
    let used = read.instance.processor_time()?.saturating_sub(before);
    let grown = bytes(read.instance.restart().await?) - state;
    Ok((used.as_secs_f64() / float(images), grown / float(images)))
}

/// Memory and disk for each mirror and each of its files, from small and large repositories.
async fn mirrors(stage: &Stage, idle: f64, checks: &mut Vec<Check>) -> Result<Constants> {
    let mirrors = stage.size(20, 6);
    let small = mirrored(stage, mirrors, 1, idle).await?;
    let large = mirrored(stage, mirrors, stage.size(10, 5), idle).await?;
    let (mirror, mirror_file) = line([(small.files, small.memory), (large.files, large.memory)]);
    let (mirror_disk, mirror_disk_file) = line([(small.files, small.disk), (large.files, large.disk)]);
    let constants =
        Constants { idle, mirror, mirror_file, mirror_disk, mirror_disk_file, ..Constants::default() };
    let (other, thousands) = (stage.size(60, 12), stage.size(4, 3));
    let found = mirrored(stage, other, thousands, idle).await?;
    let foretold = Scenario { repositories: float(other), files: found.files, ..Scenario::nothing() };
    checks.push(Check {
        what: format!("{other} mirrors of {} files: memory, bytes", found.files),
        predicted: foretold.memory(&constants),
        measured: idle + found.memory * float(other),
    });
    Ok(constants)
}

/// One mirror's share.
struct Mirrored {
    files: f64,
    memory: f64,
    disk: f64,
}

async fn mirrored(stage: &Stage, mirrors: usize, thousands: usize, idle: f64) -> Result<Mirrored> {
    let marked = MARKED * thousands;
    let fleet = Fleet { clusters: thousands, marked, policies: marked, ..Fleet::default() };
    let instance = mirroring(stage, mirrors, fleet).await?;
    Ok(Mirrored {
        files: float(fleet.clusters * fleet.applications * fleet.files_each),
        memory: (bytes(instance.memory()?.anonymous) - idle) / float(mirrors),
        disk: bytes(instance.disk()?) / float(mirrors),
    })
}

/// What the queue takes and holds, embedded and shared by two processes.
async fn queue(stage: &Stage) -> Result<Constants> {
    let program = build::example("windlass-store", "queue_rate")?;
    setup::nats_server()?;
    let append = format!("append {CALLERS} {}", stage.size(5_000, 500));
    let backlog = format!("backlog {}", stage.size(20_000, 2_000));
    let mut embedded = Queue::start(&program, None).await?;
    let bare = number(&embedded.order("copy").await?, "bytes")?;
    let said = embedded.order(&append).await?;
    let deliveries = number(&said, "count")?;
    embedded.drain().await?;
    let grown = number(&embedded.order("copy").await?, "bytes")? - bare;
    let embedded_works = taken(&mut embedded, &backlog).await?;
    embedded.order(&format!("tags {} 100", stage.size(20_000, 1_000))).await?;
    let copied = embedded.order("copy").await?;

    let server = NatsServer::keeping(stage::on_disk()?, "").await?;
    let mut first = Queue::start(&program, Some(&server)).await?;
    let other = Queue::start(&program, Some(&server)).await?;
    let events = CALM * stage.size(10, 3);
    let (before, idle) = (first.order("log").await?, other.processor_time()?);
    first.order(&format!("events {events} {CALM}")).await?;
    let (after, busy) = (first.order("log").await?, other.processor_time()?);
    let of_log = |name| anyhow::Ok((number(&after, name)? - number(&before, name)?) / float(events));
    let shared_appends = first.rates(&append).await?;
    first.drain().await?;
    Ok(Constants {
        state_delivery: grown / deliveries,
        embedded_appends: deliveries / number(&said, "seconds")?,
        embedded_works: embedded_works.rate.value,
        follow_cpu: busy.saturating_sub(idle).as_secs_f64() / float(events),
        shared_appends: shared_appends.rate.value,
        shared_works: taken(&mut first, &backlog).await?.rate.value,
        log_bytes: of_log("bytes")?,
        log_messages: of_log("messages")?,
        copy_rate: number(&copied, "bytes")? / number(&copied, "seconds")?,
        ..Constants::default()
    })
}

async fn taken(queue: &mut Queue, backlog: &str) -> Result<Rates> {
    queue.order(backlog).await?;
    queue.drain().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_through_its_points() {
        let (at_zero, slope) = line([(10.0, 25.0), (110.0, 225.0)]);
        assert!((at_zero - 5.0).abs() < 1e-9 && (slope - 2.0).abs() < 1e-9);
    }
}
