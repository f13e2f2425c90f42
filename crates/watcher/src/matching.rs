//! From the image that a payload names to the ImageRepositories of a Receiver.
//!
//! Owns the rules of which host means which registry. It never leaves the Receiver's own resources, whatever a
//! payload says.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use windlass_model::image::canonical_registry;
use windlass_model::resource::{ImageRepository, Resource as _};
use windlass_model::signal::RescanReason;
use windlass_model::{Hint, ObjectRef, Signal};

use crate::sender::{ImageHint, Pushed};

/// The ImageRepositories of one Receiver, by what a sender can call them.
///
/// 1. A host that one of them has, as the registry of its image or among its `windlass.dev/registry-hosts`, means
///    these: the repository's path must be equal too.
/// 2. A host that none of them has (an external URL, an internal name), or no host, matches by the path alone.
///
/// So a known host never stands for another registry, and an unknown one costs at most a needless look.
#[derive(Debug, Default)]
pub struct Matcher {
    by_path: HashMap<String, Vec<Candidate>>,
    hosts: HashSet<String>,
}

#[derive(Debug)]
struct Candidate {
    target: ObjectRef,
    hosts: Vec<String>,
}

impl Matcher {
    /// Indexes these repositories. A suspended one gets no signal, but its host stays known.
    pub fn new<'a>(repositories: impl IntoIterator<Item = &'a Arc<ImageRepository>>) -> Self {
        let mut matcher = Self::default();
        for repository in repositories {
            let hosts: Vec<String> = std::iter::once(repository.image.registry())
                .chain(repository.registry_hosts.iter().map(String::as_str))
                .map(canonical_registry)
                .collect();
            matcher.hosts.extend(hosts.iter().cloned());
            if !repository.suspend {
                let path = repository.image.repository().to_owned();
                let candidate = Candidate { target: repository.object_ref(), hosts };
                matcher.by_path.entry(path).or_default().push(candidate);
            }
        }
        matcher
    }

    /// The signals that these hints give, each once, in the hints' order.
    pub fn signals(&self, hints: &[ImageHint]) -> Vec<Signal> {
        let mut signals = Vec::new();
        let mut seen = HashSet::new();
        for image in hints {
            let Some(candidates) = self.by_path.get(&image.repository) else { continue };
            let host = image.host.as_deref().map(canonical_registry).filter(|host| self.hosts.contains(host));
            for candidate in candidates {
                if host.as_ref().is_some_and(|host| !candidate.hosts.contains(host)) {
                    continue;
                }
                let hint = hint(&image.what);
                if seen.insert((&candidate.target, hint.clone())) {
                    signals.push(Signal { target: candidate.target.clone(), hint });
                }
            }
        }
        signals
    }

    /// A rescan of every repository that is not suspended, for a sender that names no image.
    pub fn everything(&self) -> Vec<Signal> {
        let hint = Hint::Rescan { reason: RescanReason::Webhook };
        let candidates = self.by_path.values().flatten();
        let mut signals: Vec<Signal> = candidates
            .map(|candidate| Signal { target: candidate.target.clone(), hint: hint.clone() })
            .collect();
        signals.sort_by(|a, b| a.target.cmp(&b.target));
        signals
    }
}

fn hint(pushed: &Pushed) -> Hint {
    match pushed {
        Pushed::Tag { tag, digest } => Hint::TagPushed { tag: tag.clone(), digest: digest.clone() },
        Pushed::Manifest { digest } => Hint::ManifestPushed { digest: digest.clone() },
        Pushed::Referrer { subject } => Hint::ReferrerPushed { subject: subject.clone() },
        Pushed::Unknown => Hint::Rescan { reason: RescanReason::Webhook },
    }
}

#[cfg(test)]
mod tests;
