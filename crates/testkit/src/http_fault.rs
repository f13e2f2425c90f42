//! A reverse proxy in front of a real server, usually the registry, that passes everything on until a test says
//! otherwise.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::TryStreamExt as _;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Response};
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use serde_json::json;

use crate::http_server::{Backend, Body, Canned, HttpServer, failure, streamed};
use crate::image::MANIFEST;
use crate::port;
use crate::traffic::{Fault, Match, RequestHead, Traffic};

/// The tags on one page of an endless list.
const TAGS_PER_PAGE: usize = 1000;
/// The pieces of an enormous body.
const CHUNK: usize = 64 * 1024;

/// A running proxy.
pub struct Proxy {
    server: HttpServer,
    traffic: Traffic,
}

impl Proxy {
    /// Starts on a free port, in front of `upstream`: `http://127.0.0.1:5000`.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn start(upstream: impl Into<String>) -> Result<Self> {
        Self::start_at(port::free()?, upstream)
    }

    /// Starts on this address.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn start_at(address: SocketAddr, upstream: impl Into<String>) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .build()
            .context("building the proxy's client")?;
        let traffic = Traffic::default();
        let forward = Arc::new(Forward { upstream: upstream.into(), http });
        Ok(Self { server: HttpServer::start(address, traffic.clone(), forward)?, traffic })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.server.address().to_string()
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The requests: what was asked, gates and faults.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// A tag list of which every page has a next one, with tags that never repeat.
    #[must_use = "dropping the fault lifts it"]
    pub fn endless_tag_lists(&self) -> Fault {
        self.traffic.answer_with(tag_lists(), |head| {
            let page: usize =
                query_value(&head.query, "last").and_then(|last| last.parse().ok()).unwrap_or(0);
            let tags: Vec<String> = (0..TAGS_PER_PAGE).map(|tag| format!("0.{page}.{tag}")).collect();
            let next = format!("<{}?n={TAGS_PER_PAGE}&last={}>; rel=\"next\"", head.path, page + 1);
            Canned::status(200)
                .header("content-type", "application/json")
                .header("link", &next)
                .body(json!({"name": "endless", "tags": tags}).to_string())
        })
    }

    /// Manifests of this many bytes (rounded up to 64 KiB), sent as a stream that does not state its length.
    #[must_use = "dropping the fault lifts it"]
    pub fn enormous_manifests(&self, bytes: usize) -> Fault {
        let canned = Canned::status(200)
            .header("content-type", MANIFEST)
            .repeated(vec![b' '; CHUNK], bytes.div_ceil(CHUNK));
        self.traffic.answer(manifests(), canned)
    }
}

/// Requests for a tag list.
pub fn tag_lists() -> Match {
    Match::path_ends_with("/tags/list")
}

/// Reads of any manifest: GET or HEAD, not the pushes.
pub fn manifests() -> Match {
    reads().and(Match::path_contains("/manifests/"))
}

/// Reads of the manifest of this tag or digest.
pub fn manifest(reference: &str) -> Match {
    reads().and(Match::path_ends_with(format!("/manifests/{reference}")))
}

fn reads() -> Match {
    Match::new("read", |head| head.method == Method::GET || head.method == Method::HEAD)
}

fn query_value<'a>(query: &'a str, key: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value)
}

struct Forward {
    upstream: String,
    http: reqwest::Client,
}

impl Backend for Forward {
    async fn respond(&self, head: &RequestHead, body: Incoming) -> Response<Body> {
        match self.forward(head, body).await {
            Ok(response) => response,
            Err(error) => failure(&error),
        }
    }
}

impl Forward {
    async fn forward(&self, head: &RequestHead, body: Incoming) -> reqwest::Result<Response<Body>> {
        let question_mark = if head.query.is_empty() { "" } else { "?" };
        let url = format!("{}{}{question_mark}{}", self.upstream, head.path, head.query);
        // The host stays the one that the client asked: a registry makes its links from it.
        let headers = end_to_end(&head.headers);
        let has_body =
            head.headers.contains_key(CONTENT_LENGTH) || head.headers.contains_key(TRANSFER_ENCODING);
        let mut request = self.http.request(head.method.clone(), url).headers(headers);
        if has_body {
            request = request.body(reqwest::Body::wrap_stream(BodyDataStream::new(body)));
        }
        let upstream = request.send().await?;
        let (status, headers) = (upstream.status(), end_to_end(upstream.headers()));
        let mut response = Response::new(streamed(upstream.bytes_stream().map_err(std::io::Error::other)));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// The headers that concern both ends and not one connection (RFC 9110 §7.6.1).
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut copied = headers.clone();
    copied.remove(CONNECTION);
    copied.remove(TRANSFER_ENCODING);
    copied
}
