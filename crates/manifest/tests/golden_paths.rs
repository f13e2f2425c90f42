//! Golden cases of edits by path. A new case is a folder with a few files:
//!
//! * `in.yaml`: the file.
//! * `edit.txt`: the edits, one a line, each of the result of the one before: `kustomize NAME [newName=T] [newTag=T]
//!   [digest=T]` (`*` keeps, what is not named goes), `helm KEY = IMAGE`, or `path [@DOCUMENT] PATH = TEXT`.
//! * `out.yaml`: the edited file; absent if it must stay as it is.
//! * `changes.txt`: `LINE PATH | OLD -> NEW`, with ` | shared` where an alias repeats the value; absent with `out.yaml`.
//! * `refusal.txt`: `LINE CAUSE: TEXT` for each edit that is refused; absent if none must be.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::fmt::Write as _;
use std::path::Path;

use windlass_manifest::kustomize::{self, Change, Setting};
use windlass_manifest::{Changed, Edited, Refusal, helm, path};
use windlass_model::image::{Digest, ImageRef, Tag};

/// How many cases there are at least: a folder that is not found must not pass for success.
const AT_LEAST: usize = 70;

#[test]
fn golden_cases_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-paths");
    let mut cases = 0;
    for entry in std::fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            check(&path);
            cases += 1;
        }
    }
    assert!(cases >= AT_LEAST, "only {cases} cases in {}", root.display());
}

fn check(case: &Path) {
    let name = case.file_name().unwrap().to_string_lossy();
    let input = std::fs::read(case.join("in.yaml")).unwrap();
    let edits = read(case, "edit.txt").expect("edit.txt");
    let (output, changes, refusals) = apply(&input, &edits);
    let expected = std::fs::read(case.join("out.yaml")).unwrap_or_else(|_| input.clone());
    assert_eq!(refusals, read(case, "refusal.txt").unwrap_or_default(), "{name}: refusals");
    assert_eq!(String::from_utf8_lossy(&output), String::from_utf8_lossy(&expected), "{name}: output");
    assert_eq!(output, expected, "{name}: output");
    assert_eq!(changes, read(case, "changes.txt").unwrap_or_default(), "{name}: changes");

    // The second time, every value is there already.
    let (again, changes, _) = apply(&output, &edits);
    assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&output), "{name}: second edit");
    assert_eq!(changes, "", "{name}: second edit");
}

fn apply(input: &[u8], edits: &str) -> (Vec<u8>, String, String) {
    let (mut bytes, mut changes, mut refusals) = (input.to_vec(), String::new(), String::new());
    for line in edits.lines() {
        match edit(&bytes, line) {
            Ok(edited) => {
                changes.extend(edited.changes.iter().map(shown));
                assert_eq!(edited.changes.is_empty(), edited.bytes == bytes);
                bytes = edited.bytes;
            }
            Err(Refusal { line, cause }) => writeln!(refusals, "{line} {}: {cause}", cause.kind()).unwrap(),
        }
    }
    (bytes, changes, refusals)
}

fn edit(bytes: &[u8], line: &str) -> Result<Edited, Refusal> {
    let (kind, rest) = line.split_once(' ').expect("KIND …");
    match kind {
        "kustomize" => {
            let mut words = rest.split(' ');
            let name = words.next().unwrap();
            let mut change = Change::default();
            for word in words {
                let (field, value) = word.split_once('=').expect("FIELD=VALUE");
                let setting = if value == "*" { Setting::Keep } else { Setting::Set(value.to_owned()) };
                match field {
                    "newName" => change.new_name = setting,
                    "newTag" => change.new_tag = setting,
                    "digest" => change.digest = setting,
                    other => panic!("{other}"),
                }
            }
            kustomize::edit(bytes, name, &change)
        }
        "helm" => {
            let (key, image) = rest.split_once(" = ").expect("KEY = IMAGE");
            helm::edit(bytes, &key.parse().unwrap(), &self::image(image))
        }
        "path" => {
            let (target, value) = rest.split_once(" = ").expect("PATH = TEXT");
            let (selector, path) = match target.strip_prefix('@') {
                Some(rest) => rest.split_once(' ').map(|(s, path)| (Some(s.parse().unwrap()), path)).unwrap(),
                None => (None, target),
            };
            path::edit(bytes, selector.as_ref(), &path.parse().unwrap(), value)
        }
        other => panic!("{other}"),
    }
}

fn shown(change: &Changed) -> String {
    let value =
        |value: &Option<String>| value.as_ref().map_or("nothing".to_owned(), |text| format!("{text:?}"));
    let shared = if change.shared_by_alias { " | shared" } else { "" };
    format!(
        "{} {} | {} -> {}{shared}\n",
        change.line,
        change.key_path,
        value(&change.old),
        value(&change.new)
    )
}

fn read(case: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(case.join(file)).ok()
}

fn image(text: &str) -> ImageRef {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(Digest::parse(digest).unwrap())),
        None => (text, None),
    };
    let (name, tag) = rest.rsplit_once(':').unwrap();
    ImageRef { name: name.to_owned(), tag: Tag::parse(tag).unwrap(), digest }
}
