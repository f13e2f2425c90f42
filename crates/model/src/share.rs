//! Shares: how the work of one installation is divided among several processes.
//!
//! What refers to each other stays together: an ImagePolicy and the ImageRepository that it reads, an automation and the
//! GitRepository that it writes to. So the unit is a group of namespaces, most often a single one, and every lane and
//! every image has one process that works on it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::name::ObjectKey;
use crate::resource::Spec;

/// One of several shares: `3/8` is the fourth of eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share {
    number: u16,
    of: u16,
}

impl Share {
    /// The only one.
    pub const WHOLE: Self = Self { number: 0, of: 1 };

    /// Each of so many; of none as of one.
    pub fn all(of: u16) -> impl Iterator<Item = Self> {
        let of = of.max(1);
        (0..of).map(move |number| Self { number, of })
    }

    /// Who has which of so many shares: the same for everyone who asks with the same candidates, in any order. None has
    /// more than its part, rounded up, and when one comes or goes, few shares change hands (rendezvous hashing with a
    /// bounded load).
    pub fn holders(of: u16, candidates: &[String]) -> BTreeMap<Self, &str> {
        let most = usize::from(of).div_ceil(candidates.len().max(1));
        let mut held: BTreeMap<&str, usize> = BTreeMap::new();
        let mut holders = BTreeMap::new();
        for share in Self::all(of) {
            let has_room = |candidate: &&str| held.get(candidate).is_none_or(|count| *count < most);
            let rank = |candidate: &str| hash(&format!("{share} {candidate}"));
            let by_rank = |a: &&str, b: &&str| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b));
            let Some(holder) = candidates.iter().map(String::as_str).filter(has_room).max_by(by_rank) else {
                break;
            };
            *held.entry(holder).or_default() += 1;
            holders.insert(share, holder);
        }
        holders
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// Which namespaces are in a share, under one configuration. Every namespace, also one that nothing is configured in,
/// is in exactly one share.
#[derive(Debug, Clone, Default)]
pub struct Division {
    share: Share,
    /// What was divided.
    whole: Option<Arc<Spec>>,
    /// The first namespace of the group, for each that is in a group with another.
    groups: BTreeMap<String, String>,
}

impl Division {
    /// Whether every namespace is in the share.
    pub fn is_whole(&self) -> bool {
        self.share.of == 1
    }

    /// Whether a namespace is in the share.
    pub fn has(&self, namespace: &str) -> bool {
        if self.is_whole() {
            return true;
        }
        let group = self.groups.get(namespace).map_or(namespace, String::as_str);
        hash(group) % u64::from(self.share.of) == u64::from(self.share.number)
    }
}

impl Spec {
    /// What is worked on in a share. What others only refer to is left as it is: Secrets, Notifiers, Guards, Receivers
    /// and the labels of namespaces.
    #[must_use]
    pub fn divided(self: &Arc<Self>, share: Share) -> Self {
        let division = Division { share, whole: Some(self.clone()), groups: groups(self) };
        let mut known = HashMap::new();
        let mut has =
            |namespace| *known.entry(namespace).or_insert_with_key(|name: &&str| division.has(name));
        Self {
            image_repositories: kept(&self.image_repositories, &mut has),
            image_policies: kept(&self.image_policies, &mut has),
            automations: kept(&self.automations, &mut has),
            git_repositories: kept(&self.git_repositories, &mut has),
            receivers: self.receivers.clone(),
            notifiers: self.notifiers.clone(),
            guards: self.guards.clone(),
            secrets: self.secrets.clone(),
            namespaces: self.namespaces.clone(),
            require_guard: self.require_guard,
            division,
        }
    }
}

impl Spec {
    /// What this is a share of: a Receiver is right also where it names what others work on.
    pub fn whole(&self) -> &Self {
        self.division.whole.as_deref().unwrap_or(self)
    }
}

