//! Who may have signed: issuer and subject of a certificate. The Sigstore crates compare texts only, so patterns are
//! ours. A pattern is for the whole text unless the Guard loosens it by name.

use regex::Regex;
use windlass_model::guard::{Identity, TextRule};

/// Identities of which one must match. There is always at least one.
#[derive(Debug, Clone)]
pub struct Identities(Vec<(Rule, Rule)>);

impl Identities {
    /// Compiles what a Guard states.
    pub fn new(identities: &[Identity]) -> Result<Self, IdentityError> {
        if identities.is_empty() {
            return Err(IdentityError::Empty);
        }
        let compiled =
            identities.iter().map(|wanted| Ok((Rule::new(&wanted.issuer)?, Rule::new(&wanted.subject)?)));
        compiled.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a certificate of this issuer for this subject is meant.
    pub fn admit(&self, issuer: &str, subject: &str) -> bool {
        self.0.iter().any(|(issuers, subjects)| issuers.matches(issuer) && subjects.matches(subject))
    }
}

/// Why identities cannot be compared with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// There is none, which would admit everybody.
    #[error("no identity is given, and without one anybody could sign")]
    Empty,
    /// An exact text is empty.
    #[error("an empty text matches nothing")]
    Blank,
    /// A pattern is no regular expression.
    #[error("`{expression}` is not a regular expression: {why}")]
    Pattern {
        /// As written.
        expression: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A text or a pattern, ready to compare with.
#[derive(Debug, Clone)]
pub(crate) enum Rule {
    Exact(String),
    Pattern(Regex),
}

impl Rule {
    pub(crate) fn new(rule: &TextRule) -> Result<Self, IdentityError> {
        match rule {
            TextRule::Exact(text) if text.is_empty() => Err(IdentityError::Blank),
            TextRule::Exact(text) => Ok(Self::Exact(text.clone())),
            TextRule::Pattern { expression, anchored } => {
                let compile = |text: &str| {
                    Regex::new(text).map_err(|error| IdentityError::Pattern {
                        expression: expression.clone(),
                        why: error.to_string(),
                    })
                };
                // On its own first: `a)|(b` is none, and would break out of the group.
                let alone = compile(expression)?;
                let rule = if *anchored { compile(&format!(r"\A(?:{expression})\z"))? } else { alone };
                Ok(Self::Pattern(rule))
            }
        }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Rule::Exact(wanted) => wanted == text,
            Rule::Pattern(pattern) => pattern.is_match(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(expression: &str, anchored: bool) -> TextRule {
        TextRule::Pattern { expression: expression.to_owned(), anchored }
    }

    fn admits(subject: TextRule, text: &str) -> bool {
        let issuer = TextRule::Exact("https://i".into());
        Identities::new(&[Identity { issuer, subject }]).unwrap().admit("https://i", text)
    }

    #[test]
    fn patterns_are_for_the_whole_text() {
        let acme = || pattern("https://github.com/acme/.*", true);
        assert!(admits(acme(), "https://github.com/acme/app"));
        for other in [
            "https://evil.com/?https://github.com/acme/app",
            "https://github.com/acme-evil/app",
            "https://github.com/acme/app\n",
            "https://GitHub.com/acme/app",
            "",
        ] {
            assert!(!admits(acme(), other), "{other}");
        }
        assert!(!admits(pattern("a|b", true), "ab"));
        assert!(!admits(pattern("(?m)^a$", true), "x\na"));
        assert!(admits(pattern("github.com/acme/", false), "https://evil.com/?github.com/acme/"));
    }

    #[test]
    fn exact_texts_are_equal_byte_for_byte() {
        assert!(admits(TextRule::Exact("a@b.c".into()), "a@b.c"));
        assert!(!admits(TextRule::Exact("a@b.c".into()), "a@b.c "));
        assert!(!admits(TextRule::Exact("a@b.c".into()), "A@b.c"));
    }

    #[test]
    fn the_issuer_counts_too() {
        let identity = Identity { issuer: TextRule::Exact("i".into()), subject: TextRule::Exact("s".into()) };
        let identities = Identities::new(&[identity]).unwrap();
        assert!(identities.admit("i", "s") && !identities.admit("j", "s") && !identities.admit("s", "i"));
    }

    #[test]
    fn nobody_and_broken_patterns_are_refused() {
        assert_eq!(Identities::new(&[]).unwrap_err(), IdentityError::Empty);
        let with = |subject| Identities::new(&[Identity { issuer: TextRule::Exact("i".into()), subject }]);
        assert_eq!(with(TextRule::Exact(String::new())).unwrap_err(), IdentityError::Blank);
        for expression in ["(", "a)|(b", "(?x)a # "] {
            let broken = with(pattern(expression, true));
            assert!(matches!(broken, Err(IdentityError::Pattern { .. })), "{expression}");
        }
    }
}
