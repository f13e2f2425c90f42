//! Several processes with several lanes each write one branch, and somebody else pushes to it every second.

use std::time::Duration;

use anyhow::Result;
use windlass_testkit::crowd::{Crowd, CrowdOptions};
use windlass_testkit::nats::NatsServer;

#[tokio::test]
async fn thirty_two_writers_in_four_processes_lose_nothing_and_force_nothing() -> Result<()> {
    let foreign = Duration::from_secs(1);
    let options = CrowdOptions { processes: 4, writers: 8, foreign, ..CrowdOptions::default() };
    let landings = Crowd::start(options).await?.run(2).await?;
    assert_eq!(landings.times.len(), 4 * 8 * 2);
    assert!(landings.races > 0.0, "nobody lost a race, so nothing was tried");
    Ok(())
}

#[tokio::test]
async fn four_promoters_of_one_queue_land_thirty_two_applications_on_one_branch() -> Result<()> {
    let server = NatsServer::start().await?;
    let (foreign, queue) = (Duration::from_secs(1), Some(server.url()));
    let options = CrowdOptions { processes: 4, writers: 8, queue, foreign, ..CrowdOptions::default() };
    let landings = Crowd::start(options).await?.run(2).await?;
    assert_eq!(landings.times.len(), 4 * 8 * 2);
    Ok(())
}
