//! The HTTP server and what it serves besides webhooks: health, readiness, metrics and the local API.
//!
//! It holds no state: everything comes from an [`Instance`], and everything that a person asks for enters the queue
//! through it.

mod admin;
mod server;

pub use admin::{
    AdminToken, Check, Instance, QueueAnswer, ReconcileAnswer, Resume, Shares, StatusReport, admin_router,
};
pub use server::{Limits, serve};
