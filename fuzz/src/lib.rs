//! What is checked of any input, one function for each fuzz target. Each panics where a property does not hold.
//!
//! An input is a list of fields, between zero bytes; so a seed is a text that can be read.
//!
//! The parsers of the Git wire protocol are private modules of `crates/git` that need nothing else of it. They are
//! compiled here by their path: the product has no door for the fuzzer, and the fuzzer builds neither gix nor an HTTP
//! client.

#[path = "../../crates/git/src/pktline.rs"]
#[allow(dead_code, unused_qualifications, reason = "another crate's module, of which a part is used")]
mod pktline;
#[path = "../../crates/git/src/report.rs"]
mod report;
#[path = "../../crates/git/src/sideband.rs"]
mod sideband;

pub mod evidence;
pub mod guard;
pub mod import;
pub mod manifest;
pub mod notation;
pub mod policy;
pub mod wire;
mod yaml;

/// Cuts an input into its fields; the last has what is left. Absent fields are empty.
fn fields<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut parts = data.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// The same for texts; absent where one is not UTF-8.
fn texts<const N: usize>(data: &[u8]) -> Option<[&str; N]> {
    let mut texts = [""; N];
    for (text, field) in texts.iter_mut().zip(fields::<N>(data)) {
        *text = std::str::from_utf8(field).ok()?;
    }
    Some(texts)
}
