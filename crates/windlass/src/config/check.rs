//! `windlass check`: what a directory holds and what is wrong with it. Owns the report; printing it and the exit code
//! are the command line's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use windlass_model::load::{Problem, Severity};
use windlass_model::resource::Resource;
use windlass_model::{Kind, ObjectKey, ObjectRef, Spec};

use super::{Configuration, Source};
use crate::table;

/// What `windlass check` prints.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Every resource that was loaded, by kind, namespace and name.
    pub resources: Vec<Row>,
    /// Every Receiver's path.
    pub webhooks: Vec<Webhook>,
    /// Policies whose image no Guard concerns: `namespace/name`.
    pub unguarded: Vec<String>,
    /// Other controllers' objects: how many of each (`Deployment.apps`).
    pub ignored: BTreeMap<String, usize>,
    /// Documents that are no Kubernetes objects.
    pub not_resources: usize,
    /// Every problem, sorted by file and line.
    pub problems: Vec<Finding>,
    /// How many of them are errors.
    pub errors: usize,
    /// How many of them are warnings.
    pub warnings: usize,
}

/// One resource.
#[derive(Debug, Serialize)]
pub struct Row {
    /// `ImagePolicy`
    pub kind: &'static str,
    /// Empty for a Namespace.
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// The file, relative to the directory; empty for a Namespace.
    pub file: String,
    /// The line on which the document starts; 0 for a Namespace.
    pub line: usize,
    /// Whether it can be acted on.
    pub ready: bool,
    /// Whether `spec.suspend` is set.
    pub suspended: bool,
    /// Why it is not ready.
    pub reason: Option<String>,
}

/// One Receiver's webhook.
#[derive(Debug, Serialize)]
pub struct Webhook {
    /// `namespace/name` of the Receiver.
    pub receiver: String,
    /// `spec.type`; of a type that is not supported, nothing is served.
    pub sender: &'static str,
    /// `/hook/<sha256>`; absent where the Secret has no token.
    pub path: Option<String>,
    /// Whether the path is served.
    pub ready: bool,
}

/// One problem.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// `error` or `warning`.
    pub severity: &'static str,
    /// The file, relative to the directory.
    pub file: String,
    /// One-based; 0 for the file as a whole.
    pub line: usize,
    /// `Kind/namespace/name`, where it is known.
    pub object: Option<String>,
    /// `spec.policy.semver.range`; empty for the object as a whole.
    pub field: String,
    /// What is wrong and what to do next.
    pub message: String,
    /// All of it in one line, as the table prints it.
    pub text: String,
}

/// Checks a directory. A directory that cannot be read is a report with that error.
pub fn check(root: &Path, require_guard: bool) -> Report {
    match Source::open(root, require_guard) {
        Ok((_, configuration)) => Report::new(root, &configuration),
        Err(error) => {
            let message = format!("{error:#}");
            let problem = Problem::of_file(&root.display().to_string(), Severity::Error, message);
            Report::new(root, &Configuration { problems: vec![problem], ..Configuration::default() })
        }
    }
}

impl Report {
    fn new(root: &Path, configuration: &Configuration) -> Self {
        let resources = rows(configuration);
        let mut problems = configuration.problems.clone();
        if resources.is_empty() && problems.is_empty() {
            let message = "holds no resource of Windlass: is it the right directory?";
            problems.push(Problem::of_file(&root.display().to_string(), Severity::Warning, message));
        }
        let errors = problems.iter().filter(|problem| problem.is_error()).count();
        Self {
            resources,
            webhooks: webhooks(configuration),
            unguarded: configuration.spec.unguarded().map(|policy| policy.meta.key.to_string()).collect(),
            ignored: configuration.ignored.clone(),
            not_resources: configuration.not_resources,
            warnings: problems.len() - errors,
            errors,
            problems: problems.iter().map(finding).collect(),
        }
    }

