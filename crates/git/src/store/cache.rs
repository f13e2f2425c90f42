//! Decoded objects that later deltas may build on, bounded by bytes. First in, first out: objects are visited in pack
//! order, and a base is followed by its deltas.

use std::collections::{HashMap, VecDeque};

use gix::objs::Kind;
use gix_pack::cache::DecodeEntry;

/// The pack's number and the entry's offset in it.
type Key = (u32, u64);

pub(super) struct DeltaCache {
    entries: HashMap<Key, Entry>,
    order: VecDeque<Key>,
    capacity: usize,
    used: usize,
}

struct Entry {
    kind: Kind,
    compressed_size: usize,
    content: Vec<u8>,
}

impl DeltaCache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), capacity, used: 0 }
    }

    /// Makes room, and hands back a buffer that became free.
    fn evict(&mut self, needed: usize) -> Vec<u8> {
        let mut free = Vec::new();
        while self.used + needed > self.capacity {
            let Some(entry) = self.order.pop_front().and_then(|key| self.entries.remove(&key)) else { break };
            self.used -= entry.content.len();
            free = entry.content;
        }
        free
    }
}

impl DecodeEntry for DeltaCache {
    fn put(&mut self, pack: u32, offset: u64, data: &[u8], kind: Kind, compressed_size: usize) {
        let key = (pack, offset);
        // An object that takes a quarter of the room would drive out everything else.
        if data.len() > self.capacity / 4 || self.entries.contains_key(&key) {
            return;
        }
        let mut content = self.evict(data.len());
        content.clear();
        content.extend_from_slice(data);
        self.used += content.len();
        self.order.push_back(key);
        self.entries.insert(key, Entry { kind, compressed_size, content });
    }

    fn get(&mut self, pack: u32, offset: u64, out: &mut Vec<u8>) -> Option<(Kind, usize)> {
        let entry = self.entries.get(&(pack, offset))?;
        out.clear();
        out.extend_from_slice(&entry.content);
        Some((entry.kind, entry.compressed_size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_leave_when_the_room_is_used() {
        let mut cache = DeltaCache::new(100);
        for offset in 0..10_u8 {
            cache.put(0, offset.into(), &[offset; 20], Kind::Blob, 1);
            assert!(cache.used <= 100);
        }
        let mut out = Vec::new();
        assert_eq!(cache.get(0, 4, &mut out), None);
        assert_eq!(cache.get(0, 5, &mut out), Some((Kind::Blob, 1)));
        assert_eq!(out, [5; 20]);
        assert_eq!(cache.get(1, 5, &mut out), None);
        cache.put(0, 99, &[0; 26], Kind::Blob, 1);
        assert_eq!(cache.get(0, 99, &mut out), None);
    }
}
