//! What the branch says: which values stand at its head, and which commit wrote each.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};

use crate::git_repository::{BRANCH, BareRepository};
use crate::observed::AUTHOR;

/// What stands at the branch's head, by application: `TAG`, or `TAG@DIGEST`.
pub(super) async fn values(repository: &BareRepository, run: &str) -> Result<BTreeMap<String, String>> {
    let lines = repository.git(&["grep", "-h", "-e", "image: ", BRANCH, "--", "apps"]).await?;
    Ok(lines.lines().filter_map(|line| written(line, run)).collect())
}

/// The commits of a branch, read once.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Windlass's commits, oldest first.
    pub(super) ours: Vec<String>,
    /// The subjects of other people's commits.
    pub(super) theirs: BTreeSet<String>,
    /// Every application and tag that a commit of ours wrote.
    pub(super) decisions: usize,
}

impl History {
    /// Reads it, and checks that it is linear and sound, that each decision is in one commit, and that no commit is
    /// without one.
    pub(super) async fn read(repository: &BareRepository, run: &str) -> Result<Self> {
        repository.fsck().await?;
        let format = "--format=%x1e%H%x1f%P%x1f%an <%ae>%x1f%s";
        let text =
            repository.git(&["log", "--reverse", "--root", "-p", "--unified=0", format, BRANCH]).await?;
        let mut history = Self::default();
        let mut writes: BTreeMap<(String, String), String> = BTreeMap::new();
        let mut last = None;
        // What stands before the first separator is nothing, and the first commit is where the repository started.
        for entry in text.split('\u{1e}').skip(1) {
            let (head, patch) = entry.split_once('\n').unwrap_or((entry, ""));
            let fields: Vec<&str> = head.split('\u{1f}').collect();
            let [id, parent, author, subject] = fields[..] else { anyhow::bail!("git log printed {head}") };
            ensure!(last.as_deref().is_none_or(|last| last == parent), "the branch is not linear at {id}");
            if last.replace(id.to_owned()).is_none() {
                continue;
            }
            if author != AUTHOR {
                history.theirs.insert(subject.to_owned());
                continue;
            }
            let lines = patch.lines().filter_map(|line| line.strip_prefix('+'));
            let mut count = 0;
            for (application, value) in lines.filter_map(|line| written(line, run)) {
                let tag = value.split('@').next().unwrap_or_default().to_owned();
                count += 1;
                let again = writes.insert((application.clone(), tag.clone()), id.to_owned());
                ensure!(again.is_none(), "{application} {tag} was committed twice: in {again:?} and in {id}");
                let newest =
                    writes.keys().filter(|(other, _)| *other == application).map(|(_, tag)| number(tag));
                ensure!(newest.max() == Some(number(&tag)), "{id} sets {application} back to {tag}");
            }
            ensure!(count > 0, "commit {id} decides nothing:\n{patch}");
            history.ours.push(id.to_owned());
        }
        history.decisions = writes.len();
        Ok(history)
    }
}

/// `image: HOST/RUN/APPLICATION:VALUE # …`
fn written(line: &str, run: &str) -> Option<(String, String)> {
    let (_, image) = line.split_once("image: ")?;
    let (_, name) = image.split_once(&format!("/{run}/"))?;
    let (application, value) = name.split_whitespace().next()?.split_once(':')?;
    Some((application.to_owned(), value.to_owned()))
}

/// `1.0.N`
fn number(tag: &str) -> u64 {
    tag.rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// The tag with this number.
pub(super) fn tag(number: u64) -> String {
    format!("1.0.{number}")
}

/// Where the branch points, from its file: cheap enough to look often.
pub(super) fn tip(repository: &BareRepository) -> Result<String> {
    let file = repository.folder().join("refs/heads").join(BRANCH);
    std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))
}
