//! The log's messages, and what each does to the state. All processes run the same messages in the same order, so that
//! their copies of the state are the same.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use crate::command::{Command, Reply};
use crate::error::{Cause, StoreErrorKind};
use crate::shared::member;
use crate::writer::Transaction;

/// Room for the generations that one message's commands can take, in bits: a million.
const GENERATION_BITS: u32 = 20;

/// The first line of a message; its body follows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Envelope {
    /// The log that the sender means: members of one are not those of another with the same name.
    pub(super) log: String,
    /// The member that sent it; 0 for one that joins.
    pub(super) from: i64,
    /// Which of the member's messages it is. One that comes again is not run again.
    pub(super) number: i64,
    /// The sender's time, which is the transaction's.
    pub(super) at: Timestamp,
    pub(super) what: What,
}

/// What a message does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum What {
    /// A process joins, in the place of an earlier one that ran on the same folder.
    Join { replaces: i64 },
    /// The body is a part of a list of commands.
    Part {
        /// Whether the list begins here. Parts of one that was given up before are forgotten.
        begins: bool,
    },
    /// The body, after the parts before it, is a list of commands.
    Commands {
        /// Whether the whole list is here; see [`Self::Part`].
        begins: bool,
    },
}

/// A message in its place.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) sequence: i64,
    /// Tells the message from any other.
    pub(super) id: String,
    pub(super) envelope: Envelope,
    pub(super) body: Vec<u8>,
}

/// What became of a message.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The process is this member now.
    Joined(i64),
    /// The part is kept.
    Kept,
    /// The commands' outcomes, in their order.
    Ran(Vec<Result<Reply, Cause>>),
    /// The sender is no member any more: nothing was done.
    Refused,
    /// The message came before: nothing was done again.
    Repeated,
}

impl Envelope {
    /// The message as it is sent.
    pub(super) fn seal(&self, body: &[u8]) -> Result<Vec<u8>, Cause> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(body);
        Ok(bytes)
    }

    /// Reads a message; `None` for one that this version did not write.
    pub(super) fn open(bytes: &[u8]) -> Option<(Self, Vec<u8>)> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        Some((serde_json::from_slice(&bytes[..end]).ok()?, bytes[end + 1..].to_vec()))
    }
}

impl Entry {
    /// Runs the message. An error means that it was not run and must be: the disk is full, or the like.
    pub(super) fn run(&self, transaction: &mut Transaction<'_>) -> Result<Outcome, Cause> {
        let Envelope { log, from, number, at, what } = &self.envelope;
        let meant = Position::read(transaction.db)?.log == *log;
        let mut generation = self.sequence << GENERATION_BITS;
        let mut own = Transaction {
            db: transaction.db,
            now: *at,
            changes: transaction.changes,
            owner: *from,
            generation: &mut generation,
        };
        let outcome = match what {
            What::Join { replaces } => {
                if meant {
                    member::remove(&mut own, *replaces)?;
                }
                member::add(own.db, self.sequence)?;
                Outcome::Joined(self.sequence)
            }
            What::Part { .. } | What::Commands { .. } if !meant => Outcome::Refused,
            What::Part { begins } | What::Commands { begins } => match member::last_number(own.db, *from)? {
                None => Outcome::Refused,
                Some(last) if last >= *number => Outcome::Repeated,
                Some(_) => {
                    member::count(own.db, *from, *number)?;
                    if *begins {
                        member::forget_parts(own.db, *from)?;
                    }
                    self.run_body(&mut own)?
                }
            },
        };
        own.db
            .prepare_cached("UPDATE position SET sequence = ?1, message = ?2")?
            .execute(params![self.sequence, self.id])?;
        Ok(outcome)
    }

    fn run_body(&self, transaction: &mut Transaction<'_>) -> Result<Outcome, Cause> {
        if matches!(self.envelope.what, What::Part { .. }) {
            member::keep_part(transaction.db, self.sequence, self.envelope.from, &self.body)?;
            return Ok(Outcome::Kept);
        }
        let mut body = member::take_parts(transaction.db, self.envelope.from)?;
        body.extend_from_slice(&self.body);
        let commands: Vec<Command> = serde_json::from_slice(&body)?;
        commands
            .iter()
            .map(|command| run_one(transaction, command))
            .collect::<Result<_, _>>()
            .map(Outcome::Ran)
    }
}

/// One command in a savepoint of its own. What it comes to is the same for every copy; only a failure of this copy's
/// disk is not, and stops it here.
fn run_one(transaction: &mut Transaction<'_>, command: &Command) -> Result<Result<Reply, Cause>, Cause> {
    let db = transaction.db;
    db.prepare_cached("SAVEPOINT command")?.execute([])?;
    let outcome = command.run(transaction);
    if let Err(cause) = &outcome {
        let of_this_disk = matches!(
            cause.kind(),
            StoreErrorKind::Full | StoreErrorKind::Io | StoreErrorKind::Busy | StoreErrorKind::Corrupt
        );
        if of_this_disk || db.is_autocommit() {
            return Err(cause.clone());
        }
        db.prepare_cached("ROLLBACK TO command")?.execute([])?;
    }
    db.prepare_cached("RELEASE command")?.execute([])?;
    Ok(outcome)
}

/// How far a copy has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// Which log.
    pub(super) log: String,
    /// The last message that was run.
    pub(super) sequence: i64,
    /// Its id.
    pub(super) message: String,
    /// Whose copy it is.
    pub(super) member: i64,
}

impl Position {
    pub(super) fn read(db: &rusqlite::Connection) -> rusqlite::Result<Self> {
        let row = db
            .prepare_cached("SELECT log, sequence, message, member FROM position")?
            .query_row([], |row| {
                Ok(Self {
                    log: row.get(0)?,
                    sequence: row.get(1)?,
                    message: row.get(2)?,
                    member: row.get(3)?,
                })
            })
            .optional()?;
        row.ok_or(rusqlite::Error::QueryReturnedNoRows)
    }
}
