//! Properties over generated YAML: what is outside the marked scalars never changes, the result means the same except
//! for the new values, a second edit changes nothing, and every marker is accounted for.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use granit_parser::{Event, Parser};
use proptest::prelude::*;
use windlass_manifest::{Edit, EditError, ProblemCause, Scan, apply, scan};

const MARKER: &str = r#"{"$imagepolicy": "apps:app"}"#;

/// A scalar on one line.
#[derive(Debug, Clone)]
struct Leaf {
    text: &'static str,
    style: LeafStyle,
    anchor: bool,
    tag: Option<&'static str>,
    comment: LeafComment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeafStyle {
    Plain,
    Single,
    Double,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LeafComment {
    None,
    Other(&'static str),
    Marker(&'static str),
}

#[derive(Debug, Clone)]
enum Node {
    Leaf(Leaf),
    Map(Vec<Node>),
    Seq(Vec<Node>),
    /// One flow collection; the marker after it is good with one value alone.
    Flow {
        mapping: bool,
        values: Vec<&'static str>,
        marked: bool,
    },
    /// A block scalar with markers in its text and on its header.
    Block {
        folded: bool,
        lines: Vec<&'static str>,
        marked: bool,
    },
    /// A key without a value, marked.
    Empty,
    /// An alias of the last anchor of the document, if it has one.
    Alias {
        marked: bool,
    },
}

#[derive(Debug, Clone)]
struct Layout {
    /// Carriage returns, a byte order mark.
    bytes: (bool, bool),
    indent: usize,
    compact_lists: bool,
    separators: Vec<&'static str>,
    final_line_feed: bool,
    notes: Vec<&'static str>,
}

/// Values that are plain scalars, wherever they stand outside flow collections.
const TEXTS: [&str; 12] = [
    "ghcr.io/org/app:1.0.0",
    "1.20",
    "v1.2.3",
    "latest",
    "yes",
    "null",
    "a b  c",
    "http://x/y?z#w",
    "0x1f",
    "2024-01-15",
    "naïve",
    "it's",
];
const FLOW_TEXTS: [&str; 5] = ["app:1.0.0", "1.20", "'a, b'", "\"x]\"", "true"];
const BLOCK_LINES: [&str; 5] = [
    "text",
    "  indented",
    "image: x # {\"$imagepolicy\": \"apps:app\"}",
    "# {\"$imagepolicy\": \"apps:app\"}",
    "",
];
const NOTES: [&str; 4] = ["", "# note", "  # odd note", "#"];
const SEPARATORS: [&str; 5] = ["---", "--- # next", "---\t", "...\n---", "---\n# only a comment\n---"];

/// The text of a file under construction, and what is to be found in it.
#[derive(Default)]
struct Rendered {
    text: String,
    values: Vec<String>,
    /// For each value, whether an alias repeats it.
    shared: Vec<bool>,
    problems: usize,
    anchors: usize,
    /// The last anchor of the document at hand, and the value that it is on, if that is marked.
    last_anchor: Option<(usize, Option<usize>)>,
}

impl Rendered {
    fn line(&mut self, indent: usize, prefix: &str, text: &str) {
        self.text.push_str(&" ".repeat(indent));
        self.text.push_str(prefix);
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn node(&mut self, node: &Node, indent: usize, prefix: &str, layout: &Layout) {
        match node {
            Node::Leaf(leaf) => {
                let text = self.leaf(leaf);
                self.line(indent, prefix, &format!(" {text}"));
            }
            Node::Map(children) if !children.is_empty() => {
                self.line(indent, prefix, "");
                for (index, child) in children.iter().enumerate() {
                    self.note(layout, index);
                    self.node(child, indent + layout.indent, &format!("k{index}:"), layout);
                }
            }
            Node::Seq(children) if !children.is_empty() => {
                self.line(indent, prefix, "");
                let compact = layout.compact_lists && prefix.ends_with(':');
                let inner = if compact { indent } else { indent + layout.indent };
                for (index, child) in children.iter().enumerate() {
                    self.note(layout, index);
                    self.node(child, inner, "-", layout);
                }
            }
            Node::Map(_) => self.line(indent, prefix, " {}"),
            Node::Seq(_) => self.line(indent, prefix, " []"),
            Node::Flow { mapping, values, marked } => self.flow(*mapping, values, *marked, indent, prefix),
            Node::Block { folded, lines, marked } => self.block(*folded, lines, *marked, indent, prefix),
            Node::Alias { marked } => self.alias(*marked, indent, prefix),
            Node::Empty => {
                self.problems += 1;
                self.line(indent, prefix, &format!(" # {MARKER}"));
            }
        }
    }

    fn alias(&mut self, marked: bool, indent: usize, prefix: &str) {
        let Some((anchor, value)) = self.last_anchor else {
            return self.line(indent, prefix, " x");
        };
        if let Some(value) = value {
            self.shared[value] = true;
        }
        self.problems += usize::from(marked);
        let comment = if marked { format!(" # {MARKER}") } else { String::new() };
        self.line(indent, prefix, &format!(" *a{anchor}{comment}"));
    }

    fn leaf(&mut self, leaf: &Leaf) -> String {
        let mut text = String::new();
        if leaf.anchor {
            self.anchors += 1;
            let marked = matches!(leaf.comment, LeafComment::Marker(_));
            self.last_anchor = Some((self.anchors, marked.then_some(self.values.len())));
            text = format!("&a{} ", self.anchors);
        }
        if let Some(tag) = leaf.tag {
            text.push_str(tag);
            text.push(' ');
        }
        let scalar = match leaf.style {
            LeafStyle::Plain => leaf.text.to_owned(),
            LeafStyle::Single => format!("'{}'", leaf.text.replace('\'', "''")),
            LeafStyle::Double => format!("\"{}\"", leaf.text),
        };
        text.push_str(&scalar);
        match &leaf.comment {
            LeafComment::None => {}
            LeafComment::Other(comment) => text.push_str(comment),
            LeafComment::Marker(space) => {
                self.value(leaf.text);
                text.extend([space, "#", space, MARKER]);
            }
        }
        text
    }

    fn flow(&mut self, mapping: bool, values: &[&str], marked: bool, indent: usize, prefix: &str) {
        let values_of = |(index, value): (usize, &&str)| {
            if mapping { format!("k{index}: {value}") } else { (*value).to_owned() }
        };
        let inner = values.iter().enumerate().map(values_of).collect::<Vec<_>>().join(", ");
        let text = if mapping { format!(" {{{inner}}}") } else { format!(" [{inner}]") };
        let comment = if marked { format!(" # {MARKER}") } else { String::new() };
        match (marked, values) {
            (true, [value]) => self.value(value.trim_matches(['\'', '"'])),
            (true, _) => self.problems += 1,
            (false, _) => {}
        }
        self.line(indent, prefix, &format!("{text}{comment}"));
    }

    fn block(&mut self, folded: bool, lines: &[&str], marked: bool, indent: usize, prefix: &str) {
        let header = if folded { ">2+" } else { "|2-" };
        let comment = if marked { format!(" # {MARKER}") } else { String::new() };
        self.problems += usize::from(marked);
        self.line(indent, prefix, &format!(" {header}{comment}"));
        for line in lines {
            self.problems += usize::from(line.contains(MARKER));
            self.line(indent + 2, "", line);
        }
    }

    fn value(&mut self, value: &str) {
        self.values.push(value.to_owned());
        self.shared.push(false);
    }

    fn note(&mut self, layout: &Layout, index: usize) {
        let note = layout.notes[index % layout.notes.len()];
        self.line(0, "", note);
    }
}

fn render(documents: &[Node], layout: &Layout) -> Rendered {
    let mut out = Rendered::default();
    for (index, document) in documents.iter().enumerate() {
        if index > 0 {
            let separator = layout.separators[index % layout.separators.len()];
            out.line(0, "", separator);
        }
        out.last_anchor = None;
        out.node(document, 0, "root:", layout);
    }
    if !layout.final_line_feed {
        out.text.truncate(out.text.trim_end_matches('\n').len());
    }
    if layout.bytes.0 {
        out.text = out.text.replace('\n', "\r\n");
    }
    if layout.bytes.1 {
        out.text.insert(0, '\u{feff}');
    }
    out
}

fn leaf() -> impl Strategy<Value = Node> {
    let style = prop_oneof![Just(LeafStyle::Plain), Just(LeafStyle::Single), Just(LeafStyle::Double)];
    let comment = prop_oneof![
        2 => Just(LeafComment::None),
        1 => prop_oneof![Just(" # note"), Just("\t# {not json}"), Just("  #")].prop_map(LeafComment::Other),
        3 => prop_oneof![Just(" "), Just("\t"), Just("   ")].prop_map(LeafComment::Marker),
    ];
    let tag = prop_oneof![4 => Just(None), 1 => Just(Some("!!str")), 1 => Just(Some("!own"))];
    (prop::sample::select(TEXTS.to_vec()), style, prop::bool::weighted(0.2), tag, comment).prop_map(
        |(text, style, anchor, tag, comment)| Node::Leaf(Leaf { text, style, anchor, tag, comment }),
    )
}

fn node() -> impl Strategy<Value = Node> {
    let flow = (
        any::<bool>(),
        prop::collection::vec(prop::sample::select(FLOW_TEXTS.to_vec()), 1..4),
        any::<bool>(),
    )
        .prop_map(|(mapping, values, marked)| Node::Flow { mapping, values, marked });
    let block = (
        any::<bool>(),
        prop::collection::vec(prop::sample::select(BLOCK_LINES.to_vec()), 0..5),
        any::<bool>(),
    )
        .prop_map(|(folded, mut lines, marked)| {
            // A block scalar without text would be an empty value, and its end is where the text ends.
            lines.insert(0, "first");
            lines.push("last");
            Node::Block { folded, lines, marked }
        });
    let alias = any::<bool>().prop_map(|marked| Node::Alias { marked });
    let simple = prop_oneof![6 => leaf(), 2 => flow, 1 => block, 1 => alias];
    simple.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            3 => prop::collection::vec(prop_oneof![9 => inner.clone(), 1 => Just(Node::Empty)], 0..5).prop_map(Node::Map),
            2 => prop::collection::vec(inner, 0..5).prop_map(Node::Seq),
        ]
    })
}

fn layout() -> impl Strategy<Value = Layout> {
    (
        (any::<bool>(), prop::bool::weighted(0.2)),
        1_usize..5,
        any::<bool>(),
        prop::collection::vec(prop::sample::select(SEPARATORS.to_vec()), 1..4),
        any::<bool>(),
        prop::collection::vec(prop::sample::select(NOTES.to_vec()), 1..4),
    )
        .prop_map(|(bytes, indent, compact_lists, separators, final_line_feed, notes)| Layout {
            bytes,
            indent,
            compact_lists,
            separators,
            final_line_feed,
            notes,
        })
}

fn new_value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(TEXTS.to_vec()).prop_map(str::to_owned),
        3 => "[a-z0-9./:@_-]{0,20}",
        2 => "[0-9eExX._:+-]{0,10}",
        2 => "[ -~]{0,12}",
        1 => ".{0,8}",
    ]
}

