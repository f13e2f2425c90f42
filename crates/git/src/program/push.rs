//! Pushing: `git push` from a repository of its own that has the new objects and borrows all others.

use std::sync::Arc;

use super::run::Finished;
use super::{Program, Session, porcelain};
use crate::generation::{Folder, Generation};
use crate::push::{Answer, Command, Push, Rest};
use crate::remote::Remote;
use crate::store::{PackStore, StoreError};
use crate::transport::RemoteError;

/// The places of a push.
#[derive(Clone, Copy)]
pub(crate) struct Places<'a> {
    pub(crate) remote: &'a Remote,
    pub(crate) folder: &'a Arc<Folder>,
    pub(crate) generation: Option<&'a Generation>,
}

impl Program {
    /// Pushes on condition of every ref's old id. The pack must not be thin.
    pub(crate) async fn push(&self, places: Places<'_>, push: Push<'_>) -> Result<Answer, RemoteError> {
        let session = self.prepared(places, push).await?;
        let finished = session.push(push, &[]).await?;
        match porcelain::report(&finished.output, push.commands) {
            Some(report) => Ok(Answer { report, rest: Rest::Read(finished.servers_words()) }),
            // Nothing is known then, whatever the server says when it is asked again.
            None => Err(finished.into_error()),
        }
    }

    /// Whether the server would move all of the refs or none. Asked without pushing, for which the commit need not be
    /// there; no answer is no.
    pub(crate) async fn is_atomic(&self, places: Places<'_>, push: Push<'_>) -> Result<bool, RemoteError> {
        let session = self.prepared(places, push).await?;
        let push = Push { together: true, ..push };
        let tried = session.push(push, &["--dry-run"]).await?;
        Ok(tried.is_report())
    }

    /// Whether the server takes pushes, but none with options. Asked without pushing.
    pub(crate) async fn minds_options(
        &self,
        places: Places<'_>,
        push: Push<'_>,
    ) -> Result<bool, RemoteError> {
        if push.options.is_empty() {
            return Ok(false);
        }
        let session = self.prepared(places, push).await?;
        if session.push(push, &["--dry-run"]).await?.is_report() {
            return Ok(false);
        }
        Ok(session.push(Push { options: &[], ..push }, &["--dry-run"]).await?.is_report())
    }

    async fn prepared<'a>(&'a self, places: Places<'a>, push: Push<'_>) -> Result<Session<'a>, RemoteError> {
        let session = self.session(places.remote, places.folder).await?;
        let hash = push.commands[0].new.kind();
        session.borrow(hash, places.generation).await?;
        if push.pack.is_empty() {
            return Ok(session);
        }
        let (folder, pack) = (session.path().join("objects/pack"), push.pack.to_vec());
        let written = tokio::task::spawn_blocking(move || {
            PackStore::open(&folder, hash, usize::MAX)?.with_pack(&mut &pack[..], false).map(drop)
        });
        match written.await {
            Ok(written) => written.map_err(unwritten)?,
            Err(_) => return Err(RemoteError::Protocol("the pack to push could not be written")),
        }
        Ok(session)
    }
}

impl Session<'_> {
    async fn push(&self, push: Push<'_>, more: &[&str]) -> Result<Finished, RemoteError> {
        let mut script = self.script("push").args(["--porcelain", "--no-verify", "--thin"]).args(more);
        if push.together && push.commands.len() > 1 {
            script = script.args(["--atomic"]);
        }
        let leases = push.commands.iter().map(|Command { name, old, .. }| {
            // Nothing behind the colon: the ref must not exist.
            let old = old.map(|old| old.to_string()).unwrap_or_default();
            format!("--force-with-lease={name}:{old}")
        });
        let options = push.options.iter().map(|option| format!("--push-option={option}"));
        let updates = push.commands.iter().map(|Command { name, new, .. }| format!("{new}:{name}"));
        script.args(leases).args(options).args(["--", &self.program.url]).args(updates).run().await
    }
}

impl Finished {
    /// Whether the server was asked, and said something of each ref.
    fn is_report(&self) -> bool {
        self.status.success() || porcelain::is_any(&self.output)
    }
}

fn unwritten(error: StoreError) -> RemoteError {
    super::ProgramError::Pack(error).into()
}
