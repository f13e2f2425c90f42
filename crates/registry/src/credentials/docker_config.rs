//! Docker's configuration file as Kubernetes stores it: which of its entries is for an image.
//!
//! Both forms are read: `kubernetes.io/dockerconfigjson` (`{"auths": {…}}`) and the legacy `kubernetes.io/dockercfg`
//! (the entries alone). Matching follows the kubelet (kubernetes, "Pull an Image from a Private Registry",
//! "Interpretation of config.json").

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::Value;
use windlass_model::ImageName;
use windlass_model::image::canonical_registry;
use windlass_model::resource::SecretValue;

use super::Credentials;

/// Largest configuration, in bytes: Kubernetes' own limit for a Secret.
const MAX_BYTES: usize = 1 << 20;
/// `auth` is written with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a docker configuration gives no answer. The text never quotes the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// Past the size limit.
    #[error("the docker configuration is larger than 1 MiB")]
    TooLarge,
    /// Not JSON, or not an object.
    #[error("the docker configuration is not a JSON object with `auths` (line {line}, column {column})")]
    Json {
        /// One-based.
        line: usize,
        /// One-based.
        column: usize,
    },
    /// The entry for the image is malformed.
    #[error("the entry `{key}` of the docker configuration is unusable: {why}")]
    Entry {
        /// The entry's key: a registry or a path in it.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// The credentials for an image, or `None` where the configuration has none.
///
/// Keys may carry a scheme, `/v1/` or `/v2/`, a port, a path and globs (`*`, `?`) within one label of the host. Ports
/// must be equal. Docker Hub's names are one. Of several matches the longest path wins, then a host without glob, then
/// the bytewise first key. `credHelpers` and `credsStore` are never executed; if only they are left, a warning is logged.
pub fn from_docker_config(json: &[u8], image: &ImageName) -> Result<Option<Credentials>, CredentialsError> {
    if json.len() > MAX_BYTES {
        return Err(CredentialsError::TooLarge);
    }
    let config = Config::read(json)?;
    let mut matches: Vec<(&String, Pattern)> = config
        .entries
        .keys()
        .map(|key| (key, Pattern::parse(key)))
        .filter(|(_, pattern)| pattern.matches(image))
        .collect();
    // The map is sorted and the sort is stable, so that the last tie goes to the bytewise first key.
    matches.sort_by_key(|(_, pattern)| (std::cmp::Reverse(pattern.path.len()), pattern.has_glob()));
    for (key, _) in matches {
        let unusable = |why| CredentialsError::Entry { key: key.clone(), why };
        let entry =
            Entry::deserialize(&config.entries[key]).map_err(|_| unusable("its fields must be strings"))?;
        if let Some(credentials) = entry.credentials().map_err(unusable)? {
            return Ok(Some(credentials));
        }
    }
    if let Some(helper) = config.helper(image) {
        tracing::warn!(
            image = %image,
            helper,
            "the docker configuration has only a credential helper for this registry; helpers are never executed, so \
             put a user name and a password into the Secret"
        );
    }
    Ok(None)
}

/// A configuration of either form.
#[derive(Default)]
struct Config {
    entries: BTreeMap<String, Value>,
    helpers: BTreeMap<String, Value>,
    store: Option<String>,
}

impl Config {
    fn read(json: &[u8]) -> Result<Self, CredentialsError> {
        let mut fields: BTreeMap<String, Value> = serde_json::from_slice(json)
            .map_err(|error| CredentialsError::Json { line: error.line(), column: error.column() })?;
        let is_legacy = !["auths", "credHelpers", "credsStore"].iter().any(|key| fields.contains_key(*key));
        if is_legacy {
            return Ok(Self { entries: fields, ..Self::default() });
        }
        let mut object = |key: &str, why: &'static str| match fields.remove(key) {
            None | Some(Value::Null) => Ok(BTreeMap::new()),
            Some(Value::Object(entries)) => Ok(entries.into_iter().collect()),
            Some(_) => Err(CredentialsError::Entry { key: key.to_owned(), why }),
        };
        let entries = object("auths", "it must be an object")?;
        let helpers = object("credHelpers", "it must be an object")?;
        let store = fields.get("credsStore").and_then(Value::as_str).filter(|store| !store.is_empty());
        Ok(Self { entries, helpers, store: store.map(str::to_owned) })
    }

    /// The helper that docker would have run for this image.
    fn helper(&self, image: &ImageName) -> Option<&str> {
        let own = self.helpers.iter().find(|(key, _)| Pattern::parse(key).matches(image));
        own.and_then(|(_, helper)| helper.as_str()).or(self.store.as_deref())
    }
}

