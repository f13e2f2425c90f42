//! A hundred thousand pieces of evidence that were good once. None may be accepted, unless what was signed, the
//! signature and what is believed by it are still the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use windlass_model::guard::{GuardRules, Quorum};

use crate::evidence::{Evidence, Form};
use crate::judge::tests::{judge, outcome_of, rules};
use crate::testing::{SIGN, attestation, bundle, digest, legacy, pair, payload};
use crate::verdict::Outcome;

const MUTANTS: usize = 100_000;
const SPDX: &str = "https://spdx.dev/Document";

/// Marsaglia's xorshift: the same mutants each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }
}

/// What a piece of evidence rests on: what was signed, and by which bytes. `None` where nobody can tell.
fn essence(evidence: &Evidence) -> Option<Vec<Vec<u8>>> {
    let decoded = |text: &str| STANDARD.decode(text).ok();
    match &evidence.form {
        Form::Signature(annotations) => {
            let signature = decoded(annotations.get("dev.cosignproject.cosign/signature")?)?;
            Some(vec![evidence.bytes.to_vec(), signature])
        }
        Form::Bundle | Form::Attestation(_) => {
            let json: Value = serde_json::from_slice(&evidence.bytes).ok()?;
            let envelope = json.get("dsseEnvelope").unwrap_or(&json);
            let signatures = envelope["signatures"].as_array().filter(|all| all.len() == 1)?;
            let kind = envelope["payloadType"].as_str()?.as_bytes().to_vec();
            let signature = decoded(signatures[0]["sig"].as_str()?)?;
            Some(vec![kind, decoded(envelope["payload"].as_str()?)?, signature])
        }
        Form::Notation(_) => None,
    }
}

fn with_bytes(evidence: &Evidence, bytes: Vec<u8>) -> Evidence {
    Evidence { bytes: Bytes::from(bytes), ..evidence.clone() }
}

/// One mutant of `good`; `others` are good evidence of other images and signers.
fn mutant(good: &Evidence, others: &[Evidence], dice: &mut Dice) -> Evidence {
    let mut bytes = good.bytes.to_vec();
    let other = &others[dice.below(others.len())];
    let (at, to) = (dice.below(bytes.len()), dice.below(bytes.len()));
    match dice.below(9) {
        0 => bytes[at] ^= 1 << dice.below(8),
        1 => {
            for _ in 0..=dice.below(4) {
                let place = dice.below(bytes.len());
                bytes[place] = u8::try_from(dice.below(256)).unwrap();
            }
        }
        2 => bytes.truncate(at),
        3 => bytes.swap(at, to),
        4 => drop(bytes.drain(at.min(to)..at.max(to))),
        5 => {
            let copied = bytes[at.min(to)..at.max(to)].to_vec();
            bytes.splice(at..at, copied);
        }
        6 => {
            let from = dice.below(other.bytes.len());
            bytes.splice(at.., other.bytes[from..].iter().copied());
        }
        7 => {
            // A part of the one in the place of the same part of the other.
            let text = String::from_utf8(bytes.clone()).unwrap();
            let parts =
                |evidence: &Evidence| -> Option<Value> { serde_json::from_slice(&evidence.bytes).ok() };
            let (Some(mine), Some(theirs)) = (parts(good), parts(other)) else { return other.clone() };
            let mine = mine.get("dsseEnvelope").unwrap_or(&mine).clone();
            let theirs = theirs.get("dsseEnvelope").unwrap_or(&theirs).clone();
            let pick = if dice.below(2) == 0 { "payload" } else { "sig" };
            let part = |value: &Value| match pick {
                "payload" => value["payload"].as_str().map(str::to_owned),
                _ => value["signatures"][0]["sig"].as_str().map(str::to_owned),
            };
            match (part(&mine), part(&theirs)) {
                (Some(mine), Some(theirs)) => bytes = text.replace(&mine, &theirs).into_bytes(),
                _ => bytes = other.bytes.to_vec(),
            }
        }
        _ => return annotated(good, other, dice),
    }
    with_bytes(good, bytes)
}

/// The annotations are what carries a legacy signature.
fn annotated(good: &Evidence, other: &Evidence, dice: &mut Dice) -> Evidence {
    let (Form::Signature(mine), Form::Signature(theirs)) = (&good.form, &other.form) else {
        return other.clone();
    };
    let mut annotations = mine.clone();
    if dice.below(2) == 0 {
        annotations.clone_from(theirs);
    } else {
        let signature = annotations.values_mut().next().unwrap();
        let mut bytes = signature.clone().into_bytes();
        let place = dice.below(bytes.len());
        bytes[place] = b"ABCDabcd0189+/="[dice.below(15)];
        *signature = String::from_utf8(bytes).unwrap();
    }
    Evidence { form: Form::Signature(annotations), ..good.clone() }
}

#[test]
fn no_mutant_of_good_evidence_is_accepted() {
    let (ours, stranger) = (pair(), pair());
    let good = [
        legacy(&ours, &payload(&digest(1), "null")),
        bundle(&ours, &digest(1), SIGN, "null"),
        attestation(&ours, &digest(1), SPDX),
    ];
    let mut others = Vec::new();
    for (pair, about) in [(&ours, 2), (&stranger, 1), (&stranger, 2)] {
        others.push(legacy(pair, &payload(&digest(about), "null")));
        others.push(bundle(pair, &digest(about), SIGN, "null"));
        others.push(attestation(pair, &digest(about), SPDX));
    }
    let any_of = Quorum::AnyOf { authorities: vec!["a".into()], minimum: 1 };
    let signed = judge(GuardRules { signatures: Some(any_of), ..rules(&[&ours]) });
    let attested = judge(GuardRules {
        attestations: vec![windlass_model::guard::AttestationRule {
            predicate_type: SPDX.to_owned(),
            authorities: vec!["a".to_owned()],
            condition: None,
        }],
        ..rules(&[&ours])
    });
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut harmless = 0;
    for number in 0..MUTANTS {
        let good = &good[number % good.len()];
        let judge = if matches!(good.form, Form::Attestation(_)) { &attested } else { &signed };
        let mutant = mutant(good, &others, &mut dice);
        if outcome_of(judge, vec![mutant.clone()]) == Outcome::Allowed {
            assert_eq!(essence(&mutant), essence(good), "{number}: {mutant:?}");
            harmless += 1;
        }
    }
    assert!(harmless < MUTANTS / 10, "{harmless} mutants were none");
    for good in &good {
        let judge = if matches!(good.form, Form::Attestation(_)) { &attested } else { &signed };
        assert_eq!(outcome_of(judge, vec![good.clone()]), Outcome::Allowed);
    }
}
