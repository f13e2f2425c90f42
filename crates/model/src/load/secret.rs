//! Secret and Namespace (core `v1`). Owns how a Secret's values are stated; reading environment variables and files is
//! the binary's work, which gets [`SecretSource`]s to fulfil.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::fields::Slot;
use super::object::{FROM_ENV, FROM_FILE, Object};
use crate::name::ObjectKey;
use crate::resource::{Meta, Origin, Secret, SecretValue};

/// Longest key (Kubernetes: a ConfigMap key).
const MAX_KEY: usize = 253;
/// How SOPS marks a value (`ENC[AES256_GCM,data:…`).
const SOPS_VALUE: &str = "ENC[AES256_GCM,";

/// A value of a Secret that is kept outside of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSource {
    /// The Secret.
    pub secret: ObjectKey,
    /// The key that gets the value.
    pub key: String,
    /// Where the value is.
    pub from: SecretFrom,
    /// The annotation that says so.
    pub origin: Origin,
    /// The annotation's path.
    pub field: String,
}

/// Where a Secret's value is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretFrom {
    /// An environment variable (annotation `windlass.dev/from-env`).
    Env(String),
    /// A file (annotation `windlass.dev/from-file`); a relative path starts at the configuration directory.
    File(String),
}

/// Decodes a Secret and what it takes from elsewhere.
pub(super) fn decode(object: &Object<'_>) -> (Secret, Vec<SecretSource>) {
    let mut values = BTreeMap::new();
    if let Some(slot) = object.root.slot("data") {
        for (key, slot) in slot.pairs() {
            values.extend(decoded(key, &slot));
        }
    }
    if let Some(slot) = object.root.slot("stringData") {
        for (key, slot) in slot.pairs() {
            values.extend(plain(key, &slot));
        }
    }
    object.root.text("type");
    object.root.flag("immutable");
    let mut sources = Vec::new();
    for (annotation, from) in [
        (FROM_ENV, SecretFrom::Env as fn(String) -> SecretFrom),
        (FROM_FILE, SecretFrom::File as fn(String) -> SecretFrom),
    ] {
        if let Some(slot) = object.annotation(annotation) {
            for (key, place) in assignments(slot) {
                if values.contains_key(&key) || sources.iter().any(|source: &SecretSource| source.key == key)
                {
                    slot.error(format_args!("the key `{key}` is stated twice: keep one"));
                }
                sources.push(SecretSource {
                    secret: object.key().clone(),
                    key,
                    from: from(place),
                    origin: slot.origin(),
                    field: slot.path.clone(),
                });
            }
        }
    }
    (Secret { meta: object.meta(), values }, sources)
}

/// A Namespace is loaded for its labels alone.
pub(super) fn decode_namespace(object: &Object<'_>) -> Meta {
    object.meta()
}

/// One pair of `data`. The value is never repeated in an error.
fn decoded(key: &str, slot: &Slot<'_>) -> Option<(String, SecretValue)> {
    let text = text_of(key, slot)?;
    // As Go's decoder, which the API server uses: line breaks are skipped, nothing else is.
    let joined: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let Ok(bytes) = STANDARD.decode(joined) else {
        slot.error("is not base64: encode it, or move it to stringData");
        return None;
    };
    Some((key.to_owned(), SecretValue::new(bytes)))
}

/// One pair of `stringData`, which wins over `data`.
fn plain(key: &str, slot: &Slot<'_>) -> Option<(String, SecretValue)> {
    Some((key.to_owned(), SecretValue::new(text_of(key, slot)?.as_bytes().to_vec())))
}

fn text_of<'n>(key: &str, slot: &Slot<'n>) -> Option<&'n str> {
    check_key(key, slot)?;
    if slot.is_null() {
        return Some("");
    }
    let text = slot.text()?;
    if text.starts_with(SOPS_VALUE) {
        slot.error(super::SOPS_REFUSAL);
        return None;
    }
    Some(text)
}

fn check_key(key: &str, slot: &Slot<'_>) -> Option<()> {
    let character = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(character) {
        slot.error("is not a valid key of a Secret: letters, digits, `-`, `_` and `.`");
        return None;
    }
    Some(())
}

