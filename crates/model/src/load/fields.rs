//! Reads fields out of nodes and collects every problem on the way. Owns types, required fields, unknown fields and
//! the wording of their problems; what a field means is the kinds' business.
//!
//! A decoder asks for all fields first and builds its resource last, so that one bad field hides no other.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::duration::{self, Units};
use super::nearest::nearest;
use super::node::{Entry, Node, Value};
use super::problem::{Problem, Severity};
use super::scalar::{Plain, classify};
use crate::name::ObjectRef;
use crate::resource::{Origin, Unsupported};

/// Most problems that one object reports; a person repairs the first ones and looks again.
const MAX_PROBLEMS: usize = 100;
/// Longest excerpt of a value in a message.
const MAX_SHOWN: usize = 80;

/// What one object's decoding finds.
pub(super) struct Sink {
    file: Arc<str>,
    object: Option<ObjectRef>,
    problems: RefCell<Vec<Problem>>,
    unsupported: RefCell<Vec<Unsupported>>,
    places: RefCell<BTreeMap<String, usize>>,
    failed: Cell<bool>,
}

impl Sink {
    pub(super) fn new(file: Arc<str>, object: Option<ObjectRef>) -> Self {
        Self {
            file,
            object,
            problems: RefCell::default(),
            unsupported: RefCell::default(),
            places: RefCell::default(),
            failed: Cell::new(false),
        }
    }

    /// Whether further problems are dropped.
    fn is_full(&self) -> bool {
        self.problems.borrow().len() >= MAX_PROBLEMS
    }

    /// Whether an error was found.
    pub(super) fn failed(&self) -> bool {
        self.failed.get()
    }

    pub(super) fn report(&self, severity: Severity, line: usize, field: &str, message: impl fmt::Display) {
        self.failed.set(self.failed.get() || severity == Severity::Error);
        let mut problems = self.problems.borrow_mut();
        if problems.len() >= MAX_PROBLEMS {
            return;
        }
        let last = problems.len() + 1 == MAX_PROBLEMS;
        problems.push(Problem {
            origin: Origin { file: Arc::clone(&self.file), line },
            severity,
            object: self.object.clone(),
            field: field.to_owned(),
            message: if last {
                format!("{message}; more problems are not shown")
            } else {
                message.to_string()
            },
        });
    }

    /// The fields so far that this version does not act on.
    pub(super) fn unsupported(&self) -> Vec<Unsupported> {
        self.unsupported.borrow().clone()
    }

    /// The problems, and the lines of the fields that checks between objects may name.
    pub(super) fn into_parts(self) -> (Vec<Problem>, BTreeMap<String, usize>) {
        (self.problems.into_inner(), self.places.into_inner())
    }
}

/// One value with its path and line.
#[derive(Clone)]
pub(super) struct Slot<'n> {
    pub(super) node: &'n Node,
    pub(super) path: String,
    line: usize,
    sink: &'n Sink,
}

impl<'n> Slot<'n> {
    pub(super) fn new(node: &'n Node, path: String, line: usize, sink: &'n Sink) -> Self {
        Self { node, path, line, sink }
    }

    pub(super) fn error(&self, message: impl fmt::Display) {
        self.sink.report(Severity::Error, self.line, &self.path, message);
    }

    pub(super) fn warning(&self, message: impl fmt::Display) {
        self.sink.report(Severity::Warning, self.line, &self.path, message);
    }

    /// Records that this field is valid and that this version does not act on it.
    pub(super) fn unsupported(&self, why: impl fmt::Display) {
        self.remember_place();
        let unsupported = Unsupported { field: self.path.clone(), why: why.to_string() };
        self.sink.unsupported.borrow_mut().push(unsupported);
    }

    /// Keeps the line for checks that know only the field's path.
    pub(super) fn remember_place(&self) {
        self.sink.places.borrow_mut().insert(self.path.clone(), self.line);
    }

