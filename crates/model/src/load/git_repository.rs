//! GitRepository (source-controller 1.9, `api/v1/gitrepository_types.go`), as far as image automation uses it.

use std::time::Duration;

use url::Url;

use super::branch;
use super::duration::Units;
use super::fields::{Fields, Slot};
use super::object::{ACCESS_FROM, GIT_IMPLEMENTATION, Object};
use crate::resource::{GitImplementation, GitProvider, GitRepository};

/// Fields of `spec` that are acted on, or that cannot be.
const SPEC: &[&str] =
    &["url", "secretRef", "proxySecretRef", "provider", "timeout", "ref", "suspend", "serviceAccountName"];
/// Fields that concern what source-controller fetches for the cluster. Flux's image automation ignores them, and so
/// does Windlass: each is checked for its form and then left alone.
const IGNORED_BY_FLUX_TOO: &[&str] =
    &["interval", "ignore", "include", "recurseSubmodules", "sparseCheckout", "verify"];
/// Fields that v1beta2 still had and that had stopped to mean anything by then.
const IGNORED_IN_V1BETA2: &[&str] = &["gitImplementation", "accessFrom"];
/// The CRD's default.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
/// More included repositories or directories than this are a mistake.
const MAX_ITEMS: usize = 1_000;

pub(super) fn decode(object: &Object<'_>) -> Option<GitRepository> {
    let mut known = [SPEC, IGNORED_BY_FLUX_TOO].concat();
    if object.version == "v1beta2" {
        known.extend(IGNORED_IN_V1BETA2);
    }
    let spec = object.spec(&known)?;
    let url = spec.required("url").and_then(|slot| url(&slot));
    let reference = spec.slot("ref").and_then(|slot| branch::checkout(&slot, object.semantics));
    let secret = spec.local_reference("secretRef");
    let proxy_secret = spec.local_reference("proxySecretRef");
    let timeout = spec.duration("timeout", Units::UpToMinutes).unwrap_or(DEFAULT_TIMEOUT);
    let suspend = spec.flag("suspend");
    let access_from = object.annotation(ACCESS_FROM).map(access_from).unwrap_or_default();
    let implementation = object.annotation(GIT_IMPLEMENTATION).and_then(implementation).unwrap_or_default();
    let provider = provider(&spec);
    check_ignored(&spec);
    let meta = object.meta();
    Some(GitRepository {
        meta,
        url: url?,
        reference,
        provider,
        secret,
        proxy_secret,
        timeout,
        suspend,
        access_from,
        implementation,
    })
}

fn implementation(slot: &Slot<'_>) -> Option<GitImplementation> {
    const WORDS: [(&str, GitImplementation); 2] =
        [("built-in", GitImplementation::BuiltIn), ("program", GitImplementation::Program)];
    slot.filled_text()?;
    slot.choice(&WORDS)
}

fn access_from(slot: &Slot<'_>) -> Vec<String> {
    let Some(text) = slot.text() else { return Vec::new() };
    let namespaces: Vec<String> = text.split(',').map(|namespace| namespace.trim().to_owned()).collect();
    if namespaces.iter().any(String::is_empty) {
        slot.error("names an empty namespace: write namespaces, comma-separated, or `*` for all");
    }
    namespaces
}

/// The text is not repeated in errors: people put credentials into URLs.
fn url(slot: &Slot<'_>) -> Option<String> {
    slot.remember_place();
    let text = slot.filled_text()?;
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        slot.error("must not contain spaces or line breaks");
        return None;
    }
    if is_scp_like(text) {
        return Some(text.to_owned());
    }
    let parsed = match Url::parse(text) {
        Ok(parsed) => parsed,
        Err(error) => {
            slot.error(format_args!(
                "is not a URL: {error}; write for example https://example.com/org/fleet.git"
            ));
            return None;
        }
    };
    let ssh = parsed.scheme() == "ssh";
    if !ssh && !matches!(parsed.scheme(), "http" | "https") {
        slot.error("must start with https://, http:// or ssh://");
    } else if parsed.password().is_some() || (!ssh && !parsed.username().is_empty()) {
        slot.error("must not contain credentials: put them into a Secret and name it in spec.secretRef");
    } else if parsed.query().is_some() || parsed.fragment().is_some() {
        slot.error("must not have a query or a fragment");
    } else if ssh && (!parsed.has_host() || parsed.path().trim_matches('/').is_empty()) {
        slot.error("names no repository: write for example ssh://git@example.com/org/fleet.git");
    } else {
        return Some(text.to_owned());
    }
    None
}

