//! Why a conversation over SSH did not come about, or broke off, and which settings cannot work.

use std::io;

use crate::error::ErrorKind;

/// A failure below Git's protocol. No text of it contains a credential.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// No TCP connection.
    #[error("cannot connect to the Git server")]
    Connect(#[source] io::Error),
    /// Before the session was there.
    #[error("the Git server does not complete the SSH handshake")]
    Handshake(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No algorithm in common.
    #[error("the Git server offers no {what} that is safe and supported: it has {theirs}")]
    NoCommonAlgorithm {
        /// A cipher, a key exchange, …
        what: String,
        /// Its list.
        theirs: String,
    },
    /// The server has host keys, but of other types than the known ones.
    #[error(
        "the Git server has none of the host keys that known_hosts has for {host}: it offers {theirs}. If its keys were \
         replaced, check the new ones with its administrator and put them into known_hosts; until then nothing is sent"
    )]
    HostKeyKinds {
        /// As `known_hosts` has it.
        host: String,
        /// The types that it offers.
        theirs: String,
    },
    /// The server is not the known one.
    #[error(
        "THE HOST KEY OF {host} IS NOT THE KNOWN ONE: it presents {key}, known_hosts has {known}. Somebody may stand \
         between us and the server. If its key was replaced, check the new one with its administrator and put it into \
         known_hosts; until then nothing is sent"
    )]
    HostKeyChanged {
        /// As `known_hosts` has it.
        host: String,
        /// Type and fingerprint of what was presented.
        key: String,
        /// Types and fingerprints of what is known.
        known: String,
    },
    /// The server has a key that must not be used.
    #[error("the Git server presents {key}, which known_hosts marks as revoked for {host}: nothing is sent")]
    HostKeyRevoked {
        /// As `known_hosts` has it.
        host: String,
        /// Type and fingerprint.
        key: String,
    },
    /// The key is not accepted.
    #[error(
        "the Git server refuses the key {key} for the user {user}: add the key's public part to the server, or correct \
         the user in the URL"
    )]
    KeyRefused {
        /// Who we said we are.
        user: String,
        /// Type and fingerprint of our key.
        key: String,
    },
    /// The key is accepted, and more is asked for.
    #[error("the Git server asks the user {user} for more than a key, which cannot be given")]
    KeyNotEnough {
        /// Who we said we are.
        user: String,
    },
    /// An old server.
    #[error(
        "the Git server accepts RSA keys with SHA-1 signatures only, which are not safe: use an ed25519 key"
    )]
    Sha1Only,
    /// The session ended before Git spoke: no such repository, no access, no Git, or a server that is being serviced.
    #[error(
        "the Git server does not serve the repository: check that it exists, and that the key has access to it{}",
        .message.as_ref().map(|message| format!(". It says: {message}")).unwrap_or_default()
    )]
    Refused {
        /// Its words, cleaned.
        message: Option<String>,
    },
    /// The connection, or the session on it, ended in the middle.
    #[error("the SSH connection to the Git server broke off")]
    Lost,
}

/// A setting for SSH that cannot work. It never contains a credential.
#[derive(Debug, thiserror::Error)]
pub enum SshConfigError {
    /// Neither `ssh://` nor Git's short form.
    #[error("the repository's URL is not valid for SSH: {0}")]
    Location(&'static str),
    /// No key, or one that is not for SSH.
    #[error(
        "SSH needs a private key and the server's host keys: put `identity` and `known_hosts` into the Secret"
    )]
    NoKey,
    /// A proxy.
    #[error(
        "a connection over SSH cannot go through a proxy: remove the proxy, or use the repository's https:// URL"
    )]
    Proxy,
    /// A line of `known_hosts` that is no entry.
    #[error("known_hosts, line {line}: not an entry (host names, key type, key)")]
    KnownHosts {
        /// From 1.
        line: usize,
    },
    /// `known_hosts` does not have the server.
    #[error(
        "known_hosts has no key for {0}: add the lines that `ssh-keyscan` prints for it, after checking them with the \
         server's administrator"
    )]
    UnknownHost(String),
    /// `known_hosts` has the server, with nothing that can be checked.
    #[error(
        "known_hosts has only {kind} for {host}, which is not supported: add the server's own ed25519, ECDSA or RSA key"
    )]
    HostKeyKind {
        /// As `known_hosts` has it.
        host: String,
        /// A key type, or `@cert-authority`.
        kind: String,
    },
    /// Not a private key.
    #[error(
        "the private key cannot be read: it must be an OpenSSH or PEM (PKCS#1, PKCS#8, SEC1) private key"
    )]
    PrivateKey,
    /// Encrypted in an old way.
    #[error(
        "the private key is encrypted with a cipher that is not supported: convert it with `ssh-keygen -p`"
    )]
    PrivateKeyCipher,
    /// DSA, or a key on a hardware token.
    #[error("the private key is of the type {0}, which is not supported: use ed25519, ECDSA or RSA")]
    PrivateKeyKind(String),
    /// Encrypted, and no passphrase.
    #[error("the private key is encrypted: put its passphrase into the Secret as `password`")]
    NoPassphrase,
    /// The wrong passphrase, or a damaged key.
    #[error("the private key cannot be decrypted: the passphrase is wrong, or the key is damaged")]
    Passphrase,
}

impl SshError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Connect(_) | Self::Handshake(_) | Self::Lost => ErrorKind::Network,
            Self::NoCommonAlgorithm { .. } => ErrorKind::Config,
            Self::HostKeyKinds { .. } | Self::HostKeyChanged { .. } | Self::HostKeyRevoked { .. } => {
                ErrorKind::HostKey
            }
            Self::KeyRefused { .. } | Self::KeyNotEnough { .. } | Self::Sha1Only => ErrorKind::Auth,
            Self::Refused { .. } => ErrorKind::NotFound,
        }
    }

    /// Whether the server certainly did not act on the request.
    pub(crate) fn is_refusal(&self) -> bool {
        !matches!(self, Self::Lost)
    }
}
