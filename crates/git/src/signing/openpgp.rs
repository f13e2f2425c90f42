//! OpenPGP keys (RFC 9580; version 4 keys, which GnuPG makes and reads) by rPGP. It chooses which part of a key signs.

use jiff::{SignedDuration, Timestamp};
use pgp::composed::{ArmorOptions, Deserializable as _, DetachedSignature, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    SecretKey, SecretSubkey, Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData,
};
use pgp::types::{
    KeyDetails as _, KeyVersion, Password, S2kParams, SecretParams, SigningKey, StringToKey,
    Timestamp as PgpTime,
};

use super::{SigningError, SigningKeyError};

/// What may sign, the one to use first.
pub(super) struct Key(Vec<Part>);

/// The primary key or a subkey, opened.
struct Part {
    secret: Secret,
    created: Timestamp,
    expires: Option<Timestamp>,
}

enum Secret {
    Primary(SecretKey),
    Subkey(SecretSubkey),
}

impl Key {
    pub(super) fn open(armored: &[u8], passphrase: Option<&[u8]>) -> Result<Self, SigningKeyError> {
        let (keys, _) = SignedSecretKey::from_armor_many(armored).map_err(|_| SigningKeyError::NotOpenPgp)?;
        let keys: Vec<SignedSecretKey> =
            keys.collect::<Result<_, _>>().map_err(|_| SigningKeyError::NotOpenPgp)?;
        let count = keys.len();
        let Ok([key]) = <[SignedSecretKey; 1]>::try_from(keys) else {
            return Err(SigningKeyError::Entities(count));
        };
        let mut parts = candidates(key);
        if parts.is_empty() {
            return Err(SigningKeyError::NoSigningKey);
        }
        for part in &mut parts {
            part.secret.unlock(passphrase)?;
        }
        Ok(Self(parts))
    }

    pub(super) fn sign(&self, payload: &[u8], time: Timestamp) -> Result<String, SigningError> {
        let usable = |part: &&Part| part.expires.is_none_or(|expires| time < expires);
        let Some(part) = self.0.iter().find(usable) else {
            let last = self.0.iter().filter_map(|part| part.expires).max();
            return Err(SigningError::Expired(last.unwrap_or(time)));
        };
        let signature = match &part.secret {
            Secret::Primary(key) => sign(key, payload, time),
            Secret::Subkey(key) => sign(key, payload, time),
        };
        signature.map_err(|_| SigningError::Failed)
    }

    /// Of the part that signs first.
    pub(super) fn fingerprint(&self) -> String {
        match self.0.first().map(|part| &part.secret) {
            Some(Secret::Primary(key)) => key.fingerprint().to_string(),
            Some(Secret::Subkey(key)) => key.fingerprint().to_string(),
            None => String::new(),
        }
    }
}

impl Secret {
    fn unlock(&mut self, passphrase: Option<&[u8]>) -> Result<(), SigningKeyError> {
        let params = match self {
            Self::Primary(key) => key.secret_params(),
            Self::Subkey(key) => key.secret_params(),
        };
        if !params.is_encrypted() {
            return Ok(());
        }
        let passphrase = passphrase.filter(|text| !text.is_empty()).ok_or(SigningKeyError::Locked)?;
        let passphrase = Password::from(passphrase);
        let opened = match self {
            Self::Primary(key) => key.remove_password(&passphrase),
            Self::Subkey(key) => key.remove_password(&passphrase),
        };
        opened.map_err(|_| SigningKeyError::Passphrase)
    }
}

