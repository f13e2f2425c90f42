//! Trusted identities: names of signers as a trust policy writes them (Notary Project, "Trusted Identities
//! Constraints"), compared with a certificate's subject.

use std::collections::BTreeMap;
use std::fmt;

use x509_cert::der::Tagged as _;
use x509_cert::der::asn1::Any;
use x509_cert::der::{Tag, oid::ObjectIdentifier};
use x509_cert::name::Name;

use super::NotationError;

/// The attributes that may be named, with their object identifiers (RFC 4519).
const ATTRIBUTES: [(&str, &str); 9] = [
    ("C", "2.5.4.6"),
    ("ST", "2.5.4.8"),
    ("L", "2.5.4.7"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("CN", "2.5.4.3"),
    ("STREET", "2.5.4.9"),
    ("POSTALCODE", "2.5.4.17"),
    ("SERIALNUMBER", "2.5.4.5"),
];
/// Every identity names at least these.
const NEEDED: [&str; 3] = ["C", "ST", "O"];
const PREFIX: &str = "x509.subject:";

/// Who may have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identities {
    /// `*`: whoever has a certificate of a trusted authority.
    Any,
    /// Whoever has all attributes of one of these.
    Subjects(Vec<Subject>),
}

/// Attributes and their values, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject(BTreeMap<&'static str, String>);

impl Identities {
    pub(super) fn read(texts: &[String]) -> Result<Self, NotationError> {
        if texts == ["*"] {
            return Ok(Self::Any);
        }
        if texts.is_empty() {
            return Err(NotationError::Identity { text: String::new(), why: "there is none" });
        }
        let subjects: Vec<Subject> =
            texts.iter().map(|text| Subject::read(text)).collect::<Result<_, _>>()?;
        for (at, one) in subjects.iter().enumerate() {
            if let Some(other) = subjects[at + 1..].iter().find(|other| one.overlaps(other)) {
                return Err(NotationError::Overlap(one.to_string(), other.to_string()));
            }
        }
        Ok(Self::Subjects(subjects))
    }

    pub(super) fn admit(&self, name: &Name) -> bool {
        match self {
            Self::Any => true,
            Self::Subjects(subjects) => subjects.iter().any(|subject| subject.matches(name)),
        }
    }
}

impl Subject {
    fn read(text: &str) -> Result<Self, NotationError> {
        let wrong = |why| NotationError::Identity { text: text.to_owned(), why };
        let rest = text
            .strip_prefix(PREFIX)
            .ok_or_else(|| wrong("it starts with neither `x509.subject:` nor is `*`"))?;
        let mut attributes = BTreeMap::new();
        for part in split(rest) {
            let (name, value) = part.split_once('=').ok_or_else(|| wrong("a part has no `=`"))?;
            let name = match name.trim().to_ascii_uppercase() {
                short if short == "S" => "ST".to_owned(),
                name => name,
            };
            let known = ATTRIBUTES.iter().find(|(known, _)| *known == name);
            let (known, _) = known.ok_or_else(|| wrong("an attribute is not known"))?;
            let value = unescape(value).ok_or_else(|| wrong("a value is not escaped as it should be"))?;
            if value.is_empty() {
                return Err(wrong("a value is empty"));
            }
            if attributes.insert(*known, value).is_some() {
                return Err(wrong("an attribute is named twice"));
            }
        }
        if NEEDED.iter().any(|needed| !attributes.contains_key(needed)) {
            return Err(wrong("it must name at least `C`, `ST` and `O`"));
        }
        Ok(Self(attributes))
    }

    /// Whether there could be a certificate for both.
    fn overlaps(&self, other: &Self) -> bool {
        let within = |a: &Self, b: &Self| a.0.iter().all(|(name, value)| b.0.get(name) == Some(value));
        within(self, other) || within(other, self)
    }

