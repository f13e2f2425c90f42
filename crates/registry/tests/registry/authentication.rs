//! Who sees which credential: challenges, tokens, realms and redirects.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use windlass_registry::{Credentials, ErrorKind, RepositoryConfig};

use crate::server::{Seen, Server, empty, json, refusal, status};
use crate::{basic, config, digest_of, open, pool, secret, skip, tag, with};

/// `robot:hunter22`
const BASIC: &str = "Basic cm9ib3Q6aHVudGVyMjI=";
const MANIFEST: &str = "/v2/team/app/manifests/1";

fn found() -> Response<Body> {
    status(200).header("docker-content-digest", digest_of('a').as_str()).body(Body::empty()).unwrap()
}

fn challenge(value: &str) -> Response<Body> {
    status(401).header("www-authenticate", value).body(Body::empty()).unwrap()
}

/// A challenge whose realm is `/token` on the host that was asked.
fn token_challenge(seen: &Seen) -> Response<Body> {
    let host = seen.header("host").unwrap();
    challenge(&format!(
        r#"Bearer realm="http://{host}/token?tenant=1",service="reg",scope="repository:team/app:pull""#
    ))
}

/// A registry with tokens `t0`, `t1`, … each of which lives for `life` seconds and is the only one accepted.
async fn token_registry(life: u64) -> Server {
    let issued = Arc::new(AtomicUsize::new(0));
    Server::start(move |seen: Seen| {
        let issued = issued.clone();
        async move {
            if seen.target.starts_with("/token") {
                let number = issued.fetch_add(1, Ordering::SeqCst);
                return json(format!(r#"{{"token":"t{number}","expires_in":{life}}}"#));
            }
            let current = format!("Bearer t{}", issued.load(Ordering::SeqCst).wrapping_sub(1));
            if seen.authorization() == Some(&current) { found() } else { token_challenge(&seen) }
        }
    })
    .await
}

fn targets(server: &Server) -> Vec<String> {
    server.seen().iter().map(|seen| seen.target.split('?').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn basic_is_sent_only_after_a_challenge_and_then_at_once() {
    let server = Server::start(|seen: Seen| async move {
        if seen.authorization() == Some(BASIC) { found() } else { challenge(r#"basic realm="x""#) }
    })
    .await;
    let repository = with(&server, basic());
    for _ in 0..2 {
        assert_eq!(repository.resolve(&tag("1")).await.unwrap(), Some(digest_of('a')));
    }
    let sent: Vec<_> = server.seen().iter().map(|seen| seen.authorization().map(str::to_owned)).collect();
    assert_eq!(sent, [None, Some(BASIC.to_owned()), Some(BASIC.to_owned())]);
}

#[tokio::test]
async fn a_token_is_fetched_with_the_credentials_and_reused() {
    let server = token_registry(300).await;
    let pool = pool();
    for _ in 0..2 {
        // A new handle each time: what was learnt is in the pool.
        let config = RepositoryConfig { credentials: basic(), ..config(&server) };
        assert!(pool.repository(config).unwrap().resolve(&tag("1")).await.unwrap().is_some());
    }
    assert_eq!(targets(&server), [MANIFEST, "/token", MANIFEST, MANIFEST]);
    let token = &server.seen()[1];
    assert_eq!(token.target, "/token?tenant=1&service=reg&scope=repository%3Ateam%2Fapp%3Apull");
    assert_eq!((token.method.as_str(), token.authorization()), ("GET", Some(BASIC)));
}

#[tokio::test]
async fn anonymous_requests_fetch_a_token_without_credentials() {
    let server = token_registry(300).await;
    assert!(open(&server).resolve(&tag("1")).await.unwrap().is_some());
    assert_eq!(server.seen()[1].authorization(), None);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires_without_being_refused() {
    let server = token_registry(100).await;
    let repository = open(&server);
    repository.resolve(&tag("1")).await.unwrap();
    skip(Duration::from_secs(70)).await;
    repository.resolve(&tag("1")).await.unwrap();
    skip(Duration::from_secs(15)).await;
    repository.resolve(&tag("1")).await.unwrap();
    assert_eq!(targets(&server), [MANIFEST, "/token", MANIFEST, MANIFEST, "/token", MANIFEST]);
}

#[tokio::test]
async fn a_token_revoked_early_is_replaced_once() {
    let server = token_registry(100_000).await;
    let (first, second) = (open(&server), open(&server));
    first.resolve(&tag("1")).await.unwrap();
    // Another pool's token makes the registry forget the first one.
    second.resolve(&tag("1")).await.unwrap();
    let before = server.seen().len();
    first.resolve(&tag("1")).await.unwrap();
    assert_eq!(targets(&server)[before..], [MANIFEST, "/token", MANIFEST]);
}

#[tokio::test]
async fn a_token_that_is_refused_at_once_is_an_error_after_one_retry() {
    let server = Server::start(|seen: Seen| async move {
        if seen.target.starts_with("/token") { json(r#"{"token":"t"}"#) } else { token_challenge(&seen) }
    })
    .await;
    let repository = with(&server, basic());
    for _ in 0..2 {
        let error = repository.resolve(&tag("1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(error.to_string().contains("spec.secretRef"), "{error}");
    }
    let once = [MANIFEST, "/token", MANIFEST];
    assert_eq!(targets(&server), [once, once].concat());
}

#[tokio::test]
async fn concurrent_requests_fetch_one_token() {
    let server = token_registry(300).await;
    let repository = open(&server);
    let tags: Vec<_> = (0..8).map(|n| tag(&n.to_string())).collect();
    let results = futures_util::future::join_all(tags.iter().map(|tag| repository.resolve(tag))).await;
    assert!(results.iter().all(|result| matches!(result, Ok(Some(_)))), "{results:?}");
    assert_eq!(targets(&server).iter().filter(|target| *target == "/token").count(), 1);
}

#[tokio::test]
async fn different_credentials_never_share_a_token() {
    let server = Server::start(|seen: Seen| async move {
        if seen.target.starts_with("/token") {
            let who = if seen.authorization().is_some() { "robot" } else { "anyone" };
            return json(format!(r#"{{"token":"{who}","expires_in":300}}"#));
        }
        match seen.authorization() {
            Some("Bearer robot") => found(),
            Some("Bearer anyone") => refusal(403, "DENIED", "private"),
            _ => token_challenge(&seen),
        }
    })
    .await;
    let pool = pool();
    let robot = RepositoryConfig { credentials: basic(), ..config(&server) };
    assert!(pool.repository(robot).unwrap().resolve(&tag("1")).await.is_ok());
    let anyone = pool.repository(config(&server)).unwrap().resolve(&tag("1")).await;
    assert_eq!(anyone.unwrap_err().kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post_and_by_get_where_there_is_no_post() {
    for post_status in [200, 404, 405] {
        let server = Server::start(move |seen: Seen| async move {
            match (seen.target.starts_with("/token"), seen.method.as_str()) {
                (true, "POST") if post_status != 200 => empty(post_status),
                (true, _) => json(r#"{"access_token":"t","token":""}"#),
                (false, _) if seen.authorization() == Some("Bearer t") => found(),
                (false, _) => token_challenge(&seen),
            }
        })
        .await;
        let identity = Credentials::Identity { username: "robot".into(), token: secret("hunter22") };
        assert!(with(&server, identity).resolve(&tag("1")).await.unwrap().is_some());
        let seen = server.seen();
        assert_eq!((seen[1].method.as_str(), seen[1].authorization()), ("POST", None));
        assert_eq!(
            seen[1].body,
            "grant_type=refresh_token&client_id=windlass&scope=repository%3Ateam%2Fapp%3Apull&service=reg&\
             refresh_token=hunter22"
        );
        if post_status != 200 {
            assert_eq!((seen[2].method.as_str(), seen[2].authorization()), ("GET", Some(BASIC)));
        }
    }
}

#[tokio::test]
async fn a_registry_token_is_sent_as_it_is_and_answers_no_challenge() {
    let server = Server::start(|seen: Seen| async move {
        if seen.authorization() == Some("Bearer good1") { found() } else { token_challenge(&seen) }
    })
    .await;
    assert!(
        with(&server, Credentials::RegistryToken(secret("good1")))
            .resolve(&tag("1"))
            .await
            .unwrap()
            .is_some()
    );
    let error =
        with(&server, Credentials::RegistryToken(secret("stale"))).resolve(&tag("1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(targets(&server), [MANIFEST, MANIFEST]);
}

#[tokio::test]
async fn a_realm_on_another_host_never_sees_credentials() {
    let thief = Server::start(|_| async { json(r#"{"token":"t"}"#) }).await;
    let port = thief.host().rsplit_once(':').unwrap().1.to_owned();
    for realm in [format!("http://localhost:{port}/token"), format!("https://localhost:{port}/token")] {
        let server = Server::start(move |_| {
            let value = format!(r#"Bearer realm="{realm}",service="reg""#);
            async move { challenge(&value) }
        })
        .await;
        for credentials in
            [basic(), Credentials::Identity { username: String::new(), token: secret("hunter22") }]
        {
            let error = with(&server, credentials).resolve(&tag("1")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
            assert!(error.to_string().contains("localhost"), "{error}");
        }
    }
    assert!(thief.seen().is_empty());
}

#[tokio::test]
async fn a_token_server_beside_an_insecure_registry_may_have_another_port() {
    let tokens = Server::start(|_| async { json(r#"{"token":"t"}"#) }).await;
    let realm = tokens.host();
    let server = Server::start(move |seen: Seen| {
        let value = format!(r#"Bearer realm="http://{realm}/token""#);
        async move { if seen.authorization() == Some("Bearer t") { found() } else { challenge(&value) } }
    })
    .await;
    assert!(with(&server, basic()).resolve(&tag("1")).await.unwrap().is_some());
    assert_eq!(tokens.seen()[0].authorization(), Some(BASIC));
}

#[tokio::test]
async fn a_token_server_that_redirects_is_refused() {
    let server = Server::start(|seen: Seen| async move {
        if seen.target.starts_with("/token") {
            return status(307).header("location", "/elsewhere").body(Body::empty()).unwrap();
        }
        token_challenge(&seen)
    })
    .await;
    let error = with(&server, basic()).resolve(&tag("1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(targets(&server), [MANIFEST, "/token"]);
}

#[tokio::test]
async fn a_token_server_that_says_no_is_named_and_its_words_are_cleaned() {
    for (code, kind) in [
        (400, ErrorKind::Unauthorized),
        (401, ErrorKind::Unauthorized),
        (403, ErrorKind::Forbidden),
        (500, ErrorKind::Server),
    ] {
        let server = Server::start(move |seen: Seen| async move {
            if seen.target.starts_with("/token") {
                refusal(code, "UNAUTHORIZED", "wrong password hunter22 (cm9ib3Q6aHVudGVyMjI=)")
            } else {
                token_challenge(&seen)
            }
        })
        .await;
        let error = with(&server, basic()).resolve(&tag("1")).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        let text = error.to_string();
        assert!(text.contains("the token server 127.0.0.1 answered"), "{text}");
        assert!(text.contains("wrong password <secret> (<secret>)"), "{text}");
        assert!(!format!("{error:?}").contains("hunter22"));
    }
}

#[tokio::test]
async fn a_token_server_without_a_usable_token_is_invalid() {
    for body in ["{}", r#"{"token":""}"#, "<html>", r#"{"token":"a\nb"}"#] {
        let server = Server::start(move |seen: Seen| async move {
            if seen.target.starts_with("/token") { json(body) } else { token_challenge(&seen) }
        })
        .await;
        assert_eq!(open(&server).resolve(&tag("1")).await.unwrap_err().kind(), ErrorKind::Invalid, "{body}");
    }
    let server = Server::start(|seen: Seen| async move {
        if seen.target.starts_with("/token") {
            json(" ".repeat((1 << 20) + 1))
        } else {
            token_challenge(&seen)
        }
    })
    .await;
    assert_eq!(open(&server).resolve(&tag("1")).await.unwrap_err().kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn a_redirect_to_another_origin_is_followed_without_authorization() {
    let elsewhere = Server::start(|_| async { found() }).await;
    let host = elsewhere.host();
    let server = Server::start(move |seen: Seen| {
        let location = format!("http://{host}/cdn{}", seen.target);
        async move {
            if seen.authorization() != Some(BASIC) {
                return challenge("Basic realm=x");
            }
            status(307).header("location", location).body(Body::empty()).unwrap()
        }
    })
    .await;
    assert_eq!(with(&server, basic()).resolve(&tag("1")).await.unwrap(), Some(digest_of('a')));
    assert_eq!(elsewhere.requests(), [format!("HEAD /cdn{MANIFEST}")]);
    assert_eq!(elsewhere.seen()[0].authorization(), None);
}

#[tokio::test]
async fn a_redirect_on_the_registry_itself_keeps_authorization() {
    let server = Server::start(|seen: Seen| async move {
        match (seen.authorization(), seen.target.as_str()) {
            (Some(BASIC), "/moved") => found(),
            (Some(BASIC), _) => status(301).header("location", "/moved").body(Body::empty()).unwrap(),
            _ => challenge("Basic"),
        }
    })
    .await;
    assert!(with(&server, basic()).resolve(&tag("1")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_redirect_target_that_asks_for_credentials_gets_none() {
    let thief = Server::start(|_| async { challenge("Basic realm=x") }).await;
    let host = thief.host();
    let server = Server::start(move |_| {
        let location = format!("http://{host}/");
        async move { status(302).header("location", location).body(Body::empty()).unwrap() }
    })
    .await;
    let error = with(&server, basic()).resolve(&tag("1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(thief.seen().len(), 1);
    assert_eq!(thief.seen()[0].authorization(), None);
}

#[tokio::test]
async fn redirects_to_other_schemes_and_without_end_are_refused() {
    for location in ["http://localhost/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "http://[", "/again"] {
        let server = Server::start(move |_| async move {
            status(302).header("location", location).body(Body::empty()).unwrap()
        })
        .await;
        let error = open(&server).resolve(&tag("1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{location}");
        assert!(server.seen().len() <= 6);
    }
}

#[tokio::test]
async fn without_credentials_a_basic_challenge_says_what_to_configure() {
    let server = Server::start(|_| async {
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        status(401).header("www-authenticate", "Basic realm=x").body(Body::from(body)).unwrap()
    })
    .await;
    let error = open(&server).tags().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let text = error.to_string();
    assert!(
        text.contains("UNAUTHORIZED: authentication required") && text.contains("spec.secretRef"),
        "{text}"
    );
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_registry_that_repeats_the_credential_does_not_get_it_into_the_error() {
    let server = Server::start(|seen: Seen| async move {
        match seen.authorization() {
            None => challenge("Basic"),
            Some(sent) => refusal(403, "DENIED", &format!("{sent} and hunter22 are refused")),
        }
    })
    .await;
    let text = with(&server, basic()).tags().await.unwrap_err().to_string();
    assert!(text.contains("Basic <secret> and <secret> are refused"), "{text}");
}