/// One entry. Unknown fields (`email`) do not matter.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl Entry {
    /// `None` for an entry without content, as docker leaves one behind where a helper keeps the secret.
    fn credentials(self) -> Result<Option<Credentials>, &'static str> {
        let secret = |text: Option<String>| {
            text.filter(|text| !text.is_empty()).map(|text| SecretValue::new(text.into_bytes()))
        };
        let (mut username, mut password) = (self.username.unwrap_or_default(), secret(self.password));
        // As in the kubelet, `auth` replaces the two fields.
        if let Some(auth) = self.auth.filter(|auth| !auth.is_empty()) {
            let (name, word) = decode(&auth)?;
            (username, password) = (name, Some(word));
        }
        if let Some(token) = secret(self.registrytoken) {
            return Ok(Some(Credentials::RegistryToken(token)));
        }
        if let Some(token) = secret(self.identitytoken) {
            return Ok(Some(Credentials::Identity { username, token }));
        }
        match password {
            Some(password) => Ok(Some(Credentials::Basic { username, password })),
            None if username.is_empty() => Ok(None),
            None => Err("it has a username without a password"),
        }
    }
}

/// `auth`: base64 of `username:password`.
fn decode(auth: &str) -> Result<(String, SecretValue), &'static str> {
    let pair = BASE64.decode(auth.trim()).map_err(|_| "`auth` is not base64")?;
    let colon =
        pair.iter().position(|b| *b == b':').ok_or("`auth` has no colon between user name and password")?;
    let username = std::str::from_utf8(&pair[..colon]).map_err(|_| "`auth` is not UTF-8")?.to_owned();
    Ok((username, SecretValue::new(pair[colon + 1..].to_vec())))
}

/// A key, taken apart.
struct Pattern {
    labels: Vec<String>,
    port: Option<String>,
    /// Empty, or `/` and the beginning of a repository.
    path: String,
}

impl Pattern {
    fn parse(key: &str) -> Self {
        let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
        let (host, path) = key.split_at(key.find('/').unwrap_or(key.len()));
        // Docker's own keys end in the API's version, which means the host alone.
        let path = match path.strip_prefix("/v1/").or_else(|| path.strip_prefix("/v2/")) {
            Some(rest) => format!("/{rest}"),
            None => path.to_owned(),
        };
        let (labels, port) = split_host(&canonical_registry(host));
        Self { labels, port, path: if path == "/" { String::new() } else { path } }
    }

    /// The kubelet's rule, to the letter: the path is a prefix of characters, not of components.
    fn matches(&self, image: &ImageName) -> bool {
        let (labels, port) = split_host(image.registry());
        self.port == port
            && self.labels.len() == labels.len()
            && self
                .labels
                .iter()
                .zip(&labels)
                .all(|(pattern, label)| glob(pattern.as_bytes(), label.as_bytes()))
            && format!("/{}", image.repository()).starts_with(&self.path)
    }

    fn has_glob(&self) -> bool {
        self.labels.iter().any(|label| label.contains(['*', '?']))
    }
}

fn split_host(host: &str) -> (Vec<String>, Option<String>) {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port.to_owned())),
        _ => (host, None),
    };
    (name.split('.').map(str::to_owned).collect(), port)
}

