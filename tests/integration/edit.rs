//! `windlass edit`: the built program over files, with kustomize and Helm as judges of what the files then mean.

mod charts;
mod kustomizations;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::locate;

const MARKED: &str = "image: ghcr.io/org/web:1.0.0 # {\"$imagepolicy\": \"apps:web\"}\n";
const UPDATED: &str = "image: ghcr.io/org/web:2.0.0 # {\"$imagepolicy\": \"apps:web\"}\n";
const SET: [&str; 2] = ["--set", "apps:web=ghcr.io/org/web:2.0.0"];

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> Result<TempDir> {
    let folder = fresh(Storage::Memory)?;
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        fs::write(path, text)?;
    }
    Ok(folder)
}

/// Runs `windlass edit` in this folder.
fn edit(folder: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(locate::windlass()?);
    command.arg("edit").args(arguments).current_dir(folder).env_clear();
    command.output().context("running windlass edit")
}

/// Exit status, standard output, standard error.
fn parts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Runs a program that must succeed; its standard output.
fn run(program: &Path, folder: &Path, arguments: &[&str]) -> Result<String> {
    // Helm keeps its caches below the home folder.
    let output =
        Command::new(program).args(arguments).current_dir(folder).env_clear().env("HOME", folder).output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} {arguments:?}: {told}", program.display());
    Ok(String::from_utf8(output.stdout)?)
}

/// The lines that a rendering gains; it must lose as many, and keep the others.
fn new_lines<'t>(before: &str, after: &'t str) -> Result<Vec<&'t str>> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    ensure!(old.len() == new.len(), "the rendering has another number of lines:\n{before}\n{after}");
    Ok(old.iter().zip(new).filter(|(old, new)| *old != new).map(|(_, new)| new.trim()).collect())
}

#[test]
fn a_directory_is_edited_as_the_promoter_would() -> Result<()> {
    let folder = folder(&[
        ("app.yaml", MARKED),
        ("deep/er/app.yml", MARKED),
        ("deep/Kustomization", MARKED),
        ("README.md", MARKED),
        ("deep/app.YAML", MARKED),
        (".git/app.yaml", MARKED),
        ("submodule/.git", "gitdir: ../.git/modules/submodule\n"),
        ("submodule/app.yaml", MARKED),
        (".github/app.yaml", MARKED),
        ("other.yaml", "image: x:1 # {\"$imagepolicy\": \"apps:other\"}\n"),
    ])?;
    let outside = self::folder(&[("app.yaml", MARKED)])?;
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(outside.path(), folder.path().join("linked"))?;
        std::os::unix::fs::symlink(outside.path().join("app.yaml"), folder.path().join("linked.yaml"))?;
    }
    let (code, out, err) = parts(&edit(folder.path(), &[".", SET[0], SET[1]])?);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.ends_with("4 values changed in 4 files\n"), "{out}");
    for (path, text) in [
        ("app.yaml", UPDATED),
        ("deep/er/app.yml", UPDATED),
        ("deep/Kustomization", UPDATED),
        (".github/app.yaml", UPDATED),
        ("README.md", MARKED),
        ("deep/app.YAML", MARKED),
        (".git/app.yaml", MARKED),
        ("submodule/app.yaml", MARKED),
    ] {
        assert_eq!(fs::read_to_string(folder.path().join(path))?, text, "{path}");
    }
    assert_eq!(fs::read_to_string(outside.path().join("app.yaml"))?, MARKED);
    let (code, out, _) = parts(&edit(folder.path(), &[".", SET[0], SET[1], "--check", "--strict"])?);
    assert_eq!((code, out.as_str()), (Some(0), "nothing to change, 4 values right already\n"));
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_file_keeps_its_mode_and_a_link_is_refused() -> Result<()> {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let folder = folder(&[("app.yaml", MARKED)])?;
    let path = folder.path().join("app.yaml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604))?;
    symlink("app.yaml", folder.path().join("link.yaml"))?;
    let (code, _, err) = parts(&edit(folder.path(), &["link.yaml", SET[0], SET[1]])?);
    assert_eq!((code, err.contains("is a symbolic link")), (Some(2), true), "{err}");
    assert_eq!(fs::read_to_string(&path)?, MARKED);
    assert_eq!(edit(folder.path(), &["app.yaml", SET[0], SET[1]])?.status.code(), Some(0));
    assert_eq!(fs::read_to_string(&path)?, UPDATED);
    assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o604);
    assert_eq!(fs::read_dir(folder.path())?.count(), 2);
    Ok(())
}

