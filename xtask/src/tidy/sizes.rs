//! The size of production files: a long one has a second responsibility.

use std::path::{Path, PathBuf};

use anyhow::Result;

/// Lines of code, without blank lines, comments and tests.
const MAX_LINES: usize = 400;

/// Checks every Rust file below `crates`.
pub(crate) fn check(files: &[PathBuf], read: impl Fn(&Path) -> Result<String>) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| is_production(file)) {
        let lines = production_lines(&read(file)?);
        if lines > MAX_LINES {
            problems.push(format!("{}: {lines} lines of code, more than {MAX_LINES}", file.display()));
        }
    }
    Ok(problems)
}

fn is_production(file: &Path) -> bool {
    let is_test = file.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "benches")
        || file.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| stem.ends_with("tests"));
    file.starts_with("crates") && file.extension().is_some_and(|extension| extension == "rs") && !is_test
}

/// What stands before the tests, which come last in a file.
fn production_lines(text: &str) -> usize {
    let is_code = |line: &&str| !line.is_empty() && !line.starts_with("//");
    text.lines().take_while(|line| *line != "#[cfg(test)]").map(str::trim).filter(is_code).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_production_code_counts() {
        let text = "//! Doc.\n\nuse a;\n\n/// Doc.\nfn b() {\n    // Why.\n}\n\n#[cfg(test)]\nmod tests {\n    fn c() {}\n}\n";
        assert_eq!(production_lines(text), 3);
        for (path, expected) in [
            ("crates/a/src/lib.rs", true),
            ("crates/a/src/tests.rs", false),
            ("crates/a/src/queue_tests.rs", false),
            ("crates/a/tests/all.rs", false),
            ("xtask/src/main.rs", false),
            ("crates/a/build.toml", false),
        ] {
            assert_eq!(is_production(Path::new(path)), expected, "{path}");
        }
    }
}
