//! Senders: who may post to a Receiver's path, and what their payload says was pushed. One file each.
//!
//! This module owns authentication and the reading of payloads; both are pure functions of a token, the request's
//! headers and its raw body. It never looks at the configuration: which ImageRepositories an image is, is for
//! [`matching`](crate::matching) to say.

mod authorization;
mod distribution;
mod generic;
mod generic_hmac;
mod harbor;
mod lenient;

use http::HeaderMap;
use windlass_model::resource::SenderType;
use windlass_model::{Digest, Tag};

/// Images of one payload that are looked up one by one. Registries send one; the formats allow any number, and a body
/// holds some ten thousand. Beyond this, "look at everything" costs less than the list.
const MAX_IMAGES: usize = 1000;

/// Whether the request comes from someone who knows the Receiver's token, judged on the raw body in constant time.
///
/// `token` must not be empty: an empty secret would let anybody in.
#[must_use = "a request that is not authentic must be refused"]
pub fn authenticate(sender: SenderType, token: &[u8], headers: &HeaderMap, body: &[u8]) -> bool {
    match sender {
        SenderType::Harbor | SenderType::Distribution => authorization::is_token(token, headers),
        SenderType::Generic => generic::authenticate(),
        SenderType::GenericHmac => generic_hmac::authenticate(token, headers, body),
    }
}

/// What an authentic payload says. It is a claim: tags and digests are resolved again before anything is believed.
pub fn parse(sender: SenderType, body: &[u8]) -> Result<Content, Malformed> {
    let content = match sender {
        SenderType::Harbor => harbor::parse(body)?,
        SenderType::Distribution => distribution::parse(body)?,
        SenderType::Generic | SenderType::GenericHmac => generic::parse(),
    };
    match content {
        Content::Pushes(pushes)
            if pushes.iter().map(|push| push.images.len()).sum::<usize>() > MAX_IMAGES =>
        {
            Ok(Content::Everything)
        }
        content => Ok(content),
    }
}

/// The content of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Pushes of named images, each with its own delivery id.
    Pushes(Vec<Push>),
    /// Something changed, and the payload does not say what: everything that the Receiver concerns.
    Everything,
    /// Nothing that concerns us; the reason is for the sender's log.
    Nothing(&'static str),
}

/// One event of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// The sender's id of this event, equal in its repeats; absent where the sender gives none.
    pub delivery_id: Option<String>,
    /// What was pushed.
    pub images: Vec<ImageHint>,
}

/// One image that a sender says was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageHint {
    /// The registry's `host[:port]` as the sender sees it: often not the host that clusters pull from.
    pub host: Option<String>,
    /// The repository's path, without host.
    pub repository: String,
    /// What in it.
    pub what: Pushed,
}

/// What was pushed into a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// A tag.
    Tag {
        /// Its name.
        tag: Tag,
        /// The digest that the sender claims for it.
        digest: Option<Digest>,
    },
    /// A manifest without a tag: a child of an index, or a referrer.
    Manifest {
        /// The digest that the sender claims.
        digest: Digest,
    },
    /// A signature, attestation or referrers index, known by the name of its tag.
    Referrer {
        /// The manifest that it refers to.
        subject: Digest,
    },
    /// The payload names the repository, but neither a tag nor a digest that could be one.
    Unknown,
}

impl Pushed {
    /// Reads a sender's tag and digest fields. A field called "tag" may hold a digest (Harbor, GitLab, zot), and
    /// either may be empty.
    fn from_claims(tag: Option<&str>, digest: Option<&str>) -> Self {
        let digest = digest.and_then(|text| Digest::parse(text).ok());
        match tag.map(Tag::parse) {
            Some(Ok(tag)) => match tag.referrer_subject() {
                Some(subject) => Pushed::Referrer { subject },
                None => Pushed::Tag { tag, digest },
            },
            _ => match tag.and_then(|text| Digest::parse(text).ok()).or(digest) {
                Some(digest) => Pushed::Manifest { digest },
                None => Pushed::Unknown,
            },
        }
    }
}

/// Why an authentic payload cannot be read. The text goes back to the sender, so it repeats nothing of the payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON, or JSON of another shape.
    #[error("the body is not the JSON that this sender writes (line {line}, column {column})")]
    Json {
        /// One-based.
        line: usize,
        /// One-based; 0 is before the first character.
        column: usize,
    },
    /// A field without which the payload says nothing.
    #[error("`{0}` is missing or is not a text")]
    Missing(&'static str),
}

impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Self {
        Malformed::Json { line: error.line(), column: error.column() }
    }
}

#[cfg(test)]
mod tests;
