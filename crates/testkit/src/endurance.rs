//! Long trials of the promises, on many images at once: random kills under load, storms of duplicates, and the load for
//! both. Their short forms are tests.

pub mod branch;
pub mod estate;
pub mod history;
pub mod kills;
pub mod load;
pub mod storm;
pub mod troop;
