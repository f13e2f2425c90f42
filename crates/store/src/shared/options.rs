//! How a NATS server is reached, and why it could not be.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, ServerAddr};

use crate::folder::OpenError;

/// Longest wait for a server that accepts a connection, at the start.
const CONNECT: Duration = Duration::from_secs(10);
/// The server is asked for a sign of life this often. After three that do not come, the connection is given up, so that
/// a partition is noticed, and said, within seconds; the client's default would take three minutes.
const PING: Duration = Duration::from_secs(3);
/// A lost connection is tried again this often: others take over what this process holds within seconds.
const RECONNECT: Duration = Duration::from_millis(250);

/// Where the shared queue is, and how to log in there. At most one kind of login is used.
#[derive(Debug, Clone, Default)]
pub struct NatsOptions {
    /// `nats://host:port` or `tls://host:port`; several, separated by commas, are servers of one cluster.
    pub servers: String,
    /// The stream's name, by which several instances share one server.
    pub stream: String,
    /// Copies that a cluster keeps of each message; by default 3 in a cluster and 1 on a lone server.
    pub replicas: Option<usize>,
    /// After how many messages the log is replaced by a snapshot; by default 20,000. A large state is copied less often:
    /// when the log has come to a quarter of its size, and after ten times as many messages at the latest.
    pub snapshot_every: Option<u64>,
    /// A credentials file (JWT and nkey).
    pub credentials: Option<PathBuf>,
    /// A file that holds an nkey's seed.
    pub nkey: Option<PathBuf>,
    /// A file that holds a token.
    pub token: Option<PathBuf>,
    /// Certificate authorities (PEM) that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// A client certificate and its key (PEM).
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// Why a shared queue could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is none.
    #[error(
        "`{address}` is no address of a NATS server: write nats://host:port or tls://host:port, without a user"
    )]
    Address {
        /// What was given.
        address: String,
    },
    /// A file that is needed to log in cannot be read.
    #[error("{} cannot be read", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The server does not let us in.
    #[error("NATS at {servers} refuses the login: {advice}")]
    Refused {
        /// Where.
        servers: String,
        /// What to do.
        advice: String,
        /// What it said.
        source: async_nats::ConnectError,
    },
    /// One side does not trust the other's certificate, or misses one.
    #[error("no TLS connection to NATS at {servers}: {advice}")]
    Tls {
        /// Where.
        servers: String,
        /// What to do.
        advice: String,
        /// What went wrong.
        source: async_nats::ConnectError,
    },
    /// No server takes us.
    #[error("no connection to NATS at {servers}")]
    Connect {
        /// Where.
        servers: String,
        /// Why.
        source: async_nats::ConnectError,
    },
    /// The server has no JetStream for us, or refuses what we ask of it.
    #[error("JetStream on {servers} refused to {action}: {reason}")]
    JetStream {
        /// Where.
        servers: String,
        /// What was asked.
        action: &'static str,
        /// What the server said.
        reason: String,
    },
    /// The stream is not as it must be.
    #[error(
        "the stream `{stream}` (nats-server {version}) has `{field}` {found}, and {wanted} is needed; {advice}"
    )]
    Mismatch {
        /// The stream.
        stream: String,
        /// The server's version.
        version: Box<str>,
        /// The field of its configuration.
        field: &'static str,
        /// What the server says.
        found: String,
        /// What it must be.
        wanted: String,
        /// What to do.
        advice: &'static str,
    },
    /// There is no such stream, and whoever only looks makes none.
    #[error(
        "there is no stream `{stream}` on {servers}: is --queue-stream right, and did a windlass run with --queue?"
    )]
    NoStream {
        /// Where.
        servers: String,
        /// Its name.
        stream: String,
    },
    /// The log could not be read to its end.
    #[error("the queue on {servers} cannot be read: {reason}")]
    Follow {
        /// Where.
        servers: String,
        /// Why.
        reason: String,
    },
    /// The local copy of the state cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The state could not be caught up with.
    #[error("the queue could not be joined")]
    Join(#[from] crate::StoreError),
}

/// Connects and logs in.
pub(super) async fn connect(options: &NatsOptions) -> Result<Client, ConnectError> {
    let servers = options.servers.split(',').map(|server| address(server.trim()));
    let servers = servers.collect::<Result<Vec<_>, _>>()?;
    let login = login(options).await?;
    let encrypted = servers.iter().any(ServerAddr::tls_required);
    login.connect(servers).await.map_err(|source| explain(options, encrypted, source))
}

