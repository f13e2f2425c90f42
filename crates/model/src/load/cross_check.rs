//! What one file alone cannot show: references to objects that are not there, keys that Secrets lack, permissions of
//! `accessFrom`. Owns these checks; they never fail a load, they make resources not ready.

mod git;
mod github_app;
mod guarded;

use std::collections::BTreeMap;
use std::fmt;

use url::Url;

use super::problem::{Problem, Severity};
use super::push;
use crate::name::{ObjectKey, ObjectRef};
use crate::resource::{
    ImagePolicy, ImageRepository, ImageUpdateAutomation, Meta, NOTIFIERS_FROM, Notifier, NotifierTarget,
    Receiver, ReceiverSelect, Resource, Secret, Spec, contains_all,
};

/// The key of a Receiver's token and of a bot's.
const TOKEN: &str = "token";
/// The key of an address: a proxy's or a webhook's.
const ADDRESS: &str = "address";
/// The key of a `kubernetes.io/dockerconfigjson` Secret.
const DOCKER_CONFIG: &str = ".dockerconfigjson";
/// The key of a `kubernetes.io/dockercfg` Secret, the older form.
const LEGACY_DOCKER_CONFIG: &str = ".dockercfg";

/// Checks every reference. The problems carry the line of their object; [`super::Loaded::locate`] knows better ones.
pub fn cross_check(spec: &Spec) -> Vec<Problem> {
    findings(spec).into_iter().map(|finding| finding.problem).collect()
}

/// Why each object that is not ready is not: what this version does not act on, and what it needs and does not find.
/// Objects that are ready are absent.
pub fn readiness(spec: &Spec) -> BTreeMap<ObjectRef, String> {
    let mut reasons: BTreeMap<ObjectRef, Vec<String>> = BTreeMap::new();
    for finding in findings(spec).into_iter().filter(|finding| finding.blocks) {
        let Problem { object: Some(object), field, message, .. } = finding.problem else { continue };
        reasons.entry(object).or_default().push(format!("{field}: {message}"));
    }
    reasons.into_iter().map(|(object, reasons)| (object, reasons.join("; "))).collect()
}

/// A problem, and whether its object cannot work because of it.
struct Finding {
    problem: Problem,
    blocks: bool,
}

/// Collects the findings about one object.
struct Check<'s> {
    spec: &'s Spec,
    findings: Vec<Finding>,
}

/// The object that a finding is about.
struct About<'a> {
    object: ObjectRef,
    meta: &'a Meta,
}

impl<'a> About<'a> {
    fn new<R: Resource>(resource: &'a R) -> Self {
        Self { object: resource.object_ref(), meta: resource.meta() }
    }

    fn namespace(&self) -> &str {
        &self.meta.key.namespace
    }
}

fn findings(spec: &Spec) -> Vec<Finding> {
    let mut check = Check { spec, findings: Vec::new() };
    spec.image_repositories.values().for_each(|resource| check.image_repository(resource));
    spec.image_policies.values().for_each(|resource| check.image_policy(resource));
    spec.automations.values().for_each(|resource| check.automation(resource));
    spec.git_repositories.values().for_each(|resource| check.git_repository(resource));
    spec.receivers.values().for_each(|resource| check.receiver(resource));
    check.webhook_paths();
    spec.notifiers.values().for_each(|resource| check.notifier(resource));
    spec.guards.values().for_each(|guard| check.guard(guard));
    check.findings
}

impl<'s> Check<'s> {
    fn blocking(&mut self, about: &About<'_>, field: &str, message: impl fmt::Display) {
        self.push(about, Severity::Error, true, field, message);
    }

    fn push(
        &mut self,
        about: &About<'_>,
        severity: Severity,
        blocks: bool,
        field: &str,
        message: impl fmt::Display,
    ) {
        let problem = Problem {
            origin: about.meta.origin.clone(),
            severity,
            object: Some(about.object.clone()),
            field: field.to_owned(),
            message: message.to_string(),
        };
        self.findings.push(Finding { problem, blocks });
    }

    fn unsupported(&mut self, about: &About<'_>) {
        for unsupported in &about.meta.unsupported {
            self.blocking(about, &unsupported.field, &unsupported.why);
        }
    }

