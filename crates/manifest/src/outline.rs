//! One pass over a file's events that keeps what a marker can refer to: the scalars, keys and comments near markers,
//! the extent of what aliases repeat, the identity of each object, and the documents that cannot be parsed.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use granit_parser::{Event, ScalarStyle, ScanError, Span, StructureStyle, Tag};
use memchr::{memchr, memrchr};
use windlass_model::place::ObjectIdentifier;

use crate::events::{Events, bytes_of};
use crate::frames::{Field, Frames, Item, Key, Role};

/// What a file holds near its markers.
#[derive(Default)]
pub(crate) struct Outline<'a> {
    /// The last node that starts on each line, in the order of the file.
    pub(crate) nodes: Vec<Node<'a>>,
    /// In the order of the file.
    pub(crate) comments: Vec<Comment<'a>>,
    /// In the order of the file, apart from each other.
    pub(crate) broken: Vec<Broken>,
    /// In the order of the file; [`Node::document`] counts them.
    pub(crate) documents: Vec<Document>,
    /// The extents of nodes that an alias repeats, in order and apart from each other.
    pub(crate) repeated: Vec<Range<usize>>,
}

/// A scalar or an alias that has text. Only the last of a line is kept, with a count of them all: more is never asked
/// for, and a line of a million values costs no memory.
pub(crate) struct Node<'a> {
    pub(crate) span: Range<usize>,
    pub(crate) first_line: usize,
    pub(crate) last_line: usize,
    pub(crate) document: usize,
    /// The keys that start on the line, up to this node and with it.
    pub(crate) keys: usize,
    /// The values that start on the line, up to this node and with it.
    pub(crate) values: usize,
    pub(crate) kind: NodeKind<'a>,
}

impl Node<'_> {
    /// Whether it is a block scalar.
    pub(crate) fn is_block(&self) -> bool {
        matches!(
            &self.kind,
            NodeKind::Scalar(Scalar { style: ScalarStyle::Literal | ScalarStyle::Folded, .. })
        )
    }
}

pub(crate) enum NodeKind<'a> {
    /// A key, or a part of one, and what its value is.
    Key(Option<Shape>),
    Alias,
    Scalar(Scalar<'a>),
}

/// What a key's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Empty,
    Block,
    Scalar,
    Alias,
    Collection,
}

/// A scalar that is not a key.
pub(crate) struct Scalar<'a> {
    pub(crate) text: Cow<'a, str>,
    pub(crate) style: ScalarStyle,
    pub(crate) tag: Option<Cow<'a, Tag>>,
    pub(crate) in_flow: bool,
    /// Empty for a value that is not the first of its line: such a one is never a place.
    pub(crate) key_path: String,
    pub(crate) item: Item,
}

pub(crate) struct Comment<'a> {
    pub(crate) span: Range<usize>,
    pub(crate) line: usize,
    /// What follows the first `#`.
    pub(crate) text: Cow<'a, str>,
}

/// A document that cannot be parsed.
pub(crate) struct Broken {
    pub(crate) span: Range<usize>,
    pub(crate) line: usize,
    pub(crate) message: String,
}

/// The identities of a document's objects.
#[derive(Default)]
pub(crate) struct Document {
    root: ObjectIdentifier,
    items: BTreeMap<usize, ObjectIdentifier>,
}

impl Document {
    /// The object that a node belongs to: an item where the document is a list of objects, else the document.
    pub(crate) fn object(&self, item: Item) -> &ObjectIdentifier {
        let is_list = self.root.kind.is_empty() || self.root.kind.ends_with("List");
        item.filter(|_| is_list).and_then(|item| self.items.get(&item)).unwrap_or(&self.root)
    }

    fn note(&mut self, item: Item, field: Field, text: &str) {
        let object = match item {
            Some(item) => self.items.entry(item).or_default(),
            None => &mut self.root,
        };
        let slot = match field {
            Field::ApiVersion => &mut object.api_version,
            Field::Kind => &mut object.kind,
            Field::Name => &mut object.name,
            Field::Namespace => &mut object.namespace,
        };
        text.clone_into(slot);
    }
}

