//! A registry that wants to do harm: faults of a [`Proxy`] in front of a real one, for what a signature's reader meets.
//! Whatever no fault concerns is answered by the real registry, so that everything around a lie is genuine.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::http_fault::{Proxy, manifest};
use crate::http_server::Canned;
use crate::image::{INDEX, MANIFEST, digest_of};
use crate::traffic::{Fault, Match, Method, RequestHead};

/// The descriptors on one page of an endless list.
const REFERRERS_PER_PAGE: usize = 100;
const MEDIA_TYPE: &str = "content-type";
const DIGEST: &str = "docker-content-digest";
/// The pieces of an endless body.
const CHUNK: usize = 64 * 1024;
/// A body that nobody waits for to end: an exbibyte.
const ENDLESS: usize = 1 << 44;

impl Proxy {
    /// A manifest that is another one at each request: the first, the second, and so on, in turns. The digest in the
    /// header is right.
    #[must_use = "dropping the fault lifts it"]
    pub fn flipping(&self, reference: &str, manifests: Vec<(String, Vec<u8>)>) -> Fault {
        let turn = AtomicUsize::new(0);
        self.traffic().answer_with(manifest(reference), move |_| {
            let (media_type, bytes) = &manifests[turn.fetch_add(1, Ordering::SeqCst) % manifests.len()];
            manifest_answer(media_type, bytes.clone())
        })
    }

    /// These bytes for a manifest, whatever was asked, with this digest in the header.
    #[must_use = "dropping the fault lifts it"]
    pub fn lying(&self, reference: &str, media_type: &str, bytes: Vec<u8>, digest: &str) -> Fault {
        let canned = Canned::status(200).header(MEDIA_TYPE, media_type).header(DIGEST, digest).body(bytes);
        self.traffic().answer(manifest(reference), canned)
    }

    /// Other bytes for a blob.
    #[must_use = "dropping the fault lifts it"]
    pub fn swapped_blob(&self, digest: &str, bytes: impl Into<Bytes>) -> Fault {
        let canned = Canned::status(200).header(MEDIA_TYPE, "application/octet-stream").body(bytes);
        self.traffic().answer(blob(digest), canned)
    }

    /// A list of referrers of which every page has a next one, with descriptors that never repeat and lead nowhere.
    #[must_use = "dropping the fault lifts it"]
    pub fn endless_referrers(&self, artifact_type: &str) -> Fault {
        let artifact_type = artifact_type.to_owned();
        self.traffic().answer_with(Match::path_contains("/referrers/"), move |head| {
            let page: usize = page_of(head).unwrap_or(0);
            let entries: Vec<_> = (0..REFERRERS_PER_PAGE)
                .map(|entry| {
                    let digest = digest_of(format!("{page} {entry}").as_bytes());
                    json!({"mediaType": MANIFEST, "digest": digest, "size": 600, "artifactType": artifact_type})
                })
                .collect();
            let next = format!("<{}?page={}>; rel=\"next\"", head.path, page + 1);
            let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
            Canned::status(200).header(MEDIA_TYPE, INDEX).header("link", &next).body(index.to_string())
        })
    }

    /// A body without an end, as fast as it is read.
    #[must_use = "dropping the fault lifts it"]
    pub fn endless_body(&self, which: Match, media_type: &str) -> Fault {
        let canned = Canned::status(200).header(MEDIA_TYPE, media_type).repeated(vec![b' '; CHUNK], ENDLESS);
        self.traffic().answer(which, canned)
    }

    /// A body that comes one byte at a time and never ends.
    #[must_use = "dropping the fault lifts it"]
    pub fn dripping_body(&self, which: Match, media_type: &str, every: Duration) -> Fault {
        self.traffic().answer(
            which,
            Canned::status(200).header(MEDIA_TYPE, media_type).dripping(b" ".as_slice(), every),
        )
    }

    /// A small body that becomes `bytes` of spaces when it is unpacked.
    ///
    /// # Errors
    /// When it cannot be packed.
    pub fn gzip_bomb(&self, which: Match, media_type: &str, bytes: usize) -> Result<Fault> {
        let canned = Canned::status(200)
            .header(MEDIA_TYPE, media_type)
            .header("content-encoding", "gzip")
            .body(packed_spaces(bytes)?);
        Ok(self.traffic().answer(which, canned))
    }

    /// This status, and nothing else.
    #[must_use = "dropping the fault lifts it"]
    pub fn refusing(&self, which: Match, status: u16) -> Fault {
        self.traffic().answer(which, Canned::status(status))
    }

    /// Sends whoever asks to the same place of another host: `http://127.0.0.1:PORT`.
    #[must_use = "dropping the fault lifts it"]
    pub fn redirecting(&self, which: Match, to: &str) -> Fault {
        let to = to.to_owned();
        self.traffic().answer_with(which, move |head| {
            Canned::status(307).header("location", &format!("{to}{}", head.path))
        })
    }
}

/// Reads of all that can hold a signature of an image with this digest: its referrers, the tag that stands for them, and
/// cosign's `.sig` and `.att`.
pub fn signature_paths(digest: &str) -> Match {
    let tag = digest.replace(':', "-");
    let ends = [
        format!("/referrers/{digest}"),
        format!("/manifests/{tag}"),
        format!("/manifests/{tag}.sig"),
        format!("/manifests/{tag}.att"),
    ];
    Match::new("read of signatures", move |head| {
        is_read(head) && ends.iter().any(|end| head.path.ends_with(end.as_str()))
    })
}

