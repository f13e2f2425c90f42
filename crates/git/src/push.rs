//! Sending a push (gitprotocol-pack, "Pushing Data To a Server"): one POST with the commands, the push options and the
//! pack. It reports what the server said; what that means is decided by looking at the branch.

use gix::ObjectId;
use windlass_failpoint::{self as failpoint, Point};

use crate::capabilities::ReceiveServer;
use crate::pktline::{self, Decoder, Packet};
use crate::remote::Remote;
use crate::report::Report;
use crate::sideband::Words;
use crate::transport::{Body, RemoteError, Service};

/// Largest answer that is read; hooks may print a lot, and most of it is dropped.
const MAX_ANSWER: u64 = 16 << 20;

/// One ref's update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    /// In full: `refs/heads/…`.
    pub(crate) name: String,
    /// `None` creates the ref.
    pub(crate) old: Option<ObjectId>,
    pub(crate) new: ObjectId,
}

/// Everything of one push.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Push<'a> {
    /// It has at least one.
    pub(crate) commands: &'a [Command],
    /// All of them or none: for servers that are atomic.
    pub(crate) together: bool,
    /// For the server's hooks; only for servers that offer to take them.
    pub(crate) options: &'a [String],
    pub(crate) pack: &'a [u8],
}

/// What the server said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) report: Report,
    pub(crate) rest: Rest,
}

/// What follows the report. A server runs its hooks that come after a push, and its maintenance, before it ends its
/// answer; the refs have moved already.
#[derive(Debug)]
pub(crate) enum Rest {
    /// Nothing: these are the server's words.
    Read(Vec<String>),
    /// To be read, after these words.
    Open(Box<Body>, Words),
}

impl Rest {
    /// Reads the answer to its end, and gives the server's words for people, hooks' output included.
    pub(crate) async fn words(self) -> Vec<String> {
        let (mut body, mut words) = match self {
            Self::Read(words) => return words,
            Self::Open(body, words) => (body, words),
        };
        // The report is whole. A connection that breaks now is not used again, and that is all.
        while let Ok(Some(_)) = body.data(&mut words).await {}
        drop(body.end().await);
        let mut words = words.into_lines();
        words.extend(body.asides());
        words
    }
}

/// Sends the push and reads the report.
pub(crate) async fn send(
    remote: &Remote,
    server: &ReceiveServer,
    push: Push<'_>,
) -> Result<Answer, RemoteError> {
    let request = encode(server, push);
    let mut body = remote.post(&server.base, Service::ReceivePack, false, request.into(), MAX_ANSWER).await?;
    failpoint::pass(Point::Sent).await?;
    let mut words = Words::default();
    let report = if server.side_band {
        read_demultiplexed(&mut body, &mut words).await?
    } else {
        read_plain(&mut body).await?
    };
    let report = Report::parse(&report).ok_or(RemoteError::NoReport)?;
    failpoint::pass(Point::Taken).await?;
    Ok(Answer { report, rest: Rest::Open(Box::new(body), words) })
}

fn encode(server: &ReceiveServer, push: Push<'_>) -> Vec<u8> {
    let mut request = Vec::with_capacity(push.pack.len() + 1024);
    for (at, Command { name, old, new }) in push.commands.iter().enumerate() {
        let old = old.unwrap_or(ObjectId::null(server.hash));
        let mut line = format!("{old} {new} {name}");
        if at == 0 {
            line.push_str("\0 ");
            line.push_str(&server.request);
            if !push.options.is_empty() {
                line.push_str(" push-options");
            }
        }
        pktline::write(&mut request, line.as_bytes());
    }
    request.extend_from_slice(pktline::FLUSH);
    if !push.options.is_empty() {
        for option in push.options {
            pktline::write(&mut request, option.as_bytes());
        }
        request.extend_from_slice(pktline::FLUSH);
    }
    request.extend_from_slice(push.pack);
    request
}

/// With side-band, channel 1 carries the report as packets inside packets, to a flush packet of its own.
async fn read_demultiplexed(body: &mut Body, words: &mut Words) -> Result<Vec<u8>, RemoteError> {
    let (mut report, mut inner) = (Vec::new(), Decoder::default());
    while let Some(piece) = body.data(words).await? {
        report.extend_from_slice(&piece);
        inner.feed(&piece);
        while let Ok(Some(packet)) = inner.next() {
            if packet == Packet::Flush {
                return Ok(report);
            }
        }
    }
    Ok(report)
}

/// Without side-band the report is the answer.
async fn read_plain(body: &mut Body) -> Result<Vec<u8>, RemoteError> {
    let mut report = Vec::new();
    while let Some(Packet::Data(line)) = body.packet().await? {
        pktline::write(&mut report, &line);
    }
    report.extend_from_slice(pktline::FLUSH);
    Ok(report)
}