    /// The Secret of the object's own namespace that a field names.
    fn secret(&mut self, about: &About<'_>, field: &str, name: &str) -> Option<&'s Secret> {
        self.secret_at(about, field, &ObjectKey::new(about.namespace(), name))
    }

    fn secret_at(&mut self, about: &About<'_>, field: &str, key: &ObjectKey) -> Option<&'s Secret> {
        let found = self.spec.secrets.get(key);
        if found.is_none() {
            self.blocking(about, field, format_args!("Secret/{key} does not exist"));
        }
        found.map(AsRef::as_ref)
    }

    /// A Secret's text that must be there and not be empty.
    fn text(&mut self, about: &About<'_>, field: &str, secret: &'s Secret, key: &str) -> Option<&'s str> {
        let name = &secret.meta.key;
        match (secret.get(key), secret.text(key)) {
            (None, _) => self.blocking(about, field, format_args!("Secret/{name} has no key `{key}`")),
            (Some([]), _) => {
                self.blocking(about, field, format_args!("the key `{key}` of Secret/{name} is empty"));
            }
            (Some(_), None) => {
                self.blocking(
                    about,
                    field,
                    format_args!("the key `{key}` of Secret/{name} is not UTF-8 text"),
                );
            }
            (Some(_), Some(text)) => return Some(text),
        }
        None
    }

    /// A Secret's URL of one of these schemes. The value is a secret itself and is not repeated.
    fn address(&mut self, about: &About<'_>, field: &str, secret: &'s Secret, schemes: &[&str]) {
        let Some(text) = self.text(about, field, secret, ADDRESS) else { return };
        if !Url::parse(text.trim()).is_ok_and(|url| schemes.contains(&url.scheme()) && url.has_host()) {
            let name = &secret.meta.key;
            let wanted = schemes.join("://, ");
            self.blocking(
                about,
                field,
                format_args!(
                    "the key `{ADDRESS}` of Secret/{name} is not a URL that starts with {wanted}://"
                ),
            );
        }
    }

    fn proxy(&mut self, about: &About<'_>, name: Option<&str>) {
        const FIELD: &str = "spec.proxySecretRef.name";
        let Some(name) = name else { return };
        if let Some(secret) = self.secret(about, FIELD, name) {
            self.address(about, FIELD, secret, &["http", "https", "socks5", "socks5h"]);
        }
    }

    fn image_repository(&mut self, repository: &ImageRepository) {
        const CREDENTIALS: &str = "spec.secretRef.name";
        const CERTIFICATES: &str = "spec.certSecretRef.name";
        let about = About::new(repository);
        self.unsupported(&about);
        if let Some(secret) = repository.secret.as_deref().and_then(|n| self.secret(&about, CREDENTIALS, n)) {
            let legacy = secret.get(DOCKER_CONFIG).is_none() && secret.get(LEGACY_DOCKER_CONFIG).is_some();
            self.text(&about, CREDENTIALS, secret, if legacy { LEGACY_DOCKER_CONFIG } else { DOCKER_CONFIG });
        }
        if let Some(secret) =
            repository.cert_secret.as_deref().and_then(|n| self.secret(&about, CERTIFICATES, n))
        {
            self.certificates(&about, CERTIFICATES, secret);
        }
        self.proxy(&about, repository.proxy_secret.as_deref());
    }

    /// A CA, or a client certificate with its key, or both.
    fn certificates(&mut self, about: &About<'_>, field: &str, secret: &'s Secret) {
        if !self.client_certificate(about, field, secret) && !has_ca(secret) {
            let name = &secret.meta.key;
            let message = format_args!("Secret/{name} has neither `ca.crt` nor `tls.crt` with `tls.key`");
            self.blocking(about, field, message);
        }
    }

    /// Whether there is a client certificate, or half of one, which is reported. The second names are those that Flux
    /// deprecates.
    fn client_certificate(&mut self, about: &About<'_>, field: &str, secret: &'s Secret) -> bool {
        let certificate = has_any(secret, &["tls.crt", "certFile"]);
        let key = has_any(secret, &["tls.key", "keyFile"]);
        if certificate != key {
            let (there, missing) = if certificate { ("tls.crt", "tls.key") } else { ("tls.key", "tls.crt") };
            let message = format_args!("Secret/{} has `{there}` without `{missing}`", secret.meta.key);
            self.blocking(about, field, message);
        }
        certificate || key
    }

    fn image_policy(&mut self, policy: &ImagePolicy) {
        const FIELD: &str = "spec.imageRepositoryRef.name";
        let about = About::new(policy);
        self.unsupported(&about);
        let key = &policy.repository;
        let Some(repository) = self.spec.image_repositories.get(key) else {
            self.blocking(&about, FIELD, format_args!("ImageRepository/{key} does not exist"));
            return;
        };
        if key.namespace != about.namespace() && !admits(self.spec, repository, about.namespace()) {
            let message = format_args!(
                "ImageRepository/{key} does not admit the namespace `{}`: add its labels to spec.accessFrom there",
                about.namespace()
            );
            self.blocking(&about, FIELD, message);
        }
        self.guarded(&about, FIELD, repository);
    }

    fn automation(&mut self, automation: &ImageUpdateAutomation) {
        const FIELD: &str = "spec.sourceRef.name";
        let about = About::new(automation);
        self.unsupported(&about);
        let key = &automation.source;
        match self.spec.git_repositories.get(key) {
            None => self.blocking(&about, FIELD, format_args!("GitRepository/{key} does not exist")),
            Some(source) if !source.admits(about.namespace()) => {
                let message = format_args!(
                    "GitRepository/{key} does not admit the namespace `{}`: add it to its annotation \
                     windlass.dev/access-from",
                    about.namespace()
                );
                self.blocking(&about, FIELD, message);
            }
            Some(source) if automation.push_branch_of(source).is_none() => {
                let message = format_args!(
                    "is required, for {} is checked out, which is no branch to go on from",
                    automation.checkout_of(source)
                );
                self.blocking(&about, "spec.git.push.branch", message);
            }
            Some(source) => {
                if let Some(message) = push::contradiction(automation, source) {
                    self.blocking(&about, "spec.git.push.refspec", message);
                }
            }
        }
        self.signing_key(&about, automation);
        let chosen = |policy: &ImagePolicy| {
            policy.meta.key.namespace == about.namespace()
                && automation
                    .policy_selector
                    .as_ref()
                    .is_none_or(|selector| selector.matches(&policy.meta.labels))
        };
        if !self.spec.image_policies.values().any(|policy| chosen(policy)) {
            let message = format_args!("matches no ImagePolicy of the namespace `{}`", about.namespace());
            self.push(&about, Severity::Warning, false, "spec.policySelector", message);
        }
    }

    fn receiver(&mut self, receiver: &Receiver) {
        const FIELD: &str = "spec.secretRef.name";
        let about = About::new(receiver);
        self.unsupported(&about);
        if receiver.secret.is_empty() {
            return;
        }
        if let Some(secret) = self.secret(&about, FIELD, &receiver.secret) {
            self.text(&about, FIELD, secret, TOKEN);
        }
        // One missing repository must not silence the webhook of the others.
        let nothing = receiver.image_repositories(self.spec.whole()).is_empty();
        for (at, resource) in receiver.resources.iter().enumerate() {
            let field = format!("spec.resources[{at}]");
            match &resource.select {
                ReceiverSelect::Name(name) => {
                    let key = ObjectKey::new(&resource.namespace, name);
                    if !self.spec.whole().image_repositories.contains_key(&key) {
                        let message = format_args!("ImageRepository/{key} does not exist");
                        self.push(&about, Severity::Error, nothing, &field, message);
                    }
                }
                ReceiverSelect::Labels(labels) => {
                    let matches = |repository: &ImageRepository| {
                        repository.meta.key.namespace == resource.namespace
                            && contains_all(&repository.meta.labels, labels)
                    };
                    if !self.spec.whole().image_repositories.values().any(|repository| matches(repository)) {
                        let message = format_args!(
                            "matches no ImageRepository of the namespace `{}`",
                            resource.namespace
                        );
                        self.push(&about, Severity::Warning, false, &field, message);
                    }
                }
            }
        }
    }

    /// The path is a hash of token, name and namespace without separators, so that two Receivers can share one.
    fn webhook_paths(&mut self) {
        let mut paths: BTreeMap<String, &Receiver> = BTreeMap::new();
        for receiver in self.spec.receivers.values() {
            let secret = self.spec.secret(&receiver.meta.key.namespace, &receiver.secret);
            let Some(token) = secret.and_then(|secret| secret.get(TOKEN)) else { continue };
            if let Some(first) = paths.insert(receiver.webhook_path(token), receiver) {
                let message = format_args!(
                    "the token gives the same webhook path as Receiver/{}: use another token",
                    first.meta.key
                );
                self.blocking(&About::new(receiver.as_ref()), "spec.secretRef.name", message);
            }
        }
    }

    fn notifier(&mut self, notifier: &Notifier) {
        let about = About::new(notifier);
        self.unsupported(&about);
        let field = match &notifier.target {
            NotifierTarget::SlackWebhook { .. } => "spec.slack.webhook.secretRef.name",
            NotifierTarget::SlackBot { .. } => "spec.slack.bot.secretRef.name",
            NotifierTarget::Webhook { .. } => "spec.webhook.secretRef.name",
            NotifierTarget::FluxReceiver { .. } => "spec.fluxReceiver.secretRef.name",
            NotifierTarget::ArgoCd { .. } => "spec.argocd.secretRef.name",
        };
        if let Some(secret) = self.secret(&about, field, notifier.target.secret()) {
            match &notifier.target {
                NotifierTarget::SlackBot { .. } => {
                    self.text(&about, field, secret, TOKEN);
                }
                NotifierTarget::SlackWebhook { .. }
                | NotifierTarget::Webhook { .. }
                | NotifierTarget::FluxReceiver { .. }
                | NotifierTarget::ArgoCd { .. } => {
                    self.address(&about, field, secret, &["https", "http"]);
                }
            }
        }
        self.notified_automations(notifier, &about);
    }

    fn notified_automations(&mut self, notifier: &Notifier, about: &About<'_>) {
        let own = [about.namespace().to_owned()];
        let namespaces = if notifier.namespaces.is_empty() { &own[..] } else { &notifier.namespaces };
        for (at, namespace) in notifier.namespaces.iter().enumerate() {
            if !self.spec.admits_notifiers(namespace, about.namespace()) {
                let message = format_args!(
                    "the Namespace `{namespace}` does not admit Notifiers of `{}`: label it {NOTIFIERS_FROM}={}",
                    about.namespace(),
                    about.namespace()
                );
                self.blocking(about, &format!("spec.namespaces[{at}]"), message);
            }
        }
        for (at, name) in notifier.automations.iter().enumerate() {
            let exists = |namespace: &String| {
                self.spec.automations.contains_key(&ObjectKey::new(namespace.as_str(), name))
            };
            if !namespaces.iter().any(exists) {
                let message =
                    format_args!("no ImageUpdateAutomation `{name}` exists in {}", namespaces.join(", "));
                self.push(about, Severity::Warning, false, &format!("spec.automations[{at}]"), message);
            }
        }
    }
}

fn has_any(secret: &Secret, keys: &[&str]) -> bool {
    keys.iter().any(|key| secret.get(key).is_some())
}

fn has_ca(secret: &Secret) -> bool {
    has_any(secret, &["ca.crt", "caFile"])
}

/// Whether a repository's `accessFrom` admits another namespace (fluxcd/pkg `runtime/acl`).
fn admits(spec: &Spec, repository: &ImageRepository, namespace: &str) -> bool {
    let labels = spec.namespace_labels(namespace);
    repository.access_from.iter().flatten().any(|selector| contains_all(&labels, selector))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{only, read_text};
    use super::super::{SourceFile, assemble};
    use super::*;

    /// The problems of the cross-check, with their fields' lines, and the objects that are not ready.
    fn checked(text: &str) -> (Vec<String>, Vec<String>) {
        let file: SourceFile = read_text("f.yaml", text);
        assert!(!file.broken, "{:#?}", file.problems);
        let loaded = assemble([&file], &BTreeMap::new());
        let mut problems = cross_check(&loaded.spec);
        loaded.locate(&mut problems);
        let printed = problems.iter().map(ToString::to_string).collect();
        (printed, readiness(&loaded.spec).into_keys().map(|object| object.to_string()).collect())
    }

    fn repository(namespace: &str, rest: &str) -> String {
        format!(
            "---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageRepository\nmetadata: {{name: app, namespace: \
             {namespace}, labels: {{team: a}}}}\nspec:\n  image: a/b\n  interval: 5m\n{rest}"
        )
    }

    fn policy(namespace: &str, reference: &str) -> String {
        format!(
            "---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata: {{name: app, namespace: \
             {namespace}}}\nspec:\n  imageRepositoryRef: {{{reference}}}\n  policy: {{numerical: {{}}}}\n"
        )
    }

    fn secret(name: &str, data: &str) -> String {
        format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{{data}}}\n")
    }

