//! Gitea, the forge of the tests. `go install` refuses a module with `replace` lines, so that it is built from a small
//! module of our own that repeats them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use windlass_testkit::locate::{GITEA_IN_TARGET, on_path, target_folder};

use crate::run::{captured, shown};

/// The last version whose module is served under its own path.
const GITEA: &str = "v1.26.0";
const MODULE: &str = "code.gitea.io/gitea";
/// What the program reads at run time.
const ASSETS: [&str; 3] = ["options", "templates", "public"];

/// The program, built when it is missing.
pub(super) fn gitea() -> Result<PathBuf> {
    let program = target_folder()?.join(GITEA_IN_TARGET);
    if program.is_file() {
        return Ok(program);
    }
    ensure!(on_path("go").is_some(), "install Go and a C compiler: tests push to Gitea, which they build");
    eprintln!("building Gitea {GITEA} (some minutes)");
    let folder = program.parent().context("a tool lies in a folder")?;
    let build = folder.join("build");
    fs::create_dir_all(&build).with_context(|| format!("making {}", build.display()))?;
    let go = |arguments: &[&str]| {
        let mut command = Command::new("go");
        command.args(arguments).current_dir(&build).env("GOFLAGS", "-mod=mod").env("CGO_ENABLED", "1");
        command
    };
    fs::write(build.join("go.mod"), manifest("")).context("writing go.mod")?;
    let fetched = captured(&mut go(&["mod", "download", "-json", &format!("{MODULE}@{GITEA}")]))?;
    let fetched: serde_json::Value = serde_json::from_str(&fetched).context("reading what Go downloaded")?;
    let source = Path::new(fetched["Dir"].as_str().context("Go downloaded no folder")?);
    let theirs = fs::read_to_string(source.join("go.mod")).context("reading Gitea's go.mod")?;
    fs::write(build.join("go.mod"), manifest(&theirs)).context("writing go.mod")?;
    fs::write(
        build.join("tools.go"),
        format!("//go:build tools\n\npackage tools\n\nimport _ \"{MODULE}\"\n"),
    )
    .context("writing tools.go")?;
    shown(&mut go(&["mod", "tidy"]))?;
    for name in ASSETS {
        copy(&source.join(name), &folder.join(name))?;
    }
    // Last, and under another name until it is whole: what is there is complete.
    let half = build.join("gitea");
    let mut compile =
        go(&["build", "-trimpath", "-ldflags=-s -w", "-tags=sqlite sqlite_unlock_notify", "-o"]);
    shown(compile.arg(&half).arg(MODULE))?;
    fs::rename(&half, &program).with_context(|| format!("moving {}", program.display()))?;
    Ok(program)
}

/// Our module, with the `replace` lines of theirs. Without a `go` line, Go would ask for whatever any of the modules
/// requires, needed or not.
fn manifest(theirs: &str) -> String {
    let head = format!("module windlass.dev/tools/gitea\n\ngo 1.26\n\nrequire {MODULE} {GITEA}\n");
    theirs.lines().filter(|line| line.starts_with("replace ")).fold(head, |text, line| text + line + "\n")
}

/// Copies a folder. Go's module cache is read-only; the copy is not.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry.context("reading a folder")?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().context("asking for a file's type")?.is_dir() {
            copy(&source, &target)?;
        } else {
            let bytes = fs::read(&source).with_context(|| format!("reading {}", source.display()))?;
            fs::write(&target, bytes).with_context(|| format!("writing {}", target.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replace_lines_are_taken_over() {
        let theirs = "module x\n\nrequire a v1\n\nreplace a => b v2 // why\n\nreplace c => d v3\n";
        let ours = manifest(theirs);
        assert!(
            ours.ends_with(&format!("{MODULE} {GITEA}\nreplace a => b v2 // why\nreplace c => d v3\n")),
            "{ours}"
        );
    }
}
