//! Splicing new text into a file, and proving that the result means the old file with the intended difference.
//!
//! Both texts are parsed side by side. What is compared are the nodes, one by one, and the comments, one by one; the
//! effects of a rewrite say where the two may differ.

use std::borrow::Cow;
use std::ops::Range;

use granit_parser::{Event, Placement, ScalarStyle, ScanError, Span, StructureStyle};

use crate::events::{Events, bytes_of};
use crate::scalar::Style;
use crate::scan::Target;

/// New text for some bytes of a file, and what that is to mean.
#[derive(Debug, Default)]
pub(crate) struct Rewrite {
    /// In the order of the file, apart from each other.
    pub(crate) splices: Vec<Splice>,
    /// Scalars that take another value, in the order of the file.
    pub(crate) sets: Vec<Set>,
    /// Nodes that come, in the order of the file.
    pub(crate) inserts: Vec<Insert>,
    /// Nodes that go, by their number in the file, with the comments in the bytes that are cut out.
    pub(crate) removed: Range<usize>,
}

/// Text in the place of some bytes.
#[derive(Debug)]
pub(crate) struct Splice {
    pub(crate) span: Range<usize>,
    pub(crate) text: String,
}

/// A scalar takes another value.
#[derive(Debug)]
pub(crate) struct Set {
    /// Where it is in the old file.
    pub(crate) span: Range<usize>,
    pub(crate) style: Style,
    pub(crate) old: String,
    pub(crate) new: String,
}

/// Nodes that come before the node event of this number; see [`crate::tree::Node::events`].
#[derive(Debug)]
pub(crate) struct Insert {
    pub(crate) before: usize,
    pub(crate) nodes: Vec<Added>,
}

/// A node event of inserted text. None has an anchor or a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Added {
    DocumentStart,
    DocumentEnd,
    Mapping(StructureStyle),
    MappingEnd,
    Sequence(StructureStyle),
    SequenceEnd,
    Scalar(String),
}

/// Why a rewrite was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The rewrite was made for other bytes.
    Stale,
    /// The result differs in more than was intended, first in this line.
    Altered { line: usize },
}

impl Rewrite {
    /// The new text, if it means what it should.
    pub(crate) fn apply(&self, old: &str) -> Result<String, Refused> {
        let new = self.splice(old)?;
        self.verify(old, &new)?;
        Ok(new)
    }

    /// The new text, unproven.
    pub(crate) fn splice(&self, old: &str) -> Result<String, Refused> {
        let added: usize = self.splices.iter().map(|splice| splice.text.len()).sum();
        let mut new = String::with_capacity(old.len() + added);
        let mut copied = 0;
        for Splice { span, text } in &self.splices {
            new.push_str(old.get(copied..span.start).ok_or(Refused::Stale)?);
            new.push_str(text);
            copied = span.end;
        }
        new.push_str(old.get(copied..).ok_or(Refused::Stale)?);
        Ok(new)
    }

    /// Adds a scalar's new value, `written` as it is to stand in the file. Scalars are added in the order of the file.
    pub(crate) fn set(&mut self, target: &Target, old: &str, new: &str, written: String) {
        let (span, style) = (target.span.clone(), target.style);
        self.splices.push(Splice { span: span.clone(), text: written });
        self.sets.push(Set { span, style, old: old.to_owned(), new: new.to_owned() });
    }

    /// Whether the new text is the old one with the effects of this rewrite.
    pub(crate) fn verify(&self, old: &str, new: &str) -> Result<(), Refused> {
        let (mut old_nodes, mut new_nodes) = (Nodes::new(old), Nodes::new(new));
        let mut sets = self.sets.iter().peekable();
        let mut inserts = self.inserts.iter().peekable();
        let mut line = 1;
        for (number, old_node) in old_nodes.by_ref().enumerate() {
            line = line_of(&old_node);
            if let Some(insert) = inserts.next_if(|insert| insert.before == number) {
                let came = insert.nodes.iter().all(|added| new_nodes.next().is_some_and(|n| added.is(&n)));
                ensure(came, line)?;
            }
            if self.removed.contains(&number) {
                continue;
            }
            let Some(new_node) = new_nodes.next() else { return Err(Refused::Altered { line }) };
            match sets.next_if(|set| set.is_at(&old_node)) {
                Some(set) if !set.is_fresh(&old_node) => return Err(Refused::Stale),
                Some(set) => ensure(set.is_done(&old_node, &new_node), line)?,
                None => ensure(is_same(&old_node, &new_node), line)?,
            }
        }
        if sets.next().is_some() {
            return Err(Refused::Stale);
        }
        ensure(inserts.next().is_none() && new_nodes.next().is_none(), line)?;
        self.verify_comments(&old_nodes.sorted_comments(), &new_nodes.sorted_comments())
    }

