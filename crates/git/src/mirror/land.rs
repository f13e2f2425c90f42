//! Landing commits: a compare-and-swap push, and the judgement of what became of it. The judgement rests on the
//! report's types and on where the branch points afterwards, never on the text of a message.

use std::sync::Arc;

use super::{Mirror, blocking, ref_name, sync};
use crate::capabilities::Learn;
use crate::commit::Prepared;
use crate::error::GitError;
use crate::fetch::Boundary;
use crate::http::RemoteError;
use crate::id::CommitId;
use crate::push::{self, Answer, Command};
use crate::store::PackStore;
use crate::{lsrefs, pack};

/// What to push.
#[derive(Debug, Clone, Copy)]
pub struct PushRequest<'a> {
    /// Without `refs/heads/`.
    pub branch: &'a str,
    /// Where the branch must point for the push to succeed; `None` means that it must not exist.
    pub expected_old: Option<CommitId>,
    /// The last commit; those that it builds on go with it.
    pub tip: &'a Prepared,
    /// Allows replacing `expected_old` by a commit that does not build on it, as Flux does with its push branch.
    pub rewrite: bool,
}

/// What became of a push.
#[derive(Debug)]
#[must_use = "only `Landed` means that the commit is on the branch"]
pub enum PushOutcome {
    /// The branch was seen to contain the commit.
    Landed {
        /// The server's words for people, cleaned, one line each.
        messages: Vec<String>,
    },
    /// The branch points elsewhere: start again from its tip.
    Moved {
        /// Where it points now; `None` when it does not exist.
        actual: Option<CommitId>,
    },
    /// The server refuses the commit, by a hook or a rule; the branch has not moved.
    Rejected {
        /// The server's reason for this branch.
        reason: String,
        /// The server's words for people, cleaned, one line each.
        messages: Vec<String>,
    },
    /// It is not known whether the commit landed: look at the branch before trying again.
    Unknown {
        /// What prevented knowing.
        error: GitError,
    },
}

impl Mirror {
    /// Pushes by one request, then looks at the branch. An error means that nothing was pushed.
    pub async fn push(&mut self, request: PushRequest<'_>) -> Result<PushOutcome, GitError> {
        let name = ref_name(request.branch)?;
        let start = request.tip.start();
        if let Some(expected) = request.expected_old
            && expected != start
            && !request.rewrite
        {
            let (base, expected) = (start.to_string(), expected.to_string());
            return Err(GitError::NotOnTip { base, expected });
        }
        let old = request.expected_old.map(|id| id.0);
        let command = Command { name: &name, old, new: request.tip.id().0 };
        let pack = self.encode(request.tip, &command).await?;
        let sent = self.send(&command, &pack).await;
        let accepted = matches!(&sent, Ok(answer) if answer.report.verdict(&name).is_ok());
        // An accepted commit almost certainly landed, so it is written to the mirror while we look.
        let writing = async { if accepted { Some(self.write(Arc::clone(&pack)).await) } else { None } };
        let (outcome, written) = tokio::join!(self.judge(request, &name, sent), writing);
        let outcome = outcome?;
        if let PushOutcome::Landed { .. } = &outcome {
            let written = match written {
                Some(written) => written,
                None => self.write(pack).await,
            };
            self.keep(request, written).await;
        }
        Ok(outcome)
    }

    /// The pack of everything new, thin where the server can complete it.
    async fn encode(&self, tip: &Prepared, command: &Command<'_>) -> Result<Arc<[u8]>, GitError> {
        let learned = self.remote.receive_server(Learn::IfUnknown).await?;
        let thin = !learned.server.no_thin;
        let store = self.current.as_ref().map(|generation| Arc::clone(&generation.store));
        let (tip, hash) = (tip.clone(), command.new.kind());
        blocking(move || {
            let mut reader = store.as_ref().map(|store| store.reader());
            let bases = reader.as_mut().filter(|_| thin);
            Ok(pack::encode(hash, &tip.objects(), bases)?.into())
        })
        .await
    }

    /// Sends the push, once more if the server turned out to differ from what was known of it. Sending twice is safe:
    /// the commit is the same, and the expected old id lets at most one of the two act.
    async fn send(&self, command: &Command<'_>, pack: &[u8]) -> Result<Answer, RemoteError> {
        let learned = self.remote.receive_server(Learn::IfUnknown).await?;
        match push::send(&self.remote, &learned.server, command, pack).await {
            Err(first) if learned.cached && first.disagrees() => {
                let again = async {
                    let learned = self.remote.receive_server(Learn::Anew).await?;
                    push::send(&self.remote, &learned.server, command, pack).await
                };
                match again.await {
                    // A refusal now does not undo what the first request may have done.
                    Err(_) if !first.is_refusal() => Err(first),
                    result => result,
                }
            }
            result => result,
        }
    }

    /// Looks at the branch and concludes what became of the push.
    async fn judge(
        &self,
        request: PushRequest<'_>,
        name: &str,
        sent: Result<Answer, RemoteError>,
    ) -> Result<PushOutcome, GitError> {
        let (verdict, messages) = match sent {
            Ok(answer) => (Ok(answer.report.verdict(name)), answer.words),
            Err(error) if error.is_refusal() => return Err(error.into()),
            Err(error) => (Err(error), Vec::new()),
        };
        let ours = request.tip.id();
        let actual = match lsrefs::ls_refs(&self.remote, &[request.branch]).await {
            Ok(tips) => tips.get(request.branch).copied().flatten().map(CommitId),
            Err(error) => {
                return Ok(PushOutcome::Unknown { error: verdict.err().unwrap_or(error).into() });
            }
        };
        if actual == Some(ours) {
            return Ok(PushOutcome::Landed { messages });
        }
        if actual == request.expected_old {
            return Ok(match verdict {
                Ok(Err(reason)) => PushOutcome::Rejected { reason, messages },
                Ok(Ok(())) => PushOutcome::Unknown { error: RemoteError::NotShown.into() },
                Err(error) => PushOutcome::Unknown { error: error.into() },
            });
        }
        // The branch points elsewhere. Unless the server said that it refused ours, somebody may have built on it.
        match (actual, verdict) {
            (Some(tip), Ok(Ok(())) | Err(_)) => Ok(match self.contains(tip, ours).await {
                Ok(true) => PushOutcome::Landed { messages },
                Ok(false) => PushOutcome::Moved { actual },
                Err(error) => PushOutcome::Unknown { error },
            }),
            _ => Ok(PushOutcome::Moved { actual }),
        }
    }

    /// Adds the pushed objects to the mirror's store.
    async fn write(&self, pack: Arc<[u8]>) -> Result<Option<PackStore>, GitError> {
        let Some(generation) = &self.current else { return Ok(None) };
        let store = Arc::clone(&generation.store);
        self.reading(move || Ok(Some(store.with_pack(&mut &pack[..], true)?))).await
    }

    /// Makes the landed commit the branch's tip here. If that fails, the next fetch gets it from the server.
    async fn keep(&mut self, request: PushRequest<'_>, written: Result<Option<PackStore>, GitError>) {
        let kept = async {
            let (Some(store), Some(generation)) = (written?, self.current.clone()) else { return Ok(None) };
            let (branch, tip) = (request.branch, request.tip.id().0);
            sync::track(generation, store, branch, tip, Boundary::default()).await.map(Some)
        };
        match kept.await {
            Ok(Some(generation)) => {
                self.current = Some(generation);
                self.prune_memo().await;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a landed commit is not kept and will be fetched"),
        }
    }
}
