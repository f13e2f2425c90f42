//! Mirrors that leave contents out until they are read.

use std::path::Path;

use windlass_git::{BlobId, ErrorKind, Limits, Mirror};

use crate::support::{World, contents, edit, git, land, read_all, try_git, update};

/// How many contents of files the mirror holds, as Git sees it.
fn blobs(mirror: &Mirror) -> usize {
    let list = ["cat-file", "--batch-all-objects", "--batch-check"];
    git(&mirror.path().unwrap(), &list).lines().filter(|line| line.contains(" blob ")).count()
}

fn is_partial(mirror: &Mirror) -> bool {
    let (ok, _) = try_git(&mirror.path().unwrap(), &["config", "extensions.partialclone"]);
    ok
}

fn configure(repository: &Path, settings: &[&str]) {
    for setting in settings {
        let (key, value) = setting.split_once('=').unwrap();
        git(repository, &["config", key, value]);
    }
}

async fn ids_below(mirror: &Mirror, commit: windlass_git::CommitId, prefix: &str) -> Vec<BlobId> {
    let files = mirror.files(commit, prefix, |_| true).await.unwrap();
    files.into_iter().map(|file| file.blob).collect()
}

#[tokio::test]
async fn contents_come_when_they_are_read_with_one_request_for_all() {
    for old_protocol in [false, true] {
        let world = World::new().await;
        configure(&world.repository(), &["uploadpack.allowAnySHA1InWant=true"]);
        world.server.switches().old_protocol = old_protocol;
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        assert!(is_partial(&mirror));
        assert_eq!(blobs(&mirror), 0);
        world.assert_clean(&mirror);

        let mut ids = ids_below(&mirror, tip, "apps").await;
        ids.extend(ids.clone());
        world.server.take_seen();
        mirror.complete(&ids).await.unwrap();
        assert_eq!(world.server.requests(), ["POST git-upload-pack"]);
        assert_eq!(blobs(&mirror), 2, "nothing but what was asked for");
        mirror.read_blob(ids[0]).await.unwrap();
        assert_eq!(world.server.requests(), [""; 0]);
        assert_eq!(read_all(&mirror, tip).await, 4);
        assert_eq!(world.server.requests(), ["POST git-upload-pack"]);
        for (path, content) in contents(&mirror, tip).await {
            assert_eq!(content, world.content("main", &path), "{path}");
        }
        assert_eq!(world.server.requests(), [""; 0]);
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn what_others_push_is_followed_also_where_they_rewrite_the_branch() {
    for format in ["--object-format=sha1", "--object-format=sha256"] {
        let world = World::empty(&[format]).await;
        let text = |mark: &str| format!("a: {mark}\n{}", "same: line\n".repeat(200));
        world.foreign(&[
            ("a/one.yaml", &text("0")),
            ("a/two.yaml", &text("x")),
            ("b/three.yaml", &text("y")),
        ]);
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        mirror.complete(&ids_below(&mirror, tip, "a").await).await.unwrap();
        for round in 0..4 {
            // A delta against a content that is here, and one against a content that is not.
            let next = world.foreign(&[
                ("a/one.yaml", &text(&format!("one {round}"))),
                ("b/three.yaml", &text(&format!("three {round}"))),
            ]);
            assert_eq!(update(&mut mirror, "main").await, next);
            world.server.take_seen();
            mirror.complete(&ids_below(&mirror, next, "a").await).await.unwrap();
            assert_eq!(world.server.requests(), ["POST git-upload-pack"]);
            world.assert_clean(&mirror);
        }
        let work = world.work();
        git(&work, &["checkout", "--quiet", "--orphan", "fresh"]);
        // A content that the server takes as known, at another path.
        git(&work, &["mv", "b/three.yaml", "a/moved.yaml"]);
        git(&work, &["commit", "--quiet", "--all", "--message", "Rewritten"]);
        git(&work, &["push", "--quiet", "--force", "origin", "HEAD:refs/heads/main"]);
        let tip = update(&mut mirror, "main").await;
        let files = contents(&mirror, tip).await;
        assert_eq!(files[0], ("a/moved.yaml".into(), text("three 3")));
        assert_eq!(files.len(), 3);
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn an_edit_of_a_file_that_was_never_read_lands() {
    let world = World::new().await;
    let mut mirror = world.mirror().await;
    let tip = update(&mut mirror, "main").await;
    let prepared = edit(&mirror, tip, "README.md", "ours\n", "Update").await;
    land(&mut mirror, "main", Some(tip), &prepared).await;
    assert_eq!(world.content("main", "README.md"), "ours\n");
    assert_eq!(blobs(&mirror), 1);
    world.assert_clean(&mirror);
    let next = world.foreign(&[("apps/one/deploy.yaml", "image: app:2\n")]);
    assert_eq!(update(&mut mirror, "main").await, next);
    assert_eq!(contents(&mirror, next).await.len(), 4);
    assert!(mirror.contains(next, prepared.id()).await.unwrap());
    world.assert_clean(&mirror);
}

#[tokio::test]
async fn servers_that_do_not_filter_send_everything_at_once() {
    type Spoil = fn(&World);
    let spoils: [(&str, Spoil); 4] = [
        ("not allowed", |world| configure(&world.repository(), &["uploadpack.allowFilter=false"])),
        ("not offered", |world| world.server.switches().hidden = vec!["filter"]),
        ("offered, and each kind refused", |world| {
            configure(&world.repository(), &["uploadpackfilter.allow=false"]);
        }),
        ("contents not given by their ids", |world| world.server.switches().old_protocol = true),
    ];
    for (why, spoil) in spoils {
        let world = World::new().await;
        spoil(&world);
        let mut mirror = world.mirror().await;
        let tip = update(&mut mirror, "main").await;
        assert!(!is_partial(&mirror) && blobs(&mirror) == 4, "{why}");
        world.server.take_seen();
        assert_eq!(contents(&mirror, tip).await.len(), 4, "{why}");
        assert_eq!(world.server.requests(), [""; 0], "{why}");
        let prepared = edit(&mirror, tip, "README.md", "ours\n", "Update").await;
        land(&mut mirror, "main", Some(tip), &prepared).await;
        let next = world.foreign(&[("apps/one/deploy.yaml", "image: app:2\n")]);
        update(&mut mirror, "main").await;
        assert!(mirror.contains(next, prepared.id()).await.unwrap(), "{why}");
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn a_server_that_does_not_have_any_more_what_it_left_out_is_mirrored_whole() {
    let world = World::new().await;
    let mut mirror = world.mirror().await;
    let tip = update(&mut mirror, "main").await;
    assert!(is_partial(&mirror));
    let ids = ids_below(&mirror, tip, "").await;
    let work = world.work();
    git(&work, &["checkout", "--quiet", "--orphan", "fresh"]);
    git(&work, &["rm", "--quiet", "-r", "--force", "."]);
    std::fs::write(work.join("a.yaml"), "a: 1\n").unwrap();
    git(&work, &["add", "a.yaml"]);
    git(&work, &["commit", "--quiet", "--message", "Rewritten"]);
    git(&work, &["push", "--quiet", "--force", "origin", "HEAD:refs/heads/main"]);
    let next = world.tip("main");
    git(&world.repository(), &["gc", "--quiet", "--prune=now"]);
    assert_eq!(mirror.complete(&ids).await.unwrap_err().kind(), ErrorKind::Server);
    mirror.fetch("main", next).await.unwrap();
    assert!(!is_partial(&mirror));
    assert_eq!(contents(&mirror, next).await, [("a.yaml".into(), "a: 1\n".into())]);
    world.assert_clean(&mirror);
}

#[tokio::test]
async fn a_partial_mirror_stays_one_when_it_is_reopened_or_renewed() {
    let world = World::new().await;
    let limits = Limits { packs: 4, ..Limits::default() };
    let mut mirror = world.mirror_with(world.config(), limits.clone()).await;
    let tip = update(&mut mirror, "main").await;
    mirror.complete(&ids_below(&mirror, tip, "apps").await).await.unwrap();
    let path = mirror.path();
    drop(mirror);
    let mut mirror = world.mirror_with(world.config(), limits).await;
    assert_eq!((mirror.path(), blobs(&mirror)), (path.clone(), 2));
    assert_eq!(read_all(&mirror, tip).await, 4);
    for round in 0..4 {
        let tip = world.foreign(&[("README.md", &format!("{round}\n"))]);
        update(&mut mirror, "main").await;
        assert_eq!(contents(&mirror, tip).await[0].1, format!("{round}\n"));
        world.assert_clean(&mirror);
    }
    assert!(mirror.path() != path && is_partial(&mirror));
}

#[tokio::test]
async fn contents_larger_than_the_limits_are_withheld_or_refused() {
    let world = World::new().await;
    let large: String = (0..20_000_u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string()).collect();
    let tip = world.foreign(&[("large.yaml", &large)]);
    let limits = Limits { blob_bytes: 1000, ..Limits::default() };
    let mut mirror = world.mirror_with(world.config(), limits).await;
    update(&mut mirror, "main").await;
    let large = ids_below(&mirror, tip, "large.yaml").await[0];
    assert_eq!(mirror.read_blob(large).await.unwrap_err().kind(), ErrorKind::TooLarge);
    drop(mirror);
    std::fs::remove_dir_all(world.temp.path().join("mirror")).unwrap();
    let limits = Limits { pack_bytes: 64 * 1024, ..Limits::default() };
    let mut mirror = world.mirror_with(world.config(), limits).await;
    update(&mut mirror, "main").await;
    assert_eq!(mirror.read_blob(large).await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(mirror.read_blob(ids_below(&mirror, tip, "README.md").await[0]).await.unwrap(), b"hello\n");
}
