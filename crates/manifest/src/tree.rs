//! A document as a tree whose nodes know their bytes and their place among the parser's events: what edits by path
//! walk on.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use granit_parser::{Event, ScalarStyle, Span, StructureStyle, Tag};

use crate::events::{Events, bytes_of};

/// A document of more nodes is not read: a tree takes some 150 bytes for each.
pub(crate) const MAX_NODES: usize = 1 << 18;

/// A node with its content.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub(crate) kind: Kind<'a>,
    /// Without anchor and tag. A block collection's starts at its first key or item.
    pub(crate) span: Range<usize>,
    /// Where the content ends: no comment, no blank line and no line end after it belongs to it.
    pub(crate) end: usize,
    /// The first line, counted from 1.
    pub(crate) line: usize,
    /// The numbers of its events, counted from the start of the file without comments.
    pub(crate) events: Range<usize>,
    pub(crate) anchor: usize,
    pub(crate) tag: Option<Cow<'a, Tag>>,
}

#[derive(Debug)]
pub(crate) enum Kind<'a> {
    Scalar {
        text: Cow<'a, str>,
        style: ScalarStyle,
        /// It ends on the line on which it starts.
        one_line: bool,
    },
    Alias,
    Sequence {
        items: Vec<Node<'a>>,
        flow: bool,
    },
    Mapping {
        pairs: Vec<Pair<'a>>,
        flow: bool,
    },
}

/// A key with its value.
#[derive(Debug)]
pub(crate) struct Pair<'a> {
    pub(crate) key: Node<'a>,
    pub(crate) value: Node<'a>,
    /// Where the content of both ends: after the colon for a value without text.
    pub(crate) end: usize,
}

/// A document of a file.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    pub(crate) root: Node<'a>,
    /// The anchors that an alias repeats.
    pub(crate) aliased: HashSet<usize>,
}

/// Why a document has no tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It cannot be parsed.
    Unparsable { line: usize, message: String },
    /// It has more than [`MAX_NODES`] nodes.
    TooManyNodes { line: usize },
}

impl<'a> Node<'a> {
    /// The text, if it is a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// A value that is not there: `key:` and nothing.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.kind, Kind::Scalar { .. }) && self.span.is_empty()
    }

    /// Not there, or one of YAML's words for that.
    pub(crate) fn is_null(&self) -> bool {
        let Kind::Scalar { text, style: ScalarStyle::Plain, .. } = &self.kind else { return false };
        self.is_empty() || matches!(text.as_ref(), "~" | "null" | "Null" | "NULL")
    }

    /// The pairs, if it is a mapping.
    pub(crate) fn pairs(&self) -> Option<&[Pair<'a>]> {
        match &self.kind {
            Kind::Mapping { pairs, .. } => Some(pairs),
            _ => None,
        }
    }

    /// The items, if it is a sequence.
    pub(crate) fn items(&self) -> Option<&[Node<'a>]> {
        match &self.kind {
            Kind::Sequence { items, .. } => Some(items),
            _ => None,
        }
    }

    /// The value of a key, the first if it is repeated.
    pub(crate) fn get(&self, key: &str) -> Option<&Node<'a>> {
        self.pairs()?.iter().find(|pair| pair.key.text() == Some(key)).map(|pair| &pair.value)
    }

    /// What it is, for people.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.kind {
            _ if self.is_null() => "empty",
            Kind::Scalar { .. } => "a single value",
            Kind::Alias => "an alias",
            Kind::Sequence { .. } => "a list",
            Kind::Mapping { .. } => "a mapping",
        }
    }
}

/// The documents of a text, one at a time. After a document that cannot be parsed, the others are still read.
pub(crate) struct Documents<'a> {
    text: &'a str,
    events: Events<'a>,
    /// How many events were read, without comments.
    count: usize,
    nodes: usize,
    aliased: HashSet<usize>,
    /// Reading stopped within a document.
    stopped: bool,
}

