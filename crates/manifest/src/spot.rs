//! A node of a document with the way to it: what a path leads to.

use granit_parser::ScalarStyle;
use windlass_model::place::ObjectIdentifier;

use crate::path::{KeyPath, Step};
use crate::refusal::{Refusal, RefusalCause};
use crate::scalar::{self, Style};
use crate::scan::Target;
use crate::tree::{Document, Kind, Node, Pair};

/// How many keys a message lists.
const MAX_LISTED: usize = 8;
/// How much of a key a message shows.
const MAX_SHOWN: usize = 40;

/// A node and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Spot<'t, 'a> {
    document: &'t Document<'a>,
    pub(crate) node: &'t Node<'a>,
    /// The pair of which the node is the value.
    pub(crate) pair: Option<&'t Pair<'a>>,
    /// Empty for the root.
    pub(crate) path: String,
    /// Between `[` and `]` or `{` and `}`.
    pub(crate) in_flow: bool,
    /// An alias repeats the node, or one around it.
    pub(crate) shared: bool,
}

impl<'t, 'a> Spot<'t, 'a> {
    pub(crate) fn root(document: &'t Document<'a>) -> Self {
        let node = &document.root;
        let shared = document.aliased.contains(&node.anchor);
        Self { document, node, pair: None, path: String::new(), in_flow: false, shared }
    }

    /// The node that a path from here leads to.
    pub(crate) fn follow(&self, path: &KeyPath) -> Result<Self, Refusal> {
        let mut spot = self.clone();
        for step in path.steps() {
            spot = match step {
                Step::Key(key) => spot.key(key)?,
                Step::Index(index) => spot.index(*index, step)?,
                Step::Item { key, value } => spot.item(key, value, step)?,
            };
        }
        Ok(spot)
    }

    /// The value of a key, if the key is there.
    pub(crate) fn child(&self, key: &str) -> Result<Option<Self>, Refusal> {
        self.child_by(key, str::eq)
    }

    /// The value of a key under another rule of when two keys are the same.
    pub(crate) fn child_by(
        &self,
        key: &str,
        same: impl Fn(&str, &str) -> bool,
    ) -> Result<Option<Self>, Refusal> {
        let is_key = |pair: &&Pair<'a>| pair.key.text().is_some_and(|text| same(text, key));
        let mut hits = self.pairs()?.iter().filter(is_key);
        let Some(pair) = hits.next() else { return Ok(None) };
        if let Some(again) = hits.next() {
            let cause = RefusalCause::RepeatedKey { parent: self.name(), key: shown(key) };
            return Err(cause.at(again.key.line));
        }
        let text = pair.key.text().unwrap_or(key).to_owned();
        Ok(Some(Self { pair: Some(pair), ..self.below(&pair.value, &Step::Key(text)) }))
    }

    /// The items of this list, each with its spot.
    pub(crate) fn items(&self) -> Result<impl Iterator<Item = Self>, Refusal> {
        let Kind::Sequence { items, .. } = &self.node.kind else { return Err(self.wrong_kind("a list")) };
        Ok(items.iter().enumerate().map(|(index, item)| self.below(item, &Step::Index(index))))
    }

    /// What an edit must know of this scalar; refused where it cannot be changed safely.
    pub(crate) fn target(&self) -> Result<Target, Refusal> {
        let Node { kind, span, line, tag, .. } = self.node;
        let path = self.name();
        let Kind::Scalar { text, style, one_line } = kind else {
            return Err(self.wrong_kind("a single value"));
        };
        let cause = match (Style::of(*style), scalar::other_type(tag.as_deref())) {
            (None, _) => RefusalCause::BlockScalar { path },
            (Some(_), _) if !one_line => RefusalCause::MultiLine { path },
            (Some(_), _) if text.contains("{{") => RefusalCause::Template { path },
            (Some(_), Some(tag)) => RefusalCause::TypedTag { path, tag },
            (Some(style), None) => {
                let (in_flow, tagged) = (self.in_flow, tag.is_some());
                return Ok(Target { span: span.clone(), style, in_flow, tagged });
            }
        };
        Err(cause.at(*line))
    }

    /// Whether the value reads as text both in YAML 1.1 and in YAML 1.2.
    pub(crate) fn is_text(&self) -> bool {
        match &self.node.kind {
            Kind::Scalar { text, style: ScalarStyle::Plain, .. } => {
                !self.node.is_empty() && scalar::is_text(text, self.node.tag.is_some())
            }
            kind => matches!(kind, Kind::Scalar { .. }),
        }
    }

