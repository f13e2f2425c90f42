//! A server like Sigstore's Fulcio: cosign sends a key and an identity token, and gets a certificate. It believes every
//! token; who may have one is what tests choose.

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::ca::{Authority, Subject, pem, since_1970, unarmored};
use crate::http_server::{Backend, Body, HttpServer, plain};
use crate::port;
use crate::traffic::{RequestHead, Traffic, lock};

/// How long a token is valid.
const TOKEN_SECONDS: u64 = 600;

/// A running one.
pub struct Fulcio {
    server: HttpServer,
    traffic: Traffic,
    issuing: Arc<Issuing>,
}

impl Fulcio {
    /// Starts on a free port.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn start(authority: Arc<Authority>) -> Result<Self> {
        let issuing = Arc::new(Issuing { authority, logged: Mutex::new(true) });
        let traffic = Traffic::default();
        let server = HttpServer::start(port::free()?, traffic.clone(), Arc::clone(&issuing))?;
        Ok(Self { server, traffic, issuing })
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// What was asked.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Whether certificates are logged from now on; they are at first.
    pub fn set_logged(&self, logged: bool) {
        *lock(&self.issuing.logged) = logged;
    }
}

/// A token of an identity provider, as cosign's `--identity-token` takes it. Nobody signed it.
pub fn identity_token(issuer: &str, subject: &str) -> String {
    let now = since_1970().as_secs();
    let mut claims = json!({
        "iss": issuer, "sub": subject, "aud": "sigstore",
        "iat": now, "nbf": now, "exp": now + TOKEN_SECONDS,
    });
    if !subject.contains("://") {
        claims["email"] = json!(subject);
        claims["email_verified"] = json!(true);
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(&json!({"alg": "RS256", "typ": "JWT"})), part(&claims), "c2lnbmF0dXJl")
}

struct Issuing {
    authority: Arc<Authority>,
    logged: Mutex<bool>,
}

impl Backend for Issuing {
    async fn respond(&self, head: &RequestHead, body: Incoming) -> Response<Body> {
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return plain(StatusCode::BAD_REQUEST, error.to_string()),
        };
        let answer = match (&head.method, head.path.as_str()) {
            (&Method::POST, "/api/v1/signingCert") => self.version_1(head, &body),
            (&Method::POST, "/api/v2/signingCert") => self.version_2(head, &body),
            _ => return plain(StatusCode::NOT_FOUND, "no such page"),
        };
        answer.unwrap_or_else(|error| plain(StatusCode::BAD_REQUEST, format!("{error:#}")))
    }
}

impl Issuing {
    /// The key as PEM in base64; the chain as one text.
    fn version_1(&self, head: &RequestHead, body: &[u8]) -> Result<Response<Body>> {
        let request: Value = serde_json::from_slice(body).context("a request is JSON")?;
        let key = request["publicKey"]["content"].as_str().context("a request has a key")?;
        let key = STANDARD.decode(key).context("a key is in base64")?;
        let chain = self.issue(head, &unarmored(std::str::from_utf8(&key).context("a key is in PEM")?)?)?;
        let mut response = plain(StatusCode::CREATED, chain.concat());
        let media_type = HeaderValue::from_static("application/pem-certificate-chain");
        response.headers_mut().insert("content-type", media_type);
        Ok(response)
    }

    /// The key as PEM; the chain as a list.
    fn version_2(&self, head: &RequestHead, body: &[u8]) -> Result<Response<Body>> {
        let request: Value = serde_json::from_slice(body).context("a request is JSON")?;
        let key = &request["publicKeyRequest"]["publicKey"]["content"];
        let key = unarmored(key.as_str().context("a request has a key")?)?;
        let chain = self.issue(head, &key)?;
        let answer = json!({"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}});
        let mut response = plain(StatusCode::OK, answer.to_string());
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
        Ok(response)
    }

    fn issue(&self, head: &RequestHead, key: &[u8]) -> Result<Vec<String>> {
        let header = head.headers.get(AUTHORIZATION).context("a request has a token")?;
        let token = header.to_str().context("a token is ASCII")?;
        let Some(token) = token.strip_prefix("Bearer ") else { bail!("a token follows `Bearer`") };
        let claims = token.split('.').nth(1).context("a token has three parts")?;
        let claims = URL_SAFE_NO_PAD.decode(claims).context("claims are in base64")?;
        let claims: Value = serde_json::from_slice(&claims).context("claims are JSON")?;
        let text = |name: &str| claims[name].as_str();
        let name = text("email").or_else(|| text("sub")).context("a token has a subject")?;
        let issuer = text("iss").context("a token has an issuer")?;
        let subject = Subject { logged: *lock(&self.logged), ..Subject::new(name, issuer) };
        let certificate = self.authority.certify(key, &subject)?;
        Ok([certificate].into_iter().chain(self.authority.chain()).map(|der| pem(&der)).collect())
    }
}
