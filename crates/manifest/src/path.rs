//! Any scalar by its path: `spec.template.spec.containers[name=app].image`.

use std::borrow::Cow;
use std::fmt;
use std::str::{CharIndices, FromStr};

use windlass_model::place::{ObjectIdentifier, Part};

use crate::declared::Standing;
use crate::frames;
use crate::refusal::{Refusal, RefusalCause};
use crate::revise::{Edited, revise, set};
use crate::spot::{Spot, identity};
use crate::tree::{Document, Documents};

/// Longer paths are refused; the deepest real ones have some 200 characters.
const MAX_PATH: usize = 4_096;

/// The way from a document's root to a node.
///
/// Keys are joined by dots; a key with a dot, a bracket or a quote stands in quotes: `data["app.yaml"]`,
/// `metadata.annotations."example.com/image"`. `[0]` is an item by position, from 0; `[name=app]` the one item that is
/// a mapping with this value. The paths of [`crate::Place::key_path`] are of this form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyPath(Vec<Step>);

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
    Item { key: String, value: String },
}

impl KeyPath {
    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The last step, if it is a key.
    pub(crate) fn last_key(&self) -> Option<&str> {
        match self.0.last()? {
            Step::Key(key) => Some(key),
            Step::Index(_) | Step::Item { .. } => None,
        }
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for step in &self.0 {
            step.push(&mut text);
        }
        f.write_str(&text)
    }
}

impl Step {
    pub(crate) fn push(&self, path: &mut String) {
        match self {
            Step::Key(key) => frames::push_key(path, Some(key)),
            Step::Index(index) => path.extend(["[", &index.to_string(), "]"]),
            Step::Item { key, value } => {
                let (key, value) = (shown_word(key, &['=', '[', ']']), shown_word(value, &['[', ']']));
                path.extend(["[", &key, "=", &value, "]"]);
            }
        }
    }
}

/// A word as the reader takes it: in quotes where it would not be read whole without them.
fn shown_word<'w>(word: &'w str, ends: &[char]) -> Cow<'w, str> {
    let plain = !word.is_empty()
        && !word.starts_with(['"', '\''])
        && !word.contains(|c: char| c.is_control() || ends.contains(&c));
    if plain { Cow::Borrowed(word) } else { Cow::Owned(format!("{word:?}")) }
}

/// A text that is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is not a path: {reason}, at character {at}")]
pub struct InvalidPath {
    path: String,
    at: usize,
    reason: &'static str,
}

impl FromStr for KeyPath {
    type Err = InvalidPath;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        let shown = || path.chars().take(80).collect();
        if path.len() > MAX_PATH {
            return Err(InvalidPath { path: shown(), at: MAX_PATH, reason: "it is too long" });
        }
        let mut reader = Reader { rest: path };
        reader.steps().map(Self).map_err(|reason| InvalidPath {
            path: shown(),
            at: path[..path.len() - reader.rest.len()].chars().count() + 1,
            reason,
        })
    }
}

struct Reader<'p> {
    rest: &'p str,
}

impl<'p> Reader<'p> {
    fn steps(&mut self) -> Result<Vec<Step>, &'static str> {
        let mut steps = Vec::new();
        while !self.rest.is_empty() {
            let dotted = self.eat('.');
            steps.push(if !dotted && self.eat('[') {
                self.bracket()?
            } else if dotted || steps.is_empty() {
                Step::Key(self.word(&['.', '[', ']'])?)
            } else {
                return Err("a `.` or a `[` should follow");
            });
        }
        if steps.is_empty() { Err("it is empty") } else { Ok(steps) }
    }

    /// What stands between `[` and `]`.
    fn bracket(&mut self) -> Result<Step, &'static str> {
        let quoted = self.rest.starts_with(['"', '\'']);
        let word = self.word(&['=', '[', ']'])?;
        let step = if self.eat('=') {
            Step::Item { key: word, value: self.word(&['[', ']'])? }
        } else if quoted {
            Step::Key(word)
        } else {
            Step::Index(word.parse().map_err(|_| "brackets take a position, `key=value` or a quoted key")?)
        };
        if self.eat(']') { Ok(step) } else { Err("a `]` should follow") }
    }

    /// A word in quotes, or one that ends before any of these characters.
    fn word(&mut self, ends: &[char]) -> Result<String, &'static str> {
        for quote in ['"', '\''] {
            if self.eat(quote) {
                return self.quoted(quote);
            }
        }
        let end = self.rest.find(|c| ends.contains(&c)).unwrap_or(self.rest.len());
        let word = self.take(end);
        if word.is_empty() {
            return Err("a key should follow");
        }
        Ok(word.to_owned())
    }

    /// The rest of a quoted word. A backslash takes the character after it as it is, except that double quotes know the
    /// escapes in which a path is shown: `\n`, `\r`, `\t`, `\0` and `\u{200b}`.
    fn quoted(&mut self, quote: char) -> Result<String, &'static str> {
        let mut word = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.take(at + 1);
                    return Ok(word);
                }
                '\\' => {
                    let escaped = chars.next().ok_or("the quote is not closed")?.1;
                    word.push(match escaped {
                        'n' if quote == '"' => '\n',
                        'r' if quote == '"' => '\r',
                        't' if quote == '"' => '\t',
                        '0' if quote == '"' => '\0',
                        'u' if quote == '"' => code_point(&mut chars)?,
                        escaped => escaped,
                    });
                }
                c => word.push(c),
            }
        }
        Err("the quote is not closed")
    }

    fn eat(&mut self, wanted: char) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn take(&mut self, bytes: usize) -> &'p str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }
}

