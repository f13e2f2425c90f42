//! Mirrors that are reopened, damaged or worn out.

use std::fs;
use std::path::{Path, PathBuf};

use windlass_git::{ErrorKind, GitError, LayoutError, Limits, Mirror, PushOutcome, Remote, Retry};

use crate::support::{World, contents, edit, land, push, read_all, update};

fn packs(mirror: &Mirror, extension: &str) -> Vec<PathBuf> {
    let folder = mirror.path().unwrap().join("objects/pack");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|e| e == extension)).collect()
}

fn overwrite(path: &Path, content: &[u8]) {
    // Packs are read-only, and a new file keeps the old one's mapping intact.
    fs::remove_file(path).unwrap();
    fs::write(path, content).unwrap();
}

#[tokio::test]
async fn a_reopened_mirror_goes_on_where_it_was() {
    let world = World::new().await;
    let mut mirror = world.mirror().await;
    let tip = update(&mut mirror, "main").await;
    read_all(&mirror, tip).await;
    let prepared = edit(&mirror, tip, "README.md", "ours\n", "Update").await;
    land(&mut mirror, "main", Some(tip), &prepared).await;
    let folder = mirror.path().unwrap().join("objects/pack");
    // What a killed process may leave behind.
    fs::write(folder.join(".tmpAbCdEf"), "half a pack").unwrap();
    fs::write(folder.join("pack-0000.pack"), "no index").unwrap();
    fs::write(folder.join("pack-1111.keep"), "").unwrap();
    fs::write(folder.join("pack-2222.promisor"), "").unwrap();
    fs::create_dir_all(world.temp.path().join("mirror/7.git/objects")).unwrap();
    fs::create_dir_all(world.temp.path().join("mirror/scratch-x")).unwrap();
    drop(mirror);

    world.server.take_seen();
    let mut mirror = world.mirror().await;
    assert_eq!(contents(&mirror, prepared.id()).await[0].1, "ours\n");
    assert_eq!(world.server.requests(), [""; 0]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 8, "three packs with indices, two of them partial");
    assert_eq!(
        fs::read_dir(world.temp.path().join("mirror")).unwrap().count(),
        2,
        "the lock and one generation"
    );
    assert_eq!(update(&mut mirror, "main").await, prepared.id());
    world.assert_clean(&mirror);
}

#[tokio::test]
async fn a_folder_belongs_to_one_mirror() {
    let world = World::new().await;
    let _mirror = world.mirror().await;
    let remote = Remote::new(world.config()).unwrap();
    let second = Mirror::open(&world.temp.path().join("mirror"), remote, Limits::default()).await;
    assert!(matches!(second, Err(GitError::Layout(LayoutError::InUse(_)))));
}

#[tokio::test]
async fn damage_is_noticed_when_read_and_healed_by_the_next_fetch() {
    let world = World::new().await;
    let mut mirror = world.mirror().await;
    let tip = update(&mut mirror, "main").await;
    let pack = packs(&mirror, "pack").remove(0);
    let good = fs::read(&pack).unwrap();
    let healthy = contents(&mirror, tip).await;
    drop(mirror);
    // Every byte of the entries in turn is too many: a prime step reaches headers, data and checksums of all kinds.
    for at in (12..good.len() - 20).step_by(37) {
        let mut mirror = world.mirror().await;
        let pack = packs(&mirror, "pack").remove(0);
        drop(mirror);
        let mut bad = fs::read(&pack).unwrap();
        bad[at] ^= 0x55;
        overwrite(&pack, &bad);
        mirror = world.mirror().await;
        let files = match mirror.files(tip, "", |_| true).await {
            Ok(files) => files,
            Err(error) => {
                assert_eq!(
                    (error.kind(), error.retry()),
                    (ErrorKind::Corrupt, Retry::Now),
                    "{at}: {error:?}"
                );
                Vec::new()
            }
        };
        for file in files {
            match mirror.read_blob(file.blob).await {
                // Never wrong content.
                Ok(bytes) => {
                    assert!(
                        healthy.iter().any(|(path, text)| *path == file.path && text.as_bytes() == bytes)
                    );
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{at}"),
            }
        }
        mirror.fetch("main", tip).await.unwrap();
        assert_eq!(contents(&mirror, tip).await, healthy, "{at}");
    }
    world.assert_clean(&world.mirror().await);
}

#[tokio::test]
async fn a_mirror_that_cannot_be_opened_is_replaced() {
    for spoil in ["idx", "pack"] {
        for content in [None, Some(&b"garbage"[..])] {
            let world = World::new().await;
            let mut mirror = world.mirror().await;
            let tip = update(&mut mirror, "main").await;
            let path = packs(&mirror, spoil).remove(0);
            drop(mirror);
            match content {
                Some(content) => overwrite(&path, content),
                None => fs::remove_file(&path).unwrap(),
            }
            let mut mirror = world.mirror().await;
            mirror.fetch("main", tip).await.unwrap();
            assert_eq!(contents(&mirror, tip).await.len(), 4);
            world.assert_clean(&mirror);
        }
    }
}

#[tokio::test]
async fn a_mirror_with_many_packs_is_renewed_with_all_its_branches() {
    let world = World::new().await;
    crate::support::git(&world.work(), &["push", "--quiet", "origin", "HEAD:refs/heads/staging"]);
    let limits = Limits { packs: 4, ..Limits::default() };
    let mut mirror = world.mirror_with(world.config(), limits).await;
    let staging = update(&mut mirror, "staging").await;
    let mut tip = update(&mut mirror, "main").await;
    let mut folders = vec![mirror.path().unwrap()];
    for round in 0..6 {
        let prepared = edit(&mirror, tip, "README.md", &format!("ours {round}\n"), "Update").await;
        let outcome = push(&mut mirror, "main", Some(tip), &prepared).await;
        assert!(matches!(outcome, PushOutcome::Landed { .. }), "{outcome:?}");
        tip = world.foreign(&[("apps/one/deploy.yaml", &format!("image: app:{round}\n"))]);
        mirror.fetch("main", tip).await.unwrap();
        folders.push(mirror.path().unwrap());
        assert!(packs(&mirror, "pack").len() <= 6);
        assert_eq!(contents(&mirror, tip).await[0].1, format!("ours {round}\n"));
        assert_eq!(contents(&mirror, staging).await.len(), 4);
        world.assert_clean(&mirror);
    }
    folders.dedup();
    assert!(folders.len() > 1, "it was renewed");
    assert!(folders.iter().rev().skip(1).all(|old| !old.exists()), "old ones are removed");
}

#[tokio::test]
async fn maintenance_renews_before_a_fetch_has_to() {
    let world = World::new().await;
    let limits = Limits { packs: 8, ..Limits::default() };
    let mut mirror = world.mirror_with(world.config(), limits).await;
    let mut tip = update(&mut mirror, "main").await;
    for round in 0..2 {
        assert!(!mirror.maintain("main", tip).await.unwrap(), "{round}");
        tip = world.foreign(&[("README.md", &format!("{round}\n"))]);
        mirror.fetch("main", tip).await.unwrap();
    }
    assert!(mirror.maintain("main", tip).await.unwrap());
    assert_eq!(packs(&mirror, "pack").len(), 1);
    assert_eq!(contents(&mirror, tip).await.len(), 4);
    world.assert_clean(&mirror);
}
