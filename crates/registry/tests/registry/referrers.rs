//! What refers to a manifest, and blobs: whole and checked, or an error that is never "nothing".

use axum::body::Body;
use axum::http::Response;
use sha2::{Digest as _, Sha256};
use windlass_model::Digest;
use windlass_registry::{ErrorKind, Referrer};

use crate::server::{Seen, Server, empty, json, status};
use crate::{digest_of, open};

fn index(fills: &str) -> String {
    let entry = |fill: char| format!(r#"{{"digest":"{}","artifactType":"a/{fill}"}}"#, digest_of(fill));
    let entries: Vec<String> = fills.chars().map(entry).collect();
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","))
}

fn fills(found: &[Referrer]) -> String {
    found.iter().map(|referrer| &referrer.artifact_type[2..]).collect()
}

fn api() -> String {
    format!("/v2/team/app/referrers/{}", digest_of('0'))
}

fn tag() -> String {
    format!("/v2/team/app/manifests/sha256-{}", "0".repeat(64))
}

#[tokio::test]
async fn every_page_and_the_fallback_tag_are_read_together() {
    let server = Server::start(|seen: Seen| async move {
        let linked = |body: String, link: &str| -> Response<Body> {
            status(200).header("link", format!("<{link}>; rel=next")).body(Body::from(body)).unwrap()
        };
        match seen.target.as_str() {
            target if target == api() => linked(index("ab"), "?page=2"),
            target if target == format!("{}?page=2", api()) => json(index("bc")),
            target if target == tag() => json(index("cd")),
            other => panic!("{other}"),
        }
    })
    .await;
    assert_eq!(fills(&open(&server).referrers(&digest_of('0')).await.unwrap()), "abcd");
}

#[tokio::test]
async fn without_the_api_the_fallback_tag_is_read_and_without_both_there_is_nothing() {
    let server = Server::start(|seen: Seen| async move {
        if seen.target == tag() { json(index("a")) } else { empty(404) }
    })
    .await;
    assert_eq!(fills(&open(&server).referrers(&digest_of('0')).await.unwrap()), "a");
    let nothing = Server::start(|_| async { empty(404) }).await;
    assert!(open(&nothing).referrers(&digest_of('0')).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_error_on_any_part_is_an_error_of_the_whole() {
    for code in [401, 403, 429, 500, 503] {
        let on_api = Server::start(move |seen: Seen| async move {
            if seen.target == api() { empty(code) } else { json(index("a")) }
        })
        .await;
        assert!(open(&on_api).referrers(&digest_of('0')).await.is_err(), "{code}");
        let on_tag = Server::start(move |seen: Seen| async move {
            if seen.target == tag() { empty(code) } else { json(index("a")) }
        })
        .await;
        assert!(open(&on_tag).referrers(&digest_of('0')).await.is_err(), "{code}");
    }
    let second_page_is_gone = Server::start(|seen: Seen| async move {
        match seen.target.as_str() {
            target if target == api() => {
                status(200).header("link", "<?page=2>; rel=next").body(Body::from(index(""))).unwrap()
            }
            _ => empty(404),
        }
    })
    .await;
    let error = open(&second_page_is_gone).referrers(&digest_of('0')).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn pages_without_end_end() {
    let server = Server::start(|_| async {
        status(200).header("link", "<?again>; rel=next").body(Body::from(index("a"))).unwrap()
    })
    .await;
    let error = open(&server).referrers(&digest_of('0')).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(server.seen().len() <= 10);
}

#[tokio::test]
async fn blobs_are_checked_against_their_digest_and_bounded() {
    let server = Server::start(|seen: Seen| async move {
        if seen.target.ends_with(&"f".repeat(64)) { empty(404) } else { json("content") }
    })
    .await;
    let repository = open(&server);
    let digest = Digest::parse(&format!("sha256:{}", hex::encode(Sha256::digest("content")))).unwrap();
    assert_eq!(repository.blob(&digest, 7).await.unwrap().unwrap(), "content");
    assert_eq!(repository.blob(&digest, 6).await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(repository.blob(&digest_of('a'), 100).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(repository.blob(&digest_of('f'), 100).await.unwrap(), None);
}
