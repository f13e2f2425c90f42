//! Telling people and reconcilers: a [`Notice`](windlass_model::message::Notice) to Slack or to a JSON webhook, and a
//! nudge to Flux or Argo CD.
//!
//! Owns the rendering of a notice, one delivery of it, and the verdict whether another try can help. It never decides
//! who is told what, keeps no queue, and waits for nobody: the outbox tries again when the verdict says so, and a
//! promotion never waits for it. Addresses and tokens are secrets, and no error repeats them.

mod delivery;
pub mod reconciler;
mod retry_after;
mod sender;
pub mod slack;
pub mod webhook;

pub use delivery::DeliveryError;
pub use sender::{BuildError, Sender, SenderConfig};
