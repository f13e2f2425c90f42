//! Telling people: a [`Notice`](windlass_model::message::Notice) to Slack or to a JSON webhook.
//!
//! Owns the rendering of a notice, one delivery of it, and the verdict whether another try can help. It never decides
//! who is told what, keeps no queue, and waits for nobody: the outbox tries again when the verdict says so, and a
//! promotion never waits for it. Addresses and tokens are secrets, and no error repeats them.

mod delivery;
mod retry_after;
mod sender;
pub mod slack;
pub mod webhook;

pub use delivery::DeliveryError;
pub use sender::{BuildError, Sender, SenderConfig};
