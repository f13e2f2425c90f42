//! YAML text to trees of nodes, one document at a time. Owns anchors, merge keys, duplicate keys and the bounds on
//! depth and size; it never knows what a field means.
//!
//! A document that does not parse stops no other: reading goes on at the next `---`.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

/// Deepest nesting, aliases included. Kubernetes objects stay below 40 (a CRD's schema is the deepest).
const MAX_DEPTH: usize = 128;
/// Most bytes that one document may take when its aliases are written out. It is a few times the size of the largest
/// object that Kubernetes stores (1.5 MiB), and stops the "billion laughs" at once.
const MAX_EXPANDED: usize = 32 * 1024 * 1024;
/// What a node is charged for beside its text.
const NODE_COST: usize = 64;
/// Most notes on one document.
const MAX_NOTES: usize = 100;
/// The key that YAML 1.1 merges maps with.
const MERGE_KEY: &str = "<<";

/// One value and the line on which it starts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    /// One-based.
    pub(super) line: usize,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// A scalar; `plain` when it is neither quoted, nor a block scalar, nor tagged as a string.
    Scalar {
        text: String,
        plain: bool,
    },
    Seq(Vec<Node>),
    Map(Vec<Entry>),
}

/// One pair of a map.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// The key's line, one-based.
    pub(super) line: usize,
    pub(super) value: Node,
}

impl Node {
    /// The value at a key of a map.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// A map's pairs; none for anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    /// Gives this node and all below it other lines.
    pub(super) fn move_lines(&mut self, to: &impl Fn(usize) -> usize) {
        self.line = to(self.line);
        match &mut self.value {
            Value::Scalar { .. } => {}
            Value::Seq(items) => items.iter_mut().for_each(|item| item.move_lines(to)),
            Value::Map(entries) => {
                for entry in entries {
                    entry.line = to(entry.line);
                    entry.value.move_lines(to);
                }
            }
        }
    }

    /// A scalar's text, whatever its type.
    pub(super) fn scalar(&self) -> Option<&str> {
        if let Value::Scalar { text, .. } = &self.value { Some(text) } else { None }
    }
}

/// One parsed document.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Node,
    /// What YAML allows to be written and a resource may not contain: duplicate keys, foreign tags. Whether that
    /// matters depends on whose document it is.
    pub(super) notes: Vec<Note>,
}

/// A finding about the form of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// One-based.
    pub(super) line: usize,
    /// The key that it is about, or nothing.
    pub(super) field: String,
    pub(super) message: String,
}

/// Why a document could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (column {column})")]
pub(super) struct Broken {
    /// One-based.
    pub(super) line: usize,
    /// One-based.
    pub(super) column: usize,
    pub(super) message: String,
}

/// The documents of a stream, read one by one so that only one tree is in memory at a time.
pub(super) struct Documents<'a> {
    parser: Parser<'a, StrInput<'a>>,
    ended: bool,
}

impl<'a> Documents<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let options = granit_parser::options! {
            emit_comments: false,
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
        };
        Self { parser: Parser::new_from_str_with_options(text, options), ended: false }
    }

    /// Leaves the broken document behind.
    fn recover(&mut self) {
        self.ended = !self.parser.proceed_next_document().unwrap_or(false);
    }
}

impl Iterator for Documents<'_> {
    type Item = Result<Document, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut tree = Tree::default();
        while !self.ended {
            let step = match self.parser.next() {
                None => break,
                Some(Ok((Event::DocumentEnd, _))) => {
                    if let Some(document) = tree.finish() {
                        return Some(Ok(document));
                    }
                    tree = Tree::default();
                    continue;
                }
                Some(Ok((event, span))) => tree.take(event, &span),
                Some(Err(error)) => Err(Broken {
                    line: error.marker().line(),
                    column: error.marker().col() + 1,
                    message: format!("is not valid YAML: {}", error.info()),
                }),
            };
            if let Err(broken) = step {
                self.recover();
                return Some(Err(broken));
            }
        }
        self.ended = true;
        None
    }
}

/// A finished subtree with what it costs.
#[derive(Clone)]
struct Built {
    node: Node,
    cost: usize,
    height: usize,
}

/// A collection that is still open.
struct Open {
    anchor: usize,
    value: Value,
    line: usize,
    /// A map's key that waits for its value.
    key: Option<(String, usize)>,
    cost: usize,
    height: usize,
}

/// Builds one document's tree from events.
#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Built>,
    notes: Vec<Note>,
    spent: usize,
}

