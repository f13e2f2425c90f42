//! Looking at a world from outside: what a resource's status says, whether anything is left to do, and whether the
//! promises were kept: each commit made once, told once, and nothing lost.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::git_repository::{BRANCH, Commit};
use crate::slack::Message;
use crate::traffic::{Exchange, RequestHead, Traffic};
use crate::windlass::Windlass;
use crate::world::{PATIENCE, World};

/// The status name of the world's ImageRepository.
pub const IMAGE: &str = "ImageRepository/apps/podinfo";
/// The status name of the world's ImagePolicy.
pub const POLICY: &str = "ImagePolicy/apps/podinfo";
/// The status name of the world's ImageUpdateAutomation.
pub const AUTOMATION: &str = "ImageUpdateAutomation/apps/fleet";
/// The author of Windlass's commits, as the configuration has it.
pub const AUTHOR: &str = "Windlass <windlass@example.org>";
/// What must be zero when nothing is left to do: keys that wait, keys that are worked on, notices to deliver.
pub(crate) const LEFT_TO_DO: [&str; 3] =
    ["windlass_queue_waiting", "windlass_queue_running", "windlass_outbox_waiting"];

impl World {
    /// The running Windlass, to look at.
    ///
    /// # Errors
    /// Before [`World::start_windlass`].
    pub fn running(&self) -> Result<&Windlass> {
        self.windlass.as_ref().context("the test has not started Windlass")
    }

    /// Waits until a resource fails with these words in its message, and gives its status.
    ///
    /// # Errors
    /// When that does not come.
    pub async fn wait_failing(&self, object: &str, words: &str) -> Result<Value> {
        let failing = |status: &Value| {
            status["ready"] == "failing"
                && status["message"].as_str().is_some_and(|text| text.contains(words))
        };
        let status = self.running()?.wait_for_resource(object, PATIENCE, failing).await;
        status.with_context(|| format!("{object} should fail and say `{words}`"))
    }

    /// Waits until a resource is ready, and gives its status.
    ///
    /// # Errors
    /// When that does not come.
    pub async fn wait_working(&self, object: &str) -> Result<Value> {
        self.running()?.wait_for_resource(object, PATIENCE, |status| status["ready"] == "ready").await
    }

