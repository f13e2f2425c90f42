//! The distribution registry's notifications, written by hand: for deliveries that a real registry would not make, such
//! as the same event ten times.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::image::MANIFEST;

/// The media type of distribution 3's envelopes.
pub const ENVELOPE: &str = "application/vnd.docker.distribution.events.v2+json";

/// What an event says.
#[derive(Debug, Clone, Copy)]
pub struct Push<'a> {
    /// The event's id, which deduplicates deliveries.
    pub id: &'a str,
    /// The host that the pusher asked.
    pub host: &'a str,
    /// The repository: `team/podinfo`.
    pub repository: &'a str,
    /// The tag, if the push named one.
    pub tag: Option<&'a str>,
    /// The manifest's digest.
    pub digest: &'a str,
}

/// An envelope of these events.
pub fn envelope(pushes: &[Push<'_>]) -> Value {
    json!({"events": pushes.iter().map(event).collect::<Vec<_>>()})
}

/// The value of `X-Signature` for a `generic-hmac` Receiver: `sha256=<hex>`.
///
/// # Panics
/// Never: a key of any length is a key.
pub fn signature(token: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).expect("HMAC takes keys of any length");
    format!("sha256={}", hex::encode(mac.chain_update(body).finalize().into_bytes()))
}

fn event(push: &Push<'_>) -> Value {
    let mut target = json!({
        "mediaType": MANIFEST,
        "digest": push.digest,
        "size": 500,
        "length": 500,
        "repository": push.repository,
        "url": format!("http://{}/v2/{}/manifests/{}", push.host, push.repository, push.digest),
    });
    if let Some(tag) = push.tag {
        target["tag"] = json!(tag);
    }
    json!({
        "id": push.id,
        "timestamp": "2026-01-02T15:04:05Z",
        "action": "push",
        "target": target,
        "request": {"id": "1", "addr": "127.0.0.1:1", "host": push.host, "method": "PUT", "useragent": "test"},
        "actor": {},
        "source": {"addr": "registry:5000", "instanceID": "1"},
    })
}
