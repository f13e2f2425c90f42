//! A configuration directory and what was read from it. Owns the rule that a broken change keeps the last good state,
//! and the values of Secrets that come from the environment and from files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use windlass_model::ObjectRef;
use windlass_model::load::{self, SecretFrom, Semantics, SourceFile};

use super::Configuration;
use super::directory::{self, Listing, MAX_FILE, MAX_TOTAL, MAX_VALUE};
use super::fingerprint::{Print, Prints};
use super::semantics::PolicySemantics;

/// Where environment variables come from: the process, or a test.
type Environment = Arc<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// A configuration directory that is followed.
pub struct Source {
    root: PathBuf,
    /// The only file below the root that counts, where only one does.
    only: Option<PathBuf>,
    /// Whether an image that no Guard concerns is refused.
    require_guard: bool,
    semantics: Arc<dyn Semantics>,
    environment: Environment,
    prints: Prints,
    files: BTreeMap<Arc<str>, Entry>,
    owners: BTreeMap<ObjectRef, Arc<str>>,
    generation: u64,
    /// The fingerprint of what is in force.
    applied: [u8; 32],
    /// A different fingerprint that was seen once.
    pending: Option<[u8; 32]>,
}

/// One file as it is used.
struct Entry {
    /// Its text's print when it was parsed.
    print: Print,
    len: u64,
    /// The files that its Secrets take values from, with the prints that were used.
    values: Vec<(PathBuf, Print)>,
    file: SourceFile,
}

impl Source {
    /// Reads a directory for the first time. Errors in its files are problems of the configuration, not of this call.
    ///
    /// # Errors
    /// The directory does not exist or cannot be read.
    pub fn open(root: &Path, require_guard: bool) -> anyhow::Result<(Self, Configuration)> {
        let (semantics, environment) = (Arc::new(PolicySemantics), Arc::new(process_environment));
        Self::listed(root)?;
        Ok(Self::start(root, None, require_guard, semantics, environment))
    }

    #[cfg(test)]
    pub(super) fn open_with(
        root: &Path,
        semantics: Arc<dyn Semantics>,
        environment: Environment,
    ) -> anyhow::Result<(Self, Configuration)> {
        Self::listed(root)?;
        Ok(Self::start(root, None, false, semantics, environment))
    }

    fn listed(root: &Path) -> anyhow::Result<()> {
        let listed = std::fs::read_dir(root);
        listed.map(drop).with_context(|| format!("--config {} cannot be read", root.display()))
    }

    /// Reads one file, once.
    pub(super) fn read_file(path: &Path) -> Configuration {
        let root = path.parent().unwrap_or(Path::new("."));
        let environment = Arc::new(process_environment);
        let (_, configuration) =
            Self::start(root, Some(path.to_path_buf()), false, Arc::new(PolicySemantics), environment);
        configuration
    }

    fn start(
        root: &Path,
        only: Option<PathBuf>,
        require_guard: bool,
        semantics: Arc<dyn Semantics>,
        environment: Environment,
    ) -> (Self, Configuration) {
        let mut source = Self {
            root: root.to_path_buf(),
            only,
            require_guard,
            semantics,
            environment,
            prints: Prints::default(),
            files: BTreeMap::new(),
            owners: BTreeMap::new(),
            generation: 0,
            applied: [0; 32],
            pending: None,
        };
        let listing = source.look();
        let configuration = source.apply(&listing);
        (source, configuration)
    }

    /// Looks for changes. A change is taken when two looks in a row see the same, so that a file that is being written
    /// is not read by halves.
    pub(super) fn poll(&mut self) -> Option<Configuration> {
        let listing = self.look();
        let seen = self.fingerprint(&listing);
        if seen == self.applied {
            self.pending = None;
            return None;
        }
        if self.pending != Some(seen) {
            self.pending = Some(seen);
            return None;
        }
        self.pending = None;
        Some(self.apply(&listing))
    }

    fn look(&mut self) -> Listing {
        let listing = match &self.only {
            Some(path) => Listing::of_file(path),
            None => directory::list(&self.root),
        };
        let texts = listing.files.values().map(|path| (path.as_path(), MAX_FILE));
        let values = self.files.values().flat_map(|entry| &entry.values);
        let values = values.map(|(path, _)| (path.as_path(), MAX_VALUE));
        self.prints.look(texts.chain(values));
        listing
    }

