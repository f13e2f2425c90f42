//! The whole path: a push to a real registry, its own notification, the queue, and a commit on a real Git server that
//! changes the marked bytes and nothing else.

mod choices;
mod declared;
pub(crate) mod layouts;
mod orders;
mod places;
mod senders;
mod templates;
mod variants;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use windlass_testkit::git_repository::{BRANCH, BareRepository};
use windlass_testkit::git_server::{GitAuth, GitServer};
use windlass_testkit::observed::{AUTHOR, AUTOMATION, POLICY};
use windlass_testkit::traffic::{Match, Point};
use windlass_testkit::world::{self, Announces, MANIFEST_PATH, PATIENCE, REPOSITORY, World, WorldOptions};

/// Everything that an edit must leave alone, around two marked values: a byte order mark, CRLF, quotes, comments, blanks
/// at line ends, and no line end at the end of the file.
const DELICATE: &str = "\u{feff}# pinned by hand\r\nimage:   '${REGISTRY}/team/podinfo:1.0.0'   # {\"$imagepolicy\": \
                      \"apps:podinfo\"}\r\n---\r\ntag: \"1.0.0\" # {\"$imagepolicy\": \"apps:podinfo:tag\"}\r\n\
                      version: 1.0.0  \r\nend: true";

#[tokio::test]
async fn a_push_becomes_one_commit_that_changes_only_the_marked_bytes() -> Result<()> {
    let files =
        [("delicate.yaml", DELICATE), ("apps/unmarked.yaml", "image: ${REGISTRY}/team/podinfo:1.0.0\n")];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned())).to_vec();
    world::run(WorldOptions { files, ..WorldOptions::default() }, async |world| {
        let before = tree(&world.repository, BRANCH).await?;
        world.push("1.0.1").await?;
        world.wait_for("1.0.1").await?;
        let commits = world.expect_commits(1).await?;

        let after = tree(&world.repository, BRANCH).await?;
        assert_eq!(changed(&before, &after), [MANIFEST_PATH, "delicate.yaml"]);
        let wanted = DELICATE
            .replace("${REGISTRY}", &world.proxy.host())
            .replace("podinfo:1.0.0'", "podinfo:1.0.1'")
            .replace("tag: \"1.0.0\"", "tag: \"1.0.1\"");
        assert_eq!(String::from_utf8(world.repository.show(BRANCH, "delicate.yaml").await?)?, wanted);

        let commit = &commits[0];
        assert_eq!(commit.author, AUTHOR);
        let committer = world.repository.git(&["log", "-1", "--format=%cn <%ce>", BRANCH]).await?;
        assert_eq!(committer, AUTHOR);
        let told = world.slack.messages().remove(0);
        assert!(told.text().contains("1.0.0") && told.text().contains("1.0.1"), "{}", told.text());
        let metrics = world.running()?.metrics().await?;
        assert_eq!(metrics.get("windlass_event_to_commit_seconds_count", &[]), Some(1.0));
        let commits = metrics.count("windlass_commits_total", &[]);
        assert!((commits - 1.0).abs() < 0.5, "{commits} commits are counted");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_commit_says_what_moved_by_which_event_in_the_words_of_the_template() -> Result<()> {
    let options = WorldOptions { announces: Announces::Nothing, ..WorldOptions::default() };
    world::run_prepared(options, async |world| {
        let template = "      messageTemplate: |\n        Release {{ range .Changed.Changes }}{{ .OldValue }} to \
                        {{ .NewValue }}{{ end }}\n\n        By {{ .AutomationObject }}\n    push:\n";
        layouts::edit_configuration(world, "git.yaml", |text| text.replace("    push:\n", template))?;
        world.start_windlass().await?;
        let digest = world.push("1.0.1").await?;
        world.announce("delivery-7", "1.0.1", &digest).await?.error_for_status()?;
        world.wait_for("1.0.1").await?;

        let image = format!("{}/{REPOSITORY}", world.proxy.host());
        let commits = world.expect_commits(1).await?;
        let message = format!(
            "Release {image}:1.0.0 to {image}:1.0.1\n\nBy apps/fleet\n\nWindlass-Image: {image}:1.0.1\n\
             Windlass-Automation: apps/fleet\nWindlass-Event: delivery-7"
        );
        assert_eq!(commits[0].message, message);
        // Git itself has to see trailers in them.
        let trailer = "--format=%(trailers:key=Windlass-Event,valueonly,separator=%x2C)";
        assert_eq!(world.repository.git(&["log", "-1", trailer, BRANCH]).await?, "delivery-7");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_commit_names_its_event_whichever_run_makes_it() -> Result<()> {
    let options = WorldOptions { announces: Announces::Nothing, ..WorldOptions::default() };
    world::run(options, async |world| {
        world.idle().await?;
        // A run of the automation's own looks at the branch, and the event comes before it has drafted anything.
        let gate = world.git.traffic().hold(GitServer::fetches(), Point::Before);
        world.running()?.reconcile(AUTOMATION).await?;
        gate.arrived(PATIENCE).await?;
        let digest = world.push("1.0.1").await?;
        world.announce("delivery-8", "1.0.1", &digest).await?.error_for_status()?;
        let chosen =
            |status: &Value| status["latest"].as_str().is_some_and(|latest| latest.ends_with(":1.0.1"));
        world.running()?.wait_for_resource(POLICY, PATIENCE, chosen).await?;
        gate.open();
        let commit = world.wait_for("1.0.1").await?;
        assert!(commit.message.ends_with("\nWindlass-Event: delivery-8"), "{}", commit.message);
        world.expect_commits(1).await?;
        let metrics = world.running()?.metrics().await?;
        assert_eq!(metrics.get("windlass_event_to_commit_seconds_count", &[]), Some(1.0));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn ten_deliveries_of_one_event_give_one_commit() -> Result<()> {
    deliver_ten_times(|_| "the-same".to_owned(), 1.0).await
}

#[tokio::test]
async fn ten_events_of_one_push_give_one_commit() -> Result<()> {
    deliver_ten_times(|number| format!("event-{number}"), 10.0).await
}

/// Posts ten deliveries, of which so many have an id that was not seen before.
async fn deliver_ten_times(id: impl Fn(usize) -> String, accepted: f64) -> Result<()> {
    let options = WorldOptions { announces: Announces::Nothing, ..WorldOptions::default() };
    world::run(options, async |world| {
        let digest = world.push("1.0.1").await?;
        for number in 0..10 {
            let answer = world.announce(&id(number), "1.0.1", &digest).await?;
            assert_eq!(answer.status(), 200);
        }
        world.wait_for("1.0.1").await?;
        let commits = world.expect_commits(1).await?;
        // Once more, now that everything has been done.
        world.announce(&id(0), "1.0.1", &digest).await?.error_for_status()?;
        assert_eq!(world.expect_commits(1).await?, commits);
        let webhooks = world.running()?.metrics().await?;
        let count = |outcome| webhooks.count("windlass_webhooks_total", &[("outcome", outcome)]);
        assert_eq!((count("accepted"), count("duplicate")), (accepted, 11.0 - accepted));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_tag_that_moves_there_and_back_is_followed_each_time() -> Result<()> {
    let options = WorldOptions { digest: "Always".to_owned(), ..WorldOptions::default() };
    world::run(options, async |world| {
        let first = world.images.manifest(REPOSITORY, "1.0.0").await?.1;
        let first = windlass_testkit::image::digest_of(&first);
        for (seed, commits) in [("another", 1), ("1.0.0", 2), ("another", 3)] {
            let digest = world.images.push(REPOSITORY, "1.0.0", seed).await?;
            assert_eq!(digest == first, seed == "1.0.0");
            world.wait_for(&format!("1.0.0@{digest}")).await?;
            world.expect_commits(commits).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_digest_stays_until_another_tag_is_chosen() -> Result<()> {
    let options = WorldOptions {
        digest: "IfNotPresent".to_owned(),
        announces: Announces::Nothing,
        ..WorldOptions::default()
    };
    world::run(options, async |world| {
        let digest = world.images.push(REPOSITORY, "1.0.0", "another").await?;
        world.announce("moved", "1.0.0", &digest).await?.error_for_status()?;
        world.expect_commits(0).await?;
        let digest = world.push("1.0.1").await?;
        world.announce("new", "1.0.1", &digest).await?.error_for_status()?;
        world.wait_for(&format!("1.0.1@{digest}")).await?;
        let moved = world.images.push(REPOSITORY, "1.0.1", "another").await?;
        world.announce("moved again", "1.0.1", &moved).await?.error_for_status()?;
        world.expect_commits(1).await?;
        assert_eq!(world.manifest_at_head().await?, world.expected_manifest(&format!("1.0.1@{digest}")));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_burst_that_comes_during_a_push_goes_into_the_next_one() -> Result<()> {
    let options = WorldOptions { announces: Announces::PushedManifests, ..WorldOptions::default() };
    world::run(options, async |world| {
        let gate = world.git.traffic().hold(GitServer::pushes(), Point::Before);
        world.push("1.0.1").await?;
        gate.arrived(PATIENCE).await?;
        // The best comes in the middle: what follows must not win for being last.
        for tag in (2..12).chain([20]).chain(12..20) {
            world.push(&format!("1.0.{tag}")).await?;
        }
        all_announced(world, 20).await?;
        gate.open();
        world.wait_for("1.0.20").await?;
        world.expect_commits(2).await?;
        assert_eq!(world.git.traffic().count(&GitServer::pushes()), 2);
        Ok(())
    })
    .await
}

/// Waits until the registry has had so many of its notifications taken.
async fn all_announced(world: &World, count: usize) -> Result<()> {
    let hook = Match::path_ends_with(world.webhook_path());
    windlass_testkit::eventually(PATIENCE, format!("{count} notifications"), async || {
        let taken = world
            .hooks
            .traffic()
            .exchanges()
            .into_iter()
            .filter(|exchange| hook.matches(&exchange.head) && exchange.status == Some(200));
        let taken = taken.count();
        ensure!(taken >= count, "{taken} were taken");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn signatures_are_neither_candidates_nor_commits() -> Result<()> {
    let options = WorldOptions { first_tag: "a1".to_owned(), ..WorldOptions::default() };
    world::run_prepared(options, async |world| {
        // In this order every signature's tag would win: `s` comes after `a`.
        layouts::edit_configuration(world, "images.yaml", |text| {
            text.replace("semver:\n      range: '>=1.0.0'", "alphabetical: {}")
        })?;
        world.start_windlass().await?;
        let subject = world.push("a2").await?;
        world.wait_for("a2").await?;
        let signed = subject.replace(':', "-");
        for suffix in ["", ".sig", ".att", ".sbom"] {
            let mark = world.hooks.traffic().mark();
            let tag = format!("{signed}{suffix}");
            world.push(&tag).await?;
            world.hooks.traffic().next_after(mark, &Match::any(), PATIENCE).await?;
        }
        world.images.push_referrer(REPOSITORY, "a2", "application/vnd.example.signature").await?;
        world.running()?.reconcile(windlass_testkit::observed::IMAGE).await?;
        world.expect_commits(1).await?;
        let policy = world.wait_working(POLICY).await?;
        let latest = policy["latest"].as_str().context("no latest image")?;
        assert!(latest.ends_with("/team/podinfo:a2"), "{latest}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn polling_alone_finds_a_tag() -> Result<()> {
    let options =
        WorldOptions { announces: Announces::Nothing, interval: "1s".to_owned(), ..WorldOptions::default() };
    world::run(options, async |world| {
        world.push("1.0.1").await?;
        world.wait_for("1.0.1").await?;
        assert_eq!(world.commits().await?.len(), 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_registry_and_a_git_server_with_passwords_are_served() -> Result<()> {
    with_credentials(GitAuth::Basic("windlass".to_owned(), "a password".to_owned())).await
}

#[tokio::test]
async fn a_git_server_with_a_token_is_served() -> Result<()> {
    with_credentials(GitAuth::Bearer("a-token-for-tests".to_owned())).await
}

async fn with_credentials(git: GitAuth) -> Result<()> {
    let secret = match &git {
        GitAuth::Basic(_, secret) | GitAuth::Bearer(secret) => secret.clone(),
    };
    let options =
        WorldOptions { registry_authentication: true, git_auth: Some(git), ..WorldOptions::default() };
    world::run(options, async |world| {
        world.push("1.0.1").await?;
        world.wait_for("1.0.1").await?;
        world.expect_commits(1).await?;
        for secret in [secret.as_str(), windlass_testkit::registry::PASSWORD, world::TOKEN] {
            assert!(!world.log_text().contains(secret), "a secret is in the log");
        }
        Ok(())
    })
    .await
}

/// Every file of a revision: its path, with mode and blob.
async fn tree(repository: &BareRepository, revision: &str) -> Result<BTreeMap<String, String>> {
    let listing = repository.git(&["ls-tree", "-r", revision]).await?;
    let entry = |line: &str| {
        let (object, path) = line.split_once('\t').context("ls-tree printed no path")?;
        Ok((path.to_owned(), object.to_owned()))
    };
    listing.lines().map(entry).collect()
}

/// The paths that differ between two trees.
fn changed<'a>(before: &'a BTreeMap<String, String>, after: &'a BTreeMap<String, String>) -> Vec<&'a str> {
    let paths = before.keys().chain(after.keys()).collect::<std::collections::BTreeSet<_>>();
    paths.into_iter().filter(|path| before.get(*path) != after.get(*path)).map(String::as_str).collect()
}
