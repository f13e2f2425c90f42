//! Nudges: the requests that make a reconciler look at Git now rather than at its next interval.
//!
//! Owns what Flux's and Argo CD's receivers read. A nudge is a hint: what they then do, they read from Git.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use sha2::Sha256;
use url::Url;
use windlass_model::message::CommitNotice;

/// notification-controller 1.9, `generic-hmac`.
const FLUX_SIGNATURE: HeaderName = HeaderName::from_static("x-signature");
/// GitHub's, "Validating webhook deliveries".
const GITHUB_SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");
const GITHUB_EVENT: HeaderName = HeaderName::from_static("x-github-event");
/// Where Argo CD's API server takes webhooks.
const ARGOCD_PATH: &str = "/api/webhook";

/// A request that is ready to be sent.
pub(crate) struct Nudge {
    pub(crate) address: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Nudge {
    fn new(address: Url, body: &serde_json::Value, signature: HeaderName, token: Option<&[u8]>) -> Self {
        let body = body.to_string().into_bytes();
        let mut headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        if let Some(token) = token {
            headers.insert(signature, signed(token, &body));
        }
        Self { address, headers, body }
    }
}

/// To a Receiver of Flux: `generic`, whose path is the secret, or `generic-hmac`, with a token. A `resourceFilter` finds
/// the commit in the body.
pub(crate) fn flux(commit: &CommitNotice, address: Url, token: Option<&[u8]>) -> Nudge {
    let body = json!({
        "schema": "windlass.dev/nudge/v1",
        "commit": { "repository": commit.repository, "branch": commit.branch, "id": commit.id },
    });
    Nudge::new(address, &body, FLUX_SIGNATURE, token)
}

/// To Argo CD's API server, as GitHub would tell of a push (Argo CD 3, `util/webhook`): it finds applications by
/// `html_url` and `ref`, leaves those alone whose paths have none of the files, and moves their cached manifests from
/// `before` to `after`. The default branch is not known, so that an application that follows `HEAD` is refreshed too.
pub(crate) fn argocd(commit: &CommitNotice, mut address: Url, token: Option<&[u8]>) -> Nudge {
    if address.path() == "/" {
        address.set_path(ARGOCD_PATH);
    }
    let repository = commit.repository.trim_end_matches('/');
    let page = repository.strip_suffix(".git").unwrap_or(repository);
    let name = page.rsplit('/').next().unwrap_or_default();
    let files = json!({ "id": commit.id, "added": [], "modified": commit.files, "removed": [] });
    let body = json!({
        "ref": format!("refs/heads/{}", commit.branch),
        "before": commit.parent.as_deref().unwrap_or_default(),
        "after": commit.id,
        "repository": {
            "name": name, "html_url": page, "clone_url": commit.repository, "default_branch": commit.branch,
        },
        "commits": [files],
    });
    let mut nudge = Nudge::new(address, &body, GITHUB_SIGNATURE, token);
    nudge.headers.insert(GITHUB_EVENT, HeaderValue::from_static("push"));
    nudge
}

/// `sha256=<hex>` of HMAC(token, body).
fn signed(token: &[u8], body: &[u8]) -> HeaderValue {
    let mut mac = Hmac::<Sha256>::new_from_slice(token).expect("HMAC takes a key of any length");
    mac.update(body);
    let text = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    HeaderValue::try_from(text).expect("hexadecimal digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit() -> CommitNotice {
        CommitNotice {
            repository: "https://git.example/acme/fleet.git".into(),
            branch: "main".into(),
            id: "c1".into(),
            url: None,
            parent: Some("c0".into()),
            files: vec!["apps/app.yaml".into()],
            changes: Vec::new(),
        }
    }

    fn body(nudge: &Nudge) -> serde_json::Value {
        serde_json::from_slice(&nudge.body).unwrap()
    }

    #[test]
    fn the_signature_is_the_one_of_rfc_4231() {
        let signature = signed(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(signature, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn argo_cd_gets_a_push_as_github_tells_it() {
        let nudge = argocd(&commit(), "https://argocd.example".parse().unwrap(), Some(b"t"));
        assert_eq!(nudge.address.as_str(), "https://argocd.example/api/webhook");
        assert_eq!(nudge.headers[GITHUB_EVENT], "push");
        assert_eq!(nudge.headers[GITHUB_SIGNATURE], signed(b"t", &nudge.body));
        assert_eq!(
            body(&nudge),
            json!({
                "ref": "refs/heads/main", "before": "c0", "after": "c1",
                "repository": {
                    "name": "fleet", "html_url": "https://git.example/acme/fleet",
                    "clone_url": "https://git.example/acme/fleet.git", "default_branch": "main",
                },
                "commits": [{ "id": "c1", "added": [], "modified": ["apps/app.yaml"], "removed": [] }],
            })
        );
        let stated = argocd(&commit(), "https://x.example/argo/api/webhook".parse().unwrap(), None);
        assert_eq!(stated.address.as_str(), "https://x.example/argo/api/webhook");
        assert!(!stated.headers.contains_key(GITHUB_SIGNATURE));
    }

    #[test]
    fn flux_gets_the_commit_signed_where_there_is_a_token() {
        let address: Url = "https://flux.example/hook/abc".parse().unwrap();
        let plain = flux(&commit(), address.clone(), None);
        assert!(!plain.headers.contains_key(FLUX_SIGNATURE));
        assert_eq!(body(&plain)["commit"]["id"], "c1");
        let with_token = flux(&commit(), address.clone(), Some(b"t"));
        assert_eq!((&with_token.address, &with_token.body), (&address, &plain.body));
        assert_eq!(with_token.headers[FLUX_SIGNATURE], signed(b"t", &plain.body));
    }
}
