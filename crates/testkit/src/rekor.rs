//! A transparency log like Sigstore's Rekor, in both of its versions: what cosign posts is entered, proven and signed
//! as the real one does. It believes what it is sent: signatures are not verified, for that is the reader's part.

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::ca::{key, key_id, since_1970};
use crate::http_server::{Backend, Body, HttpServer, plain};
use crate::merkle::{self, Hash};
use crate::port;
use crate::traffic::{RequestHead, Traffic, lock};

/// The name under which it signs checkpoints, and the host of its URL in a trust root.
pub const ORIGIN: &str = "rekor.test";
/// The number of its tree; only version 1 knows it.
const TREE: u64 = 1_193_050_959_916_656_506;
/// A request's path in version 1 and in version 2.
const ENTRIES: &str = "/api/v1/log/entries";
const ENTRIES_2: &str = "/api/v2/log/entries";

/// A running log.
pub struct Rekor {
    server: HttpServer,
    traffic: Traffic,
    log: Arc<Log>,
}

impl Rekor {
    /// Starts an empty one on a free port.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn start() -> Result<Self> {
        let log = Arc::new(Log { key: key()?, leaves: Mutex::default() });
        let traffic = Traffic::default();
        let server = HttpServer::start(port::free()?, traffic.clone(), Arc::clone(&log))?;
        Ok(Self { server, traffic, log })
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// What was asked.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Its public key, as DER.
    pub fn public_key(&self) -> Vec<u8> {
        self.log.key.subject_public_key_info()
    }

    /// How many entries it has.
    pub fn entries(&self) -> usize {
        lock(&self.log.leaves).len()
    }
}

struct Log {
    key: KeyPair,
    leaves: Mutex<Vec<Hash>>,
}

/// An entry with its place.
struct Entered {
    index: usize,
    leaf: Hash,
    size: usize,
    root: Hash,
    path: Vec<Hash>,
}

impl Backend for Log {
    async fn respond(&self, head: &RequestHead, body: Incoming) -> Response<Body> {
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return plain(StatusCode::BAD_REQUEST, error.to_string()),
        };
        let answer = match (&head.method, head.path.as_str()) {
            (&Method::POST, ENTRIES) => self.enter(&body),
            (&Method::POST, ENTRIES_2) => self.enter_2(&body),
            (&Method::GET, "/api/v1/log/publicKey") => {
                return plain(StatusCode::OK, crate::ca::public_key_pem(&self.key.subject_public_key_info()));
            }
            _ => return plain(StatusCode::NOT_FOUND, "no such page"),
        };
        answer.unwrap_or_else(|error| plain(StatusCode::BAD_REQUEST, format!("{error:#}")))
    }
}

impl Log {
    /// Version 1: `hashedrekord` and `dsse` entries.
    fn enter(&self, request: &[u8]) -> Result<Response<Body>> {
        let proposed: Value = serde_json::from_slice(request).context("an entry is JSON")?;
        let spec = match proposed["kind"].as_str() {
            Some("hashedrekord") => proposed["spec"].clone(),
            Some("dsse") => dsse(&proposed["spec"]["proposedContent"])?,
            kind => bail!("entries of kind {kind:?} are not taken"),
        };
        let body = canonical(&json!({"apiVersion": "0.0.1", "kind": proposed["kind"], "spec": spec}));
        let entered = self.append(body.as_bytes());
        let (body, time) = (STANDARD.encode(&body), since_1970().as_secs());
        let id = hex::encode(key_id(&self.key));
        let promised =
            canonical(&json!({"body": body, "integratedTime": time, "logID": id, "logIndex": entered.index}));
        let promise = self.sign(promised.as_bytes())?;
        let proof = json!({
            "checkpoint": self.checkpoint(&format!("{ORIGIN} - {TREE}"), &entered)?,
            "hashes": entered.path.iter().map(hex::encode).collect::<Vec<_>>(),
            "logIndex": entered.index,
            "rootHash": hex::encode(entered.root),
            "treeSize": entered.size,
        });
        let entry = json!({
            "body": body,
            "integratedTime": time,
            "logID": id,
            "logIndex": entered.index,
            "verification": {"inclusionProof": proof, "signedEntryTimestamp": STANDARD.encode(promise)},
        });
        let name = format!("{TREE:016x}{}", hex::encode(entered.leaf));
        let mut response = created(&json!({ &name: entry }));
        let headers = response.headers_mut();
        headers.insert("location", HeaderValue::from_str(&format!("{ENTRIES}/{name}"))?);
        headers.insert("etag", HeaderValue::from_str(&name)?);
        Ok(response)
    }

