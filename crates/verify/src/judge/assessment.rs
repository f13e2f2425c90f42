//! What evidence came to by one Guard: what denies, what is not known, what was proven. Owns the words for people, bounded
//! and on one line each.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::opinion::Opinion;
use crate::verdict::{GuardVerdict, Outcome, Proof};

/// Most reasons of one Guard. An image may have many signatures of strangers.
pub(super) const MAX_REASONS: usize = 16;
/// Longest reason, in characters: certificates and registries have their say in it.
pub(super) const MAX_REASON: usize = 400;

/// What evidence came to by one Guard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assessment {
    denied: Vec<String>,
    unknown: Vec<String>,
    pub(super) proofs: BTreeSet<Proof>,
    pub(super) again: Option<Timestamp>,
}

impl Assessment {
    /// Nothing is known.
    pub(crate) fn nothing(why: &str) -> Self {
        Self { unknown: vec![why.to_owned()], ..Self::default() }
    }

    /// Whether it is allowed, as far as evidence goes.
    pub(crate) fn outcome(&self) -> Outcome {
        match (self.denied.is_empty(), self.unknown.is_empty()) {
            (false, _) => Outcome::Denied,
            (true, false) => Outcome::Unknown,
            (true, true) => Outcome::Allowed,
        }
    }

    pub(super) fn deny(&mut self, why: impl Into<String>) {
        self.denied.push(why.into());
    }

    pub(super) fn unknown(&mut self, why: impl Into<String>) {
        self.unknown.push(why.into());
    }

    /// A requirement that is not met: denied, unless something was not read that might meet it.
    pub(super) fn unmet(&mut self, what: String, opinions: &[&Opinion]) {
        let mut refused: Vec<String> = opinions.iter().flat_map(|opinion| opinion.refused()).collect();
        let unread: Vec<String> = opinions.iter().flat_map(|opinion| opinion.unread()).collect();
        if unread.is_empty() {
            self.denied.push(what);
            self.denied.append(&mut refused);
        } else {
            self.unknown.push(format!("{what} so far"));
            self.unknown.extend(unread);
            self.unknown.append(&mut refused);
        }
    }

    pub(super) fn sum_up(self, guard: &str) -> GuardVerdict {
        let outcome = self.outcome();
        let Self { denied, unknown, proofs, again } = self;
        // Of several reasons time would change one alone.
        let again = again.filter(|_| denied.len() == 1 && unknown.is_empty());
        let mut reasons: Vec<String> = denied.into_iter().chain(unknown).map(|why| clean(&why)).collect();
        let mut seen = BTreeSet::new();
        reasons.retain(|reason| seen.insert(reason.clone()));
        if reasons.len() > MAX_REASONS {
            let more = reasons.len() - MAX_REASONS;
            reasons.truncate(MAX_REASONS);
            reasons.push(format!("and {more} more"));
        }
        let evidence = proofs.into_iter().collect();
        GuardVerdict { guard: guard.to_owned(), outcome, reasons, evidence, again }
    }
}

/// One line of bounded length without control characters.
fn clean(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let mut cleaned: String = text.chars().take(MAX_REASON).map(visible).collect();
    if text.chars().nth(MAX_REASON).is_some() {
        cleaned.push('…');
    }
    cleaned
}
