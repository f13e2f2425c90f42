//! A webhook sender that costs next to nothing: requests are complete bytes before the clock starts, connections stay
//! open, and of an answer only the status and the length are read. What a sender's load measures is the receiver.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::event::{ENVELOPE, Push, envelope};

/// An answer to a webhook is far smaller.
const MAX_ANSWER: usize = 16 * 1024;
/// A registry waits about so long for an answer: distribution 1 s, Harbor 3 s, Docker Hub longer.
const LONGEST_ANSWER: Duration = Duration::from_secs(3);
/// Registries pause for longer; a trial has less time.
const PAUSE: Duration = Duration::from_millis(25);

/// A distribution registry's notification of one push, as the bytes of a request.
pub fn announcement(host: SocketAddr, path: &str, token: &str, push: &Push<'_>) -> Vec<u8> {
    let body = envelope(&[*push]).to_string();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\nContent-Type: {ENVELOPE}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// One open connection.
#[derive(Debug)]
pub struct Line {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Line {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true).context("setting TCP_NODELAY")?;
        Ok(Self { stream, answer: Vec::with_capacity(MAX_ANSWER) })
    }

    /// Sends a request and reads the answer to its end; gives its status.
    ///
    /// # Errors
    /// When the connection breaks, or the answer is not HTTP as our own server writes it. The line is of no use then.
    pub async fn send(&mut self, request: &[u8]) -> Result<u16> {
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

/// What senders did so far.
#[derive(Debug, Default)]
pub struct Tally {
    requests: AtomicUsize,
    repeats: AtomicUsize,
}

impl Tally {
    /// Requests that were begun, repeats among them.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests that repeat one which was not answered with 2xx.
    pub fn repeats(&self) -> usize {
        self.repeats.load(Ordering::Relaxed)
    }
}

/// Delivers events as registries do: what is not answered with 2xx is sent again, byte by byte the same. Where several
/// processes take webhooks, each try goes to the next of them, as through a load balancer.
#[derive(Debug)]
pub struct Courier {
    doors: Vec<(SocketAddr, Option<Line>)>,
    next: usize,
    tally: Arc<Tally>,
}

impl Courier {
    /// A courier who begins with the door of this number.
    ///
    /// # Panics
    /// Without any door.
    pub fn new(doors: &[SocketAddr], first: usize, tally: Arc<Tally>) -> Self {
        assert!(!doors.is_empty(), "webhooks go somewhere");
        let doors = doors.iter().map(|door| (*door, None)).collect::<Vec<_>>();
        Self { next: first % doors.len(), doors, tally }
    }

    /// Sends until it is answered with 2xx.
    ///
    /// # Errors
    /// When nobody takes it `within` that time; the message has what came of the last try.
    pub async fn deliver(&mut self, request: &[u8], within: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.tally.requests.fetch_add(1, Ordering::Relaxed);
            let tried = self.try_once(request).await;
            if matches!(tried, Ok(200..=299)) {
                return Ok(());
            }
            if begun.elapsed() > within {
                let answer = tried.context("the last try")?;
                bail!("nobody took a webhook in {within:?}; the last answer was {answer}");
            }
            self.tally.repeats.fetch_add(1, Ordering::Relaxed);
            sleep(PAUSE).await;
        }
    }

    async fn try_once(&mut self, request: &[u8]) -> Result<u16> {
        let (door, line) = &mut self.doors[self.next];
        let talk = async {
            let mut open = match line.take() {
                Some(open) => open,
                None => Line::open(*door).await?,
            };
            let status = open.send(request).await?;
            *line = Some(open);
            anyhow::Ok(status)
        };
        let status = timeout(LONGEST_ANSWER, talk).await.context("no answer in time").flatten();
        self.next = (self.next + 1) % self.doors.len();
        status
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_fault::Proxy;
    use crate::http_server::Canned;
    use crate::port;
    use crate::traffic::{Match, Point};

    #[test]
    fn an_answer_is_complete_when_its_body_is() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nno\n";
        assert_eq!(complete(answer).unwrap(), Some(503));
        for end in 0..answer.len() {
            assert_eq!(complete(&answer[..end]).unwrap(), None, "{end}");
        }
        assert!(complete(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "its end cannot be known");
    }

    #[tokio::test]
    async fn what_is_refused_dropped_or_not_listened_to_is_sent_again() {
        let (closed, open) = (port::free().unwrap(), port::free().unwrap());
        let proxy = Proxy::start_at(open, "http://127.0.0.1:9").unwrap();
        let traffic = proxy.traffic();
        let answer = |status| Canned::status(status).header("content-length", "0");
        let accepting = traffic.answer(Match::path_ends_with("/hook"), answer(200));
        let push = Push { id: "1", host: "registry", repository: "a", tag: Some("1"), digest: "sha256:0" };
        let request = announcement(open, "/hook", "token", &push);
        let tally = Arc::new(Tally::default());
        let mut courier = Courier::new(&[closed, open], 0, tally.clone());
        courier.deliver(&request, Duration::from_mins(1)).await.unwrap();
        assert_eq!((tally.requests(), tally.repeats()), (2, 1));

        accepting.lift();
        let mut courier = Courier::new(&[open], 0, tally.clone());
        let dropping = traffic.disconnect(Match::any(), Point::Before);
        assert!(courier.deliver(&request, Duration::ZERO).await.is_err());
        assert_eq!(dropping.hits(), 1);
        dropping.lift();
        let _refusing = traffic.answer(Match::any(), answer(503));
        let error = courier.deliver(&request, Duration::ZERO).await.unwrap_err();
        assert!(error.to_string().contains("503"), "{error}");
    }
}