impl<'a> Documents<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let events = Events::new(text);
        Self { text, events, count: 0, nodes: 0, aliased: HashSet::new(), stopped: false }
    }

    /// The next event that is not a comment.
    fn event(&mut self) -> Result<Option<(Event<'a>, Span)>, Unread> {
        loop {
            return match self.events.next() {
                None => Ok(None),
                Some(Ok((Event::Comment(..), _))) => continue,
                Some(Ok(found)) => {
                    self.count += 1;
                    Ok(Some(found))
                }
                Some(Err(error)) => {
                    self.count += 1;
                    Err(Unread::Unparsable { line: error.marker().line(), message: error.info() })
                }
            };
        }
    }

    /// The node that an event starts; absent where the event ends the collection at hand.
    fn node(&mut self, event: Event<'a>, span: &Span) -> Result<Option<Node<'a>>, Unread> {
        let (bytes, line, first) = (bytes_of(span), span.start.line(), self.count - 1);
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Unread::TooManyNodes { line });
        }
        let (kind, end, anchor, tag) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let end = self.scalar_end(&bytes, style, &text);
                let one_line = span.start.line() == span.end.line();
                (Kind::Scalar { text, style, one_line }, end, anchor, tag)
            }
            Event::Alias(anchor) => {
                self.aliased.insert(anchor);
                (Kind::Alias, bytes.end, 0, None)
            }
            Event::SequenceStart(style, anchor, tag) => {
                let (items, close) = self.items()?;
                let end = items.last().map_or(bytes.end, |item| item.end).max(close.end);
                (Kind::Sequence { items, flow: style == StructureStyle::Flow }, end, anchor, tag)
            }
            Event::MappingStart(style, anchor, tag) => {
                let (pairs, close) = self.pairs()?;
                let end = pairs.last().map_or(bytes.end, |pair| pair.end).max(close.end);
                (Kind::Mapping { pairs, flow: style == StructureStyle::Flow }, end, anchor, tag)
            }
            _ => return Ok(None),
        };
        Ok(Some(Node { kind, span: bytes, end, line, events: first..self.count, anchor, tag }))
    }

    fn items(&mut self) -> Result<(Vec<Node<'a>>, Range<usize>), Unread> {
        let mut items = Vec::new();
        loop {
            let Some((event, span)) = self.event()? else { return Ok((items, 0..0)) };
            match self.node(event, &span)? {
                Some(item) => items.push(item),
                None => return Ok((items, bracket(&span))),
            }
        }
    }

    fn pairs(&mut self) -> Result<(Vec<Pair<'a>>, Range<usize>), Unread> {
        let mut pairs = Vec::new();
        let mut awaiting = None;
        loop {
            let Some((event, span)) = self.event()? else { return Ok((pairs, 0..0)) };
            let Some(node) = self.node(event, &span)? else { return Ok((pairs, bracket(&span))) };
            match awaiting.take() {
                None => awaiting = Some(node),
                Some(key) => {
                    let end = self.pair_end(&key, &node);
                    pairs.push(Pair { key, value: node, end });
                }
            }
        }
    }

    /// The parser lets a block scalar reach to the next token.
    fn scalar_end(&self, bytes: &Range<usize>, style: ScalarStyle, value: &str) -> usize {
        if !matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            return bytes.end;
        }
        let text = &self.text[bytes.clone()];
        // Blank lines at the end count only where the scalar keeps them.
        let kept = text.trim_end_matches([' ', '\t']);
        let content = if value.ends_with("\n\n") { without_line_end(kept) } else { text.trim_end() };
        bytes.start + content.len()
    }

    fn pair_end(&self, key: &Node<'_>, value: &Node<'_>) -> usize {
        if !value.is_empty() {
            return value.end;
        }
        let at = value.span.start.max(key.end);
        let rest = &self.text[at..];
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        if rest[blank..].starts_with(':') { at + blank + 1 } else { at }
    }
}

impl<'a> Iterator for Documents<'a> {
    type Item = Result<Document<'a>, Unread>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.stopped {
            let read = match self.event() {
                Ok(None) => return None,
                Ok(Some((event, span))) => {
                    self.nodes = 0;
                    self.aliased.clear();
                    self.node(event, &span)
                }
                Err(unread) => Err(unread),
            };
            self.stopped = matches!(read, Err(Unread::TooManyNodes { .. }));
            match read {
                Ok(Some(root)) => {
                    return Some(Ok(Document { root, aliased: std::mem::take(&mut self.aliased) }));
                }
                // The start or the end of the stream or of a document.
                Ok(None) => {}
                Err(unread) => return Some(Err(unread)),
            }
        }
        None
    }
}

/// The bytes of `]` or `}`; a block collection ends without any.
fn bracket(span: &Span) -> Range<usize> {
    let bytes = bytes_of(span);
    if bytes.is_empty() { 0..0 } else { bytes }
}

fn without_line_end(text: &str) -> &str {
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix(['\n', '\r'])).unwrap_or(text)
}
