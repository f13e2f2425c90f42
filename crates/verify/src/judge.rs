//! A Guard, made ready to judge: its authorities with their keys and trust roots. Owns the rules by which evidence is
//! enough. It is pure: what the registry holds, the ledger's times and the clock come from whoever asks.

mod assessment;
mod opinion;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256 as Hasher};
use windlass_model::guard::{Denial, Denied, Guard, GuardRules, Pin, Quorum};
use windlass_model::{Digest, ImageName, Spec, Tag};

use crate::attest::AttestationCheck;
use crate::authority::{Authority, Judged, Sha256};
use crate::evidence::{Found, Wanted};
use crate::platform;
use crate::root::{FetchedRoot, FetchedRoots, NotFetched, NothingFetched};
use crate::verdict::GuardVerdict;
use opinion::{Opinion, attestation, signatures};

pub use assessment::Assessment;

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Through whose registry credentials and proxies it is seen. What one tenant's connection shows is not remembered
    /// for another.
    pub tenant: &'a str,
    /// Where the image is.
    pub image: &'a ImageName,
    /// The digest that will be written.
    pub digest: &'a Digest,
    /// The tag that led to it, if one did.
    pub tag: Option<&'a Tag>,
    /// When this digest was first seen, as far as the ledger knows.
    pub first_seen: Option<Timestamp>,
}

/// The trust root of one authority, as it was fetched last.
#[derive(Debug, Clone, Copy)]
pub struct Latest<'a> {
    /// The authority's name.
    pub authority: &'a str,
    /// Where the root comes from.
    pub mirror: &'a str,
    /// The root, or why there is none.
    pub root: Result<&'a FetchedRoot, &'a NotFetched>,
}

/// One Guard.
#[derive(Debug)]
pub struct Judge {
    name: String,
    rules: Result<Rules, String>,
    fingerprint: String,
}

#[derive(Debug)]
struct Rules {
    stated: GuardRules,
    authorities: BTreeMap<String, Result<Authority, String>>,
    /// Of `require.attestations`, in their order.
    attestations: Vec<Result<AttestationCheck, String>>,
}

impl Judge {
    /// Makes a Guard ready. What is wrong with it, or with a Secret that it names, makes its verdicts *unknown*;
    /// [`problems`](Self::problems) tells. Trust roots that have to be fetched are not there.
    pub fn new(guard: &Guard, spec: &Spec) -> Self {
        Self::with_roots(guard, spec, &NothingFetched)
    }

    /// As [`new`](Self::new), with the trust roots that were fetched. One that is not there makes what its authority
    /// would say *unknown*; [`latest_roots`](Self::latest_roots) tells.
    pub fn with_roots(guard: &Guard, spec: &Spec, fetched: &dyn FetchedRoots) -> Self {
        let unsupported = guard.meta.not_supported().map_or(Ok(()), Err);
        let rules = unsupported.and_then(|()| guard.rules.clone()).map(|stated| {
            let ready =
                |(name, authority): (&String, &_)| (name.clone(), Authority::new(authority, spec, fetched));
            let authorities = stated.authorities.iter().map(ready).collect();
            let compile = |rule| AttestationCheck::compile(rule).map_err(|error| error.to_string());
            let attestations = stated.attestations.iter().map(compile).collect();
            Rules { stated, authorities, attestations }
        });
        let fingerprint = fingerprint(&guard.meta.key.name, &rules);
        Self { name: guard.meta.key.name.clone(), rules, fingerprint }
    }

    /// The Guard's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Changes with everything that a verdict depends on beside the image: rules, keys, trust roots.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether the verified digest is written. Where the Guard is broken nothing is.
    pub fn pin(&self) -> Pin {
        self.rules.as_ref().map_or(Pin::Required, |rules| rules.stated.pin)
    }

    /// Whether it asks when an image was first seen.
    pub fn asks_for_age(&self) -> bool {
        self.rules.as_ref().is_ok_and(|rules| rules.stated.min_age.is_some())
    }

    /// What keeps this Guard from allowing anything: field and cause.
    pub fn problems(&self) -> Vec<(String, String)> {
        match &self.rules {
            Err(why) => vec![("spec".to_owned(), why.clone())],
            Ok(rules) => {
                let broken = |(name, ready): (&String, &Result<_, String>)| {
                    Some((format!("spec.authorities.{name}"), ready.as_ref().err()?.clone()))
                };
                let checks = rules.attestations.iter().enumerate().filter_map(|(index, check)| {
                    Some((format!("spec.require.attestations[{index}]"), check.as_ref().err()?.clone()))
                });
                rules.authorities.iter().filter_map(broken).chain(checks).collect()
            }
        }
    }

