//! A stand-in for what reconcilers listen with: Flux's notification-controller (`generic` and `generic-hmac`) and Argo
//! CD's webhook. It checks signatures as they do and keeps what it accepted.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use sha2::Sha256;
use tokio::sync::watch;

use crate::config::webhook_path;
use crate::http_server::{Backend, Body, HttpServer, plain};
use crate::port;
use crate::traffic::{Match, RequestHead, Traffic, lock};

/// The token of the Receivers and of Argo CD.
pub const TOKEN: &str = "reconciler-token-for-tests";
const GENERIC: &str = "plain";
const HMAC: &str = "signed";
const NAMESPACE: &str = "flux-system";
const ARGOCD_PATH: &str = "/api/webhook";
/// notification-controller takes no larger body.
const MAX_BODY: usize = 3 << 20;

/// A request that was accepted.
#[derive(Debug, Clone)]
pub struct Nudge {
    /// Who was told.
    pub to: Reconciler,
    /// The JSON body.
    pub body: Value,
    /// When it had arrived.
    pub at: Instant,
}

/// The ways in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconciler {
    /// A Receiver of the type `generic`.
    Flux,
    /// A Receiver of the type `generic-hmac`.
    FluxSigned,
    /// Argo CD with a `webhook.github.secret`.
    ArgoCd,
}

/// A running stand-in.
pub struct Reconcilers {
    server: HttpServer,
    traffic: Traffic,
    inbox: Arc<Inbox>,
}

#[derive(Default)]
struct Inbox {
    nudges: Mutex<Vec<Nudge>>,
    count: watch::Sender<usize>,
}

impl Reconcilers {
    /// Starts on a free port.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn start() -> Result<Self> {
        let (traffic, inbox) = (Traffic::default(), Arc::<Inbox>::default());
        let server = HttpServer::start(port::free()?, traffic.clone(), Arc::clone(&inbox))?;
        Ok(Self { server, traffic, inbox })
    }

    /// What a Notifier's Secret has as `address`.
    pub fn url(&self, of: Reconciler) -> String {
        format!("http://{}{}", self.address(), path(of))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The requests to one of them, refused ones too.
    pub fn requests(of: Reconciler) -> Match {
        Match::path_ends_with(path(of))
    }

    /// Gates and faults.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// What was accepted so far, in order.
    pub fn nudges(&self) -> Vec<Nudge> {
        lock(&self.inbox.nudges).clone()
    }

    /// Waits until at least `count` nudges were accepted, and gives all.
    ///
    /// # Errors
    /// When fewer came `within` that time.
    pub async fn wait_for(&self, count: usize, within: Duration) -> Result<Vec<Nudge>> {
        let mut received = self.inbox.count.subscribe();
        let in_time = tokio::time::timeout(within, received.wait_for(|seen| *seen >= count)).await.is_ok();
        let nudges = self.nudges();
        ensure!(in_time, "waited {within:?} for {count} nudges; these came: {nudges:#?}");
        Ok(nudges)
    }
}

fn path(of: Reconciler) -> String {
    match of {
        Reconciler::Flux => webhook_path(TOKEN, GENERIC, NAMESPACE),
        Reconciler::FluxSigned => webhook_path(TOKEN, HMAC, NAMESPACE),
        Reconciler::ArgoCd => ARGOCD_PATH.to_owned(),
    }
}

impl Backend for Inbox {
    async fn respond(&self, head: &RequestHead, body: Incoming) -> Response<Body> {
        let all = [Reconciler::Flux, Reconciler::FluxSigned, Reconciler::ArgoCd];
        let Some(to) = all.into_iter().find(|of| head.path == path(*of) && head.query.is_empty()) else {
            return plain(StatusCode::NOT_FOUND, "");
        };
        let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "");
        };
        let body = body.to_bytes();
        let signed = |header: &str| is_signed(head, header, &body);
        let accepted = match to {
            Reconciler::Flux => true,
            Reconciler::FluxSigned => signed("x-signature"),
            Reconciler::ArgoCd => {
                head.method == Method::POST
                    && head.headers.get("x-github-event").is_some_and(|event| event == "push")
                    && signed("x-hub-signature-256")
            }
        };
        match serde_json::from_slice(&body) {
            Ok(body) if accepted => {
                lock(&self.nudges).push(Nudge { to, body, at: Instant::now() });
                self.count.send_modify(|count| *count += 1);
                plain(StatusCode::OK, "")
            }
            _ => plain(StatusCode::BAD_REQUEST, "not authentic, or not JSON"),
        }
    }
}

/// `sha256=<hex>` of HMAC([`TOKEN`], body).
fn is_signed(head: &RequestHead, header: &str, body: &[u8]) -> bool {
    let stated = head.headers.get(header).and_then(|value| value.to_str().ok()?.strip_prefix("sha256="));
    let Some(stated) = stated.and_then(|text| hex::decode(text).ok()) else { return false };
    let mut mac = Hmac::<Sha256>::new_from_slice(TOKEN.as_bytes()).expect("any length");
    mac.update(body);
    mac.verify_slice(&stated).is_ok()
}
