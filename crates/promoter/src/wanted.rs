//! Which files an automation wants to be looked at, and what its annotations declare beyond markers.

use std::collections::BTreeSet;

use windlass_manifest::glob::Glob;
use windlass_manifest::{Declaration, screen};
use windlass_model::resource::{DeclaredEdit, EditKind, ImageUpdateAutomation};
use windlass_model::{ObjectKey, Spec};

/// What an automation looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// `spec.update.path`
    pub(crate) prefix: String,
    /// Files whose markers are read line by line.
    pub(crate) templates: Vec<Glob>,
    /// In the order of the annotation.
    pub(crate) declared: Vec<Declared>,
}

/// A place without a marker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Declared {
    /// Its position in the annotation.
    pub(crate) number: usize,
    pub(crate) path: String,
    pub(crate) policy: ObjectKey,
    pub(crate) declaration: Declaration,
    /// The name under which the policy's image is written.
    pub(crate) image: String,
}

impl Wanted {
    /// What the automation's path and annotations say.
    ///
    /// # Errors
    /// A sentence that names the annotation: the loader has checked the texts, so this is a mistake of ours.
    pub(crate) fn of(automation: &ImageUpdateAutomation, spec: &Spec) -> Result<Self, String> {
        let glob = |text: &String| text.parse().map_err(|error| format!("windlass.dev/templates: {error}"));
        let declared = |(number, edit)| {
            declared(number, edit, spec).map_err(|error| format!("windlass.dev/edits[{number}]: {error}"))
        };
        Ok(Self {
            prefix: automation.update_path.clone(),
            templates: automation.templates.iter().map(glob).collect::<Result<_, _>>()?,
            declared: automation.edits.iter().enumerate().map(declared).collect::<Result<_, _>>()?,
        })
    }

    /// Whether a file may hold something for the automation.
    pub(crate) fn screen(&self) -> impl Fn(&str) -> bool + Send + use<> {
        let templates = self.templates.clone();
        let declared: BTreeSet<String> = self.declared.iter().map(|declared| declared.path.clone()).collect();
        move |path: &str| {
            screen::is_candidate(path)
                || declared.contains(path)
                || templates.iter().any(|glob| glob.matches(path))
        }
    }

    /// Whether a file's markers are read line by line.
    pub(crate) fn is_template(&self, path: &str) -> bool {
        self.templates.iter().any(|glob| glob.matches(path))
    }
}

impl Declared {
    /// As a message begins that is about it.
    pub(crate) fn field(&self) -> String {
        format!("windlass.dev/edits[{}]: {}", self.number, self.path)
    }
}

fn declared(number: usize, edit: &DeclaredEdit, spec: &Spec) -> Result<Declared, String> {
    let policy = spec.image_policies.get(&edit.policy);
    let repository = policy.and_then(|policy| spec.image_repositories.get(&policy.repository));
    // A policy that does not exist is the plan's to tell.
    let image = repository.map(|repository| repository.spec_image.clone()).unwrap_or_default();
    let key =
        |text: &str| text.parse().map_err(|error: windlass_manifest::path::InvalidPath| error.to_string());
    let declaration = match &edit.kind {
        EditKind::Kustomize { name } => {
            Declaration::Kustomize { name: name.clone().unwrap_or_else(|| image.clone()) }
        }
        EditKind::Helm { key: text } => Declaration::Helm { key: key(text)? },
        EditKind::YamlPath { key: text, part, document } => {
            let document = document.as_deref().map(str::parse).transpose();
            let document =
                document.map_err(|error: windlass_manifest::path::InvalidSelector| error.to_string())?;
            Declaration::Path { path: key(text)?, document, part: *part }
        }
    };
    Ok(Declared { number, path: edit.path.clone(), policy: edit.policy.clone(), declaration, image })
}