/// Every event, with errors as text; documents after a broken one included.
fn events(text: &str) -> Vec<Result<Event<'_>, String>> {
    let mut parser = Parser::new_from_str(text);
    let mut events = Vec::new();
    while let Some(item) = parser.next() {
        let failed = item.is_err();
        events.push(item.map(|(event, _)| event).map_err(|error| format!("{:?}", error.kind())));
        if failed && parser.proceed_next_document().is_err() {
            break;
        }
    }
    events
}

/// Checks an edit of every place against the parser and byte by byte.
fn check_edit(text: &str, found: &Scan, values: &[String]) -> Result<(), TestCaseError> {
    let edits: Vec<Edit> = (0..found.places.len())
        .map(|place| Edit { place, value: values[place % values.len()].clone() })
        .collect();
    let output = match apply(text.as_bytes(), found, &edits) {
        Ok(output) => String::from_utf8(output).expect("UTF-8 in, UTF-8 out"),
        Err(EditError::Unwritable { character, .. }) => {
            prop_assert!(character.is_control() || !character.is_ascii(), "{character:?} is refused");
            prop_assert!(values.iter().any(|value| value.contains(character)));
            return Ok(());
        }
        Err(EditError::Template { .. }) => {
            prop_assert!(values.iter().any(|value| value.contains("{{")));
            return Ok(());
        }
        Err(error) => return Err(TestCaseError::fail(format!("{error}"))),
    };

    let again = scan(output.as_bytes());
    prop_assert_eq!(&again.problems, &found.problems);
    prop_assert_eq!(again.places.len(), found.places.len());
    let (mut old_at, mut new_at) = (0, 0);
    for ((old, new), edit) in found.places.iter().zip(&again.places).zip(&edits) {
        prop_assert_eq!(&new.value, &edit.value);
        prop_assert_eq!((&old.key_path, &old.object, old.line), (&new.key_path, &new.object, new.line));
        prop_assert_eq!(&text[old_at..old.span().start], &output[new_at..new.span().start]);
        (old_at, new_at) = (old.span().end, new.span().end);
    }
    prop_assert_eq!(&text[old_at..], &output[new_at..]);

    let (old_events, new_events) = (events(text), events(&output));
    prop_assert_eq!(old_events.len(), new_events.len());
    let mut changed = 0;
    for (old, new) in old_events.iter().zip(&new_events) {
        if old != new {
            changed += 1;
            let (Ok(Event::Scalar(_, _, anchor, tag)), Ok(Event::Scalar(_, _, new_anchor, new_tag))) =
                (old, new)
            else {
                return Err(TestCaseError::fail(format!("{old:?} became {new:?}")));
            };
            prop_assert_eq!((anchor, tag), (new_anchor, new_tag));
        }
    }
    let wanted = found.places.iter().zip(&edits).filter(|(place, edit)| place.value != edit.value).count();
    prop_assert_eq!(changed, wanted);
    prop_assert_eq!(apply(output.as_bytes(), &again, &edits).unwrap(), output.as_bytes());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_files_are_edited_in_the_marked_scalars_alone(
        documents in prop::collection::vec(node(), 1..4),
        layout in layout(),
        values in prop::collection::vec(new_value(), 1..5),
    ) {
        let rendered = render(&documents, &layout);
        let found = scan(rendered.text.as_bytes());
        let found_values: Vec<_> = found.places.iter().map(|place| place.value.clone()).collect();
        prop_assert_eq!(&found_values, &rendered.values, "{}", rendered.text);
        let shared: Vec<_> = found.places.iter().map(|place| place.shared_by_alias).collect();
        prop_assert_eq!(&shared, &rendered.shared, "{}", rendered.text);
        prop_assert_eq!(found.problems.len(), rendered.problems, "{:?}\n{}", found.problems, rendered.text);
        check_edit(&rendered.text, &found, &values)?;
    }

    #[test]
    fn every_marker_in_any_text_is_a_place_or_a_problem(
        tokens in prop::collection::vec(prop::sample::select(SOUP.to_vec()), 0..40),
        values in prop::collection::vec(new_value(), 1..3),
    ) {
        let text = tokens.concat();
        let found = scan(text.as_bytes());
        let listed: usize = found.problems.iter().map(|problem| match &problem.cause {
            ProblemCause::Unparsable { markers, .. } => markers.len(),
            _ => 1,
        }).sum();
        prop_assert_eq!(found.places.len() + listed, text.matches(MARKER).count(), "{:?}\n{}", found, text);
        check_edit(&text, &found, &values)?;
    }

    #[test]
    fn any_bytes_are_scanned_without_panic(
        head in prop::collection::vec(any::<u8>(), 0..40),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let bytes = [&head[..], b" # {\"$imagepolicy\": \"apps:app\"}\n", &tail[..]].concat();
        let found = scan(&bytes);
        prop_assert!(!found.places.is_empty() || !found.problems.is_empty());
    }
}

/// Pieces that make valid and broken YAML; a marker always ends its line, so that each is one of its own.
const SOUP: [&str; 42] = [
    " # {\"$imagepolicy\": \"apps:app\"}\n",
    " # {\"$imagepolicy\": \"apps:app\"}\r\n",
    "# {\"$imagepolicy\": \"apps:app\"}\n",
    " # {\"$imagepolicy\": \"apps:app\"}\n",
    " {\"$imagepolicy\": \"apps:app\"}\n",
    "a: ",
    "b: ",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "\r",
    "  ",
    "    ",
    "\t",
    "- ",
    "- ",
    "---\n",
    "--- ",
    "...\n",
    "x:1",
    "1.20",
    "'q'",
    "\"d\"",
    "'",
    "\"",
    "[",
    "]",
    "{",
    "}",
    ", ",
    ": ",
    "? ",
    "&a ",
    "*a",
    "!!str ",
    "!!int ",
    "|\n",
    ">-\n",
    "{{ x }}",
    "# note\n",
    "\u{feff}",
];
