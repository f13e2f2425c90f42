//! JWS envelopes (Notary Project, "JWS Signature Envelope"). Owns their form: what is critical is understood, or the
//! envelope is refused; what an envelope says about its own key is never believed.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::Deserialize;

use super::chain::Chain;
use super::{NotationRefused, Target};
use crate::attest::shown;
use crate::bounds;

const CONTENT_TYPE: &str = "application/vnd.cncf.notary.payload.v1+json";
const SCHEME: &str = "io.cncf.notary.signingScheme";
const AUTHENTIC_TIME: &str = "io.cncf.notary.authenticSigningTime";
const EXPIRY: &str = "io.cncf.notary.expiry";

/// The top level has no other fields, as the specification says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    payload: String,
    protected: String,
    header: Unprotected,
    signature: String,
}

/// Whatever else stands here is not signed, and says nothing.
#[derive(Deserialize)]
struct Unprotected {
    x5c: Vec<String>,
}

#[derive(Deserialize)]
struct Protected {
    alg: String,
    cty: String,
    crit: Vec<String>,
    #[serde(rename = "io.cncf.notary.signingScheme")]
    scheme: String,
    #[serde(rename = "io.cncf.notary.signingTime")]
    signing_time: Option<Timestamp>,
    #[serde(rename = "io.cncf.notary.authenticSigningTime")]
    authentic_time: Option<Timestamp>,
    #[serde(rename = "io.cncf.notary.expiry")]
    expiry: Option<Timestamp>,
    #[serde(rename = "io.cncf.notary.verificationPlugin")]
    plugin: Option<serde_json::Value>,
    #[serde(rename = "io.cncf.notary.verificationPluginMinVersion")]
    plugin_version: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "targetArtifact")]
    target: Descriptor,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: String,
    size: u64,
}

/// Who vouches for the time of the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `notary.x509`: nobody.
    X509,
    /// `notary.x509.signingAuthority`: the authority that signed, at this time.
    SigningAuthority(Timestamp),
}

impl Scheme {
    /// The type of the trust stores that hold its roots.
    pub(super) fn store(self) -> &'static str {
        match self {
            Self::X509 => "ca",
            Self::SigningAuthority(_) => "signingAuthority",
        }
    }
}

/// An envelope whose signature is by its own leaf certificate, over this payload.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) chain: Chain,
    pub(super) scheme: Scheme,
    pub(super) expiry: Option<Timestamp>,
    payload: Vec<u8>,
}

impl Envelope {
    /// Reads an envelope and verifies that it is whole.
    pub(super) fn open(json: &[u8]) -> Result<Self, NotationRefused> {
        if json.len() > bounds::BUNDLE_BYTES {
            return Err(NotationRefused::TooLarge);
        }
        let written: Written = parsed("envelope", json)?;
        let header = decoded("protected", &written.protected)?;
        let header: Protected = parsed("protected header", &header)?;
        if header.plugin.is_some() || header.plugin_version.is_some() {
            return Err(NotationRefused::Plugin);
        }
        let scheme = header.check()?;
        let (payload, signature) =
            (decoded("payload", &written.payload)?, decoded("signature", &written.signature)?);
        if written.header.x5c.len() > bounds::CERTIFICATES {
            return Err(super::ChainError::Count(written.header.x5c.len()).into());
        }
        let decode = |text: &String| STANDARD.decode(text).map_err(|_| NotationRefused::Encoding("x5c"));
        let ders: Vec<Vec<u8>> = written.header.x5c.iter().map(decode).collect::<Result<_, _>>()?;
        let chain = Chain::read(&ders)?;
        let message = format!("{}.{}", written.protected, written.payload);
        let key = chain.leaf().key().ok_or(NotationRefused::Signature)?;
        if key.envelope_algorithm() != Some(header.alg.as_str()) {
            return Err(NotationRefused::Algorithm(shown(&header.alg)));
        }
        if !key.signed_envelope(message.as_bytes(), &signature) {
            return Err(NotationRefused::Signature);
        }
        Ok(Self { chain, scheme, expiry: header.expiry, payload })
    }

    /// Whether the payload is about this artifact.
    pub(super) fn check_target(&self, target: Target<'_>) -> Result<(), NotationRefused> {
        let Payload { target: Descriptor { media_type, digest, size } } = parsed("payload", &self.payload)?;
        if digest == target.digest && size == target.size && media_type == target.media_type {
            return Ok(());
        }
        Err(NotationRefused::Artifact { digest: shown(&digest) })
    }
}

impl Protected {
    fn check(&self) -> Result<Scheme, NotationRefused> {
        if self.cty != CONTENT_TYPE {
            return Err(NotationRefused::Header { field: "cty", found: shown(&self.cty) });
        }
        let mut wanted = vec![SCHEME];
        wanted.extend(self.authentic_time.map(|_| AUTHENTIC_TIME));
        wanted.extend(self.expiry.map(|_| EXPIRY));
        let unknown = self.crit.iter().find(|name| !wanted.contains(&name.as_str()));
        if let Some(name) = unknown {
            return Err(NotationRefused::Critical(shown(name)));
        }
        // Each that is there is critical, and is named once.
        if wanted.len() != self.crit.len()
            || !wanted.iter().all(|name| self.crit.iter().any(|found| found == name))
        {
            return Err(NotationRefused::NotCritical);
        }
        match (self.scheme.as_str(), self.signing_time, self.authentic_time) {
            ("notary.x509", Some(_), None) => Ok(Scheme::X509),
            ("notary.x509.signingAuthority", None, Some(time)) => Ok(Scheme::SigningAuthority(time)),
            ("notary.x509" | "notary.x509.signingAuthority", _, _) => Err(NotationRefused::SigningTime),
            (other, _, _) => Err(NotationRefused::Header { field: SCHEME, found: shown(other) }),
        }
    }
}

fn parsed<'a, T: Deserialize<'a>>(what: &'static str, json: &'a [u8]) -> Result<T, NotationRefused> {
    // A list of the fields' values would be read as well.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(NotationRefused::Malformed { what, why: "it is not an object".to_owned() });
    }
    // What is skipped would be skipped whatever its bytes are.
    let text = std::str::from_utf8(json)
        .map_err(|_| NotationRefused::Malformed { what, why: "it is not UTF-8".to_owned() })?;
    serde_json::from_str(text)
        .map_err(|error| NotationRefused::Malformed { what, why: shown(&error.to_string()) })
}

fn decoded(what: &'static str, text: &str) -> Result<Vec<u8>, NotationRefused> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| NotationRefused::Encoding(what))
}