    /// Whether there is no error.
    pub fn is_clean(&self) -> bool {
        self.errors == 0
    }

    /// The report for people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        if !self.resources.is_empty() {
            let rows = self.resources.iter().map(|row| {
                let place =
                    if row.file.is_empty() { String::new() } else { format!("{}:{}", row.file, row.line) };
                [row.kind.to_owned(), row.label(), place, row.state()]
            });
            text.push_str(&table::render(&["KIND", "NAME", "PLACE", "STATUS"], rows));
            text.push('\n');
        }
        if !self.webhooks.is_empty() {
            let rows = self.webhooks.iter().map(|webhook| {
                let path = webhook.path.clone().unwrap_or_else(|| "none: it has no token".to_owned());
                let path = if webhook.ready { path } else { format!("{path} (not served)") };
                [webhook.receiver.clone(), webhook.sender.to_owned(), path]
            });
            text.push_str(&table::render(&["RECEIVER", "TYPE", "WEBHOOK PATH"], rows));
            text.push('\n');
        }
        // Without any Guard nobody expects one.
        let guarded = self.resources.iter().any(|row| row.kind == Kind::Guard.as_str());
        if guarded && !self.unguarded.is_empty() {
            let _ = writeln!(text, "Concerned by no Guard: ImagePolicy {}\n", self.unguarded.join(", "));
        }
        let mut ignored: Vec<String> =
            self.ignored.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        if self.not_resources > 0 {
            ignored.push(format!("{} not Kubernetes objects", self.not_resources));
        }
        if !ignored.is_empty() {
            let _ = writeln!(text, "Ignored: {}\n", ignored.join(", "));
        }
        for problem in &self.problems {
            let _ = writeln!(text, "{}", problem.text);
        }
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let _ = writeln!(
            text,
            "{}, {}, {}",
            count(self.resources.len(), "resource"),
            count(self.errors, "error"),
            count(self.warnings, "warning")
        );
        text
    }
}

impl Row {
    fn label(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }

    fn state(&self) -> String {
        match (&self.reason, self.suspended) {
            (Some(reason), _) => format!("not ready: {reason}"),
            (None, true) => "suspended".to_owned(),
            (None, false) => "ready".to_owned(),
        }
    }
}

fn rows(configuration: &Configuration) -> Vec<Row> {
    let Spec {
        image_repositories,
        image_policies,
        automations,
        git_repositories,
        receivers,
        notifiers,
        guards,
        secrets,
        namespaces,
        require_guard: _,
        division: _,
    } = &*configuration.spec;
    let mut rows = Vec::new();
    rows.extend(image_repositories.values().map(|r| row(configuration, &**r, r.suspend)));
    rows.extend(image_policies.values().map(|r| row(configuration, &**r, r.suspend)));
    rows.extend(automations.values().map(|r| row(configuration, &**r, r.suspend)));
    rows.extend(git_repositories.values().map(|r| row(configuration, &**r, r.suspend)));
    rows.extend(receivers.values().map(|r| row(configuration, &**r, r.suspend)));
    rows.extend(notifiers.values().map(|r| row(configuration, &**r, r.suspend)));
    rows.extend(guards.values().map(|r| Row { namespace: String::new(), ..row(configuration, &**r, false) }));
    rows.extend(secrets.values().map(|r| row(configuration, &**r, false)));
    rows.extend(namespaces.keys().map(|name| Row {
        kind: Kind::Namespace.as_str(),
        namespace: String::new(),
        name: name.clone(),
        file: String::new(),
        line: 0,
        ready: true,
        suspended: false,
        reason: None,
    }));
    rows
}

fn row<R: Resource>(configuration: &Configuration, resource: &R, suspended: bool) -> Row {
    let meta = resource.meta();
    let ObjectKey { namespace, name } = meta.key.clone();
    let reason = configuration.readiness.get(&resource.object_ref()).cloned();
    Row {
        kind: R::KIND.as_str(),
        namespace,
        name,
        file: meta.origin.file.to_string(),
        line: meta.origin.line,
        ready: reason.is_none(),
        suspended,
        reason,
    }
}

