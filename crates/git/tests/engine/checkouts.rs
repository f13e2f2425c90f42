//! Commits that are named by tags, by other refs, or by nothing but their id.

use windlass_git::{CommitId, ErrorKind, GitError, Limits, RemoteError, Retry};

use crate::support::{BOTH, World, contents, edit, git, land, try_git, update};

/// Tags and other refs on commits that no branch has any more, beside `main`.
fn tagged(world: &World) -> CommitId {
    let work = world.work();
    let first = world.tip("main");
    world.foreign(&[("README.md", "released\n")]);
    let released = git(&work, &["rev-parse", "HEAD"]);
    git(&work, &["tag", "light", &released]);
    git(&work, &["tag", "--annotate", "--message", "x", "v1.0.0", &released]);
    git(&work, &["tag", "--annotate", "--message", "y", "nested", "v1.0.0"]);
    git(&work, &["tag", "readme", "HEAD:README.md"]);
    git(&work, &["push", "--quiet", "origin", "--tags", &format!("{released}:refs/pull/7/head")]);
    git(&work, &["push", "--quiet", "--force", "origin", &format!("{first}:refs/heads/main")]);
    released.parse().unwrap()
}

#[tokio::test]
async fn refs_of_every_kind_are_found_and_annotated_tags_are_peeled() {
    for by in BOTH {
        for old_protocol in [false, true] {
            let world = World::by(by).await;
            let released = tagged(&world);
            world.server.switches().old_protocol = old_protocol;
            let mirror = world.mirror().await;
            let names = ["refs/heads/main", "refs/tags/", "refs/pull/7/head", "refs/heads/mai", "HEAD"];
            let mut found = mirror.refs(&names).await.unwrap();
            found.remove("refs/tags/readme");
            let found: Vec<_> = found.iter().map(|(name, id)| (name.as_str(), *id)).collect();
            let main = world.tip("main");
            let expected = [
                ("HEAD", main),
                ("refs/heads/main", main),
                ("refs/pull/7/head", released),
                ("refs/tags/light", released),
                ("refs/tags/nested", released),
                ("refs/tags/v1.0.0", released),
            ];
            assert_eq!(found, expected, "old protocol: {old_protocol}");
            let error = mirror.refs(&["refs/heads/a b"]).await.unwrap_err();
            assert!(matches!(error, GitError::RefName(_)), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_branch_is_made_from_what_a_tag_marks() {
    for by in BOTH {
        for old_protocol in [false, true] {
            let world = World::by(by).await;
            let released = tagged(&world);
            world.server.switches().old_protocol = old_protocol;
            let mut mirror = world.mirror().await;
            update(&mut mirror, "main").await;
            let tag = mirror.refs(&["refs/tags/v1.0.0"]).await.unwrap()["refs/tags/v1.0.0"];
            assert_eq!(tag, released);
            mirror.fetch_commit(tag).await.unwrap();
            assert_eq!(contents(&mirror, tag).await[0].1, "released\n");
            let prepared = edit(&mirror, tag, "README.md", "ours\n", "Update").await;
            land(&mut mirror, "updates", None, &prepared).await;
            assert_eq!(world.log("updates"), ["Update", "by somebody else", "by somebody else"]);
            world.assert_clean(&mirror);
            drop(mirror);
            let mirror = world.mirror().await;
            assert_eq!(contents(&mirror, prepared.id()).await[0].1, "ours\n");
        }
    }
}

#[tokio::test]
async fn a_commit_is_fetched_by_its_id_where_the_server_gives_it_out() {
    // Whether the server speaks version 2, and whether it is told to give out anything: version 2 always does.
    for (old_protocol, allowed, expected) in [(false, false, true), (true, false, false), (true, true, true)]
    {
        let world = World::new().await;
        let main = world.tip("main");
        let buried = world.foreign(&[("README.md", "buried\n")]);
        git(&world.work(), &["push", "--quiet", "--force", "origin", &format!("{main}:refs/heads/main")]);
        let allow = if allowed { "true" } else { "false" };
        git(&world.repository(), &["config", "uploadpack.allowAnySHA1InWant", allow]);
        world.server.switches().old_protocol = old_protocol;
        let mut mirror = world.mirror().await;
        match mirror.fetch_commit(buried).await {
            Ok(()) => assert_eq!(contents(&mirror, buried).await[0].1, "buried\n"),
            Err(error) => {
                let text = error.to_string();
                assert!(matches!(error, GitError::CommitRefused { .. }), "{error:?}");
                assert!(text.contains("allowAnySHA1InWant") && text.contains("not our ref"), "{text}");
                assert_eq!(error.retry(), Retry::Backoff);
            }
        }
        assert_eq!(mirror.path().is_some(), expected, "{old_protocol} {allowed}");
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn what_is_not_a_commit_is_refused_and_harms_nothing() {
    let world = World::new().await;
    tagged(&world);
    let mut mirror = world.mirror().await;
    let tip = update(&mut mirror, "main").await;
    let path = mirror.path();
    let blob = mirror.refs(&["refs/tags/readme"]).await.unwrap()["refs/tags/readme"];
    let tree: CommitId = git(&world.repository(), &["rev-parse", "main^{tree}"]).parse().unwrap();
    for id in [blob, tree] {
        let error = mirror.fetch_commit(id).await.unwrap_err();
        assert!(matches!(error, GitError::NotACommit(_)), "{error:?}");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Request, Retry::OnChange));
    }
    // Nor is an id of the other kind of repository.
    let foreign = "1".repeat(64).parse().unwrap();
    assert_eq!(mirror.fetch_commit(foreign).await.unwrap_err().kind(), ErrorKind::Protocol);
    assert_eq!((mirror.path(), contents(&mirror, tip).await.len()), (path, 4));
    world.assert_clean(&mirror);
}

#[tokio::test]
async fn a_server_with_too_many_refs_is_not_read_to_the_end() {
    for old_protocol in [false, true] {
        let world = World::new().await;
        for tag in 0..5 {
            git(&world.repository(), &["tag", &format!("v1.0.{tag}"), "main"]);
        }
        world.server.switches().old_protocol = old_protocol;
        let mirror = world.mirror_with(world.config(), Limits { refs: 3, ..Limits::default() }).await;
        let error = mirror.refs(&["refs/tags/"]).await.unwrap_err();
        assert!(matches!(error, GitError::Remote(RemoteError::TooManyRefs { limit: 3 })), "{error:?}");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::TooLarge, Retry::OnChange));
        // Version 2 sends what is asked for alone.
        assert_eq!(mirror.ls_refs(&["main"]).await.is_ok(), !old_protocol);
    }
}

#[tokio::test]
async fn a_branch_that_is_made_in_an_empty_repository_is_found_next_time() {
    let world = World::empty(&[]).await;
    let mut mirror = world.mirror().await;
    assert_eq!(mirror.refs(&["HEAD", "refs/tags/", "refs/heads/"]).await.unwrap().len(), 0);
    let tip = world.foreign(&[("a.yaml", "a: 1\n")]);
    assert_eq!(update(&mut mirror, "main").await, tip);
    assert_eq!(contents(&mirror, tip).await.len(), 1);
    assert!(try_git(&mirror.path().unwrap(), &["rev-parse", "main"]).0);
}
