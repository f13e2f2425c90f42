//! Landing commits: a compare-and-swap push, and the judgement of what became of it. The judgement rests on the
//! report's types and on where the branch points afterwards, never on the text of a message.

use std::collections::BTreeMap;
use std::sync::Arc;

use gix::ObjectId;
use windlass_failpoint::{self as failpoint, Point};

use super::{Mirror, blocking, ref_name, sync};
use crate::commit::Prepared;
use crate::error::GitError;
use crate::fetch::Boundary;
use crate::id::CommitId;
use crate::lsrefs::HEADS;
use crate::pack;
use crate::push::{Answer, Command, Push, Rest};
use crate::report::Report;
use crate::store::PackStore;
use crate::transport::RemoteError;

/// Refs of code review servers (Gerrit, Gitea's AGit): a push to one opens a review, and no ref is kept.
const REVIEW: &str = "refs/for/";

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
    /// Further refs that get the commit, in full: below `refs/heads/`, where they are never overwritten, or below
    /// `refs/for/`. They move together with the branch where the server can do that (`atomic`), else after it.
    pub also: &'a [String],
    /// Push options, for the server's hooks.
    pub options: &'a [String],
}

impl<'a> PushRequest<'a> {
    /// A push to one branch that keeps what it points to.
    pub fn new(branch: &'a str, expected_old: Option<CommitId>, tip: &'a Prepared) -> Self {
        Self { branch, expected_old, tip, rewrite: false, also: &[], options: &[] }
    }
}

/// A ref that did not move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// In full.
    pub name: String,
    /// The server's reason, or why it is not known.
    pub reason: String,
}

/// What became of a push.
#[derive(Debug)]
#[must_use = "only `Landed` means that the commit is where it was pushed to"]
pub enum PushOutcome {
    /// The branch was seen to contain the commit, and every further ref was accepted.
    Landed {
        /// The server's words for people, cleaned, one line each.
        messages: Vec<String>,
    },
    /// The branch was seen to contain the commit, but a further ref does not have it.
    Partly {
        /// The further refs that did not move.
        refusals: Vec<Refusal>,
        /// The server's words for people, cleaned, one line each.
        messages: Vec<String>,
    },
    /// A ref points elsewhere, and nothing moved: start again from the branch's tip.
    Moved {
        /// Where the branch points now; `None` when it does not exist.
        actual: Option<CommitId>,
    },
    /// The server refuses the commit, by a hook or a rule; the branch has not moved.
    Rejected {
        /// Each ref that was refused.
        refusals: Vec<Refusal>,
        /// The server's words for people, cleaned, one line each.
        messages: Vec<String>,
    },
    /// It is not known whether the commit landed: look at the branch before trying again.
    Unknown {
        /// What prevented knowing.
        error: GitError,
    },
}

impl PushOutcome {
    /// With these words of the server before those that it has, where it tells any.
    fn with(mut self, mut words: Vec<String>) -> Self {
        if let Self::Landed { messages } | Self::Partly { messages, .. } | Self::Rejected { messages, .. } =
            &mut self
        {
            words.append(messages);
            *messages = words;
        }
        self
    }
}

impl Mirror {
    /// Pushes by one request (by a second one for the further refs, where the server is not atomic), then looks at the
    /// branch. An error means that nothing was pushed.
    pub async fn push(&mut self, request: PushRequest<'_>) -> Result<PushOutcome, GitError> {
        let commands = self.commands(&request).await?;
        let options = request.options;
        let server = self.receiver(&commands, options).await?;
        let together = commands.len() == 1 || server.atomic;
        let first = if together { &commands[..] } else { &commands[..1] };
        let pack = self.encode(request.tip, server.no_thin).await?;
        let (report, rest) = match self.send(Push { commands: first, together, options, pack: &pack }).await {
            Ok(Answer { report, rest }) => (Ok(report), rest),
            Err(error) => (Err(error), Rest::Read(Vec::new())),
        };
        let branch = &commands[0].name;
        let accepted = matches!(&report, Ok(report) if report.verdict(branch).is_ok());
        // An accepted commit almost certainly landed, so it is written to the mirror while we look, and while the server
        // runs what it runs after a push.
        let writing = async { if accepted { Some(self.write(Arc::clone(&pack)).await) } else { None } };
        let (outcome, written, words) =
            tokio::join!(Box::pin(self.judge(request, first, report)), writing, rest.words());
        let mut outcome = outcome?.with(words);
        if let PushOutcome::Landed { .. } | PushOutcome::Partly { .. } = &outcome {
            let written = match written {
                Some(written) => written,
                None => self.write(pack).await,
            };
            self.keep(request, written).await;
        }
        if let PushOutcome::Landed { messages } = outcome {
            outcome = if together {
                PushOutcome::Landed { messages }
            } else {
                self.follow(&commands[1..], options).await.with(messages)
            };
        }
        Ok(outcome)
    }

