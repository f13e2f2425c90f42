use windlass_model::{Digest, Tag};

use super::*;
use crate::fixture::{repository, repository_ref};

fn image(host: Option<&str>, repository: &str, tag: &str) -> ImageHint {
    ImageHint {
        host: host.map(str::to_owned),
        repository: repository.to_owned(),
        what: Pushed::Tag { tag: Tag::parse(tag).unwrap(), digest: None },
    }
}

/// Harbor under an internal name, the same image scanned twice, another registry with the same path, Docker Hub, and
/// one that is suspended.
fn matcher() -> Matcher {
    let mut aliased = repository("aliased", "harbor.internal/team/app");
    aliased.registry_hosts = vec!["harbor.example.com".to_owned(), "harbor.example.com:8443".to_owned()];
    let mut suspended = repository("suspended", "quay.example/team/app");
    suspended.suspend = true;
    let repositories = [
        aliased,
        repository("again", "harbor.internal/team/app"),
        repository("ghcr", "ghcr.io/team/app"),
        repository("ported", "registry.internal:5000/team/tool"),
        repository("hub", "alpine"),
        suspended,
    ];
    Matcher::new(&repositories.map(Arc::new))
}

#[test]
fn a_host_that_is_known_means_its_own_repositories_and_an_unknown_one_the_path_alone() {
    for (host, path, expected) in [
        (Some("harbor.internal"), "team/app", vec!["aliased", "again"]),
        (Some("HARBOR.internal"), "team/app", vec!["aliased", "again"]),
        (Some("harbor.example.com"), "team/app", vec!["aliased"]),
        (Some("harbor.example.com:8443"), "team/app", vec!["aliased"]),
        (Some("ghcr.io"), "team/app", vec!["ghcr"]),
        (Some("registry.internal:5000"), "team/tool", vec!["ported"]),
        (Some("docker.io"), "library/alpine", vec!["hub"]),
        // Unknown or no host.
        (Some("harbor.example.org"), "team/app", vec!["aliased", "again", "ghcr"]),
        (Some("registry.internal"), "team/tool", vec!["ported"]),
        (Some("10.0.0.7:5000"), "team/tool", vec!["ported"]),
        (None, "team/app", vec!["aliased", "again", "ghcr"]),
        // A known host never stands for another registry.
        (Some("ghcr.io"), "team/tool", vec![]),
        (Some("docker.io"), "team/app", vec![]),
        (Some("quay.example"), "team/app", vec![]),
        // Another path.
        (Some("harbor.internal"), "team/app2", vec![]),
        (None, "app", vec![]),
        (None, "", vec![]),
    ] {
        let signals = matcher().signals(&[image(host, path, "1.0")]);
        let hint = Hint::TagPushed { tag: Tag::parse("1.0").unwrap(), digest: None };
        let expected: Vec<Signal> = expected
            .into_iter()
            .map(|name| Signal { target: repository_ref(name), hint: hint.clone() })
            .collect();
        assert_eq!(signals, expected, "{host:?} {path}");
    }
}

#[test]
fn hints_become_signals_of_their_kind_each_once() {
    let digest = Digest::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
    let of = |what| ImageHint { host: None, repository: "team/tool".to_owned(), what };
    let hints = [
        of(Pushed::Manifest { digest: digest.clone() }),
        of(Pushed::Referrer { subject: digest.clone() }),
        of(Pushed::Unknown),
        of(Pushed::Manifest { digest: digest.clone() }),
    ];
    let found: Vec<Hint> = matcher().signals(&hints).into_iter().map(|signal| signal.hint).collect();
    assert_eq!(
        found,
        [
            Hint::ManifestPushed { digest: digest.clone() },
            Hint::ReferrerPushed { subject: digest },
            Hint::Rescan { reason: RescanReason::Webhook },
        ]
    );
}

#[test]
fn everything_is_every_repository_that_is_not_suspended() {
    let targets: Vec<ObjectRef> = matcher().everything().into_iter().map(|signal| signal.target).collect();
    assert_eq!(targets, ["again", "aliased", "ghcr", "hub", "ported"].map(repository_ref));
}