    fn fingerprint(&self, listing: &Listing) -> [u8; 32] {
        let mut hash = Sha256::new();
        for problem in &listing.problems {
            hash.update(problem.to_string());
            hash.update([0]);
        }
        self.prints.fold(&mut hash);
        hash.finalize().into()
    }

    fn apply(&mut self, listing: &Listing) -> Configuration {
        let mut before = std::mem::take(&mut self.files);
        let mut files = BTreeMap::new();
        let mut total = 0;
        for (name, path) in &listing.files {
            let entry = self.refresh(name, path, before.remove(name), MAX_TOTAL.saturating_sub(total));
            total += entry.len;
            files.insert(Arc::clone(name), entry);
        }
        files.extend(before.into_iter().filter(|(name, _)| listing.may_hide(name)));
        self.files = files;
        self.generation += 1;
        self.applied = self.fingerprint(listing);
        let mut loaded = load::assemble(self.files.values().map(|entry| &entry.file), &self.owners);
        loaded.spec.require_guard = self.require_guard;
        self.owners.clone_from(&loaded.owners);
        Configuration::new(loaded, listing.problems.clone(), self.generation)
    }

    /// The present state of one file: the previous one if nothing changed, or if the change is broken.
    fn refresh(&mut self, name: &str, path: &Path, previous: Option<Entry>, room: u64) -> Entry {
        let previous = match previous {
            Some(entry) if self.is_current(path, &entry) => return entry,
            other => other,
        };
        let content = directory::read(path, MAX_FILE);
        let print = Print::of(&content);
        self.prints.set(path, print.clone());
        let len = content.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let mut values = Vec::new();
        let known = previous.is_some();
        let unreadable = |why: String| {
            let file = SourceFile::unreadable(name, why);
            if known { file } else { file.fail_closed() }
        };
        let file = match content.map(String::from_utf8) {
            Ok(Ok(_)) if len > room => {
                unreadable(format!("all files together are larger than {} MiB", MAX_TOTAL >> 20))
            }
            Ok(Ok(text)) => self.parse(name, &text, &mut values),
            Ok(Err(_)) => unreadable("is not UTF-8 text: convert it".to_owned()),
            Err(error) => unreadable(error.to_string()),
        };
        let file = match previous {
            Some(previous) if file.broken => file.keeping(&previous.file),
            _ => file,
        };
        Entry { print, len, values, file }
    }

    fn is_current(&self, path: &Path, entry: &Entry) -> bool {
        self.prints.get(path) == Some(&entry.print)
            && entry.values.iter().all(|(path, print)| self.prints.get(path) == Some(print))
    }

    /// Reads a text and fetches the values that its Secrets keep elsewhere.
    fn parse(&mut self, name: &str, text: &str, values: &mut Vec<(PathBuf, Print)>) -> SourceFile {
        let mut file = load::read(name, text, &*self.semantics);
        for source in file.secret_sources.clone() {
            let value = match &source.from {
                SecretFrom::Env(variable) => (self.environment)(variable)
                    .map(OsString::into_encoded_bytes)
                    .ok_or_else(|| format!("the environment variable `{variable}` is not set")),
                SecretFrom::File(path) => {
                    let path = self.root.join(path);
                    let content = directory::read(&path, MAX_VALUE);
                    let print = Print::of(&content);
                    self.prints.set(&path, print.clone());
                    let shown = path.display().to_string();
                    values.push((path, print));
                    content.map(without_line_end).map_err(|error| format!("the file {shown} {error}"))
                }
            };
            match value {
                Ok(value) => file.supply(&source, value),
                Err(why) => file.refuse(&source, why),
            }
        }
        file
    }
}

/// Files end with a line end that tokens and passwords do not have: one is taken off.
fn without_line_end(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    bytes
}

#[expect(clippy::disallowed_methods, reason = "the binary reads the environment, here for Secrets")]
fn process_environment(variable: &str) -> Option<OsString> {
    std::env::var_os(variable)
}