    /// Brings further refs to a commit that the branch has: what [`PushOutcome::Partly`] left behind.
    pub async fn bring_along(
        &self,
        branch: &str,
        tip: CommitId,
        also: &[String],
        options: &[String],
    ) -> Result<PushOutcome, GitError> {
        let mut commands = self.further(branch, tip, tip.0, also).await?;
        commands.retain(|command| command.old != Some(command.new));
        if commands.is_empty() {
            return Ok(PushOutcome::Landed { messages: Vec::new() });
        }
        self.receiver(&commands, options).await?;
        Ok(self.follow(&commands, options).await)
    }

    /// The updates, the branch's first. Nothing but a rewritten branch may lose commits.
    async fn commands(&self, request: &PushRequest<'_>) -> Result<Vec<Command>, GitError> {
        let (start, new) = (request.tip.start(), request.tip.id().0);
        if let Some(expected) = request.expected_old
            && expected != start
            && !request.rewrite
        {
            let (base, expected) = (start.to_string(), expected.to_string());
            return Err(GitError::NotOnTip { base, expected });
        }
        let name = ref_name(request.branch)?;
        let mut commands = vec![Command { name, old: request.expected_old.map(|id| id.0), new }];
        commands.extend(self.further(request.branch, start, new, request.also).await?);
        Ok(commands)
    }

    /// The further refs' updates from where they are, which `base` must contain, to `new`.
    async fn further(
        &self,
        branch: &str,
        base: CommitId,
        new: ObjectId,
        also: &[String],
    ) -> Result<Vec<Command>, GitError> {
        let branches = further_branches(branch, also)?;
        let tips = self.tips(&branches).await?;
        let mut commands = Vec::with_capacity(also.len());
        for name in also {
            let old = name.strip_prefix(HEADS).and_then(|branch| tips.get(branch).copied().flatten());
            let keeps = match old.map(CommitId) {
                Some(old) => self.contains(base, old).await?,
                None => true,
            };
            if !keeps {
                return Err(GitError::NotFastForward(name.clone()));
            }
            commands.push(Command { name: name.clone(), old, new });
        }
        Ok(commands)
    }

    /// The pack of everything new, thin where the server can complete it.
    async fn encode(&self, tip: &Prepared, no_thin: bool) -> Result<Arc<[u8]>, GitError> {
        let store = self.current.as_ref().map(|generation| Arc::clone(&generation.store));
        let tip = tip.clone();
        blocking(move || {
            let mut reader = store.as_ref().map(|store| store.reader());
            let bases = reader.as_mut().filter(|_| !no_thin);
            Ok(pack::encode(tip.id().0.kind(), &tip.objects(), bases)?.into())
        })
        .await
    }

    /// Pushes the further refs after the branch, for a server that cannot move them together.
    async fn follow(&self, commands: &[Command], options: &[String]) -> PushOutcome {
        let names: Vec<&str> = commands.iter().map(|command| command.name.as_str()).collect();
        tracing::info!(refs = ?names, "the Git server is not atomic: these refs are pushed after the branch");
        let hash = commands[0].new.kind();
        let sent = match pack::encode(hash, &BTreeMap::new(), None) {
            // The branch has the objects: the pack is empty.
            Ok(pack) => {
                let push = Push { commands, together: false, options, pack: &pack };
                self.send(push).await.map_err(GitError::from)
            }
            Err(error) => Err(error.into()),
        };
        let (refusals, messages) = match sent {
            Ok(Answer { report, rest }) => (refusals(&report, commands), rest.words().await),
            Err(error) => {
                let reason = format!("it is not known whether it moved: {error}");
                let refusal = |name: &&str| Refusal { name: (*name).to_owned(), reason: reason.clone() };
                (names.iter().map(refusal).collect(), Vec::new())
            }
        };
        if refusals.is_empty() {
            PushOutcome::Landed { messages }
        } else {
            PushOutcome::Partly { refusals, messages }
        }
    }

