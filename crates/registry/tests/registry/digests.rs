//! Digests and manifests: what is believed, and what is computed.

use axum::body::Body;
use axum::http::Response;
use sha2::{Digest as _, Sha256, Sha512};
use windlass_model::Digest;
use windlass_registry::{ErrorKind, Reference};

use crate::server::{Seen, Server, empty, refusal, status};
use crate::{digest_of, open, tag};

const BODY: &str = r#"{"schemaVersion":2}"#;

fn real_digest() -> Digest {
    Digest::parse(&format!("sha256:{}", hex::encode(Sha256::digest(BODY)))).unwrap()
}

fn manifest(digest: Option<&str>) -> Response<Body> {
    let builder =
        status(200).header("content-type", "application/vnd.oci.image.index.v1+json; charset=utf-8");
    let builder = digest.map_or(status(200), |digest| builder.header("docker-content-digest", digest));
    builder.body(Body::from(BODY)).unwrap()
}

#[tokio::test]
async fn one_head_request_with_every_manifest_type_resolves_a_tag() {
    let digest = digest_of('a');
    let stated = digest.to_string();
    let server = Server::start(move |_| {
        let stated = stated.clone();
        async move { manifest(Some(&stated)) }
    })
    .await;
    assert_eq!(open(&server).resolve(&tag("1.2")).await.unwrap(), Some(digest));
    assert_eq!(server.requests(), ["HEAD /v2/team/app/manifests/1.2"]);
    let seen = server.seen();
    let accept = seen[0].header("accept").unwrap();
    for media_type in [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ] {
        assert!(accept.split(", ").any(|accepted| accepted == media_type), "{media_type} in {accept}");
    }
}

#[tokio::test]
async fn without_the_digest_header_or_head_the_content_is_hashed() {
    for head_status in [200, 405, 501] {
        let server = Server::start(move |seen: Seen| async move {
            if seen.method == "HEAD" { empty(head_status) } else { manifest(None) }
        })
        .await;
        assert_eq!(open(&server).resolve(&tag("1")).await.unwrap(), Some(real_digest()), "{head_status}");
        assert_eq!(server.requests(), ["HEAD /v2/team/app/manifests/1", "GET /v2/team/app/manifests/1"]);
    }
}

#[tokio::test]
async fn only_404_means_that_there_is_no_such_tag() {
    let server = Server::start(|_| async { empty(404) }).await;
    assert_eq!(open(&server).resolve(&tag("gone")).await.unwrap(), None);
    assert_eq!(open(&server).manifest(tag("gone")).await.unwrap(), None);
    for (code, kind) in [
        (400, ErrorKind::Invalid),
        (401, ErrorKind::Unauthorized),
        (403, ErrorKind::Forbidden),
        (410, ErrorKind::Invalid),
        (500, ErrorKind::Server),
        (502, ErrorKind::Server),
        (504, ErrorKind::Server),
        (304, ErrorKind::Invalid),
        (204, ErrorKind::Invalid),
    ] {
        let server = Server::start(move |_| async move { empty(code) }).await;
        assert_eq!(open(&server).resolve(&tag("1")).await.unwrap_err().kind(), kind, "{code}");
        assert_eq!(open(&server).manifest(tag("1")).await.unwrap_err().kind(), kind, "{code}");
    }
}

#[tokio::test]
async fn a_malformed_digest_header_is_an_error() {
    for bad in ["sha256:abc", "", "md5:d41d8cd98f00b204e9800998ecf8427e", "aaaa", "sha256:\u{fc}"] {
        let server = Server::start(move |_| async move { manifest(Some(bad)) }).await;
        let error = open(&server).resolve(&tag("1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}");
        assert!(error.to_string().contains("Docker-Content-Digest is not a digest"), "{error}");
    }
}

#[tokio::test]
async fn a_manifest_carries_its_computed_digest_type_and_bytes() {
    let server = Server::start(|_| async { manifest(Some(real_digest().as_str())) }).await;
    let by_tag = open(&server).manifest(tag("1")).await.unwrap().unwrap();
    assert_eq!(by_tag.digest, real_digest());
    assert_eq!(by_tag.media_type, "application/vnd.oci.image.index.v1+json");
    assert_eq!(&by_tag.bytes[..], BODY.as_bytes());
    let by_digest = open(&server).manifest(Reference::Digest(real_digest())).await.unwrap().unwrap();
    assert_eq!(by_digest, by_tag);
    assert_eq!(server.requests()[1], format!("GET /v2/team/app/manifests/{}", real_digest()));
}

#[tokio::test]
async fn sha512_digests_are_checked_as_such() {
    let sha512 = Digest::parse(&format!("sha512:{}", hex::encode(Sha512::digest(BODY)))).unwrap();
    let server = Server::start(|_| async { manifest(None) }).await;
    assert_eq!(open(&server).manifest(sha512.clone()).await.unwrap().unwrap().digest, sha512);
    let wrong = Digest::parse(&format!("sha512:{}", "0".repeat(128))).unwrap();
    assert_eq!(open(&server).manifest(wrong).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn content_that_does_not_match_its_digest_is_an_error() {
    let server = Server::start(|_| async { manifest(None) }).await;
    let error = open(&server).manifest(digest_of('b')).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("sent other content"), "{error}");

    let server = Server::start(|_| async { manifest(Some(digest_of('b').as_str())) }).await;
    let error = open(&server).manifest(tag("1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("states the digest"), "{error}");
}

#[tokio::test]
async fn a_page_without_a_digest_is_not_taken_for_a_manifest() {
    for page in ["<html>Sign in</html>", "", "{}", "[]", r#"{"errors":[{"code":"UNKNOWN"}]}"#] {
        let server = Server::start(move |_| async move { status(200).body(Body::from(page)).unwrap() }).await;
        let error = open(&server).resolve(&tag("1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{page}");
        assert!(error.to_string().contains("not a manifest"), "{error}");
    }
}

#[tokio::test]
async fn a_manifest_past_four_mebibytes_is_an_error() {
    let server =
        Server::start(|_| async { status(200).body(Body::from(vec![b' '; (4 << 20) + 1])).unwrap() }).await;
    assert_eq!(open(&server).manifest(tag("1")).await.unwrap_err().kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn an_error_names_the_request_and_quotes_the_registry() {
    let server = Server::start(|_| async { refusal(403, "DENIED", "quota\\nexceeded") }).await;
    let error = open(&server).manifest(tag("1.2")).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}/team/app: reading manifest `1.2`: ", server.host())), "{error}");
    assert!(error.contains("HTTP 403 Forbidden (DENIED: quota exceeded)"), "{error}");
}
