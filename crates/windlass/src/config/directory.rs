//! The files of a configuration directory. Owns which files count and the bounds on them; it never looks into a text.
//!
//! Every `*.yaml` and `*.yml` below the directory counts. Names that start with a dot are skipped (`.git`, an editor's
//! files, and the `..data` of a mounted ConfigMap, whose visible files are links into it). Links to files are
//! followed; links to directories are not, because they can form loops, and say so.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use windlass_model::load::{Problem, Severity};

/// Largest file. The largest Kubernetes object is 1.5 MiB; a file may hold several.
pub(super) const MAX_FILE: u64 = 8 * 1024 * 1024;
/// Largest secret value in a file: the size of a Kubernetes Secret.
pub(super) const MAX_VALUE: u64 = 1024 * 1024;
/// Most bytes of all files together.
pub(super) const MAX_TOTAL: u64 = 256 * 1024 * 1024;
/// Most files.
const MAX_FILES: usize = 50_000;
/// Deepest directory.
const MAX_DEPTH: usize = 32;

/// What is in the directory now.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// By the path that problems name: relative, with `/`.
    pub(super) files: BTreeMap<Arc<str>, PathBuf>,
    /// What could not be looked at, or is not.
    pub(super) problems: Vec<Problem>,
    /// Directories that could not be listed: what was known below them may still be there.
    unreadable: Vec<String>,
}

impl Listing {
    /// One file alone.
    pub(super) fn of_file(path: &Path) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let files = BTreeMap::from([(name.as_ref().into(), path.to_path_buf())]);
        Self { files, ..Self::default() }
    }

    /// Whether a file that is not listed may exist all the same.
    pub(super) fn may_hide(&self, path: &str) -> bool {
        self.unreadable.iter().any(|directory| {
            directory.is_empty()
                || path.strip_prefix(directory.as_str()).is_some_and(|rest| rest.starts_with('/'))
        })
    }
}

/// Lists the files below `root`.
pub(super) fn list(root: &Path) -> Listing {
    let mut listing = Listing::default();
    let mut waiting = vec![(root.to_path_buf(), String::new(), 0)];
    while let Some((directory, name, depth)) = waiting.pop() {
        let entries = fs::read_dir(&directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                listing.refuse(&name, format!("the directory cannot be read: {error}"));
                continue;
            }
        };
        for entry in entries {
            let file_name = entry.file_name().to_string_lossy().into_owned();
            if file_name.starts_with('.') {
                continue;
            }
            let path = if name.is_empty() { file_name } else { format!("{name}/{file_name}") };
            match kind_of(&entry) {
                Found::Directory if depth + 1 >= MAX_DEPTH => {
                    listing
                        .refuse(&path, format!("is more than {MAX_DEPTH} directories deep and is not read"));
                }
                Found::Directory => waiting.push((entry.path(), path, depth + 1)),
                Found::LinkedDirectory => {
                    listing.warn(&path, "is a link to a directory, which is not followed");
                }
                Found::File if is_yaml(&path) => listing.add(&path, entry.path()),
                Found::File | Found::Other => {}
            }
        }
    }
    listing.problems.sort();
    listing
}

impl Listing {
    fn add(&mut self, name: &str, path: PathBuf) {
        if self.files.len() < MAX_FILES {
            self.files.insert(name.into(), path);
        } else if self.files.len() == MAX_FILES && !self.may_hide("x") {
            self.refuse("", format!("there are more than {MAX_FILES} files; the others are not read"));
        }
    }

    fn warn(&mut self, name: &str, message: &str) {
        self.problems.push(Problem::of_file(name, Severity::Warning, message));
    }

    /// `name` is empty for the directory itself.
    fn refuse(&mut self, name: &str, message: String) {
        let shown = if name.is_empty() { "." } else { name };
        self.problems.push(Problem::of_file(shown, Severity::Error, message));
        self.unreadable.push(name.to_owned());
    }
}

