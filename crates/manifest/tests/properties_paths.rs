//! Properties of edits by path over generated files: the result means what it should and nothing else, bytes that do not
//! belong to the change stay, a second edit changes nothing, and no input makes an edit panic.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::fmt::Write as _;

use granit_parser::{Event, Parser, ScalarStyle};
use proptest::prelude::*;
use windlass_manifest::kustomize::{self, Change, Setting};
use windlass_manifest::path::KeyPath;
use windlass_manifest::{Edit, Edited, Refusal, RefusalCause, apply, helm, path, scan_template};
use windlass_model::image::{Digest, ImageRef, Tag};

/// What a document means, as Helm and kustomize see it.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Null,
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Value {
    fn load(text: &str) -> Value {
        let mut events = Parser::new_from_str(text).map(|item| item.expect("the file parses").0);
        events
            .find_map(|event| match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::Comment(..) => None,
                event => Some(event),
            })
            .map_or(Value::Null, |first| Value::node(first, &mut events))
    }

    fn node<'a>(event: Event<'a>, events: &mut impl Iterator<Item = Event<'a>>) -> Value {
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) if text == "~" => Value::Null,
            Event::Scalar(text, ..) => Value::Text(text.into_owned()),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                while let Some(item) = Value::inner(events) {
                    items.push(item);
                }
                Value::List(items)
            }
            Event::MappingStart(..) => {
                let mut pairs = Vec::new();
                while let Some(key) = Value::inner(events) {
                    let Value::Text(key) = key else { panic!("{key:?} is a key") };
                    pairs.push((key, Value::inner(events).unwrap()));
                }
                Value::Map(pairs)
            }
            Event::StreamEnd => Value::Null,
            other => panic!("{other:?}"),
        }
    }

    fn inner<'a>(events: &mut impl Iterator<Item = Event<'a>>) -> Option<Value> {
        loop {
            match events.next()? {
                Event::Comment(..) => {}
                Event::SequenceEnd | Event::MappingEnd => return None,
                event => return Some(Value::node(event, events)),
            }
        }
    }

    fn get(&self, key: &str) -> Option<&Value> {
        let Value::Map(pairs) = self else { return None };
        pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

// ---- any scalar by its path

/// One kind of edit.
type Attempt<'e> = Box<dyn Fn(&[u8]) -> Result<Edited, Refusal> + 'e>;

#[derive(Debug, Clone)]
enum Tree {
    Leaf(&'static str, Comment),
    Empty(Comment),
    Flow(Vec<&'static str>),
    Block,
    Map(Vec<Tree>),
    List(Vec<Tree>),
}

type Comment = &'static str;

#[derive(Debug, Clone, Copy)]
struct Layout {
    indent: usize,
    compact: bool,
    /// Carriage returns, a byte order mark.
    bytes: (bool, bool),
    final_line_feed: bool,
}

const LEAVES: [&str; 8] =
    ["app:1.0", "'it''s'", "\"q\\\"\"", "1.20", "!!str 5", "&a x", "a b", "{p: x, q: y}"];
const COMMENTS: [&str; 3] = ["", " # note", "\t# {{ tpl }}"];
const KEYS: [&str; 6] = ["plain", "with.dot", "with space", "a/b", "k-1", "ключ"];

/// Writes the tree; gives the paths of what can be set.
fn write(
    tree: &Tree,
    prefix: &str,
    depth: usize,
    path: &str,
    layout: Layout,
    out: &mut String,
    paths: &mut Vec<String>,
) {
    let indent = " ".repeat(depth);
    match tree {
        Tree::Leaf(text, comment) => {
            writeln!(out, "{indent}{prefix} {text}{comment}").unwrap();
            if text.starts_with('{') {
                paths.extend([format!("{path}.p"), format!("{path}.q")]);
            } else {
                paths.push(path.to_owned());
            }
        }
        Tree::Empty(comment) => {
            writeln!(out, "{indent}{prefix}{comment}").unwrap();
            if prefix != "-" {
                paths.push(path.to_owned());
            }
        }
        Tree::Flow(items) => {
            writeln!(out, "{indent}{prefix} [{}]", items.join(", ")).unwrap();
            paths.extend((0..items.len()).map(|index| format!("{path}[{index}]")));
        }
        Tree::Block => writeln!(out, "{indent}{prefix} |2\n{indent}  text\n").unwrap(),
        Tree::Map(children) => {
            writeln!(out, "{indent}{prefix}").unwrap();
            for (index, child) in children.iter().enumerate() {
                let key = format!("{}{index}", KEYS[index % KEYS.len()]);
                let written = if key.contains(' ') { format!("'{key}':") } else { format!("{key}:") };
                let path = format!("{path}[\"{key}\"]");
                write(child, &written, depth + layout.indent, &path, layout, out, paths);
            }
        }
        Tree::List(children) => {
            writeln!(out, "{indent}{prefix}").unwrap();
            let compact = layout.compact && prefix.ends_with(':');
            let depth = if compact { depth } else { depth + layout.indent };
            for (index, child) in children.iter().enumerate() {
                write(child, "-", depth, &format!("{path}[{index}]"), layout, out, paths);
            }
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let comment = || prop::sample::select(COMMENTS.to_vec());
    let leaf = prop_oneof![
        6 => (prop::sample::select(LEAVES.to_vec()), comment()).prop_map(|(text, comment)| Tree::Leaf(text, comment)),
        1 => comment().prop_map(Tree::Empty),
        1 => prop::collection::vec(prop::sample::select(vec!["x", "'y, z'", "\"w]\""]), 1..4).prop_map(Tree::Flow),
        1 => Just(Tree::Block),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..5).prop_map(Tree::Map),
            prop::collection::vec(inner, 1..5).prop_map(Tree::List),
        ]
    })
}

fn layout() -> impl Strategy<Value = Layout> {
    (1_usize..5, any::<bool>(), (any::<bool>(), prop::bool::weighted(0.2)), any::<bool>()).prop_map(
        |(indent, compact, bytes, final_line_feed)| Layout { indent, compact, bytes, final_line_feed },
    )
}

fn finish(mut text: String, layout: Layout) -> String {
    if !layout.final_line_feed && !text.ends_with("\n\n") {
        text.truncate(text.trim_end_matches('\n').len());
    }
    if layout.bytes.0 {
        text = text.replace('\n', "\r\n");
    }
    if layout.bytes.1 { format!("\u{feff}{text}") } else { text }
}

fn new_value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec!["app:2.0", "1.20", "yes", "null", "it's", "[x]", "a, b"]).prop_map(str::to_owned),
        2 => "[a-z0-9./:@_-]{1,20}",
        2 => "[ -z|~]{0,12}",
    ]
}

