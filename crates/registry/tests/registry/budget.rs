//! Throttling and concurrency, seen from the registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use windlass_registry::{ErrorKind, Metrics, Pool, PoolConfig, Retry};

use crate::server::{Seen, Server, empty, json, refusal, status};
use crate::{config, digest_of, hurry, open, pool, secure, skip, tag};

fn found() -> Response<Body> {
    status(200).header("docker-content-digest", digest_of('a').as_str()).body(Body::empty()).unwrap()
}

/// Throttles once with these headers, then answers.
async fn throttling_once(code: u16, headers: &'static [(&'static str, &'static str)]) -> Server {
    let throttled = Arc::new(AtomicBool::new(false));
    Server::start(move |_| {
        let first = !throttled.swap(true, Ordering::SeqCst);
        async move {
            if !first {
                return found();
            }
            headers
                .iter()
                .fold(status(code), |reply, (name, value)| reply.header(*name, *value))
                .body(Body::empty())
                .unwrap()
        }
    })
    .await
}

#[tokio::test]
async fn a_long_pause_is_an_error_that_says_when_and_nothing_is_sent_until_then() {
    for (code, headers, seconds) in [
        (429, &[("retry-after", "600")][..], 600_u32),
        (
            429,
            &[("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("retry-after", "Sun, 06 Nov 1994 08:59:37 GMT")],
            600,
        ),
        (429, &[("retry-after", "86400")], 900),
        (503, &[("retry-after", "600")], 600),
    ] {
        let server = throttling_once(code, headers).await;
        let pool = pool();
        let repository = pool.repository(config(&server)).unwrap();
        let error = repository.resolve(&tag("1")).await.unwrap_err();
        if code == 429 {
            let ErrorKind::Throttled { retry_after } = error.kind() else { panic!("{error}") };
            assert!(retry_after.as_secs_f64() > f64::from(seconds) - 5.0, "{retry_after:?}");
            assert!(retry_after <= Duration::from_secs(seconds.into()));
            assert_eq!(error.retry(), Retry::After(retry_after));
        } else {
            assert_eq!(error.kind(), ErrorKind::Server);
        }

        let other = pool.repository(config(&server)).unwrap();
        let error = other.tags().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Throttled { .. }), "the pause is the registry's: {error}");
        assert_eq!(server.seen().len(), 1, "nothing is sent during the pause");

        skip(Duration::from_secs(seconds.into())).await;
        assert_eq!(repository.resolve(&tag("1")).await.unwrap(), Some(digest_of('a')));
    }
}

#[tokio::test]
async fn a_short_pause_is_waited_out_inside_the_operation() {
    for headers in [&[("retry-after", "2")][..], &[("retry-after", "0")], &[]] {
        let server = throttling_once(429, headers).await;
        let repository = open(&server);
        let result = hurry(repository.resolve(&tag("1"))).await;
        assert_eq!(result.unwrap(), Some(digest_of('a')), "{headers:?}");
        assert_eq!(server.seen().len(), 2);
    }
}

