//! `harbor`: Harbor's "Default" payload, its 1.x predecessor, and its CloudEvents format (structured mode).
//!
//! Shapes: goharbor/harbor `src/pkg/notifier/model/event.go` and `formats/cloudevents.go`. Harbor gives up after three
//! tries within 3 s each, sends no delivery id in the Default format, and tells nothing of retags in its UI.

use std::borrow::Cow;

use serde::Deserialize;

use super::lenient::{List, Text};
use super::{Content, ImageHint, Malformed, Push, Pushed};

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Text<'a>,
    /// CloudEvents only: fresh for each event.
    #[serde(borrow, default)]
    id: Text<'a>,
    /// Where the Default format has it.
    #[serde(borrow)]
    event_data: Option<EventData<'a>>,
    /// Where CloudEvents has it.
    #[serde(borrow)]
    data: Option<EventData<'a>>,
}

#[derive(Deserialize)]
struct EventData<'a> {
    #[serde(borrow, default)]
    resources: List<Resource<'a>>,
    #[serde(borrow)]
    repository: Option<Repository<'a>>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(borrow, default)]
    digest: Text<'a>,
    /// The digest again where nothing was tagged.
    #[serde(borrow, default)]
    tag: Text<'a>,
    /// `<external URL without scheme>/<repository>:<tag>`, `@<digest>`, or in old builds `:<digest>`. Only its host
    /// is of use: the tag in it may disagree with `tag`.
    #[serde(borrow, default, rename = "resource_url")]
    url: Text<'a>,
}

#[derive(Deserialize)]
struct Repository<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    namespace: Text<'a>,
    #[serde(borrow, default)]
    repo_full_name: Text<'a>,
}

pub(super) fn parse(body: &[u8]) -> Result<Content, Malformed> {
    let payload: Payload<'_> = serde_json::from_slice(body)?;
    let (data, delivery_id) = match payload.kind.get().ok_or(Malformed::Missing("type"))? {
        "PUSH_ARTIFACT" | "pushImage" => (payload.event_data.ok_or(Malformed::Missing("event_data"))?, None),
        "harbor.artifact.pushed" => (payload.data.ok_or(Malformed::Missing("data"))?, payload.id.get()),
        _ => return Ok(Content::Nothing("not a push")),
    };
    let repository = data.repository.as_ref().and_then(full_name);
    let repository = repository.ok_or(Malformed::Missing("repository.repo_full_name"))?;
    let images: Vec<ImageHint> =
        data.resources.0.iter().flat_map(|resource| hints(resource, &repository)).collect();
    if images.is_empty() {
        return Err(Malformed::Missing("resources"));
    }
    Ok(Content::Pushes(vec![Push { delivery_id: delivery_id.map(str::to_owned), images }]))
}

fn full_name<'a>(repository: &'a Repository<'_>) -> Option<Cow<'a, str>> {
    match (repository.repo_full_name.get(), repository.namespace.get(), repository.name.get()) {
        (Some(full), _, _) => Some(Cow::Borrowed(full)),
        (None, Some(namespace), Some(name)) => Some(Cow::Owned(format!("{namespace}/{name}"))),
        _ => None,
    }
}

/// One hint; two where Harbor lives under a path, because an image may be written with that path or without it.
fn hints(resource: &Resource<'_>, repository: &str) -> Vec<ImageHint> {
    let what = Pushed::from_claims(resource.tag.get(), resource.digest.get());
    let external = resource.url.get().and_then(|url| external_url(url, repository));
    let (host, path) = match external {
        Some((host, path)) => (Some(host.to_owned()), path),
        None => (None, None),
    };
    let under_path = path.map(|path| format!("{path}/{repository}"));
    std::iter::once(repository.to_owned())
        .chain(under_path)
        .map(|repository| ImageHint { host: host.clone(), repository, what: what.clone() })
        .collect()
}

/// Harbor's external URL, taken from a `resource_url`: what stands before the repository, as host and path. `None`
/// where nothing does, or where the URL names another repository.
fn external_url<'a>(url: &'a str, repository: &str) -> Option<(&'a str, Option<&'a str>)> {
    let url = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or(url);
    let (external, _) =
        url.rmatch_indices(repository).map(|(at, _)| (&url[..at], &url[at + repository.len()..])).find(
            |(before, after)| before.ends_with('/') && (after.is_empty() || after.starts_with([':', '@'])),
        )?;
    let external = external.trim_end_matches('/');
    match external.split_once('/') {
        Some((host, path)) => Some((host, Some(path))),
        None => Some((external, None)),
    }
    .filter(|(host, _)| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_external_url_is_what_stands_before_the_repository() {
        for (url, expected) in [
            ("harbor.dev/library/app:1", Some(("harbor.dev", None))),
            ("harbor.dev:8443/library/app:1", Some(("harbor.dev:8443", None))),
            ("harbor/library/app@sha256:00", Some(("harbor", None))),
            ("10.0.0.1/library/app:sha256:00", Some(("10.0.0.1", None))),
            ("[::1]:5000/library/app:1", Some(("[::1]:5000", None))),
            ("https://harbor.dev/library/app:1", Some(("harbor.dev", None))),
            ("harbor.dev/base/path/library/app:1", Some(("harbor.dev", Some("base/path")))),
            ("library/app/library/app:1", Some(("library", Some("app")))),
            ("library/app", None),
            ("library/app:1", None),
            ("/library/app:1", None),
            ("harbor.dev/library/application:1", None),
            ("harbor.dev/other/app:1", None),
            ("harbor.devlibrary/app:1", None),
        ] {
            assert_eq!(external_url(url, "library/app"), expected, "{url}");
        }
    }
}