/// `key=PLACE,key2=PLACE2`
fn assignments(slot: &Slot<'_>) -> Vec<(String, String)> {
    let Some(text) = slot.text() else { return Vec::new() };
    let mut found = Vec::new();
    for part in text.split(',').map(str::trim) {
        let pair = part.split_once('=').map(|(key, place)| (key.trim(), place.trim()));
        match pair {
            Some((key, place)) if !place.is_empty() && !place.contains(['\0', '=']) => {
                if check_key(key, slot).is_some() {
                    found.push((key.to_owned(), place.to_owned()));
                }
            }
            _ => slot.error(
                "must be a list of key=PLACE, for example `token=WEBHOOK_TOKEN,password=GIT_PASSWORD`",
            ),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::{found, only, problems, read_text};
    use super::*;

    fn with(rest: &str) -> String {
        format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: token\n{rest}")
    }

    fn values(rest: &str) -> Vec<(String, String)> {
        let spec = only(&with(rest));
        let secret = spec.secret("default", "token").unwrap();
        secret.values.keys().map(|key| (key.clone(), secret.text(key).unwrap().to_owned())).collect()
    }

    #[test]
    fn data_is_decoded_and_string_data_wins() {
        let text = "type: Opaque\nimmutable: true\ndata:\n  a: aGVsbG8=\n  b: |\n    aGVs\n    bG8=\n  c: \
                    eA==\n  e:\nstringData:\n  c: plain\n  d: \"1234\"\n";
        let expected = [("a", "hello"), ("b", "hello"), ("c", "plain"), ("d", "1234"), ("e", "")];
        assert_eq!(values(text), expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn values_from_elsewhere_are_requests() {
        let text = with(
            "  annotations:\n    windlass.dev/from-env: \"token=TOKEN, password=PASS\"\n    windlass.dev/from-file: \
             ca.crt=/etc/ca.pem\n",
        );
        let file = read_text("s.yaml", &text);
        assert!(file.problems.is_empty(), "{:?}", file.problems);
        let sources: Vec<_> = file
            .secret_sources
            .iter()
            .map(|s| (s.secret.to_string(), s.key.as_str(), s.from.clone(), s.origin.to_string()))
            .collect();
        let secret = || "default/token".to_owned();
        assert_eq!(
            sources,
            [
                (secret(), "token", SecretFrom::Env("TOKEN".into()), "s.yaml:6".into()),
                (secret(), "password", SecretFrom::Env("PASS".into()), "s.yaml:6".into()),
                (secret(), "ca.crt", SecretFrom::File("/etc/ca.pem".into()), "s.yaml:7".into()),
            ]
        );
    }

    #[test]
    fn every_wrong_field_is_named_with_its_line() {
        let annotated = |value: &str| format!("  annotations:\n    windlass.dev/from-env: \"{value}\"\n");
        let both =
            "  annotations:\n    windlass.dev/from-env: a=A\n    windlass.dev/from-file: a=/a\n".to_owned();
        let env = "metadata.annotations.windlass.dev/from-env";
        for (rest, line, field, message) in [
            ("data:\n  a: '***'\n".into(), 6, "data.a", "is not base64"),
            ("data:\n  a: 12345678\n".into(), 6, "data.a", "put it in quotes"),
            ("data: [a]\n".into(), 5, "data", "must be a map"),
            ("stringData:\n  a: 12\n".into(), 6, "stringData.a", "put it in quotes"),
            ("stringData:\n  'a b': x\n".into(), 6, "stringData.a b", "is not a valid key"),
            ("stringdata:\n  a: x\n".into(), 5, "stringdata", "did you mean `stringData`?"),
            ("spec: {}\n".into(), 5, "spec", "is not a known field"),
            ("immutable: 'no'\n".into(), 5, "immutable", "without quotes"),
            (annotated("token"), 6, env, "list of key=PLACE"),
            (annotated(""), 6, env, "list of key=PLACE"),
            (annotated("a=B,"), 6, env, "list of key=PLACE"),
            (annotated("a b=C"), 6, env, "is not a valid key"),
            (annotated("a=B,a=C"), 6, env, "stated twice"),
            (both, 7, "metadata.annotations.windlass.dev/from-file", "stated twice"),
        ] {
            let text = with(&rest);
            assert!(found(&text, line, field, message), "{text}\n{:#?}", problems(&text));
        }
    }

    #[test]
    fn secret_values_are_never_in_problems_or_debug_output() {
        let text = with("data:\n  a: hunter2!\nstringData:\n  b: hunter2\n  c: 20260000001\n");
        let file = read_text("s.yaml", &text);
        let printed = format!("{:?} {:?}", file, problems(&text));
        assert!(!printed.contains("hunter2") && !printed.contains("20260000001"), "{printed}");
        let debug = format!("{:?}", only(&with("stringData:\n  b: hunter2\n")));
        assert!(!debug.contains("hunter2"));
    }

    #[test]
    fn encrypted_secrets_are_refused_by_name() {
        for rest in [
            "stringData:\n  a: ENC[AES256_GCM,data:x,type:str]\nsops:\n  mac: x\n",
            "data:\n  a: ENC[AES256_GCM,data:x]\n",
        ] {
            let printed = problems(&with(rest));
            assert_eq!(printed.len(), 1, "{printed:?}");
            assert!(
                printed[0].contains("Secret/default/token") && printed[0].contains("SOPS"),
                "{printed:?}"
            );
        }
    }
}
