//! Which files are edited, and their bytes.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};
use windlass_manifest::glob::Glob;
use windlass_manifest::kustomize::FILE_NAMES;
use windlass_manifest::scan::MAX_FILE_BYTES;
use windlass_manifest::screen;

use super::report::Diagnostic;
use super::wanted::Wanted;

/// What marks a repository's folder, and a submodule's.
const GIT: &str = ".git";

/// A file that may be edited.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// As it is shown: with forward slashes.
    pub(super) shown: String,
    pub(super) bytes: Vec<u8>,
    /// Declared to be a Helm template.
    pub(super) template: bool,
}

/// The files, and those that could not be read.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: Vec<Source>,
    pub(super) problems: Vec<Diagnostic>,
}

/// Finds and reads the files. What was named by hand must be there; what a walk comes upon may be unreadable, which is
/// reported.
///
/// # Errors
/// A path does not exist, is a symbolic link, or does not fit the kind of edit.
pub(super) fn find(paths: &[PathBuf], wanted: &Wanted, templates: &[Glob]) -> anyhow::Result<Found> {
    let mut finder = Finder { templates, seen: BTreeSet::new(), found: Found::default() };
    for path in paths {
        let kind = fs::symlink_metadata(path).with_context(|| format!("{}", path.display()))?.file_type();
        if kind.is_symlink() {
            bail!("{} is a symbolic link, which is not followed; name what it points to", path.display());
        }
        match wanted {
            _ if kind.is_file() => finder.named(path)?,
            _ if !kind.is_dir() => bail!("{} is neither a file nor a directory", path.display()),
            Wanted::Markers(_) => finder.walk(path)?,
            Wanted::Kustomize(_) => finder.named(&kustomization(path)?)?,
            Wanted::Helm { .. } | Wanted::Path { .. } => {
                bail!("{} is a directory; name the file that has the place", path.display())
            }
        }
    }
    Ok(finder.found)
}

/// The one kustomization file of a folder.
fn kustomization(folder: &Path) -> anyhow::Result<PathBuf> {
    let is_file = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    let files: Vec<PathBuf> = FILE_NAMES.iter().map(|name| folder.join(name)).filter(is_file).collect();
    match <[PathBuf; 1]>::try_from(files) {
        Ok([file]) => Ok(file),
        Err(files) if files.is_empty() => bail!("{} has no {}", folder.display(), FILE_NAMES.join(" or ")),
        Err(_) => bail!("{} has more than one of {}", folder.display(), FILE_NAMES.join(", ")),
    }
}

struct Finder<'g> {
    templates: &'g [Glob],
    seen: BTreeSet<PathBuf>,
    found: Found,
}

impl Finder<'_> {
    fn named(&mut self, path: &Path) -> anyhow::Result<()> {
        let shown = shown(path);
        let template = self.is_template(&shown);
        let bytes = read(path).with_context(|| shown.clone())?;
        self.add(path.to_owned(), shown, bytes, template);
        Ok(())
    }

    /// Every candidate below a folder, in the order of their names.
    fn walk(&mut self, root: &Path) -> anyhow::Result<()> {
        let mut folders = vec![(root.to_owned(), entries(root).with_context(|| shown(root))?)];
        while let Some((folder, names)) = folders.last_mut() {
            let Some((name, kind)) = names.pop() else {
                folders.pop();
                continue;
            };
            let path = folder.join(&name);
            if kind.is_dir() {
                if name == GIT || path.join(GIT).symlink_metadata().is_ok() {
                    continue;
                }
                match entries(&path) {
                    Ok(names) => folders.push((path, names)),
                    Err(error) => self.unreadable(&path, &error),
                }
            } else if kind.is_file() {
                self.candidate(root, path);
            }
        }
        Ok(())
    }

    fn candidate(&mut self, root: &Path, path: PathBuf) {
        let relative = shown(path.strip_prefix(root).unwrap_or(&path));
        let template = self.is_template(&relative);
        if !template && !screen::is_candidate(&relative) {
            return;
        }
        match read(&path) {
            Ok(bytes) if screen::may_have_marker(&bytes) => {
                let shown = shown(&path);
                self.add(path, shown, bytes, template);
            }
            Ok(_) => {}
            Err(error) => self.unreadable(&path, &error),
        }
    }

    fn add(&mut self, path: PathBuf, shown: String, bytes: Vec<u8>, template: bool) {
        // One file under two names of one path would be edited twice.
        if self.seen.insert(path.components().filter(|part| *part != Component::CurDir).collect()) {
            self.found.files.push(Source { path, shown, bytes, template });
        }
    }

    fn is_template(&self, path: &str) -> bool {
        self.templates.iter().any(|glob| glob.matches(path))
    }

    fn unreadable(&mut self, path: &Path, error: &anyhow::Error) {
        let message = format!("cannot be read: {error:#}");
        self.found.problems.push(Diagnostic { file: Some(shown(path)), line: None, message });
    }
}

/// The entries of a folder, last name first.
fn entries(folder: &Path) -> anyhow::Result<Vec<(std::ffi::OsString, fs::FileType)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        entries.push((entry.file_name(), entry.file_type()?));
    }
    entries.sort_by(|(one, _), (other, _)| OsStr::cmp(other, one));
    Ok(entries)
}

/// The bytes of a file of a reasonable size.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE_BYTES {
        bail!("it has more than the {MAX_FILE_BYTES} bytes that are read; split it");
    }
    Ok(bytes)
}

/// The path with forward slashes, without `./`.
fn shown(path: &Path) -> String {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    let text = parts.collect::<PathBuf>().to_string_lossy().into_owned();
    if std::path::MAIN_SEPARATOR == '/' { text } else { text.replace(std::path::MAIN_SEPARATOR, "/") }
}
