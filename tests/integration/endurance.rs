//! Short forms of the long trials of `cargo xtask chaos`: random kills under load, and a storm of duplicates.

use anyhow::Result;
use windlass_testkit::endurance::kills::{self, KillOptions};
use windlass_testkit::endurance::storm::{self, StormOptions};
use windlass_testkit::endurance::troop::Queue;

async fn survives(queue: Queue, kills: usize, events: usize) -> Result<()> {
    let options = KillOptions {
        seed: 1,
        queue,
        kills,
        events,
        images: 8,
        windlass_program: None,
        registry_program: None,
    };
    let killed = kills::run(&options).await?;
    let verdict = &killed.verdict;
    assert_eq!(verdict.violations, [""; 0], "{killed:#?}");
    assert!(killed.all() >= kills && killed.accepted >= events, "{killed:#?}");
    assert!(killed.under_way > 0, "nothing was under way at any kill, so nothing was tried: {killed:#?}");
    Ok(())
}

#[tokio::test]
async fn random_kills_under_load_lose_and_double_nothing() -> Result<()> {
    survives(Queue::Embedded, 10, 400).await
}

#[tokio::test]
async fn random_kills_of_processes_on_one_queue_lose_and_double_nothing() -> Result<()> {
    survives(Queue::Nats(3), 10, 400).await
}

#[tokio::test]
async fn a_storm_of_duplicates_makes_one_commit_for_each_decision() -> Result<()> {
    let options = StormOptions {
        seed: 1,
        images: 6,
        releases: 5,
        interval: "1s".to_owned(),
        windlass_program: None,
        registry_program: None,
    };
    let stormed = storm::run(&options).await?;
    let verdict = &stormed.verdict;
    assert_eq!(verdict.violations, [""; 0], "{stormed:#?}");
    assert_eq!((verdict.decisions, verdict.commits), (30, 30), "{stormed:#?}");
    assert!(stormed.deliveries > 2 * stormed.events && stormed.polls > 6, "{stormed:#?}");
    Ok(())
}
