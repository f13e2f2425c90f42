//! A certificate authority like Sigstore's Fulcio, and the certificate transparency log that its certificates name.
//!
//! Keys are ECDSA on P-256 and live in memory. Certificates are made for the machine's clock, because the programs that
//! check them have no other.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SignatureAlgorithm, SigningKey as _,
};
use sha2::{Digest as _, Sha256};

/// How long a signer's certificate is valid; Fulcio's are for ten minutes too.
pub const VALIDITY: Duration = Duration::from_mins(10);
/// Long before and after any test.
const YEAR: Duration = Duration::from_hours(365 * 24);
/// Clocks of one machine agree, but certificates count whole seconds.
const SLACK: Duration = Duration::from_secs(5);

/// Fulcio's extensions that state the identity provider: text as it is, and text in DER.
const ISSUER_V1: [u64; 9] = [1, 3, 6, 1, 4, 1, 57264, 1, 1];
const ISSUER_V2: [u64; 9] = [1, 3, 6, 1, 4, 1, 57264, 1, 8];
/// The list of signed certificate timestamps (RFC 6962, section 3.3).
const TIMESTAMP_LIST: [u64; 10] = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
const EXTENDED_KEY_USAGE: [u64; 4] = [2, 5, 29, 37];
/// `id-kp-timeStamping` alone (RFC 3161, section 2.3), as the extension's DER.
const TIME_STAMPING: [u8; 12] = [0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];
/// What precedes the 65 bytes of an uncompressed point in the DER of a public key on P-256 (RFC 5480).
const P256_HEAD: usize = 26;
const P256_POINT: usize = 65;
const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const UTF8_STRING: u8 = 0x0c;

/// A key on P-256.
pub(crate) fn key() -> Result<KeyPair> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("making a key")
}

/// SHA-256 of the key's DER: the id of a log.
pub(crate) fn key_id(key: &KeyPair) -> [u8; 32] {
    Sha256::digest(key.subject_public_key_info()).into()
}

/// Time since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "real programs check what is made here, and they go by the machine's clock"
)]
pub(crate) fn since_1970() -> Duration {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Whom a certificate is for, and how it departs from a right one.
#[derive(Debug, Clone)]
pub struct Subject {
    /// An e-mail address, or a URI.
    pub name: String,
    /// The identity provider.
    pub issuer: String,
    /// How long ago the certificate's time began. More than [`VALIDITY`] makes an expired one.
    pub age: Duration,
    /// Whether the certificate transparency log has it.
    pub logged: bool,
}

impl Subject {
    /// A right one.
    pub fn new(name: impl Into<String>, issuer: impl Into<String>) -> Self {
        Self { name: name.into(), issuer: issuer.into(), age: Duration::ZERO, logged: true }
    }
}

/// A root, an intermediate that issues, and a certificate transparency log.
pub struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
    log: KeyPair,
}

