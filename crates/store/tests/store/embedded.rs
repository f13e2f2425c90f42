//! The contract, kept by an embedded store.

use crate::support::World;

/// Random histories that are followed.
const HISTORIES: u32 = 64;

fn world() -> World {
    World::new()
}

#[path = "contract/audit.rs"]
mod audit;
#[path = "contract/clock.rs"]
mod clock;
#[path = "contract/intervention.rs"]
mod intervention;
#[path = "contract/leases.rs"]
mod leases;
#[path = "contract/ledger.rs"]
mod ledger;
#[path = "contract/model.rs"]
mod model;
#[path = "contract/outbox.rs"]
mod outbox;
#[path = "contract/queue.rs"]
mod queue;
#[path = "contract/retention.rs"]
mod retention;
