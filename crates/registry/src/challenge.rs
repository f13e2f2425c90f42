//! Reading `WWW-Authenticate`: what a registry wants to see before it answers.
//!
//! Grammar: RFC 9110, section 11.6.1. The parser is lenient: what it does not understand it skips, because one odd
//! challenge must not hide a good one beside it.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// More challenges than any registry sends; the rest is not read.
const MAX_CHALLENGES: usize = 16;

/// How the registry wants to be addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// With a token from a token server.
    Bearer(Bearer),
    /// With a user name and a password.
    Basic,
}

/// A `Bearer` challenge (CNCF distribution, "Token Authentication Specification").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// The token server's URL, as sent.
    pub(crate) realm: String,
    /// The name under which the token server knows the registry.
    pub(crate) service: Option<String>,
}

/// The challenge to answer: `Bearer` if there is one with a realm, else `Basic`.
pub(crate) fn choose(headers: &HeaderMap) -> Option<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE);
    let parts: Vec<Part> =
        values.iter().filter_map(|value| value.to_str().ok()).flat_map(parse).take(MAX_CHALLENGES).collect();
    let bearer = parts.iter().filter(|part| part.scheme.eq_ignore_ascii_case("bearer")).find_map(|part| {
        let realm = part.parameter("realm").filter(|realm| !realm.is_empty())?;
        Some(Bearer { realm, service: part.parameter("service").filter(|service| !service.is_empty()) })
    });
    let basic =
        || parts.iter().any(|part| part.scheme.eq_ignore_ascii_case("basic")).then_some(Challenge::Basic);
    bearer.map(Challenge::Bearer).or_else(basic)
}

/// One scheme and its parameters.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Part {
    fn parameter(&self, name: &str) -> Option<String> {
        self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    }
}

fn parse(value: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut rest = value;
    while parts.len() <= MAX_CHALLENGES {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            break;
        }
        let (word, after) = token(rest);
        if word.is_empty() {
            rest = skip_one(rest);
            continue;
        }
        // A word before `=` is a parameter of the scheme before it; any other word is a scheme.
        if let Some(after) = after.trim_start().strip_prefix('=') {
            let (text, after) = parameter_value(after.trim_start());
            if let Some(part) = parts.last_mut() {
                part.parameters.push((word.to_owned(), text));
            }
            rest = after;
        } else {
            parts.push(Part { scheme: word.to_owned(), parameters: Vec::new() });
            rest = after;
        }
    }
    parts
}

/// The longest prefix of characters that a token may have (RFC 9110, section 5.6.2), and the rest.
fn token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()))
}

/// A quoted string with its escapes undone, or everything up to the next comma or blank: some registries leave the
/// quotes away, and URLs have characters that no token has.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}

fn skip_one(text: &str) -> &str {
    let mut characters = text.chars();
    characters.next();
    characters.as_str()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chosen(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        choose(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer(Bearer { realm: realm.into(), service: service.map(Into::into) })
    }

    #[test]
    fn challenges_of_real_registries_are_read() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull""#;
        assert_eq!(chosen(&[hub]), Some(bearer("https://auth.docker.io/token", Some("registry.docker.io"))));
        let ecr = r#"Basic realm="https://1.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com""#;
        assert_eq!(chosen(&[ecr]), Some(Challenge::Basic));
    }

    #[test]
    fn odd_spellings_are_understood() {
        for value in [
            r#"bearer REALM="https://r/t" , Service="s""#,
            r#"BEARER realm = "https://r/t", service = "s""#,
            r"Bearer realm=https://r/t,service=s",
            r#",, Bearer realm="https://r/t",,service="s","#,
            r#"Bearer realm="https:\/\/r\/t",service="\s""#,
            r#"Basic realm="x", Bearer realm="https://r/t",service="s""#,
            r#"Bearer realm="https://r/t",service="s", Basic realm="x""#,
            r#"Negotiate YWJj==, Bearer realm="https://r/t",service="s""#,
            r#"Digest a="1, Bearer realm=\"evil\"", Bearer realm="https://r/t",service="s""#,
        ] {
            assert_eq!(chosen(&[value]), Some(bearer("https://r/t", Some("s"))), "{value}");
        }
        assert_eq!(
            chosen(&["Basic realm=x", r#"Bearer realm="https://r/t""#]),
            Some(bearer("https://r/t", None))
        );
        assert_eq!(
            chosen(&[r#"Bearer realm="https://r/t"#]),
            Some(bearer("https://r/t", None)),
            "unclosed quote"
        );
    }

    #[test]
    fn a_bearer_challenge_without_realm_is_none() {
        assert_eq!(chosen(&["Bearer"]), None);
        assert_eq!(chosen(&[r#"Bearer realm="",service="s""#]), None);
        assert_eq!(chosen(&[r#"Bearer service="s", Basic realm="x""#]), Some(Challenge::Basic));
        for nothing in ["", "Negotiate", "=", "\"", "realm=\"x\""] {
            assert_eq!(chosen(&[nothing]), None, "{nothing}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(value in "[ -~]{0,200}") {
            let _ = parse(&value);
        }

        #[test]
        fn any_quoted_realm_is_read_back(realm in "[ -~]{1,80}") {
            let escaped = realm.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(chosen(&[&format!("Bearer realm=\"{escaped}\"")]), Some(bearer(&realm, None)));
        }
    }
}
