//! A TCP relay before a server, which breaks connections as told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Stands for no limit.
const ENDLESS: usize = usize::MAX;

/// A running relay; it stops, and breaks its connections, when dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    faults: Arc<Faults>,
    _task: JoinSet<()>,
}

struct Faults {
    /// Bytes that still pass to the server and from it, before every connection breaks.
    to_server: AtomicUsize,
    to_client: AtomicUsize,
    /// Counts the breaks.
    broken: watch::Sender<usize>,
}

impl Relay {
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let faults = Arc::new(Faults {
            to_server: AtomicUsize::new(ENDLESS),
            to_client: AtomicUsize::new(ENDLESS),
            broken: watch::Sender::new(0),
        });
        let mut task = JoinSet::new();
        let shared = Arc::clone(&faults);
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let faults = Arc::clone(&shared);
                connections.spawn(async move {
                    let mut broken = faults.broken.subscribe();
                    let server = TcpStream::connect(target).await.unwrap();
                    // As both ends do: else small packets wait for each other.
                    client.set_nodelay(true).unwrap();
                    server.set_nodelay(true).unwrap();
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::select! {
                        () = copy(from_client, to_server, &faults.to_server) => {}
                        () = copy(from_server, to_client, &faults.to_client) => {}
                        _ = broken.changed() => return,
                    }
                    faults.broken.send_modify(|count| *count += 1);
                });
            }
        });
        Self { address, faults, _task: task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks every connection now.
    pub(crate) fn break_now(&self) {
        self.faults.broken.send_modify(|count| *count += 1);
    }

    /// Breaks every connection when this many more bytes have gone to the server.
    pub(crate) fn break_after_sending(&self, bytes: usize) {
        self.faults.to_server.store(bytes, Ordering::SeqCst);
    }

    /// Breaks every connection when this many more bytes have come from the server.
    pub(crate) fn break_after_receiving(&self, bytes: usize) {
        self.faults.to_client.store(bytes, Ordering::SeqCst);
    }
}

/// Copies until an end closes, or the bytes that may pass have passed.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, left: &AtomicUsize) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let before = left.load(Ordering::SeqCst);
        let passing = length.min(before);
        if to.write_all(&buffer[..passing]).await.is_err() {
            return;
        }
        if before != ENDLESS {
            left.store(before - passing, Ordering::SeqCst);
            if before == passing {
                left.store(ENDLESS, Ordering::SeqCst);
                return;
            }
        }
    }
}
