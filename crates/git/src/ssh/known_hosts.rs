//! The host keys to expect, from a text in OpenSSH's `known_hosts` format (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
//! A key that is not there is never accepted, and nothing is ever learned.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use russh::keys::{Algorithm, HashAlg, PublicKey};
use sha1::Sha1;

use super::{SshConfigError, SshError};

/// One server's entries.
#[derive(Debug, Clone)]
pub(crate) struct HostKeys {
    /// As `known_hosts` has it.
    name: String,
    keys: Vec<PublicKey>,
    revoked: Vec<PublicKey>,
}

impl HostKeys {
    /// Picks a server's entries, of which there must be one. A line that is no entry is an error.
    pub(crate) fn read(text: &[u8], name: &str) -> Result<Self, SshConfigError> {
        let text = std::str::from_utf8(text).map_err(|_| SshConfigError::KnownHosts { line: 1 })?;
        let mut found = Self { name: name.to_owned(), keys: Vec::new(), revoked: Vec::new() };
        let mut passed_over = None;
        for (index, line) in text.lines().enumerate() {
            let broken = SshConfigError::KnownHosts { line: index + 1 };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut fields = line.split_ascii_whitespace().peekable();
            let marker = fields.next_if(|field| field.starts_with('@'));
            let (Some(patterns), Some(kind), Some(key)) = (fields.next(), fields.next(), fields.next())
            else {
                return Err(broken);
            };
            let concerned = matches(patterns, name).ok_or(broken)?;
            if !concerned {
                continue;
            }
            match (marker, public_key(kind, key)) {
                (None, Some(key)) => found.keys.push(key),
                (Some("@revoked"), Some(key)) => found.revoked.push(key),
                (Some("@cert-authority"), _) => passed_over = Some("@cert-authority".to_owned()),
                (Some("@revoked") | None, None) if !is_supported(kind) => passed_over = Some(kind.to_owned()),
                _ => return Err(SshConfigError::KnownHosts { line: index + 1 }),
            }
        }
        match (found.keys.is_empty(), passed_over) {
            (false, _) => Ok(found),
            (true, Some(kind)) => Err(SshConfigError::HostKeyKind { host: name.to_owned(), kind }),
            (true, None) => Err(SshConfigError::UnknownHost(name.to_owned())),
        }
    }