    /// Whether a name has each attribute exactly once, with this value.
    fn matches(&self, name: &Name) -> bool {
        self.0.iter().all(|(attribute, wanted)| {
            let mut values = ATTRIBUTES
                .iter()
                .filter(|(known, _)| known == attribute)
                .flat_map(|(_, identifier)| values_of(name, identifier));
            match (values.next(), values.next()) {
                (Some(found), None) => found.as_deref() == Some(wanted),
                _ => false,
            }
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        f.write_str(&parts.join(", "))
    }
}

/// The values of one attribute; nothing for a value that is no readable text.
fn values_of(name: &Name, identifier: &str) -> Vec<Option<String>> {
    let Ok(identifier) = ObjectIdentifier::new(identifier) else { return Vec::new() };
    let attributes = name.0.iter().flat_map(|part| part.0.iter());
    attributes
        .filter(|attribute| attribute.oid == identifier)
        .map(|attribute| text(&attribute.value))
        .collect()
}

fn text(value: &Any) -> Option<String> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => {
            std::str::from_utf8(value.value()).ok().map(str::to_owned)
        }
        _ => None,
    }
}

/// The parts between commas that are not escaped.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// A value without its escapes and without the spaces around it that are not escaped.
fn unescape(text: &str) -> Option<String> {
    let mut value = String::new();
    let mut kept = 0;
    let mut chars = text.trim_start().chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                value.push(chars.next().filter(|c| " ,;\\+=\"<>#".contains(*c))?);
                kept = value.len();
            }
            ';' => return None,
            ' ' => value.push(' '),
            other => {
                value.push(other);
                kept = value.len();
            }
        }
    }
    value.truncate(kept);
    Some(value)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    fn read(texts: &[&str]) -> Result<Identities, NotationError> {
        Identities::read(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    fn admits(identity: &str, name: &str) -> bool {
        read(&[identity]).unwrap().admit(&Name::from_str(name).unwrap())
    }

    #[test]
    fn a_subject_has_each_attribute_that_is_named() {
        let identity = "x509.subject: C=US, ST=WA, O=acme, CN=ci";
        assert!(admits(identity, "CN=ci,OU=build,O=acme,ST=WA,C=US"));
        assert!(admits("x509.subject:c=US,S=WA,o=acme", "CN=any,O=acme,ST=WA,C=US"));
        for other in [
            "CN=ci,O=acme,ST=WA",
            "CN=CI,O=acme,ST=WA,C=US",
            "CN=ci,O=acme-evil,ST=WA,C=US",
            "CN=ci,O=acme,O=evil,ST=WA,C=US",
            "CN=ci,OU=acme,ST=WA,C=US",
            "CN=ci",
        ] {
            assert!(!admits(identity, other), "{other}");
        }
        assert!(read(&["*"]).unwrap().admit(&Name::default()));
    }

    #[test]
    fn escapes_are_read() {
        let identity = Subject::read(r"x509.subject: C=US, ST=WA, O=Acme\, Inc.\ , CN=a\\b ").unwrap();
        assert_eq!(identity.0["O"], "Acme, Inc. ");
        assert_eq!(identity.0["CN"], r"a\b");
    }

    #[test]
    fn what_is_no_identity_is_refused() {
        for text in [
            "",
            "acme",
            "x509.subject:",
            "x509.subject: C=US, ST=WA",
            "x509.subject: C=US, ST=WA, O=",
            "x509.subject: C=US, ST=WA, O=a, O=b",
            "x509.subject: C=US, ST=WA, O=a, XX=b",
            "x509.subject: C=US, ST=WA, O=a;b",
            r"x509.subject: C=US, ST=WA, O=a\",
            "x509.san: C=US, ST=WA, O=a",
        ] {
            assert!(matches!(read(&[text]), Err(NotationError::Identity { .. })), "{text}");
        }
        assert!(read(&[]).is_err() && read(&["*", "*"]).is_err());
        let (wide, narrow) = ("x509.subject: C=US, ST=WA, O=a", "x509.subject: C=US, ST=WA, O=a, OU=b");
        assert!(matches!(read(&[wide, narrow]), Err(NotationError::Overlap(..))));
        assert!(matches!(read(&[narrow, wide]), Err(NotationError::Overlap(..))));
        assert!(read(&[narrow, "x509.subject: C=US, ST=WA, O=a, OU=c"]).is_ok());
    }
}
