//! What became of pushes whose outcome was not recorded: by a crash, or because no answer came.

use windlass_failpoint::Point;
use windlass_git::{CommitId, GitError, Mirror, Retry};
use windlass_model::Spec;
use windlass_store::{Intent, Record};

use crate::landing::{self, Landing};
use crate::lane::Lane;
use crate::lanes;

/// What is known of an earlier push.
enum Fate {
    /// The branch has its commits.
    Landed(Landing),
    /// It may still land.
    Open,
    /// It did not land, or nobody can tell.
    Lost,
}

impl Lane {
    /// Looks at the branch, whose tip is given, and records or drops each intent of this lane.
    pub(crate) async fn settle_intents(
        &mut self,
        spec: &Spec,
        mirror: &Mirror,
        tip: Option<CommitId>,
    ) -> Result<(), GitError> {
        if !self.unsettled {
            return Ok(());
        }
        let intents = match self.shared.store.load_intents(&self.lane_id()).await {
            Ok(intents) => intents,
            Err(error) => {
                tracing::error!(%error, "intents could not be read; they are looked at in the next round");
                return Ok(());
            }
        };
        self.unsettled = false;
        for intent in intents {
            match self.fate(&intent, mirror, tip).await.inspect_err(|_| self.unsettled = true)? {
                Fate::Landed(landing) => {
                    tracing::info!(commit = %intent.id, "an earlier push had landed; recording it");
                    self.settle(&intent, landing.landed(spec, self.shared.now()), Some(&landing)).await;
                }
                Fate::Open => self.unsettled = true,
                Fate::Lost => self.settle(&intent, landing::withdrawn(&intent.id), None).await,
            }
        }
        Ok(())
    }

    /// The push certainly did not land. If this is not recorded, looking at the branch says the same later.
    pub(crate) async fn withdraw(&mut self, landing: &Landing) {
        if let Err(error) = self.shared.store.record(landing::withdrawn(&landing.tip)).await {
            tracing::warn!(%error, "an intent could not be withdrawn");
            self.unsettled = true;
        }
    }

    async fn fate(&self, intent: &Intent, mirror: &Mirror, tip: Option<CommitId>) -> Result<Fate, GitError> {
        let (Some(landing), Ok(commit)) = (Landing::read(intent), intent.id.parse::<CommitId>()) else {
            tracing::warn!(commit = %intent.id, "this version cannot read what was to be recorded of an earlier push");
            return Ok(Fate::Lost);
        };
        let on_branch = match tip {
            Some(tip) => mirror.contains(tip, commit).await,
            None => Ok(false),
        };
        match on_branch {
            Ok(true) => Ok(Fate::Landed(landing)),
            Ok(false) if landing::may_still_land(intent, self.shared.now()) => Ok(Fate::Open),
            Ok(false) => Ok(Fate::Lost),
            // It would stand in the way of every later push.
            Err(error) if error.retry() == Retry::OnChange => {
                tracing::warn!(%commit, %error, "whether an earlier push landed cannot be learned; nobody is told of it");
                Ok(Fate::Lost)
            }
            Err(error) => Err(error),
        }
    }

    async fn settle(&mut self, intent: &Intent, record: Record, landed: Option<&Landing>) {
        let stored = match landed {
            Some(_) => self.store_at(Point::Recorded, record).await.map_err(|failure| failure.reason),
            None => self.shared.store.record(record).await.map_err(|error| error.to_string()),
        };
        if let Err(error) = stored {
            tracing::error!(%error, commit = %intent.id, "an intent could not be settled; it is tried again");
            self.unsettled = true;
            return;
        }
        for commit in landed.into_iter().flat_map(|landing| &landing.commits) {
            self.shared.metrics.landed(1);
            let object = lanes::object(&commit.automation);
            self.shared.board.remember_commit(&object, commit.id.clone(), self.shared.now());
            // The record has new ones, which are read from there.
            self.agreements.remove(&commit.automation);
        }
    }
}
