//! The one writer: a thread that owns the writing connection and the folder's lock.
//!
//! Requests queue up while a commit waits for the disk; all that wait then go into the next transaction (group
//! commit). Each request runs in its own savepoint, so that one that fails takes nothing else with it, and each is
//! answered only after the commit is on disk.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use windlass_model::Clock;

use crate::board::{Board, Changes, Returned};
use crate::column;
use crate::command::Command;
use crate::database;
use crate::error::{Cause, StoreErrorKind};
use crate::folder::{Folder, OpenError};
use crate::place::{self, Place};
use crate::queue;

/// Most requests in one transaction: bounds the time until the first of them is answered.
const BATCH: usize = 512;
/// Requests that may wait; past this, callers wait for room. Eight batches are well under a second of work.
const WAITING: usize = 8 * BATCH;

/// What a database is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It is the state.
    Embedded,
    /// It is this process's copy of a state that several processes share.
    Shared,
}

/// The handle to the writer's thread. Dropping it lets the accepted requests finish and waits for them.
#[derive(Debug)]
pub(crate) struct Writer {
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Takes the folder, opens and migrates the database, and starts to serve.
    pub(crate) async fn start(
        dir: &Path,
        use_of: Use,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Arc<Board>, Arc<Path>), OpenError> {
        let (requests, inbox) = mpsc::channel(WAITING);
        let board = Board::new(requests.downgrade());
        let (opened, ready) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("windlass-store".into())
            .spawn({
                let (dir, board) = (dir.to_owned(), Arc::clone(&board));
                move || run(&dir, use_of, clock, board, inbox, opened)
            })
            .map_err(|source| thread_failed(dir.to_owned(), source))?;
        let writer = Self { requests: Mutex::new(Some(requests)), thread: Mutex::new(Some(thread)) };
        let path = ready.await.map_err(|_| {
            thread_failed(
                dir.to_owned(),
                std::io::Error::other("the thread ended before the database was open"),
            )
        })??;
        Ok((writer, board, path))
    }

    /// Runs `work` in the next transaction, and answers once that is on disk. If this future is dropped, the work
    /// may be done all the same.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, Cause>
    where
        T: Send + 'static,
        F: FnOnce(&mut Transaction<'_>) -> Result<T, Cause> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Write(Box::new(Pending { work: Some(work), outcome: None, reply }))).await?;
        answer.await.unwrap_or(Err(Cause::Closed))
    }

    /// Runs `work` between two transactions.
    pub(crate) async fn outside<F>(&self, work: F) -> Result<(), Cause>
    where
        F: FnOnce(&mut Connection) -> Result<(), Cause> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let replying = move |db: &mut Connection| drop(reply.send(work(db)));
        self.send(Request::Outside(Box::new(replying))).await?;
        answer.await.unwrap_or(Err(Cause::Closed))
    }

    /// Finishes what was accepted, brings everything into the database file and releases the folder.
    pub(crate) async fn close(&self) -> Result<(), Cause> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Close(reply)).await?;
        answer.await.unwrap_or(Err(Cause::Closed))
    }

    async fn send(&self, request: Request) -> Result<(), Cause> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        requests.ok_or(Cause::Closed)?.send(request).await.map_err(|_| Cause::Closed)
    }

    /// As dropping does: lets the accepted requests finish and releases the folder, whoever else has this writer.
    pub(crate) fn end(&self) {
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's writer panicked");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

fn thread_failed(path: PathBuf, source: std::io::Error) -> OpenError {
    OpenError::Io { action: "start the writer for", path, source }
}

/// What a request sees of the transaction that it runs in.
pub(crate) struct Transaction<'a> {
    /// The connection, inside the request's savepoint.
    pub(crate) db: &'a Connection,
    /// When the transaction began.
    pub(crate) now: Timestamp,
    /// To be told after the commit.
    pub(crate) changes: &'a mut Changes,
    /// Who claims, sends and holds leases: a member of a shared queue; 0 in an embedded store.
    pub(crate) owner: i64,
    /// The highest generation in use.
    pub(crate) generation: &'a mut i64,
}

impl Transaction<'_> {
    /// A number above every generation in use. No number is given twice while the process lives, so that a report
    /// on old work can never be taken for one on new work of the same key.
    pub(crate) fn next_generation(&mut self) -> i64 {
        *self.generation += 1;
        *self.generation
    }
}

/// A message to the writer.
pub(crate) enum Request {
    Write(Box<dyn Write>),
    /// Work that must not run in a transaction.
    Outside(Box<dyn FnOnce(&mut Connection) + Send>),
    /// Something was given back; see `Board::give_back`.
    Wake,
    Close(oneshot::Sender<Result<(), Cause>>),
}

/// A request with its types erased.
pub(crate) trait Write: Send {
    /// Does the work; on an error the caller of this rolls the savepoint back.
    fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Cause>;
    /// Answers, after the commit.
    fn reply(self: Box<Self>, committed: &Result<(), Cause>);
}