    fn git(url: &str, rest: &str) -> String {
        format!(
            "---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {{name: fleet}}\nspec:\n  \
             interval: 5m\n  url: {url}\n{rest}"
        )
    }

    fn receiver(name: &str, resources: &str) -> String {
        format!(
            "---\napiVersion: notification.toolkit.fluxcd.io/v1\nkind: Receiver\nmetadata: {{name: {name}}}\nspec:\n  \
             type: harbor\n  secretRef: {{name: t}}\n  resources: [{resources}]\n"
        )
    }

    fn notifier(target: &str) -> String {
        format!(
            "---\napiVersion: windlass.dev/v1alpha1\nkind: Notifier\nmetadata: {{name: chat}}\nspec:\n  {target}\n"
        )
    }

    #[test]
    fn a_complete_configuration_has_no_findings() {
        let text = [
            repository("default", "  secretRef: {name: pull}\n  certSecretRef: {name: tls}\n"),
            policy("default", "name: app"),
            git("https://x.y/z", "  secretRef: {name: git}\n  proxySecretRef: {name: proxy}\n"),
            "---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageUpdateAutomation\nmetadata: {name: app}\nspec:\n  \
             sourceRef: {name: fleet}\n  interval: 5m\n  git: {commit: {author: {email: a}}}\n"
                .into(),
            receiver("hook", "{kind: ImageRepository, name: app}"),
            notifier("slack: {webhook: {secretRef: {name: slack}}}\n  automations: [app]"),
            secret("pull", ".dockerconfigjson: '{}'"),
            secret("tls", "ca.crt: x"),
            secret("git", "username: a, password: b"),
            secret("proxy", "address: 'http://p:1'"),
            secret("t", "token: x"),
            secret("slack", "address: 'https://hooks.slack.com/x'"),
        ];
        assert_eq!(checked(&text.concat()), (vec![], vec![]));
    }