/// The events, comments too, and the lines that differ.
fn differences(old: &str, new: &str) -> (usize, usize) {
    let events = |text: &str| {
        Parser::new_from_str(text)
            .map(|item| format!("{:?}", item.expect("the file parses").0))
            .collect::<Vec<_>>()
    };
    let (old_events, new_events) = (events(old), events(new));
    assert_eq!(old_events.len(), new_events.len(), "{old}\n{new}");
    let lines = old.split('\n').zip(new.split('\n')).filter(|(old, new)| old != new).count();
    assert_eq!(old.split('\n').count(), new.split('\n').count(), "{old}\n{new}");
    (old_events.iter().zip(&new_events).filter(|(old, new)| old != new).count(), lines)
}

// ---- kustomize

/// A kustomization file under construction, and its entries.
#[derive(Debug, Clone)]
struct Kustomization {
    entries: Vec<Vec<(&'static str, String)>>,
    flow: Flow,
    gap: usize,
    layout: Layout,
    resources: bool,
    remarks: bool,
    tail: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Flow {
    Block,
    Items,
    All,
}

impl Kustomization {
    fn write(&self) -> String {
        let mut out = String::new();
        let mut number = 0;
        let mut remark = |end: bool| {
            number += 1;
            let (before, after) = if end { (" ", "") } else { ("", "\n") };
            if self.remarks { format!("{before}# n{number}{after}") } else { String::new() }
        };
        let indent = if self.layout.compact { String::new() } else { " ".repeat(self.layout.indent) };
        let gap = " ".repeat(self.gap);
        if self.resources {
            writeln!(out, "resources:{}\n{indent}-{gap}a.yaml", remark(true)).unwrap();
        }
        let flow_item = |entry: &[(&str, String)]| {
            let pairs: Vec<String> =
                entry.iter().map(|(key, value)| format!("{key}: {}", quoted(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        };
        if self.flow == Flow::All {
            let items: Vec<String> = self.entries.iter().map(|entry| flow_item(entry)).collect();
            writeln!(out, "images: [{}]{}", items.join(", "), remark(true)).unwrap();
        } else if !self.entries.is_empty() {
            writeln!(out, "images:{}", remark(true)).unwrap();
            for entry in &self.entries {
                out.push_str(&remark(false));
                if self.flow == Flow::Items {
                    writeln!(out, "{indent}-{gap}{}{}", flow_item(entry), remark(true)).unwrap();
                    continue;
                }
                for (index, (key, value)) in entry.iter().enumerate() {
                    let lead = if index == 0 { format!("{indent}-{gap}") } else { format!("{indent} {gap}") };
                    writeln!(out, "{lead}{key}: {}", quoted(value)).unwrap();
                }
            }
        }
        if self.tail {
            writeln!(out, "{}namePrefix: x-{}", remark(false), remark(true)).unwrap();
        }
        finish(out, self.layout)
    }
}

/// Some values in quotes, so that all styles occur.
fn quoted(value: &str) -> String {
    match value.len() % 3 {
        0 => format!("'{value}'"),
        1 => format!("\"{value}\""),
        _ => value.to_owned(),
    }
}

const NAMES: [&str; 4] = ["app", "ghcr.io/org/app", "r.example.com:5000/x", "side"];

fn kustomization() -> impl Strategy<Value = Kustomization> {
    let field = |key: &'static str| {
        prop::option::of("v[a-z0-9.]{1,8}").prop_map(move |value| value.map(|v| (key, v)))
    };
    let entry = (field("newName"), field("newTag"), field("digest"), field("tagSuffix"), 0_usize..5);
    let flow = prop_oneof![3 => Just(Flow::Block), 1 => Just(Flow::Items), 1 => Just(Flow::All)];
    (
        prop::collection::vec(entry, 0..4),
        flow,
        1_usize..4,
        layout(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(entries, flow, gap, layout, resources, remarks, tail)| {
            let entries = entries.into_iter().enumerate().map(|(index, (a, b, c, d, at))| {
                let mut fields: Vec<(&'static str, String)> = [a, b, c, d].into_iter().flatten().collect();
                fields.insert(at.min(fields.len()), ("name", NAMES[index].to_owned()));
                fields
            });
            let layout = Layout { bytes: (layout.bytes.0, layout.bytes.1 && (resources || tail)), ..layout };
            Kustomization { entries: entries.collect(), flow, gap, layout, resources, remarks, tail }
        })
}

fn setting() -> impl Strategy<Value = Setting> {
    prop_oneof![
        2 => Just(Setting::Remove),
        1 => Just(Setting::Keep),
        4 => prop::sample::select(vec!["1.20", "2.0.0", "latest", "true", "ghcr.io/org/new"]).prop_map(|v| Setting::Set(v.to_owned())),
    ]
}

/// What `kustomize edit set image` makes of the entries, as a model of its own.
fn model(entries: &[Vec<(&'static str, String)>], name: &str, change: &Change) -> Vec<Vec<(String, String)>> {
    let mut all: Vec<Vec<(String, String)>> = entries
        .iter()
        .map(|entry| entry.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
        .collect();
    let old = all.iter().position(|entry| entry.iter().any(|(k, v)| k == "name" && v == name));
    let field = |key: &str, setting: &Setting| match setting {
        Setting::Remove => None,
        Setting::Set(text) => Some((key.to_owned(), text.clone())),
        Setting::Keep => old.and_then(|old| all[old].iter().find(|(k, _)| k == key).cloned()),
    };
    let settings = [("newName", &change.new_name), ("newTag", &change.new_tag), ("digest", &change.digest)];
    let mut new = vec![("name".to_owned(), name.to_owned())];
    new.extend(settings.iter().filter_map(|(key, setting)| field(key, setting)));
    match old {
        Some(old) => all[old] = new,
        None if new.len() > 1 => all.push(new),
        None => {}
    }
    for entry in &mut all {
        entry.sort();
    }
    all
}

fn loaded(text: &str) -> Vec<Vec<(String, String)>> {
    let Some(Value::List(items)) = Value::load(text).get("images").cloned() else { return Vec::new() };
    let entry = |item: Value| {
        let Value::Map(pairs) = item else { panic!("{item:?}") };
        let text = |value: Value| if let Value::Text(text) = value { text } else { panic!("{value:?}") };
        let mut pairs: Vec<_> = pairs.into_iter().map(|(key, value)| (key, text(value))).collect();
        pairs.sort();
        pairs
    };
    items.into_iter().map(entry).collect()
}

fn remarks(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.split_once("# n").map(|(_, number)| number)).collect()
}

// ---- Helm values

fn image() -> impl Strategy<Value = ImageRef> {
    let name = prop::sample::select(vec![
        "nginx",
        "org/app",
        "ghcr.io/org/app",
        "localhost:5000/a/b",
        "docker.io/library/nginx",
    ]);
    let tag = prop::sample::select(vec!["1.20", "v2", "20240115", "latest"]);
    (name, tag, any::<bool>()).prop_map(|(name, tag, digest)| ImageRef {
        name: name.to_owned(),
        tag: Tag::parse(tag).unwrap(),
        digest: digest.then(|| Digest::parse(&format!("sha256:{}", "a".repeat(64))).unwrap()),
    })
}

/// What a usual chart renders of the mapping: `[registry/]repository:tag[@digest]`.
fn rendered(image: &Value) -> String {
    let part = |key: &str| image.text(key).unwrap_or_default();
    let registry = if part("registry").is_empty() { String::new() } else { format!("{}/", part("registry")) };
    let digest = if part("digest").is_empty() { String::new() } else { format!("@{}", part("digest")) };
    format!("{registry}{}:{}{digest}", part("repository"), part("tag"))
}

/// Docker Hub's images have several spellings.
fn canonical(image: &str) -> String {
    let (name, version) = image.rsplit_once('/').map_or(("", image), |(path, last)| (path, last));
    let at = version.find([':', '@']).unwrap_or(version.len());
    let name = if name.is_empty() { version[..at].to_owned() } else { format!("{name}/{}", &version[..at]) };
    format!("{}{}", windlass_model::image::ImageName::parse(&name).unwrap(), &version[at..])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_scalar_by_path_is_all_that_changes(
        tree in tree(),
        layout in layout(),
        value in new_value(),
        choice in any::<prop::sample::Index>(),
    ) {
        let (mut text, mut paths) = (String::new(), Vec::new());
        write(&tree, "root:", 0, "root", layout, &mut text, &mut paths);
        let text = finish(text, layout);
        prop_assume!(!paths.is_empty());
        let path: KeyPath = paths[choice.index(paths.len())].parse().unwrap();
        let edited = match path::edit(text.as_bytes(), None, &path, &value) {
            Ok(edited) => edited,
            Err(refusal) => {
                let template = value.contains("{{") && matches!(refusal.cause, RefusalCause::TemplateValue);
                prop_assert!(template, "{path}: {refusal}\n{text}");
                return Ok(());
            }
        };
        let new = String::from_utf8(edited.bytes).unwrap();
        let changed = usize::from(!edited.changes.is_empty());
        prop_assert_eq!(differences(&text, &new), (changed, changed), "{}\n{}\n{}", path, text, new);
        if let [change] = edited.changes.as_slice() {
            prop_assert_eq!(change.new.as_deref(), Some(value.as_str()));
            prop_assert_eq!(change.key_path.parse::<KeyPath>().unwrap(), path.clone());
            let line = text.split('\n').zip(new.split('\n')).position(|(old, new)| old != new).unwrap();
            prop_assert_eq!(change.line, line + 1);
        }
        let again = path::edit(new.as_bytes(), None, &path, &value).unwrap();
        prop_assert_eq!(again.changes, []);
    }

    #[test]
    fn kustomizations_are_edited_as_kustomize_does(
        file in kustomization(),
        name in prop::sample::select(NAMES.to_vec()),
        new_name in setting(),
        new_tag in setting(),
        digest in setting(),
    ) {
        let text = file.write();
        let change = Change { new_name, new_tag, digest };
        let edited = kustomize::edit(text.as_bytes(), name, &change);
        let edited = edited.map_err(|refusal| TestCaseError::fail(format!("{refusal}\n{text}")))?;
        let new = String::from_utf8(edited.bytes).unwrap();
        prop_assert_eq!(loaded(&new), model(&file.entries, name, &change), "{}\n{}", text, new);
        prop_assert_eq!(remarks(&new), remarks(&text), "{}\n{}", text, new);
        let others = |text: &str| match Value::load(text) {
            Value::Map(pairs) => pairs.into_iter().filter(|(key, _)| key != "images").collect(),
            _ => Vec::new(),
        };
        prop_assert_eq!(others(&new), others(&text));
        prop_assert_eq!(new.contains("\r\n") || !text.contains('\n'), file.layout.bytes.0 || !text.contains('\n'), "{:?}", new);
        prop_assert_eq!(new.ends_with('\n'), text.ends_with('\n') || text.trim_start_matches('\u{feff}').is_empty() && !new.is_empty(), "{:?}", new);
        // No line goes but those of values that changed, and the one behind which a removed one stood.
        let diff = windlass_manifest::unified("f", text.as_bytes(), new.as_bytes());
        let gone = diff.lines().skip(1).filter(|line| line.starts_with('-')).count();
        let touched = edited.changes.iter().map(|change| usize::from(change.old.is_some()) + usize::from(change.new.is_none())).sum::<usize>();
        prop_assert!(gone <= touched + usize::from(text.is_empty() || !text.ends_with('\n') || file.flow != Flow::Block), "{}", diff);
        let again = kustomize::edit(new.as_bytes(), name, &change).unwrap();
        prop_assert_eq!(again.changes, []);
    }

    #[test]
    fn a_chart_renders_the_image_after_the_edit(
        image in image(),
        registry in prop::option::of(prop::sample::select(vec!["ghcr.io", "docker.io", "\"\"", ""])),
        tag in prop::option::of(prop::sample::select(vec!["1.0", "'1.0'", "\"\"", ""])),
        digest in prop::option::of(prop::sample::select(vec!["sha256:00", "\"\"", ""])),
        flow in any::<bool>(),
        layout in layout(),
    ) {
        let fields = [("registry", registry), ("repository", Some("library/nginx")), ("pullPolicy", Some("Always")), ("tag", tag), ("digest", digest)];
        let pairs: Vec<String> = fields.iter().filter_map(|(key, value)| value.map(|value| format!("{key}: {value}"))).collect();
        let indent = " ".repeat(layout.indent);
        let mapping = if flow { format!(" {{{}}}", pairs.join(", ")) } else { pairs.iter().map(|pair| format!("\n{indent}{pair} # c")).collect::<Vec<_>>().concat() };
        let text = finish(format!("web:\n{indent}image:{}\nport: 80\n", mapping.replace('\n', &format!("\n{indent}"))), layout);
        let key = "web.image".parse().unwrap();
        let edited = helm::edit(text.as_bytes(), &key, &image).map_err(|refusal| TestCaseError::fail(format!("{refusal}\n{text}")))?;
        let new = String::from_utf8(edited.bytes).unwrap();
        let value = Value::load(&new);
        let found = value.get("web").and_then(|web| web.get("image")).unwrap();
        prop_assert_eq!(canonical(&rendered(found)), canonical(&image.to_string()), "{}\n{}", text, new);
        prop_assert_eq!(found.text("pullPolicy"), Some("Always"));
        prop_assert_eq!(value.text("port"), Some("80"));
        prop_assert_eq!(new.matches("# c").count(), text.matches("# c").count());
        prop_assert_eq!(helm::edit(new.as_bytes(), &key, &image).unwrap().changes, []);
    }

    #[test]
    fn no_text_makes_an_edit_panic_and_no_edit_is_half_done(
        tokens in prop::collection::vec(prop::sample::select(SOUP.to_vec()), 0..30),
        value in new_value(),
    ) {
        let text = tokens.concat();
        let change = Change { new_tag: Setting::Set(value.clone()), new_name: Setting::Keep, ..Change::default() };
        let path: KeyPath = "images[0].newTag".parse().unwrap();
        let key = "image".parse().unwrap();
        let image = ImageRef { name: "ghcr.io/a/b".into(), tag: Tag::parse("1.20").unwrap(), digest: None };
        let attempts: [Attempt<'_>; 3] = [
            Box::new(|bytes| kustomize::edit(bytes, "app", &change)),
            Box::new(|bytes| path::edit(bytes, None, &path, &value)),
            Box::new(|bytes| helm::edit(bytes, &key, &image)),
        ];
        for attempt in attempts {
            let Ok(edited) = attempt(text.as_bytes()) else { continue };
            prop_assert_eq!(edited.changes.is_empty(), edited.bytes == text.as_bytes());
            let again = attempt(&edited.bytes).map_err(|refusal| TestCaseError::fail(format!("{refusal}\n{text}")))?;
            prop_assert_eq!(again.changes, [], "{}\n{}", text, String::from_utf8_lossy(&edited.bytes));
        }
    }

    #[test]
    fn templates_are_edited_in_the_marked_values_alone(
        tokens in prop::collection::vec(prop::sample::select(TEMPLATE_SOUP.to_vec()), 0..40),
        value in new_value(),
    ) {
        let text = tokens.concat();
        let found = scan_template(text.as_bytes());
        let markers = text.matches("$imagepolicy").count();
        let lines = text.split('\n').filter(|line| line.contains("$imagepolicy")).count();
        prop_assert!((lines..=markers).contains(&(found.places.len() + found.problems.len())), "{:?}\n{}", found, text);
        let edits: Vec<Edit> = (0..found.places.len()).map(|place| Edit { place, value: value.clone() }).collect();
        let Ok(new) = apply(text.as_bytes(), &found, &edits) else {
            prop_assert!(value.contains("{{") , "{value}\n{text}");
            return Ok(());
        };
        let new = String::from_utf8(new).unwrap();
        let again = scan_template(new.as_bytes());
        let (mut old_at, mut new_at) = (0, 0);
        prop_assert_eq!(again.places.len(), found.places.len());
        for (old, now) in found.places.iter().zip(&again.places) {
            prop_assert_eq!(&now.value, &value);
            prop_assert_eq!(&text[old_at..old.span().start], &new[new_at..now.span().start]);
            prop_assert!(!text[..old.span().start].rsplit('\n').next().unwrap().contains("{{"));
            (old_at, new_at) = (old.span().end, now.span().end);
        }
        prop_assert_eq!(&text[old_at..], &new[new_at..]);
        prop_assert_eq!(apply(new.as_bytes(), &again, &edits).unwrap(), new.as_bytes());
    }
}

const SOUP: [&str; 40] = [
    "images:",
    "images: ",
    "image:",
    "image: ",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "  ",
    "    ",
    "- ",
    "- name: app\n",
    "name: app",
    "newTag: ",
    "newTag: x\n",
    "digest: y\n",
    "repository: r\n",
    "tag: 1\n",
    "tag:\n",
    "{",
    "}",
    "[",
    "]",
    ", ",
    ": ",
    "? ",
    "&a ",
    "*a",
    "!!str ",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "# c\n",
    " # c\n",
    "'q'",
    "\"d\"",
    "\u{feff}",
    "~",
    "<<: ",
];

const TEMPLATE_SOUP: [&str; 30] = [
    " # {\"$imagepolicy\": \"apps:app\"}\n",
    " # {\"$imagepolicy\": \"apps:app\"}\r\n",
    "# {\"$imagepolicy\": \"apps:app\"}\n",
    "a: ",
    "b: x",
    "image: x:1",
    "'q'",
    "\"d\"",
    "1.20",
    "- ",
    "\n",
    "\n",
    "\r\n",
    "  ",
    "    ",
    "\t",
    "{{ x }}",
    "{{- if x }}\n",
    "{{/*",
    "*/}}",
    "{{",
    "}}",
    "|\n",
    "t: |\n",
    ">-\n",
    "[",
    "]",
    "&a ",
    "\u{feff}",
    "---\n",
];

#[test]
fn deep_documents_are_read_and_deeper_ones_refused() {
    let nested = |depth: usize| {
        let lines: Vec<String> = (0..depth).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        format!("{}{}a: x\n", lines.concat(), " ".repeat(depth))
    };
    let path: KeyPath = vec!["a"; 201].join(".").parse().unwrap();
    let edited = path::edit(nested(200).as_bytes(), None, &path, "y").unwrap();
    assert!(edited.bytes.ends_with(b"a: \"y\"\n"));
    let refusal = path::edit("[".repeat(100_000).as_bytes(), None, &path, "y").unwrap_err();
    assert_eq!(refusal.cause.kind(), "unparsable");
    let flow = format!("a: {}{}\n", "[".repeat(250), "]".repeat(250));
    assert!(path::edit(flow.as_bytes(), None, &"a".parse().unwrap(), "y").is_err());
}

#[test]
fn a_document_of_too_many_nodes_is_refused() {
    let text = format!("a: x\nb: [{}]\n", "1,".repeat(300_000));
    let refusal = path::edit(text.as_bytes(), None, &"a".parse().unwrap(), "y").unwrap_err();
    assert_eq!(refusal.cause.kind(), "too-many-nodes");
    let refusal = path::edit(
        &vec![b' '; windlass_manifest::scan::MAX_FILE_BYTES + 1],
        None,
        &"a".parse().unwrap(),
        "y",
    );
    assert_eq!(refusal.unwrap_err().cause.kind(), "too-large");
    let refusal = path::edit(b"a: x\nb: \xff\n", None, &"a".parse().unwrap(), "y").unwrap_err();
    assert_eq!((refusal.line, refusal.cause.kind()), (2, "not-utf8"));
}

#[test]
fn paths_are_read_and_shown() {
    for (text, shown) in [
        ("a.b", "a.b"),
        (".a.b", "a.b"),
        ("a[0].b", "a[0].b"),
        ("[1]", "[1]"),
        ("a[name=app].b", "a[name=app].b"),
        ("a[\"x.y\"]", "a[\"x.y\"]"),
        ("a['x.y'].z", "a[\"x.y\"].z"),
        ("a.\"x]\\\"y\"", "a[\"x]\\\"y\"]"),
        ("a['n']['it\\'s']", "a.n[\"it's\"]"),
        ("a[image='x:1']", "a[image=x:1]"),
        ("example.com/a", "example[\"com/a\"]"),
        ("a['\n\u{200b}\\\\']", "a[\"\\n\\u{200b}\\\\\"]"),
        ("a['\\n']", "a.n"),
        ("a[k=\"x]\"]", "a[k=\"x]\"]"),
        ("a['k=']", "a[\"k=\"]"),
        ("a['k='=v=w]", "a[\"k=\"=v=w]"),
    ] {
        assert_eq!(text.parse::<KeyPath>().unwrap().to_string(), shown, "{text}");
        assert_eq!(shown.parse::<KeyPath>().unwrap(), text.parse().unwrap(), "{text}");
    }
    for text in [
        "",
        ".",
        "a.",
        "a..b",
        "a[",
        "a[]",
        "a[x]",
        "a[0",
        "a[-1]",
        "a]",
        "a[\"x]",
        "a[0]b",
        "a['x'y]",
        "a[\"\\u{d800}\"]",
        "a[\"\\u200b\"]",
        &"a.".repeat(4_000),
    ] {
        assert!(text.parse::<KeyPath>().is_err(), "{text}");
    }
    assert_eq!(
        "a[x].b".parse::<KeyPath>().unwrap_err().to_string(),
        "`a[x].b` is not a path: brackets take a position, `key=value` or a quoted key, at character 4"
    );
}
