//! Adding to a document and taking from it, in the style that the file has.

use granit_parser::{ScalarStyle, StructureStyle};

use crate::layout::{self, Dash};
use crate::refusal::Refusal;
use crate::revise::{Changed, Revision, write};
use crate::scalar::Style;
use crate::scan::Target;
use crate::splice::{Added, Insert, Rewrite, Splice};
use crate::spot::Spot;
use crate::tree::{Kind, Node, Pair};

/// A mapping of texts that is to become an item of a list: `- name: app`.
pub(crate) type Fields = [(&'static str, String)];

/// Adds a pair at the end of a mapping.
pub(crate) fn add_pair(
    text: &str,
    mapping: &Spot<'_, '_>,
    key: &str,
    value: &str,
) -> Result<Revision, Refusal> {
    let pen = Pen::of(mapping)?;
    let pair = format!("{}: {}", pen.write(key)?, pen.write(value)?);
    let nodes = vec![Added::Scalar(key.to_owned()), Added::Scalar(value.to_owned())];
    let splice = match mapping.pairs()? {
        pairs if pen.in_flow => into_flow(mapping.node, pairs.last().map(|pair| pair.end), &pair),
        pairs => {
            let (indent, end) = block_mapping(text, pairs, mapping.node);
            new_lines(text, end, &format!("{indent}{pair}"))
        }
    };
    let path = mapping.path_of(key);
    Ok(grown(text, splice, mapping.node.events.end - 1, nodes, (&[(path, value)], true)))
}

/// Adds an item at the end of a list.
pub(crate) fn add_item(text: &str, list: &Spot<'_, '_>, fields: &Fields) -> Result<Revision, Refusal> {
    let items = list.node.items().ok_or_else(|| list.wrong_kind("a list"))?;
    let in_flow = list.in_flow || matches!(list.node.kind, Kind::Sequence { flow: true, .. });
    let sibling = items.last();
    let flow_item =
        in_flow || sibling.is_some_and(|item| matches!(item.kind, Kind::Mapping { flow: true, .. }));
    let quoted = sibling.and_then(Node::pairs).is_some_and(has_quoted_keys);
    let pen = Pen { in_flow: flow_item, quoted, line: list.node.line };
    let splice = if in_flow {
        into_flow(list.node, sibling.map(|item| item.end), &pen.flow_item(fields)?)
    } else {
        let dash = layout::dash(text, items).unwrap_or(Dash { column: 0, gap: 1 });
        let end = sibling.map_or(list.node.end, |item| item.end);
        let eol = layout::line_end_at(text, end);
        let item = pen.item(fields, dash, eol)?;
        new_lines(text, end, &item)
    };
    let index = items.len();
    let changes = paths(&format!("{}[{index}]", list.path), fields);
    let style = if flow_item { StructureStyle::Flow } else { StructureStyle::Block };
    Ok(grown(text, splice, list.node.events.end - 1, item_nodes(fields, style), (&changes, flow_item)))
}

/// Adds a key with a list of one item at the end of a mapping.
pub(crate) fn add_list(
    text: &str,
    mapping: &Spot<'_, '_>,
    key: &str,
    fields: &Fields,
) -> Result<Revision, Refusal> {
    let pen = Pen::of(mapping)?;
    let name = pen.write(key)?;
    let pairs = mapping.pairs()?;
    let style = if pen.in_flow { StructureStyle::Flow } else { StructureStyle::Block };
    let splice = if pen.in_flow {
        let list = format!("{name}: [{}]", pen.flow_item(fields)?);
        into_flow(mapping.node, pairs.last().map(|pair| pair.end), &list)
    } else {
        let (indent, end) = block_mapping(text, pairs, mapping.node);
        let eol = layout::line_end_at(text, end);
        let item = pen.item(fields, habit(text, mapping), eol)?;
        new_lines(text, end, &format!("{indent}{name}:{eol}{item}"))
    };
    let mut nodes = vec![Added::Scalar(key.to_owned())];
    nodes.extend(list_nodes(fields, style));
    let changes = paths(&format!("{}[0]", mapping.path_of(key)), fields);
    Ok(grown(text, splice, mapping.node.events.end - 1, nodes, (&changes, pen.in_flow)))
}

/// Puts a list of one item where a key has no value yet.
pub(crate) fn fill_list(
    text: &str,
    mapping: &Spot<'_, '_>,
    empty: &Spot<'_, '_>,
    fields: &Fields,
) -> Result<Revision, Refusal> {
    let pen = Pen::of(mapping)?;
    let at = empty.pair.map_or(empty.node.end, |pair| pair.end);
    // Where `null` or `~` stands, a list in one line takes its place.
    let in_line = pen.in_flow || !empty.node.is_empty();
    let style = if in_line { StructureStyle::Flow } else { StructureStyle::Block };
    let splice = if in_line {
        let pen = Pen { in_flow: true, ..pen };
        let space = if empty.node.is_empty() { " " } else { "" };
        let span = if empty.node.is_empty() { at..at } else { empty.node.span.clone() };
        Splice { span, text: format!("{space}[{}]", pen.flow_item(fields)?) }
    } else {
        let item = pen.item(fields, habit(text, mapping), layout::line_end_at(text, at))?;
        new_lines(text, at, &item)
    };
    let changes = paths(&format!("{}[0]", empty.path), fields);
    let mut revision =
        grown(text, splice, empty.node.events.end, list_nodes(fields, style), (&changes, in_line));
    revision.rewrite.removed = empty.node.events.clone();
    Ok(revision)
}

/// Starts the document of a file that has none, or an empty one: a key with a list of one item.
pub(crate) fn start_document(
    text: &str,
    root: Option<&Node<'_>>,
    key: &str,
    fields: &Fields,
) -> Result<Revision, Refusal> {
    let pen = Pen { in_flow: false, quoted: false, line: 1 };
    let at = root.map_or(text.len(), |root| root.end);
    let eol = layout::line_end_at(text, at);
    let item = pen.item(fields, Dash { column: 0, gap: 1 }, eol)?;
    let is_line_start = layout::line_start(text, at) == at;
    let lines = format!("{key}:{eol}{item}");
    let splice = if root.is_none() && is_line_start {
        Splice { span: at..at, text: format!("{lines}{eol}") }
    } else {
        new_lines(text, at, &lines)
    };
    let mut nodes = vec![Added::Mapping(StructureStyle::Block), Added::Scalar(key.to_owned())];
    nodes.extend(list_nodes(fields, StructureStyle::Block));
    nodes.push(Added::MappingEnd);
    let changes = paths(&format!("{key}[0]"), fields);
    if let Some(root) = root {
        let mut revision = grown(text, splice, root.events.end, nodes, (&changes, false));
        revision.rewrite.removed = root.events.clone();
        return Ok(revision);
    }
    nodes.insert(0, Added::DocumentStart);
    nodes.push(Added::DocumentEnd);
    // Only the stream's start precedes.
    Ok(grown(text, splice, 1, nodes, (&changes, false)))
}

/// Takes a pair out, with the comment at the end of its line. The mapping keeps at least one other pair.
pub(crate) fn remove(text: &str, mapping: &Spot<'_, '_>, spot: &Spot<'_, '_>) -> Result<Revision, Refusal> {
    let pairs = mapping.pairs()?;
    let pen = Pen::of(mapping)?;
    let Some(pair) = spot.pair else { return Err(spot.wrong_kind("a value of a mapping")) };
    let index = pairs.iter().position(|other| std::ptr::eq(other, pair)).unwrap_or_default();
    let start = pair.key.span.start;
    let span = if pen.in_flow {
        match (index.checked_sub(1).map(|before| &pairs[before]), pairs.get(index + 1)) {
            (Some(before), _) => before.end..pair.end,
            (None, Some(after)) => start..after.key.span.start,
            (None, None) => start..pair.end,
        }
    } else {
        lines_of(text, pair, index == 0)
    };
    let rewrite = Rewrite {
        splices: vec![Splice { span, text: String::new() }],
        removed: pair.key.events.start..pair.value.events.end,
        ..Rewrite::default()
    };
    let changed = Changed {
        line: spot.node.line,
        key_path: spot.path.clone(),
        old: spot.node.text().filter(|_| !spot.node.is_empty()).map(str::to_owned),
        new: None,
        shared_by_alias: spot.shared,
    };
    Ok(Revision { rewrite, changes: vec![changed] })
}

/// The bytes of a pair of a block mapping. The first may stand behind a dash, which stays, for the next pair.
fn lines_of(text: &str, pair: &Pair<'_>, is_first: bool) -> std::ops::Range<usize> {
    let start = layout::line_start(text, pair.key.span.start);
    match layout::next_line(text, pair.end) {
        Some(next) if is_first => {
            let blank = text[next..].len() - text[next..].trim_start_matches(' ').len();
            pair.key.span.start..next + blank
        }
        Some(next) => start..next,
        // The last line has no line end: the one before it loses its own.
        None => text[..start].trim_end_matches(['\n', '\r']).len()..text.len(),
    }
}

/// How new keys and values are written.
#[derive(Debug, Clone, Copy)]
struct Pen {
    in_flow: bool,
    /// As JSON: the keys that are there have double quotes.
    quoted: bool,
    line: usize,
}

impl Pen {
    fn of(mapping: &Spot<'_, '_>) -> Result<Self, Refusal> {
        let in_flow = mapping.in_flow || matches!(mapping.node.kind, Kind::Mapping { flow: true, .. });
        Ok(Self { in_flow, quoted: has_quoted_keys(mapping.pairs()?), line: mapping.node.line })
    }

    fn write(&self, value: &str) -> Result<String, Refusal> {
        let style = if self.quoted { Style::Double } else { Style::Plain };
        let target = Target { span: 0..0, style, in_flow: self.in_flow, tagged: false };
        write(&target, value, self.line)
    }

    fn pairs(&self, fields: &Fields) -> Result<Vec<String>, Refusal> {
        fields
            .iter()
            .map(|(key, value)| Ok(format!("{}: {}", self.write(key)?, self.write(value)?)))
            .collect()
    }

    fn flow_item(&self, fields: &Fields) -> Result<String, Refusal> {
        let pen = Self { in_flow: true, ..*self };
        Ok(format!("{{{}}}", pen.pairs(fields)?.join(", ")))
    }

    /// The lines of an item of a block list, without the last line end.
    fn item(&self, fields: &Fields, dash: Dash, eol: &str) -> Result<String, Refusal> {
        let indent = " ".repeat(dash.column);
        let gap = " ".repeat(dash.gap);
        if self.in_flow {
            return Ok(format!("{indent}-{gap}{}", self.flow_item(fields)?));
        }
        let separator = format!("{eol}{indent} {gap}");
        Ok(format!("{indent}-{gap}{}", self.pairs(fields)?.join(&separator)))
    }
}

fn has_quoted_keys(pairs: &[Pair<'_>]) -> bool {
    let style = pairs.last().map(|pair| &pair.key.kind);
    matches!(style, Some(Kind::Scalar { style: ScalarStyle::DoubleQuoted, .. }))
}

/// The indentation of a block mapping's keys, and where its content ends.
fn block_mapping(text: &str, pairs: &[Pair<'_>], node: &Node<'_>) -> (String, usize) {
    let column = pairs.first().map_or(0, |pair| layout::column(text, pair.key.span.start));
    (" ".repeat(column), pairs.last().map_or(node.end, |pair| pair.end))
}

/// Where the lists of this mapping have their dashes; where it has none, below the keys, as kustomize writes them.
fn habit(text: &str, mapping: &Spot<'_, '_>) -> Dash {
    let pairs = mapping.node.pairs().unwrap_or_default();
    let column = pairs.first().map_or(0, |pair| layout::column(text, pair.key.span.start));
    let lists = pairs.iter().rev().filter_map(|pair| match &pair.value.kind {
        Kind::Sequence { items, flow: false } => layout::dash(text, items),
        _ => None,
    });
    lists.into_iter().next().unwrap_or(Dash { column, gap: 1 })
}

/// Text before the closing bracket of a flow collection.
fn into_flow(collection: &Node<'_>, last: Option<usize>, text: &str) -> Splice {
    let (at, separator) = last.map_or((collection.span.start + 1, ""), |end| (end, ", "));
    Splice { span: at..at, text: format!("{separator}{text}") }
}

/// Lines, without their last line end, after the line in which this byte lies.
fn new_lines(text: &str, end: usize, lines: &str) -> Splice {
    let eol = layout::line_end_at(text, end);
    match layout::next_line(text, end) {
        Some(at) => Splice { span: at..at, text: format!("{lines}{eol}") },
        None => Splice { span: text.len()..text.len(), text: format!("{eol}{lines}") },
    }
}

fn item_nodes(fields: &Fields, style: StructureStyle) -> Vec<Added> {
    let texts = fields.iter().flat_map(|(key, value)| [(*key).to_owned(), value.clone()]);
    let mut nodes = vec![Added::Mapping(style)];
    nodes.extend(texts.map(Added::Scalar));
    nodes.push(Added::MappingEnd);
    nodes
}

fn list_nodes(fields: &Fields, style: StructureStyle) -> Vec<Added> {
    let mut nodes = vec![Added::Sequence(style)];
    nodes.extend(item_nodes(fields, style));
    nodes.push(Added::SequenceEnd);
    nodes
}

fn paths<'f>(parent: &str, fields: &'f Fields) -> Vec<(String, &'f str)> {
    fields.iter().map(|(key, value)| (format!("{parent}.{key}"), value.as_str())).collect()
}

/// The revision of one splice that adds nodes. The values end the new text: each on a line of its own, or, `in_line`,
/// all on one.
fn grown(
    text: &str,
    splice: Splice,
    before: usize,
    nodes: Vec<Added>,
    (values, in_line): (&[(String, &str)], bool),
) -> Revision {
    let above = layout::count_lines(&text[..splice.span.start]);
    let last = 1 + above + layout::count_lines(splice.text.trim_end_matches(['\n', '\r']));
    let changes = values.iter().rev().enumerate().map(|(below, (path, value))| Changed {
        line: if in_line { last } else { last.saturating_sub(below) },
        key_path: path.clone(),
        old: None,
        new: Some((*value).to_owned()),
        shared_by_alias: false,
    });
    let mut changes: Vec<Changed> = changes.collect();
    changes.reverse();
    let inserts = vec![Insert { before, nodes }];
    Revision { rewrite: Rewrite { splices: vec![splice], inserts, ..Rewrite::default() }, changes }
}