    #[test]
    fn a_refspec_and_a_signing_key_must_fit_what_is_beside_them() {
        let automation = |rest: &str| {
            let head = "---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageUpdateAutomation\nmetadata: {name: app}\n";
            let spec = "spec:\n  sourceRef: {name: fleet}\n  interval: 5m\n  git:\n    commit:\n      author: {email: a}\n";
            let others = [
                git("https://x.y/z", "  ref: {branch: main}\n"),
                secret("key", "git.asc: x"),
                repository("default", ""),
                policy("default", "name: app"),
            ];
            format!("{head}{spec}{rest}{}", others.concat())
        };
        let refspec = |text: &str| automation(&format!("    push: {{refspec: '{text}'}}\n"));
        let signed = |key: &str| automation(&format!("      signingKey: {{{key}}}\n"));
        let key = "spec.git.commit.signingKey.secretRef.name: Secret/default/";
        for (text, wanted) in [
            (refspec("refs/heads/main:refs/heads/auto"), None),
            (refspec("HEAD:refs/for/main"), None),
            (
                refspec("refs/heads/x:refs/heads/auto"),
                Some("must start with `HEAD:` or `refs/heads/main:`".to_owned()),
            ),
            (refspec("HEAD:refs/heads/main"), Some("that branch is pushed anyway".to_owned())),
            (signed("secretRef: {name: key}"), None),
            (signed("secretRef: {name: key}, type: ssh"), Some(format!("{key}key has no key `identity`"))),
            (signed("secretRef: {name: gone}"), Some(format!("{key}gone does not exist"))),
        ] {
            let (problems, not_ready) = checked(&text);
            match wanted {
                None => assert_eq!((problems, not_ready), (vec![], vec![])),
                Some(wanted) => {
                    assert!(problems.len() == 1 && problems[0].contains(&wanted), "{problems:?}");
                    assert!(problems[0].starts_with("f.yaml:11: error:"), "{problems:?}");
                    assert_eq!(not_ready, ["ImageUpdateAutomation/default/app"]);
                }
            }
        }
    }