    /// Passes a result on and reports its error here.
    pub(super) fn check<T, E: fmt::Display>(&self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.error(error)).ok()
    }

    /// A string. What Kubernetes would read as a number or a boolean is an error, not a guess.
    pub(super) fn text(&self) -> Option<&'n str> {
        let Value::Scalar { text, plain } = &self.node.value else {
            self.wrong_type("a string");
            return None;
        };
        let found = match if *plain { classify(text) } else { Plain::Text } {
            Plain::Text => return Some(text),
            Plain::Null => "empty",
            Plain::Number => "a number",
            Plain::Bool(_) => "a boolean",
            Plain::Disputed => "a boolean in YAML 1.1",
        };
        self.error(format_args!("must be a string and is {found}: put it in quotes"));
        None
    }

    /// A string of at least one character.
    pub(super) fn filled_text(&self) -> Option<&'n str> {
        let text = self.text()?;
        if text.is_empty() {
            self.error("must not be empty");
            return None;
        }
        Some(text)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        if let Value::Scalar { text, plain: true } = &self.node.value
            && let Plain::Bool(value) = classify(text)
        {
            return Some(value);
        }
        self.wrong_type("`true` or `false`, without quotes");
        None
    }

    /// A duration of more than zero.
    pub(super) fn duration(&self, units: Units) -> Option<Duration> {
        self.check(duration::parse(self.text()?, units))
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, allowed: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = allowed.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words = quoted(allowed.iter().map(|(word, _)| *word));
            self.error(format_args!("`{}` is not one of {words}", shown(text)));
        }
        found
    }

    /// The items of a list of at most `max` items.
    pub(super) fn list(&self, max: usize) -> Option<Vec<Slot<'n>>> {
        let Value::Seq(items) = &self.node.value else {
            self.wrong_type("a list");
            return None;
        };
        if items.len() > max {
            self.error(format_args!("has {} items; at most {max} are allowed", items.len()));
            return None;
        }
        let item = |(at, node): (usize, &'n Node)| Slot {
            node,
            path: format!("{}[{at}]", self.path),
            line: node.line,
            sink: self.sink,
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// A list of non-empty strings.
    pub(super) fn texts(&self, max: usize) -> Vec<String> {
        self.list(max).unwrap_or_default().iter().filter_map(Slot::filled_text).map(str::to_owned).collect()
    }

    /// A map of strings to strings.
    pub(super) fn text_map(&self) -> BTreeMap<String, String> {
        self.pairs()
            .into_iter()
            .filter_map(|(key, slot)| {
                let empty = slot.is_null().then_some("");
                Some((key.to_owned(), empty.or_else(|| slot.text())?.to_owned()))
            })
            .collect()
    }

    /// The pairs of a map whose keys are the user's own.
    pub(super) fn pairs(&self) -> Vec<(&'n str, Slot<'n>)> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong_type("a map");
            return Vec::new();
        };
        let pair = |entry: &'n Entry| {
            let path = format!("{}.{}", self.path, entry.key);
            (entry.key.as_str(), Slot { node: &entry.value, path, line: entry.line, sink: self.sink })
        };
        entries.iter().map(pair).collect()
    }

    /// The fields of a map; a field that is not `known` is an error.
    pub(super) fn fields(&self, known: &[&str]) -> Option<Fields<'n>> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong_type("a map");
            return None;
        };
        let fields = Fields { sink: self.sink, path: self.path.clone(), line: self.line, entries };
        for entry in entries {
            if !known.contains(&entry.key.as_str()) && !self.sink.is_full() {
                let hint = match nearest(&entry.key, known) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("known here: {}", quoted(known.iter().copied())),
                };
                let path = fields.path_of(&shown(&entry.key));
                self.sink.report(
                    Severity::Error,
                    entry.line,
                    &path,
                    format_args!("is not a known field; {hint}"),
                );
            }
        }
        Some(fields)
    }

    /// The fields of a map of which only some concern us.
    pub(super) fn open_fields(&self) -> Option<Fields<'n>> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong_type("a map");
            return None;
        };
        Some(Fields { sink: self.sink, path: self.path.clone(), line: self.line, entries })
    }

    /// The name in a `{name: …}` reference to an object of the same namespace.
    pub(super) fn local_reference(&self) -> Option<String> {
        let name = self.fields(&["name"])?.required("name")?;
        name.remember_place();
        name.filled_text().map(str::to_owned)
    }

    /// Whether the value is YAML's null.
    pub(super) fn is_null(&self) -> bool {
        is_null(self.node)
    }

    /// The line that is reported.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The node that this one's text is when it is read as YAML.
    pub(super) fn within<'m>(&'m self, node: &'m Node) -> Slot<'m> {
        Slot { node, path: self.path.clone(), line: node.line, sink: self.sink }
    }

    /// Where the field is written.
    pub(super) fn origin(&self) -> Origin {
        Origin { file: Arc::clone(&self.sink.file), line: self.line }
    }

    fn wrong_type(&self, wanted: &str) {
        let found = match &self.node.value {
            Value::Seq(_) => "a list",
            Value::Map(_) => "a map",
            Value::Scalar { text, plain: true } => match classify(text) {
                Plain::Null => "empty",
                Plain::Bool(_) => "a boolean",
                Plain::Disputed => "a boolean in YAML 1.1 alone",
                Plain::Number => "a number",
                Plain::Text => "a string",
            },
            Value::Scalar { .. } => "a string",
        };
        self.error(format_args!("must be {wanted} and is {found}"));
    }
}

