//! One authenticated connection to a server, kept warm: the handshake, the check of the host's key, our key, and the
//! channels. It ends when it was not used for a while, or when the server stops to answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, AuthResult, ChannelOpenHandle, Handle, Msg, Session};
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{AlgorithmKind, Channel, ChannelWriteHalf, Disconnect, Preferred, SshId};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::SshError;
use super::known_hosts::{HostKeys, shown};
use super::line::Line;
use super::target::Target;
use crate::sideband;
use crate::transport::{RemoteError, Service};

/// A server that did not ask anything of us within this time has certainly been forgotten by a firewall in between.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// So a dead server is noticed after two minutes; every operation has its own, shorter patience.
const KEEP_ALIVES: usize = 3;
/// Longer than the usual time between two polls, so that these need no handshake.
const IDLE: Duration = Duration::from_mins(5);
/// How this program introduces itself (RFC 4253, section 4.2).
const CLIENT: &str = concat!("SSH-2.0-windlass_", env!("CARGO_PKG_VERSION"));

/// A connection. Dropping it ends it, once the channels on it are done.
pub(crate) struct Connection {
    handle: Arc<Handle<Gate>>,
    notes: UnboundedSender<Note>,
    parked: Mutex<Vec<Parked>>,
    _warden: JoinSet<()>,
}

/// A line that waits for the next request of its kind.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) line: Line,
    pub(crate) purpose: Purpose,
}

/// What a waiting line may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Git speaks version 2 there and has not looked at the refs yet: anything may be asked.
    Anything,
    /// It has told refs. Git reads them once in its life, so it would tell the same again; objects it finds anew.
    Objects,
    /// The refs were told, and a push may follow.
    Push,
}

/// What lines tell the connection's warden.
#[derive(Debug)]
pub(crate) enum Note {
    Busy,
    Idle,
    /// A line is given up: the server is to end what runs there.
    Close(ChannelWriteHalf<Msg>),
}

