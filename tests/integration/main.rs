//! The integration tests: the built binary against a real registry, a real Git server and a real chat endpoint.
//!
//! One binary, so that it links once. A test builds its own world (free ports, fresh folders) and never sleeps; it waits
//! for what it wants to see.

mod audit;
mod chaos;
mod checkouts;
mod crash;
mod crowd;
mod delivery;
mod edit;
mod endurance;
mod garbage;
mod git_program;
mod github_app;
mod guard_import;
mod guards;
mod hands;
mod notices;
mod nudges;
mod operate;
mod outage;
mod partitions;
mod path;
mod plan;
mod queue;
mod queue_cli;
mod race;
mod reload;
mod select;
mod ssh;
mod storage;
mod verify;
