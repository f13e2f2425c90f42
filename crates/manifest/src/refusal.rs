//! Why an edit by path is refused.

use crate::scan::{MAX_FILE_BYTES, Unreadable};
use crate::splice::Refused;
use crate::tree::{MAX_NODES, Unread};

/// An edit by path that was not made. The file is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {cause}")]
pub struct Refusal {
    /// The line at fault, counted from 1.
    pub line: usize,
    /// What is wrong, and what to do about it.
    pub cause: RefusalCause,
}

/// What is wrong with the place that a path names, or with the new value. The text says what to do next. The same
/// edit of the same file always fails in the same way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusalCause {
    /// The file is larger than [`MAX_FILE_BYTES`].
    #[error("the file has more than the {MAX_FILE_BYTES} bytes that are read; split it")]
    TooLarge,
    /// A document has too many nodes.
    #[error("the document has more than the {MAX_NODES} keys and values that are read; split it")]
    TooManyNodes,
    /// The file is not UTF-8.
    #[error("the file is not valid UTF-8; convert it")]
    NotUtf8,
    /// The document cannot be parsed.
    #[error("the document cannot be parsed: {message}")]
    Unparsable {
        /// The parser's message.
        message: String,
    },
    /// The file has no document.
    #[error("the file is empty")]
    Empty,
    /// The selector names no document of the file.
    #[error("there is no document `{selector}` in the file, which has {documents}")]
    NoDocument {
        /// The selector.
        selector: String,
        /// How many there are.
        documents: usize,
    },
    /// More than one document is meant.
    #[error("`{what}` is found in {documents} documents of the file; say which one is meant")]
    ManyDocuments {
        /// What is there more than once.
        what: String,
        /// How many documents have it.
        documents: usize,
    },
    /// This kind of file has one document.
    #[error("the file has more than one document, of which only the first would be read; split it")]
    NotOneDocument,
    /// A key of the path is not there.
    #[error("{parent} has no key `{key}`{keys}")]
    NoSuchKey {
        /// The path to the mapping.
        parent: String,
        /// The key.
        key: String,
        /// The keys that are there, for people.
        keys: String,
    },
    /// A key of the path is there twice.
    #[error("the key `{key}` is there twice in {parent}; remove one")]
    RepeatedKey {
        /// The path to the mapping.
        parent: String,
        /// The key.
        key: String,
    },
    /// An item of the path is not there.
    #[error("{parent} has no item `{item}`; it has {items} items")]
    NoSuchItem {
        /// The path to the list.
        parent: String,
        /// The item, as in the path.
        item: String,
        /// How many items there are.
        items: usize,
    },
    /// Several items of a list are meant.
    #[error("{parent} has {items} items `{item}`; only one may be meant")]
    AmbiguousItem {
        /// The path to the list.
        parent: String,
        /// The item, as in the path.
        item: String,
        /// How many items match.
        items: usize,
    },
    /// A node of the path is not what the path needs.
    #[error("{path} is {found}, not {wanted}")]
    WrongKind {
        /// The path to the node.
        path: String,
        /// What it is.
        found: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// The path goes through an alias.
    #[error("{path} is an alias; edit the place where its anchor is")]
    Alias {
        /// The path to the alias.
        path: String,
    },
    /// An alias repeats the value in a place that is not meant.
    #[error("{path} is repeated by an alias elsewhere; write the value out where the alias is")]
    Shared {
        /// The path to the value.
        path: String,
    },
    /// The value is a block scalar.
    #[error("{path} is a block scalar; put the value on the line of its key")]
    BlockScalar {
        /// The path to the value.
        path: String,
    },
    /// The value spans lines.
    #[error("{path} spans several lines; put it on one line")]
    MultiLine {
        /// The path to the value.
        path: String,
    },
    /// The value's tag says that it is not text.
    #[error("the tag `{tag}` of {path} says that it is not text; remove the tag")]
    TypedTag {
        /// The path to the value.
        path: String,
        /// The tag, as written.
        tag: String,
    },
    /// The value is rendered by something else.
    #[error("{path} contains `{{{{`: it is a template; edit the place where the value comes from")]
    Template {
        /// The path to the value.
        path: String,
    },
    /// The place holds no image.
    #[error(
        "{path} holds no image: there should be a single value, or a mapping with `repository` and `tag`"
    )]
    NotAnImage {
        /// The path to the place.
        path: String,
    },
    /// The place takes a digest, but there is none.
    #[error("{path} takes a digest, and the image has none: reflect digests, or name another place")]
    NoDigest {
        /// The path to the place.
        path: String,
    },
    /// The new value has a character that a scalar on one line cannot hold.
    #[error("the new value contains {character:?}, which cannot be written on one line")]
    Unwritable {
        /// The character.
        character: char,
    },
    /// The new value contains `{{`.
    #[error("the new value contains `{{{{`, which would make the line a template")]
    TemplateValue,
    /// The changed file would not be parsed as the same file with the new values.
    #[error(
        "the change would alter more than it should; the file is left alone: write it in a plainer style"
    )]
    Altered,
}

impl RefusalCause {
    /// The cause in one word, for metric labels and log fields.
    pub fn kind(&self) -> &'static str {
        match self {
            RefusalCause::TooLarge => "too-large",
            RefusalCause::TooManyNodes => "too-many-nodes",
            RefusalCause::NotUtf8 => "not-utf8",
            RefusalCause::Unparsable { .. } => "unparsable",
            RefusalCause::Empty => "empty",
            RefusalCause::NoDocument { .. } => "no-document",
            RefusalCause::ManyDocuments { .. } => "many-documents",
            RefusalCause::NotOneDocument => "not-one-document",
            RefusalCause::NoSuchKey { .. } => "no-such-key",
            RefusalCause::RepeatedKey { .. } => "repeated-key",
            RefusalCause::NoSuchItem { .. } => "no-such-item",
            RefusalCause::AmbiguousItem { .. } => "ambiguous-item",
            RefusalCause::WrongKind { .. } => "wrong-kind",
            RefusalCause::Alias { .. } => "alias",
            RefusalCause::Shared { .. } => "shared",
            RefusalCause::BlockScalar { .. } => "block-scalar",
            RefusalCause::MultiLine { .. } => "multi-line",
            RefusalCause::TypedTag { .. } => "typed-tag",
            RefusalCause::Template { .. } => "template",
            RefusalCause::NotAnImage { .. } => "not-an-image",
            RefusalCause::NoDigest { .. } => "no-digest",
            RefusalCause::Unwritable { .. } => "unwritable",
            RefusalCause::TemplateValue => "template-value",
            RefusalCause::Altered => "altered",
        }
    }

    pub(crate) fn at(self, line: usize) -> Refusal {
        Refusal { line, cause: self }
    }
}

impl From<Unreadable> for Refusal {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::TooLarge => RefusalCause::TooLarge.at(1),
            Unreadable::NotUtf8 { line } => RefusalCause::NotUtf8.at(line),
        }
    }
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Unparsable { line, message } => RefusalCause::Unparsable { message }.at(line),
            Unread::TooManyNodes { line } => RefusalCause::TooManyNodes.at(line),
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            // The bytes are those that were read a moment ago.
            Refused::Stale => RefusalCause::Altered.at(1),
            Refused::Altered { line } => RefusalCause::Altered.at(line),
        }
    }
}
