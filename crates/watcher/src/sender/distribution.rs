//! `distribution`: the notifications of the distribution registry (`registry:2`, `registry:3`) and of those built on
//! it, such as GitLab's.
//!
//! Shape: distribution `docs/content/about/notifications.md`; media types `…events.v1+json` (2.x) and `…events.v2+json`
//! (3.x), which differ in nothing that is read here, so the content type is not looked at. The registry retries for
//! ever and in order, with a time limit of 1 s: whatever is authentic and readable must be answered 2xx.

use serde::Deserialize;

use super::lenient::{List, Text};
use super::{Content, ImageHint, Malformed, Push, Pushed};

/// What a registry calls a manifest. Layers and configurations are pushed too, and mean nothing by themselves.
const MANIFESTS: [&str; 4] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
];

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    events: Option<List<Event<'a>>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    action: Text<'a>,
    #[serde(borrow)]
    target: Option<Target<'a>>,
    #[serde(borrow)]
    request: Option<Request<'a>>,
}

#[derive(Deserialize)]
struct Target<'a> {
    #[serde(borrow, default, rename = "mediaType")]
    media_type: Text<'a>,
    #[serde(borrow, default)]
    digest: Text<'a>,
    #[serde(borrow, default)]
    repository: Text<'a>,
    #[serde(borrow, default)]
    url: Text<'a>,
    #[serde(borrow, default)]
    tag: Text<'a>,
}

#[derive(Deserialize)]
struct Request<'a> {
    /// The `Host` header that the pusher used.
    #[serde(borrow, default)]
    host: Text<'a>,
}

pub(super) fn parse(body: &[u8]) -> Result<Content, Malformed> {
    let envelope: Envelope<'_> = serde_json::from_slice(body)?;
    let events = envelope.events.ok_or(Malformed::Missing("events"))?.0;
    let mut pushes = Vec::new();
    for event in &events {
        pushes.extend(push(event)?);
    }
    if pushes.is_empty() {
        return Ok(Content::Nothing("no push of a manifest"));
    }
    Ok(Content::Pushes(pushes))
}

fn push(event: &Event<'_>) -> Result<Option<Push>, Malformed> {
    if event.action.get() != Some("push") {
        return Ok(None);
    }
    let target = event.target.as_ref().ok_or(Malformed::Missing("events[].target"))?;
    if !is_manifest(target) {
        return Ok(None);
    }
    let repository = target.repository.get().ok_or(Malformed::Missing("events[].target.repository"))?;
    let host = event.request.as_ref().and_then(|request| request.host.get());
    let image = ImageHint {
        host: host.or_else(|| target.url.get().and_then(url_host)).map(str::to_owned),
        repository: repository.to_owned(),
        what: Pushed::from_claims(target.tag.get(), target.digest.get()),
    };
    Ok(Some(Push { delivery_id: event.id.get().map(str::to_owned), images: vec![image] }))
}

/// Where the media type is left out, a tag tells: only manifests have one.
fn is_manifest(target: &Target<'_>) -> bool {
    target.media_type.get().map_or(target.tag.get().is_some(), |media_type| MANIFESTS.contains(&media_type))
}

/// `host[:port]` of an absolute URL.
fn url_host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    (!host.is_empty()).then_some(host)
}
