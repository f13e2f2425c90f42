//! Open files: raises the process's own limit, and derives from it how many connections a listener may hold.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Left for everything but webhooks: registries (16 requests each), Git, chat services, the mirrors' packs, SQLite.
const RESERVED: u64 = 256;
/// A listener takes this many in any case.
const FEWEST: u64 = 64;

/// Raises the soft limit of open files to the hard one, as Go's runtime does, and returns how many may be open then.
///
/// Where nobody sets it, the soft limit is 1,024: as many as the connections that one listener holds. Slow senders could
/// then leave no descriptor to reach a registry or Git with.
pub(crate) fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // The hard limit may be out of reach all the same (macOS has a lower one of its own).
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let allowed = if raised { maximum } else { current };
    allowed.unwrap_or(u64::MAX)
}

/// How many connections a listener may hold where so many files may be open: at most `wanted`.
pub(crate) fn connections(allowed: u64, wanted: usize) -> usize {
    let room = allowed.saturating_sub(RESERVED).max(FEWEST);
    usize::try_from(room).unwrap_or(usize::MAX).min(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_everything_else() {
        for (allowed, expected) in [(u64::MAX, 1024), (4096, 1024), (1024, 768), (300, 64), (0, 64)] {
            assert_eq!(connections(allowed, 1024), expected, "{allowed}");
        }
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let allowed = raise();
        let Rlimit { current, .. } = getrlimit(Resource::Nofile);
        assert_eq!(current.unwrap_or(u64::MAX), allowed);
    }
}