fn webhooks(configuration: &Configuration) -> Vec<Webhook> {
    let spec = &configuration.spec;
    let webhook = |receiver: &windlass_model::resource::Receiver| {
        let secret = spec.secret(&receiver.meta.key.namespace, &receiver.secret);
        let token = secret.and_then(|secret| secret.get("token")).filter(|token| !token.is_empty());
        let object: ObjectRef = receiver.object_ref();
        Webhook {
            receiver: receiver.meta.key.to_string(),
            sender: receiver.sender.as_str(),
            path: token.map(|token| receiver.webhook_path(token)),
            ready: !configuration.readiness.contains_key(&object) && !receiver.suspend,
        }
    };
    spec.receivers.values().map(|receiver| webhook(receiver)).collect()
}

fn finding(problem: &Problem) -> Finding {
    Finding {
        severity: problem.severity.as_str(),
        file: problem.origin.file.to_string(),
        line: problem.origin.line,
        object: problem.object.as_ref().map(ToString::to_string),
        field: problem.field.clone(),
        message: problem.message.clone(),
        text: problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Directory;
    use super::*;

    const FLEET: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: apps, labels: {team: a}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: app, namespace: apps}
spec: {image: a/b, interval: 5m}
---
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Receiver
metadata: {name: harbor, namespace: apps}
spec:
  type: harbor
  secretRef: {name: token}
  resources: [{kind: ImageRepository, name: app}]
---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: apps, annotations: {windlass.dev/from-env: token=TOKEN}}
";
    const FOREIGN: &str = "\
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: app}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: other}
";
    const SOPS: &str = "\
apiVersion: v1
kind: Secret
metadata: {name: database}
stringData:
  password: ENC[AES256_GCM,data:abc,iv:x,tag:y,type:str]
sops:
  mac: ENC[AES256_GCM,data:abc,iv:x,tag:y,type:str]
