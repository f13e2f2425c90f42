//! The reading side: a few connections that see the last committed state while the writer works.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::database;
use crate::error::{Cause, StoreError};

/// Reads at once. One long read (a list of 100,000 tags) leaves room for a short one.
const READERS: u32 = 2;

/// A pool of reading connections, opened when they are first needed.
#[derive(Debug)]
pub(crate) struct Readers {
    path: Arc<Path>,
    /// Each with the database that it reads: the how manieth of this process.
    idle: Mutex<Vec<(Connection, u64)>>,
    permits: Arc<Semaphore>,
    /// How often the writer had to write the database anew.
    rewritten: Arc<AtomicU64>,
}

impl Readers {
    pub(crate) fn new(path: Arc<Path>, open: Vec<Connection>, rewritten: Arc<AtomicU64>) -> Arc<Self> {
        let idle = Mutex::new(open.into_iter().map(|connection| (connection, 0)).collect());
        Arc::new(Self { path, idle, permits: Arc::new(Semaphore::new(READERS as usize)), rewritten })
    }

    /// The database file.
    pub(crate) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Runs a query on a blocking thread.
    pub(crate) async fn read<T, F>(self: &Arc<Self>, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let failed = |cause| StoreError::new(&self.path, cause);
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| failed(Cause::Closed))?;
        let readers = Arc::clone(self);
        let answer = tokio::task::spawn_blocking(move || {
            // The permit ends with the connection's use, not with the caller's interest in it.
            let _permit = permit;
            let reader = readers.take()?;
            let answer = query(&reader.0);
            readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            answer
        });
        // The runtime cancels a blocking task only while it shuts down.
        answer.await.map_err(|_| failed(Cause::Closed))?.map_err(|error| failed(Cause::from(error)))
    }

    /// Waits for the reads in progress and closes every connection; later reads fail with `Closed`.
    pub(crate) async fn close(&self) {
        if let Ok(permits) = self.permits.acquire_many(READERS).await {
            permits.forget();
            self.permits.close();
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn take(&self) -> rusqlite::Result<(Connection, u64)> {
        let rewritten = self.rewritten.load(Ordering::SeqCst);
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            // Where its files were deleted, it still tells what is known, until the writer has written them anew.
            Some(reader) if reader.1 == rewritten => Ok(reader),
            _ => Ok((database::open_reader(&self.path)?, rewritten)),
        }
    }
}