    /// The places that an automation does not write, each with file, line and cause.
    ///
    /// # Errors
    /// When Windlass does not answer.
    pub async fn diagnostics(&self, automation: &str) -> Result<Vec<String>> {
        let report = self.running()?.report().await?;
        let status = crate::windlass::resource(&report, automation).context("no such automation")?;
        let texts = status["diagnostics"].as_array().into_iter().flatten();
        Ok(texts.filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// Waits until no work and no notice is left.
    ///
    /// # Errors
    /// When something stays.
    pub async fn idle(&self) -> Result<()> {
        self.running()?.idle(PATIENCE).await
    }

    /// Waits until nothing is left to do, then checks what must hold after any trouble: `count` commits of
    /// Windlass, on a branch that is linear and sound, each told once (or again, marked and counted, after a kill).
    /// Gives Windlass's commits, newest first.
    ///
    /// # Errors
    /// When any of that does not hold.
    pub async fn expect_commits(&self, count: usize) -> Result<Vec<Commit>> {
        self.idle().await?;
        let log = self.repository.log(BRANCH).await?;
        for pair in log.windows(2) {
            ensure!(pair[0].parents == [pair[1].id.clone()], "the branch is not linear: {log:#?}");
        }
        self.repository.fsck().await?;
        let ours: Vec<Commit> = log.into_iter().filter(|commit| commit.author == AUTHOR).collect();
        ensure!(ours.len() == count, "{count} commits were expected: {ours:#?}");
        self.each_was_told_once(&ours).await?;
        Ok(ours)
    }

    /// What can be seen from outside, for the message of a test that failed: what was asked of whom, what was told, and
    /// what is not well.
    pub(crate) async fn seen_from_outside(&self) -> String {
        let asked = |traffic: &Traffic| -> Vec<String> {
            let lines = traffic.exchanges().into_iter().map(|Exchange { head, status, .. }| {
                let RequestHead { method, path, query, .. } = head;
                format!("{method} {path}?{query} {status:?}")
            });
            lines.collect()
        };
        let messages = self.slack.messages();
        let told: Vec<_> = messages.iter().map(|message| (message.title(), message.text())).collect();
        let report = match &self.windlass {
            Some(windlass) => {
                windlass.report().await.map_or_else(|error| format!("{error:#}"), |r| format!("{r:#}"))
            }
            None => "it was not started".to_owned(),
        };
        format!(
            "webhooks: {:#?}\nregistry: {:#?}\nGit: {:#?}\ntold: {told:#?}\nstatus: {report}",
            asked(self.hooks.traffic()),
            asked(self.proxy.traffic()),
            asked(self.git.traffic()),
        )
    }

    /// A message that may have arrived before a kill may come again: then it is marked and counted.
    async fn each_was_told_once(&self, commits: &[Commit]) -> Result<()> {
        let messages = self.slack.messages();
        let ids: Vec<String> = commits.iter().map(|commit| commit.id.clone()).collect();
        told_once(&messages, &ids)?;
        let repeats = messages.iter().filter(|message| message.is_commit() && message.is_repeat()).count();
        let counted = self.running()?.metrics().await?.count("windlass_notice_repeats_total", &[]);
        let marked = f64::from(u32::try_from(repeats).context("a test with billions of messages")?);
        ensure!(marked <= counted, "{counted} repeats were counted: {messages:#?}");
        Ok(())
    }
}

/// What was told of commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Messages that arrived.
    pub arrived: usize,
    /// Those that came for a commit that was told already.
    pub again: usize,
}

/// Checks that each of these commits was told, no other was, and that whatever came again was marked as a repeat: of the
/// messages with one visible id, at most one has no mark. The first delivery of one that is marked may have been lost
/// with its process.
///
/// # Errors
/// When it was otherwise.
pub fn told_once(messages: &[Message], commits: &[String]) -> Result<Told> {
    let mut unmarked: BTreeMap<&str, usize> = BTreeMap::new();
    for message in messages {
        let id = message.event_id().with_context(|| format!("a message without an id: {message:#?}"))?;
        *unmarked.entry(id).or_default() += usize::from(!message.is_repeat());
    }
    let twice: Vec<_> = unmarked.iter().filter(|(_, count)| **count > 1).collect();
    ensure!(twice.is_empty(), "{twice:?} came twice without a mark: {messages:#?}");
    let of_commits: Vec<&str> =
        messages.iter().filter(|message| message.is_commit()).filter_map(Message::event_id).collect();
    let told: BTreeSet<&str> = of_commits.iter().copied().collect();
    let made: BTreeSet<&str> = commits.iter().map(String::as_str).collect();
    ensure!(told == made, "commits {made:?} were made, and these were told: {messages:#?}");
    Ok(Told { arrived: of_commits.len(), again: of_commits.len() - told.len() })
}

impl Message {
    /// Whether it tells of a commit.
    pub fn is_commit(&self) -> bool {
        self.title().starts_with("*Committed*")
    }

    /// Whether it tells that something began to fail.
    pub fn is_failure(&self) -> bool {
        self.title().starts_with("*Failing*")
    }

    /// Whether it tells that something works again.
    pub fn is_recovery(&self) -> bool {
        self.title().starts_with("*Recovered*")
    }

    /// The visible id by which a repeat is recognised: for a commit, the commit's.
    pub fn event_id(&self) -> Option<&str> {
        let (_, rest) = self.footer()?.split_once("event `")?;
        Some(rest.split_once('`')?.0)
    }

    /// Whether it is marked as a repeat.
    pub fn is_repeat(&self) -> bool {
        self.footer().is_some_and(|footer| footer.contains("sent again"))
    }

    fn title(&self) -> &str {
        self.body["blocks"][0]["text"]["text"].as_str().unwrap_or_default()
    }

    fn footer(&self) -> Option<&str> {
        self.body["blocks"].as_array()?.last()?["elements"][0]["text"].as_str()
    }
}
