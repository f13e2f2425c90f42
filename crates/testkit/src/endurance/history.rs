//! What a branch's history says of the promises: each commit one decision, none made twice, none taken back, and at the
//! end nothing missing.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result};

use super::estate::placed;
use crate::git_repository::BareRepository;
use crate::observed::AUTHOR;
use crate::slack::Message;

/// One commit, as git shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The commit's id.
    pub commit: String,
    /// Its parents' ids.
    pub parents: Vec<String>,
    /// Its tree's id.
    pub tree: String,
    /// `name <email>`
    pub author: String,
    /// The images that it set, with the numbers of their releases.
    pub placed: Vec<(usize, usize)>,
    /// Lines that it added or took away.
    pub lines: usize,
}

/// Reads a range of commits, oldest first: `main`, or `<old>..<new>`.
///
/// # Errors
/// When git fails, or prints something else than was asked for.
pub async fn entries(repository: &BareRepository, range: &str) -> Result<Vec<Entry>> {
    let format = "--format=%x1e%H%x1f%P%x1f%T%x1f%an <%ae>%x1f";
    let text = repository.git(&["log", "--reverse", format, "--patch", "--unified=0", range]).await?;
    text.split('\u{1e}').skip(1).map(parse).collect()
}

fn parse(text: &str) -> Result<Entry> {
    let mut fields = text.splitn(5, '\u{1f}');
    let mut field = || fields.next().context("git log printed fewer fields than asked for");
    let (commit, parents, tree, author) = (field()?, field()?, field()?, field()?);
    let is_header = |line: &&str| line.starts_with("+++") || line.starts_with("---");
    let lines = field()?.lines().filter(|line| !is_header(line) && line.starts_with(['+', '-']));
    let lines: Vec<&str> = lines.collect();
    Ok(Entry {
        commit: commit.to_owned(),
        parents: parents.split_whitespace().map(str::to_owned).collect(),
        tree: tree.to_owned(),
        author: author.to_owned(),
        placed: lines.iter().filter_map(|line| placed(line.strip_prefix('+')?)).collect(),
        lines: lines.len(),
    })
}

/// What a history and the chat say, once nothing is left to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// New values of a place.
    pub decisions: usize,
    /// Commits.
    pub commits: usize,
    /// Events that were accepted, and whose release is nowhere.
    pub lost: usize,
    /// Commits that repeat a decision, or change nothing.
    pub double: usize,
    /// Messages that tell of a commit.
    pub told: usize,
    /// Those of them that came again, marked as such.
    pub told_again: usize,
    /// Each broken promise, for people.
    pub violations: Vec<String>,
}

impl Verdict {
    /// Judges the commits since the start, oldest first, by the release that each image has to have at the end, and the
    /// messages that tell of them.
    pub fn of(entries: &[Entry], released: &[usize], messages: &[Message]) -> Self {
        let mut verdict = Self { commits: entries.len(), ..Self::default() };
        let mut current = vec![0; released.len()];
        let mut before: Option<&Entry> = None;
        for entry in entries {
            verdict.weigh(entry, before, &mut current);
            before = Some(entry);
        }
        for (image, (wanted, found)) in released.iter().zip(&current).enumerate() {
            if wanted != found {
                verdict.lost += 1;
                verdict.broken(format_args!("app-{image} ends at release {found}, not at {wanted}"));
            }
        }
        verdict.listen(entries, messages);
        verdict
    }

    fn broken(&mut self, how: impl fmt::Display) {
        self.violations.push(how.to_string());
    }

    fn weigh(&mut self, entry: &Entry, before: Option<&Entry>, current: &mut [usize]) {
        let commit = &entry.commit;
        if entry.author != AUTHOR {
            self.broken(format_args!("{commit} is by {}", entry.author));
        }
        if entry.parents.len() != 1 || before.is_some_and(|before| entry.parents != [before.commit.clone()]) {
            self.broken(format_args!(
                "{commit} has the parents {:?}: the branch is not linear",
                entry.parents
            ));
        }
        if before.is_some_and(|before| before.tree == entry.tree) || entry.placed.is_empty() {
            self.double += 1;
            self.broken(format_args!("{commit} changes nothing"));
        }
        // One line taken away, one added.
        if entry.lines != 2 * entry.placed.len() {
            self.broken(format_args!("{commit} changes {} lines for {:?}", entry.lines, entry.placed));
        }
        for &(image, release) in &entry.placed {
            self.decisions += 1;
            match current.get_mut(image) {
                Some(current) if *current < release => *current = release,
                Some(current) => {
                    self.double += 1;
                    let was = *current;
                    self.broken(format_args!("{commit} sets app-{image} to release {release} after {was}"));
                }
                None => self.broken(format_args!("{commit} sets app-{image}, which there is not")),
            }
        }
    }

