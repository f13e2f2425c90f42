//! Running the `git` program apart from the machine's configuration.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Settings that keep the machine's configuration and people out.
pub(crate) const ISOLATION: [(&str, &str); 10] = [
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_AUTHOR_NAME", "Somebody"),
    ("GIT_AUTHOR_EMAIL", "somebody@example.com"),
    ("GIT_COMMITTER_NAME", "Somebody"),
    ("GIT_COMMITTER_EMAIL", "somebody@example.com"),
    ("GIT_AUTHOR_DATE", "2025-06-01T00:00:00Z"),
    ("GIT_COMMITTER_DATE", "2025-06-01T00:00:00Z"),
    ("LC_ALL", "C"),
];

/// Runs `git` in a folder and returns its trimmed output; panics when it fails.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    git_with_input(dir, args, b"").trim_end().to_owned()
}

/// Runs `git` with bytes on its input and returns its output as it is.
pub(crate) fn git_with_input(dir: &Path, args: &[&str], input: &[u8]) -> String {
    let (ok, out, err) = run(dir, args, input);
    assert!(ok, "git {args:?}: {err}");
    out
}

/// Runs `git` and returns whether it succeeded, with everything that it printed.
pub(crate) fn try_git(dir: &Path, args: &[&str]) -> (bool, String) {
    let (ok, out, err) = run(dir, args, b"");
    (ok, out + &err)
}

fn run(dir: &Path, args: &[&str], input: &[u8]) -> (bool, String, String) {
    let mut child = Command::new("git")
        .current_dir(dir)
        .args(args)
        .envs(ISOLATION)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}