impl Authority {
    /// A new one; no two have a key in common.
    ///
    /// # Errors
    /// When keys or certificates cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        Self::with_intermediate(name, 2 * YEAR)
    }

    /// One whose intermediate expired an hour ago, and goes on issuing.
    ///
    /// # Errors
    /// When keys or certificates cannot be made.
    pub fn expired(name: &str) -> Result<Self> {
        Self::with_intermediate(name, YEAR.saturating_sub(Duration::from_hours(1)))
    }

    /// The intermediate's time began a year ago.
    fn with_intermediate(name: &str, span: Duration) -> Result<Self> {
        let root = CertifiedIssuer::self_signed(authority(&format!("{name} root"), None), key()?)
            .context("making a root certificate")?;
        let params = authority(&format!("{name} intermediate"), Some(ExtendedKeyUsagePurpose::CodeSigning));
        let params = valid(params, since_1970().saturating_sub(YEAR), span);
        let intermediate = CertifiedIssuer::signed_by(params, key()?, &root)
            .context("making an intermediate certificate")?;
        Ok(Self { root, intermediate, log: key()? })
    }

    /// The intermediate's and the root's certificate, as DER.
    pub fn chain(&self) -> [Vec<u8>; 2] {
        [self.intermediate.der().to_vec(), self.root.der().to_vec()]
    }

    /// The same as PEM, in one text.
    pub fn chain_pem(&self) -> String {
        self.intermediate.pem() + &self.root.pem()
    }

    /// The public key of the certificate transparency log, as DER.
    pub fn log_key(&self) -> Vec<u8> {
        self.log.subject_public_key_info()
    }

    /// A certificate for the holder of a key (DER, on P-256), as DER.
    ///
    /// # Errors
    /// When the key is of another kind.
    pub fn certify(&self, public_key: &[u8], subject: &Subject) -> Result<Vec<u8>> {
        let key = P256::from_der(public_key)?;
        let mut params = leaf(subject)?;
        let issue = |params: &CertificateParams| -> Result<Vec<u8>> {
            let issued = params.signed_by(&key, &self.intermediate).context("issuing a certificate")?;
            Ok(issued.der().to_vec())
        };
        if subject.logged {
            // The log signs the certificate without the extension that then holds its signature.
            let list = self.timestamps(to_be_signed(&issue(&params)?)?)?;
            params.custom_extensions.push(CustomExtension::from_oid_content(&TIMESTAMP_LIST, list));
        }
        issue(&params)
    }

    /// The same for a key in PEM.
    ///
    /// # Errors
    /// When the key is of another kind.
    pub fn certify_pem(&self, public_key: &str, subject: &Subject) -> Result<Vec<u8>> {
        self.certify(&unarmored(public_key)?, subject)
    }

    /// The list with the log's one timestamp (RFC 6962, sections 3.2 and 3.3).
    fn timestamps(&self, certificate: &[u8]) -> Result<Vec<u8>> {
        let time =
            u64::try_from(since_1970().as_millis()).context("a clock far in the future")?.to_be_bytes();
        // Version 1 of a certificate timestamp, for a precertificate.
        let mut signed = vec![0, 0];
        signed.extend(time);
        signed.extend([0, 1]);
        signed.extend(key_id(self.intermediate.key()));
        let length = u32::try_from(certificate.len()).context("an enormous certificate")?.to_be_bytes();
        signed.extend(&length[1..]);
        signed.extend(certificate);
        signed.extend([0, 0]);
        let signature = self.log.sign(&signed).context("signing a certificate timestamp")?;

        let mut timestamp = vec![0];
        timestamp.extend(key_id(&self.log));
        timestamp.extend(time);
        // No extensions; SHA-256 with ECDSA.
        timestamp.extend([0, 0, 4, 3]);
        prefix_with_length(&mut timestamp, &signature)?;
        let mut entry = Vec::new();
        prefix_with_length(&mut entry, &timestamp)?;
        let mut list = Vec::new();
        prefix_with_length(&mut list, &entry)?;
        Ok(der(OCTET_STRING, &list))
    }
}

