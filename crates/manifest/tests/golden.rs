//! Golden cases: a folder is one file with its markers, and what becomes of it. A new case is a few files:
//!
//! * `in.yaml`: the file; `in.tpl` if it is a Helm template.
//! * `edits.txt`: `NAMESPACE:NAME = IMAGE` for each policy, or `line N = TEXT` for the place of one line.
//! * `out.yaml`: the edited file; absent if it must stay as it is.
//! * `places.txt`: `LINE PATH | VALUE | APIVERSION KIND NAMESPACE/NAME`, and ` | shared` where an alias repeats it.
//! * `problems.txt`: `LINE CAUSE`; absent if there must be none.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::path::Path;

use windlass_manifest::{Edit, Place, Problem, Scan, apply, scan, scan_template};
use windlass_model::image::{Digest, ImageRef, Tag};

/// How many cases there are at least: a folder that is not found must not pass for success.
const AT_LEAST: usize = 45;

#[test]
fn golden_cases_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
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
    let template = std::fs::read(case.join("in.tpl")).ok();
    let scan = if template.is_some() { scan_template } else { scan };
    let input = template.unwrap_or_else(|| std::fs::read(case.join("in.yaml")).unwrap());
    let found = scan(&input);
    assert_eq!(problems(&found), read(case, "problems.txt").unwrap_or_default(), "{name}: problems");
    if let Some(places) = read(case, "places.txt") {
        assert_eq!(self::places(&found), places, "{name}: places");
    }
    let edits = edits(&read(case, "edits.txt").unwrap_or_default(), &found.places);
    let output = apply(&input, &found, &edits).unwrap_or_else(|error| panic!("{name}: {error}"));
    let expected = std::fs::read(case.join("out.yaml")).unwrap_or_else(|_| input.clone());
    assert_eq!(String::from_utf8_lossy(&output), String::from_utf8_lossy(&expected), "{name}: output");
    assert_eq!(output, expected, "{name}: output");

    // The second time, every value is there already.
    let again = scan(&output);
    assert_eq!(again.places.len(), found.places.len(), "{name}: places of the output");
    assert_eq!(apply(&output, &again, &edits).unwrap(), output, "{name}: second edit");
}

fn read(case: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(case.join(file)).ok()
}

fn problems(scan: &Scan) -> String {
    let line = |problem: &Problem| format!("{} {}\n", problem.line, problem.cause.kind());
    scan.problems.iter().map(line).collect::<Vec<_>>().concat()
}

fn places(scan: &Scan) -> String {
    scan.places
        .iter()
        .map(|place| {
            let object = &place.object;
            let shared = if place.shared_by_alias { " | shared" } else { "" };
            format!(
                "{} {} | {} | {} {} {}/{}{shared}\n",
                place.line,
                place.key_path,
                place.value,
                object.api_version,
                object.kind,
                object.namespace,
                object.name
            )
        })
        .collect::<Vec<_>>()
        .concat()
}

fn edits(text: &str, places: &[Place]) -> Vec<Edit> {
    let mut edits = Vec::new();
    for line in text.lines() {
        let (target, value) = line.split_once(" = ").expect("TARGET = VALUE");
        let before = edits.len();
        for (index, place) in places.iter().enumerate() {
            if let Some(number) = target.strip_prefix("line ") {
                if place.line == number.parse::<usize>().unwrap() {
                    edits.push(Edit { place: index, value: value.to_owned() });
                }
            } else if target == format!("{}:{}", place.marker.policy.namespace, place.marker.policy.name) {
                let value = place.marker.part.render(&image(value)).unwrap();
                edits.push(Edit { place: index, value });
            }
        }
        assert!(edits.len() > before, "no place for `{target}`");
    }
    edits
}

fn image(text: &str) -> ImageRef {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(Digest::parse(digest).unwrap())),
        None => (text, None),
    };
    let (name, tag) = rest.rsplit_once(':').unwrap();
    ImageRef { name: name.to_owned(), tag: Tag::parse(tag).unwrap(), digest }
}
