//! What the Guards say of one image, with the reasons and the evidence. Values only.

use jiff::Timestamp;
use serde::Serialize;
use windlass_model::Digest;

/// The three answers.
///
/// Ordered by what prevails: one *denied* denies, whatever else is allowed or unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything that is asked for was shown.
    Allowed,
    /// A registry or a trust root did not say what must be known. Asking again may answer.
    Unknown,
    /// Something that is asked for is not there.
    Denied,
}

/// What all Guards that concern an image say of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Allowed only where every Guard allows.
    #[serde(rename = "verdict")]
    pub outcome: Outcome,
    /// What was judged. Nothing is said of the tag that led to it.
    #[serde(serialize_with = "text")]
    pub digest: Digest,
    /// One for each Guard, by name.
    pub guards: Vec<GuardVerdict>,
}

/// What one Guard says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GuardVerdict {
    /// The Guard's name.
    pub guard: String,
    /// Its answer.
    #[serde(rename = "verdict")]
    pub outcome: Outcome,
    /// Why it is not allowed; empty where it is.
    pub reasons: Vec<String>,
    /// What it rests on.
    pub evidence: Vec<Proof>,
    /// When time would change a denial; absent where anything else denies too.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "instant")]
    pub again: Option<Timestamp>,
}

/// One piece of evidence that counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// The Guard's name for whoever is believed.
    pub authority: String,
    /// Who signed.
    pub signer: String,
    /// What kind of statement it is; absent for a signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicate_type: Option<String>,
    /// Of the evidence itself.
    #[serde(serialize_with = "text")]
    pub digest: Digest,
    /// Where it was found.
    pub place: String,
    /// SHA-256 of the trust root by which it was judged.
    pub trust_root: String,
}

impl Verdict {
    /// Puts the Guards' answers together. No Guard at all denies: whoever asks must know that nothing was asked.
    pub fn of(digest: Digest, guards: Vec<GuardVerdict>) -> Self {
        let outcome = guards.iter().map(|guard| guard.outcome).max().unwrap_or(Outcome::Denied);
        Self { outcome, digest, guards }
    }

    /// Why it is not allowed, each reason with its Guard.
    pub fn reasons(&self) -> Vec<String> {
        let named = |guard: &GuardVerdict| {
            let name = guard.guard.clone();
            guard.reasons.clone().into_iter().map(move |reason| format!("Guard/{name}: {reason}"))
        };
        let guards = self.guards.iter().filter(|guard| guard.outcome != Outcome::Allowed);
        guards.flat_map(named).collect()
    }

    /// When time would change a denial: the last of the instants, where nothing else stands in the way.
    pub fn again(&self) -> Option<Timestamp> {
        let open = self.guards.iter().filter(|guard| guard.outcome != Outcome::Allowed);
        open.map(|guard| guard.again).collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

fn text<S: serde::Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(digest.as_str())
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn instant<S: serde::Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(|at| at.to_string()).serialize(serializer)
}