#[cfg(test)]
mod tests {
    use windlass_model::ObjectKey;

    use super::super::fixture::{Directory, intervals, printed, repository, secret};
    use super::*;

    /// Polls until a change was seen twice; `None` when nothing changed.
    fn settled(source: &mut Source) -> Option<Configuration> {
        assert!(source.poll().is_none(), "a change is taken on the second look");
        source.poll()
    }

    #[test]
    fn a_directory_that_does_not_exist_is_refused_by_name() {
        let error = Source::open(Path::new("/nonexistent/config"), false).err().unwrap();
        assert!(error.to_string().contains("--config /nonexistent/config"), "{error}");
    }

    #[test]
    fn good_documents_of_a_broken_file_are_used_at_first() {
        let directory = Directory::with(&[
            ("a.yaml", &(repository("one", "5m") + &repository("two", "never") + &repository("three", "1m"))),
            ("b/c.yml", &repository("four", "2m")),
        ]);
        let (_, first) = directory.open();
        assert_eq!(intervals(&first), [("four", 120), ("one", 300), ("three", 60)]);
        assert_eq!(first.problems.len(), 1);
        assert!(
            printed(&first)[0].starts_with("a.yaml:10: error: ImageRepository/default/two: spec.interval: ")
        );
        assert!(first.kept.is_empty());
    }

    #[test]
    fn a_broken_change_keeps_the_last_good_state_and_other_files_apply() {
        let directory =
            Directory::with(&[("a.yaml", &(repository("a", "1m") + &repository("b", "1m"))), ("c.yaml", "")]);
        let (mut source, _) = directory.open();
        directory.write("a.yaml", &(repository("a", "2m") + &repository("b", "soon")));
        directory.write("c.yaml", &repository("c", "3m"));
        let broken = settled(&mut source).unwrap();
        assert_eq!(intervals(&broken), [("a", 60), ("b", 60), ("c", 180)]);
        assert_eq!(broken.kept.iter().map(AsRef::as_ref).collect::<Vec<_>>(), ["a.yaml"]);
        assert_eq!((broken.generation, broken.problems.len()), (2, 1));
        assert!(settled(&mut source).is_none(), "nothing new is told twice");

        directory.write("a.yaml", "a: [");
        assert_eq!(intervals(&settled(&mut source).unwrap()), [("a", 60), ("b", 60), ("c", 180)]);
        directory.write("a.yaml", &repository("a", "4m"));
        let mended = settled(&mut source).unwrap();
        assert_eq!(intervals(&mended), [("a", 240), ("c", 180)]);
        assert!(mended.kept.is_empty() && mended.problems.is_empty());
    }

    #[test]
    fn unreadable_files_keep_their_resources_and_removed_files_do_not() {
        let directory =
            Directory::with(&[("a.yaml", &repository("a", "1m")), ("b.yaml", &repository("b", "1m"))]);
        let (mut source, _) = directory.open();
        std::fs::write(directory.path("a.yaml"), [0xff, 0xfe, 0, 1]).unwrap();
        directory.remove("b.yaml");
        let next = settled(&mut source).unwrap();
        assert_eq!(intervals(&next), [("a", 60)]);
        assert_eq!(printed(&next), ["a.yaml: error: is not UTF-8 text: convert it"]);
    }

    #[test]
    fn a_directory_that_disappears_keeps_everything_until_it_is_back() {
        let directory = Directory::with(&[("conf/a.yaml", &repository("a", "1m"))]);
        let root = directory.path("conf");
        let (mut source, _) =
            Source::open_with(&root, Arc::new(PolicySemantics), Arc::new(|_: &str| None)).unwrap();
        std::fs::rename(&root, directory.path("away")).unwrap();
        let gone = settled(&mut source).unwrap();
        assert_eq!(intervals(&gone), [("a", 60)]);
        assert!(
            printed(&gone)[0].starts_with(".: error: the directory cannot be read"),
            "{:?}",
            printed(&gone)
        );
        std::fs::rename(directory.path("away"), &root).unwrap();
        let back = settled(&mut source).unwrap();
        assert_eq!((intervals(&back), back.problems.len()), (vec![("a", 60)], 0));
    }