struct Pending<F, T> {
    work: Option<F>,
    outcome: Option<Result<T, Cause>>,
    reply: oneshot::Sender<Result<T, Cause>>,
}

impl<F, T> Write for Pending<F, T>
where
    T: Send,
    F: FnOnce(&mut Transaction<'_>) -> Result<T, Cause> + Send,
{
    fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Cause> {
        let outcome = self.work.take().map_or(Err(Cause::Closed), |work| work(transaction));
        let result = outcome.as_ref().map(|_| ()).map_err(Cause::clone);
        self.outcome = Some(outcome);
        result
    }

    fn reply(self: Box<Self>, committed: &Result<(), Cause>) {
        let answer = match self.outcome {
            Some(outcome) => outcome.and_then(|value| committed.clone().map(|()| value)),
            // The transaction ended before this request's turn.
            None => Err(committed.clone().err().unwrap_or(Cause::Closed)),
        };
        // Nobody waits any more: the value's own drop gives claims back.
        let _ = self.reply.send(answer);
    }
}

/// The thread's body.
fn run(
    dir: &Path,
    use_of: Use,
    clock: Arc<dyn Clock>,
    board: Arc<Board>,
    requests: mpsc::Receiver<Request>,
    opened: oneshot::Sender<Result<Arc<Path>, OpenError>>,
) {
    let (thread, path) = match WriterThread::open(dir, use_of, clock, board) {
        Ok(open) => open,
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    if opened.send(Ok(path)).is_ok() {
        thread.serve(requests);
    }
}

struct WriterThread {
    // Declared before the folder, so that the connection is closed before the lock is released.
    db: Connection,
    folder: Folder,
    path: Arc<Path>,
    place: Place,
    clock: Arc<dyn Clock>,
    board: Arc<Board>,
    use_of: Use,
    generation: i64,
}

impl WriterThread {
    fn open(
        dir: &Path,
        use_of: Use,
        clock: Arc<dyn Clock>,
        board: Arc<Board>,
    ) -> Result<(Self, Arc<Path>), OpenError> {
        let folder = Folder::hold(dir)?;
        let path = folder.database()?;
        let db = database::open_writer(&path, use_of)?;
        let generation = queue::last_generation(&db).map_err(|source| database::explain(&path, source))?;
        let place = Place::of(&path);
        let thread = Self { db, folder, path: Arc::clone(&path), place, clock, board, use_of, generation };
        Ok((thread, path))
    }

    fn serve(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut closing = Vec::new();
        let mut batch = Vec::with_capacity(BATCH);
        while requests.blocking_recv_many(&mut batch, BATCH) > 0 {
            let mut writes = Vec::with_capacity(batch.len());
            for request in batch.drain(..) {
                match request {
                    Request::Write(write) => writes.push(write),
                    Request::Outside(work) => {
                        self.commit(std::mem::take(&mut writes));
                        work(&mut self.db);
                    }
                    Request::Wake => {}
                    Request::Close(reply) => {
                        requests.close();
                        closing.push(reply);
                    }
                }
            }
            self.commit(writes);
        }
        let closed = self.stay_in_place().and(self.close());
        for reply in closing {
            let _ = reply.send(closed.clone());
        }
    }

    fn commit(&mut self, mut writes: Vec<Box<dyn Write>>) {
        let mut changes = Changes::default();
        let committed = self.transact(&mut writes, &mut changes);
        if committed.is_ok() {
            self.publish(&changes);
        }
        for write in writes {
            write.reply(&committed);
        }
    }

    fn transact(&mut self, writes: &mut [Box<dyn Write>], changes: &mut Changes) -> Result<(), Cause> {
        self.stay_in_place()?;
        self.statement("BEGIN IMMEDIATE")?;
        // What is given back to a shared queue goes through its log.
        let returned = match self.use_of {
            Use::Embedded => self.board.take_returned(),
            Use::Shared => Vec::new(),
        };
        let result = self
            .run_all(&returned, writes, changes)
            .and_then(|()| self.statement("COMMIT").map_err(Cause::from));
        if result.is_err() {
            // Whoever gave a claim back is gone and will not do it again.
            self.board.put_returned(returned);
            if !self.db.is_autocommit()
                && let Err(error) = self.statement("ROLLBACK")
            {
                tracing::error!(%error, "the store could not roll back");
            }
        }
        // What was committed into a file that is gone is not durable: it must not be acknowledged.
        result.and_then(|()| self.stay_in_place())
    }

    /// Writes the database anew where its files were deleted under this process.
    fn stay_in_place(&mut self) -> Result<(), Cause> {
        if Place::of(&self.path) == self.place {
            return Ok(());
        }
        tracing::error!(path = %self.path.display(), "the database was deleted while this process runs on it; it is written anew");
        self.db = place::write_anew(&self.db, &self.path, self.use_of)?;
        self.place = Place::of(&self.path);
        self.board.rewritten().fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn run_all(
        &mut self,
        returned: &[Returned],
        writes: &mut [Box<dyn Write>],
        changes: &mut Changes,
    ) -> Result<(), Cause> {
        let (db, now) = (&self.db, self.clock.now());
        let mut transaction = Transaction { db, now, changes, owner: 0, generation: &mut self.generation };
        for item in returned {
            Command::GiveBack(item.clone()).run(&mut transaction)?;
        }
        for write in writes {
            db.prepare_cached("SAVEPOINT request")?.execute([])?;
            if let Err(cause) = write.run(&mut transaction) {
                if db.is_autocommit() {
                    // A full disk or a failing one rolled the whole transaction back.
                    return Err(cause);
                }
                db.prepare_cached("ROLLBACK TO request")?.execute([])?;
            }
            db.prepare_cached("RELEASE request")?.execute([])?;
        }
        Ok(())
    }

    fn statement(&self, sql: &str) -> rusqlite::Result<()> {
        self.db.prepare_cached(sql)?.execute([]).map(|_| ())
    }

    fn publish(&self, changes: &Changes) {
        if changes.claims {
            match queue::claimed(&self.db) {
                Ok(claimed) => self.board.show_claimed(column::unsigned(claimed)),
                Err(error) => tracing::error!(%error, "the store could not count its claims"),
            }
        }
        self.board.announce(changes);
    }

    /// Moves the log into the database file, then closes it and releases the folder.
    fn close(self) -> Result<(), Cause> {
        // A tool that reads at this moment keeps the log alive; nothing is lost, the next open finds it.
        let checkpoint = match self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            Err(error) => Err(Cause::from(error)),
            Ok(()) => Ok(()),
        };
        let closed = self.db.close().map_err(|(_, error)| Cause::from(error));
        drop(self.folder);
        match checkpoint.and(closed) {
            Err(Cause::Sqlite(error)) if crate::error::kind_of(&error) == StoreErrorKind::Busy => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc as blocking;

    struct Epoch;

    impl Clock for Epoch {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }
    }

    fn note(text: &str) -> impl FnOnce(&mut Transaction<'_>) -> Result<(), Cause> + Send + 'static {
        let text = text.to_owned();
        move |transaction| {
            transaction
                .db
                .execute("INSERT INTO audit (at, kind, object, detail) VALUES (0, 'test', '', ?1)", [text])?;
            Ok(())
        }
    }

    async fn notes(writer: &Writer) -> Vec<String> {
        let read = |transaction: &mut Transaction<'_>| {
            let mut statement = transaction.db.prepare("SELECT detail FROM audit ORDER BY id")?;
            let notes = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(notes)
        };
        writer.run(read).await.unwrap()
    }

    #[tokio::test]
    async fn failing_request_takes_nothing_else_of_its_transaction_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, ..) = Writer::start(folder.path(), Use::Embedded, Arc::new(Epoch)).await.unwrap();
        // While the first request holds the writer up, the others gather for one transaction.
        let (release, held) = blocking::channel::<()>();
        let hold_up = writer.run(move |_| held.recv().map_err(|_| Cause::Closed));
        let fails = writer.run(|transaction| {
            note("rolled back")(transaction)?;
            transaction.db.execute("INSERT INTO audit (at) VALUES ('not a number')", [])?;
            Ok(())
        });
        let releases = async { release.send(()).unwrap() };
        let (first, before, failed, after, ()) =
            tokio::join!(hold_up, writer.run(note("before")), fails, writer.run(note("after")), releases);
        first.unwrap();
        before.unwrap();
        after.unwrap();
        assert_eq!(failed.unwrap_err().kind(), StoreErrorKind::Internal);
        assert_eq!(notes(&writer).await, ["before", "after"]);
    }

    #[tokio::test]
    async fn full_disk_is_told_to_the_caller_and_the_writer_goes_on_when_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, ..) = Writer::start(folder.path(), Use::Embedded, Arc::new(Epoch)).await.unwrap();
        let pages = |pages: u32| {
            writer.run(move |transaction| {
                let sql = format!("PRAGMA max_page_count = {pages}");
                Ok(transaction.db.query_row(&sql, [], |row| row.get::<_, i64>(0))?)
            })
        };
        writer.run(note("small")).await.unwrap();
        pages(1).await.unwrap(); // SQLite takes the present size instead.
        let full = writer.run(note(&"large".repeat(100_000))).await.unwrap_err();
        assert_eq!(full.kind(), StoreErrorKind::Full);
        pages(1 << 20).await.unwrap();
        writer.run(note("again")).await.unwrap();
        assert_eq!(notes(&writer).await, ["small", "again"]);
    }
}
