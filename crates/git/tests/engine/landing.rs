//! Commits and pushes.

use windlass_git::{CommitId, EditError, GitError, Implementation, PushOutcome, PushRequest};

use crate::support::{
    BOTH, World, change, commit_elsewhere, contents, edit, git, land, push, refusal, text, update,
};

const ONE: &str = "apps/one/deploy.yaml";

#[track_caller]
fn assert_landed(outcome: &PushOutcome) {
    assert!(matches!(outcome, PushOutcome::Landed { .. }), "{outcome:?}");
}

#[tokio::test]
async fn an_edit_lands_as_one_commit_and_git_agrees() {
    for by in BOTH {
        let world = World::by(by).await;
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        contents(&mirror, tip).await;
        let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update app\n\nWindlass-Event: x").await;
        land(&mut mirror, "main", Some(tip), &prepared).await;

        assert_eq!(world.tip("main"), prepared.id());
        assert_eq!(world.content("main", ONE), "image: app:1.0.1\n");
        assert_eq!(world.content("main", "apps/two/deploy.yaml"), "image: app:1.0.0\r\n# comment\r\n");
        assert_eq!(world.log("main"), ["Update app", "by somebody else"]);
        let shown = git(&world.repository(), &["log", "-1", "--format=%an|%ae|%cn|%at|%(trailers)", "main"]);
        assert_eq!(shown.trim(), "Windlass|windlass@example.com|Windlass|1750000000|Windlass-Event: x");
        let changed = git(&world.repository(), &["diff", "--name-only", "main~1", "main"]);
        assert_eq!(changed, ONE);
        world.assert_clean(&mirror);

        // The mirror has it without asking.
        world.server.take_seen();
        mirror.fetch("main", prepared.id()).await.unwrap();
        assert_eq!(contents(&mirror, prepared.id()).await[1], (ONE.into(), "image: app:1.0.1\n".into()));
        assert_eq!(world.server.requests(), [""; 0]);
    }
}

#[tokio::test]
async fn a_warm_push_is_one_post_and_one_look() {
    let world = World::new().await;
    let mut mirror = world.mirror().await;
    let mut tip = update(&mut mirror, "main").await;
    for round in 0..3 {
        world.server.take_seen();
        let prepared = edit(&mirror, tip, ONE, &format!("image: app:2.0.{round}\n"), "Update").await;
        land(&mut mirror, "main", Some(tip), &prepared).await;
        tip = prepared.id();
        let requests = world.server.requests();
        let warm = ["POST git-receive-pack", "POST git-upload-pack"];
        let expected: &[&str] =
            if round == 0 { &["GET info/refs?service=git-receive-pack", warm[0], warm[1]] } else { &warm };
        assert_eq!(requests, expected);
    }
    world.assert_clean(&mirror);
}