/// The bytes in which nodes and comments are kept: each marker's line, the one before and the one after.
pub(crate) struct Near(Vec<Range<usize>>);

impl Near {
    /// `markers` are offsets in rising order.
    pub(crate) fn around(text: &str, markers: &[usize]) -> Self {
        let bytes = text.as_bytes();
        let line_start = |at: usize| memrchr(b'\n', &bytes[..at]).map_or(0, |found| found + 1);
        let line_end = |at: usize| memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |found| at + found + 1);
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let mut line = 0..0;
        for &at in markers {
            // One look per line, however many markers it has: the cost stays linear.
            if line.contains(&at) {
                continue;
            }
            line = line_start(at)..line_end(at);
            let range = line_start(line.start.saturating_sub(1))..line_end(line.end);
            match ranges.last_mut() {
                Some(last) if last.end >= range.start => last.end = range.end,
                _ => ranges.push(range),
            }
        }
        Self(ranges)
    }

    fn touches(&self, span: &Range<usize>) -> bool {
        let next = self.0.partition_point(|range| range.end <= span.start);
        self.0.get(next).is_some_and(|range| range.start < span.end)
    }
}

/// Walks over the events of `text`.
pub(crate) fn read<'a>(text: &'a str, near: &Near) -> Outline<'a> {
    let mut walk = Walk {
        near,
        outline: Outline::default(),
        frames: Frames::default(),
        document_start: 0,
        first_node: 0,
        recovering: false,
        anchored: HashMap::new(),
        aliased: HashSet::new(),
    };
    for item in Events::new(text) {
        match item {
            Ok((event, span)) => walk.step(event, &span),
            Err(error) => walk.abandon(&error, text.len()),
        }
    }
    walk.finish()
}

struct Walk<'a, 'near> {
    near: &'near Near,
    outline: Outline<'a>,
    frames: Frames<'a>,
    /// Where the document at hand starts: where the one before it ends.
    document_start: usize,
    /// The first node of the document at hand.
    first_node: usize,
    /// The last document was abandoned; where it ends is seen at the next event.
    recovering: bool,
    anchored: HashMap<usize, Range<usize>>,
    aliased: HashSet<usize>,
}