impl Tree {
    fn finish(&mut self) -> Option<Document> {
        let root = self.root.take()?;
        Some(Document { root, notes: std::mem::take(&mut self.notes) })
    }

    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Broken> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !self.is_text_tag(tag.as_deref(), line);
                let cost = NODE_COST + text.len();
                let value = Value::Scalar { text: text.into_owned(), plain };
                self.complete(Built { node: Node { value, line }, cost, height: 1 }, anchor, span)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.is_text_tag(tag.as_deref(), line);
                self.start(Value::Seq(Vec::new()), anchor, line);
                Ok(())
            }
            Event::MappingStart(_, anchor, tag) => {
                self.is_text_tag(tag.as_deref(), line);
                self.start(Value::Map(Vec::new()), anchor, line);
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(id) => self.alias(id, span),
            _ => Ok(()),
        }
    }

    fn start(&mut self, value: Value, anchor: usize, line: usize) {
        self.open.push(Open { anchor, value, line, key: None, cost: NODE_COST, height: 1 });
    }

    fn end(&mut self, span: &Span) -> Result<(), Broken> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.value {
            Value::Map(entries) => Value::Map(self.close_map(entries)),
            other => other,
        };
        let node = Node { value, line: open.line };
        // The children have been paid for when they were completed.
        self.spend(NODE_COST, span)?;
        let built = Built { node, cost: open.cost, height: open.height };
        self.remember(&built, open.anchor, span)?;
        self.attach(built, span)
    }

    /// A scalar is done: pays for it, remembers its anchor, and puts it where it belongs.
    fn complete(&mut self, built: Built, anchor: usize, span: &Span) -> Result<(), Broken> {
        self.spend(built.cost, span)?;
        self.remember(&built, anchor, span)?;
        self.attach(built, span)
    }

    /// Keeps a copy of an anchored value, which is paid for as well.
    fn remember(&mut self, built: &Built, anchor: usize, span: &Span) -> Result<(), Broken> {
        if anchor != 0 {
            self.spend(built.cost, span)?;
            self.anchors.insert(anchor, built.clone());
        }
        Ok(())
    }

    fn alias(&mut self, id: usize, span: &Span) -> Result<(), Broken> {
        let Some(cost) = self.anchors.get(&id).map(|built| built.cost) else {
            return Err(broken(span, "an alias refers to the value that contains it"));
        };
        // The price is paid before the copy is made.
        self.spend(cost, span)?;
        match self.anchors.get(&id).cloned() {
            Some(built) => self.attach(built, span),
            None => Ok(()),
        }
    }

    fn spend(&mut self, cost: usize, span: &Span) -> Result<(), Broken> {
        self.spent = self.spent.saturating_add(cost);
        if self.spent > MAX_EXPANDED {
            return Err(broken(span, "the document is too large when its aliases are written out: split it"));
        }
        Ok(())
    }

    fn attach(&mut self, built: Built, span: &Span) -> Result<(), Broken> {
        if self.open.len() + built.height > MAX_DEPTH {
            return Err(broken(span, &format!("the document is nested more than {MAX_DEPTH} levels deep")));
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(built.node);
            return Ok(());
        };
        parent.cost += built.cost;
        parent.height = parent.height.max(built.height + 1);
        match &mut parent.value {
            Value::Seq(items) => items.push(built.node),
            Value::Map(entries) => {
                if let Some((key, line)) = parent.key.take() {
                    entries.push(Entry { key, line, value: built.node });
                } else if let Value::Scalar { text, .. } = built.node.value {
                    parent.key = Some((text, span.start.line()));
                } else {
                    parent.key = Some((String::new(), built.node.line));
                    self.note(built.node.line, "", "a key must be text, not a list or a map");
                }
            }
            Value::Scalar { .. } => {}
        }
        Ok(())
    }

    /// Reports duplicate keys (the first one stays) and applies merge keys (own keys win, then earlier sources).
    fn close_map(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut seen = HashSet::new();
        let mut own = Vec::with_capacity(entries.len());
        let mut merged = Vec::new();
        for entry in entries {
            if entry.key == MERGE_KEY {
                self.collect_merged(entry, &mut merged);
            } else if seen.insert(entry.key.clone()) {
                own.push(entry);
            } else {
                let message = "is a duplicate key: the same map has it already";
                self.note(entry.line, &entry.key, message);
            }
        }
        own.extend(merged.into_iter().filter(|entry| seen.insert(entry.key.clone())));
        own
    }

    fn collect_merged(&mut self, entry: Entry, merged: &mut Vec<Entry>) {
        let line = entry.line;
        let sources = match entry.value.value {
            Value::Seq(items) => items,
            value => vec![Node { value, line }],
        };
        for source in sources {
            match source.value {
                Value::Map(entries) => merged.extend(entries),
                _ => self.note(line, MERGE_KEY, "must name maps to merge"),
            }
        }
    }

    fn note(&mut self, line: usize, field: &str, message: &str) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(Note { line, field: field.to_owned(), message: message.to_owned() });
        }
    }

    /// Whether a tag makes a scalar a string. Tags of the core schema say what is there anyway; others are noted.
    fn is_text_tag(&mut self, tag: Option<&Tag>, line: usize) -> bool {
        let Some(tag) = tag else { return false };
        match tag.core_suffix() {
            Some("str") => true,
            Some(_) => false,
            // The non-specific tag `!` says "not plain" (YAML 1.2.2, section 6.9.1).
            None if tag.parts() == ("", "!") => true,
            None => {
                let message = format!("has the tag `{}`, which no resource can have", tag.original());
                self.note(line, "", &message);
                false
            }
        }
    }
}

