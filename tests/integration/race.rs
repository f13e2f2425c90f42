//! Others push too: between our look at the branch and our push, into the same file, over rewritten history, and with
//! hooks that refuse ours. Nothing of theirs is lost, and ours lands once.

use anyhow::{Result, ensure};
use windlass_testkit::eventually;
use windlass_testkit::git_repository::{BRANCH, BareRepository};
use windlass_testkit::git_server::GitServer;
use windlass_testkit::observed::AUTOMATION;
use windlass_testkit::slack::Message;
use windlass_testkit::traffic::{Exchange, Point};
use windlass_testkit::world::{self, MANIFEST_PATH, PATIENCE, World, WorldOptions};

const REF: &str = "refs/heads/main";

/// Pushes a tag, and lets others act while Windlass's push of it stands before the server.
async fn push_meanwhile(
    world: &World,
    tag: &str,
    meanwhile: impl AsyncFnOnce(&BareRepository) -> Result<()>,
) -> Result<()> {
    let gate = world.git.traffic().hold(GitServer::pushes(), Point::Before);
    world.push(tag).await?;
    gate.arrived(PATIENCE).await?;
    meanwhile(&world.repository).await?;
    gate.open();
    Ok(())
}

#[tokio::test]
async fn a_competing_push_between_fetch_and_push_loses_nothing() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        for round in 1..=5 {
            let tag = format!("1.0.{round}");
            push_meanwhile(world, &tag, async |repository| {
                let (path, text) = (format!("foreign-{round}.yaml"), format!("round: {round}\n"));
                repository.commit(BRANCH, &format!("Foreign {round}\n"), [(path, text)]).await?;
                Ok(())
            })
            .await?;
            world.wait_for(&tag).await?;
        }
        let ours = world.expect_commits(5).await?;
        let all = world.commits().await?;
        let theirs: Vec<&str> = all.iter().skip(1).step_by(2).map(|commit| commit.message.as_str()).collect();
        assert_eq!(theirs, ["Foreign 5", "Foreign 4", "Foreign 3", "Foreign 2", "Foreign 1"]);
        for commit in ours {
            assert_eq!(world.repository.changed_paths(&commit.id).await?, [MANIFEST_PATH]);
        }
        for round in 1..=5 {
            let text = world.repository.show(BRANCH, &format!("foreign-{round}.yaml")).await?;
            assert_eq!(text, format!("round: {round}\n").as_bytes());
        }
        let metrics = world.running()?.metrics().await?;
        let moved = metrics.count("windlass_pushes_total", &[("outcome", "moved")]);
        assert!((moved - 5.0).abs() < 0.5, "{moved} races were lost");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_branch_that_others_leave_alone_is_looked_at_after_the_push_alone() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        // The looks before the first push for a tag, and how many pushes it took.
        let land = async |tag: &str| {
            let traffic = world.git.traffic();
            let mark = traffic.mark();
            world.push(tag).await?;
            world.wait_for(tag).await?;
            world.idle().await?;
            let mut exchanges = traffic.exchanges().split_off(mark);
            exchanges.sort_by_key(|exchange| exchange.started);
            let is_push = |exchange: &Exchange| GitServer::pushes().matches(&exchange.head);
            let before = exchanges.iter().take_while(|exchange| !is_push(exchange)).count();
            anyhow::Ok((before, exchanges.iter().filter(|exchange| is_push(exchange)).count()))
        };
        land("1.0.1").await?;
        assert_eq!(land("1.0.2").await?, (0, 1));
        assert_eq!(land("1.0.3").await?, (0, 1));

        // Somebody else pushes: the first try finds out, and the next push looks first.
        world.repository.commit(BRANCH, "Foreign\n", [("foreign.yaml", "foreign: true\n")]).await?;
        assert_eq!(land("1.0.4").await?, (0, 2));
        let (looks, pushes) = land("1.0.5").await?;
        assert!(looks > 0 && pushes == 1, "{looks} looks, {pushes} pushes");
        assert_eq!(land("1.0.6").await?, (0, 1));
        world.expect_commits(6).await?;
        assert_eq!(world.repository.show(BRANCH, "foreign.yaml").await?, b"foreign: true\n");

        // What stands in Git is right already: nothing was pushed, so the branch was looked at.
        let mark = world.git.traffic().mark();
        world.running()?.reconcile(AUTOMATION).await?;
        world.idle().await?;
        let looked = world.git.traffic().exchanges().split_off(mark);
        assert!(!looked.is_empty(), "nobody looked");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_foreign_change_of_the_marked_file_is_kept() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let reviewed = |tag: &str| format!("# reviewed by a person\n{}", world.expected_manifest(tag));
        let theirs = reviewed("1.0.0");
        push_meanwhile(world, "1.0.1", async |repository| {
            repository.commit(BRANCH, "Review\n", [(MANIFEST_PATH, theirs)]).await.map(drop)
        })
        .await?;
        wait_for_manifest(world, &reviewed("1.0.1")).await?;
        world.expect_commits(1).await?;

        // Somebody else is faster with the very same change: there is nothing left to commit.
        let theirs = reviewed("1.0.2");
        push_meanwhile(world, "1.0.2", async |repository| {
            repository.commit(BRANCH, "By hand\n", [(MANIFEST_PATH, theirs)]).await.map(drop)
        })
        .await?;
        world.expect_commits(1).await?;
        wait_for_manifest(world, &reviewed("1.0.2")).await?;

        // Somebody takes the marker away: the place is not ours any more.
        let unmarked = reviewed("1.0.2").replace("$imagepolicy", "formerly marked");
        let theirs = unmarked.clone();
        push_meanwhile(world, "1.0.3", async |repository| {
            repository.commit(BRANCH, "Unmarked\n", [(MANIFEST_PATH, theirs)]).await.map(drop)
        })
        .await?;
        world.expect_commits(1).await?;
        wait_for_manifest(world, &unmarked).await
    })
    .await
}

