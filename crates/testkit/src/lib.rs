//! Real servers for tests, the demo and the benchmarks: a container registry, a Git server, an OpenSSH server, a stand-in for Slack, a
//! reverse proxy and TCP links that misbehave on demand, services like Sigstore's, and the built `windlass` binary itself.
//!
//! Everything listens on a free loopback port, keeps its files in a fresh folder, and is stopped by the value that
//! started it. In-process servers run on threads of their own, so a test may block without starving them.
//!
//! This crate depends on no crate of the product: what it observes, it observes from outside.

pub mod ca;
pub mod chaos;
pub mod config;
pub mod cosign;
pub mod crowd;
pub mod endurance;
pub mod event;
pub mod eventually;
pub mod evidence;
pub mod fleet;
pub mod folder;
pub mod forge;
pub mod fulcio;
pub mod git_cgi;
pub mod git_repository;
pub mod git_server;
pub mod gitea;
pub mod github;
pub mod hostile;
pub mod http_fault;
pub mod http_server;
pub mod image;
pub mod link;
pub mod locate;
mod merkle;
pub mod metrics;
pub mod nats;
pub mod nats_cluster;
pub mod nats_jwt;
pub mod observed;
pub mod port;
pub mod process;
pub mod reconciler;
pub mod ref_watch;
pub mod referrers_registry;
pub mod registry;
pub mod rekor;
pub mod sender;
pub mod sigstore;
pub mod slack;
pub mod ssh_server;
pub mod traffic;
pub mod tsa;
pub mod tuf;
pub mod windlass;
pub mod world;

pub use eventually::eventually;
