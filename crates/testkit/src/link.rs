//! A TCP link before any server, which a test makes worse while connections are open: slow, narrow, stopped (a
//! partition), closed, half-closed or reset, in one direction or in both. It knows nothing of what it carries, so it
//! stands before HTTP, SSH and NATS alike; what is to happen to a single request is a matter for [`crate::traffic`].

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::port;

/// What is read at once. A stopped direction holds [`PIECES`] of them, then its sender waits, as for a full socket.
const PIECE: usize = 16 * 1024;
const PIECES: usize = 64;
/// A narrow direction passes something this often.
const TICK: Duration = Duration::from_millis(20);
/// Stands for no limit.
const ENDLESS: usize = usize::MAX;

/// A direction of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What the client says.
    ToServer,
    /// What the server says.
    ToClient,
}

impl Way {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];
}

/// How a direction carries bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    /// At once.
    #[default]
    Open,
    /// Each byte this much later.
    Delayed(Duration),
    /// So many bytes a second.
    Narrow(usize),
    /// Not at all, and neither is an end told: as when a switch between the two died. What was said is kept, and arrives
    /// when the direction flows again.
    Stopped,
}

/// How connections end at a test's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// As when the other end closes its socket.
    Closed,
    /// With RST to both ends, as when the other end's machine restarted.
    Reset,
}

/// A running link. Dropping it resets its connections and frees its port.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    control: Arc<Control>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Control {
    target: SocketAddr,
    lanes: [Lane; 2],
    /// Counts the ends that a test asked for, with the last one's kind.
    ended: watch::Sender<(u64, Ending)>,
    used: watch::Sender<Use>,
}

/// What clients did at a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Use {
    /// Connections that came.
    pub connections: usize,
    /// Bytes that were said to the server over all of them, whether they went on or not. What a connection says that came
    /// to a stopped link counts when that flows again.
    pub bytes: usize,
}

/// One direction of all connections.
#[derive(Debug)]
struct Lane {
    flow: watch::Sender<Flow>,
    /// Counts the half-closes.
    closed: watch::Sender<u64>,
    /// Bytes that still pass before every connection is closed.
    left: AtomicUsize,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            flow: watch::Sender::default(),
            closed: watch::Sender::default(),
            left: AtomicUsize::new(ENDLESS),
        }
    }
}

impl Link {
    /// Starts on a free port, before the server that listens at `target`, now or later.
    ///
    /// # Errors
    /// When the port or a thread cannot be had.
    pub fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(port::free()?).context("listening for a link")?;
        listener.set_nonblocking(true).context("making a listener non-blocking")?;
        let address = listener.local_addr().context("reading a listener's address")?;
        let control = Arc::new(Control {
            target,
            lanes: Default::default(),
            ended: watch::Sender::new((0, Ending::Closed)),
            used: watch::Sender::default(),
        });
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("making a runtime")?;
        let (stop, stopped) = oneshot::channel();
        let carried = Arc::clone(&control);
        let thread = std::thread::Builder::new()
            .name(format!("link {}", address.port()))
            .spawn(move || runtime.block_on(accept(listener, carried, stopped)))
            .context("starting a link's thread")?;
        Ok(Self { address, control, stop: Some(stop), thread: Some(thread) })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, one direction of all connections flows so.
    pub fn set(&self, way: Way, flow: Flow) {
        self.control.lane(way).flow.send_replace(flow);
    }

    /// From now on, both directions flow so.
    pub fn set_both(&self, flow: Flow) {
        for way in Way::BOTH {
            self.set(way, flow);
        }
    }

    /// A partition: connections are accepted and nothing passes, in either direction.
    pub fn stop(&self) {
        self.set_both(Flow::Stopped);
    }

    /// Everything passes again, beginning with what was held.
    pub fn open(&self) {
        self.set_both(Flow::Open);
    }

    /// Closes the open connections, at both ends, and drops what was held in them. New ones are accepted.
    pub fn cut(&self) {
        self.end(Ending::Closed);
    }

    /// As [`Self::cut`], with RST.
    pub fn reset(&self) {
        self.end(Ending::Reset);
    }

    /// Tells the receiver of a direction that no more comes; the other direction goes on.
    pub fn half_close(&self, way: Way) {
        self.control.lane(way).closed.send_modify(|count| *count += 1);
    }

    /// Closes the open connections when this many more bytes have passed in a direction; once.
    pub fn cut_after(&self, way: Way, bytes: usize) {
        self.control.lane(way).left.store(bytes, Ordering::SeqCst);
    }

    /// What clients did so far, for [`Self::used_after`].
    pub fn mark(&self) -> Use {
        *self.control.used.borrow()
    }

    /// Waits until a client said something or connected after the mark, whether it passes or not.
    ///
    /// # Errors
    /// When none did `within` that time.
    pub async fn used_after(&self, mark: Use, within: Duration) -> Result<()> {
        let mut used = self.control.used.subscribe();
        let in_time = tokio::time::timeout(within, used.wait_for(|used| *used != mark)).await.is_ok();
        ensure!(in_time, "waited {within:?} for a link to be used; until now it carried {mark:?}");
        Ok(())
    }

