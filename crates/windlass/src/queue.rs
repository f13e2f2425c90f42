//! `--queue` and what belongs to it: where several processes share their queue, and what each of them does.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use windlass_store::NatsOptions;

/// The queue that is shared, if one is, and how to log in there.
#[derive(Debug, Args)]
#[command(next_help_heading = "Several processes on one queue")]
pub(crate) struct SharedQueueArgs {
    /// The shared queue over NATS JetStream: nats://HOST:PORT or tls://HOST:PORT, several separated by commas
    #[arg(long, value_name = "URL", env = "WINDLASS_QUEUE")]
    queue: Option<String>,
    /// The stream's name: processes of one installation share one
    #[arg(long, value_name = "NAME", default_value = "windlass", env = "WINDLASS_QUEUE_STREAM")]
    queue_stream: String,
    /// Log in with a credentials file (JWT and nkey)
    #[arg(long, value_name = "FILE", env = "WINDLASS_QUEUE_CREDENTIALS", requires = "queue")]
    queue_credentials: Option<PathBuf>,
    /// Log in with an nkey, whose seed is in this file
    #[arg(
        long,
        value_name = "FILE",
        env = "WINDLASS_QUEUE_NKEY",
        requires = "queue",
        conflicts_with = "queue_credentials"
    )]
    queue_nkey: Option<PathBuf>,
    /// Log in with a token, which is in this file
    #[arg(
        long,
        value_name = "FILE",
        env = "WINDLASS_QUEUE_TOKEN_FILE",
        requires = "queue",
        conflicts_with_all = ["queue_credentials", "queue_nkey"]
    )]
    queue_token_file: Option<PathBuf>,
    /// Trust these certificate authorities (PEM) beside the system's
    #[arg(long, value_name = "FILE", env = "WINDLASS_QUEUE_CA", requires = "queue")]
    queue_ca: Option<PathBuf>,
    /// Show this client certificate (PEM)
    #[arg(long, value_name = "FILE", env = "WINDLASS_QUEUE_CERTIFICATE", requires = "queue_certificate_key")]
    queue_certificate: Option<PathBuf>,
    /// The client certificate's key (PEM)
    #[arg(long, value_name = "FILE", env = "WINDLASS_QUEUE_CERTIFICATE_KEY", requires = "queue_certificate")]
    queue_certificate_key: Option<PathBuf>,
}

/// How a process of several takes part.
#[derive(Debug, Args)]
#[command(next_help_heading = "Several processes on one queue")]
pub(crate) struct QueueArgs {
    #[command(flatten)]
    shared: SharedQueueArgs,
    /// Copies of each message in a cluster [default: 3 in a cluster, 1 on a lone server]
    #[arg(long, value_name = "N", env = "WINDLASS_QUEUE_REPLICAS", requires = "queue")]
    queue_replicas: Option<usize>,
    /// This process's name among the others: under the same one it gets the same part of the work after a restart
    /// [default: a random one]
    #[arg(
        long,
        value_name = "NAME",
        env = "WINDLASS_QUEUE_MEMBER",
        requires = "queue",
        value_parser = NonEmptyStringValueParser::new()
    )]
    queue_member: Option<String>,
    /// What this process does; without --queue it does everything
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["watcher", "promoter"], env = "WINDLASS_ROLES")]
    roles: Vec<Role>,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Receives webhooks
    Watcher,
    /// Polls, chooses and commits, for its shares of the namespaces
    Promoter,
}

/// How a process takes part.
#[derive(Debug)]
pub(crate) struct Part {
    /// Where the queue is shared; with none, it is this process's alone.
    pub(crate) shared: Option<NatsOptions>,
    pub(crate) roles: Vec<Role>,
    /// Its name among the others; a random one where it has none.
    pub(crate) member: Option<String>,
}

impl QueueArgs {
    /// # Errors
    /// A role is left out of a queue that nobody shares, or the stream's name is none.
    pub(crate) fn part(self) -> anyhow::Result<Part> {
        let all = [Role::Watcher, Role::Promoter].iter().all(|role| self.roles.contains(role));
        let shared = self.shared.options()?;
        if shared.is_none() && !all {
            bail!("--roles: without --queue nobody else does the rest; leave it out, or share a queue");
        }
        let shared = shared.map(|options| NatsOptions { replicas: self.queue_replicas, ..options });
        Ok(Part { shared, roles: self.roles, member: self.queue_member })
    }
}

impl SharedQueueArgs {
    /// Where the queue is; `None` where none is shared.
    ///
    /// # Errors
    /// The stream's name is none.
    pub(crate) fn options(self) -> anyhow::Result<Option<NatsOptions>> {
        let Some(servers) = self.queue else { return Ok(None) };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if self.queue_stream.is_empty() || !self.queue_stream.bytes().all(allowed) {
            bail!("--queue-stream {}: letters, digits, `-` and `_` make a stream's name", self.queue_stream);
        }
        let certificate = match (self.queue_certificate, self.queue_certificate_key) {
            (Some(certificate), key) => {
                Some((certificate, key.context("--queue-certificate-key is missing")?))
            }
            (None, _) => None,
        };
        Ok(Some(NatsOptions {
            servers,
            stream: self.queue_stream,
            credentials: self.queue_credentials,
            nkey: self.queue_nkey,
            token: self.queue_token_file,
            ca: self.queue_ca,
            certificate,
            ..NatsOptions::default()
        }))
    }
}