fn kept<'a, T: Clone>(
    all: &'a BTreeMap<ObjectKey, T>,
    has: &mut impl FnMut(&'a str) -> bool,
) -> BTreeMap<ObjectKey, T> {
    let ours = all.iter().filter(|(key, _)| has(&key.namespace));
    ours.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The groups of more than one namespace. A reference counts whether or not it is allowed: permission may come later,
/// and groups that are too large only divide less.
fn groups(spec: &Spec) -> BTreeMap<String, String> {
    let reads = spec.image_policies.values().map(|policy| (&policy.meta.key, &policy.repository));
    let writes = spec.automations.values().map(|automation| (&automation.meta.key, &automation.source));
    let mut groups = BTreeMap::new();
    for (from, to) in reads.chain(writes).filter(|(from, to)| from.namespace != to.namespace) {
        let (a, b) = (first(&groups, &from.namespace), first(&groups, &to.namespace));
        let (lower, higher) = if a < b { (a, b) } else { (b, a) };
        groups.insert(higher, lower.clone());
        groups.insert(lower.clone(), lower);
    }
    let all: Vec<String> = groups.keys().cloned().collect();
    all.into_iter().map(|namespace| (namespace.clone(), first(&groups, &namespace))).collect()
}

fn first(groups: &BTreeMap<String, String>, namespace: &str) -> String {
    let mut first = namespace;
    while let Some(next) = groups.get(first).filter(|next| *next != first) {
        first = next;
    }
    first.to_owned()
}

/// The same in every version and on every machine: processes must agree on it.
fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(text);
    digest.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::load::readiness;
    use crate::load::testing::only;
    use crate::name::Kind;

    const RESOURCES: &str = r"
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: shared, namespace: platform}
spec: {image: registry.example/app, interval: 1m}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: app, namespace: team-a}
spec: {imageRepositoryRef: {name: shared, namespace: platform}, policy: {semver: {range: '*'}}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: app, namespace: team-b}
spec: {imageRepositoryRef: {name: shared, namespace: platform}, policy: {semver: {range: '*'}}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: own, namespace: team-c}
spec: {image: registry.example/own, interval: 1m}
---
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Receiver
metadata: {name: all, namespace: platform}
spec:
  type: harbor
  secretRef: {name: token}
  resources:
    - {kind: ImageRepository, name: shared}
    - {kind: ImageRepository, name: own, namespace: team-c}
---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: platform}
stringData: {token: a-token-for-tests}
";

    fn spec() -> Arc<Spec> {
        Arc::new(only(RESOURCES))
    }

    #[test]
    fn every_namespace_is_in_one_share() {
        let spec = spec();
        let divisions: Vec<Division> = Share::all(8).map(|share| spec.divided(share).division).collect();
        let mut used = BTreeSet::new();
        for number in 0..200 {
            let namespace = format!("team-{number}");
            let having: Vec<usize> =
                (0..divisions.len()).filter(|index| divisions[*index].has(&namespace)).collect();
            assert_eq!(having.len(), 1, "{namespace}: {having:?}");
            used.extend(having);
        }
        assert_eq!(used.len(), 8, "two hundred namespaces are spread over all shares");
    }

    #[test]
    fn namespaces_that_refer_to_each_other_are_in_one_share() {
        let spec = spec();
        for share in Share::all(64) {
            let division = spec.divided(share).division;
            let together = ["platform", "team-a", "team-b"].map(|namespace| division.has(namespace));
            assert!(together.iter().all(|has| *has == together[0]), "{share}: {together:?}");
        }
    }

    #[test]
    fn a_share_has_its_resources_alone_and_the_shares_have_all() {
        let spec = spec();
        let parts: Vec<Spec> = Share::all(5).map(|share| spec.divided(share)).collect();
        let repositories: Vec<_> = parts.iter().flat_map(|part| part.image_repositories.keys()).collect();
        assert_eq!(repositories.len(), spec.image_repositories.len());
        for part in &parts {
            let named: Vec<_> =
                readiness(part).into_keys().filter(|object| object.kind == Kind::Receiver).collect();
            assert_eq!(named, [], "a Receiver may name what others work on");
            for policy in part.image_policies.values() {
                assert!(part.image_repositories.contains_key(&policy.repository), "{}", policy.meta.key);
            }
        }
        assert_eq!(spec.divided(Share::WHOLE).image_policies.len(), spec.image_policies.len());
    }

    /// Trials and tests of several processes break the one that works on the namespace `apps`: they rest on this.
    #[test]
    fn of_two_processes_the_one_has_the_namespace_apps() {
        let spec = spec();
        let share = Share::all(16).find(|share| spec.divided(*share).division.has("apps")).unwrap();
        let alone = ["candidate one".to_owned()];
        let both = ["candidate one".to_owned(), "candidate two".to_owned()];
        for candidates in [&alone[..], &both] {
            assert_eq!(Share::holders(16, candidates)[&share], "candidate one");
        }
    }

    #[test]
    fn everybody_has_as_much_and_few_shares_change_hands() {
        let named = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (three, four, mixed) =
            (named(&["a", "b", "c"]), named(&["a", "b", "c", "d"]), named(&["d", "b", "c", "a"]));
        let (before, after) = (Share::holders(16, &three), Share::holders(16, &four));
        assert_eq!(after, Share::holders(16, &mixed), "the order of the candidates says nothing");
        for (holders, most) in [(&before, 6), (&after, 4)] {
            assert_eq!(holders.len(), 16);
            for candidate in ["a", "b", "c", "d"] {
                let held = holders.values().filter(|holder| **holder == candidate).count();
                assert!(held <= most, "{candidate} has {held}");
            }
        }
        let moved = before.iter().filter(|(share, holder)| after[share] != **holder).count();
        assert!((4..=8).contains(&moved), "{moved} of 16 moved when a fourth came");
        assert!(Share::holders(16, &[]).is_empty());
        let many: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        assert_eq!(Share::holders(16, &many).len(), 16);
    }
}