";

    fn report(directory: &Directory) -> Report {
        let (_, configuration) = directory.open();
        Report::new(Path::new("conf"), &configuration)
    }

    #[test]
    fn a_clean_directory_shows_everything_that_it_holds() {
        let directory = Directory::with(&[
            ("fleet.yaml", FLEET),
            ("clusters/prod.yaml", FOREIGN),
            ("charts/values.yaml", "replicaCount: 2\n"),
            ("kustomization.yaml", "resources: [fleet.yaml]\n"),
        ]);
        let report = report(&directory);
        assert!(report.is_clean(), "{:?}", report.problems);
        // printf 'from-envharborapps' | sha256sum
        let path = "/hook/3547c615d5de64e65075af0d9045e4ffbe055861c94461c7a917ac891b61e6c1";
        assert_eq!(report.webhooks[0].path.as_deref(), Some(path));
        let expected = format!(
            "\
KIND             NAME         PLACE          STATUS
ImageRepository  apps/app     fleet.yaml:5   ready
Receiver         apps/harbor  fleet.yaml:10  ready
Secret           apps/token   fleet.yaml:18  ready
Namespace        apps                        ready

RECEIVER     TYPE    WEBHOOK PATH
apps/harbor  harbor  {path}

Ignored: 2 Deployment.apps, 1 HelmRelease.helm.toolkit.fluxcd.io, 1 Kustomization.kustomize.toolkit.fluxcd.io, \
             2 not Kubernetes objects

4 resources, 0 errors, 0 warnings
"
        );
        assert_eq!(report.table(), expected);
    }

    #[test]
    fn problems_are_printed_by_place_and_make_the_check_fail() {
        let broken = FLEET.replace("interval: 5m", "interval: 5").replace("token=TOKEN", "token=GONE");
        let directory = Directory::with(&[("fleet.yaml", &broken), ("secrets/db.yaml", SOPS)]);
        let report = report(&directory);
        assert!(!report.is_clean());
        let problems: Vec<_> = report.problems.iter().map(|problem| problem.text.as_str()).collect();
        assert_eq!(
            problems,
            [
                "fleet.yaml:8: error: ImageRepository/apps/app: spec.interval: must be a string and is a number: put \
                 it in quotes",
                "fleet.yaml:15: error: Receiver/apps/harbor: spec.secretRef.name: Secret/apps/token has no key `token`",
                "fleet.yaml:16: error: Receiver/apps/harbor: spec.resources[0]: ImageRepository/apps/app does not exist",
                "fleet.yaml:20: error: Secret/apps/token: metadata.annotations.windlass.dev/from-env: the key `token` \
                 has no value: the environment variable `GONE` is not set",
                "secrets/db.yaml:1: error: Secret/default/database: is encrypted with SOPS, which is not decrypted \
                 here: take the values from the environment or from mounted files (annotations \
                 windlass.dev/from-env, windlass.dev/from-file)",
            ]
        );
        let table = report.table();
        assert!(
            table.contains("not ready: spec.secretRef.name: Secret/apps/token has no key `token`"),
            "{table}"
        );
        assert!(table.contains("apps/harbor  harbor  none: it has no token (not served)"), "{table}");
        assert!(table.ends_with("3 resources, 5 errors, 0 warnings\n"), "{table}");
    }

    #[test]
    fn a_signing_key_that_does_not_open_is_an_error_at_its_field() {
        let automation = "\
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageUpdateAutomation
metadata: {name: fleet, namespace: apps}
spec:
  interval: 1h
  sourceRef: {name: fleet}
  git:
    commit:
      author: {email: bot@example.com}
      signingKey: {type: ssh, secretRef: {name: signing}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet, namespace: apps}
spec: {url: 'https://git.example.com/fleet', interval: 1h}
---
apiVersion: v1
kind: Secret
metadata: {name: signing, namespace: apps}
stringData: {identity: hunter2}
";
        let report = report(&Directory::with(&[("git.yaml", automation)]));
        let problem = report.problems.iter().find(|problem| problem.severity == "error").unwrap();
        let place = "git.yaml:11: error: ImageUpdateAutomation/apps/fleet: spec.git.commit.signingKey.secretRef.name: ";
        let wanted = format!(
            "{place}the key `identity` of Secret/apps/signing is not a private key in OpenSSH's format"
        );
        assert!(problem.text.starts_with(&wanted), "{}", problem.text);
        let row = report.resources.iter().find(|row| row.kind == "ImageUpdateAutomation").unwrap();
        assert!(row.reason.as_ref().is_some_and(|reason| reason.contains("OpenSSH")), "{:?}", row.reason);
        assert!(!report.table().contains("hunter2"));
    }

    #[test]
    fn the_json_has_the_same_content() {
        let directory = Directory::with(&[("fleet.yaml", &FLEET.replace("5m", "soon"))]);
        let json = serde_json::to_value(report(&directory)).unwrap();
        assert_eq!(json["errors"], 2);
        assert_eq!(json["problems"][0]["line"], 8);
        assert_eq!(json["problems"][0]["object"], "ImageRepository/apps/app");
        assert_eq!(json["problems"][0]["field"], "spec.interval");
        assert_eq!(json["resources"][0]["kind"], "Receiver");
        assert_eq!(json["resources"][0]["ready"], false);
    }

    #[test]
    fn an_empty_or_missing_directory_says_so() {
        let report = report(&Directory::with(&[("README.md", "x")]));
        assert!(report.is_clean() && report.warnings == 1, "{:?}", report.problems);
        let missing = check(Path::new("/nonexistent/config"), false);
        assert!(
            !missing.is_clean() && missing.problems[0].text.contains("cannot be read"),
            "{:?}",
            missing.problems
        );
    }
}