/// Reads of one of the paths of [`signature_paths`].
pub fn legacy_signatures(digest: &str) -> Match {
    manifest(&format!("{}.sig", digest.replace(':', "-")))
}

/// Reads of the referrers, by the API alone.
pub fn referrers(digest: &str) -> Match {
    read().and(Match::path_ends_with(format!("/referrers/{digest}")))
}

/// Reads of this blob.
pub fn blob(digest: &str) -> Match {
    read().and(Match::path_ends_with(format!("/blobs/{digest}")))
}

/// Reads of any blob.
pub fn blobs() -> Match {
    read().and(Match::path_contains("/blobs/"))
}

fn read() -> Match {
    Match::new("read", is_read)
}

fn is_read(head: &RequestHead) -> bool {
    head.method == Method::GET || head.method == Method::HEAD
}

fn page_of(head: &RequestHead) -> Option<usize> {
    head.query.split('&').find_map(|part| part.strip_prefix("page="))?.parse().ok()
}

fn manifest_answer(media_type: &str, bytes: Vec<u8>) -> Canned {
    Canned::status(200).header(MEDIA_TYPE, media_type).header(DIGEST, &digest_of(&bytes)).body(bytes)
}

fn packed_spaces(bytes: usize) -> Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    let chunk = vec![b' '; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(CHUNK);
        packer.write_all(&chunk[..now]).context("packing spaces")?;
        left -= now;
    }
    packer.finish().context("packing spaces")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_server::client;
    use crate::image::Pusher;
    use crate::registry::{Registry, RegistryOptions};

    const REPOSITORY: &str = "team/app";

    async fn world() -> (Registry, Proxy, Pusher, String) {
        let registry = Registry::start(RegistryOptions::default()).await.unwrap();
        let proxy = Proxy::start(registry.url()).unwrap();
        let images = Pusher::new(proxy.url(), None).unwrap();
        let digest = images.push(REPOSITORY, "1.0.0", "one").await.unwrap();
        (registry, proxy, images, digest)
    }

    #[tokio::test]
    async fn a_tag_flips_and_a_digest_lies() {
        let (_registry, proxy, images, digest) = world().await;
        let other = images.push(REPOSITORY, "2.0.0", "two").await.unwrap();
        let manifests = vec![
            images.manifest(REPOSITORY, &digest).await.unwrap(),
            images.manifest(REPOSITORY, &other).await.unwrap(),
        ];
        let flips = proxy.flipping("1.0.0", manifests.clone());
        for wanted in [&digest, &other, &digest] {
            let (_, bytes) = images.manifest(REPOSITORY, "1.0.0").await.unwrap();
            assert_eq!(digest_of(&bytes), *wanted);
        }
        assert_eq!(flips.hits(), 3);
        flips.lift();
        let _lie = proxy.lying("1.0.0", &manifests[1].0, manifests[1].1.clone(), &digest);
        let url = format!("{}/v2/{REPOSITORY}/manifests/1.0.0", proxy.url());
        let answer = client().unwrap().get(url).send().await.unwrap();
        assert_eq!(answer.headers()[DIGEST], digest.as_str());
        assert_eq!(digest_of(&answer.bytes().await.unwrap()), other);
    }

    #[tokio::test]
    async fn referrers_never_end_and_signature_paths_alone_are_refused() {
        let (_registry, proxy, images, digest) = world().await;
        let endless = proxy.endless_referrers("x");
        assert_eq!(images.referrers(REPOSITORY, &digest).await.unwrap().len(), REFERRERS_PER_PAGE);
        let mut path = format!("/v2/{REPOSITORY}/referrers/{digest}");
        for page in 1..5 {
            let answer = client().unwrap().get(format!("{}{path}", proxy.url())).send().await.unwrap();
            let next = answer.headers()["link"].to_str().unwrap();
            path = next.trim_start_matches('<').split('>').next().unwrap().to_owned();
            assert!(path.ends_with(&format!("page={page}")), "{path}");
        }
        endless.lift();
        let _refused = proxy.refusing(signature_paths(&digest), 503);
        assert!(images.referrers(REPOSITORY, &digest).await.is_err());
        let tag = format!("{}.sig", digest.replace(':', "-"));
        let error = images.manifest(REPOSITORY, &tag).await.unwrap_err();
        assert!(format!("{error:#}").contains("503"), "{error:#}");
        assert!(images.manifest(REPOSITORY, &digest).await.is_ok());
    }

    #[tokio::test]
    async fn bodies_without_an_end_begin_and_a_bomb_is_small() {
        use futures_util::StreamExt as _;
        let (_registry, proxy, _, digest) = world().await;
        let url = format!("{}/v2/{REPOSITORY}/manifests/{digest}", proxy.url());
        let read = async || client().unwrap().get(&url).send().await.unwrap().bytes_stream();
        {
            let _endless = proxy.endless_body(manifest(&digest), MANIFEST);
            let mut body = read().await;
            let mut bytes = 0;
            while bytes < 1 << 24 {
                bytes += body.next().await.unwrap().unwrap().len();
            }
        }
        {
            let _dripping = proxy.dripping_body(manifest(&digest), MANIFEST, Duration::from_millis(1));
            let mut body = read().await;
            for _ in 0..5 {
                assert_eq!(body.next().await.unwrap().unwrap().len(), 1);
            }
        }
        let _bomb = proxy.gzip_bomb(manifest(&digest), MANIFEST, 1 << 26).unwrap();
        let answer = client().unwrap().get(&url).send().await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        assert!(answer.bytes().await.unwrap().len() < 1 << 17);
    }
}
