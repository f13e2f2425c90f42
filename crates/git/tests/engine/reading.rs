//! Fetching and reading.

use windlass_git::{Blob, BlobId, ErrorKind, Implementation, Limits};

use crate::support::{BOTH, World, contents, edit, git, land, update};

#[tokio::test]
async fn a_snapshot_and_what_follows_equal_gits_own_view() {
    let world = World::new().await;
    let mut mirror = world.mirror().await;
    let tip = update(&mut mirror, "main").await;
    assert_eq!(contents(&mirror, tip).await.len(), 4);
    world.server.take_seen();

    let next = world.foreign(&[("README.md", "changed\n"), ("apps/three/deploy.yaml", "image: x:1\n")]);
    assert_eq!(update(&mut mirror, "main").await, next);
    assert_eq!(world.server.requests(), ["POST git-upload-pack", "POST git-upload-pack"]);
    let files = contents(&mirror, next).await;
    let names: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    let expected = git(&world.repository(), &["ls-tree", "-r", "--name-only", "main"]);
    assert_eq!(names, expected.lines().collect::<Vec<_>>());
    for (path, content) in &files {
        assert_eq!(*content, world.content("main", path), "{path}");
    }
    world.assert_clean(&mirror);
}

#[tokio::test]
async fn history_is_never_fetched() {
    for by in BOTH {
        let world = World::by(by).await;
        for round in 0..20 {
            world.foreign(&[("README.md", &format!("round {round}\n"))]);
        }
        let mut mirror = world.mirror().await;
        update(&mut mirror, "main").await;
        for round in 0..5 {
            world.foreign(&[("README.md", &format!("again {round}\n"))]);
            world.foreign(&[("README.md", &format!("and again {round}\n"))]);
            update(&mut mirror, "main").await;
        }
        let count = git(&mirror.path().unwrap(), &["rev-list", "--count", "main"]);
        assert_eq!(count, "1");
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn a_rewritten_branch_is_followed() {
    let world = World::new().await;
    let first = world.foreign(&[("README.md", "one\n")]);
    let mut mirror = world.mirror().await;
    update(&mut mirror, "main").await;
    let work = world.work();
    git(&work, &["checkout", "--quiet", "--orphan", "fresh"]);
    std::fs::write(work.join("README.md"), "rewritten\n").unwrap();
    git(&work, &["commit", "--quiet", "--all", "--message", "Rewritten"]);
    git(&work, &["push", "--quiet", "--force", "origin", "HEAD:refs/heads/main"]);
    let tip = update(&mut mirror, "main").await;
    assert_ne!(tip, first);
    assert_eq!(contents(&mirror, tip).await[0], ("README.md".into(), "rewritten\n".into()));
    // And back to what is here already, without asking.
    git(&work, &["push", "--quiet", "--force", "origin", &format!("{first}:refs/heads/main")]);
    world.server.take_seen();
    assert_eq!(update(&mut mirror, "main").await, first);
    assert_eq!(world.server.requests(), ["POST git-upload-pack"]);
    world.assert_clean(&mirror);
}

#[tokio::test]
async fn several_branches_share_one_mirror() {
    for by in BOTH {
        let world = World::by(by).await;
        git(
            &world.work(),
            &["push", "--quiet", "origin", "HEAD:refs/heads/staging", "HEAD:refs/heads/main2"],
        );
        let moved = world.foreign(&[("README.md", "main only\n")]);
        let mut mirror = world.mirror().await;
        let tips = mirror.ls_refs(&["main", "staging", "absent"]).await.unwrap();
        assert_eq!(tips.keys().collect::<Vec<_>>(), ["absent", "main", "staging"]);
        assert_eq!((tips["main"], tips["absent"]), (Some(moved), None));
        let main = update(&mut mirror, "main").await;
        let staging = update(&mut mirror, "staging").await;
        assert_eq!(contents(&mirror, main).await[0].1, "main only\n");
        assert_eq!(contents(&mirror, staging).await[0].1, "hello\n");
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn prefixes_select_folders_and_files() {
    let world = World::new().await;
    let mut mirror = world.mirror().await;
    let tip = update(&mut mirror, "main").await;
    for (prefix, paths) in [
        ("apps", &["apps/one/deploy.yaml", "apps/two/deploy.yaml"][..]),
        ("./apps/two/", &["apps/two/deploy.yaml"]),
        ("apps/two/deploy.yaml", &["apps/two/deploy.yaml"]),
        ("README.md", &[]),
        ("README.md/deeper", &[]),
        ("absent", &[]),
        ("app", &[]),
    ] {
        let files = mirror.files(tip, prefix, |path| path.contains(".yaml")).await.unwrap();
        assert_eq!(files.into_iter().map(|file| file.path).collect::<Vec<_>>(), paths, "{prefix}");
    }
    assert_eq!(mirror.files(tip, "../x", |_| true).await.unwrap_err().kind(), ErrorKind::Request);
}

#[tokio::test]
async fn links_and_submodules_are_never_followed() {
    let world = World::new().await;
    let work = world.work();
    std::os::unix::fs::symlink("/etc", work.join("apps/etc")).unwrap();
    std::os::unix::fs::symlink("one/deploy.yaml", work.join("apps/link.yaml")).unwrap();
    git(&work, &["update-index", "--add", "--cacheinfo", &format!("160000,{},sub", world.tip("main"))]);
    let tip = world.foreign(&[]);
    let mut mirror = world.mirror().await;
    update(&mut mirror, "main").await;
    for prefix in ["apps/etc", "apps/etc/passwd", "apps/link.yaml", "sub", "sub/apps"] {
        assert_eq!(mirror.files(tip, prefix, |_| true).await.unwrap(), [], "{prefix}");
    }
    assert_eq!(mirror.files(tip, "apps", |_| true).await.unwrap().len(), 2);
}

#[tokio::test]
async fn blobs_are_visited_once_each_and_large_ones_withheld() {
    let world = World::new().await;
    let tip = world.foreign(&[("big.yaml", &"x".repeat(2000))]);
    let limits = Limits { blob_bytes: 1000, ..Limits::default() };
    let mut mirror = world.mirror_with(world.config(), limits).await;
    update(&mut mirror, "main").await;
    let files = mirror.files(tip, "", |_| true).await.unwrap();
    let ids: Vec<BlobId> = files.iter().map(|file| file.blob).collect();
    let visit = |seen: &mut Vec<(BlobId, Option<u64>)>, id, blob: Blob<'_>| {
        seen.push((id, if let Blob::TooLarge { size } = blob { Some(size) } else { None }));
    };
    let mut seen = mirror.read_blobs(ids.clone(), Vec::new(), visit).await.unwrap();
    seen.sort();
    let big = files.iter().find(|file| file.path == "big.yaml").unwrap().blob;
    let mut expected: Vec<_> = ids.iter().map(|id| (*id, (*id == big).then_some(2000))).collect();
    expected.sort();
    assert_eq!(seen, expected);
    assert_eq!(mirror.read_blob(big).await.unwrap_err().kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn servers_without_protocol_v2_are_read_and_pushed_to() {
    for by in BOTH {
        for hidden in [vec![], vec!["multi_ack_detailed", "filter", "shallow"]] {
            let world = World::by(by).await;
            world.server.switches().old_protocol = true;
            world.server.switches().hidden = hidden;
            if by == Implementation::Program {
                // The program cannot talk to such a server over HTTP at all.
                world.server.switches().hidden.retain(|name| *name != "multi_ack_detailed");
            }
            let mut mirror = world.mirror().await;
            let tip = update(&mut mirror, "main").await;
            let prepared = edit(&mirror, tip, "README.md", "ours\n", "Update").await;
            land(&mut mirror, "main", Some(tip), &prepared).await;
            assert_eq!(world.tip("main"), prepared.id());
            let next = world.foreign(&[("apps/three/deploy.yaml", "image: x:1\n")]);
            assert_eq!(update(&mut mirror, "main").await, next);
            assert_eq!(contents(&mirror, next).await.len(), 5);
            assert!(mirror.contains(next, prepared.id()).await.unwrap());
            world.assert_clean(&mirror);
        }
    }
}

#[tokio::test]
async fn sha256_repositories_work_throughout() {
    for by in BOTH {
        for old_protocol in [false, true] {
            let world = World::empty_by(by, &["--object-format=sha256"]).await;
            world.server.switches().old_protocol = old_protocol;
            world.foreign(&[("a/b.yaml", "image: app:1\n")]);
            let mut mirror = world.mirror().await;
            let tip = update(&mut mirror, "main").await;
            assert_eq!(tip.to_string().len(), 64);
            let prepared = edit(&mirror, tip, "a/b.yaml", "image: app:2\n", "Update").await;
            land(&mut mirror, "main", Some(tip), &prepared).await;
            assert_eq!(world.tip("main"), prepared.id());
            let next = world.foreign(&[("a/c.yaml", "image: app:1\n")]);
            assert_eq!(update(&mut mirror, "main").await, next);
            world.assert_clean(&mirror);
            drop(mirror);
            let mirror = world.mirror().await;
            assert_eq!(contents(&mirror, next).await.len(), 2);
        }
    }
}

#[tokio::test]
async fn an_empty_repository_has_no_branches() {
    for by in BOTH {
        for old_protocol in [false, true] {
            let world = World::empty_by(by, &[]).await;
            world.server.switches().old_protocol = old_protocol;
            let mirror = world.mirror().await;
            assert_eq!(mirror.ls_refs(&["main"]).await.unwrap()["main"], None);
            assert_eq!(mirror.path(), None);
        }
    }
}

#[tokio::test]
async fn what_was_not_fetched_is_named_and_harms_nothing() {
    for by in BOTH {
        let world = World::by(by).await;
        let mut mirror = world.mirror().await;
        let tip = world.tip("main");
        let error = mirror.files(tip, "", |_| true).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Request);
        assert!(error.to_string().contains(&tip.to_string()), "{error}");
        // A commit that the server does not have is its refusal, not a broken mirror.
        update(&mut mirror, "main").await;
        let absent = "1".repeat(40).parse().unwrap();
        assert_eq!(mirror.fetch("main", absent).await.unwrap_err().kind(), ErrorKind::Server);
        assert_eq!(contents(&mirror, tip).await.len(), 4);
    }
}
