//! A TUF repository with keys of its own, and a mirror of it on loopback. It publishes what a test states, also what no
//! honest publisher would.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::http_server::{Backend, Body, HttpServer, full, plain};
use crate::traffic::{RequestHead, Traffic, lock};

/// Long after everything that is made here.
const FAR_AWAY: &str = "2040-01-01T00:00:00Z";
/// The target that is the trust root.
const TARGET: &str = "trusted_root.json";
/// Both keys of the role `root` have to sign.
const ROOT_KEYS: usize = 2;

/// The files of a mirror, by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A key that signs metadata.
pub struct Key {
    pair: Ed25519KeyPair,
    id: String,
}

impl Key {
    fn new() -> Result<Arc<Self>> {
        let pair = Ed25519KeyPair::generate().context("making a key")?;
        let id = hex::encode(Sha256::digest(pair.public_key().as_ref()));
        Ok(Arc::new(Self { pair, id }))
    }
}

/// When each role's metadata expire, from the next publication on.
#[derive(Debug, Clone)]
pub struct Expiry {
    /// Of the role `root`.
    pub root: String,
    /// Of `timestamp`.
    pub timestamp: String,
    /// Of `snapshot`.
    pub snapshot: String,
    /// Of `targets`.
    pub targets: String,
}

/// What metadata are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// Of `timestamp`.
    pub timestamp: u64,
    /// Of `snapshot`.
    pub snapshot: u64,
    /// Of `targets`.
    pub targets: u64,
}

/// Who signs a new root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootSigners {
    /// The old keys and the new ones, as it must be.
    Both,
    /// The new keys alone.
    NewAlone,
    /// One of the old keys, and the new ones.
    TooFewOld,
}

/// A repository and its mirror.
pub struct TufRepository {
    /// When metadata expire, from the next publication on.
    pub expiry: Expiry,
    files: Arc<Mutex<Files>>,
    root: Vec<Arc<Key>>,
    online: Arc<Key>,
    root_version: u64,
    versions: Versions,
    first_root: String,
    traffic: Traffic,
    server: HttpServer,
}