/// `git@host:path`, which Git takes for SSH.
fn is_scp_like(text: &str) -> bool {
    !text.contains("://")
        && text.split_once(':').is_some_and(|(host, path)| {
            host.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
                && !host.contains('/')
                && !path.is_empty()
        })
}

fn provider(spec: &Fields<'_>) -> GitProvider {
    const WORDS: [(&str, Option<GitProvider>); 4] = [
        ("generic", Some(GitProvider::Generic)),
        ("azure", None),
        ("aws", None),
        ("github", Some(GitProvider::GitHub)),
    ];
    if let Some(slot) = spec.slot("serviceAccountName")
        && slot.text().is_some_and(|text| !text.is_empty())
    {
        slot.unsupported("a ServiceAccount's identity is not supported yet: name a Secret in spec.secretRef");
    }
    let Some(slot) = spec.slot("provider") else { return GitProvider::default() };
    match slot.choice(&WORDS) {
        Some(Some(provider)) => provider,
        Some(None) => {
            slot.unsupported(
                "logins by a cloud identity are not supported yet: use `generic` with `username` and `password` in \
                 the Secret of spec.secretRef",
            );
            GitProvider::default()
        }
        None => GitProvider::default(),
    }
}

fn check_ignored(spec: &Fields<'_>) {
    if let Some(slot) = spec.required("interval") {
        slot.duration(Units::WithHours);
    }
    spec.text("ignore");
    spec.flag("recurseSubmodules");
    spec.texts("sparseCheckout", MAX_ITEMS);
    if let Some(verify) = spec.fields("verify", &["mode", "secretRef"]) {
        verify.text("mode");
        verify.local_reference("secretRef");
    }
    for item in spec.slot("include").and_then(|slot| slot.list(MAX_ITEMS)).unwrap_or_default() {
        if let Some(include) = item.fields(&["repository", "fromPath", "toPath"]) {
            if let Some(repository) = include.required("repository") {
                repository.local_reference();
            }
            include.text("fromPath");
            include.text("toPath");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{found, only, problems};
    use super::*;
    use crate::checkout::Checkout;

    fn with(spec: &str) -> String {
        format!(
            "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {{name: fleet}}\nspec:\n  \
             interval: 5m\n{spec}"
        )
    }

    fn repository(spec: &str) -> GitRepository {
        only(&with(spec)).git_repositories.values().next().unwrap().as_ref().clone()
    }

    #[test]
    fn what_is_acted_on_is_read_and_the_rest_is_only_checked() {
        let minimal = repository("  url: https://example.com/org/fleet\n");
        assert_eq!(minimal.url, "https://example.com/org/fleet");
        assert_eq!((minimal.timeout, minimal.reference, minimal.secret), (DEFAULT_TIMEOUT, None, None));
        let text = "  url: http://git.local:3000/fleet.git\n  ref: {branch: prod}\n  secretRef: {name: a}\n  \
                    proxySecretRef: {name: p}\n  timeout: 20s\n  provider: generic\n  suspend: true\n  ignore: |\n    \
                    /docs\n  include:\n  - {repository: {name: x}, fromPath: a, toPath: b}\n  recurseSubmodules: \
                    true\n  sparseCheckout: [a]\n  verify: {mode: HEAD, secretRef: {name: k}}\n";
        let full = repository(text);
        assert_eq!(full.reference, Some(Checkout::Branch("prod".to_owned())));
        assert_eq!((full.secret.as_deref(), full.proxy_secret.as_deref()), (Some("a"), Some("p")));
        assert_eq!(full.timeout, Duration::from_secs(20));
        assert!(full.suspend && full.meta.unsupported.is_empty());
        assert_eq!(full.provider, GitProvider::Generic);
        let app = repository("  url: https://x.y/z/r\n  provider: github\n  secretRef: {name: app}\n");
        assert_eq!(app.provider, GitProvider::GitHub);
        assert!(app.meta.unsupported.is_empty());
    }

    #[test]
    fn ssh_is_named_by_a_url_or_in_gits_short_form() {
        for url in [
            "ssh://git@example.com/fleet",
            "ssh://example.com:2222/org/fleet.git",
            "git@example.com:org/fleet.git",
        ] {
            let repository = repository(&format!("  url: {url}\n"));
            assert!(repository.is_ssh() && repository.meta.unsupported.is_empty(), "{url}");
            assert_eq!(repository.url, url);
        }
        assert!(!repository("  url: https://x.y/z\n").is_ssh());
    }

    #[test]
    fn providers_are_not_supported_and_say_so() {
        for (spec, field) in [
            ("  url: https://x.y/z\n  provider: azure\n", "spec.provider"),
            ("  url: https://x.y/z\n  provider: aws\n", "spec.provider"),
            ("  url: https://x.y/z\n  serviceAccountName: git\n", "spec.serviceAccountName"),
        ] {
            let fields: Vec<_> = repository(spec).meta.unsupported.into_iter().map(|u| u.field).collect();
            assert_eq!(fields, [field], "{spec}");
        }
    }

    #[test]
    fn the_git_program_is_asked_for_by_an_annotation_and_by_no_misspelt_one() {
        let with = |annotation: &str| {
            with("  url: https://x.y/z\n")
                .replace("{name: fleet}", &format!("\n  name: fleet\n  annotations:\n    {annotation}"))
        };
        let read = |annotation: &str| {
            only(&with(annotation)).git_repositories.values().next().unwrap().implementation
        };
        assert_eq!(repository("  url: https://x.y/z\n").implementation, GitImplementation::BuiltIn);
        assert_eq!(read("windlass.dev/git-implementation: built-in"), GitImplementation::BuiltIn);
        assert_eq!(read("windlass.dev/git-implementation: program"), GitImplementation::Program);
        let annotations = "metadata.annotations.windlass.dev/git-implement";
        for (annotation, name, message) in [
            (
                "windlass.dev/git-implementation: libgit2",
                "ation",
                "`libgit2` is not one of `built-in`, `program`",
            ),
            ("windlass.dev/git-implementation: ''", "ation", "must not be empty"),
            ("windlass.dev/git-implementation: true", "ation", "must be a string and is a boolean"),
            (
                "windlass.dev/git-implementtion: program",
                "tion",
                "did you mean `windlass.dev/git-implementation`?",
            ),
        ] {
            let text = with(annotation);
            assert!(found(&text, 6, &format!("{annotations}{name}"), message), "{:#?}", problems(&text));
        }
    }

    #[test]
    fn every_wrong_field_is_named_with_its_line() {
        const URL: &str = "  url: https://x.y/z\n";
        let after = |rest: &str| format!("{URL}{rest}");
        for (spec, line, field, message) in [
            ("  suspend: false\n".into(), 4, "spec.url", "is required"),
            ("  url: ''\n".into(), 6, "spec.url", "must not be empty"),
            ("  url: fleet\n".into(), 6, "spec.url", "is not a URL"),
            ("  url: ftp://x.y/z\n".into(), 6, "spec.url", "must start with"),
            ("  url: 'https://x.y/ z'\n".into(), 6, "spec.url", "spaces"),
            ("  url: https://x.y/z?a=b\n".into(), 6, "spec.url", "query"),
            ("  url: ssh://git@x.y/\n".into(), 6, "spec.url", "names no repository"),
            ("  url: ssh://git@x.y/z#a\n".into(), 6, "spec.url", "query"),
            (after("  timeout: 1h\n"), 7, "spec.timeout", "hours"),
            (after("  provider: gitlab\n"), 7, "spec.provider", "is not one of"),
            (after("  ref: {branch: a..b}\n"), 7, "spec.ref.branch", "branch"),
            (after("  ref: {brunch: a}\n"), 7, "spec.ref.brunch", "did you mean `branch`?"),
            (after("  recurseSubmodules: 1\n"), 7, "spec.recurseSubmodules", "`true` or `false`"),
            (after("  include:\n  - {fromPath: a}\n"), 8, "spec.include[0].repository", "is required"),
            (after("  gitImplementation: libgit2\n"), 7, "spec.gitImplementation", "is not a known field"),
        ] {
            let text = with(&spec);
            assert!(found(&text, line, field, message), "{text}\n{:#?}", problems(&text));
        }
        let text = with(URL).replace("  interval: 5m\n", "");
        assert!(found(&text, 4, "spec.interval", "is required"));
        let old = with(&after("  gitImplementation: libgit2\n")).replace("io/v1", "io/v1beta2");
        assert!(problems(&old).is_empty(), "{:?}", problems(&old));
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_never_repeated() {
        for scheme in ["https", "ssh"] {
            let text = with(&format!("  url: {scheme}://bot:hunter2@x.y/z\n"));
            assert!(found(&text, 6, "spec.url", "must not contain credentials"));
            assert!(problems(&text).iter().all(|problem| !problem.contains("hunter2")));
        }
    }
}