impl<'a> Walk<'a, '_> {
    fn step(&mut self, event: Event<'a>, span: &Span) {
        let bytes = bytes_of(span);
        self.end_recovery(bytes.start);
        match event {
            Event::DocumentStart(..) => {
                self.outline.documents.push(Document::default());
                self.first_node = self.outline.nodes.len();
            }
            Event::DocumentEnd => self.document_start = bytes.end,
            Event::Comment(text, _) if self.near.touches(&bytes) => {
                self.outline.comments.push(Comment { span: bytes, line: span.start.line(), text });
            }
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => {
                if anchor != 0 {
                    self.anchored.insert(anchor, bytes);
                }
                self.scalar(text, style, tag, span);
            }
            Event::SequenceStart(style, anchor, _) => self.open(true, style, anchor, bytes.start),
            Event::MappingStart(style, anchor, _) => self.open(false, style, anchor, bytes.start),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((anchor, extent)) = self.frames.close(bytes.end) {
                    self.anchored.insert(anchor, extent);
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, sequence: bool, style: StructureStyle, anchor: usize, start: usize) {
        self.note_shape(Shape::Collection);
        self.frames.open(sequence, style == StructureStyle::Flow, anchor, start);
    }

    fn alias(&mut self, anchor: usize, span: &Span) {
        self.aliased.insert(anchor);
        self.note_shape(Shape::Alias);
        let node = match self.frames.role() {
            Role::Key => self.keep(span, |_, _| NodeKind::Key(None)),
            Role::Content => self.keep(span, |_, _| NodeKind::Alias),
        };
        self.frames.advance(Key { text: None, node });
    }

    fn scalar(&mut self, text: Cow<'a, str>, style: ScalarStyle, tag: Option<Cow<'a, Tag>>, span: &Span) {
        if self.frames.role() == Role::Key {
            let node = self.keep(span, |_, _| NodeKind::Key(None));
            self.frames.advance(Key { text: Some(text), node });
            return;
        }
        self.note_shape(match style {
            ScalarStyle::Literal | ScalarStyle::Folded => Shape::Block,
            _ if bytes_of(span).is_empty() => Shape::Empty,
            _ => Shape::Scalar,
        });
        if let (Some((item, field)), Some(document)) =
            (self.frames.field(), self.outline.documents.last_mut())
        {
            document.note(item, field, &text);
        }
        self.keep(span, |frames, values| {
            let key_path = if values == 0 { frames.path() } else { String::new() };
            let (in_flow, item) = (frames.in_flow(), frames.item());
            NodeKind::Scalar(Scalar { text, style, tag, in_flow, key_path, item })
        });
        self.frames.advance(Key::default());
    }

    /// Tells the key at hand what its value is. No node comes between the two, so the key is the last one kept.
    fn note_shape(&mut self, shape: Shape) {
        let Some(key) = self.frames.key().and_then(|key| key.node) else { return };
        if let Some(Node { kind: NodeKind::Key(value), .. }) = self.outline.nodes.get_mut(key) {
            *value = Some(shape);
        }
    }

    /// Keeps a node that has text and is near a marker, in the place of the one before it on the same line. `kind` is
    /// told how many values that line has before it.
    fn keep(&mut self, span: &Span, kind: impl FnOnce(&Frames<'a>, usize) -> NodeKind<'a>) -> Option<usize> {
        let bytes = bytes_of(span);
        if bytes.is_empty() || !self.near.touches(&bytes) {
            return None;
        }
        let (first_line, last_line) = (span.start.line(), span.end.line());
        let before = self.outline.nodes.pop_if(|last| last.first_line == first_line);
        let (keys, values) = before.map_or((0, 0), |before| (before.keys, before.values));
        let kind = kind(&self.frames, values);
        let is_key = matches!(kind, NodeKind::Key(_));
        self.outline.nodes.push(Node {
            span: bytes,
            first_line,
            last_line,
            document: self.outline.documents.len().saturating_sub(1),
            keys: keys + usize::from(is_key),
            values: values + usize::from(!is_key),
            kind,
        });
        Some(self.outline.nodes.len() - 1)
    }

    /// Drops the document at hand, which ends no later than `end`.
    fn abandon(&mut self, error: &ScanError, end: usize) {
        let offset = error.marker().byte_offset().unwrap_or(self.document_start);
        self.end_recovery(offset);
        self.outline.nodes.truncate(self.first_node);
        self.frames.clear();
        self.outline.broken.push(Broken {
            span: self.document_start..end,
            line: error.marker().line(),
            message: error.info(),
        });
        self.recovering = true;
    }

    fn end_recovery(&mut self, next: usize) {
        if !std::mem::take(&mut self.recovering) {
            return;
        }
        if let Some(broken) = self.outline.broken.last_mut() {
            broken.span.end = next.max(broken.span.start);
            self.document_start = broken.span.end;
        }
        self.first_node = self.outline.nodes.len();
    }

    fn finish(mut self) -> Outline<'a> {
        // The parser may hand a comment out after the node that follows it.
        self.outline.comments.sort_by_key(|comment| comment.span.start);
        let mut extents: Vec<_> =
            self.aliased.iter().filter_map(|anchor| self.anchored.remove(anchor)).collect();
        extents.sort_by_key(|extent| extent.start);
        for extent in extents {
            match self.outline.repeated.last_mut() {
                Some(last) if last.end >= extent.start => last.end = last.end.max(extent.end),
                _ => self.outline.repeated.push(extent),
            }
        }
        self.outline
    }
}
