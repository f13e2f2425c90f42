//! Whatever the registry does and in whatever order, with others' signatures too: a commit names no digest that nobody
//! signed, and the ledger has the verdict for each.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use windlass_testkit::cosign::Layout;
use windlass_testkit::eventually;
use windlass_testkit::evidence::{Layer, layers, only_bundle, put_bundle, put_layers, signature_tag};
use windlass_testkit::http_server::Canned;
use windlass_testkit::traffic::Match;
use windlass_testkit::world::{self, MANIFEST_PATH, PATIENCE, REPOSITORY, World, WorldOptions};

use super::Signer;

const ACTIONS: usize = 24;

/// Marsaglia's xorshift: the same story for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap_or(0)
    }
}

#[tokio::test]
async fn no_commit_names_a_digest_without_a_verdict_that_allows_it() -> Result<()> {
    let stories = [0x5eed, 0x00de_cade, 0xface].map(|seed| {
        world::run_prepared(WorldOptions::default(), async move |world: &mut World| {
            story(world, Dice(seed)).await
        })
    });
    let [one, two, three] = stories;
    tokio::try_join!(one, two, three).map(drop)
}

/// What is right about another image.
struct Foreign {
    layers: Vec<Layer>,
    bundle: Vec<u8>,
}

impl Foreign {
    /// Puts it where evidence about this image belongs.
    async fn put(&self, world: &World, digest: &str, layout: Layout) -> Result<()> {
        match layout {
            Layout::Legacy => {
                put_layers(&world.images, REPOSITORY, &signature_tag(digest), &self.layers).await
            }
            Layout::Bundle => put_bundle(&world.images, REPOSITORY, digest, &self.bundle).await,
        }
        .map(drop)
    }
}

async fn story(world: &mut World, mut dice: Dice) -> Result<()> {
    let signer = Signer::new().await?;
    world.config.write("guard.yaml", signer.guard(world, "")?)?;
    world.start_windlass().await?;
    let (mut tags, mut unsigned, mut proven) = (Vec::new(), Vec::new(), BTreeSet::new());
    let traffic = world.proxy.traffic().clone();
    let mut outage = None;
    // Somebody with push rights has good evidence of an image that nobody will ever choose.
    let aside = world.images.push(REPOSITORY, "aside", "aside").await?;
    for layout in [Layout::Legacy, Layout::Bundle] {
        signer.sign(world, &aside, layout).await?;
    }
    let foreign = Foreign {
        layers: layers(&world.images, REPOSITORY, &signature_tag(&aside)).await?,
        bundle: only_bundle(&world.images, REPOSITORY, &aside).await?,
    };
    for action in 0..ACTIONS {
        // cosign reads the tag of signatures before it writes it, so an outage stops it too.
        let legacy = dice.below(2) == 0 && outage.is_none();
        let layout = if legacy { Layout::Legacy } else { Layout::Bundle };
        match dice.below(8) {
            0 | 1 => {
                let tag = format!("1.{action}.0");
                unsigned.push(world.push(&tag).await?);
                tags.push(tag);
            }
            2 if !unsigned.is_empty() => {
                let digest = unsigned.swap_remove(dice.below(unsigned.len()));
                signer.sign(world, &digest, layout).await?;
                proven.insert(digest);
            }
            3 if !tags.is_empty() => {
                // Somebody moves a tag to other content, which may be signed later or never.
                let tag = tags[dice.below(tags.len())].clone();
                let digest = world.images.push(REPOSITORY, &tag, &format!("{tag} moved {action}")).await?;
                unsigned.push(digest);
            }
            4 => {
                outage = match outage {
                    None => Some(traffic.answer(Match::path_ends_with(".sig"), Canned::status(500))),
                    Some(_) => None,
                };
            }
            5 if !unsigned.is_empty() => {
                let digest = unsigned[dice.below(unsigned.len())].clone();
                foreign.put(world, &digest, layout).await?;
            }
            6 if !proven.is_empty() && outage.is_none() => {
                // The evidence of what was signed is taken away; what it was written for stays.
                let digest = proven.iter().nth(dice.below(proven.len())).context("one is there")?;
                put_layers(&world.images, REPOSITORY, &signature_tag(digest), &foreign.layers).await?;
            }
            _ => {
                let tag = format!("1.{action}.1");
                let digest = world.push(&tag).await?;
                signer.sign(world, &digest, layout).await?;
                proven.insert(digest);
                tags.push(tag);
            }
        }
    }
    drop(outage);
    let last = world.push("2.0.0").await?;
    signer.sign(world, &last, Layout::Bundle).await?;
    proven.insert(last.clone());
    world.wait_for(&format!("2.0.0@{last}")).await?;
    check(world, &proven).await
}

async fn check(world: &World, proven: &BTreeSet<String>) -> Result<()> {
    let commits = world.commits().await?;
    ensure!(!commits.is_empty());
    // What landed is recorded just after the branch shows it.
    let allowed = eventually(PATIENCE, "every commit in the ledger", async || {
        let allowed = allowed_in_ledger(world)?;
        let recorded = |id: &String| allowed.iter().any(|(commit, _)| commit == id);
        Ok(commits.iter().all(|commit| recorded(&commit.id)).then_some(allowed))
    })
    .await?;
    for commit in commits {
        let manifest = String::from_utf8(world.repository.show(&commit.id, MANIFEST_PATH).await?)?;
        let line = manifest.lines().find(|line| line.contains("image:")).context("the marked line")?;
        let image = line.split_whitespace().nth(1).context("its value")?;
        let (_, digest) = image.split_once('@').with_context(|| format!("{image} has no digest"))?;
        ensure!(proven.contains(digest), "{}: nobody signed {digest}", commit.id);
        ensure!(allowed.contains(&(commit.id.clone(), digest.to_owned())), "{}: {digest}", commit.id);
        ensure!(commit.message.contains(&format!("@{digest} by the key ")), "{}", commit.message);
    }
    Ok(())
}

/// Commits with the digests that the ledger's verdicts allow for them.
fn allowed_in_ledger(world: &World) -> Result<BTreeSet<(String, String)>> {
    let path = world.data.path().join("windlass.db");
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut entries = db.prepare("SELECT detail FROM audit WHERE kind = 'committed'")?;
    let entries = entries.query_map([], |row| row.get::<_, String>(0))?;
    let mut allowed = BTreeSet::new();
    for entry in entries {
        let entry: Value = serde_json::from_str(&entry?)?;
        let commit = entry["commit"].as_str().context("a commit")?;
        for verdict in entry["verdicts"].as_array().context("verdicts")? {
            ensure!(verdict["verdict"] == "allowed", "{verdict:#}");
            let digest = verdict["digest"].as_str().context("a digest")?;
            allowed.insert((commit.to_owned(), digest.to_owned()));
        }
    }
    Ok(allowed)
}
