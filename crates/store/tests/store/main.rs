//! The store's contract, on real files and on a real NATS server.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![expect(clippy::duplicate_mod, reason = "the contract is tested twice, once for each kind of store")]

mod cluster;
mod crash;
mod embedded;
mod login;
mod nats;
mod opening;
mod shared;
mod support;