    #[test]
    fn a_second_definition_does_not_take_over() {
        let directory = Directory::with(&[("b.yaml", &repository("app", "1m"))]);
        let (mut source, _) = directory.open();
        directory.write("a.yaml", &repository("app", "9m"));
        let next = settled(&mut source).unwrap();
        assert_eq!(intervals(&next), [("app", 60)]);
        assert!(
            printed(&next)[0]
                .starts_with("a.yaml:2: error: ImageRepository/default/app: is defined at b.yaml:2")
        );
    }

    #[test]
    fn a_file_that_is_still_being_written_is_not_read() {
        let directory = Directory::with(&[("a.yaml", &repository("a", "1m"))]);
        let (mut source, _) = directory.open();
        for half in ["", "apiVersion: image.tool", "---\n"] {
            directory.write("a.yaml", half);
            assert!(source.poll().is_none());
        }
        directory.write("a.yaml", &repository("a", "2m"));
        assert_eq!(intervals(&settled(&mut source).unwrap()), [("a", 120)]);
    }

    #[test]
    fn secrets_take_values_from_the_environment_and_from_files() {
        let annotations =
            "windlass.dev/from-env: token=TOKEN, windlass.dev/from-file: 'password=../pw,raw=raw'";
        let directory = Directory::with(&[
            ("conf/s.yaml", &secret("s", annotations)),
            ("pw", "hunter2\r\n"),
            ("conf/raw", "x\n\n"),
        ]);
        let environment = |name: &str| (name == "TOKEN").then(|| OsString::from("from-env"));
        let (mut source, first) =
            Source::open_with(&directory.path("conf"), Arc::new(PolicySemantics), Arc::new(environment))
                .unwrap();
        assert!(first.problems.is_empty(), "{:?}", printed(&first));
        let text = |configuration: &Configuration, key: &str| {
            configuration.spec.secret("default", "s").unwrap().text(key).map(str::to_owned)
        };
        assert_eq!(text(&first, "token").as_deref(), Some("from-env"));
        assert_eq!(text(&first, "password").as_deref(), Some("hunter2"));
        assert_eq!(text(&first, "raw").as_deref(), Some("x\n"));

        directory.write("pw", "hunter3");
        let rotated = settled(&mut source).unwrap();
        assert_eq!(text(&rotated, "password").as_deref(), Some("hunter3"));

        directory.remove("pw");
        let lost = settled(&mut source).unwrap();
        assert_eq!(text(&lost, "password").as_deref(), Some("hunter3"), "the last good value stays");
        assert!(printed(&lost)[0].contains("Secret/default/s: metadata.annotations.windlass.dev/from-file: the key `password` has no value: the file"));
        assert!(printed(&lost).iter().all(|line| !line.contains("hunter")));

        directory.write("pw", "hunter4");
        let found = settled(&mut source).unwrap();
        assert_eq!((text(&found, "password").as_deref(), found.problems.len()), (Some("hunter4"), 0));
    }

    #[test]
    fn a_missing_variable_names_secret_key_and_variable() {
        let directory =
            Directory::with(&[("s.yaml", &secret("s", "windlass.dev/from-env: 'token=NOT_SET'"))]);
        let (_, first) = directory.open();
        assert_eq!(
            printed(&first),
            [
                "s.yaml:4: error: Secret/default/s: metadata.annotations.windlass.dev/from-env: the key `token` has no \
              value: the environment variable `NOT_SET` is not set"
            ]
        );
    }

    #[test]
    fn resources_that_did_not_change_are_shared_between_generations() {
        let directory =
            Directory::with(&[("a.yaml", &repository("a", "1m")), ("b.yaml", &repository("b", "1m"))]);
        let (mut source, first) = directory.open();
        directory.write("b.yaml", &repository("b", "2m"));
        let next = settled(&mut source).unwrap();
        let of = |configuration: &Configuration, name: &str| {
            Arc::clone(&configuration.spec.image_repositories[&ObjectKey::new("default", name)])
        };
        assert!(Arc::ptr_eq(&of(&first, "a"), &of(&next, "a")));
        assert!(!Arc::ptr_eq(&of(&first, "b"), &of(&next, "b")));
    }
}