fn broken(span: &Span, message: &str) -> Broken {
    Broken { line: span.start.line(), column: span.start.col() + 1, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> Document {
        let mut all: Vec<_> = Documents::new(text).collect();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0).unwrap()
    }

    fn text_at<'a>(node: &'a Node, path: &[&str]) -> &'a str {
        path.iter().fold(node, |node, key| node.get(key).unwrap()).scalar().unwrap()
    }

    #[test]
    fn lines_of_keys_survive_crlf_bom_and_separators() {
        let text = "\u{feff}# head\r\n---\r\na: 1\r\nb:\r\n  c: |\r\n    x\r\n...\r\n---\r\nd: 2\r\n";
        let documents: Vec<_> = Documents::new(text).map(Result::unwrap).collect();
        assert_eq!(documents.len(), 2);
        let first = documents[0].root.entries();
        assert_eq!(first.iter().map(|e| (e.key.as_str(), e.line)).collect::<Vec<_>>(), [("a", 3), ("b", 4)]);
        assert_eq!(text_at(&documents[0].root, &["b", "c"]), "x\n");
        assert_eq!(documents[1].root.entries()[0].line, 9);
    }

    #[test]
    fn a_broken_document_does_not_stop_the_next() {
        let text = "a: [1\n---\nb: 2\n---\nc: 'x\n---\nd: 4\n";
        let results: Vec<_> = Documents::new(text).collect();
        let broken: Vec<_> = results.iter().filter_map(|r| r.as_ref().err()).map(|b| b.line).collect();
        let keys: Vec<_> = results
            .iter()
            .filter_map(|r| r.as_ref().ok())
            .map(|d| d.root.entries()[0].key.as_str())
            .collect();
        assert_eq!(keys, ["b", "d"]);
        assert_eq!(broken.len(), 2, "{results:?}");
    }

    #[test]
    fn aliases_and_merge_keys_are_resolved_and_own_keys_win() {
        let document = one("base: &b {x: 1, y: 2}\ncopy: *b\nmore:\n  <<: [*b, {z: 5}]\n  y: 3\n");
        assert_eq!(text_at(&document.root, &["copy", "y"]), "2");
        assert_eq!(text_at(&document.root, &["more", "x"]), "1");
        assert_eq!(text_at(&document.root, &["more", "y"]), "3");
        assert_eq!(text_at(&document.root, &["more", "z"]), "5");
        assert!(document.notes.is_empty());
    }

    #[test]
    fn duplicate_keys_foreign_tags_and_complex_keys_are_noted_with_their_line() {
        let document = one("a: 1\nb: 2\na: 3\nc: !Ref x\n? [q]\n: r\n");
        let notes: Vec<_> = document.notes.iter().map(|n| (n.line, n.field.as_str())).collect();
        assert!(notes.contains(&(3, "a")), "{notes:?}");
        assert!(notes.contains(&(4, "")), "{notes:?}");
        assert!(notes.contains(&(5, "")), "{notes:?}");
        assert_eq!(text_at(&document.root, &["a"]), "1");
    }

    #[test]
    fn string_tags_make_plain_scalars_text() {
        let document = one("a: !!str 1\nb: ! 1\nc: !!int 1\nd: 1\n");
        let plain: Vec<_> = document
            .root
            .entries()
            .iter()
            .map(|e| matches!(e.value.value, Value::Scalar { plain: true, .. }))
            .collect();
        assert_eq!(plain, [false, false, true, true]);
        assert!(document.notes.is_empty(), "{:?}", document.notes);
    }

    #[test]
    fn billion_laughs_and_bottomless_nesting_are_refused() {
        let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
        for level in 1..12 {
            let previous = vec![format!("*a{}", level - 1); 9].join(", ");
            writeln!(laughs, "a{level}: &a{level} [{previous}]").unwrap();
        }
        let refused = Documents::new(&laughs).next().unwrap().unwrap_err();
        assert!(refused.message.contains("too large"), "{refused}");

        let mut chain = String::from("a0: &a0 [x]\n");
        for level in 1..200 {
            writeln!(chain, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
        }
        let refused = Documents::new(&chain).next().unwrap().unwrap_err();
        assert!(refused.message.contains("levels deep"), "{refused}");

        assert!(Documents::new(&"[".repeat(100_000)).next().unwrap().is_err());
        assert!(Documents::new("a: &x [*x]\n").next().unwrap().is_err());
    }

    #[test]
    fn empty_streams_have_no_documents_and_empty_documents_are_null() {
        assert_eq!(Documents::new("").count(), 0);
        assert_eq!(Documents::new("# only a comment\n").count(), 0);
        let documents: Vec<_> = Documents::new("---\n---\na: 1\n").map(Result::unwrap).collect();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[0].root.scalar(), Some("~"));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics_and_always_ends(text in "\\PC*") {
            let _ = Documents::new(&text).count();
        }

        #[test]
        fn arbitrary_structure_never_panics(text in "[-a-c:,\\[\\]{}&*!|>'\"#%~? \t\r\n.<]{0,200}") {
            prop_assert!(Documents::new(&text).count() <= text.len() + 1);
        }
    }
}
