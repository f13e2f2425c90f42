//! Diffs against the real `git`: what it applies is what was meant.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use windlass_manifest::{Edit, apply, scan, unified};

fn git_apply(folder: &Path, diff: &str) -> String {
    let mut child = Command::new("git")
        .args(["apply", "--unidiff-zero", "--whitespace=nowarn", "-"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("git is installed");
    child.stdin.take().unwrap().write_all(diff.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() { String::new() } else { String::from_utf8_lossy(&output.stderr).into_owned() }
}

fn check(old: &[u8], new: &[u8]) -> Result<(), TestCaseError> {
    let diff = unified("f.yaml", old, new);
    prop_assert_eq!(diff.is_empty(), old == new);
    if diff.is_empty() {
        return Ok(());
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f.yaml");
    std::fs::write(&file, old).unwrap();
    let complaint = git_apply(folder.path(), &diff);
    prop_assert!(complaint.is_empty(), "{}\n{}", complaint, diff);
    let applied = std::fs::read(&file).unwrap();
    prop_assert_eq!(String::from_utf8_lossy(&applied), String::from_utf8_lossy(new), "{}", diff);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn git_applies_the_diff_of_any_two_files(
        old in prop::collection::vec(prop::sample::select(vec!["a\n", "b\n", "c\r\n", "\n"]), 1..20),
        new in prop::collection::vec(prop::sample::select(vec!["a\n", "b\n", "c\r\n", "\n"]), 1..20),
        cut in any::<(bool, bool)>(),
    ) {
        let text = |lines: Vec<&str>, cut: bool| format!("{}{}", lines.concat(), if cut { "x" } else { "" });
        check(text(old, cut.0).as_bytes(), text(new, cut.1).as_bytes())?;
    }
}

#[test]
fn git_applies_the_diff_of_an_edit() {
    let entry = |index: usize| {
        let marker = if index.is_multiple_of(7) { r#" # {"$imagepolicy": "apps:app"}"# } else { "" };
        format!("- name: c{index}\r\n  image: ghcr.io/org/app:1.0.{index}{marker}\r\n")
    };
    let old = format!("\u{feff}{}", (0..40).map(entry).collect::<Vec<_>>().concat());
    let old = old.trim_end();
    let found = scan(old.as_bytes());
    assert_eq!(found.places.len(), 6);
    let edits: Vec<_> = (0..6).map(|place| Edit { place, value: "ghcr.io/org/app:2.0.0".into() }).collect();
    let new = apply(old.as_bytes(), &found, &edits).unwrap();
    check(old.as_bytes(), &new).unwrap();
}
