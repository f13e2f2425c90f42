//! What the mirror asks of a server, by whichever code speaks with it: the built-in protocol code, or the `git` program
//! where the repository's settings ask for it. It decides nothing that depends on the answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gix::ObjectId;

use super::Mirror;
use super::sync::Other;
use crate::capabilities::Learn;
use crate::error::GitError;
use crate::fetch::{Boundary, Filter, Negotiation, PackStream};
use crate::generation::Generation;
use crate::lsrefs::{self, HEADS};
use crate::program::Places;
use crate::push::{self, Answer, Command, Push};
use crate::store::{self, PackStore};
use crate::transport::{RemoteError, Service};

/// The writing side of a server, as far as it changes what is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Receiver {
    /// It cannot complete thin packs.
    pub(super) no_thin: bool,
    /// All updates of a push happen, or none.
    pub(super) atomic: bool,
}

impl Mirror {
    /// Where refs point, by their full names; see [`lsrefs::refs`].
    pub(super) async fn look(&self, names: &[&str]) -> Result<BTreeMap<String, ObjectId>, RemoteError> {
        match self.remote.program() {
            Some(program) => program.refs(&self.remote, &self.folder, names, self.limits.refs).await,
            None => lsrefs::refs(&self.remote, names, self.limits.refs).await,
        }
    }

    /// Where each of the branches points, `None` for those that do not exist.
    pub(super) async fn tips(
        &self,
        branches: &[&str],
    ) -> Result<BTreeMap<String, Option<ObjectId>>, RemoteError> {
        let names: Vec<String> = branches.iter().map(|branch| format!("{HEADS}{branch}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = self.look(&names).await?;
        let tip = |(branch, name): (&&str, &&str)| ((*branch).to_owned(), found.get(*name).copied());
        Ok(branches.iter().zip(&names).map(tip).collect())
    }

    /// Whether the server gives out contents of files later, so that a mirror may leave them out. The program needs
    /// them all, for it checks what it fetched and makes the packs that it pushes.
    pub(super) async fn may_be_partial(&self) -> Result<bool, RemoteError> {
        if self.remote.program().is_some() || self.whole.load(Ordering::Relaxed) {
            return Ok(false);
        }
        Ok(self.remote.upload_server(Learn::IfUnknown).await?.server.gives_blobs)
    }

    /// The generation's store with what is asked for, and how the cuts of its history moved.
    pub(super) async fn receive(
        &self,
        generation: &Generation,
        negotiation: &Negotiation,
    ) -> Result<(PackStore, Boundary), GitError> {
        let (old, limit) = (Arc::clone(&generation.store), self.limits.pack_bytes);
        if let Some(program) = self.remote.program() {
            let known = Some(generation);
            return program.fetch(&self.remote, &self.folder, known, old, negotiation, limit).await;
        }
        let mut stream = PackStream::open(&self.remote, negotiation, limit).await?;
        let boundary = std::mem::take(&mut stream.boundary);
        let store = store::receive(old, stream, negotiation.thin, generation.partial).await?;
        Ok((store, boundary))
    }

    /// Commits for a single look, in an empty store, without files where the server can leave them out.
    pub(super) async fn receive_history(
        &self,
        store: Arc<PackStore>,
        mut negotiation: Negotiation,
        other: Other,
    ) -> Result<PackStore, GitError> {
        let limit = self.limits.pack_bytes;
        if let Some(program) = self.remote.program() {
            // It cannot say that it has a commit whose history it lacks, so that is fetched too.
            if other == Other::Certainly {
                negotiation.wants.append(&mut negotiation.haves);
            }
            let fetch = async |negotiation: &Negotiation| {
                program.fetch(&self.remote, &self.folder, None, Arc::clone(&store), negotiation, limit).await
            };
            let fetched = match fetch(&negotiation).await {
                Err(GitError::Remote(RemoteError::Program(_))) => {
                    negotiation.filter = Filter::Nothing;
                    fetch(&negotiation).await?
                }
                result => result?,
            };
            return Ok(fetched.0);
        }
        let open = async |negotiation: &Negotiation| PackStream::open(&self.remote, negotiation, limit).await;
        let stream = match open(&negotiation).await {
            Err(RemoteError::Server { .. }) => {
                // A server may know filters and not allow this one.
                negotiation.filter = Filter::Nothing;
                open(&negotiation).await?
            }
            result => result?,
        };
        store::receive(store, stream, false, false).await
    }

    /// The server that takes the push, which must take its options where there are any.
    pub(super) async fn receiver(
        &self,
        commands: &[Command],
        options: &[String],
    ) -> Result<Receiver, GitError> {
        if let Some(program) = self.remote.program() {
            let push = Push { commands, together: true, options, pack: &[] };
            let atomic = commands.len() > 1 && program.is_atomic(self.places(), push).await?;
            return Ok(Receiver { no_thin: true, atomic });
        }
        let mut learned = self.remote.receive_server(Learn::IfUnknown).await?;
        if !options.is_empty() && !learned.server.push_options {
            if learned.cached {
                learned = self.remote.receive_server(Learn::Anew).await?;
            }
            if !learned.server.push_options {
                return Err(GitError::NoPushOptions);
            }
        }
        Ok(Receiver { no_thin: learned.server.no_thin, atomic: learned.server.atomic })
    }

    /// Sends the push. The built-in code sends it once more if the server turned out to differ from what was known of
    /// it. Sending twice is safe: the commit is the same, and the expected old id lets at most one of the two act.
    pub(super) async fn send(&self, push: Push<'_>) -> Result<Answer, RemoteError> {
        if let Some(program) = self.remote.program() {
            return program.push(self.places(), push).await;
        }
        let learned = self.remote.receive_server(Learn::IfUnknown).await?;
        match push::send(&self.remote, &learned.server, push).await {
            Err(first) if learned.cached && first.disagrees() => {
                let again = async {
                    let learned = self.remote.receive_server(Learn::Anew).await?;
                    push::send(&self.remote, &learned.server, push).await
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

    /// Whether a push that the `git` program did not make cannot be made, for the server takes no push options. The
    /// built-in code knows that beforehand.
    pub(super) async fn minds_options(&self, commands: &[Command], options: &[String]) -> bool {
        let Some(program) = self.remote.program() else { return false };
        let push = Push { commands, together: false, options, pack: &[] };
        program.minds_options(self.places(), push).await.unwrap_or_default()
    }

    /// Why a push failed of which nothing is known. A server that refuses the `git` program is asked for its reason.
    pub(super) async fn explained(&self, error: RemoteError) -> RemoteError {
        match error {
            RemoteError::Program(_) => self.remote.refusal(Service::ReceivePack).await.unwrap_or(error),
            error => error,
        }
    }

    fn places(&self) -> Places<'_> {
        Places { remote: &self.remote, folder: &self.folder, generation: self.current.as_ref() }
    }
}
