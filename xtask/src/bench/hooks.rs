//! A webhook sender that costs next to nothing: requests are complete bytes before the clock starts, connections stay
//! open, and of an answer only the status and the length are read. What it measures is the receiver.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use windlass_testkit::event::{ENVELOPE, Push, envelope};

use super::figures::Samples;
use super::stage::TOKEN;

/// An answer to a webhook is far smaller.
const MAX_ANSWER: usize = 16 * 1024;

/// A distribution registry's notification of one push, as the bytes of a request.
pub(crate) fn announcement(address: SocketAddr, path: &str, push: &Push<'_>) -> Vec<u8> {
    let body = envelope(&[*push]).to_string();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {TOKEN}\r\nContent-Type: {ENVELOPE}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// One open connection.
pub(crate) struct Line {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Line {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true).context("setting TCP_NODELAY")?;
        Ok(Self { stream, answer: Vec::with_capacity(MAX_ANSWER) })
    }

    /// Sends a request and reads the answer to its end; gives its status.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await.context("sending a webhook")?;
        self.answer.clear();
        loop {
            if let Some(status) = complete(&self.answer)? {
                return Ok(status);
            }
            ensure!(self.answer.len() < MAX_ANSWER, "the answer to a webhook has no end");
            let read = self.stream.read_buf(&mut self.answer).await.context("reading an answer")?;
            ensure!(read > 0, "the connection was closed in the middle of an answer");
        }
    }
}

/// The status, once the answer is whole.
fn complete(answer: &[u8]) -> Result<Option<u16>> {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&answer[..head]).context("an answer's head is not text")?;
    let mut lines = text.split("\r\n");
    let status =
        lines.next().and_then(|line| line.split(' ').nth(1)).context("an answer without a status")?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let Some(length) = length else { bail!("an answer that does not state its length") };
    let whole = answer.len() >= head + 4 + length;
    Ok(if whole { Some(status.parse().context("a status that is no number")?) } else { None })
}

/// What became of a flood.
pub(crate) struct Flood {
    /// From each request's first byte to its answer.
    pub(crate) waits: Samples,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
}

/// Sends requests over so many connections, each sending its next when it was answered; stops early after `within`.
/// Every answer must be 200.
pub(crate) async fn flood(
    address: SocketAddr,
    requests: Vec<Vec<u8>>,
    connections: usize,
    within: Duration,
) -> Result<Flood> {
    let mut shares: Vec<Vec<Vec<u8>>> = (0..connections).map(|_| Vec::new()).collect();
    for (number, request) in requests.into_iter().enumerate() {
        shares[number % connections].push(request);
    }
    let mut lines = Vec::with_capacity(connections);
    for share in shares {
        lines.push((Line::open(address).await?, share));
    }
    let started = Instant::now();
    let mut senders = JoinSet::new();
    for (line, share) in lines {
        senders.spawn(send_all(line, share, started + within));
    }
    let mut waits = Vec::new();
    while let Some(sent) = senders.join_next().await {
        waits.extend(sent.context("a sender panicked")??);
    }
    Ok(Flood { waits: Samples::new(waits), took: started.elapsed() })
}

async fn send_all(mut line: Line, requests: Vec<Vec<u8>>, end: Instant) -> Result<Vec<Duration>> {
    let mut waits = Vec::with_capacity(requests.len());
    for request in &requests {
        let begun = Instant::now();
        if begun >= end {
            break;
        }
        let status = line.send(request).await?;
        ensure!(status == 200, "a webhook was answered {status}");
        waits.push(begun.elapsed());
    }
    Ok(waits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_when_its_body_is() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nno\n";
        assert_eq!(complete(answer).unwrap(), Some(503));
        for end in 0..answer.len() {
            assert_eq!(complete(&answer[..end]).unwrap(), None, "{end}");
        }
        assert!(complete(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "its end cannot be known");
    }
}