impl Connection {
    /// Connects, checks the server's key and shows ours.
    pub(crate) async fn open(
        target: &Target,
        hosts: &Arc<HostKeys>,
        key: Arc<PrivateKey>,
    ) -> Result<Self, RemoteError> {
        let stream =
            TcpStream::connect((target.host.as_str(), target.port)).await.map_err(SshError::Connect)?;
        // A request is one write; waiting for more would only cost time.
        stream.set_nodelay(true).map_err(SshError::Connect)?;
        let gate = Gate { hosts: Arc::clone(hosts) };
        let mut handle = client::connect_stream(Arc::new(config(hosts)), stream, gate)
            .await
            .map_err(|failure| failure.explain(hosts))?;
        authenticate(&mut handle, &target.user, key).await?;
        let handle = Arc::new(handle);
        let (notes, received) = unbounded_channel();
        let mut warden = JoinSet::new();
        warden.spawn(watch_over(Arc::clone(&handle), received));
        Ok(Self { handle, notes, parked: Mutex::default(), _warden: warden })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Starts a service's program on a channel of its own.
    pub(crate) async fn start(
        &self,
        target: &Target,
        service: Service,
        version2: bool,
    ) -> Result<Line, russh::Error> {
        let channel = self.handle.channel_open_session().await?;
        let (read, write) = channel.split();
        let line = Line::new(read, write, self.notes.clone());
        line.start(&target.command(service), version2).await?;
        Ok(line)
    }

    /// Takes a waiting line that is good for the purpose and still alive.
    pub(crate) fn unpark(&self, purposes: &[Purpose]) -> Option<Line> {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(at) = parked.iter().position(|parked| purposes.contains(&parked.purpose)) {
            let mut line = parked.swap_remove(at).line;
            if line.is_quiet() {
                line.note_busy();
                return Some(line);
            }
        }
        None
    }

    /// Leaves a line for the next request. One of each kind is enough.
    pub(crate) fn park(&self, mut line: Line, purpose: Purpose) {
        line.note_idle();
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        parked.retain(|parked| parked.purpose != purpose);
        parked.push(Parked { line, purpose });
    }
}

/// Closes what lines leave behind, and the connection when nobody used it for a while.
async fn watch_over(handle: Arc<Handle<Gate>>, mut notes: UnboundedReceiver<Note>) {
    let mut busy = 0_usize;
    loop {
        match tokio::time::timeout(IDLE, notes.recv()).await {
            Ok(None) => return,
            Ok(Some(Note::Busy)) => busy += 1,
            Ok(Some(Note::Idle)) => busy = busy.saturating_sub(1),
            // Neither can fail in a way that matters: the connection is gone then.
            Ok(Some(Note::Close(line))) => drop(line.close().await),
            Err(_) if busy == 0 => {
                drop(handle.disconnect(Disconnect::ByApplication, "idle", "").await);
                return;
            }
            Err(_) => {}
        }
    }
}

fn config(hosts: &HostKeys) -> client::Config {
    let preferred = Preferred { key: hosts.algorithms().into(), ..Preferred::default() };
    client::Config {
        client_id: SshId::Standard(CLIENT.into()),
        preferred,
        keepalive_interval: Some(KEEP_ALIVE),
        keepalive_max: KEEP_ALIVES,
        nodelay: true,
        ..client::Config::default()
    }
}

async fn authenticate(handle: &mut Handle<Gate>, user: &str, key: Arc<PrivateKey>) -> Result<(), SshError> {
    let name = shown(key.public_key());
    let hashes = match key.algorithm() {
        Algorithm::Rsa { .. } => match handle.best_supported_rsa_hash().await.map_err(handshake)? {
            Some(None) => return Err(SshError::Sha1Only),
            Some(hash) => vec![hash],
            // The server does not say (RFC 8308): the better one first.
            None => vec![Some(HashAlg::Sha512), Some(HashAlg::Sha256)],
        },
        _ => vec![None],
    };
    for hash in hashes {
        let key = PrivateKeyWithHashAlg::new(Arc::clone(&key), hash);
        match handle.authenticate_publickey(user, key).await.map_err(handshake)? {
            AuthResult::Success => return Ok(()),
            AuthResult::Failure { partial_success: true, .. } => {
                return Err(SshError::KeyNotEnough { user: user.to_owned() });
            }
            AuthResult::Failure { .. } => {}
        }
    }
    Err(SshError::KeyRefused { user: user.to_owned(), key: name })
}

fn handshake(error: russh::Error) -> SshError {
    SshError::Handshake(error.into())
}

/// Lets the known server in, and nothing that a server might start on our side.
pub(crate) struct Gate {
    hosts: Arc<HostKeys>,
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum Failure {
    Ssh(russh::Error),
    HostKey(SshError),
}

impl From<russh::Error> for Failure {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl Failure {
    fn explain(self, hosts: &HostKeys) -> SshError {
        let list = |names: Vec<String>| sideband::clean(names.join(", ").as_bytes());
        match self {
            Self::HostKey(error) => error,
            Self::Ssh(russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, theirs, .. }) => {
                SshError::HostKeyKinds { host: hosts.name().to_owned(), theirs: list(theirs) }
            }
            Self::Ssh(russh::Error::NoCommonAlgo { kind, theirs, .. }) => {
                let what = match kind {
                    AlgorithmKind::Kex => "key exchange",
                    AlgorithmKind::Cipher => "cipher",
                    AlgorithmKind::Mac => "message authentication",
                    AlgorithmKind::Key | AlgorithmKind::Compression => "compression",
                };
                SshError::NoCommonAlgorithm { what: what.to_owned(), theirs: list(theirs) }
            }
            Self::Ssh(error) => handshake(error),
        }
    }
}

impl client::Handler for Gate {
    type Error = Failure;

    async fn check_server_key(&mut self, presented: &PublicKeyOrCertificate) -> Result<bool, Failure> {
        match presented {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.hosts.check(key).map(|()| true).map_err(Failure::HostKey)
            }
            // Never negotiated.
            PublicKeyOrCertificate::Certificate(_) => Ok(false),
        }
    }

    // The library would accept what a server opens. Dropping the reply refuses it.

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Failure> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Failure> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Failure> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Failure> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Failure> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Failure> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Failure> {
        Ok(())
    }
}
