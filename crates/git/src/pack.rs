//! Writing the pack of a push: the new objects, as deltas against what they replace where the server has it.

use gix::ObjectId;
use gix::hash::Kind as Hash;
use gix::objs::Data;
use gix::zlib::Compression;
use gix_pack::data::Version;
use gix_pack::data::output::bytes::FromEntriesIter;
use gix_pack::data::output::{Count, Entry, entry};

use crate::commit::PendingObjects;
use crate::edit::NewObject;
use crate::store::{Reader, StoreError};

/// Equal bytes that are worth a copy instruction (at most seven bytes) inside changed content.
const MIN_COPY: usize = 12;
/// Longest copy that every Git implementation reads (gitformat-pack, "Deltified representation": size 0x10000).
const MAX_COPY: usize = 0xffff;
/// Longest insertion of one instruction (gitformat-pack: seven bits).
const MAX_INSERT: usize = 0x7f;

/// Content of fewer bytes is sent whole. To complete a thin pack, a server reads each base and writes it once more, which
/// costs it several times what a small object costs that is whole.
const MIN_DELTIFIED: usize = 4096;

/// Encodes the objects. With `bases`, an object may be a delta against a stored object that is not in the pack.
pub(crate) fn encode(
    hash: Hash,
    objects: &PendingObjects<'_>,
    mut bases: Option<&mut Reader<'_>>,
) -> Result<Vec<u8>, StoreError> {
    let mut entries = Vec::with_capacity(objects.len());
    for (id, object) in objects {
        let delta = bases.as_deref_mut().and_then(|reader| thin_delta(objects, object, reader));
        entries.push(entry(hash, id, object, delta).map_err(pack_error)?);
    }
    let count = u32::try_from(entries.len()).expect("a push holds far fewer than 2^32 objects");
    let mut writer = FromEntriesIter::new(std::iter::once(Ok(entries)), Vec::new(), count, Version::V2, hash);
    for written in &mut writer {
        written.map_err(pack_error)?;
    }
    Ok(writer.into_write())
}

fn entry(
    hash: Hash,
    id: &ObjectId,
    object: &NewObject,
    delta: Option<(ObjectId, Vec<u8>)>,
) -> Result<Entry, gix::Error> {
    let count = Count::from_data(*id, None);
    match delta {
        None => {
            let data = Data { kind: object.kind, object_hash: hash, data: &object.content };
            Entry::from_data(&count, &data, Compression::DEFAULT)
        }
        Some((base, delta)) => {
            let data = Data { kind: object.kind, object_hash: hash, data: &delta };
            let mut entry = Entry::from_data(&count, &data, Compression::DEFAULT)?;
            entry.kind = entry::Kind::DeltaOid { id: base };
            Ok(entry)
        }
    }
}

/// A delta against the stored object that this one replaces in the end, if that saves at least half. An object that
/// cannot be read is no base, and no error: the whole object is sent instead.
fn thin_delta(
    objects: &PendingObjects<'_>,
    object: &NewObject,
    reader: &mut Reader<'_>,
) -> Option<(ObjectId, Vec<u8>)> {
    let mut base = object.replaces.filter(|_| object.content.len() >= MIN_DELTIFIED)?;
    // An object that replaces itself through others (A, B, A) would go in circles.
    for _ in 0..=objects.len() {
        match objects.get(&base) {
            Some(newer) => base = newer.replaces?,
            None => break,
        }
    }
    if objects.contains_key(&base) {
        return None;
    }
    let mut content = Vec::new();
    reader.read(&base, object.kind, &mut content).ok()?;
    // A copy instruction reaches 4 GiB far.
    u32::try_from(content.len()).ok()?;
    let delta = delta(&content, &object.content);
    (delta.len() <= object.content.len() / 2).then_some((base, delta))
}

/// Instructions that make `target` from `base` (gitformat-pack, "Deltified representation"). Made for edits of a few
/// scalars: what is equal at both ends is copied; a middle of equal length is compared in place, which finds every
/// unchanged entry of a tree.
fn delta(base: &[u8], target: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_size(&mut out, base.len());
    write_size(&mut out, target.len());
    let prefix = common(base.iter(), target.iter());
    let suffix = common(base[prefix..].iter().rev(), target[prefix..].iter().rev());
    let old = &base[prefix..base.len() - suffix];
    let new = &target[prefix..target.len() - suffix];
    write_copy(&mut out, 0, prefix);
    if old.len() == new.len() {
        write_aligned(&mut out, prefix, old, new);
    } else {
        write_insert(&mut out, new);
    }
    write_copy(&mut out, base.len() - suffix, suffix);
    out
}