#[tokio::test]
async fn a_chain_of_commits_lands_in_one_push() {
    for by in BOTH {
        let world = World::by(by).await;
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let first = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "First").await;
        let second =
            mirror.commit(&first, change(ONE, "image: app:1.0.2\n"), &text("Second")).await.unwrap().unwrap();
        let third =
            mirror.commit(&second, change("new/file.yaml", "a: 1\n"), &text("Third")).await.unwrap().unwrap();
        assert_eq!(
            mirror
                .commit(&third, change(ONE, "image: app:1.0.2\n"), &text("No"))
                .await
                .unwrap()
                .map(|p| p.id()),
            None
        );
        land(&mut mirror, "main", Some(tip), &third).await;
        assert_eq!(world.log("main"), ["Third", "Second", "First", "by somebody else"]);
        assert_eq!(world.content("main~1", ONE), "image: app:1.0.2\n");
        assert_eq!(world.content("main~2", ONE), "image: app:1.0.1\n");
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn no_change_is_no_commit() {
    let world = World::new().await;
    let mut mirror = world.mirror().await;
    let tip = update(&mut mirror, "main").await;
    for changes in [Vec::new(), change(ONE, "image: app:1.0.0\n")] {
        assert!(mirror.commit(tip, changes, &text("Nothing")).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn modes_are_kept_and_what_is_no_file_is_refused() {
    for by in BOTH {
        let world = World::by(by).await;
        let work = world.work();
        std::os::unix::fs::symlink("one/deploy.yaml", work.join("apps/link.yaml")).unwrap();
        git(
            &work,
            &["update-index", "--add", "--cacheinfo", &format!("160000,{},apps/sub", world.tip("main"))],
        );
        std::fs::write(work.join("run.sh"), "#!/bin/sh\n").unwrap();
        git(&work, &["add", "run.sh", "apps/link.yaml"]);
        git(&work, &["update-index", "--chmod=+x", "run.sh"]);
        git(&work, &["commit", "--quiet", "--message", "modes"]);
        git(&work, &["push", "--quiet", "origin", "HEAD:refs/heads/main"]);

        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        for (path, error) in [
            ("apps/link.yaml", EditError::NotAFile("apps/link.yaml".into())),
            ("apps/sub", EditError::NotAFile("apps/sub".into())),
            ("apps/one", EditError::NotAFile("apps/one".into())),
            ("apps/sub/x.yaml", EditError::NotAFolder("apps/sub".into())),
            ("apps/link.yaml/x", EditError::NotAFolder("apps/link.yaml".into())),
            ("README.md/x", EditError::NotAFolder("README.md".into())),
            ("../x", EditError::Path("../x".into())),
        ] {
            match mirror.commit(tip, change(path, "x"), &text("No")).await {
                Err(GitError::Edit(actual)) => assert_eq!(actual, error),
                other => panic!("{path}: {other:?}"),
            }
        }
        let prepared = edit(&mirror, tip, "run.sh", "#!/bin/sh\ntrue\n", "Run").await;
        land(&mut mirror, "main", Some(tip), &prepared).await;
        let modes = git(&world.repository(), &["ls-tree", "-r", "--format=%(objectmode) %(path)", "main"]);
        assert!(modes.contains("100755 run.sh") && modes.contains("120000 apps/link.yaml"), "{modes}");
        assert!(modes.contains("160000 apps/sub"), "{modes}");
    }
}

#[tokio::test]
async fn a_new_branch_is_created_once() {
    for by in BOTH {
        let world = World::by(by).await;
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
        land(&mut mirror, "windlass/update", None, &prepared).await;
        assert_eq!((world.tip("windlass/update"), world.tip("main")), (prepared.id(), tip));
        let other = edit(&mirror, tip, ONE, "image: app:1.0.2\n", "Other").await;
        let outcome = push(&mut mirror, "windlass/update", None, &other).await;
        assert!(
            matches!(outcome, PushOutcome::Moved { actual } if actual == Some(prepared.id())),
            "{outcome:?}"
        );
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn a_branch_is_rewritten_only_when_asked() {
    for by in BOTH {
        let world = World::by(by).await;
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let first = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "First").await;
        land(&mut mirror, "updates", None, &first).await;
        let second = edit(&mirror, tip, ONE, "image: app:1.0.2\n", "Second").await;
        let expected_old = Some(first.id());
        let mut request = PushRequest::new("updates", expected_old, &second);
        assert!(matches!(mirror.push(request).await, Err(GitError::NotOnTip { .. })));
        request.rewrite = true;
        assert_landed(&mirror.push(request).await.unwrap());
        assert_eq!(world.log("updates"), ["Second", "by somebody else"]);
    }
}

#[tokio::test]
async fn a_stale_expectation_is_moved_and_nothing_is_overwritten() {
    for by in BOTH {
        let world = World::by(by).await;
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
        let theirs = world.foreign(&[("README.md", "changed\n")]);
        let outcome = push(&mut mirror, "main", Some(tip), &prepared).await;
        assert!(matches!(outcome, PushOutcome::Moved { actual } if actual == Some(theirs)), "{outcome:?}");
        assert_eq!(world.tip("main"), theirs);

        // A branch that vanished has moved too.
        git(&world.repository(), &["update-ref", "-d", "refs/heads/main"]);
        let outcome = push(&mut mirror, "main", Some(tip), &prepared).await;
        assert!(matches!(outcome, PushOutcome::Moved { actual: None }), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_lost_race_starts_again_on_the_new_tip() {
    for by in BOTH {
        let world = World::by(by).await;
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
        let work = world.work();
        world.server.switches().before_push = Some(Box::new(move || {
            commit_elsewhere(&work, &[("README.md", "raced\n")]);
        }));
        let outcome = push(&mut mirror, "main", Some(tip), &prepared).await;
        let PushOutcome::Moved { actual: Some(theirs) } = outcome else { panic!("{outcome:?}") };

        mirror.fetch("main", theirs).await.unwrap();
        let again = edit(&mirror, theirs, ONE, "image: app:1.0.1\n", "Update").await;
        land(&mut mirror, "main", Some(theirs), &again).await;
        assert_eq!(world.log("main"), ["Update", "by somebody else", "by somebody else"]);
        assert_eq!(world.content("main", "README.md"), "raced\n");
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn a_hooks_refusal_is_told_in_its_own_words() {
    for by in BOTH {
        let world = World::by(by).await;
        let script =
            "printf 'policy: no \\033[31mFriday\\033[0m releases\\n'\necho 'ask the owner' >&2\nexit 1\n";
        world.hook("pre-receive", script);

        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
        let outcome = push(&mut mirror, "main", Some(tip), &prepared).await;
        let PushOutcome::Rejected { refusals, messages } = outcome else { panic!("{outcome:?}") };
        assert_eq!(refusals, [refusal("refs/heads/main", "pre-receive hook declined")]);
        assert!(messages.contains(&"policy: no [31mFriday[0m releases".to_owned()), "{messages:?}");
        assert!(messages.contains(&"ask the owner".to_owned()), "{messages:?}");
        assert_eq!(world.tip("main"), tip);

        world.hook("pre-receive", "exit 0\n");
        land(&mut mirror, "main", Some(tip), &prepared).await;
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn a_push_whose_report_is_lost_is_found_and_not_made_twice() {
    for by in BOTH {
        let world = World::by(by).await;
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
        world.server.switches().drop_report = true;
        land(&mut mirror, "main", Some(tip), &prepared).await;
        assert_eq!(world.log("main"), ["Update", "by somebody else"]);
        let pushes = world.server.requests().iter().filter(|what| *what == "POST git-receive-pack").count();
        // The git program's HTTP library sends once more on a connection that it had used before.
        assert!(pushes == 1 || by == Implementation::Program && pushes == 2, "{pushes}");
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn a_landed_commit_is_found_below_what_others_built_on_it() {
    for by in BOTH {
        for hidden in [vec![], vec!["filter"]] {
            let world = World::by(by).await;
            let mut mirror = world.mirror().await;
            world.server.switches().hidden = hidden;
            let tip = update(&mut mirror, "main").await;
            let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
            let work = world.work();
            world.server.switches().drop_report = true;
            world.server.switches().after_push = Some(Box::new(move || {
                for round in 0..3 {
                    commit_elsewhere(&work, &[("README.md", &format!("on top {round}\n"))]);
                }
            }));
            land(&mut mirror, "main", Some(tip), &prepared).await;
            assert_eq!(world.log("main").iter().filter(|subject| *subject == "Update").count(), 1);

            let theirs = update(&mut mirror, "main").await;
            assert!(mirror.contains(theirs, prepared.id()).await.unwrap());
            assert!(mirror.contains(theirs, tip).await.unwrap());
            let unborn = edit(&mirror, theirs, ONE, "image: app:9\n", "Never pushed").await;
            assert!(!mirror.contains(theirs, unborn.id()).await.unwrap());
            world.assert_clean(&mirror);
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_push_is_done_leaves_it_unknown() {
    let world = World::new().await;
    let mut mirror = world.mirror().await;
    let tip = update(&mut mirror, "main").await;
    let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
    world.server.switches().drop_push = true;
    let outcome = push(&mut mirror, "main", Some(tip), &prepared).await;
    assert!(matches!(outcome, PushOutcome::Unknown { .. }), "{outcome:?}");
    assert_eq!(world.tip("main"), tip);
    land(&mut mirror, "main", Some(tip), &prepared).await;
    assert_eq!(world.log("main"), ["Update", "by somebody else"]);
}

#[tokio::test]
async fn a_garbled_answer_is_asked_again_and_what_was_done_is_found() {
    for refuses_then in [false, true] {
        let world = World::new().await;
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let first = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "First").await;
        land(&mut mirror, "main", Some(tip), &first).await;
        // The abilities are known now, so a strange answer makes them be learned anew.
        let second = edit(&mirror, first.id(), ONE, "image: app:1.0.2\n", "Second").await;
        world.server.switches().garble_report = true;
        if refuses_then {
            let shared = world.server.handle();
            let refuse = move || shared.lock().unwrap().authorization = Some("Basic other".to_owned());
            world.server.switches().after_push = Some(Box::new(refuse));
        }
        let outcome = push(&mut mirror, "main", Some(first.id()), &second).await;
        if refuses_then {
            assert!(matches!(outcome, PushOutcome::Unknown { .. }), "{outcome:?}");
        } else {
            assert!(matches!(outcome, PushOutcome::Landed { .. }), "{outcome:?}");
        }
        assert_eq!(world.log("main"), ["Second", "First", "by somebody else"]);
    }
}

#[tokio::test]
async fn servers_with_fewer_abilities_are_pushed_to() {
    for by in BOTH {
        let cases: [&[&'static str]; 4] = [
            &["side-band-64k"],
            &["atomic", "report-status-v2"],
            &["side-band-64k", "atomic", "report-status-v2", "object-format", "ofs-delta"],
            &["agent"],
        ];
        for hidden in cases {
            let world = World::by(by).await;
            let mut mirror = world.mirror().await;
            let tip = update(&mut mirror, "main").await;
            world.server.switches().hidden = hidden.to_vec();
            let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
            land(&mut mirror, "main", Some(tip), &prepared).await;
            assert_eq!(world.log("main"), ["Update", "by somebody else"], "{hidden:?}");
            world.assert_clean(&mirror);
        }
    }
}

#[tokio::test]
async fn many_edits_of_large_folders_land_as_a_small_pack() {
    for by in BOTH {
        let world = World::by(by).await;
        let path = |i: usize| format!("flat/app-{i:04}.yaml");
        let body = |i: usize, tag: &str| format!("# {i}\nimage: app:{tag}\n{}", "replicas: 1\n".repeat(50));
        let files: Vec<(String, String)> = (0..1000).map(|i| (path(i), body(i, "1.0.0"))).collect();
        world.foreign(&files.iter().map(|(p, c)| (p.as_str(), c.as_str())).collect::<Vec<_>>());
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let changes =
            |tag: &str| (0..1000).step_by(100).map(|i| (path(i), body(i, tag).into_bytes())).collect();
        let first = mirror.commit(tip, changes("1.0.1"), &text("First")).await.unwrap().unwrap();
        let second = mirror.commit(&first, changes("1.0.10"), &text("Second")).await.unwrap().unwrap();
        land(&mut mirror, "main", Some(tip), &second).await;
        assert_eq!(world.content("main", &path(300)), body(300, "1.0.10"));
        assert_eq!(world.content("main~1", &path(900)), body(900, "1.0.1"));
        world.assert_clean(&mirror);
        let kept: CommitId = update(&mut mirror, "main").await;
        assert_eq!(kept, second.id());
    }
}