#[test]
fn a_dry_run_prints_what_git_applies_and_writes_nothing() -> Result<()> {
    let kustomization = "resources:\r\n- app.yaml\r\nimages:\r\n- name: ghcr.io/org/web\r\n  newTag: 1.0.0";
    for (arguments, files) in [
        (&[".", SET[0], SET[1]][..], vec![("a/app.yaml", MARKED), ("b.yaml", MARKED)]),
        (
            &["k", "--kustomize", "--set", "new:1.20", "--set", "ghcr.io/org/web:2.0.0"],
            vec![("k/kustomization.yaml", kustomization)],
        ),
    ] {
        let folder = folder(&files)?;
        let (code, diff, err) = parts(&edit(folder.path(), &[arguments, &["--dry-run"]].concat())?);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{diff}");
        for (path, text) in &files {
            assert_eq!(fs::read_to_string(folder.path().join(path))?, *text, "{path}");
        }
        let checked = edit(folder.path(), &[arguments, &["--dry-run", "--check"]].concat())?;
        assert_eq!(parts(&checked), (Some(3), diff.clone(), String::new()));

        let applied = self::folder(&files)?;
        fs::write(applied.path().join("patch"), diff)?;
        let git = locate::on_path("git").context("git is installed")?;
        run(&git, applied.path(), &["apply", "--whitespace=nowarn", "patch"])?;
        assert_eq!(edit(folder.path(), arguments)?.status.code(), Some(0));
        for (path, text) in &files {
            let new = fs::read_to_string(folder.path().join(path))?;
            assert_ne!(new, *text, "{path}");
            assert_eq!(fs::read_to_string(applied.path().join(path))?, new, "{path}");
        }
    }
    Ok(())
}

#[test]
fn the_exit_status_tells_changes_from_diagnostics() -> Result<()> {
    let files = [
        ("good.yaml", MARKED),
        ("bad.yaml", "a: [ # {\"$imagepolicy\": \"apps:web\"}\n"),
        ("unsafe.yaml", "a: {b: x, c: y} # {\"$imagepolicy\": \"apps:web\"}\n"),
        ("digest.yaml", "a: x # {\"$imagepolicy\": \"apps:web:digest\"}\n"),
        ("right.yaml", UPDATED),
        ("binary.yaml", "a: x # {\"$imagepolicy\": \"apps:web\"}\n\0"),
    ];
    for (arguments, status, out, err) in [
        (&["good.yaml"][..], 0, "good.yaml:1: image: ghcr.io/org/web:1.0.0 -> ghcr.io/org/web:2.0.0", ""),
        (&["good.yaml", "--check"], 3, "would change", ""),
        (&["good.yaml", "--check", "--strict"], 3, "would change", ""),
        (&["right.yaml", "--check", "--strict"], 0, "nothing to change, 1 value right already", ""),
        (
            &["good.yaml", "bad.yaml"],
            0,
            "1 value changed in 1 file",
            "bad.yaml:1: the document cannot be parsed",
        ),
        (
            &["good.yaml", "bad.yaml", "--strict"],
            2,
            "1 value changed in 1 file",
            "its markers are left alone: line 1",
        ),
        (
            &["unsafe.yaml", "--strict"],
            2,
            "nothing to change",
            "unsafe.yaml:1: the marker's line has 2 values",
        ),
        (&["digest.yaml", "--strict"], 2, "nothing to change", "digest.yaml:1: the marker takes a digest"),
        (
            &["good.yaml", "--set", "apps:typo=x:1", "--strict"],
            2,
            "1 value changed",
            "no usable marker names the policy apps:typo",
        ),
        (&["missing.yaml"], 2, "", "missing.yaml"),
        (&["good.yaml", "--set", "x:1"], 2, "", "does not say for which markers"),
        (&["good.yaml", "--set", "apps:web=x:2"], 2, "", "--set gives apps:web both"),
        (
            &["good.yaml", "--helm", "image.tag"],
            2,
            "nothing to change",
            "good.yaml:1: `image` is a single value, not a mapping",
        ),
        (&[".", "--helm", "image"], 2, "", "is a directory; name the file"),
        (&[".", "--kustomize"], 2, "", "has no kustomization.yaml or kustomization.yml or Kustomization"),
        (
            &["good.yaml", "--yaml-path", "image", "--part", "digest"],
            2,
            "",
            "has no digest for --part digest",
        ),
    ] {
        let folder = folder(&files)?;
        let (code, printed, told) = parts(&edit(folder.path(), &[arguments, &SET].concat())?);
        assert_eq!(code, Some(status), "{arguments:?}: {printed}{told}");
        assert!(printed.contains(out) && printed.is_empty() == out.is_empty(), "{arguments:?}: {printed}");
        assert!(told.contains(err) && told.is_empty() == err.is_empty(), "{arguments:?}: {told}");
    }
    Ok(())
}

