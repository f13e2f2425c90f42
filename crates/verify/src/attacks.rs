//! Envelopes and payloads that a signer or a forger could make, and no signing program does: each is signed, and none
//! is a signature or an attestation of the image.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rcgen::{KeyPair, SigningKey as _};
use windlass_model::guard::{AttestationRule, GuardRules, Quorum};

use crate::evidence::{Evidence, Form};
use crate::judge::Judge;
use crate::judge::tests::{judge, outcome_of, rules};
use crate::testing::{SIGN, digest, legacy, pair, payload};
use crate::verdict::Outcome;

const IN_TOTO: &str = "application/vnd.in-toto+json";
const SPDX: &str = "https://spdx.dev/Document";

/// A Guard that wants a signature, and one that wants an attestation.
struct Guards {
    ours: KeyPair,
    signed: Judge,
    attested: Judge,
}

impl Guards {
    fn new() -> Self {
        let ours = pair();
        let any_of = Quorum::AnyOf { authorities: vec!["a".into()], minimum: 1 };
        let signed = judge(GuardRules { signatures: Some(any_of), ..rules(&[&ours]) });
        let rule = AttestationRule {
            predicate_type: SPDX.to_owned(),
            authorities: vec!["a".to_owned()],
            condition: None,
        };
        let attested = judge(GuardRules { attestations: vec![rule], ..rules(&[&ours]) });
        Self { ours, signed, attested }
    }

    /// What becomes of a text that our key signs, as an envelope in either of its places.
    fn judge_statement(&self, statement: &str, kind: &str) -> Vec<Outcome> {
        let envelope = envelope(&[(&self.ours, "")], IN_TOTO, statement, pae);
        self.judge_envelope(&envelope, kind)
    }

    fn judge_envelope(&self, envelope: &str, kind: &str) -> Vec<Outcome> {
        let judge = if kind == SIGN { &self.signed } else { &self.attested };
        placed(envelope).map(|evidence| outcome_of(judge, vec![evidence])).into()
    }
}

fn evidence(form: Form, bytes: String) -> Evidence {
    Evidence { digest: digest(9), place: "somewhere".to_owned(), form, bytes: Bytes::from(bytes) }
}

/// An envelope in a bundle, and under the tag `sha256-….att`.
fn placed(envelope: &str) -> [Evidence; 2] {
    let bundle = format!(
        r#"{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{{"publicKey":{{"hint":"x"}}}},"dsseEnvelope":{envelope}}}"#
    );
    [evidence(Form::Bundle, bundle), evidence(Form::Attestation(BTreeMap::new()), envelope.to_owned())]
}

/// DSSE's pre-authentication encoding (secure-systems-lab/dsse, protocol.md).
fn pae(kind: &str, payload: &str) -> String {
    format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len())
}

fn envelope(
    signers: &[(&KeyPair, &str)],
    kind: &str,
    payload: &str,
    encode: fn(&str, &str) -> String,
) -> String {
    let sign = |(pair, id): &(&KeyPair, &str)| {
        let signature = STANDARD.encode(pair.sign(encode(kind, payload).as_bytes()).unwrap());
        format!(r#"{{"sig":"{signature}","keyid":"{id}"}}"#)
    };
    let signatures: Vec<String> = signers.iter().map(sign).collect();
    let (payload, signatures) = (STANDARD.encode(payload), signatures.join(","));
    format!(r#"{{"payload":"{payload}","payloadType":"{kind}","signatures":[{signatures}]}}"#)
}

fn hash(number: u8) -> String {
    digest(number).as_str().trim_start_matches("sha256:").to_owned()
}

fn statement(kind: &str) -> String {
    about(&format!(r#"{{"name":"app","digest":{{"sha256":"{}"}}}}"#, hash(1)), kind)
}

fn about(subjects: &str, kind: &str) -> String {
    format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{subjects}],"predicateType":"{kind}","predicate":{{}}}}"#
    )
}

#[test]
fn an_envelope_has_one_signature() {
    let (guards, stranger) = (Guards::new(), pair());
    let ours = &guards.ours;
    for kind in [SIGN, SPDX] {
        let judge = |signers: &[(&KeyPair, &str)]| {
            guards.judge_envelope(&envelope(signers, IN_TOTO, &statement(kind), pae), kind)
        };
        assert_eq!(judge(&[(ours, "")]), [Outcome::Allowed; 2]);
        for signers in [
            &[][..],
            &[(ours, ""), (&stranger, "")],
            &[(&stranger, ""), (ours, "")],
            &[(ours, ""), (ours, "")],
        ] {
            assert_eq!(judge(signers), [Outcome::Denied; 2], "{} signatures", signers.len());
        }
    }
}

