//! What refers to a manifest: signatures, attestations. Owns the reading of the list, whole or not at all, and bounded.
//!
//! Only an answer that says so means that there is nothing: 404 of both ways. Whatever else keeps the list from being
//! known is an error, which must never be taken for "unsigned".

use serde::Deserialize;
use windlass_model::{Digest, Tag};

use crate::error::Cause;

/// Pages of one list.
pub(crate) const MAX_PAGES: usize = 10;
/// Entries of one list, all pages together.
pub(crate) const MAX_ENTRIES: usize = 256;
/// Bytes of one page: what a manifest may have at most.
pub(crate) const MAX_BYTES: usize = 4 << 20;

/// One entry of the list: a manifest that says that it refers to another. Whoever may push can claim it, so the
/// manifest itself must be read and judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// Of the manifest.
    pub digest: Digest,
    /// What kind of artifact the registry says it is; empty if it says nothing.
    pub artifact_type: String,
}

#[derive(Deserialize)]
struct Index {
    /// May be null, but must be there: a proxy's answer in JSON is no empty list.
    #[serde(deserialize_with = "Option::deserialize")]
    manifests: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    digest: String,
    #[serde(default)]
    artifact_type: Option<String>,
}

/// Adds one page, which is an image index.
pub(crate) fn gather(into: &mut Vec<Referrer>, body: &[u8]) -> Result<(), Cause> {
    // The parser's own words may quote the body, which nobody vouches for; the place is enough.
    // A list would be read as the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Cause::Invalid("the answer is not a list of referrers".to_owned()));
    }
    let index: Index = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Cause::Invalid(format!("the answer is not a list of referrers (line {line}, column {column})"))
    })?;
    for entry in index.manifests.unwrap_or_default() {
        let digest = Digest::parse(&entry.digest)
            .map_err(|_| Cause::Invalid("the list of referrers has an entry without a digest".to_owned()))?;
        let referrer = Referrer { digest, artifact_type: entry.artifact_type.unwrap_or_default() };
        if !into.contains(&referrer) {
            into.push(referrer);
        }
        if into.len() > MAX_ENTRIES {
            return Err(Cause::TooLarge(format!(
                "the list of referrers has more than {MAX_ENTRIES} entries"
            )));
        }
    }
    Ok(())
}

/// The tag under which a registry without the referrers API holds the list (distribution-spec 1.1, "Referrers Tag
/// Schema").
pub(crate) fn fallback(subject: &Digest) -> Tag {
    let (algorithm, hash) = subject.as_str().split_once(':').expect("a digest names its algorithm");
    Tag::parse(&format!("{algorithm}-{}", &hash[..MAX_HASH]))
        .expect("an algorithm, a dash and hex digits are a tag")
}

/// How much of a hash such a tag holds.
const MAX_HASH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn entries_are_read_once_each() {
        let entry = format!(r#"{{"digest":"sha256:{HEX}","artifactType":"a/b","size":7}}"#);
        let mut found = Vec::new();
        gather(&mut found, format!(r#"{{"manifests":[{entry},{entry}]}}"#).as_bytes()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].artifact_type, "a/b");
        for empty in [r#"{"manifests":null}"#, r#"{"manifests":[]}"#] {
            gather(&mut found, empty.as_bytes()).unwrap();
        }
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn what_is_no_list_or_too_long_is_an_error() {
        for body in
            ["", "[]", "[null]", "{}", "<html>", r#"{"manifests":[{}]}"#, r#"{"manifests":[{"digest":"x"}]}"#]
        {
            assert!(matches!(gather(&mut Vec::new(), body.as_bytes()), Err(Cause::Invalid(_))), "{body}");
        }
        let many: Vec<String> =
            (0..=MAX_ENTRIES).map(|n| format!(r#"{{"digest":"sha256:{n:064x}"}}"#)).collect();
        let body = format!(r#"{{"manifests":[{}]}}"#, many.join(","));
        assert!(matches!(gather(&mut Vec::new(), body.as_bytes()), Err(Cause::TooLarge(_))));
    }

    #[test]
    fn the_fallback_tag_is_that_of_the_specification() {
        let digest = Digest::parse(&format!("sha256:{HEX}")).unwrap();
        assert_eq!(fallback(&digest).as_str(), format!("sha256-{HEX}"));
        let long = Digest::parse(&format!("sha512:{HEX}{HEX}")).unwrap();
        assert_eq!(fallback(&long).as_str(), format!("sha512-{HEX}"));
    }
}
