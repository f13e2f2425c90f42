//! A Merkle tree as transparency logs have it (RFC 6962, section 2.1). It keeps all leaves, and is small.

use sha2::{Digest as _, Sha256};

/// A hash in the tree.
pub(crate) type Hash = [u8; 32];

/// The hash of an entry.
pub(crate) fn leaf(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// The hash over these leaves.
pub(crate) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [only] => *only,
        more => {
            let (left, right) = more.split_at(split(more.len()));
            Sha256::new()
                .chain_update([1])
                .chain_update(root(left))
                .chain_update(root(right))
                .finalize()
                .into()
        }
    }
}

/// The hashes that lead from the leaf at this place to the root, the nearest first.
pub(crate) fn path(leaves: &[Hash], at: usize) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut hashes, other) = match at.checked_sub(left.len()) {
        None => (path(left, at), root(right)),
        Some(at) => (path(right, at), root(left)),
    };
    hashes.push(other);
    hashes
}

/// The largest power of two below a number of at least two.
fn split(count: usize) -> usize {
    1 << (count - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_leads_to_the_root() {
        for count in 1_usize..=17 {
            let leaves: Vec<Hash> = (0..count).map(|entry| leaf(&entry.to_be_bytes())).collect();
            for (at, leaf) in leaves.iter().enumerate() {
                assert_eq!(follow(*leaf, at, count, &path(&leaves, at)), root(&leaves), "{at} of {count}");
            }
        }
    }

    /// Verifies as RFC 9162, section 2.1.3.2 says, which is another algorithm.
    fn follow(leaf: Hash, at: usize, count: usize, hashes: &[Hash]) -> Hash {
        let (mut number, mut last, mut hash) = (at, count - 1, leaf);
        for sibling in hashes {
            assert_ne!(last, 0, "the path is too long");
            let is_right = number % 2 == 1 || number == last;
            let (left, right) = if is_right { (*sibling, hash) } else { (hash, *sibling) };
            hash = Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into();
            if is_right {
                while number % 2 == 0 && number != 0 {
                    (number, last) = (number / 2, last / 2);
                }
            }
            (number, last) = (number / 2, last / 2);
        }
        assert_eq!(last, 0, "the path is too short");
        hash
    }
}
