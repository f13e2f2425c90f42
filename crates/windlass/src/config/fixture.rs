//! A configuration directory for tests, with an environment of its own.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::semantics::PolicySemantics;
use super::{Configuration, Source};

/// A folder that is removed when it is dropped.
pub(super) struct Directory {
    root: tempfile::TempDir,
}

impl Directory {
    /// Writes these files.
    pub(super) fn with(files: &[(&str, &str)]) -> Self {
        let directory = Self { root: tempfile::tempdir().unwrap() };
        for (name, text) in files {
            directory.write(name, text);
        }
        directory
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Opens it; the environment has `TOKEN` alone.
    pub(super) fn open(&self) -> (Source, Configuration) {
        let environment = |name: &str| (name == "TOKEN").then(|| OsString::from("from-env"));
        Source::open_with(self.root.path(), Arc::new(PolicySemantics), Arc::new(environment)).unwrap()
    }
}

/// An ImageRepository.
pub(super) fn repository(name: &str, interval: &str) -> String {
    format!(
        "---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageRepository\nmetadata: {{name: {name}}}\nspec: \
         {{image: a/b, interval: {interval}}}\n"
    )
}

/// A Secret with these annotations.
pub(super) fn secret(name: &str, annotation: &str) -> String {
    format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, annotations: {{{annotation}}}}}\n")
}

/// The ImageRepositories with their intervals in seconds.
pub(super) fn intervals(configuration: &Configuration) -> Vec<(&str, u64)> {
    let repositories = configuration.spec.image_repositories.values();
    repositories
        .map(|repository| (repository.meta.key.name.as_str(), repository.interval.as_secs()))
        .collect()
}

/// The problems as printed.
pub(super) fn printed(configuration: &Configuration) -> Vec<String> {
    configuration.problems.iter().map(ToString::to_string).collect()
}