    /// The trust roots that are fetched, by authority.
    pub fn latest_roots(&self) -> impl Iterator<Item = Latest<'_>> {
        let authorities = self.rules.iter().flat_map(|rules| &rules.authorities);
        authorities.filter_map(|(authority, ready)| {
            let (mirror, root) = ready.as_ref().ok()?.fetched()?;
            Some(Latest { authority, mirror, root: root.as_ref() })
        })
    }

    /// Where evidence about an image is wanted, and in which forms. Only authorities that a rule names count.
    pub fn sources(&self, image: &ImageName) -> BTreeMap<ImageName, Wanted> {
        let mut sources: BTreeMap<ImageName, Wanted> = BTreeMap::new();
        let Ok(rules) = &self.rules else { return sources };
        for authority in rules.named().filter_map(|name| rules.authorities.get(name)?.as_ref().ok()) {
            let wanted = sources.entry(authority.source(image).clone()).or_default();
            *wanted = wanted.or(authority.wanted());
            if authority.wanted().notation {
                // Its signatures are about the image's manifest, wherever they lie.
                sources.entry(image.clone()).or_default().notation = true;
            }
        }
        if !rules.stated.platforms.is_empty() {
            sources.entry(image.clone()).or_default().platforms = true;
        }
        sources
    }

    /// What the sources show of an image: signatures, attestations, platforms. It does not depend on the tag, nor on
    /// the image's age.
    pub fn assess(
        &self,
        image: &ImageName,
        digest: &Digest,
        found: &BTreeMap<ImageName, Found>,
        now: Timestamp,
    ) -> Assessment {
        let mut sheet = Assessment::default();
        match &self.rules {
            Err(why) => sheet.unknown(format!("the Guard cannot be loaded: {why}")),
            Ok(rules) => rules.assess(image, digest, found, now, &mut sheet),
        }
        sheet
    }

    /// The verdict: an assessment of the image's digest, with what the Guard says of its tag and age.
    pub fn judge(&self, subject: Subject<'_>, mut assessment: Assessment, now: Timestamp) -> GuardVerdict {
        if let Ok(rules) = &self.rules {
            for why in rules.stated.deny.iter().filter_map(|denial| denies(denial, subject)) {
                assessment.deny(why);
            }
            rules.age(subject, now, &mut assessment);
        }
        assessment.sum_up(&self.name)
    }
}

impl Rules {
    /// The authorities that a rule names.
    fn named(&self) -> impl Iterator<Item = &String> {
        let signatures = self.stated.signatures.iter().flat_map(|quorum| match quorum {
            Quorum::AllOf(names) | Quorum::AnyOf { authorities: names, .. } => names,
        });
        signatures.chain(self.stated.attestations.iter().flat_map(|rule| &rule.authorities))
    }

    fn assess(
        &self,
        image: &ImageName,
        digest: &Digest,
        found: &BTreeMap<ImageName, Found>,
        now: Timestamp,
        sheet: &mut Assessment,
    ) {
        self.platforms(found.get(image), sheet);
        let names: BTreeSet<&String> = self.named().collect();
        if names.is_empty() {
            return;
        }
        let Some(sha256) = Sha256::of(digest) else {
            return sheet.deny("its digest is not a SHA-256, which signatures are made for");
        };
        let manifest = found.get(image).and_then(|found| found.manifest.as_ref());
        let judged = Judged { image, sha256, manifest, now };
        let opinion = |name: &'_ String| match self.authorities.get(name) {
            Some(Ok(authority)) => match authority.is_able(now) {
                Ok(()) => Opinion::of(name, authority, found.get(authority.source(image)), &judged),
                Err(why) => Opinion::none(name, why),
            },
            Some(Err(why)) => Opinion::none(name, why.clone()),
            None => Opinion::none(name, "there is no such authority".to_owned()),
        };
        let opinions: BTreeMap<String, Opinion> =
            names.into_iter().map(|name| (name.clone(), opinion(name))).collect();
        if let Some(quorum) = &self.stated.signatures {
            signatures(quorum, &opinions, sheet);
        }
        for (rule, check) in self.stated.attestations.iter().zip(&self.attestations) {
            match check {
                Ok(check) => attestation(rule, check, &opinions, now, sheet),
                Err(why) => sheet.unknown(format!("an attestation cannot be asked for: {why}")),
            }
        }
    }

    fn age(&self, subject: Subject<'_>, now: Timestamp, sheet: &mut Assessment) {
        let Some(wanted) = self.stated.min_age else { return };
        let Some(seen) = subject.first_seen else {
            return sheet.unknown("when it was first seen is not known, and `minAge` asks for it");
        };
        let old_enough =
            jiff::SignedDuration::try_from(wanted).ok().and_then(|age| seen.checked_add(age).ok());
        match old_enough {
            Some(at) if at <= now => {}
            Some(at) => {
                sheet.deny(format!("it was first seen at {seen}, and is old enough at {at}"));
                sheet.again = Some(at);
            }
            None => sheet.deny("`minAge` lies beyond all times"),
        }
    }

    fn platforms(&self, found: Option<&Found>, sheet: &mut Assessment) {
        if self.stated.platforms.is_empty() {
            return;
        }
        let Some(there) = found.and_then(|found| found.platforms.as_ref()) else {
            sheet.unknown("the registry did not say for which platforms it is");
            return found.iter().flat_map(|found| &found.unread).for_each(|why| sheet.unknown(why.clone()));
        };
        for wanted in self.stated.platforms.iter().filter(|wanted| !platform::covers(there, wanted)) {
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            sheet.deny(format!("it is not for {wanted}; it is for {there}"));
        }
    }
}

fn denies(denial: &Denial, subject: Subject<'_>) -> Option<String> {
    let is_meant = match &denial.what {
        Denied::Tag(tag) => subject.tag.is_some_and(|there| there.as_str() == tag),
        Denied::Digest(digest) => subject.digest == digest,
    };
    is_meant.then(|| format!("it is denied: {}", denial.reason))
}

fn fingerprint(name: &str, rules: &Result<Rules, String>) -> String {
    let mut hasher = Hasher::new();
    let mut add = |text: &str| {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text);
    };
    add(name);
    match rules {
        Err(why) => add(why),
        Ok(rules) => {
            // Everything that is stated; what Secrets hold is added below.
            add(&format!("{:?}", rules.stated));
            for (name, authority) in &rules.authorities {
                add(name);
                match authority {
                    Ok(authority) => authority.identify(&mut add),
                    Err(why) => add(why),
                }
            }
        }
    }
    hex::encode(hasher.finalize())
}

#[cfg(test)]
pub(crate) mod tests;