    /// Looks at the branch and concludes what became of the push. The server's words are not part of it yet.
    async fn judge(
        &self,
        request: PushRequest<'_>,
        commands: &[Command],
        report: Result<Report, RemoteError>,
    ) -> Result<PushOutcome, GitError> {
        let report = match report {
            Err(error) if error.is_refusal() => return Err(error.into()),
            report => report,
        };
        let mut branches = further_branches(request.branch, request.also)?;
        branches.push(request.branch);
        let looked = match self.tips(&branches).await {
            // The server reported a moment ago: what carried the end of its answer broke, and the look with it.
            Err(error) if report.is_ok() && !matches!(error, RemoteError::Timeout) => {
                self.tips(&branches).await
            }
            looked => looked,
        };
        let tips = match looked {
            Ok(tips) => tips,
            Err(error) => {
                // The look knows better why the `git` program failed.
                let first = report.err().filter(|first| !matches!(first, RemoteError::Program(_)));
                return Ok(PushOutcome::Unknown { error: first.unwrap_or(error).into() });
            }
        };
        let ours = request.tip.id();
        let actual = tips.get(request.branch).copied().flatten().map(CommitId);
        if actual == Some(ours) {
            if let Err(injected) = failpoint::pass(Point::Confirmed).await {
                return Ok(PushOutcome::Unknown { error: RemoteError::from(injected).into() });
            }
            return Ok(landed(report.as_ref().ok(), commands));
        }
        let accepted = report.as_ref().ok().map(|report| report.verdict(&commands[0].name).is_ok());
        if actual == request.expected_old {
            return Ok(match report {
                // A further ref moved away under an atomic push, which then moved nothing.
                Ok(_) if accepted == Some(false) && any_moved(&commands[1..], &tips) => {
                    PushOutcome::Moved { actual }
                }
                Ok(report) if accepted == Some(false) => {
                    PushOutcome::Rejected { refusals: refusals(&report, commands), messages: Vec::new() }
                }
                Ok(_) => PushOutcome::Unknown { error: RemoteError::NotShown.into() },
                Err(_) if self.minds_options(commands, request.options).await => {
                    return Err(GitError::NoPushOptions);
                }
                Err(error) => PushOutcome::Unknown { error: self.explained(error).await.into() },
            });
        }
        // The branch points elsewhere. Unless the server said that it refused ours, somebody may have built on it. Below
        // the `git` program a request may be sent twice, where only the first is accepted and only the second reported.
        match actual {
            Some(tip) if accepted != Some(false) || self.remote.program().is_some() => {
                Ok(match self.contains(tip, ours).await {
                    Ok(true) => landed(report.as_ref().ok(), commands),
                    Ok(false) => PushOutcome::Moved { actual },
                    Err(error) => PushOutcome::Unknown { error },
                })
            }
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

/// The further refs that are branches; every one is checked.
fn further_branches<'a>(pushed: &str, also: &'a [String]) -> Result<Vec<&'a str>, GitError> {
    let mut branches = Vec::new();
    for name in also {
        let refused = || GitError::Destination(name.chars().take(100).collect());
        if let Some(branch) = name.strip_prefix(HEADS) {
            ref_name(branch)?;
            if branch == pushed {
                return Err(refused());
            }
            branches.push(branch);
        } else if name.strip_prefix(REVIEW).is_none_or(|rest| ref_name(rest).is_err()) {
            return Err(refused());
        }
    }
    Ok(branches)
}

/// The branch has the commit: whether every further ref was accepted as well. Without a report of the request that moved
/// the branch (a second one finds it moved, and refuses) nothing speaks against them: they were sent together only to a
/// server that moves all or none.
fn landed(report: Option<&Report>, commands: &[Command]) -> PushOutcome {
    let messages = Vec::new();
    let moved = report.filter(|report| report.verdict(&commands[0].name).is_ok());
    match moved.map(|report| refusals(report, &commands[1..])).filter(|refusals| !refusals.is_empty()) {
        Some(refusals) => PushOutcome::Partly { refusals, messages },
        None => PushOutcome::Landed { messages },
    }
}

fn refusals(report: &Report, commands: &[Command]) -> Vec<Refusal> {
    let refused = |command: &Command| {
        let reason = report.verdict(&command.name).err()?;
        Some(Refusal { name: command.name.clone(), reason })
    };
    commands.iter().filter_map(refused).collect()
}

/// Whether a branch among these points to neither its old nor its new commit.
fn any_moved(commands: &[Command], tips: &BTreeMap<String, Option<ObjectId>>) -> bool {
    commands.iter().any(|command| {
        let tip = command.name.strip_prefix(HEADS).and_then(|branch| tips.get(branch));
        tip.is_some_and(|tip| *tip != command.old && *tip != Some(command.new))
    })
}