/// Says what to do about a connection that did not come about.
fn explain(options: &NatsOptions, encrypted: bool, source: async_nats::ConnectError) -> ConnectError {
    let servers = options.servers.clone();
    match source.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            ConnectError::Refused { servers, advice: login_advice(options), source }
        }
        ConnectErrorKind::Tls => ConnectError::Tls { servers, advice: tls_advice(options), source },
        // A server that misses a certificate says so after the handshake, by an alert or by hanging up.
        ConnectErrorKind::Io if encrypted && was_connected(&source) => {
            ConnectError::Tls { servers, advice: tls_advice(options), source }
        }
        _ => ConnectError::Connect { servers, source },
    }
}

fn login_advice(options: &NatsOptions) -> String {
    let NatsOptions { credentials, nkey, token, .. } = options;
    match credentials.as_ref().or(nkey.as_ref()).or(token.as_ref()) {
        Some(file) => format!(
            "{} must hold a login of a user of this server, and one that has neither expired nor been revoked",
            file.display()
        ),
        None => {
            "it wants one: name its file with --queue-credentials, --queue-nkey or --queue-token-file".into()
        }
    }
}

fn tls_advice(options: &NatsOptions) -> String {
    let authority = match &options.ca {
        Some(file) => format!("{} must hold the authority of the server's certificate", file.display()),
        None => "name the authority of the server's certificate with --queue-ca, unless the system trusts it"
            .into(),
    };
    let own = match &options.certificate {
        Some((file, _)) => format!("the server must trust the authority of {}", file.display()),
        None => "where the server asks for a client's certificate (`verify: true`), name one with \
                 --queue-certificate and --queue-certificate-key"
            .into(),
    };
    format!("{authority}; {own}")
}

/// Whether there was a connection when it failed.
fn was_connected(error: &async_nats::ConnectError) -> bool {
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    io.is_some_and(|io| {
        matches!(
            io.kind(),
            io::ErrorKind::InvalidData
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
        )
    })
}

/// Reads an address. Logins come from files, for a command line can be read by everybody on the machine.
fn address(text: &str) -> Result<ServerAddr, ConnectError> {
    let known = ["nats://", "tls://"].iter().any(|scheme| text.starts_with(scheme));
    let parsed = text
        .parse::<ServerAddr>()
        .ok()
        .filter(|address| known && !address.host().is_empty() && !address.has_user_pass());
    parsed.ok_or_else(|| {
        let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
        ConnectError::Address { address: shown.to_owned() }
    })
}

async fn login(options: &NatsOptions) -> Result<ConnectOptions, ConnectError> {
    let mut connect = ConnectOptions::new()
        .name("windlass")
        .connection_timeout(CONNECT)
        .ping_interval(PING)
        .reconnect_delay_callback(|_| RECONNECT)
        .event_callback(|event| async move { tracing::info!(%event, "NATS") });
    if let Some(path) = &options.credentials {
        let text = read(path).await?;
        connect =
            connect.credentials(&text).map_err(|source| ConnectError::File { path: path.clone(), source })?;
    }
    if let Some(path) = &options.nkey {
        connect = connect.nkey(read(path).await?.trim().to_owned());
    }
    if let Some(path) = &options.token {
        connect = connect.token(read(path).await?.trim().to_owned());
    }
    if let Some(path) = &options.ca {
        read(path).await?;
        connect = connect.add_root_certificates(path.clone());
    }
    if let Some((certificate, key)) = &options.certificate {
        read(certificate).await?;
        read(key).await?;
        connect = connect.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(connect)
}

async fn read(path: &Path) -> Result<String, ConnectError> {
    let failed = |source| ConnectError::File { path: path.to_owned(), source };
    tokio::fs::read_to_string(path).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_no_part_of_an_address_and_not_of_its_error() {
        for good in ["nats://127.0.0.1:4222", "tls://nats.example.com:4222", "nats://[::1]:4222"] {
            address(good).unwrap();
        }
        for bad in
            ["", "http://host", "host:4222", "nats://", "nats://me:secret@host:4222", "nats://secret@host"]
        {
            let error = address(bad).unwrap_err().to_string();
            assert!(error.contains("nats://host:port") && !error.contains("secret"), "{error}");
        }
    }
}