    /// As [`Spot::target`], for the key of one of this mapping's pairs.
    pub(crate) fn key_target(&self, pair: &'t Pair<'a>) -> Result<Target, Refusal> {
        self.below(&pair.key, &Step::Key(pair.key.text().unwrap_or_default().to_owned())).target()
    }

    /// The path of one of this mapping's keys.
    pub(crate) fn path_of(&self, key: &str) -> String {
        let mut path = self.path.clone();
        Step::Key(key.to_owned()).push(&mut path);
        path
    }

    /// The path for people: the root has none.
    pub(crate) fn name(&self) -> String {
        if self.path.is_empty() { "the document".to_owned() } else { format!("`{}`", self.path) }
    }

    pub(crate) fn wrong_kind(&self, wanted: &'static str) -> Refusal {
        let path = self.name();
        let cause = match &self.node.kind {
            Kind::Alias => RefusalCause::Alias { path },
            _ => RefusalCause::WrongKind { path, found: self.node.describe(), wanted },
        };
        cause.at(self.node.line)
    }

    /// The pairs of this mapping.
    pub(crate) fn pairs(&self) -> Result<&'t [Pair<'a>], Refusal> {
        self.node.pairs().ok_or_else(|| self.wrong_kind("a mapping"))
    }

    fn key(&self, key: &str) -> Result<Self, Refusal> {
        self.child(key)?.ok_or_else(|| {
            let keys = self.node.pairs().map(listing).unwrap_or_default();
            RefusalCause::NoSuchKey { parent: self.name(), key: shown(key), keys }.at(self.node.line)
        })
    }

    fn index(&self, index: usize, step: &Step) -> Result<Self, Refusal> {
        let count = self.items()?.count();
        self.items()?.nth(index).ok_or_else(|| self.no_such_item(step, count))
    }

    fn item(&self, key: &str, value: &str, step: &Step) -> Result<Self, Refusal> {
        let mut items = self.items()?.filter(|item| item.node.get(key).and_then(Node::text) == Some(value));
        let Some(mut found) = items.next() else {
            return Err(self.no_such_item(step, self.items()?.count()));
        };
        match items.count() {
            0 => {
                found.path.clone_from(&self.path);
                step.push(&mut found.path);
                Ok(found)
            }
            more => {
                let item = shown(&format!("{key}={value}"));
                let cause = RefusalCause::AmbiguousItem { parent: self.name(), item, items: more + 1 };
                Err(cause.at(self.node.line))
            }
        }
    }

    fn no_such_item(&self, step: &Step, items: usize) -> Refusal {
        let mut item = String::new();
        step.push(&mut item);
        let cause = RefusalCause::NoSuchItem { parent: self.name(), item: shown(&item), items };
        cause.at(self.node.line)
    }

    fn below(&self, node: &'t Node<'a>, step: &Step) -> Self {
        let mut path = self.path.clone();
        step.push(&mut path);
        let is_flow =
            matches!(self.node.kind, Kind::Sequence { flow: true, .. } | Kind::Mapping { flow: true, .. });
        Self {
            document: self.document,
            node,
            pair: None,
            path,
            in_flow: self.in_flow || is_flow,
            shared: self.shared || self.document.aliased.contains(&node.anchor),
        }
    }
}

/// Which object a document is.
pub(crate) fn identity(root: &Node<'_>) -> ObjectIdentifier {
    let text = |node: Option<&Node<'_>>, key| {
        node.and_then(|node| node.get(key)).and_then(Node::text).unwrap_or_default().to_owned()
    };
    let metadata = root.get("metadata");
    ObjectIdentifier {
        api_version: text(Some(root), "apiVersion"),
        kind: text(Some(root), "kind"),
        name: text(metadata, "name"),
        namespace: text(metadata, "namespace"),
    }
}

/// `; it has a, b, c`
fn listing(pairs: &[Pair<'_>]) -> String {
    let mut keys: Vec<String> =
        pairs.iter().filter_map(|pair| pair.key.text()).take(MAX_LISTED).map(shown).collect();
    if pairs.len() > MAX_LISTED {
        keys.push(format!("{} more", pairs.len() - MAX_LISTED));
    }
    if keys.is_empty() { String::new() } else { format!("; it has {}", keys.join(", ")) }
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
