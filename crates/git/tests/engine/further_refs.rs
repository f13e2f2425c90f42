//! Pushes of several refs, push options, and rewritten branches.

use windlass_git::{CommitId, ErrorKind, GitError, Mirror, Prepared, PushOutcome, PushRequest, Retry};

use crate::support::{BOTH, World, commit_elsewhere, edit, git, land, refusal, update};

const ONE: &str = "apps/one/deploy.yaml";
const AUTO: &str = "refs/heads/auto";
const REVIEW: &str = "refs/for/main%topic=images";
/// Takes everything but `refs/heads/auto`.
const NOT_AUTO: &str = "if [ \"$1\" = refs/heads/auto ]; then echo 'auto is frozen' >&2; exit 1; fi\n";

async fn push_to(
    mirror: &mut Mirror,
    old: CommitId,
    tip: &Prepared,
    also: &[&str],
) -> Result<PushOutcome, GitError> {
    let also: Vec<String> = also.iter().map(|name| (*name).to_owned()).collect();
    mirror.push(PushRequest { also: &also, ..PushRequest::new("main", Some(old), tip) }).await
}

#[track_caller]
fn assert_landed(outcome: &PushOutcome) {
    assert!(matches!(outcome, PushOutcome::Landed { .. }), "{outcome:?}");
}

fn pushes(world: &World) -> usize {
    world.server.requests().iter().filter(|what| *what == "POST git-receive-pack").count()
}

