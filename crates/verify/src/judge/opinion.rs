//! What each authority makes of the evidence, and whether that is enough: the quorum of signers, the attestations.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use windlass_model::guard::{AttestationRule, Quorum};

use super::assessment::Assessment;
use crate::attest::AttestationCheck;
use crate::authority::{Authority, Claim, Judged, Proven};
use crate::evidence::Found;
use crate::sigstore::Signer;
use crate::verdict::Proof;

/// What an authority makes of the evidence.
pub(super) struct Opinion {
    name: String,
    proven: Vec<(Proven, Proof)>,
    refused: Vec<String>,
    unread: Vec<String>,
}

impl Opinion {
    /// It could not be asked.
    pub(super) fn none(name: &str, why: String) -> Self {
        Self { name: name.to_owned(), proven: Vec::new(), refused: Vec::new(), unread: vec![why] }
    }

    pub(super) fn of(name: &str, authority: &Authority, found: Option<&Found>, judged: &Judged<'_>) -> Self {
        let Some(found) = found else {
            return Self::none(name, "its evidence was not looked for".to_owned());
        };
        let mut opinion = Self {
            name: name.to_owned(),
            proven: Vec::new(),
            refused: found.unusable.clone(),
            unread: found.unread.clone(),
        };
        for evidence in found.evidence.iter().filter(|evidence| authority.reads(evidence)) {
            match authority.prove(evidence, judged) {
                Ok(proven) => {
                    let predicate_type = match &proven.claim {
                        Claim::Signature => None,
                        Claim::Attestation(statement) => Some(statement.predicate_type.clone()),
                    };
                    let proof = Proof {
                        authority: name.to_owned(),
                        signer: proven.signer.to_string(),
                        predicate_type,
                        digest: evidence.digest.clone(),
                        place: evidence.place.clone(),
                        trust_root: authority.root().to_owned(),
                    };
                    opinion.proven.push((proven, proof));
                }
                Err(why) => opinion.refused.push(format!("{}: {why}", evidence.place)),
            }
        }
        opinion
    }

    fn signatures(&self) -> impl Iterator<Item = &(Proven, Proof)> {
        self.proven.iter().filter(|(proven, _)| matches!(proven.claim, Claim::Signature))
    }

    pub(super) fn refused(&self) -> impl Iterator<Item = String> {
        self.refused.iter().map(|why| format!("`{}`: {why}", self.name))
    }

    pub(super) fn unread(&self) -> impl Iterator<Item = String> {
        self.unread.iter().map(|why| format!("`{}`: {why}", self.name))
    }
}

/// `require.signatures`: signers are counted, not signatures (GHSA-9vcr-p3rj-q5q6).
pub(super) fn signatures(quorum: &Quorum, opinions: &BTreeMap<String, Opinion>, sheet: &mut Assessment) {
    match quorum {
        Quorum::AllOf(names) => {
            for opinion in names.iter().filter_map(|name| opinions.get(name)) {
                if opinion.signatures().next().is_none() {
                    sheet.unmet(format!("there is no signature by `{}`", opinion.name), &[opinion]);
                }
                sheet.proofs.extend(opinion.signatures().map(|(_, proof)| proof.clone()));
            }
        }
        Quorum::AnyOf { authorities, minimum } => {
            let asked: Vec<_> = authorities.iter().filter_map(|name| opinions.get(name)).collect();
            let signatures = || asked.iter().flat_map(|opinion| opinion.signatures());
            let signers: BTreeSet<&Signer> = signatures().map(|(proven, _)| &proven.signer).collect();
            if signers.len() < *minimum {
                let names = names(authorities);
                let what = match (*minimum, signers.len()) {
                    (1, _) => format!("there is no signature by {names}"),
                    (_, have) => format!("{have} of {minimum} signers needed among {names} signed it"),
                };
                sheet.unmet(what, &asked);
            }
            sheet.proofs.extend(signatures().map(|(_, proof)| proof.clone()));
        }
    }
}

/// `require.attestations[]`: one of this type by one of these, that says what it must.
pub(super) fn attestation(
    rule: &AttestationRule,
    check: &AttestationCheck,
    opinions: &BTreeMap<String, Opinion>,
    now: Timestamp,
    sheet: &mut Assessment,
) {
    let asked: Vec<_> = rule.authorities.iter().filter_map(|name| opinions.get(name)).collect();
    let (mut met, mut lacking) = (false, Vec::new());
    for (proven, proof) in asked.iter().flat_map(|opinion| &opinion.proven) {
        let Claim::Attestation(statement) = &proven.claim else { continue };
        if statement.predicate_type != rule.predicate_type {
            continue;
        }
        match check.check(statement, now) {
            Ok(()) => {
                met = true;
                sheet.proofs.insert(proof.clone());
            }
            Err(unmet) => lacking.push(format!("{}: {unmet}", proof.place)),
        }
    }
    if !met {
        let names = names(&rule.authorities);
        let what = match lacking.len() {
            0 => format!("there is no attestation {} by {names}", rule.predicate_type),
            _ => format!(
                "no attestation {} by {names} says what it must: {}",
                rule.predicate_type,
                lacking.join("; ")
            ),
        };
        sheet.unmet(what, &asked);
    }
}

fn names(authorities: &[String]) -> String {
    let quoted: Vec<String> = authorities.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
