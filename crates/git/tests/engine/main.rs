//! The engine against a real Git server, with the `git` program as the oracle.
#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[path = "../support/mod.rs"]
mod support;

mod checkouts;
mod further_refs;
mod gitea;
mod github_app;
mod landing;
mod partial;
mod program;
mod proxies;
mod reading;
mod refusals;
mod repair;
mod signatures;
mod ssh;
mod ssh_keys;
mod tls;