#[tokio::test]
async fn several_refs_move_in_one_push() {
    for by in BOTH {
        let world = World::by(by).await;
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let first = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "First").await;
        assert_landed(&push_to(&mut mirror, tip, &first, &[AUTO, REVIEW]).await.unwrap());
        assert_eq!(pushes(&world), 1);
        assert_eq!((world.tip("main"), world.tip("auto")), (first.id(), first.id()));
        assert!(world.has_ref(REVIEW));
        // A branch that exists moves on; a review server keeps no ref, and this one does.
        git(&world.repository(), &["update-ref", "-d", REVIEW]);
        let second = edit(&mirror, first.id(), ONE, "image: app:1.0.2\n", "Second").await;
        assert_landed(&push_to(&mut mirror, first.id(), &second, &[AUTO, REVIEW]).await.unwrap());
        assert_eq!((world.tip("main"), world.tip("auto")), (second.id(), second.id()));
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn where_one_ref_is_refused_none_moves() {
    for by in BOTH {
        let world = World::by(by).await;
        world.hook("update", NOT_AUTO);
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
        let outcome = push_to(&mut mirror, tip, &prepared, &[AUTO]).await.unwrap();
        let PushOutcome::Rejected { refusals, messages } = outcome else { panic!("{outcome:?}") };
        assert_eq!(
            refusals.iter().map(|refusal| refusal.name.as_str()).collect::<Vec<_>>(),
            ["refs/heads/main", AUTO]
        );
        assert_eq!(refusals[1], refusal(AUTO, "hook declined"));
        assert!(messages.contains(&"auto is frozen".to_owned()), "{messages:?}");
        assert_eq!(world.tip("main"), tip);
        assert!(!world.has_ref(AUTO));
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn without_atomic_pushes_what_did_not_move_is_told_by_ref() {
    for by in BOTH {
        for refused in [false, true] {
            let world = World::by(by).await;
            git(&world.repository(), &["config", "receive.advertiseAtomic", "false"]);
            if refused {
                world.hook("update", NOT_AUTO);
            }
            let mut mirror = world.mirror().await;
            let tip = update(&mut mirror, "main").await;
            let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
            let outcome = push_to(&mut mirror, tip, &prepared, &[AUTO, REVIEW]).await.unwrap();
            assert_eq!((world.tip("main"), pushes(&world)), (prepared.id(), 2));
            assert!(world.has_ref(REVIEW));
            if refused {
                let PushOutcome::Partly { refusals, messages } = outcome else { panic!("{outcome:?}") };
                assert_eq!(refusals, [refusal(AUTO, "hook declined")]);
                assert!(messages.contains(&"auto is frozen".to_owned()), "{messages:?}");
                assert!(!world.has_ref(AUTO));
            } else {
                assert_landed(&outcome);
                assert_eq!(world.tip("auto"), prepared.id());
            }
            world.assert_clean(&mirror);
        }
    }
}

#[tokio::test]
async fn a_branch_that_is_refused_takes_no_other_ref_with_it() {
    for by in BOTH {
        let world = World::by(by).await;
        git(&world.repository(), &["config", "receive.advertiseAtomic", "false"]);
        world.hook("update", &NOT_AUTO.replace("auto", "main"));
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
        let outcome = push_to(&mut mirror, tip, &prepared, &[AUTO]).await.unwrap();
        assert!(
            matches!(&outcome, PushOutcome::Rejected { refusals, .. } if refusals.len() == 1),
            "{outcome:?}"
        );
        assert!(world.tip("main") == tip && !world.has_ref(AUTO));
    }
}

#[tokio::test]
async fn commits_of_others_on_a_further_branch_are_never_overwritten() {
    for by in BOTH {
        let world = World::by(by).await;
        let mut mirror = world.mirror().await;
        let old = update(&mut mirror, "main").await;
        git(&world.repository(), &["update-ref", AUTO, &old.to_string()]);
        // Behind the branch is fine.
        let tip = world.foreign(&[("README.md", "moved on\n")]);
        mirror.fetch("main", tip).await.unwrap();
        let first = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "First").await;
        assert_landed(&push_to(&mut mirror, tip, &first, &[AUTO]).await.unwrap());
        assert_eq!(world.tip("auto"), first.id());

        commit_elsewhere(&world.work(), &[("README.md", "theirs\n")]);
        git(&world.work(), &["push", "--quiet", "origin", "HEAD:refs/heads/auto"]);
        let theirs = world.tip("auto");
        git(&world.repository(), &["update-ref", "refs/heads/main", &first.id().to_string()]);
        let second = edit(&mirror, first.id(), ONE, "image: app:1.0.2\n", "Second").await;
        let error = push_to(&mut mirror, first.id(), &second, &[AUTO]).await.unwrap_err();
        assert!(matches!(&error, GitError::NotFastForward(name) if name == AUTO), "{error:?}");
        assert_eq!(error.retry(), Retry::OnChange);
        assert_eq!((world.tip("main"), world.tip("auto")), (first.id(), theirs));
    }
}

#[tokio::test]
async fn a_further_branch_that_moves_meanwhile_starts_the_round_again() {
    for by in BOTH {
        let world = World::by(by).await;
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
        let (repository, elsewhere) = (world.repository(), tip.to_string());
        world.server.switches().before_push = Some(Box::new(move || {
            git(&repository, &["update-ref", AUTO, &elsewhere]);
        }));
        let outcome = push_to(&mut mirror, tip, &prepared, &[AUTO]).await.unwrap();
        assert!(matches!(outcome, PushOutcome::Moved { actual } if actual == Some(tip)), "{outcome:?}");
        assert_landed(&push_to(&mut mirror, tip, &prepared, &[AUTO]).await.unwrap());
        assert_eq!((world.tip("main"), world.tip("auto")), (prepared.id(), prepared.id()));
    }
}

#[tokio::test]
async fn several_refs_are_found_after_their_report_was_lost() {
    for by in BOTH {
        let world = World::by(by).await;
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let first = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "First").await;
        world.server.switches().drop_report = true;
        assert_landed(&push_to(&mut mirror, tip, &first, &[AUTO]).await.unwrap());
        // The server is known now: a strange answer makes the push be sent once more, and that one is refused.
        let second = edit(&mirror, first.id(), ONE, "image: app:1.0.2\n", "Second").await;
        world.server.switches().garble_report = true;
        assert_landed(&push_to(&mut mirror, first.id(), &second, &[AUTO]).await.unwrap());
        assert_eq!((world.tip("main"), world.tip("auto")), (second.id(), second.id()));
    }
}

#[tokio::test]
async fn destinations_that_make_no_sense_are_refused_before_anything_is_sent() {
    for by in BOTH {
        let world = World::by(by).await;
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
        for also in ["refs/heads/main", "refs/tags/v1", "auto", "refs/for/", "refs/for/a..b"] {
            let error = push_to(&mut mirror, tip, &prepared, &[also]).await.unwrap_err();
            assert!(matches!(error, GitError::Destination(_)), "{also}: {error:?}");
        }
        assert_eq!(pushes(&world), 0);
    }
}

#[tokio::test]
async fn push_options_reach_the_servers_hooks() {
    for by in BOTH {
        let world = World::by(by).await;
        let hook = "echo \"$GIT_PUSH_OPTION_COUNT|$GIT_PUSH_OPTION_0|$GIT_PUSH_OPTION_1\"\ncat > /dev/null\n";
        world.hook("pre-receive", hook);
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
        let options = ["merge_request.create".to_owned(), "merge_request.title=New images: ü".to_owned()];
        let also = [AUTO.to_owned()];
        let request =
            PushRequest { options: &options, also: &also, ..PushRequest::new("main", Some(tip), &prepared) };
        let outcome = mirror.push(request).await.unwrap();
        let PushOutcome::Landed { messages } = outcome else { panic!("{outcome:?}") };
        assert!(
            messages.contains(&"2|merge_request.create|merge_request.title=New images: ü".to_owned()),
            "{messages:?}"
        );
        // None are asked for where none are there.
        let second = edit(&mirror, prepared.id(), ONE, "image: app:1.0.2\n", "Second").await;
        land(&mut mirror, "main", Some(prepared.id()), &second).await;
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn a_server_without_push_options_is_told_apart_from_one_that_refuses() {
    for by in BOTH {
        let world = World::by(by).await;
        git(&world.repository(), &["config", "receive.advertisePushOptions", "false"]);
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
        let options = ["ci.skip".to_owned()];
        let request = PushRequest { options: &options, ..PushRequest::new("main", Some(tip), &prepared) };
        let error = mirror.push(request).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::OnChange));
        assert!(error.to_string().contains("receive.advertisePushOptions"), "{error}");
        assert_eq!(world.tip("main"), tip);
        // Once it takes them, what was known of it is learned anew.
        git(&world.repository(), &["config", "receive.advertisePushOptions", "true"]);
        assert_landed(&mirror.push(request).await.unwrap());
    }
}

#[tokio::test]
async fn a_rewritten_branch_is_overwritten_only_where_it_was_last_seen() {
    for by in BOTH {
        let world = World::by(by).await;
        let mut mirror = world.mirror().await;
        let base = update(&mut mirror, "main").await;
        let first = edit(&mirror, base, ONE, "image: app:1.0.1\n", "First").await;
        land(&mut mirror, "updates", None, &first).await;
        let tip = world.foreign(&[("README.md", "moved on\n")]);
        mirror.fetch("main", tip).await.unwrap();
        let second = edit(&mirror, tip, ONE, "image: app:1.0.2\n", "Second").await;
        let rebuilt = PushRequest { rewrite: true, ..PushRequest::new("updates", Some(first.id()), &second) };

        let (repository, theirs) = (world.repository(), base.to_string());
        world.server.switches().before_push = Some(Box::new(move || {
            git(&repository, &["update-ref", "refs/heads/updates", &theirs]);
        }));
        let outcome = mirror.push(rebuilt).await.unwrap();
        assert!(matches!(outcome, PushOutcome::Moved { actual } if actual == Some(base)), "{outcome:?}");
        assert_eq!(world.tip("updates"), base);

        git(&world.repository(), &["update-ref", "refs/heads/updates", &first.id().to_string()]);
        assert_landed(&mirror.push(rebuilt).await.unwrap());
        assert_eq!(world.log("updates"), ["Second", "by somebody else", "by somebody else"]);
        assert_eq!(world.tip("main"), tip);
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn what_a_branch_has_and_another_has_not_is_told() {
    for by in BOTH {
        let world = World::by(by).await;
        let mut mirror = world.mirror().await;
        let base = update(&mut mirror, "main").await;
        let first = edit(&mirror, base, ONE, "image: app:1.0.1\n", "First\n\nKey: 1").await;
        land(&mut mirror, "updates", None, &first).await;
        let second = edit(&mirror, first.id(), ONE, "image: app:1.0.2\n", "Second").await;
        land(&mut mirror, "updates", Some(first.id()), &second).await;
        let ours = |ahead: &windlass_git::Ahead| {
            ahead
                .commits
                .iter()
                .map(|commit| (commit.committer.clone(), commit.message.clone()))
                .collect::<Vec<_>>()
        };
        let bot = "windlass@example.com".to_owned();
        let commits =
            vec![(bot.clone(), "Second\n".to_owned()), (bot.clone(), "First\n\nKey: 1\n".to_owned())];

        let ahead = mirror.ahead(second.id(), base).await.unwrap();
        assert_eq!((ahead.contains, ahead.more, ours(&ahead)), (true, false, commits.clone()));
        let behind = mirror.ahead(base, second.id()).await.unwrap();
        assert_eq!((behind.contains, ours(&behind)), (false, vec![]));
        let theirs = world.foreign(&[("README.md", "moved on\n")]);
        let apart = mirror.ahead(second.id(), theirs).await.unwrap();
        assert_eq!((apart.contains, ours(&apart)), (false, commits));
        let recent = mirror.recent(second.id()).await.unwrap();
        let messages: Vec<&str> = recent.iter().map(|commit| commit.message.as_str()).collect();
        assert_eq!(messages[..2], ["Second\n", "First\n\nKey: 1\n"]);
        assert!(messages.len() > 2, "and what was there before: {messages:?}");
        // A commit whose clock is behind that of its parent is the later one all the same.
        let tip = update(&mut mirror, "main").await;
        let on_theirs = edit(&mirror, tip, ONE, "image: app:1.0.3\n", "Third").await;
        land(&mut mirror, "main", Some(theirs), &on_theirs).await;
        let recent = mirror.recent(on_theirs.id()).await.unwrap();
        let messages: Vec<&str> = recent.iter().map(|commit| commit.message.as_str()).collect();
        assert_eq!(messages[..2], ["Third\n", "by somebody else\n"]);
    }
}