#[test]
fn every_place_has_an_outcome_in_json() -> Result<()> {
    let text = format!(
        "{MARKED}tag: 2.0.0 # {{\"$imagepolicy\": \"apps:web:tag\"}}\nother: y # {{\"$imagepolicy\": \"apps:other\"}}\n\
         base: &a x # {{\"$imagepolicy\": \"apps:web:name\"}}\nalias: *a # {{\"$imagepolicy\": \"apps:web\"}}\n"
    );
    let folder = folder(&[("app.yaml", &text)])?;
    let (code, out, err) =
        parts(&edit(folder.path(), &["app.yaml", SET[0], SET[1], "--check", "--output", "json"])?);
    assert_eq!((code, err.as_str()), (Some(3), ""));
    let report: Value = serde_json::from_str(&out)?;
    let outcomes = report["outcomes"].as_array().context("outcomes")?;
    let verdicts: Vec<Value> = outcomes
        .iter()
        .map(|o| {
            json!([
                o["file"],
                o["line"],
                o["path"],
                o["marker"],
                o["verdict"],
                o["from"],
                o["to"],
                o["shared_by_alias"]
            ])
        })
        .collect();
    assert_eq!(
        Value::Array(verdicts),
        json!([
            [
                "app.yaml",
                1,
                "image",
                "apps:web",
                "updated",
                "ghcr.io/org/web:1.0.0",
                "ghcr.io/org/web:2.0.0",
                null
            ],
            ["app.yaml", 2, "tag", "apps:web:tag", "already-right", "2.0.0", null, null],
            ["app.yaml", 3, "other", "apps:other", "unknown-policy", "y", null, null],
            ["app.yaml", 4, "base", "apps:web:name", "updated", "x", "ghcr.io/org/web", true],
        ])
    );
    assert_eq!(report["diagnostics"][0]["line"], 5);
    assert_eq!(report["files"][0]["path"], "app.yaml");
    assert!(report["files"][0]["diff"].as_str().is_some_and(|diff| diff.starts_with("--- a/app.yaml\n")));
    Ok(())
}

#[test]
fn a_value_by_path_is_written_in_the_document_that_is_meant() -> Result<()> {
    let document = |name: &str| {
        format!(
            "kind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - name: app # c\n    image: 'web:1'\n"
        )
    };
    let text = format!("{}---\n{}", document("one"), document("two"));
    let path = ["app.yaml", "--yaml-path", "spec.containers[name=app].image", "--set", "web:2"];
    let folder = folder(&[("app.yaml", &text)])?;
    let (code, _, err) = parts(&edit(folder.path(), &path)?);
    assert_eq!((code, err.contains("is found in 2 documents")), (Some(2), true), "{err}");
    assert_eq!(
        edit(folder.path(), &[&path[..], &["--document", "Deployment/two"]].concat())?.status.code(),
        Some(0)
    );
    let expected = format!("{}---\n{}", document("one"), document("two").replace("web:1", "web:2"));
    assert_eq!(fs::read_to_string(folder.path().join("app.yaml"))?, expected);
    assert_eq!(
        edit(folder.path(), &[&path[..], &["--document", "0", "--part", "tag"]].concat())?.status.code(),
        Some(0)
    );
    assert_eq!(fs::read_to_string(folder.path().join("app.yaml"))?, expected.replace("web:1", "2"));
    Ok(())
}
