//! Where in a document's tree the walk over the events is: keys, elements, values, and which object they belong to.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

/// Key paths are cut here: they are for people, and a hostile file must not make them large.
const MAX_PATH: usize = 256;

/// What a node is to its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A mapping's key, or any part of one.
    Key,
    /// A mapping's value, a sequence's element, or the document's root.
    Content,
}

/// The fields that identify a Kubernetes object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    ApiVersion,
    Kind,
    Name,
    Namespace,
}

/// Which object of a document: the document itself (`None`), or an item of a list.
pub(crate) type Item = Option<usize>;

/// A key that awaits its value.
#[derive(Debug, Default)]
pub(crate) struct Key<'a> {
    /// Its text; absent for a key that is itself a collection or an alias.
    pub(crate) text: Option<Cow<'a, str>>,
    /// Its index among the outline's nodes, if it is one of them.
    pub(crate) node: Option<usize>,
}

/// A collection that is open.
struct Frame<'a> {
    slot: Slot<'a>,
    part: ObjectPart,
    flow: bool,
    within_key: bool,
    anchor: usize,
    start: usize,
}

enum Slot<'a> {
    Sequence { index: usize },
    Mapping { key: Option<Key<'a>> },
}

/// What a collection is to the object that holds it.
#[derive(Clone, Copy)]
enum ObjectPart {
    Object(Item),
    Metadata(Item),
    /// `items` of the root, or a root that is a sequence: its elements are objects.
    Items,
    Inner,
}

/// The open collections, outermost first.
#[derive(Default)]
pub(crate) struct Frames<'a>(Vec<Frame<'a>>);

impl<'a> Frames<'a> {
    /// Forgets an abandoned document.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// What the next node is.
    pub(crate) fn role(&self) -> Role {
        match self.0.last() {
            Some(Frame { within_key: true, .. } | Frame { slot: Slot::Mapping { key: None }, .. }) => {
                Role::Key
            }
            _ => Role::Content,
        }
    }

    /// Enters a collection.
    pub(crate) fn open(&mut self, sequence: bool, flow: bool, anchor: usize, start: usize) {
        let part = self.part_of_child(sequence);
        let within_key = self.role() == Role::Key;
        let slot = if sequence { Slot::Sequence { index: 0 } } else { Slot::Mapping { key: None } };
        self.0.push(Frame { slot, part, flow, within_key, anchor, start });
    }

    /// Leaves a collection that ends at `end`: its anchor and extent, where it is anchored.
    pub(crate) fn close(&mut self, end: usize) -> Option<(usize, Range<usize>)> {
        let frame = self.0.pop()?;
        self.advance(Key::default());
        (frame.anchor != 0).then_some((frame.anchor, frame.start..end))
    }

    /// Passes a node that is complete; `key` is it, in case that it was a key.
    pub(crate) fn advance(&mut self, key: Key<'a>) {
        match self.0.last_mut().map(|frame| &mut frame.slot) {
            Some(Slot::Sequence { index }) => *index += 1,
            Some(Slot::Mapping { key: awaiting }) => {
                *awaiting = if awaiting.is_some() { None } else { Some(key) }
            }
            None => {}
        }
    }

    /// The key whose value comes next.
    pub(crate) fn key(&self) -> Option<&Key<'a>> {
        match &self.0.last()?.slot {
            Slot::Mapping { key } => key.as_ref(),
            Slot::Sequence { .. } => None,
        }
    }

    /// Whether the next node lies between `[` and `]` or `{` and `}`.
    pub(crate) fn in_flow(&self) -> bool {
        self.0.last().is_some_and(|frame| frame.flow)
    }

    /// Which object the next node belongs to.
    pub(crate) fn item(&self) -> Item {
        self.0.iter().find_map(|frame| match frame.part {
            ObjectPart::Object(Some(item)) => Some(item),
            _ => None,
        })
    }

    /// Which identifying field of which object the next node is the value of.
    pub(crate) fn field(&self) -> Option<(Item, Field)> {
        let frame = self.0.last()?;
        let key = self.key()?.text.as_deref()?;
        match (frame.part, key) {
            (ObjectPart::Object(item), "apiVersion") => Some((item, Field::ApiVersion)),
            (ObjectPart::Object(item), "kind") => Some((item, Field::Kind)),
            (ObjectPart::Metadata(item), "name") => Some((item, Field::Name)),
            (ObjectPart::Metadata(item), "namespace") => Some((item, Field::Namespace)),
            _ => None,
        }
    }

    /// The way to the next node: `spec.template.spec.containers[0].image`. Keys that are not plain words are quoted,
    /// as in `data["app.yaml"]`.
    pub(crate) fn path(&self) -> String {
        let mut path = String::new();
        for frame in &self.0 {
            match &frame.slot {
                Slot::Sequence { index } => {
                    write!(path, "[{index}]").expect("writing to a String cannot fail");
                }
                Slot::Mapping { key } => {
                    push_key(&mut path, key.as_ref().and_then(|key| key.text.as_deref()));
                }
            }
            if path.len() > MAX_PATH {
                path.truncate(path.floor_char_boundary(MAX_PATH));
                path.push('…');
                break;
            }
        }
        path
    }

    fn part_of_child(&self, sequence: bool) -> ObjectPart {
        let Some(parent) = self.0.last() else {
            return if sequence { ObjectPart::Items } else { ObjectPart::Object(None) };
        };
        match (&parent.slot, parent.part, sequence) {
            (Slot::Sequence { index }, ObjectPart::Items, false) => ObjectPart::Object(Some(*index)),
            (
                Slot::Mapping { key: Some(Key { text: Some(text), .. }) },
                ObjectPart::Object(item),
                sequence,
            ) => match (text.as_ref(), item, sequence) {
                ("metadata", item, false) => ObjectPart::Metadata(item),
                ("items", None, true) => ObjectPart::Items,
                _ => ObjectPart::Inner,
            },
            _ => ObjectPart::Inner,
        }
    }
}

/// Appends a key to a path, shortened where it is very long.
pub(crate) fn push_key(path: &mut String, key: Option<&str>) {
    // A key may be as long as the file; no more of it is looked at than the path can show.
    let key = key.map(|key| &key[..key.floor_char_boundary(MAX_PATH)]);
    let is_word = |key: &str| key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    match key {
        Some(key) if !key.is_empty() && is_word(key) => {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(key);
        }
        Some(key) => write!(path, "[{key:?}]").expect("writing to a String cannot fail"),
        None => path.push_str("[?]"),
    }
}