/// The character of `{200b}`.
fn code_point(chars: &mut CharIndices<'_>) -> Result<char, &'static str> {
    const WRONG: &str = "`\\u` is followed by a character's number, as `\\u{200b}`";
    let text = chars.as_str();
    let digits = text.strip_prefix('{').and_then(|text| Some(text.split_once('}')?.0)).ok_or(WRONG)?;
    let character = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).ok_or(WRONG)?;
    chars.nth(digits.chars().count() + 1);
    Ok(character)
}

/// Which document of a file is meant: its position, from 0, or the object that it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DocumentSelector {
    /// `0`
    Position(usize),
    /// `Kind/name` or `Kind/namespace/name`
    Object {
        /// `kind`
        kind: String,
        /// `metadata.namespace`; absent where it does not matter.
        namespace: Option<String>,
        /// `metadata.name`
        name: String,
    },
}

impl DocumentSelector {
    fn selects(&self, position: usize, object: &ObjectIdentifier) -> bool {
        match self {
            Self::Position(wanted) => *wanted == position,
            Self::Object { kind, namespace, name } => {
                object.kind == *kind
                    && object.name == *name
                    && namespace.as_ref().is_none_or(|wanted| object.namespace == *wanted)
            }
        }
    }
}

impl fmt::Display for DocumentSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position(position) => write!(f, "{position}"),
            Self::Object { kind, namespace: Some(namespace), name } => write!(f, "{kind}/{namespace}/{name}"),
            Self::Object { kind, namespace: None, name } => write!(f, "{kind}/{name}"),
        }
    }
}

/// A text that selects no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no document: write its position, counted from 0, or KIND/NAME or KIND/NAMESPACE/NAME")]
pub struct InvalidSelector(String);

impl FromStr for DocumentSelector {
    type Err = InvalidSelector;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(position) = text.parse() {
            return Ok(Self::Position(position));
        }
        let parts: Vec<String> = text.split('/').map(str::to_owned).collect();
        if parts.iter().any(String::is_empty) {
            return Err(InvalidSelector(text.chars().take(80).collect()));
        }
        match <[String; 2]>::try_from(parts) {
            Ok([kind, name]) => Ok(Self::Object { kind, namespace: None, name }),
            Err(parts) => match <[String; 3]>::try_from(parts) {
                Ok([kind, namespace, name]) => Ok(Self::Object { kind, namespace: Some(namespace), name }),
                Err(_) => Err(InvalidSelector(text.chars().take(80).collect())),
            },
        }
    }
}

/// Writes `value` as the text of the scalar at `path`.
///
/// Without a selector, the path must lead to a scalar in one document only. A key without a value takes one; a key or an
/// item that is not there is refused, never added. Only the scalar's bytes change: quotes stay, and a plain scalar gets
/// double quotes where plain style would make the text another type.
pub fn edit(
    bytes: &[u8],
    document: Option<&DocumentSelector>,
    path: &KeyPath,
    value: &str,
) -> Result<Edited, Refusal> {
    revise(bytes, |text| {
        let document = meant(text, document, path)?;
        let spot = Spot::root(&document).follow(path)?;
        let there = !spot.node.is_empty() && spot.node.text() == Some(value);
        if there { Ok(None) } else { set(text, &spot, value).map(Some) }
    })
}

/// What the scalar at `path` says; refused where it could not be changed.
pub(crate) fn read(
    text: &str,
    document: Option<&DocumentSelector>,
    path: &KeyPath,
    part: Part,
) -> Result<Standing, Refusal> {
    let document = meant(text, document, path)?;
    let spot = Spot::root(&document).follow(path)?;
    spot.target()?;
    let value = spot.node.text().unwrap_or_default().to_owned();
    Ok(Standing { line: spot.node.line, part, value, object: identity(&document.root) })
}

/// The document that is meant.
fn meant<'t>(
    text: &'t str,
    selector: Option<&DocumentSelector>,
    path: &KeyPath,
) -> Result<Document<'t>, Refusal> {
    let (mut documents, mut hits) = (0, 0);
    let (mut found, mut miss) = (None, None);
    for document in Documents::new(text) {
        let is_hit = match (&document, selector) {
            (Ok(document), Some(selector)) => Ok(selector.selects(documents, &identity(&document.root))),
            (Ok(document), None) => Spot::root(document).follow(path).map(|_| true),
            // Another document may be meant, where the selector says so.
            (Err(unread), Some(_)) => Err(unread.clone().into()),
            (Err(unread), None) => return Err(unread.clone().into()),
        };
        documents += 1;
        match is_hit {
            Ok(true) => {
                hits += 1;
                found = found.or(document.ok());
            }
            Ok(false) => {}
            Err(refusal) => miss = miss.or(Some(refusal)),
        }
    }
    match (found, selector) {
        (Some(document), _) if hits == 1 => Ok(document),
        (Some(document), _) => {
            let what = selector.map_or_else(|| path.to_string(), ToString::to_string);
            Err(RefusalCause::ManyDocuments { what, documents: hits }.at(document.root.line))
        }
        (None, Some(selector)) => Err(miss
            .unwrap_or_else(|| RefusalCause::NoDocument { selector: selector.to_string(), documents }.at(1))),
        (None, None) => Err(miss.unwrap_or_else(|| RefusalCause::Empty.at(1))),
    }
}
