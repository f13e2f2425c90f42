//! Answers that break off, never come, or never end; and the ways in which plain HTTP is not spoken.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use windlass_model::ImageName;
use windlass_registry::{ErrorKind, ProxyConfig, RepositoryConfig, Retry};

use crate::server::{Seen, Server, json, status};
use crate::{config, pool, secret, secure, skip, tag};

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_network_error_not_a_short_list() {
    let server = Server::start(|_| async {
        let start = futures_util::stream::iter([Ok(r#"{"tags":["1""#)]);
        // The pause lets the server send what it has before the end comes.
        let end = futures_util::stream::once(async {
            tokio::task::yield_now().await;
            Err(std::io::Error::other("cable cut"))
        });
        status(200).header("content-length", "500").body(Body::from_stream(start.chain(end))).unwrap()
    })
    .await;
    let error = crate::open(&server).tags().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Network, Retry::Backoff));
    assert!(error.to_string().contains("broke off"), "{error}");
}

#[tokio::test]
async fn the_timeout_covers_a_body_that_never_ends() {
    let begun = Arc::new(Notify::new());
    let server = Server::start({
        let begun = begun.clone();
        move |_| {
            begun.notify_one();
            let start = futures_util::stream::iter([Ok::<_, std::io::Error>(r#"{"tags":["1""#)]);
            async {
                status(200).body(Body::from_stream(start.chain(futures_util::stream::pending()))).unwrap()
            }
        }
    })
    .await;
    let config = RepositoryConfig { timeout: Duration::from_secs(30), ..config(&server) };
    let repository = pool().repository(config).unwrap();
    let wait = async {
        begun.notified().await;
        skip(Duration::from_secs(30)).await;
    };
    let (result, ()) = tokio::join!(repository.tags(), wait);
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Backoff));
    assert!(error.to_string().contains("no answer within the timeout of 30.0 s"), "{error}");
}

#[tokio::test]
async fn a_registry_that_goes_silent_is_not_waited_for_as_long_as_the_timeout_allows() {
    let arrived = Arc::new(Notify::new());
    let server = Server::start({
        let arrived = arrived.clone();
        move |_| {
            arrived.notify_one();
            std::future::pending()
        }
    })
    .await;
    let config = RepositoryConfig { timeout: Duration::from_hours(1), ..config(&server) };
    let repository = pool().repository(config).unwrap();
    let wait = async {
        arrived.notified().await;
        skip(Duration::from_mins(1)).await;
    };
    let (result, ()) = tokio::join!(repository.tags(), wait);
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Backoff));
    assert!(error.to_string().contains("went silent for 60.0 s"), "{error}");
}

#[tokio::test]
async fn the_timeout_covers_the_wait_for_a_place() {
    let arrived = Arc::new(Notify::new());
    let server = Server::start({
        let arrived = arrived.clone();
        move |_| {
            arrived.notify_one();
            std::future::pending()
        }
    })
    .await;
    let settings = windlass_registry::PoolConfig { max_concurrent_requests: 1, ..Default::default() };
    let metrics = windlass_registry::Metrics::register(&mut prometheus_client::registry::Registry::default());
    let pool = windlass_registry::Pool::new(settings, metrics);
    let first =
        pool.repository(RepositoryConfig { timeout: Duration::from_secs(90), ..config(&server) }).unwrap();
    let second =
        pool.repository(RepositoryConfig { timeout: Duration::from_secs(30), ..config(&server) }).unwrap();
    let late = async {
        arrived.notified().await;
        let (result, ()) = tokio::join!(second.tags(), skip(Duration::from_secs(30)));
        skip(Duration::from_mins(1)).await;
        result
    };
    let (first, second) = tokio::join!(first.tags(), late);
    assert_eq!(first.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_closed_port_is_a_network_error_that_names_the_host() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    for insecure in [false, true] {
        let image = ImageName::parse(&format!("{host}/team/app")).unwrap();
        let config = RepositoryConfig { insecure, ..RepositoryConfig::new(image, crate::TIMEOUT) };
        let error = pool().repository(config).unwrap().resolve(&tag("1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network);
        assert!(error.to_string().contains("connecting to 127.0.0.1 failed"), "{error}");
    }
}

#[tokio::test]
async fn plain_http_is_never_spoken_unless_it_is_allowed() {
    let server = Server::start(|_| async { json(r#"{"tags":["1"]}"#) }).await;
    let error = pool().repository(secure(&server)).unwrap().tags().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(server.seen().is_empty());
    assert_eq!(crate::open(&server).tags().await.unwrap().tags, [tag("1")]);
}

#[tokio::test]
async fn a_server_that_closes_every_connection_is_a_network_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let mut closing = tokio::task::JoinSet::new();
    closing.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
        }
    });
    let image = ImageName::parse(&format!("{host}/team/app")).unwrap();
    let config = RepositoryConfig { insecure: true, ..RepositoryConfig::new(image, crate::TIMEOUT) };
    let error = pool().repository(config).unwrap().tags().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
}

#[tokio::test]
async fn a_proxy_sees_the_whole_url_and_its_own_credentials() {
    let proxy = Server::start(|seen: Seen| async move {
        match seen.method.as_str() {
            "CONNECT" => crate::server::empty(405),
            _ => json(r#"{"tags":["1"]}"#),
        }
    })
    .await;
    let settings = ProxyConfig {
        address: format!("http://{}", proxy.host()),
        username: Some("robot".into()),
        password: Some(secret("hunter22")),
    };
    let image = ImageName::parse("registry.invalid:5000/team/app").unwrap();
    let config = RepositoryConfig {
        insecure: true,
        proxy: Some(settings),
        ..RepositoryConfig::new(image, crate::TIMEOUT)
    };
    assert_eq!(pool().repository(config).unwrap().tags().await.unwrap().tags, [tag("1")]);
    let seen = proxy.seen();
    let last = seen.last().unwrap();
    assert_eq!(last.target, "http://registry.invalid:5000/v2/team/app/tags/list");
    assert_eq!(last.header("proxy-authorization"), Some("Basic cm9ib3Q6aHVudGVyMjI="));
    assert_eq!(last.authorization(), None);
}
