//! An operator of NATS servers, who vouches for accounts and their users by JWTs: claims in JSON, signed with nkeys
//! (the documentation of NATS, "JWT authentication"). Keys are made for each operator.

use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::ca::since_1970;

/// An operator with one account that may use JetStream, and the servers' own account.
pub struct Operator {
    key: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

impl Default for Operator {
    fn default() -> Self {
        Self { key: KeyPair::new_operator(), account: KeyPair::new_account(), system: KeyPair::new_account() }
    }
}

impl Operator {
    /// What a server's configuration needs, to know the accounts without asking anybody.
    ///
    /// # Errors
    /// When a key cannot sign.
    pub fn configuration(&self) -> Result<String> {
        let operator = json!({"type": "operator", "version": 2});
        let operator = token(&self.key, &self.key, "operator", None, &operator)?;
        let account = |key: &KeyPair, name| -> Result<String> {
            let mut limits = json!({
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
                "conn": -1, "leaf": -1,
            });
            if name == "account" {
                for storage in ["mem_storage", "disk_storage", "streams", "consumer"] {
                    limits[storage] = json!(-1);
                }
            }
            let claims =
                json!({"limits": limits, "default_permissions": {}, "type": "account", "version": 2});
            let token = token(&self.key, key, name, None, &claims)?;
            Ok(format!("{}: {token}", key.public_key()))
        };
        let (account, system) = (account(&self.account, "account")?, account(&self.system, "system")?);
        Ok(format!(
            "operator: {operator}\nresolver: MEMORY\nresolver_preload {{\n{account}\n{system}\n}}\n\
             system_account: {}\n",
            self.system.public_key()
        ))
    }

    /// The credentials file of a new user of the account, valid for ever.
    ///
    /// # Errors
    /// When a key cannot sign.
    pub fn credentials(&self) -> Result<String> {
        self.credentials_until(None)
    }

    /// The credentials file of a new user, whose time is over since a minute ago.
    ///
    /// # Errors
    /// When a key cannot sign.
    pub fn expired_credentials(&self) -> Result<String> {
        self.credentials_until(Some(since_1970().saturating_sub(Duration::from_mins(1))))
    }

    fn credentials_until(&self, end: Option<Duration>) -> Result<String> {
        let user = KeyPair::new_user();
        let claims = json!({
            "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2,
        });
        let token = token(&self.account, &user, "user", end, &claims)?;
        let seed = user.seed().context("reading a key's seed")?;
        Ok(format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        ))
    }
}

/// What one key says of another.
fn token(
    issuer: &KeyPair,
    subject: &KeyPair,
    name: &str,
    end: Option<Duration>,
    claims: &Value,
) -> Result<String> {
    let now = since_1970().as_secs();
    let mut body = json!({
        "jti": subject.public_key(), "iat": now.saturating_sub(3600), "iss": issuer.public_key(),
        "name": name, "sub": subject.public_key(), "nats": claims,
    });
    if let Some(end) = end {
        body["exp"] = json!(end.as_secs());
    }
    let head = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&head), encode(&body));
    let signature = issuer.sign(signed.as_bytes()).context("signing a token")?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
