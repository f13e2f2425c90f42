//! The fail points, and a little of what `cargo xtask chaos` does with them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use windlass_testkit::chaos::point::{Fault, POINTS, VARIABLE, has_fail_points};
use windlass_testkit::chaos::{Case, Ground, Queue, run};
use windlass_testkit::locate;
use windlass_testkit::windlass::Windlass;
use windlass_testkit::world::{self, WorldOptions};

/// Runs at a time: each starts a process or two.
const AT_A_TIME: usize = 5;

#[tokio::test]
async fn a_fail_point_that_does_not_exist_is_refused_and_those_that_exist_are_named() -> Result<()> {
    world::run_prepared(WorldOptions::default(), async |world| {
        let mut options = world.windlass_options();
        options.environment.push((VARIABLE.to_owned(), "pushed=kill".to_owned()));
        let refused = Windlass::start(options).await.err().map(|error| format!("{error:#}"));
        let refused = refused.unwrap_or_default();
        let names = format!("there is no fail point `pushed`; there are {}", POINTS.join(", "));
        assert!(refused.contains("ended with exit status: 2") && refused.contains(&names), "{refused}");
        assert!(has_fail_points(&locate::windlass()?)?);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn killed_at_every_point_it_goes_on_where_it_was() -> Result<()> {
    let case = |point| Case { point, fault: Fault::Kill, queue: Queue::Embedded, seed: 1 };
    all_keep_their_promises(POINTS.map(case)).await
}

#[tokio::test]
async fn failing_and_hanging_operations_lose_and_double_nothing() -> Result<()> {
    let case = |point, fault| Case { point, fault, queue: Queue::Embedded, seed: 2 };
    let hang = Fault::Hang(Duration::from_secs(4));
    all_keep_their_promises([
        case("appended", Fault::Error),
        case("committed", Fault::Error),
        case("confirmed", Fault::Error),
        case("recorded", Fault::Error),
        case("notified", Fault::Error),
        case("received", hang),
        case("sent", hang),
    ])
    .await
}

#[tokio::test]
async fn on_a_shared_queue_another_process_goes_on() -> Result<()> {
    let case = |point, fault| Case { point, fault, queue: Queue::Nats, seed: 3 };
    all_keep_their_promises([
        case("appended", Fault::Kill),
        case("committed", Fault::Kill),
        case("confirmed", Fault::Kill),
        case("acked", Fault::Kill),
        case("edited", Fault::Stop),
        case("dispatched", Fault::Stop),
        case("recorded", Fault::Error),
    ])
    .await
}

async fn all_keep_their_promises(cases: impl IntoIterator<Item = Case>) -> Result<()> {
    let ground = Ground::start(None, None).await?;
    let cases: Vec<Case> = cases.into_iter().collect();
    for some in cases.chunks(AT_A_TIME) {
        let runs = some.iter().map(|case| run(&ground, *case));
        for (case, result) in some.iter().zip(futures_util::future::join_all(runs).await) {
            result.with_context(|| format!("{case}"))?;
        }
    }
    Ok(())
}