enum Found {
    Directory,
    LinkedDirectory,
    /// A file, a link to one, or a link to nothing, which reading will tell.
    File,
    Other,
}

fn kind_of(entry: &fs::DirEntry) -> Found {
    match entry.file_type() {
        Ok(kind) if kind.is_dir() => Found::Directory,
        Ok(kind) if kind.is_symlink() => match fs::metadata(entry.path()) {
            Ok(target) if target.is_dir() => Found::LinkedDirectory,
            _ => Found::File,
        },
        Ok(kind) if !kind.is_file() => Found::Other,
        Ok(_) | Err(_) => Found::File,
    }
}

fn is_yaml(name: &str) -> bool {
    matches!(name.rsplit_once('.'), Some((_, "yaml" | "yml")))
}

/// Reads a regular file of at most `max` bytes. The error goes on from the file's name.
pub(super) fn read(path: &Path, max: u64) -> anyhow::Result<Vec<u8>> {
    // A pipe or a device would block or never end.
    let metadata = fs::metadata(path).map_err(|error| unreadable(&error))?;
    anyhow::ensure!(metadata.is_file(), "is not a regular file");
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| unreadable(&error))?;
    file.take(max + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    anyhow::ensure!(bytes.len() as u64 <= max, "is larger than {} MiB: split it", max >> 20);
    Ok(bytes)
}

fn unreadable(error: &io::Error) -> anyhow::Error {
    anyhow::anyhow!("cannot be read: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(listing: &Listing) -> Vec<&str> {
        listing.files.keys().map(AsRef::as_ref).collect()
    }

    #[test]
    fn yaml_files_are_found_at_any_depth_and_hidden_ones_are_not() {
        let root = tempfile::tempdir().unwrap();
        for directory in ["apps/prod", ".git"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        for name in
            ["a.yaml", "apps/b.yml", "apps/prod/c.yaml", "README.md", ".d.yaml", ".git/e.yaml", "yaml"]
        {
            fs::write(root.path().join(name), "").unwrap();
        }
        let listing = list(root.path());
        assert_eq!(names(&listing), ["a.yaml", "apps/b.yml", "apps/prod/c.yaml"]);
        assert!(listing.problems.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_mounted_config_map_is_read_once_and_linked_directories_are_told() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir(at("..2026_11_23")).unwrap();
        fs::write(at("..2026_11_23/app.yaml"), "a: 1").unwrap();
        symlink("..2026_11_23", at("..data")).unwrap();
        symlink("..data/app.yaml", at("app.yaml")).unwrap();
        symlink(".", at("loop")).unwrap();
        symlink("nowhere", at("gone.yaml")).unwrap();
        let listing = list(root.path());
        assert_eq!(names(&listing), ["app.yaml", "gone.yaml"]);
        assert_eq!(read(&listing.files["app.yaml"], MAX_FILE).unwrap(), b"a: 1");
        let error = read(&listing.files["gone.yaml"], MAX_FILE).unwrap_err();
        assert!(error.to_string().starts_with("cannot be read: "), "{error}");
        let printed: Vec<_> = listing.problems.iter().map(ToString::to_string).collect();
        assert_eq!(printed, ["loop: warning: is a link to a directory, which is not followed"]);
    }

    #[test]
    fn a_directory_that_cannot_be_listed_may_hide_what_was_below_it() {
        let root = tempfile::tempdir().unwrap();
        let listing = list(&root.path().join("gone"));
        assert!(listing.may_hide("a.yaml") && listing.problems[0].is_error());
        let mut listing = Listing::default();
        listing.refuse("apps", "no".into());
        assert!(listing.may_hide("apps/a.yaml"));
        assert!(!listing.may_hide("apps.yaml") && !listing.may_hide("other/a.yaml"));
    }

    #[test]
    fn large_files_and_directories_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.yaml");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap().len(), 5);
        assert!(read(&path, 4).unwrap_err().to_string().starts_with("is larger than"));
        assert_eq!(read(root.path(), 4).unwrap_err().to_string(), "is not a regular file");
    }
}
