//! A stand-in for GitHub's API, as far as an app needs it: installations, and tokens for them. It verifies the app's
//! signed token as GitHub does (RS256, times, issuer) and remembers the tokens that it gave.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, anyhow, ensure};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::http_server::{Backend, Body, HttpServer, full};
use crate::port;
use crate::traffic::{Match, Method, RequestHead, Traffic, lock};

/// The app's id.
pub const APP_ID: &str = "4711";
/// The number of its installation.
pub const INSTALLATION: &str = "8150";
/// The organisation that installed it.
pub const OWNER: &str = "acme";
/// The user that goes with a token.
pub const USER: &str = "x-access-token";
/// How long a token is valid, in seconds.
pub const TOKEN_LIFETIME: i64 = 3600;
/// No token of an app may be valid for longer, in seconds.
const LONGEST_CLAIM: i64 = 600;
const MAX_BODY: usize = 1 << 20;

/// A running stand-in.
pub struct GitHub {
    server: HttpServer,
    traffic: Traffic,
    app: Arc<App>,
    private_key: String,
}

/// The app, its installation and the tokens that were given.
pub struct App {
    public_key: Vec<u8>,
    repositories: Vec<String>,
    clock: Box<dyn Fn() -> i64 + Send + Sync>,
    ahead: AtomicI64,
    given: AtomicUsize,
    tokens: Mutex<Vec<Given>>,
}

struct Given {
    token: String,
    repositories: Vec<String>,
    expires_at: i64,
}

impl GitHub {
    /// Starts on a free port. The app is installed in these repositories of [`OWNER`]; `clock` tells the seconds since
    /// 1970.
    ///
    /// # Errors
    /// When there is no port or no key.
    pub fn start(repositories: &[&str], clock: impl Fn() -> i64 + Send + Sync + 'static) -> Result<Self> {
        let key = KeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow!("making an RSA key"))?;
        let der = key.as_der().map_err(|_| anyhow!("writing an RSA key"))?;
        let app = Arc::new(App {
            public_key: key.public_key().as_ref().to_vec(),
            repositories: repositories.iter().map(|&name| name.to_owned()).collect(),
            clock: Box::new(clock),
            ahead: AtomicI64::new(0),
            given: AtomicUsize::new(0),
            tokens: Mutex::default(),
        });
        let traffic = Traffic::default();
        let server = HttpServer::start(port::free()?, traffic.clone(), Arc::clone(&app))?;
        Ok(Self { server, traffic, app, private_key: pem(der.as_ref()) })
    }

    /// The app's key, PEM.
    pub fn private_key(&self) -> &str {
        &self.private_key
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// `githubAppBaseURL`
    pub fn url(&self) -> String {
        format!("http://{}/api/v3", self.address())
    }

    /// The requests: what was asked, gates and faults.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The app, for a Git server that takes its tokens.
    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    /// Moves the API's clock by so many seconds.
    pub fn set_ahead(&self, seconds: i64) {
        self.app.ahead.store(seconds, Ordering::SeqCst);
    }

    /// How many tokens were given.
    pub fn given(&self) -> usize {
        self.app.given.load(Ordering::SeqCst)
    }

    /// Takes every token back.
    pub fn revoke_all(&self) {
        lock(&self.app.tokens).clear();
    }

    /// The tokens that were given and not revoked.
    pub fn tokens(&self) -> Vec<String> {
        lock(&self.app.tokens).iter().map(|given| given.token.clone()).collect()
    }

    /// A request for a token.
    pub fn token_requests() -> Match {
        Match::method(Method::POST).and(Match::path_ends_with("/access_tokens"))
    }
}

impl App {
    /// Whether these headers hold a token that is valid now, for the repository of this name.
    pub fn admits(&self, headers: &HeaderMap, repository: &str) -> bool {
        let Some(encoded) =
            headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
        else {
            return false;
        };
        let now = self.now();
        lock(&self.tokens).iter().any(|given| {
            encoded == STANDARD.encode(format!("{USER}:{}", given.token))
                && now < given.expires_at
                && given.repositories.iter().any(|name| name == repository)
        })
    }

