//! What is on its way to the lanes: images of which an event told, until they ask a lane to write or turn out to have
//! nothing for it. A lane that knows of them can take them into its next push. It holds counts, and nothing waits here.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::lanes::LaneKey;

/// How many images are on their way to each lane.
#[derive(Debug, Default)]
pub(crate) struct Approaches(Mutex<HashMap<LaneKey, Arc<watch::Sender<usize>>>>);

/// One image on its way to some lanes. It has arrived at the latest when this is dropped.
#[derive(Debug)]
#[must_use = "dropping it says that the image has arrived"]
pub(crate) struct Approach {
    lanes: Vec<Arc<watch::Sender<usize>>>,
    arrived: AtomicBool,
}

impl Approaches {
    /// An image sets out to these lanes.
    pub(crate) fn announce(&self, lanes: HashSet<LaneKey>) -> Approach {
        let lanes: Vec<_> = lanes.into_iter().map(|lane| self.count(lane)).collect();
        for count in &lanes {
            count.send_modify(|count| *count += 1);
        }
        Approach { lanes, arrived: AtomicBool::new(false) }
    }

    /// How many are on their way to this lane, now and later.
    pub(crate) fn to(&self, lane: &LaneKey) -> watch::Receiver<usize> {
        self.count(lane.clone()).subscribe()
    }

    /// Forgets the lanes that nothing writes to any more. Those that still wait keep their count.
    pub(crate) fn retain(&self, used: &HashSet<LaneKey>) {
        self.lock().retain(|lane, count| used.contains(lane) || count.receiver_count() > 0);
    }

    fn count(&self, lane: LaneKey) -> Arc<watch::Sender<usize>> {
        self.lock().entry(lane).or_default().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LaneKey, Arc<watch::Sender<usize>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Approach {
    /// Nothing more is to be waited for: what the image has for the lanes was handed to them.
    pub(crate) fn arrive(&self) {
        if !self.arrived.swap(true, Ordering::Relaxed) {
            for count in &self.lanes {
                count.send_modify(|count| *count = count.saturating_sub(1));
            }
        }
    }
}

impl Drop for Approach {
    fn drop(&mut self) {
        self.arrive();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;

    fn lane(branch: &str) -> LaneKey {
        LaneKey { source: key("fleet"), branch: branch.to_owned() }
    }

    #[test]
    fn an_image_is_on_its_way_until_it_arrives_or_is_given_up() {
        let approaches = Approaches::default();
        let (main, dev) = (approaches.to(&lane("main")), approaches.to(&lane("dev")));
        let both = approaches.announce(HashSet::from([lane("main"), lane("dev")]));
        let one = approaches.announce(HashSet::from([lane("main")]));
        assert_eq!((*main.borrow(), *dev.borrow()), (2, 1));
        both.arrive();
        both.arrive();
        assert_eq!((*main.borrow(), *dev.borrow()), (1, 0));
        drop((both, one));
        assert_eq!((*main.borrow(), *dev.borrow()), (0, 0));
    }

    #[test]
    fn a_lane_that_still_waits_keeps_its_count() {
        let approaches = Approaches::default();
        let main = approaches.to(&lane("main"));
        drop(approaches.announce(HashSet::from([lane("dev")])));
        approaches.retain(&HashSet::new());
        let _image = approaches.announce(HashSet::from([lane("main"), lane("dev")]));
        assert_eq!(*main.borrow(), 1);
    }
}