/// The parts that may sign, are not revoked, and whose secret is there: subkeys, the newest first, then the primary
/// key. GnuPG and go-crypto, which Flux uses, choose in this order too.
fn candidates(key: SignedSecretKey) -> Vec<Part> {
    let SignedSecretKey { primary_key, details, secret_subkeys, .. } = key;
    if !details.revocation_signatures.is_empty() || primary_key.version() != KeyVersion::V4 {
        return Vec::new();
    }
    let mut parts = Vec::new();
    for subkey in secret_subkeys {
        let revoked = |signature: &Signature| signature.typ() == Some(SignatureType::SubkeyRevocation);
        let Some(binding) = latest(&subkey.signatures) else { continue };
        let usable = subkey.key.algorithm().can_sign() && is_there(subkey.key.secret_params());
        if usable && may_sign(binding) == Some(true) && !subkey.signatures.iter().any(revoked) {
            let (created, expires) = life(subkey.key.created_at(), binding);
            parts.push(Part { secret: Secret::Subkey(subkey.key), created, expires });
        }
    }
    parts.sort_by_key(|part| std::cmp::Reverse(part.created));
    let own = |signature: &&Signature| signature.issuer_key_id().contains(&&primary_key.legacy_key_id());
    let of_users = details.users.iter().flat_map(|user| &user.signatures).filter(own);
    let signatures: Vec<&Signature> = of_users.chain(&details.direct_signatures).collect();
    let Some(binding) = latest(signatures) else { return parts };
    // Keys from before key flags were common state none, and may do what their algorithm can.
    let usable = primary_key.algorithm().can_sign() && is_there(primary_key.secret_params());
    let (created, expires) = life(primary_key.created_at(), binding);
    if let Some(end) = expires {
        // A subkey does not outlive its primary key.
        for part in &mut parts {
            part.expires = Some(part.expires.map_or(end, |own| own.min(end)));
        }
    }
    if usable && may_sign(binding).unwrap_or(true) {
        parts.push(Part { secret: Secret::Primary(primary_key), created, expires });
    }
    parts
}

fn latest<'s>(signatures: impl IntoIterator<Item = &'s Signature>) -> Option<&'s Signature> {
    signatures.into_iter().max_by_key(|signature| signature.created().map(PgpTime::as_secs))
}

/// What the key's flags say of signing; `None` where there are none.
fn may_sign(binding: &Signature) -> Option<bool> {
    let mut subpackets = binding.config()?.hashed_subpackets();
    let stated = subpackets.any(|subpacket| matches!(subpacket.data, SubpacketData::KeyFlags(_)));
    stated.then(|| binding.key_flags().sign())
}

/// GnuPG exports a stub where the secret is elsewhere: on a smart card, or left out by `--export-secret-subkeys`.
fn is_there(secret: &SecretParams) -> bool {
    let SecretParams::Encrypted(encrypted) = secret else { return true };
    match encrypted.string_to_key_params() {
        S2kParams::Cfb { s2k, .. } | S2kParams::MalleableCfb { s2k, .. } | S2kParams::Aead { s2k, .. } => {
            !matches!(s2k, StringToKey::Private { .. })
        }
        S2kParams::Unprotected | S2kParams::LegacyCfb { .. } => true,
    }
}

/// When a key was made and when it expires.
fn life(created: PgpTime, binding: &Signature) -> (Timestamp, Option<Timestamp>) {
    let created = Timestamp::from_second(i64::from(created.as_secs()))
        .expect("32 bits of seconds are a date before the year 2107");
    let lasts = binding.key_expiration_time().map(|lasts| i64::from(lasts.as_secs())).filter(|s| *s > 0);
    (created, lasts.map(|lasts| created + SignedDuration::from_secs(lasts)))
}

/// Not rPGP's shorthand, which reads the clock.
fn sign(
    key: &impl SigningKey,
    payload: &[u8],
    time: Timestamp,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let seconds = u32::try_from(time.as_second())?;
    let mut config = SignatureConfig::v4(SignatureType::Binary, key.algorithm(), HashAlgorithm::Sha512);
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
        Subpacket::regular(SubpacketData::SignatureCreationTime(PgpTime::from_secs(seconds)))?,
    ];
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id()))?];
    // It is open already.
    let signature = config.sign(key, &Password::empty(), payload)?;
    let armored = DetachedSignature::new(signature).to_armored_string(ArmorOptions::default())?;
    Ok(armored)
}