    fn end(&self, ending: Ending) {
        self.control.end(ending);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Either is already done only when the thread has ended by itself.
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Control {
    fn lane(&self, way: Way) -> &Lane {
        &self.lanes[match way {
            Way::ToServer => 0,
            Way::ToClient => 1,
        }]
    }

    fn end(&self, ending: Ending) {
        self.ended.send_modify(|ended| *ended = (ended.0 + 1, ending));
    }
}

async fn accept(listener: TcpListener, control: Arc<Control>, mut stopped: oneshot::Receiver<()>) {
    let listener =
        tokio::net::TcpListener::from_std(listener).expect("a non-blocking listener, inside a runtime");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                // Out of file handles, or a client that is already gone: the next accept decides.
                let Ok((client, _)) = accepted else { continue };
                // Subscribed before anybody can know of the connection: what is asked for from now on concerns it.
                let ended = control.ended.subscribe();
                control.used.send_modify(|used| used.connections += 1);
                let control = Arc::clone(&control);
                connections.spawn(async move {
                    // What broke it was asked for, or was done by one of its ends.
                    let _ = carry(client, &control, ended).await;
                });
            }
        }
    }
    control.end(Ending::Reset);
    while connections.join_next().await.is_some() {}
}

/// Carries one connection to its end.
async fn carry(
    mut client: TcpStream,
    control: &Control,
    mut ended: watch::Receiver<(u64, Ending)>,
) -> io::Result<()> {
    // As most programs do: else small packets wait for each other.
    client.set_nodelay(true)?;
    let connected = async {
        control.lane(Way::ToServer).flows().await;
        TcpStream::connect(control.target).await
    };
    let connected = tokio::select! {
        biased;
        _ = ended.changed() => Err(ended.borrow().1),
        connected = connected => connected.map_err(|_| Ending::Reset),
    };
    let mut server = match connected {
        Ok(server) => server,
        Err(Ending::Closed) => return Ok(()),
        Err(Ending::Reset) => return client.set_zero_linger(),
    };
    server.set_nodelay(true)?;
    let ending = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let there = pump(from_client, to_server, Way::ToServer, control);
        let back = pump(from_server, to_client, Way::ToClient, control);
        tokio::select! {
            biased;
            _ = ended.changed() => ended.borrow().1,
            carried = async { tokio::try_join!(there, back) } => match carried {
                Ok(_) => Ending::Closed,
                Err(_) => Ending::Reset,
            },
        }
    };
    if ending == Ending::Reset {
        client.set_zero_linger()?;
        server.set_zero_linger()?;
    }
    Ok(())
}

/// Something that was said, and when.
struct Piece {
    at: Instant,
    bytes: Bytes,
}

/// Carries one direction of a connection until its sender, or a test, ends it.
///
/// # Errors
/// When an end is broken: the other one is to learn of it too.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, way: Way, control: &Control) -> io::Result<()> {
    let lane = control.lane(way);
    let mut closed = lane.closed.subscribe();
    let carrying = async {
        let (said, mut waiting) = mpsc::channel(PIECES);
        let listening = listen(&mut from, said, |bytes| {
            if way == Way::ToServer {
                control.used.send_modify(|used| used.bytes += bytes);
            }
        });
        let passing = async {
            while let Some(piece) = waiting.recv().await {
                lane.pass(&piece, &mut to, control).await?;
            }
            Ok(())
        };
        tokio::try_join!(listening, passing).map(drop)
    };
    tokio::select! {
        biased;
        _ = closed.changed() => {}
        carried = carrying => {
            // Neither an end nor a break is heard of over a line that is stopped.
            lane.flows().await;
            carried?;
        }
    }
    to.shutdown().await
}

async fn listen(from: &mut ReadHalf<'_>, said: mpsc::Sender<Piece>, came: impl Fn(usize)) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        came(length);
        let piece = Piece { at: Instant::now(), bytes: Bytes::copy_from_slice(&buffer[..length]) };
        if said.send(piece).await.is_err() {
            return Ok(());
        }
    }
}

impl Lane {
    /// Waits until the direction is not stopped.
    async fn flows(&self) {
        // It cannot fail: the sender lives in self.
        let _ = self.flow.subscribe().wait_for(|flow| *flow != Flow::Stopped).await;
    }

    async fn pass(&self, piece: &Piece, to: &mut WriteHalf<'_>, control: &Control) -> io::Result<()> {
        let mut bytes = &piece.bytes[..];
        while !bytes.is_empty() {
            let now = self.may_pass(piece.at, bytes.len()).await;
            let left = self.left.load(Ordering::SeqCst);
            let passing = now.min(left);
            to.write_all(&bytes[..passing]).await?;
            bytes = &bytes[passing..];
            if left != ENDLESS {
                let last = passing == left;
                self.left.store(if last { ENDLESS } else { left - passing }, Ordering::SeqCst);
                if last {
                    control.end(Ending::Closed);
                    // The end comes from outside; nothing passes before it.
                    std::future::pending::<()>().await;
                }
            }
        }
        Ok(())
    }

    /// Waits until something may pass of what was said at a time; gives how many of its bytes.
    async fn may_pass(&self, said: Instant, bytes: usize) -> usize {
        let mut flow = self.flow.subscribe();
        loop {
            let present = *flow.borrow_and_update();
            let (until, passing) = match present {
                Flow::Open => return bytes,
                Flow::Stopped => {
                    self.flows().await;
                    continue;
                }
                Flow::Delayed(delay) => (said + delay, bytes),
                Flow::Narrow(rate) => (Instant::now() + TICK, per_tick(rate).min(bytes)),
            };
            tokio::select! {
                () = sleep_until(until) => return passing,
                _ = flow.changed() => {}
            }
        }
    }
}

/// Bytes of a tick, at a rate a second.
fn per_tick(rate: usize) -> usize {
    let ticks = Duration::from_secs(1).as_millis() / TICK.as_millis();
    (rate / usize::try_from(ticks).unwrap_or(1)).max(1)
}

#[cfg(test)]
mod tests;