/// A root and a certificate for signing timestamps: as PEM, leaf first; and the leaf's key as PEM.
pub(crate) fn timestamping(name: &str) -> Result<(Vec<String>, KeyPair, Vec<Vec<u8>>)> {
    let root = CertifiedIssuer::self_signed(authority(&format!("{name} root"), None), key()?)
        .context("making a root certificate")?;
    let signer = key()?;
    let mut params = valid(CertificateParams::default(), since_1970().saturating_sub(YEAR), 2 * YEAR);
    params.distinguished_name = named(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let mut usage = CustomExtension::from_oid_content(&EXTENDED_KEY_USAGE, TIME_STAMPING.to_vec());
    usage.set_criticality(true);
    params.custom_extensions.push(usage);
    let leaf = params.signed_by(&signer, &root).context("issuing a certificate")?;
    let chain = vec![leaf.der().to_vec(), root.der().to_vec()];
    Ok((vec![leaf.pem(), root.pem()], signer, chain))
}

fn authority(name: &str, usage: Option<ExtendedKeyUsagePurpose>) -> CertificateParams {
    let mut params = valid(CertificateParams::default(), since_1970().saturating_sub(YEAR), 2 * YEAR);
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(match usage {
        Some(_) => BasicConstraints::Constrained(0),
        None => BasicConstraints::Unconstrained,
    });
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = usage.into_iter().collect();
    params.use_authority_key_identifier_extension = true;
    params
}

fn leaf(subject: &Subject) -> Result<CertificateParams> {
    let begin = since_1970().saturating_sub(subject.age + SLACK);
    let mut params = valid(CertificateParams::default(), begin, VALIDITY + SLACK);
    params.distinguished_name = DistinguishedName::new();
    let name = subject.name.as_str().try_into().context("a subject that is not ASCII")?;
    params.subject_alt_names =
        vec![if subject.name.contains("://") { SanType::URI(name) } else { SanType::Rfc822Name(name) }];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    params.use_authority_key_identifier_extension = true;
    params.is_ca = IsCa::ExplicitNoCa;
    let issuer = subject.issuer.as_bytes();
    params.custom_extensions = vec![
        CustomExtension::from_oid_content(&ISSUER_V1, issuer.to_vec()),
        CustomExtension::from_oid_content(&ISSUER_V2, der(UTF8_STRING, issuer)),
    ];
    Ok(params)
}

fn valid(mut params: CertificateParams, begin: Duration, span: Duration) -> CertificateParams {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(begin.as_secs());
    params.not_after = params.not_before + span;
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::OrganizationName, "Windlass tests");
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// A public key whose private half somebody else holds.
struct P256(Vec<u8>);

impl P256 {
    fn from_der(der: &[u8]) -> Result<Self> {
        let known = key()?.subject_public_key_info();
        let is_p256 = der.len() == P256_HEAD + P256_POINT && der[..P256_HEAD] == known[..P256_HEAD];
        ensure!(is_p256, "a certificate is made for a key on P-256 alone");
        Ok(Self(der[P256_HEAD..].to_vec()))
    }
}

impl PublicKeyData for P256 {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// The part of a certificate that its issuer signed: the first element of the outer sequence, whole.
fn to_be_signed(certificate: &[u8]) -> Result<&[u8]> {
    let (head, _) = der_head(certificate).context("a certificate is a sequence")?;
    let inner = &certificate[head..];
    let (head, length) = der_head(inner).context("what is signed is a sequence")?;
    inner.get(..head + length).context("a certificate was cut off")
}

/// The lengths of a DER element's head and of its content.
fn der_head(bytes: &[u8]) -> Option<(usize, usize)> {
    let (tag, first) = (bytes.first()?, usize::from(*bytes.get(1)?));
    if *tag != SEQUENCE {
        return None;
    }
    if first < 0x80 {
        return Some((2, first));
    }
    let count = first - 0x80;
    let length = bytes.get(2..2 + count)?.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte));
    Some((2 + count, length))
}

/// One DER element.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut encoded = vec![tag];
    match content.len() {
        short @ 0..0x80 => encoded.push(u8::try_from(short).expect("below 128")),
        long => {
            let length = long.to_be_bytes();
            let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
            encoded.push(0x80 | u8::try_from(length.len()).expect("at most 8"));
            encoded.extend(length);
        }
    }
    encoded.extend(content);
    encoded
}

/// TLS's vectors: two bytes of length, then the bytes.
fn prefix_with_length(to: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    to.extend(u16::try_from(bytes.len()).context("a vector of more than 64 KiB")?.to_be_bytes());
    to.extend(bytes);
    Ok(())
}

/// A certificate as PEM.
pub fn pem(certificate: &[u8]) -> String {
    armor("CERTIFICATE", certificate)
}

/// A public key as PEM.
pub fn public_key_pem(key: &[u8]) -> String {
    armor("PUBLIC KEY", key)
}

/// The bytes of the only PEM in a text.
pub(crate) fn unarmored(pem: &str) -> Result<Vec<u8>> {
    let text: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    STANDARD.decode(text).context("a PEM holds base64")
}

fn armor(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut lines = vec![format!("-----BEGIN {label}-----")];
    // Base64 is ASCII, so that any cut is between characters.
    lines.extend(text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()));
    lines.push(format!("-----END {label}-----\n"));
    lines.join("\n")
}
