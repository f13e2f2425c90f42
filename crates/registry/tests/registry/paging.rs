//! Tag lists: every page of an honest registry, and a clear end to a dishonest one.

use axum::body::Body;
use axum::http::Response;
use prometheus_client::registry::Registry;
use windlass_model::Tag;
use windlass_registry::{ErrorKind, Metrics, Pool, PoolConfig, Repository, Retry, TagLimits, TagList};

use crate::server::{Seen, Server, empty, json, refusal, status};
use crate::{config, open};

/// Small limits, so that a test meets them at once.
fn limited(server: &Server) -> Repository {
    let tag_limits = TagLimits { pages: 5, tags: 100, page_bytes: 4096 };
    let config = PoolConfig { tag_limits, ..PoolConfig::default() };
    Pool::new(config, Metrics::register(&mut Registry::default())).repository(crate::config(server)).unwrap()
}

fn page(tags: &str, link: &str) -> Response<Body> {
    let builder = status(200).header("content-type", "application/json");
    let builder = if link.is_empty() { builder } else { builder.header("link", link) };
    builder.body(Body::from(format!(r#"{{"name":"team/app","tags":{tags}}}"#))).unwrap()
}

fn names(list: &TagList) -> Vec<&str> {
    list.tags.iter().map(Tag::as_str).collect()
}

#[tokio::test]
async fn every_page_is_read_whatever_the_form_of_the_link() {
    let server = Server::start(|seen: Seen| async move {
        let host = seen.header("host").unwrap().to_owned();
        match seen.target.as_str() {
            "/v2/team/app/tags/list" => {
                page(r#"["3","1"]"#, r#"</v2/team/app/tags/list?last=3>; rel="next""#)
            }
            "/v2/team/app/tags/list?last=3" => page(r#"["2"]"#, "?last=2; rel=next"),
            "/v2/team/app/tags/list?last=2" => {
                page("null", &format!("<https://{host}/v2/team/app/tags/list?token=a%2Bb>; rel=next"))
            }
            "/v2/team/app/tags/list?token=a%2Bb" => page(r#"["4","","bad tag"]"#, "</x>; rel=prev"),
            other => panic!("{other}"),
        }
    })
    .await;
    let list = open(&server).tags().await.unwrap();
    assert_eq!((names(&list), list.invalid), (vec!["1", "2", "3", "4"], 1));
    assert_eq!(server.requests()[0], "GET /v2/team/app/tags/list", "no page size is demanded");
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn a_link_to_another_host_is_refused_and_not_followed() {
    let other = Server::start(|_| async { page(r#"["evil"]"#, "") }).await;
    let port = other.host().rsplit_once(':').unwrap().1.to_owned();
    let server = Server::start(move |_| {
        let link = format!("<http://localhost:{port}/v2/team/app/tags/list>; rel=next");
        async move { page(r#"["1"]"#, &link) }
    })
    .await;
    let error = open(&server).tags().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Refused, Retry::NextInterval));
    assert!(error.to_string().contains("another host, http://localhost"), "{error}");
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn pages_in_a_circle_end() {
    let server = Server::start(|seen: Seen| async move {
        let next = if seen.target.ends_with("?last=a") { "?last=b" } else { "?last=a" };
        page(r#"["1"]"#, &format!("<{next}>; rel=next"))
    })
    .await;
    let error = open(&server).tags().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("circle"), "{error}");
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn pages_without_end_stop_at_the_page_limit() {
    let server =
        Server::start(
            |seen: Seen| async move { page("[]", &format!("<?last={}>; rel=next", seen.target.len())) },
        )
        .await;
    let error = limited(&server).tags().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "the same length comes twice: {error}");

    let server =
        Server::start(|seen: Seen| async move { page("[]", &format!("<{}0>; rel=next", seen.target)) }).await;
    let error = limited(&server).tags().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("more than 5 pages"), "{error}");
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn too_many_tags_and_too_large_pages_are_errors_not_short_lists() {
    let many = Server::start(|_| async {
        let tags: Vec<String> = (0..101).map(|n| format!("\"{n}\"")).collect();
        page(&format!("[{}]", tags.join(",")), "")
    })
    .await;
    let error = limited(&many).tags().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("more than 100 entries"), "{error}");

    let stated = Server::start(|_| async { json(" ".repeat(5000)) }).await;
    let unstated = Server::start(|_| async {
        let chunks = (0..1000).map(|_| Ok::<_, std::io::Error>("          ".to_owned()));
        status(200).body(Body::from_stream(futures_util::stream::iter(chunks))).unwrap()
    })
    .await;
    for server in [stated, unstated] {
        let error = limited(&server).tags().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains("larger than 4096 bytes"), "{error}");
    }
}

#[tokio::test]
async fn an_unknown_repository_is_not_found_and_not_empty() {
    let server =
        Server::start(|_| async { refusal(404, "NAME_UNKNOWN", "repository name not known to registry") })
            .await;
    let error = open(&server).tags().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let host = server.host();
    assert_eq!(
        error.to_string(),
        format!(
            "{host}/team/app: listing tags: the registry answered HTTP 404 Not Found (NAME_UNKNOWN: repository name not \
             known to registry); check the repository's name, and whether it is private (`spec.secretRef`)"
        )
    );
}

#[tokio::test]
async fn an_answer_that_is_no_list_is_an_error() {
    for body in ["<html>sign in</html>", r#"{"errors":[]}"#, r#"{"tags":{}}"#] {
        let server = Server::start(move |_| async move { json(body) }).await;
        assert_eq!(open(&server).tags().await.unwrap_err().kind(), ErrorKind::Invalid, "{body}");
    }
    let server = Server::start(|_| async { empty(204) }).await;
    assert_eq!(open(&server).tags().await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_failing_page_fails_the_list() {
    let server = Server::start(|seen: Seen| async move {
        if seen.target.contains('?') {
            refusal(500, "UNKNOWN", "disk full")
        } else {
            page(r#"["1"]"#, "<?n=1>; rel=next")
        }
    })
    .await;
    let error = crate::pool().repository(config(&server)).unwrap().tags().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Server, Retry::Backoff));
    assert!(error.to_string().contains("UNKNOWN: disk full"), "{error}");
}
