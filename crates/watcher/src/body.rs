//! Reading a request's body within a size, a time and a share of memory. Owns these bounds; knows nothing of senders.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The grain in which memory is counted. A webhook is a few kilobytes, so nearly every request takes one.
const GRAIN: usize = 64 * 1024;

/// The memory that all bodies in flight share. It bounds their number too: each takes at least one grain.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Budget {
    /// A budget of so many bytes, rounded up to whole grains.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.div_ceil(GRAIN).clamp(1, Semaphore::MAX_PERMITS))))
    }

    fn take(&self, grains: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let grains = u32::try_from(grains).map_err(|_| BodyError::Busy)?;
        Arc::clone(&self.0).try_acquire_many_owned(grains).map_err(|_| BodyError::Busy)
    }
}

/// A body that was read; its share of the budget returns when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

/// Why a body was not read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// Over the limit, as announced or as it came.
    TooLarge,
    /// Not complete within the deadline.
    Timeout,
    /// The connection broke off, or the transfer encoding is wrong.
    Broken,
    /// The budget is used up.
    Busy,
}

/// Reads a body to its end. `announced` is the `Content-Length`: too large a one is refused before anything is read.
/// The share of the budget grows with what has arrived, not with what was announced, so that an idle connection
/// holds one grain.
pub(crate) async fn read(
    body: Body,
    announced: Option<u64>,
    limit: usize,
    deadline: Duration,
    budget: &Budget,
) -> Result<Held, BodyError> {
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(BodyError::TooLarge);
    }
    tokio::time::timeout(deadline, gather(body, limit, budget)).await.unwrap_or(Err(BodyError::Timeout))
}

async fn gather(mut body: Body, limit: usize, budget: &Budget) -> Result<Held, BodyError> {
    let mut share = budget.take(1)?;
    let mut whole = Gathered::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        let Ok(data) = frame.into_data() else { continue };
        let length = whole.len() + data.len();
        if length > limit {
            return Err(BodyError::TooLarge);
        }
        let wanted = length.div_ceil(GRAIN);
        if wanted > share.num_permits() {
            share.merge(budget.take(wanted - share.num_permits())?);
        }
        whole.push(data);
    }
    Ok(Held { bytes: whole.finish(), _share: share })
}

/// A body in one piece, which is the rule, is not copied.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    rest: Option<BytesMut>,
}

impl Gathered {
    fn len(&self) -> usize {
        self.rest.as_ref().map_or(self.first.len(), BytesMut::len)
    }

    fn push(&mut self, data: Bytes) {
        match &mut self.rest {
            Some(rest) => rest.extend_from_slice(&data),
            None if self.first.is_empty() => self.first = data,
            None => {
                let mut rest = BytesMut::from(&self.first[..]);
                rest.extend_from_slice(&data);
                self.rest = Some(rest);
            }
        }
    }

    fn finish(self) -> Bytes {
        self.rest.map_or(self.first, BytesMut::freeze)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 4 * GRAIN;
    const LONG: Duration = Duration::from_mins(1);

    fn chunked(chunks: &[usize]) -> Body {
        let chunks: Vec<Result<Bytes, std::io::Error>> =
            chunks.iter().map(|length| Ok(Bytes::from(vec![b'x'; *length]))).collect();
        Body::from_stream(futures_util::stream::iter(chunks))
    }

    #[tokio::test]
    async fn bodies_are_read_whole_up_to_the_limit() {
        let budget = Budget::new(LIMIT);
        for (chunks, expected) in [
            (vec![], Ok(0)),
            (vec![0, 5], Ok(5)),
            (vec![3, 4, 5], Ok(12)),
            (vec![LIMIT], Ok(LIMIT)),
            (vec![LIMIT, 1], Err(BodyError::TooLarge)),
            (vec![LIMIT + 1], Err(BodyError::TooLarge)),
        ] {
            let read = read(chunked(&chunks), None, LIMIT, LONG, &budget).await.map(|held| held.bytes.len());
            assert_eq!(read, expected, "{chunks:?}");
        }
    }

    #[tokio::test]
    async fn an_announced_length_over_the_limit_is_refused_unread() {
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let refused = read(never, Some(LIMIT as u64 + 1), LIMIT, LONG, &Budget::new(LIMIT)).await;
        assert_eq!(refused.unwrap_err(), BodyError::TooLarge);
    }

    #[tokio::test]
    async fn a_body_that_never_ends_runs_into_the_deadline() {
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let late = read(never, None, LIMIT, Duration::from_millis(1), &Budget::new(LIMIT)).await;
        assert_eq!(late.unwrap_err(), BodyError::Timeout);
    }

    #[tokio::test]
    async fn memory_in_flight_is_bounded_and_returned() {
        let budget = Budget::new(2 * GRAIN);
        let held = read(chunked(&[GRAIN + 1]), None, LIMIT, LONG, &budget).await.unwrap();
        let refused = read(chunked(&[1]), None, LIMIT, LONG, &budget).await;
        assert_eq!(refused.unwrap_err(), BodyError::Busy, "two grains are held by the first");
        drop(held);
        assert!(read(chunked(&[1]), None, LIMIT, LONG, &budget).await.is_ok());
    }

    #[tokio::test]
    async fn a_broken_connection_is_not_a_short_body() {
        let broken = Body::from_stream(futures_util::stream::iter([
            Ok(Bytes::from_static(b"{")),
            Err(std::io::Error::other("reset by peer")),
        ]));
        assert_eq!(
            read(broken, None, LIMIT, LONG, &Budget::new(LIMIT)).await.unwrap_err(),
            BodyError::Broken
        );
    }
}
