//! The store's contract on real files.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod crash;
mod ledger;
mod model;
mod opening;
mod outbox;
mod queue;
mod retention;
mod support;