    fn now(&self) -> i64 {
        (self.clock)() + self.ahead.load(Ordering::SeqCst)
    }

    /// Checks an app's signed token as GitHub does ("Generating a JSON Web Token for a GitHub App").
    fn verify(&self, headers: &HeaderMap) -> Result<()> {
        let value = headers.get(AUTHORIZATION).context("Requires authentication")?.to_str()?;
        let token = value.strip_prefix("Bearer ").context("A JSON web token could not be decoded")?;
        let [header, claims, signature] = <[&str; 3]>::try_from(token.split('.').collect::<Vec<_>>())
            .map_err(|_| anyhow!("A JSON web token could not be decoded"))?;
        let signature = URL_SAFE_NO_PAD.decode(signature)?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public_key)
            .verify(format!("{header}.{claims}").as_bytes(), &signature)
            .map_err(|_| anyhow!("A JSON web token could not be decoded"))?;
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header)?)?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
        ensure!(header["alg"] == "RS256", "the algorithm must be RS256");
        ensure!(claims["iss"] == APP_ID, "Integration not found");
        let (issued, expires) = claims["iat"].as_i64().zip(claims["exp"].as_i64()).context("no times")?;
        let now = self.now();
        ensure!(issued <= now, "'Issued at' claim ('iat') must not be in the future");
        ensure!(expires > now, "'Expiration time' claim ('exp') must be in the future");
        ensure!(expires <= now + LONGEST_CLAIM, "'Expiration time' claim ('exp') is too far in the future");
        Ok(())
    }

    fn give(&self, wanted: &Value) -> Response<Body> {
        let named = wanted["repositories"]
            .as_array()
            .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>());
        let repositories = named.unwrap_or_else(|| self.repositories.clone());
        if !repositories.iter().all(|name| self.repositories.contains(name)) {
            let words = "There is at least one repository that does not exist or is not accessible to the parent \
                         installation.";
            return answer(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "message": words }));
        }
        let number = self.given.fetch_add(1, Ordering::SeqCst);
        let (token, expires_at) = (format!("ghs_secret-for-tests-{number}"), self.now() + TOKEN_LIFETIME);
        let time = rfc3339(expires_at);
        lock(&self.tokens).push(Given { token: token.clone(), repositories, expires_at });
        answer(StatusCode::CREATED, &json!({ "token": token, "expires_at": time, "permissions": {} }))
    }
}

impl Backend for App {
    async fn respond(&self, head: &RequestHead, body: Incoming) -> Response<Body> {
        let Some(path) = head.path.strip_prefix("/api/v3/") else {
            return answer(StatusCode::NOT_FOUND, &json!({ "message": "Not Found" }));
        };
        if let Err(error) = self.verify(&head.headers) {
            return answer(StatusCode::UNAUTHORIZED, &json!({ "message": error.to_string() }));
        }
        let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
            return answer(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "message": "too large" }));
        };
        let wanted = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
        match path {
            _ if path == format!("app/installations/{INSTALLATION}/access_tokens")
                && head.method == Method::POST =>
            {
                self.give(&wanted)
            }
            _ if path == format!("orgs/{OWNER}/installation") => {
                let id: u64 = INSTALLATION.parse().expect("a number");
                answer(StatusCode::OK, &json!({ "id": id, "account": { "login": OWNER } }))
            }
            _ => answer(StatusCode::NOT_FOUND, &json!({ "message": "Not Found" })),
        }
    }
}

fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

/// Seconds since 1970 as `2026-01-02T03:04:05Z`, by the civil calendar's days of an era of 400 years.
fn rfc3339(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Counted from 1 March of the year 0, so that a leap day is the last of its year.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_github_writes_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_323_045, "2026-01-02T03:04:05Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