    /// Every commit is told once; one that a kill may have kept away may come again, and says so.
    fn listen(&mut self, entries: &[Entry], messages: &[Message]) {
        let mut heard: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for message in messages.iter().filter(|message| message.is_commit()) {
            self.told += 1;
            let (first, again) = heard.entry(message.event_id().unwrap_or_default()).or_default();
            *if message.is_repeat() { again } else { first } += 1;
        }
        for Entry { commit, .. } in entries {
            match heard.remove(commit.as_str()) {
                None => self.broken(format_args!("nobody was told of {commit}")),
                Some((first, again)) => {
                    self.told_again += (first + again).saturating_sub(1);
                    if first > 1 {
                        self.broken(format_args!("{commit} was told {first} times as if it were news"));
                    }
                }
            }
        }
        for id in heard.keys() {
            self.violations.push(format!("{id} was told, and is not on the branch"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;
    use crate::slack::Via;

    fn entry(number: usize, placed: &[(usize, usize)]) -> Entry {
        Entry {
            commit: format!("c{number}"),
            parents: vec![format!("c{}", number - 1)],
            tree: format!("t{number}"),
            author: AUTHOR.to_owned(),
            placed: placed.to_vec(),
            lines: 2 * placed.len(),
        }
    }

    fn told(commit: &str, repeat: bool) -> Message {
        let again = if repeat { " · sent again" } else { "" };
        let footer = json!({"elements": [{"text": format!("event `{commit}`{again}")}]});
        let body = json!({"blocks": [{"text": {"text": "*Committed* app"}}, footer]});
        Message { via: Via::Webhook, body, at: Instant::now() }
    }

    #[test]
    fn a_history_that_keeps_the_promises_has_no_violation() {
        let history = [entry(1, &[(0, 1)]), entry(2, &[(1, 2)]), entry(3, &[(0, 3)])];
        let messages = [told("c1", false), told("c2", true), told("c3", false), told("c3", true)];
        let verdict = Verdict::of(&history, &[3, 2], &messages);
        assert_eq!(verdict.violations, [""; 0]);
        assert_eq!((verdict.decisions, verdict.commits, verdict.told, verdict.told_again), (3, 3, 4, 1));
    }

    #[test]
    fn every_broken_promise_is_seen() {
        let all = |history: &[Entry], released: &[usize]| {
            let messages: Vec<_> = history.iter().map(|entry| told(&entry.commit, false)).collect();
            let verdict = Verdict::of(history, released, &messages);
            (verdict.lost, verdict.double, verdict.violations.len())
        };
        let first = entry(1, &[(0, 1)]);
        assert_eq!(all(std::slice::from_ref(&first), &[2]), (1, 0, 1), "lost");
        assert_eq!(all(&[first.clone(), entry(2, &[(0, 1)])], &[1]), (0, 1, 1), "made twice");
        assert_eq!(all(&[entry(1, &[(0, 2)]), entry(2, &[(0, 1)])], &[2]), (0, 1, 1), "taken back");
        assert_eq!(all(&[first.clone(), entry(2, &[])], &[1]), (0, 1, 1), "empty");
        let same_tree = Entry { tree: first.tree.clone(), ..entry(2, &[(0, 2)]) };
        assert_eq!(all(&[first.clone(), same_tree], &[2]), (0, 1, 1), "the same tree");
        let fork = Entry { parents: vec!["c0".to_owned()], ..entry(2, &[(0, 2)]) };
        assert_eq!(all(&[first.clone(), fork], &[2]), (0, 0, 1), "not linear");
        let more = Entry { lines: 3, ..first.clone() };
        assert_eq!(all(&[more], &[1]), (0, 0, 1), "more than the place");
        let other = Entry { author: "A Person <person@example.org>".to_owned(), ..first.clone() };
        assert_eq!(all(&[other], &[1]), (0, 0, 1), "by somebody else");

        let listened =
            |messages: &[Message]| Verdict::of(std::slice::from_ref(&first), &[1], messages).violations.len();
        assert_eq!(listened(&[]), 1, "untold");
        assert_eq!(listened(&[told("c1", false), told("c1", false)]), 1, "told twice as news");
        assert_eq!(listened(&[told("c1", false), told("c9", false)]), 1, "told of what is not there");
    }
}
