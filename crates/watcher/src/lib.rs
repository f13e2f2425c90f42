//! What wakes Windlass up: webhooks that registries send, and the schedule that makes up for those they lose.
//!
//! This crate turns requests and timers into [`Signal`](windlass_model::Signal)s and appends them to the store. It
//! owns authentication of senders, the reading of their payloads, the match of a payload's image with the configured
//! ImageRepositories, and the poll intervals. It never calls the promoter, a registry or Git: a signal is a hint, and
//! whoever takes it from the queue looks for itself.

mod body;
#[cfg(test)]
mod fixture;
pub mod matching;
mod metrics;
mod routes;
pub mod schedule;
pub mod sender;
pub mod webhook;

pub use metrics::{Metrics, Outcome};
pub use schedule::Schedule;
pub use webhook::{Limits, WebhookState, router};
