//! A flood of webhooks: requests that are prepared before the clock starts, over connections that stay open.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinSet;
use windlass_testkit::sender::Line;

use crate::figures::Samples;

/// What became of a flood.
pub(crate) struct Flood {
    /// From each request's first byte to its answer.
    pub(crate) waits: Samples,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
}

/// Sends requests over so many connections, each sending its next when it was answered; stops early after `within`.
/// Every answer must be 200.
pub(crate) async fn flood(
    address: SocketAddr,
    requests: Vec<Vec<u8>>,
    connections: usize,
    within: Duration,
) -> Result<Flood> {
    let mut shares: Vec<Vec<Vec<u8>>> = (0..connections).map(|_| Vec::new()).collect();
    for (number, request) in requests.into_iter().enumerate() {
        shares[number % connections].push(request);
    }
    let mut lines = Vec::with_capacity(connections);
    for share in shares {
        lines.push((Line::open(address).await?, share));
    }
    let started = Instant::now();
    let mut senders = JoinSet::new();
    for (line, share) in lines {
        senders.spawn(send_all(line, share, started + within));
    }
    let mut waits = Vec::new();
    while let Some(sent) = senders.join_next().await {
        waits.extend(sent.context("a sender panicked")??);
    }
    Ok(Flood { waits: Samples::new(waits), took: started.elapsed() })
}

async fn send_all(mut line: Line, requests: Vec<Vec<u8>>, end: Instant) -> Result<Vec<Duration>> {
    let mut waits = Vec::with_capacity(requests.len());
    for request in &requests {
        let begun = Instant::now();
        if begun >= end {
            break;
        }
        let status = line.send(request).await?;
        ensure!(status == 200, "a webhook was answered {status}");
        waits.push(begun.elapsed());
    }
    Ok(waits)
}