async fn wait_for_manifest(world: &World, wanted: &str) -> Result<()> {
    eventually(PATIENCE, "the manifest to be as expected", async || {
        let found = world.manifest_at_head().await?;
        ensure!(found == wanted, "it is\n{found}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn a_rewritten_history_is_built_upon() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        // Once while nothing is under way, and once more in the middle of the push.
        rewrite(&world.repository, "Rewritten once").await?;
        push_meanwhile(world, "1.0.1", async |repository| rewrite(repository, "Rewritten twice").await)
            .await?;
        world.wait_for("1.0.1").await?;
        world.expect_commits(1).await?;
        let log = world.repository.log(BRANCH).await?;
        assert_eq!(log.len(), 2, "{log:#?}");
        assert_eq!(log[1].message, "Rewritten twice");
        Ok(())
    })
    .await
}

/// Replaces the branch by one commit of the same tree that has no parent.
async fn rewrite(repository: &BareRepository, message: &str) -> Result<()> {
    let commit = repository.git(&["commit-tree", &format!("{BRANCH}^{{tree}}"), "-m", message]).await?;
    repository.git(&["update-ref", REF, &commit]).await.map(drop)
}

#[tokio::test]
async fn a_branch_that_vanishes_during_the_push_is_missed_by_name_and_its_return_is_noticed() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let head = world.repository.head(BRANCH).await?.unwrap_or_default();
        push_meanwhile(world, "1.0.1", async |repository| {
            repository.git(&["update-ref", "-d", REF]).await.map(drop)
        })
        .await?;
        world.wait_failing(AUTOMATION, "branch main does not exist in the repository").await?;
        assert_eq!(world.repository.head(BRANCH).await?, None, "nobody but a person brings the branch back");
        world.repository.git(&["update-ref", REF, &head]).await?;
        world.running()?.reconcile(AUTOMATION).await?;
        world.wait_for("1.0.1").await?;
        world.wait_working(AUTOMATION).await?;
        world.expect_commits(1).await?;
        Ok(())
    })
    .await
}

const HOOK: &str = "echo no releases on a Friday >&2\nexit 1";

#[tokio::test]
async fn a_hooks_refusal_is_shown_in_its_words_and_ends_with_the_hook() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        world.repository.install_hook("pre-receive", HOOK)?;
        world.push("1.0.1").await?;
        let status = world.wait_failing(AUTOMATION, "no releases on a Friday").await?;
        let message = status["message"].as_str().unwrap_or_default();
        assert!(message.contains("the Git server refused the push to main"), "{message}");
        assert!(world.log_text().contains("no releases on a Friday"));
        assert_eq!(world.commits().await?, []);

        world.repository.remove_hook("pre-receive")?;
        world.running()?.reconcile(AUTOMATION).await?;
        world.wait_for("1.0.1").await?;
        world.wait_working(AUTOMATION).await?;
        world.expect_commits(1).await?;
        let messages = world.slack.messages();
        let told = |kind: fn(&Message) -> bool| messages.iter().filter(|m| kind(m)).count();
        assert_eq!((told(Message::is_failure), told(Message::is_recovery)), (1, 1), "{messages:#?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_refused_push_is_tried_again_by_itself() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        world.repository.install_hook("pre-receive", HOOK)?;
        world.push("1.0.1").await?;
        world.wait_failing(AUTOMATION, "no releases on a Friday").await?;
        world.repository.remove_hook("pre-receive")?;
        world.wait_for("1.0.1").await?;
        let commits = world.expect_commits(1).await?;
        assert!(commits[0].message.contains("\nWindlass-Event: "), "{}", commits[0].message);
        Ok(())
    })
    .await
}