    #[test]
    fn missing_objects_and_keys_are_named_with_the_line_of_the_reference() {
        for (text, expected) in [
            (
                repository("default", "  secretRef:\n    name: pull\n"),
                "f.yaml:9: error: ImageRepository/default/app: spec.secretRef.name: Secret/default/pull does not exist",
            ),
            (
                repository("default", "  secretRef: {name: t}\n") + &secret("t", "a: b"),
                "f.yaml:8: error: ImageRepository/default/app: spec.secretRef.name: Secret/default/t has no key \
                 `.dockerconfigjson`",
            ),
            (
                repository("default", "  certSecretRef: {name: t}\n") + &secret("t", "tls.crt: b"),
                "f.yaml:8: error: ImageRepository/default/app: spec.certSecretRef.name: Secret/default/t has `tls.crt` \
                 without `tls.key`",
            ),
            (
                repository("default", "  proxySecretRef: {name: t}\n") + &secret("t", "address: 'hunter2'"),
                "f.yaml:8: error: ImageRepository/default/app: spec.proxySecretRef.name: the key `address` of \
                 Secret/default/t is not a URL that starts with http://, https://, socks5://, socks5h://",
            ),
            (
                policy("default", "name: other"),
                "f.yaml:6: error: ImagePolicy/default/app: spec.imageRepositoryRef.name: \
                 ImageRepository/default/other does not exist",
            ),
            (
                git("https://x.y/z", "  secretRef: {name: t}\n") + &secret("t", "identity: key"),
                "f.yaml:8: error: GitRepository/default/fleet: spec.secretRef.name: Secret/default/t has none of \
                 `username` with `password`, `bearerToken`, `ca.crt`",
            ),
            (
                git("https://x.y/z", "  secretRef: {name: t}\n") + &secret("t", "username: a"),
                "f.yaml:8: error: GitRepository/default/fleet: spec.secretRef.name: Secret/default/t has no key \
                 `password`",
            ),
            (
                git("https://x.y/z", "  secretRef: {name: t}\n")
                    + &secret("t", "bearerToken: a, username: b"),
                "f.yaml:8: error: GitRepository/default/fleet: spec.secretRef.name: Secret/default/t has both \
                 `bearerToken` and `username` or `password`: keep one",
            ),
            (
                git("ssh://git@x.y/z", "  secretRef: {name: t}\n") + &secret("t", "identity: key"),
                "f.yaml:8: error: GitRepository/default/fleet: spec.secretRef.name: Secret/default/t has no key \
                 `known_hosts`",
            ),
            (
                git("ssh://git@x.y/z", ""),
                "f.yaml:7: error: GitRepository/default/fleet: spec.url: SSH needs `spec.secretRef`: a Secret with the \
                 keys `identity` and `known_hosts`",
            ),
            (
                git("git@x.y:z", "  secretRef: {name: t}\n  proxySecretRef: {name: t}\n")
                    + &secret("t", "identity: a, known_hosts: b, address: 'http://p'"),
                "f.yaml:9: error: GitRepository/default/fleet: spec.proxySecretRef.name: a connection over SSH cannot go \
                 through a proxy: remove it, or use an https:// URL",
            ),
            (
                notifier("webhook: {secretRef: {name: t}}") + &secret("t", "address: 'ftp://x'"),
                "f.yaml:6: error: Notifier/default/chat: spec.webhook.secretRef.name: the key `address` of \
                 Secret/default/t is not a URL that starts with https://, http://",
            ),
            (
                notifier("slack: {bot: {secretRef: {name: t}, channel: c}}") + &secret("t", "token: ''"),
                "f.yaml:6: error: Notifier/default/chat: spec.slack.bot.secretRef.name: the key `token` of \
                 Secret/default/t is empty",
            ),
        ] {
            let (problems, not_ready) = checked(&text);
            assert_eq!(problems, [expected]);
            assert_eq!(not_ready.len(), 1, "{expected}");
        }
    }

