//! What a sender is answered: a status and a small JSON object.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::{Receipt, Refusal};
use crate::body::BodyError;
use crate::metrics::Outcome;

/// Seconds after which a request that met a passing trouble is worth another try.
const RETRY_SOON: &str = "5";
/// Seconds for a Receiver that a person must resume or repair.
const RETRY_LATER: &str = "60";
/// RFC 9110, section 11.6.1: a 401 names a scheme.
const CHALLENGE: &str = r#"Bearer realm="webhook""#;

#[derive(Serialize)]
struct Taken<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    signals: usize,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignored: Option<&'a str>,
}

#[derive(Serialize)]
struct Refused<'a> {
    error: &'a str,
}

pub(super) fn taken(receipt: &Receipt) -> Response {
    let body = Taken {
        event: receipt.event.as_deref(),
        signals: receipt.signals,
        duplicate: receipt.outcome == Outcome::Duplicate,
        ignored: receipt.ignored,
    };
    json(StatusCode::OK, None, &body)
}

pub(super) fn refused(refusal: &Refusal) -> Response {
    let retry = |seconds| Some((header::RETRY_AFTER, HeaderValue::from_static(seconds)));
    let detail;
    let (status, extra, error) = match refusal {
        Refusal::UnknownPath => (StatusCode::NOT_FOUND, None, "no receiver has this path"),
        Refusal::Closed => {
            (StatusCode::SERVICE_UNAVAILABLE, retry(RETRY_LATER), "the receiver is suspended or not ready")
        }
        Refusal::Body(BodyError::TooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, None, "the body is too large"),
        Refusal::Body(BodyError::Timeout) => {
            (StatusCode::REQUEST_TIMEOUT, None, "the body did not arrive in time")
        }
        Refusal::Body(BodyError::Broken) => (StatusCode::BAD_REQUEST, None, "the body broke off"),
        Refusal::Body(BodyError::Busy) | Refusal::Store => {
            (StatusCode::SERVICE_UNAVAILABLE, retry(RETRY_SOON), "not accepted now, try again")
        }
        Refusal::Unauthorized => {
            let challenge = (header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
            (StatusCode::UNAUTHORIZED, Some(challenge), "the token or signature is missing or wrong")
        }
        Refusal::Malformed(problem) => {
            detail = problem.to_string();
            (StatusCode::BAD_REQUEST, None, detail.as_str())
        }
    };
    let mut response = json(status, extra, &Refused { error });
    if leaves_body_unread(refusal) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether the sender may still be sending its body: the connection then ends with the answer. A sender that is not told
/// would lose its next event on it.
fn leaves_body_unread(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::UnknownPath | Refusal::Closed | Refusal::Body(_))
}

fn json(status: StatusCode, header: Option<(HeaderName, HeaderValue)>, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).expect("a struct of texts and numbers is always JSON");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.extend(header);
    response
}
