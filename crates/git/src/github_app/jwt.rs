//! The app's signed token (RFC 7519, RS256): what proves to GitHub's API that a request is the app's.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;
use zeroize::Zeroizing;

use super::error::GitHubAppError;

const KEY: &str = "githubAppPrivateKey";
/// GitHub's advice: a clock that is a little ahead of its own is no reason to refuse.
const BACKDATED: i64 = 60;
/// GitHub refuses a token that is valid for more than 10 minutes.
const LIFETIME: i64 = 600;

/// The app's key.
pub(super) struct Signer {
    app_id: String,
    key: KeyPair,
}

#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

impl Signer {
    pub(super) fn new(app_id: String, pem: &[u8]) -> Result<Self, GitHubAppError> {
        let refuse = |why| GitHubAppError::Setting { key: KEY, why };
        let der = PrivateKeyDer::from_pem_slice(pem)
            .map_err(|_| refuse("it is not PEM with a private key that has no passphrase"))?;
        let key = match &der {
            PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()),
            _ => return Err(refuse("it is not an RSA key")),
        };
        let key = key.map_err(|_| refuse("it is not an RSA key without a passphrase"))?;
        Ok(Self { app_id, key })
    }

    /// A token for the next minutes.
    pub(super) fn token(&self, now: Timestamp) -> Result<Zeroizing<String>, GitHubAppError> {
        let iat = now.as_second() - BACKDATED;
        let claims = Claims { iat, exp: iat + LIFETIME, iss: &self.app_id };
        let claims = serde_json::to_vec(&claims).map_err(|_| GitHubAppError::Signature)?;
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!("{}.{}", encode(br#"{"alg":"RS256","typ":"JWT"}"#), encode(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| GitHubAppError::Signature)?;
        Ok(Zeroizing::new(format!("{signed}.{}", encode(&signature))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_cannot_sign_is_refused_by_name_and_never_repeated() {
        let elliptic = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let cut = "-----BEGIN RSA PRIVATE KEY-----\naHVudGVyMg==\n-----END RSA PRIVATE KEY-----\n";
        for (pem, why) in [
            ("hunter2", "not PEM"),
            (cut, "not an RSA key"),
            (elliptic.as_str(), "not an RSA key"),
            ("-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n", "not PEM"),
        ] {
            let error = Signer::new("1".into(), pem.as_bytes()).err().unwrap();
            let text = format!("{error} {error:?}");
            assert!(text.contains(KEY) && text.contains(why), "{text}");
            assert!(!text.contains("hunter2") && !text.contains("aHVudGVy"), "{text}");
        }
    }
}