fn common<'a>(left: impl Iterator<Item = &'a u8>, right: impl Iterator<Item = &'a u8>) -> usize {
    left.zip(right).take_while(|(a, b)| a == b).count()
}

/// `old` starts at `offset` of the base and is as long as `new`.
fn write_aligned(out: &mut Vec<u8>, offset: usize, old: &[u8], new: &[u8]) {
    let (mut written, mut at) = (0, 0);
    while at < new.len() {
        let same = common(old[at..].iter(), new[at..].iter());
        if same >= MIN_COPY {
            write_insert(out, &new[written..at]);
            write_copy(out, offset + at, same);
            written = at + same;
        }
        at += same.max(1);
    }
    write_insert(out, &new[written..]);
}

fn write_insert(out: &mut Vec<u8>, bytes: &[u8]) {
    for piece in bytes.chunks(MAX_INSERT) {
        out.push(u8::try_from(piece.len()).expect("a chunk is at most 127 bytes"));
        out.extend_from_slice(piece);
    }
}

fn write_copy(out: &mut Vec<u8>, mut offset: usize, mut size: usize) {
    while size > 0 {
        let piece = size.min(MAX_COPY);
        let command = out.len();
        out.push(0x80);
        for (bit, byte) in offset.to_le_bytes().into_iter().take(4).enumerate() {
            if byte != 0 {
                out[command] |= 1 << bit;
                out.push(byte);
            }
        }
        for (bit, byte) in piece.to_le_bytes().into_iter().take(2).enumerate() {
            if byte != 0 {
                out[command] |= 0x10 << bit;
                out.push(byte);
            }
        }
        offset += piece;
        size -= piece;
    }
}

/// Seven bits per byte, lowest first.
fn write_size(out: &mut Vec<u8>, mut size: usize) {
    while size > 0x7f {
        out.push(size.to_le_bytes()[0] | 0x80);
        size >>= 7;
    }
    out.push(size.to_le_bytes()[0]);
}

fn pack_error(error: gix::Error) -> StoreError {
    StoreError::Pack(error.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Applies a delta by the format's text alone.
    fn apply(base: &[u8], delta: &[u8]) -> Vec<u8> {
        let mut at = 0;
        let mut size = || {
            let (mut size, mut shift) = (0, 0);
            loop {
                let byte = delta[at];
                at += 1;
                size |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    return size;
                }
            }
        };
        assert_eq!(size(), base.len());
        let expected = size();
        let mut out = Vec::new();
        while at < delta.len() {
            let command = delta[at];
            at += 1;
            if command < 0x80 {
                assert_ne!(command, 0, "reserved");
                out.extend_from_slice(&delta[at..at + usize::from(command)]);
                at += usize::from(command);
                continue;
            }
            let mut number = |bits: std::ops::Range<u8>| {
                let mut value = 0;
                for (shift, bit) in bits.enumerate() {
                    if command & (1 << bit) != 0 {
                        value |= usize::from(delta[at]) << (8 * shift);
                        at += 1;
                    }
                }
                value
            };
            let (offset, size) = (number(0..4), number(4..7));
            out.extend_from_slice(&base[offset..offset + size]);
        }
        assert_eq!(out.len(), expected);
        out
    }

    #[test]
    fn an_edited_scalar_costs_a_few_bytes() {
        let base = "image: app:1.0.9\n".repeat(10_000);
        let target = base.replacen("1.0.9", "1.0.10", 5).replacen("1.0.10", "1.0.9", 4);
        let delta = delta(base.as_bytes(), target.as_bytes());
        assert_eq!(apply(base.as_bytes(), &delta), target.as_bytes());
        assert!(delta.len() < 40, "{}", delta.len());
    }

    #[test]
    fn scattered_ids_of_a_tree_cost_little_more_than_themselves() {
        let entry = |i: usize| format!("100644 file-{i:04}.yaml\0{:020}", i * 7);
        let base: String = (0..1000).map(entry).collect();
        let ids = [3, 500, 999];
        let changed = |i: usize| if ids.contains(&i) { entry(i).replace('0', "9") } else { entry(i) };
        let target: String = (0..1000).map(changed).collect();
        let delta = delta(base.as_bytes(), target.as_bytes());
        assert_eq!(apply(base.as_bytes(), &delta), target.as_bytes());
        assert!(delta.len() < 300, "{}", delta.len());
    }

    proptest! {
        #[test]
        fn every_delta_makes_the_target(base in "[ab]{0,200}", target in "[ab]{0,200}", pad in 0_usize..70_000) {
            let base = [base.as_bytes(), &vec![b'x'; pad]].concat();
            let target = [target.as_bytes(), &vec![b'x'; pad]].concat();
            prop_assert_eq!(apply(&base, &delta(&base, &target)), target);
        }
    }
}
