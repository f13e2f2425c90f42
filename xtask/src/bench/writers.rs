//! Many writers on one branch: four processes with eight lanes each, and somebody else who pushes every second.

use std::time::Duration;

use anyhow::Result;
use windlass_testkit::crowd::{Crowd, CrowdOptions};
use windlass_testkit::nats::NatsServer;

use super::report::Table;
use super::stage::Stage;
use crate::figures::{Figure, Samples, Target};

const PROCESSES: usize = 4;
const WRITERS: usize = 8;
const FOREIGN: Duration = Duration::from_secs(1);

/// Lets every writer land its tags one after the other, all writers at once; checks the history.
pub(crate) async fn measure(stage: &Stage) -> Result<Vec<Table>> {
    let server = NatsServer::start().await?;
    let alone = crowd(stage, None, "with a queue each").await?;
    let shared = crowd(stage, Some(server.url()), "that share a queue over NATS").await?;
    Ok(vec![alone, shared])
}

async fn crowd(stage: &Stage, queue: Option<String>, how: &str) -> Result<Table> {
    let rounds = stage.size(5, 1);
    let options = CrowdOptions {
        processes: PROCESSES,
        writers: WRITERS,
        queue,
        foreign: FOREIGN,
        windlass_program: Some(stage.windlass.clone()),
        registry_program: Some(stage.registry.clone()),
    };
    let landings = Crowd::start(options).await?.run(rounds).await?;
    let events = landings.times.len();
    let times = Samples::new(landings.times);
    let mut table = Table::new(format!(
        "writers: {} lanes in {PROCESSES} processes {how}, on one branch; somebody else pushes every second; {events} events",
        PROCESSES * WRITERS
    ));
    for percent in [50, 95] {
        table.row(
            format!("webhook → commit on the branch, p{percent}"),
            Figure::time(times.quantile(percent)),
        );
    }
    let p99 = Figure::time(times.quantile(99));
    table.goal("webhook → commit on the branch, p99", p99, Target::AtMost(10_000.0));
    table.row("pushes that lost to another one", Figure { value: landings.races, ..Figure::number(0) });
    table.row("pushes by somebody else", Figure::number(landings.foreign));
    table.note(
        "The history is linear, no move of the branch was forced, and each event has exactly one commit.",
    );
    Ok(table)
}