/// The fields of one map.
pub(super) struct Fields<'n> {
    sink: &'n Sink,
    path: String,
    line: usize,
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    /// A field's value. `null` is the same as nothing, as in Kubernetes.
    pub(super) fn slot(&self, name: &str) -> Option<Slot<'n>> {
        let entry = self.entries.iter().find(|entry| entry.key == name && !is_null(&entry.value))?;
        Some(Slot { node: &entry.value, path: self.path_of(name), line: entry.line, sink: self.sink })
    }

    /// A field's value; its absence is an error.
    pub(super) fn required(&self, name: &str) -> Option<Slot<'n>> {
        let slot = self.slot(name);
        if slot.is_none() {
            self.sink.report(Severity::Error, self.line, &self.path_of(name), "is required");
        }
        slot
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.slot(name).is_some()
    }

    /// `false` where the field is absent.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.slot(name).and_then(|slot| slot.flag()).unwrap_or_default()
    }

    pub(super) fn duration(&self, name: &str, units: Units) -> Option<Duration> {
        self.slot(name)?.duration(units)
    }

    pub(super) fn text(&self, name: &str) -> Option<&'n str> {
        self.slot(name)?.text()
    }

    pub(super) fn text_map(&self, name: &str) -> BTreeMap<String, String> {
        self.slot(name).map(|slot| slot.text_map()).unwrap_or_default()
    }

    pub(super) fn texts(&self, name: &str, max: usize) -> Vec<String> {
        self.slot(name).map(|slot| slot.texts(max)).unwrap_or_default()
    }

    pub(super) fn local_reference(&self, name: &str) -> Option<String> {
        self.slot(name)?.local_reference()
    }

    pub(super) fn fields(&self, name: &str, known: &[&str]) -> Option<Fields<'n>> {
        self.slot(name)?.fields(known)
    }

    /// Reports an error about this map itself.
    pub(super) fn error(&self, message: impl fmt::Display) {
        self.sink.report(Severity::Error, self.line, &self.path, message);
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

fn is_null(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar { text, plain: true } if classify(text) == Plain::Null)
}

/// An excerpt of a value that is safe to print: one line, bounded.
pub(super) fn shown(text: &str) -> String {
    let mut out: String =
        text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        out.push('…');
    }
    out
}

/// `` `a`, `b`, `c` ``
pub(super) fn quoted<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::node::Documents;
    use super::*;

    /// Decodes `text` as a map with these known fields and returns `line field: message` of every problem.
    fn problems(text: &str, known: &[&str], read: impl FnOnce(&Fields<'_>)) -> Vec<String> {
        let document = Documents::new(text).next().unwrap().unwrap();
        let sink = Sink::new("f.yaml".into(), None);
        if let Some(fields) = Slot::new(&document.root, "spec".into(), 1, &sink).fields(known) {
            read(&fields);
        }
        let (problems, _) = sink.into_parts();
        problems.iter().map(|p| format!("{} {}: {}", p.origin.line, p.field, p.message)).collect()
    }

    #[test]
    fn every_problem_of_a_map_is_reported_with_its_line() {
        let text = "nmae: x\ncount: 5\nflag: 'true'\nlist: {}\nwait: 5d\norder: up\nmap: [1]\n";
        let known = ["name", "count", "flag", "list", "wait", "order", "map"];
        let found = problems(text, &known, |fields| {
            fields.required("name");
            fields.text("count");
            fields.flag("flag");
            fields.texts("list", 5);
            fields.duration("wait", Units::WithHours);
            fields.slot("order").unwrap().choice(&[("asc", 1), ("desc", 2)]);
            fields.text_map("map");
        });
        assert_eq!(
            found,
            [
                "1 spec.nmae: is not a known field; did you mean `name`?",
                "1 spec.name: is required",
                "2 spec.count: must be a string and is a number: put it in quotes",
                "3 spec.flag: must be `true` or `false`, without quotes and is a string",
                "4 spec.list: must be a list and is a map",
                "5 spec.wait: `5d` is not a duration: write a number with a unit (ms, s, m, h), for example `1h30m`",
                "6 spec.order: `up` is not one of `asc`, `desc`",
                "7 spec.map: must be a map and is a list",
            ]
        );
    }

    #[test]
    fn items_and_pairs_are_named_by_their_place() {
        let text = "list:\n- a\n- 1\n- ''\nmap:\n  x: yes\n  y:\n  z: ok\n";
        let found = problems(text, &["list", "map"], |fields| {
            assert_eq!(fields.texts("list", 5), ["a"]);
            let map = fields.text_map("map");
            assert_eq!(map, BTreeMap::from([("y".into(), String::new()), ("z".into(), "ok".into())]));
            fields.texts("list", 2);
        });
        assert_eq!(
            found,
            [
                "3 spec.list[1]: must be a string and is a number: put it in quotes",
                "4 spec.list[2]: must not be empty",
                "6 spec.map.x: must be a string and is a boolean in YAML 1.1: put it in quotes",
                "1 spec.list: has 3 items; at most 2 are allowed",
            ]
        );
    }

    #[test]
    fn null_is_the_same_as_nothing() {
        let found = problems("a: null\nb: ~\nc:\n", &["a", "b", "c"], |fields| {
            assert!(!fields.has("a"));
            assert_eq!(fields.text("b"), None);
            assert!(!fields.flag("c"));
        });
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn long_values_are_shortened_and_control_characters_are_not_printed() {
        assert_eq!(shown("a\nb\u{1b}[0m"), "a b [0m");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), MAX_SHOWN + 1);
    }
}