/// `*` stands for any run of characters, `?` for one. Linear in the label for each star: only the last one backtracks.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD as ENCODER;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn lookup(config: &Value, image: &str) -> Result<Option<Credentials>, CredentialsError> {
        from_docker_config(config.to_string().as_bytes(), &ImageName::parse(image).unwrap())
    }

    fn secret(text: &str) -> SecretValue {
        SecretValue::new(text.as_bytes().to_vec())
    }

    /// The password found, with entries whose password is their own key.
    fn found(keys: &[&str], image: &str) -> Option<String> {
        let auths: serde_json::Map<String, Value> =
            keys.iter().map(|key| ((*key).to_owned(), json!({"username": "u", "password": key}))).collect();
        match lookup(&json!({ "auths": auths }), image).unwrap()? {
            Credentials::Basic { password, .. } => {
                Some(String::from_utf8(password.expose().to_vec()).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_match_as_in_the_kubelet() {
        for (key, image) in [
            ("ghcr.io", "ghcr.io/org/app"),
            ("https://ghcr.io", "ghcr.io/org/app"),
            ("http://GHCR.io/", "ghcr.io/org/app"),
            ("https://ghcr.io/v2/", "ghcr.io/org/app"),
            ("ghcr.io/v1/org", "ghcr.io/org/app"),
            ("ghcr.io/org", "ghcr.io/org/app"),
            ("ghcr.io/org/app", "ghcr.io/org/app"),
            ("ghcr.io/or", "ghcr.io/org/app"),
            ("*.azurecr.io", "team.azurecr.io/app"),
            ("*.dkr.ecr.*.amazonaws.com", "1234.dkr.ecr.eu-west-1.amazonaws.com/app"),
            ("re?.example:5000/team", "reg.example:5000/team/app"),
            ("[::1]:5000", "[::1]:5000/app"),
            ("https://index.docker.io/v1/", "alpine"),
            ("docker.io", "org/app"),
            ("registry-1.docker.io", "docker.io/library/alpine"),
            ("index.docker.io/library", "alpine"),
        ] {
            assert_eq!(found(&[key], image).as_deref(), Some(key), "{key} {image}");
        }
        for (key, image) in [
            ("ghcr.io", "quay.io/org/app"),
            ("ghcr.io:443", "ghcr.io/org/app"),
            ("ghcr.io", "ghcr.io:443/org/app"),
            ("ghcr.io/other", "ghcr.io/org/app"),
            ("*.io", "a.ghcr.io/app"),
            ("*", "ghcr.io/org/app"),
            ("ghcr.io.evil.example", "ghcr.io/org/app"),
            ("", "ghcr.io/org/app"),
        ] {
            assert_eq!(found(&[key], image), None, "{key} {image}");
        }
    }

    #[test]
    fn the_most_specific_key_wins() {
        let keys =
            ["*.example/team/app", "reg.example", "reg.example/team", "*.example", "reg.example/team/other"];
        assert_eq!(found(&keys, "reg.example/team/app").unwrap(), "*.example/team/app");
        assert_eq!(found(&keys, "reg.example/team/else").unwrap(), "reg.example/team");
        assert_eq!(found(&keys, "reg.example/x").unwrap(), "reg.example");
        assert_eq!(found(&keys, "other.example/x").unwrap(), "*.example");
    }

    #[test]
    fn every_kind_of_entry_is_read() {
        let auth = ENCODER.encode("robot$team+ci:p:w");
        let basic = |username: &str, password: &str| {
            Some(Credentials::Basic { username: username.into(), password: secret(password) })
        };
        for (entry, wanted) in [
            (json!({"auth": auth}), basic("robot$team+ci", "p:w")),
            (json!({"auth": auth.trim_end_matches('=')}), basic("robot$team+ci", "p:w")),
            (
                json!({"auth": auth, "username": "x", "password": "y", "email": 7}),
                basic("robot$team+ci", "p:w"),
            ),
            (json!({"username": "u", "password": "pw"}), basic("u", "pw")),
            (json!({"username": "u", "password": "pw", "auth": ""}), basic("u", "pw")),
            (
                json!({"auth": ENCODER.encode("00000000-0000:"), "identitytoken": "it"}),
                Some(Credentials::Identity { username: "00000000-0000".into(), token: secret("it") }),
            ),
            (
                json!({"identitytoken": "it", "registrytoken": "rt"}),
                Some(Credentials::RegistryToken(secret("rt"))),
            ),
            (json!({}), None),
            (json!({"auth": null}), None),
        ] {
            assert_eq!(lookup(&json!({"auths": {"a.b": entry}}), "a.b/c").unwrap(), wanted, "{entry}");
            assert_eq!(lookup(&json!({"a.b": entry}), "a.b/c").unwrap(), wanted, "legacy {entry}");
        }
    }

    #[test]
    fn an_empty_entry_lets_the_next_match_speak_and_helpers_are_not_run() {
        let config = json!({"auths": {"a.b/c": {}, "a.b": {"username": "u", "password": "p"}}, "credsStore": "desktop"});
        assert!(lookup(&config, "a.b/c").unwrap().is_some());
        for config in [
            json!({"credsStore": "desktop"}),
            json!({"auths": {"a.b": {}}, "credHelpers": {"a.b": "ecr-login"}}),
            json!({"auths": null, "credHelpers": {"other.example": "gcloud"}}),
            json!({}),
        ] {
            assert_eq!(lookup(&config, "a.b/c").unwrap(), None, "{config}");
        }
    }

    #[test]
    fn bad_entries_are_named_without_their_content_and_only_where_they_matter() {
        for (entry, why) in [
            (json!({"auth": "hunter22!"}), "not base64"),
            (json!({"auth": ENCODER.encode("hunter22")}), "no colon"),
            (json!({"auth": ENCODER.encode(b"\xff:hunter22")}), "not UTF-8"),
            (json!({"auth": {"hunter22": 1}}), "must be strings"),
            (json!("hunter22"), "must be strings"),
            (json!({"username": "hunter22"}), "without a password"),
        ] {
            let config = json!({"auths": {"a.b": entry}});
            let error = lookup(&config, "a.b/c").unwrap_err().to_string();
            assert!(error.contains("`a.b`") && error.contains(why) && !error.contains("hunter22"), "{error}");
            assert_eq!(lookup(&config, "other.example/c").unwrap(), None);
        }
        for bad in ["", "hunter22", "[]", "{\"auths\":", "7"] {
            let error = from_docker_config(bad.as_bytes(), &ImageName::parse("a.b/c").unwrap()).unwrap_err();
            assert!(matches!(error, CredentialsError::Json { .. }), "{bad}");
            assert!(!error.to_string().contains("hunter22"));
        }
        assert!(matches!(lookup(&json!({"auths": []}), "a.b/c"), Err(CredentialsError::Entry { .. })));
        let huge = vec![b' '; MAX_BYTES + 1];
        let image = ImageName::parse("a.b/c").unwrap();
        assert_eq!(from_docker_config(&huge, &image), Err(CredentialsError::TooLarge));
    }

    proptest! {
        #[test]
        fn nothing_panics(key in "\\PC{0,40}", auth in "\\PC{0,40}", raw in any::<Vec<u8>>()) {
            let image = ImageName::parse("reg.example:5000/team/app").unwrap();
            let _ = from_docker_config(&raw, &image);
            let _ = from_docker_config(json!({"auths": {key: {"auth": auth}}}).to_string().as_bytes(), &image);
        }

        #[test]
        fn a_star_matches_what_it_replaces(head in "[a-z]{0,5}", middle in "[a-z]{0,5}", tail in "[a-z]{0,5}") {
            let text = format!("{head}{middle}{tail}");
            let pattern = format!("{head}*{tail}");
            prop_assert!(glob(pattern.as_bytes(), text.as_bytes()));
            let longer = format!("{text}?");
            prop_assert!(!glob(longer.as_bytes(), text.as_bytes()));
        }
    }
}