#[test]
fn the_name_of_a_key_says_nothing() {
    let (guards, stranger) = (Guards::new(), pair());
    let name = crate::Key::from_pem(&guards.ours.public_key_pem()).unwrap()[0].fingerprint().to_owned();
    let judge = |pair: &KeyPair, id: &str| {
        guards.judge_envelope(&envelope(&[(pair, id)], IN_TOTO, &statement(SIGN), pae), SIGN)
    };
    assert_eq!(judge(&stranger, &name), [Outcome::Denied; 2]);
    assert_eq!(judge(&guards.ours, "another"), [Outcome::Allowed; 2]);
}

#[test]
fn a_payload_is_signed_with_its_type_and_no_other_way() {
    let guards = Guards::new();
    let signer = [(&guards.ours, "")];
    for kind in
        ["", "text/plain", "application/vnd.in-toto+json; charset=utf-8", "Application/vnd.in-toto+json"]
    {
        let envelope = envelope(&signer, kind, &statement(SIGN), pae);
        assert_eq!(guards.judge_envelope(&envelope, SIGN), [Outcome::Denied; 2], "{kind}");
        let renamed =
            envelope.replace(&format!(r#""payloadType":"{kind}""#), &format!(r#""payloadType":"{IN_TOTO}""#));
        assert_eq!(guards.judge_envelope(&renamed, SIGN), [Outcome::Denied; 2], "{kind} renamed");
    }
    let encodings: [fn(&str, &str) -> String; 4] = [
        |_, payload| payload.to_owned(),
        |_, payload| STANDARD.encode(payload),
        |kind, payload| format!("DSSEv1 {kind} {payload}"),
        |kind, payload| format!("DSSEv1 {} {kind} 0 {payload}", kind.len()),
    ];
    for encode in encodings {
        let envelope = envelope(&signer, IN_TOTO, &statement(SIGN), encode);
        assert_eq!(guards.judge_envelope(&envelope, SIGN), [Outcome::Denied; 2]);
    }
}

#[test]
fn an_envelope_says_each_thing_once() {
    let guards = Guards::new();
    let good = envelope(&[(&guards.ours, "")], IN_TOTO, &statement(SIGN), pae);
    let foreign = STANDARD.encode(about(&format!(r#"{{"digest":{{"sha256":"{}"}}}}"#, hash(2)), SIGN));
    for (field, value) in [
        ("payload", format!(r#""{foreign}""#)),
        ("payloadType", r#""text/plain""#.to_owned()),
        ("signatures", "[]".to_owned()),
    ] {
        let first = good.replacen('{', &format!(r#"{{"{field}":{value},"#), 1);
        let last = format!(r#"{},"{field}":{value}}}"#, &good[..good.len() - 1]);
        for twice in [first, last] {
            assert_eq!(guards.judge_envelope(&twice, SIGN), [Outcome::Denied; 2], "{twice}");
        }
    }
}

#[test]
fn a_statement_says_each_thing_once() {
    let guards = Guards::new();
    let (ours, other) = (hash(1), hash(2));
    for twice in [
        about(&format!(r#"{{"digest":{{"sha256":"{other}","sha256":"{ours}"}}}}"#), SPDX),
        about(&format!(r#"{{"digest":{{"sha256":"{other}"}},"digest":{{"sha256":"{ours}"}}}}"#), SPDX),
        statement(SPDX).replace(r#""predicate":{}"#, r#""predicate":{"a":{"b":1,"b":2}}"#),
        statement(SPDX).replacen('{', &format!(r#"{{"predicateType":"{SIGN}","#), 1),
        statement(SPDX).replacen('{', r#"{"_type":"https://in-toto.io/Statement/v0.1","#, 1),
    ] {
        assert_eq!(guards.judge_statement(&twice, SPDX), [Outcome::Denied; 2], "{twice}");
    }
}

#[test]
fn a_statement_is_of_its_type_and_about_this_image_by_its_sha256() {
    let guards = Guards::new();
    let (ours, other) = (hash(1), hash(2));
    for kind in [SIGN, SPDX] {
        assert_eq!(guards.judge_statement(&statement(kind), kind), [Outcome::Allowed; 2]);
        let several = format!(r#"{{"digest":{{"sha256":"{other}"}}}},{{"digest":{{"sha256":"{ours}"}}}}"#);
        assert_eq!(guards.judge_statement(&about(&several, kind), kind), [Outcome::Allowed; 2]);
        for digests in [
            "{}".to_owned(),
            format!(r#"{{"sha512":"{ours}{ours}"}}"#),
            format!(r#"{{"sha384":"{ours}"}}"#),
            format!(r#"{{"SHA256":"{ours}"}}"#),
            format!(r#"{{"sha256":"{}"}}"#, ours.to_uppercase()),
            format!(r#"{{"sha256":"sha256:{ours}"}}"#),
            format!(r#"{{"sha256":" {ours}"}}"#),
            format!(r#"{{"sha256":"{}"}}"#, &ours[..62]),
            format!(r#"{{"sha256":"{other}"}}"#),
        ] {
            let statement = about(&format!(r#"{{"digest":{digests}}}"#), kind);
            assert_eq!(guards.judge_statement(&statement, kind), [Outcome::Denied; 2], "{digests}");
        }
        assert_eq!(guards.judge_statement(&about("", kind), kind), [Outcome::Denied; 2]);
        for other in ["https://in-toto.io/Statement/v2", "https://in-toto.io/Link/v1", ""] {
            let statement = statement(kind).replace("https://in-toto.io/Statement/v1", other);
            assert_eq!(guards.judge_statement(&statement, kind), [Outcome::Denied; 2], "{other}");
        }
    }
}

#[test]
fn a_predicate_of_another_type_is_no_signature_and_no_answer() {
    let guards = Guards::new();
    for kind in [SPDX, "https://sigstore.dev/cosign/sign/v2", "https://sigstore.dev/cosign/sign/v1/", ""] {
        assert_eq!(guards.judge_statement(&statement(kind), SIGN), [Outcome::Denied; 2], "{kind}");
    }
    for kind in [SIGN, "https://spdx.dev/Document/v2.3", "https://cyclonedx.org/bom", ""] {
        assert_eq!(guards.judge_statement(&statement(kind), SPDX), [Outcome::Denied; 2], "{kind}");
    }
    let without = statement(SPDX).replace(&format!(r#""predicateType":"{SPDX}","#), "");
    assert_eq!(guards.judge_statement(&without, SPDX), [Outcome::Denied; 2]);
}

#[test]
fn a_payload_says_once_that_it_is_of_this_image() {
    let guards = Guards::new();
    let (ours, other) = (digest(1), digest(2));
    let outcome = |payload: &str| outcome_of(&guards.signed, vec![legacy(&guards.ours, payload)]);
    let good = payload(&ours, "null");
    assert_eq!(outcome(&good), Outcome::Allowed);
    let stated = format!(r#""docker-manifest-digest":"{ours}""#);
    let twice = |first: &str| format!(r#""docker-manifest-digest":"{first}",{stated}"#);
    for wrong in [
        good.replace(&stated, &twice(other.as_str())),
        good.replace(&stated, &twice(ours.as_str())),
        good.replace(&stated, &format!(r#""docker-manifest-digest":"{}""#, ours.as_str().to_uppercase())),
        good.replace(&stated, &format!(r#""docker-manifest-digest":"sha512:{}{}""#, hash(1), hash(1))),
        good.replace(&stated, &format!(r#""docker-manifest-digest":"{}""#, hash(1))),
        good.replace(&stated, &format!(r#""Docker-Manifest-Digest":"{ours}""#)),
        good.replace(&stated, &format!(r#""docker-manifest-digest":["{ours}"]"#)),
        good.replace("cosign container image signature", "atomic container signature"),
        good.replace("critical", "Critical"),
        payload(&ours, r#"{"stage":"test","stage":"release"}"#),
        payload(&ours, "[]"),
        format!("{good} {good}"),
        format!("[{good}]"),
    ] {
        assert_eq!(outcome(&wrong), Outcome::Denied, "{wrong}");
    }
}

#[test]
fn one_signer_counts_once_in_whatever_form_and_number() {
    let (ours, theirs) = (pair(), pair());
    let two = Quorum::AnyOf { authorities: vec!["a".into(), "b".into()], minimum: 2 };
    let judge = judge(GuardRules { signatures: Some(two), ..rules(&[&ours, &theirs]) });
    let by = |pair: &KeyPair| -> Vec<Evidence> {
        let [bundle, attestation] = placed(&envelope(&[(pair, "")], IN_TOTO, &statement(SIGN), pae));
        let layers =
            ["null", "{}", r#"{"run":"2"}"#].map(|stated| legacy(pair, &payload(&digest(1), stated)));
        layers.into_iter().chain([bundle.clone(), bundle, attestation]).collect()
    };
    assert_eq!(outcome_of(&judge, by(&ours)), Outcome::Denied);
    assert_eq!(outcome_of(&judge, [by(&ours), by(&theirs)].concat()), Outcome::Allowed);
}