    /// Version 2: `hashedrekord` alone. Entries have no time.
    fn enter_2(&self, request: &[u8]) -> Result<Response<Body>> {
        let request: Value = serde_json::from_slice(request).context("an entry is JSON")?;
        let wanted = &request["hashedRekordRequestV002"];
        let details = &wanted["signature"]["verifier"]["keyDetails"];
        let algorithm = match details.as_str() {
            Some("PKIX_ECDSA_P384_SHA_384") => "SHA2_384",
            _ => "SHA2_256",
        };
        let spec = json!({"hashedRekordV002": {
            "data": {"algorithm": algorithm, "digest": wanted["digest"]},
            "signature": wanted["signature"],
        }});
        let body = canonical(&json!({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": spec}));
        let entered = self.append(body.as_bytes());
        Ok(created(&json!({
            "logIndex": entered.index.to_string(),
            "logId": {"keyId": STANDARD.encode(key_id(&self.key))},
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
            "inclusionProof": {
                "logIndex": entered.index.to_string(),
                "rootHash": STANDARD.encode(entered.root),
                "treeSize": entered.size.to_string(),
                "hashes": entered.path.iter().map(|hash| STANDARD.encode(hash)).collect::<Vec<_>>(),
                "checkpoint": {"envelope": self.checkpoint(ORIGIN, &entered)?},
            },
            "canonicalizedBody": STANDARD.encode(&body),
        })))
    }

    fn append(&self, body: &[u8]) -> Entered {
        let leaf = merkle::leaf(body);
        let mut leaves = lock(&self.leaves);
        leaves.push(leaf);
        let (size, index) = (leaves.len(), leaves.len() - 1);
        Entered { index, leaf, size, root: merkle::root(&leaves), path: merkle::path(&leaves, index) }
    }

    /// A signed note (C2SP, tlog-checkpoint and signed-note). The key's hint is that of Rekor's ECDSA keys.
    fn checkpoint(&self, origin: &str, entered: &Entered) -> Result<String> {
        let text = format!("{origin}\n{}\n{}\n", entered.size, STANDARD.encode(entered.root));
        let mut signature = key_id(&self.key)[..4].to_vec();
        signature.extend(self.sign(text.as_bytes())?);
        Ok(format!("{text}\n\u{2014} {ORIGIN} {}\n", STANDARD.encode(signature)))
    }

    fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        self.key.sign(bytes).context("signing for the log")
    }
}

/// What version 1 keeps of a DSSE envelope: hashes and signatures.
fn dsse(proposed: &Value) -> Result<Value> {
    let text = proposed["envelope"].as_str().context("a dsse entry has an envelope")?;
    let envelope: Value = serde_json::from_str(text).context("an envelope is JSON")?;
    let payload = envelope["payload"].as_str().context("an envelope has a payload")?;
    let payload = STANDARD.decode(payload).context("a payload is in base64")?;
    let signatures = envelope["signatures"].as_array().context("an envelope has signatures")?;
    let verifiers = proposed["verifiers"].as_array().context("a dsse entry has verifiers")?;
    let signatures: Vec<Value> = signatures
        .iter()
        .zip(verifiers)
        .map(|(signature, verifier)| json!({"signature": signature["sig"], "verifier": verifier}))
        .collect();
    let hash = |bytes: &[u8]| json!({"algorithm": "sha256", "value": hex::encode(Sha256::digest(bytes))});
    Ok(json!({
        "envelopeHash": hash(text.as_bytes()),
        "payloadHash": hash(&payload),
        "signatures": signatures,
    }))
}

fn created(value: &Value) -> Response<Body> {
    let mut response = plain(StatusCode::CREATED, value.to_string());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

/// JSON with sorted names and no spaces (RFC 8785, as far as texts and whole numbers go).
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            let fields: Vec<String> = names
                .into_iter()
                .map(|name| format!("{}:{}", json!(name), canonical(&fields[name])))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        scalar => scalar.to_string(),
    }
}