    fn verify_comments(&self, old: &[Comment<'_>], new: &[Comment<'_>]) -> Result<(), Refused> {
        // Which node a comment is said to belong to is certain only where no line came or went.
        let exact = self.inserts.is_empty() && self.removed.is_empty();
        let is_cut =
            |at: usize| !self.removed.is_empty() && self.splices.iter().any(|s| s.span.contains(&at));
        let mut rest = new.iter();
        let mut last = 1;
        for old in old.iter().filter(|comment| !is_cut(comment.start)) {
            last = old.line;
            let same = rest.next().is_some_and(|new| {
                old.text == new.text && (!exact || (old.placement, old.line) == (new.placement, new.line))
            });
            ensure(same, last)?;
        }
        ensure(rest.next().is_none(), last)
    }
}

impl Set {
    fn is_at(&self, node: &NodeEvent<'_>) -> bool {
        matches!(node, Ok((Event::Scalar(..), span)) if bytes_of(span) == self.span)
    }

    fn is_fresh(&self, node: &NodeEvent<'_>) -> bool {
        matches!(node, Ok((Event::Scalar(text, ..), _)) if *text == self.old)
    }

    /// Whether the scalar took the new value, kept its style or changed from plain to double quotes, and is otherwise
    /// the same: anchor and tag.
    fn is_done(&self, old: &NodeEvent<'_>, new: &NodeEvent<'_>) -> bool {
        let (
            Ok((Event::Scalar(_, old_style, old_anchor, old_tag), _)),
            Ok((Event::Scalar(text, new_style, new_anchor, new_tag), _)),
        ) = (old, new)
        else {
            return false;
        };
        let quoted = (*old_style, *new_style) == (ScalarStyle::Plain, ScalarStyle::DoubleQuoted);
        *text == self.new
            && (old_style == new_style || quoted)
            && Style::of(*old_style) == Some(self.style)
            && (old_anchor, old_tag) == (new_anchor, new_tag)
    }
}

impl Added {
    fn is(&self, node: &NodeEvent<'_>) -> bool {
        let Ok((event, _)) = node else { return false };
        match (self, event) {
            (Added::DocumentStart, Event::DocumentStart(false, None))
            | (Added::DocumentEnd, Event::DocumentEnd)
            | (Added::MappingEnd, Event::MappingEnd)
            | (Added::SequenceEnd, Event::SequenceEnd) => true,
            (Added::Mapping(wanted), Event::MappingStart(style, 0, None))
            | (Added::Sequence(wanted), Event::SequenceStart(style, 0, None)) => wanted == style,
            (Added::Scalar(wanted), Event::Scalar(text, _, 0, None)) => text == wanted,
            _ => false,
        }
    }
}

/// A node event, or the error that ends a document.
type NodeEvent<'a> = Result<(Event<'a>, Span), ScanError>;

struct Comment<'a> {
    start: usize,
    line: usize,
    text: Cow<'a, str>,
    placement: Placement,
}

/// The node events of a text; its comments are put aside. The parser may hand a comment out before or after the node
/// that it stands at, so that only the order among comments is certain.
struct Nodes<'a> {
    events: Events<'a>,
    comments: Vec<Comment<'a>>,
}

impl<'a> Nodes<'a> {
    fn new(text: &'a str) -> Self {
        Self { events: Events::new(text), comments: Vec::new() }
    }

    fn sorted_comments(mut self) -> Vec<Comment<'a>> {
        self.comments.sort_by_key(|comment| comment.start);
        self.comments
    }
}

impl<'a> Iterator for Nodes<'a> {
    type Item = NodeEvent<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.events.next()? {
                Ok((Event::Comment(text, placement), span)) => {
                    let (start, line) = (bytes_of(&span).start, span.start.line());
                    self.comments.push(Comment { start, line, text, placement });
                }
                node => return Some(node),
            }
        }
    }
}

fn is_same(old: &NodeEvent<'_>, new: &NodeEvent<'_>) -> bool {
    match (old, new) {
        (Ok((old, _)), Ok((new, _))) => old == new,
        // A document that cannot be parsed must fail in the same way, in the same line.
        (Err(old), Err(new)) => old.kind() == new.kind() && old.marker().line() == new.marker().line(),
        _ => false,
    }
}

fn line_of(node: &NodeEvent<'_>) -> usize {
    match node {
        Ok((_, span)) => span.start.line(),
        Err(error) => error.marker().line(),
    }
}

fn ensure(holds: bool, line: usize) -> Result<(), Refused> {
    if holds { Ok(()) } else { Err(Refused::Altered { line }) }
}