    /// What may be negotiated: only the types that are known, so that a server cannot answer with a key of another.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        let mut algorithms = Vec::new();
        for key in &self.keys {
            match key.algorithm() {
                Algorithm::Rsa { .. } => {
                    algorithms.extend(
                        [HashAlg::Sha512, HashAlg::Sha256].map(|hash| Algorithm::Rsa { hash: Some(hash) }),
                    );
                }
                other => algorithms.push(other),
            }
        }
        algorithms.dedup();
        algorithms
    }

    /// Accepts exactly the known keys.
    pub(crate) fn check(&self, presented: &PublicKey) -> Result<(), SshError> {
        let is_presented = |key: &PublicKey| key.key_data() == presented.key_data();
        let host = self.name.clone();
        let key = shown(presented);
        if self.revoked.iter().any(is_presented) {
            Err(SshError::HostKeyRevoked { host, key })
        } else if self.keys.iter().any(is_presented) {
            Ok(())
        } else {
            let known = self.keys.iter().map(shown).collect::<Vec<_>>().join(", ");
            Err(SshError::HostKeyChanged { host, key, known })
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// A key's type and fingerprint, as `ssh-keygen -l` shows it.
pub(super) fn shown(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

fn is_supported(kind: &str) -> bool {
    matches!(
        kind,
        "ssh-ed25519" | "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" | "ssh-rsa"
    )
}

fn public_key(kind: &str, key: &str) -> Option<PublicKey> {
    let parsed = PublicKey::from_openssh(&format!("{kind} {key}")).ok()?;
    is_supported(kind).then_some(parsed)
}

/// Whether the comma-separated patterns name the host; `None` when one is malformed. A negated one outweighs the rest.
fn matches(patterns: &str, name: &str) -> Option<bool> {
    let mut found = false;
    for pattern in patterns.split(',') {
        if let Some(hashed) = pattern.strip_prefix("|1|") {
            found |= matches_hash(hashed, name)?;
        } else if pattern.starts_with('|') || pattern.is_empty() {
            return None;
        } else if let Some(negated) = pattern.strip_prefix('!') {
            if matches_glob(negated.to_ascii_lowercase().as_bytes(), name.as_bytes()) {
                return Some(false);
            }
        } else {
            found |= matches_glob(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes());
        }
    }
    Some(found)
}

/// `salt|hash`, where the hash is HMAC-SHA1 of the name with the salt as key.
fn matches_hash(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let (salt, hash) = (STANDARD.decode(salt).ok()?, STANDARD.decode(hash).ok()?);
    let mac = Hmac::<Sha1>::new_from_slice(&salt).ok()?;
    Some(mac.chain_update(name).verify_slice(&hash).is_ok())
}

/// `*` stands for any text and `?` for any character.
fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    // Where to go on when what follows the last `*` does not fit: the pattern's place, and one further in the text.
    let mut again = None;
    while place < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                again = Some((at + 1, place + 1));
                at += 1;
            }
            Some(c) if *c == b'?' || *c == text[place] => {
                at += 1;
                place += 1;
            }
            _ => {
                let Some((after, next)) = again else { return false };
                (at, place) = (after, next);
                again = Some((after, next + 1));
            }
        }
    }
    pattern[at..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zC";
    /// The name `example.com` with a salt of twenty zero bytes.
    fn hashed(name: &str) -> String {
        let mac = Hmac::<Sha1>::new_from_slice(&[0; 20]).unwrap().chain_update(name);
        format!("|1|{}|{}", STANDARD.encode([0; 20]), STANDARD.encode(mac.finalize().into_bytes()))
    }

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    #[test]
    fn every_form_of_an_entry_is_found() {
        for (hosts, name, known) in [
            ("example.com".to_owned(), "example.com", true),
            ("EXAMPLE.com,10.0.0.1".to_owned(), "example.com", true),
            ("example.com,10.0.0.1".to_owned(), "10.0.0.1", true),
            ("example.com".to_owned(), "[example.com]:2222", false),
            ("[example.com]:2222".to_owned(), "[example.com]:2222", true),
            ("[example.com]:2222".to_owned(), "example.com", false),
            (hashed("example.com"), "example.com", true),
            (hashed("[example.com]:2222"), "[example.com]:2222", true),
            (hashed("example.com"), "example.org", false),
            ("*.example.com".to_owned(), "git.example.com", true),
            ("*.example.com,!git.example.com".to_owned(), "git.example.com", false),
            ("git?.example.com".to_owned(), "git1.example.com", true),
            ("git?.example.com".to_owned(), "git.example.com", false),
        ] {
            let text = format!("# comment\n\n{hosts} {ED25519} a comment\n");
            let found = HostKeys::read(text.as_bytes(), name);
            assert_eq!(found.is_ok(), known, "{hosts} {name}");
            match found {
                Ok(keys) => assert!(keys.check(&key(ED25519)).is_ok()),
                Err(error) => assert!(matches!(error, SshConfigError::UnknownHost(host) if host == name)),
            }
        }
    }

    #[test]
    fn only_known_keys_are_accepted_and_revoked_ones_never() {
        let text = format!("h {ED25519}\nh {OTHER}\n@revoked * {OTHER}\n");
        let keys = HostKeys::read(text.as_bytes(), "h").unwrap();
        assert!(keys.check(&key(ED25519)).is_ok());
        assert!(matches!(keys.check(&key(OTHER)), Err(SshError::HostKeyRevoked { .. })));
        let keys = HostKeys::read(format!("h {ED25519}\n").as_bytes(), "h").unwrap();
        assert!(matches!(keys.check(&key(OTHER)), Err(SshError::HostKeyChanged { .. })));
        assert_eq!(keys.algorithms(), [Algorithm::Ed25519]);
    }

    #[test]
    fn what_is_not_an_entry_or_not_supported_is_named() {
        let read = |text: &str| HostKeys::read(text.as_bytes(), "h").unwrap_err();
        for text in [
            "h",
            "h ssh-ed25519",
            "h ssh-ed25519 AAAA",
            "@revoked h",
            "|2|a|b ssh-rsa AAAA",
            "|1|a ssh-rsa x",
        ] {
            let error = read(&format!("h {ED25519}\n{text}\n"));
            assert!(matches!(error, SshConfigError::KnownHosts { line: 2 }), "{text}: {error}");
        }
        let error = read(&format!("@cert-authority h {ED25519}\n")).to_string();
        assert!(error.contains("@cert-authority"), "{error}");
        let error = read("h ssh-dss AAAAB3NzaC1kc3M=\n").to_string();
        assert!(error.contains("ssh-dss"), "{error}");
        assert!(matches!(read(""), SshConfigError::UnknownHost(_)));
    }

    #[test]
    fn globs_end() {
        assert!(matches_glob(b"*a*b*c", b"xxaxxbxxc"));
        assert!(!matches_glob(b"*a*b*c", b"xxaxxbxx"));
        assert!(matches_glob(b"**", b""));
        assert!(!matches_glob(b"?", b""));
    }
}