    #[test]
    fn another_namespace_needs_access_from() {
        let namespace = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: apps, labels: {team: a}}\n";
        let policy = policy("apps", "name: app, namespace: images");
        let selectors = |labels: &str| {
            let from = format!("  accessFrom: {{namespaceSelectors: [{{matchLabels: {{{labels}}}}}]}}\n");
            format!("{namespace}{}{policy}", repository("images", &from))
        };
        let denied = "ImagePolicy/apps/app".to_owned();
        for (text, not_ready) in [
            (format!("{namespace}{}{policy}", repository("images", "")), vec![denied.clone()]),
            (selectors("team: b"), vec![denied]),
            (selectors("team: a"), vec![]),
            (selectors(""), vec![]),
            (selectors("kubernetes.io/metadata.name: apps"), vec![]),
        ] {
            assert_eq!(checked(&text).1, not_ready, "{text}");
        }
    }

    #[test]
    fn another_namespace_writes_only_where_it_is_admitted() {
        let automation = "---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageUpdateAutomation\nmetadata: {name: auto, \
                          namespace: apps}\nspec:\n  interval: 5m\n  sourceRef: {kind: GitRepository, name: fleet, \
                          namespace: default}\n  git: {commit: {author: {email: a@b.c}}}\n";
        let source = |annotation: &str| {
            git("https://git.local/fleet.git", "")
                .replace("{name: fleet}", &format!("{{name: fleet, annotations: {{{annotation}}}}}"))
        };
        for (annotation, not_ready) in [
            ("", vec!["ImageUpdateAutomation/apps/auto"]),
            ("windlass.dev/access-from: other", vec!["ImageUpdateAutomation/apps/auto"]),
            ("windlass.dev/access-from: 'other, apps'", vec![]),
            ("windlass.dev/access-from: '*'", vec![]),
        ] {
            assert_eq!(checked(&(source(annotation) + automation)).1, not_ready, "{annotation}");
        }
    }

    #[test]
    fn a_notifier_hears_only_of_namespaces_that_admit_it() {
        let notifier = notifier("slack: {webhook: {secretRef: {name: slack}}}\n  namespaces: [apps]")
            + &secret("slack", "address: 'https://hooks.slack.com/x'");
        let namespace = |labels: &str| {
            format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: apps, labels: {{{labels}}}}}\n")
        };
        for (labels, ready) in [
            ("", false),
            ("windlass.dev/notifiers-from: other", false),
            ("windlass.dev/notifiers-from: default", true),
            ("windlass.dev/notifiers-from: all", true),
        ] {
            let (problems, not_ready) = checked(&(namespace(labels) + &notifier));
            assert_eq!(not_ready.is_empty(), ready, "{labels}: {problems:?}");
        }
    }

    #[test]
    fn one_missing_repository_does_not_silence_a_receiver() {
        let token = secret("t", "token: x");
        let app = "{kind: ImageRepository, name: app}";
        let gone = "{kind: ImageRepository, name: gone}";
        let some = receiver("hook", &format!("{app}, {gone}")) + &token + &repository("default", "");
        let (problems, not_ready) = checked(&some);
        assert_eq!(
            problems,
            [
                "f.yaml:8: error: Receiver/default/hook: spec.resources[1]: ImageRepository/default/gone does not exist"
            ]
        );
        assert!(not_ready.is_empty());
        let (_, not_ready) = checked(&(receiver("hook", gone) + &token));
        assert_eq!(not_ready, ["Receiver/default/hook"]);
        let none = receiver("hook", "{kind: ImageRepository, name: '*', matchLabels: {x: y}}") + &token;
        let (problems, not_ready) = checked(&none);
        assert!(
            problems[0].contains("warning") && problems[0].contains("matches no ImageRepository"),
            "{problems:?}"
        );
        assert!(not_ready.is_empty());
    }

    #[test]
    fn what_is_no_branch_needs_one_to_push_to() {
        let automation = |git: &str| {
            format!(
                "---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageUpdateAutomation\nmetadata: {{name: app}}\nspec:\n  \
                 sourceRef: {{name: fleet}}\n  interval: 5m\n  git: {{{git}commit: {{author: {{email: a}}}}}}\n"
            )
        };
        let (branch, tag) = (git("https://x.y/z", ""), git("https://x.y/z", "  ref: {tag: v1}\n"));
        for (source, checkout, missing) in [
            (&branch, "", None),
            (&tag, "", Some("tag v1")),
            (&tag, "push: {branch: updates}, ", None),
            (&tag, "checkout: {ref: {branch: main}}, ", None),
            (&branch, "checkout: {ref: {semver: '>=1'}}, ", Some("the tags in the range `>=1`")),
            (&branch, "checkout: {ref: {name: refs/heads/main}}, ", Some("ref refs/heads/main")),
        ] {
            let (problems, not_ready) = checked(&format!("{source}{}", automation(checkout)));
            let expected =
                missing.map(|what| format!("spec.git.push.branch: is required, for {what} is checked out"));
            let found = problems.iter().find(|problem| problem.contains("spec.git.push.branch"));
            match (&expected, found) {
                (Some(expected), Some(found)) => assert!(found.contains(expected.as_str()), "{found}"),
                (None, None) => {}
                _ => panic!("{checkout}: {problems:?}"),
            }
            assert_eq!(not_ready.len(), usize::from(missing.is_some()), "{not_ready:?}");
        }
    }

    #[test]
    fn a_receiver_needs_a_token_that_is_its_own() {
        let app = "{kind: ImageRepository, name: app}";
        let empty = receiver("hook", app) + &secret("t", "token: ''") + &repository("default", "");
        assert_eq!(checked(&empty).1, ["Receiver/default/hook"]);
        // "hook" + "default" hashes like "hookd" + "efault".
        let other = receiver("hookd", app).replace("{name: hookd}", "{name: hookd, namespace: efault}");
        let secrets = secret("t", "token: x")
            + &secret("t", "token: x").replace("{name: t}", "{name: t, namespace: efault}");
        let same = receiver("hook", app)
            + &other
            + &secrets
            + &repository("default", "")
            + &repository("efault", "");
        let (problems, not_ready) = checked(&same);
        assert_eq!(not_ready, ["Receiver/efault/hookd"], "{problems:?}");
        assert!(problems[0].contains("same webhook path as Receiver/default/hook"), "{problems:?}");
    }

    #[test]
    fn warnings_make_nothing_unready() {
        let plain =
            git("http://x.y/z", "  secretRef: {name: t}\n") + &secret("t", "username: a, password: b");
        let (problems, not_ready) = checked(&plain);
        assert_eq!(
            problems,
            [
                "f.yaml:7: warning: GitRepository/default/fleet: spec.url: credentials are sent unencrypted over \
              http://: use https://"
            ]
        );
        assert!(not_ready.is_empty());
        let anonymous = git("http://x.y/z", "  secretRef: {name: t}\n") + &secret("t", "ca.crt: a");
        assert_eq!(checked(&anonymous), (vec![], vec![]));
        let idle = notifier("webhook: {secretRef: {name: t}}\n  automations: [x]")
            + &secret("t", "address: 'http://a'");
        let (problems, not_ready) = checked(&idle);
        assert!(problems[0].contains("spec.automations[0]: no ImageUpdateAutomation `x` exists in default"));
        assert!(not_ready.is_empty());
    }

    #[test]
    fn readiness_joins_every_reason() {
        let text = repository("default", "  provider: aws\n  secretRef: {name: pull}\n");
        let reasons = readiness(&only(&text));
        let reason = reasons.values().next().unwrap();
        assert!(reason.starts_with("spec.provider: cloud logins"), "{reason}");
        assert!(reason.ends_with("; spec.secretRef.name: Secret/default/pull does not exist"), "{reason}");
    }
}
