//! The server loop: bounded connections, deadlines for a request's head and for a whole connection, and a graceful end.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What one listener allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// A request's line and headers must arrive within this (slow senders hold a connection otherwise).
    pub head: Duration,
    /// A connection takes new requests for this long; senders open another. One whose peer does not read the answer
    /// would else be held for ever.
    pub lifetime: Duration,
    /// Requests under way when the server stops, or when a connection's time is over, have this long to end.
    pub drain: Duration,
}

impl Default for Limits {
    /// 1,024 connections of some 20 KiB each fit the memory target; 10 s is Flux's header deadline
    /// (notification-controller 1.9); a minute is thrice what the slowest webhook may take; 10 s of draining stays well
    /// inside Kubernetes' 30 s.
    fn default() -> Self {
        Self {
            connections: 1024,
            head: Duration::from_secs(10),
            lifetime: Duration::from_mins(1),
            drain: Duration::from_secs(10),
        }
    }
}

/// Serves until `stop`, then lets the requests under way finish.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let permit = tokio::select! {
            () = stop.cancelled() => break,
            permit = slots.clone().acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, router.clone(), limits, stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => pause_after(&error).await,
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    // Each connection sees to its own end.
    while connections.join_next().await.is_some() {}
}

/// Serves one connection: until its peer ends it, its time is over, or the server stops.
async fn connection(stream: TcpStream, router: Router, limits: Limits, stop: CancellationToken) {
    // Answers are small and wanted at once.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => Some(ended),
        () = stop.cancelled() => None,
        () = tokio::time::sleep(limits.lifetime) => None,
    };
    let ended = if let Some(ended) = ended {
        Ok(ended)
    } else {
        served.as_mut().graceful_shutdown();
        tokio::time::timeout(limits.drain, served).await
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended early"),
        Err(_) => tracing::warn!("a request was cut off: it did not end in time"),
    }
}

/// Out of descriptors, accepting fails at once and for ever: wait for some to be closed.
async fn pause_after(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}
