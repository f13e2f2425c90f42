//! Sending a push (gitprotocol-pack, "Pushing Data To a Server"): one POST with one command and the pack. It reports
//! what the server said; what that means is decided by looking at the branch.

use gix::ObjectId;

use crate::capabilities::ReceiveServer;
use crate::http::{Body, RemoteError, Service};
use crate::pktline::{self, Packet};
use crate::remote::Remote;
use crate::report::Report;
use crate::sideband::Words;

/// Largest answer that is read; hooks may print a lot, and most of it is dropped.
const MAX_ANSWER: u64 = 16 << 20;

/// The ref update.
#[derive(Debug)]
pub(crate) struct Command<'a> {
    /// In full: `refs/heads/…`.
    pub(crate) name: &'a str,
    /// `None` creates the ref.
    pub(crate) old: Option<ObjectId>,
    pub(crate) new: ObjectId,
}

/// What the server said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) report: Report,
    /// Its words for people, hooks' output included.
    pub(crate) words: Vec<String>,
}

/// Sends the push and reads the report.
pub(crate) async fn send(
    remote: &Remote,
    server: &ReceiveServer,
    command: &Command<'_>,
    pack: &[u8],
) -> Result<Answer, RemoteError> {
    let old = command.old.unwrap_or(ObjectId::null(server.hash));
    let line = format!("{old} {} {}\0 {}", command.new, command.name, server.request);
    let mut request = Vec::with_capacity(line.len() + pack.len() + 16);
    pktline::write(&mut request, line.as_bytes());
    request.extend_from_slice(pktline::FLUSH);
    request.extend_from_slice(pack);
    let mut body = remote.post(&server.base, Service::ReceivePack, false, request.into(), MAX_ANSWER).await?;
    let mut words = Words::default();
    let report = if server.side_band {
        read_demultiplexed(&mut body, &mut words).await?
    } else {
        read_plain(&mut body).await?
    };
    let report = Report::parse(&report).ok_or(RemoteError::NoReport)?;
    // The report is whole. A connection that breaks now is not used again, and that is all.
    drop(body.end().await);
    Ok(Answer { report, words: words.into_lines() })
}

/// With side-band, channel 1 carries the report as packets inside packets.
async fn read_demultiplexed(body: &mut Body, words: &mut Words) -> Result<Vec<u8>, RemoteError> {
    let mut report = Vec::new();
    while let Some(piece) = body.data(words).await? {
        report.extend_from_slice(&piece);
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