#[tokio::test]
async fn a_registry_that_throttles_for_ever_is_asked_three_times() {
    let server = Server::start(|_| async {
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 880.092µs, allowed: 44000/minute"}]}"#;
        status(429).body(Body::from(body)).unwrap()
    })
    .await;
    let repository = open(&server);
    let error = hurry(repository.tags()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Throttled { .. }));
    assert!(error.to_string().contains("TOOMANYREQUESTS"), "{error}");
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn requests_under_way_never_exceed_the_limit_and_reach_it() {
    let present = Arc::new(AtomicUsize::new(0));
    let (most, mut reached) = watch::channel(0);
    let most = Arc::new(most);
    let (open_gate, gate) = watch::channel(false);
    let server = Server::start({
        let (present, most) = (present.clone(), most.clone());
        move |_| {
            let (present, most, mut gate) = (present.clone(), most.clone(), gate.clone());
            async move {
                let now = present.fetch_add(1, Ordering::SeqCst) + 1;
                most.send_modify(|most| *most = now.max(*most));
                gate.wait_for(|open| *open).await.unwrap();
                present.fetch_sub(1, Ordering::SeqCst);
                found()
            }
        }
    })
    .await;
    let settings = PoolConfig { max_concurrent_requests: 3, ..PoolConfig::default() };
    let pool = Pool::new(settings, Metrics::register(&mut Registry::default()));
    let tags: Vec<_> = (0..20).map(|n| tag(&n.to_string())).collect();
    let repositories: Vec<_> = tags.iter().map(|_| pool.repository(config(&server)).unwrap()).collect();
    let all = futures_util::future::join_all(
        tags.iter().zip(&repositories).map(|(tag, repository)| repository.resolve(tag)),
    );
    let release = async {
        reached.wait_for(|most| *most == 3).await.unwrap();
        open_gate.send(true).unwrap();
    };
    let (results, ()) = tokio::join!(all, release);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!((*most.borrow(), server.seen().len()), (3, 20));
}

#[tokio::test]
async fn many_lists_leave_room_for_the_tag_that_an_event_names() {
    let (lists, mut arrived) = watch::channel(0);
    let (open_gate, gate) = watch::channel(false);
    let lists = Arc::new(lists);
    let server = Server::start(move |seen: Seen| {
        let (lists, mut gate) = (lists.clone(), gate.clone());
        async move {
            if !seen.target.contains("/tags/list") {
                return found();
            }
            lists.send_modify(|lists| *lists += 1);
            gate.wait_for(|open| *open).await.unwrap();
            json(r#"{"tags":["1"]}"#)
        }
    })
    .await;
    let settings = PoolConfig { max_concurrent_requests: 4, ..PoolConfig::default() };
    let pool = Pool::new(settings, Metrics::register(&mut Registry::default()));
    let repositories: Vec<_> = (0..12).map(|_| pool.repository(config(&server)).unwrap()).collect();
    let all = futures_util::future::join_all(repositories.iter().map(windlass_registry::Repository::tags));
    let event = async {
        arrived.wait_for(|lists| *lists == 3).await.unwrap();
        let digest = repositories[0].resolve(&tag("1")).await.unwrap();
        assert_eq!((digest, *arrived.borrow()), (Some(digest_of('a')), 3));
        open_gate.send(true).unwrap();
    };
    let (listed, ()) = tokio::join!(all, event);
    assert!(listed.iter().all(Result::is_ok), "{listed:?}");
}

#[tokio::test]
async fn requests_are_counted_by_registry_and_outcome() {
    let server = Server::start(|seen: Seen| async move {
        match seen.target.rsplit('/').next().unwrap() {
            "ok" => found(),
            "gone" => empty(404),
            "list" => refusal(403, "DENIED", "no"),
            _ => empty(502),
        }
    })
    .await;
    let mut registry = Registry::default();
    let pool = Pool::new(PoolConfig::default(), Metrics::register(&mut registry));
    let repository = pool.repository(config(&server)).unwrap();
    repository.resolve(&tag("ok")).await.unwrap();
    repository.resolve(&tag("gone")).await.unwrap();
    repository.resolve(&tag("broken")).await.unwrap_err();
    repository.tags().await.unwrap_err();
    pool.repository(secure(&server)).unwrap().tags().await.unwrap_err();
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let host = server.host();
    for (outcome, count) in
        [("not_found", 1), ("server_error", 1), ("unauthorized", 1), ("ok", 2), ("network", 2)]
    {
        let line =
            format!("windlass_registry_requests_total{{host=\"{host}\",outcome=\"{outcome}\"}} {count}");
        assert!(text.contains(&line), "{line}\n{text}");
    }
    let count = format!("windlass_registry_request_duration_seconds_count{{host=\"{host}\"}} 7");
    assert!(text.contains(&count), "{text}");
}