impl TufRepository {
    /// Starts a mirror whose first publication has this trust root.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(trusted_root: &str) -> Result<Self> {
        let (files, traffic) = (Arc::<Mutex<Files>>::default(), Traffic::default());
        let mirror = Arc::new(Mirror(Arc::clone(&files)));
        let server = HttpServer::start(SocketAddr::from(([127, 0, 0, 1], 0)), traffic.clone(), mirror)?;
        let far_away = || FAR_AWAY.to_owned();
        let mut repository = Self {
            expiry: Expiry {
                root: far_away(),
                timestamp: far_away(),
                snapshot: far_away(),
                targets: far_away(),
            },
            files,
            root: keys()?,
            online: Key::new()?,
            root_version: 1,
            versions: Versions { timestamp: 0, snapshot: 0, targets: 0 },
            first_root: String::new(),
            traffic,
            server,
        };
        let root = repository.root.clone();
        let first = repository.sign_root(&root);
        repository.first_root = String::from_utf8(first.clone()).context("metadata are text")?;
        repository.put("1.root.json", first);
        repository.publish(trusted_root);
        Ok(repository)
    }

    /// The mirror's address.
    pub fn url(&self) -> String {
        format!("http://{}/", self.server.address())
    }

    /// The first root, which users are given.
    pub fn first_root(&self) -> &str {
        &self.first_root
    }

    /// What is asked, and how it is steered.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The versions of the last publication.
    pub fn versions(&self) -> Versions {
        self.versions
    }

    /// Publishes another trust root, with the next versions.
    pub fn publish(&mut self, trusted_root: &str) {
        let Versions { timestamp, snapshot, targets } = self.versions;
        let next = Versions { timestamp: timestamp + 1, snapshot: snapshot + 1, targets: targets + 1 };
        self.publish_as(trusted_root, next);
    }

    /// The same, with these versions.
    pub fn publish_as(&mut self, trusted_root: &str, versions: Versions) {
        let Versions { timestamp, snapshot, targets } = versions;
        self.versions = versions;
        self.put(&target_path(trusted_root), trusted_root.as_bytes().to_vec());
        let hash = hex::encode(Sha256::digest(trusted_root));
        let target = json!({TARGET: {"length": trusted_root.len(), "hashes": {"sha256": hash}}});
        let body = json!({"targets": target});
        let (expiry, online) = (self.expiry.clone(), vec![Arc::clone(&self.online)]);
        self.put(
            &format!("{targets}.targets.json"),
            metadata("targets", targets, &expiry.targets, body, &online),
        );
        let body = json!({"meta": {"targets.json": {"version": targets}}});
        self.put(
            &format!("{snapshot}.snapshot.json"),
            metadata("snapshot", snapshot, &expiry.snapshot, body, &online),
        );
        let body = json!({"meta": {"snapshot.json": {"version": snapshot}}});
        self.put("timestamp.json", metadata("timestamp", timestamp, &expiry.timestamp, body, &online));
    }

    /// Replaces all keys of the role `root`, and the one that signs everything else. Publish afterwards.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn rotate(&mut self, signers: RootSigners) -> Result<()> {
        let old = std::mem::replace(&mut self.root, keys()?);
        self.online = Key::new()?;
        self.root_version += 1;
        let old = match signers {
            RootSigners::Both => &old[..],
            RootSigners::TooFewOld => &old[..1],
            RootSigners::NewAlone => &[],
        };
        let all: Vec<_> = old.iter().chain(&self.root).cloned().collect();
        let root = self.sign_root(&all);
        self.put(&format!("{}.root.json", self.root_version), root);
        Ok(())
    }

    /// Everything that the mirror has.
    pub fn files(&self) -> Files {
        lock(&self.files).clone()
    }

    /// Lets the mirror have these files and no others.
    pub fn set_files(&self, files: Files) {
        *lock(&self.files) = files;
    }

    /// Puts a file on the mirror.
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        lock(&self.files).insert(path.to_owned(), bytes);
    }

    fn sign_root(&self, signers: &[Arc<Key>]) -> Vec<u8> {
        let key = |key: &Arc<Key>| {
            let public = hex::encode(key.pair.public_key().as_ref());
            let value = json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}});
            (key.id.clone(), value)
        };
        let online = [Arc::clone(&self.online)];
        let all: serde_json::Map<String, Value> = self.root.iter().chain(&online).map(key).collect();
        let role = |keys: &[Arc<Key>]| {
            let ids: Vec<&String> = keys.iter().map(|key| &key.id).collect();
            json!({"keyids": ids, "threshold": keys.len()})
        };
        let body = json!({
            "consistent_snapshot": true,
            "keys": all,
            "roles": {
                "root": role(&self.root),
                "timestamp": role(&online), "snapshot": role(&online), "targets": role(&online),
            },
        });
        metadata("root", self.root_version, &self.expiry.root, body, signers)
    }
}

/// Where a mirror has a trust root.
pub fn target_path(trusted_root: &str) -> String {
    format!("targets/{}.{TARGET}", hex::encode(Sha256::digest(trusted_root)))
}

fn keys() -> Result<Vec<Arc<Key>>> {
    (0..ROOT_KEYS).map(|_| Key::new()).collect()
}

/// A role's metadata, signed by these keys.
fn metadata(role: &str, version: u64, expires: &str, mut body: Value, signers: &[Arc<Key>]) -> Vec<u8> {
    body["_type"] = role.into();
    body["spec_version"] = "1.0.31".into();
    body["version"] = version.into();
    body["expires"] = expires.into();
    let mut signed = String::new();
    canonical(&body, &mut signed);
    let signature = |key: &Arc<Key>| json!({"keyid": key.id, "sig": hex::encode(key.pair.sign(signed.as_bytes()).as_ref())});
    let signatures: Vec<Value> = signers.iter().map(signature).collect();
    json!({"signed": body, "signatures": signatures}).to_string().into_bytes()
}

/// What is signed: sorted and without spaces. No text here has a character that would have to be escaped.
fn canonical(value: &Value, into: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort();
            into.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                into.push_str(if index == 0 { "\"" } else { ",\"" });
                into.push_str(key);
                into.push_str("\":");
                canonical(&fields[key], into);
            }
            into.push('}');
        }
        Value::Array(items) => {
            into.push('[');
            for (index, item) in items.iter().enumerate() {
                into.push_str(if index == 0 { "" } else { "," });
                canonical(item, into);
            }
            into.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            into.push_str(&value.to_string());
        }
    }
}

struct Mirror(Arc<Mutex<Files>>);

impl Backend for Mirror {
    async fn respond(&self, head: &RequestHead, _: Incoming) -> Response<Body> {
        let file = lock(&self.0).get(head.path.trim_start_matches('/')).cloned();
        match file {
            Some(bytes) => Response::new(full(bytes)),
            None => plain(StatusCode::NOT_FOUND, "there is no such file"),
        }
    }
}
