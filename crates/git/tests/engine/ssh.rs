//! The engine over SSH, against OpenSSH's server.

use std::time::Duration;

use windlass_git::{CommitId, ErrorKind, GitError, Limits, PushOutcome, RemoteError, Retry, SshError};
use windlass_testkit::link::Way;
use windlass_testkit::ssh_server::SshOptions;

use crate::support::ssh::{SshWorld, auth, everything};
use crate::support::{BOTH, change, commit_elsewhere, contents, edit, git, land, push, text, update};

const ONE: &str = "apps/one/deploy.yaml";

/// With Git's protocol version 2, and with a server that does not let clients ask for it.
fn both_versions() -> [SshOptions; 2] {
    [true, false].map(|accepts_protocol| SshOptions { accepts_protocol, ..SshOptions::default() })
}

/// Text that does not compress.
fn noise(bytes: u64) -> String {
    let mut state = 1_u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + u8::try_from(state >> 33 & 63).unwrap())
    };
    (0..bytes).map(|_| letter()).collect()
}

#[tokio::test]
async fn edits_land_over_one_connection_and_git_agrees() {
    for options in both_versions() {
        let ssh = SshWorld::with(&options).await;
        let (world, mut mirror) = (&ssh.world, ssh.mirror().await);
        let mut tip = update(&mut mirror, "main").await;
        for round in 1..=3 {
            let image = format!("image: app:1.0.{round}\n");
            let prepared = edit(&mirror, tip, ONE, &image, &format!("Update {round}")).await;
            land(&mut mirror, "main", Some(tip), &prepared).await;
            assert_eq!((world.tip("main"), world.content("main", ONE)), (prepared.id(), image));

            let theirs = world.foreign(&[("README.md", &format!("round {round}\n"))]);
            tip = update(&mut mirror, "main").await;
            assert_eq!(tip, theirs);
            assert_eq!(contents(&mirror, tip).await[0].1, format!("round {round}\n"));
            assert!(mirror.contains(tip, prepared.id()).await.unwrap());
        }
        assert_eq!(world.log("main").len(), 7);
        assert_eq!(ssh.logins(), 1, "{}", ssh.server.log_text());
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn news_are_seen_by_every_look() {
    let ssh = SshWorld::new().await;
    let mut mirror = ssh.mirror().await;
    for round in 0..4 {
        let theirs = ssh.world.foreign(&[("README.md", &format!("round {round}\n"))]);
        // More than one look in a row: Git reads the refs once in the life of its program.
        for _ in 0..2 {
            assert_eq!(mirror.ls_refs(&["main", "none"]).await.unwrap()["main"], Some(theirs));
        }
        mirror.fetch("main", theirs).await.unwrap();
    }
    assert_eq!(ssh.logins(), 1);
}

#[tokio::test]
async fn a_new_branch_is_created_and_a_stale_expectation_is_moved() {
    for by in BOTH {
        for options in both_versions() {
            let ssh = SshWorld::by(by, &options).await;
            let (world, mut mirror) = (&ssh.world, ssh.mirror().await);
            let tip = update(&mut mirror, "main").await;
            let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
            land(&mut mirror, "windlass/update", None, &prepared).await;
            assert_eq!((world.tip("windlass/update"), world.tip("main")), (prepared.id(), tip));

            let theirs = world.foreign(&[("README.md", "changed\n")]);
            let outcome = push(&mut mirror, "main", Some(tip), &prepared).await;
            assert!(
                matches!(outcome, PushOutcome::Moved { actual } if actual == Some(theirs)),
                "{outcome:?}"
            );
            assert_eq!(world.tip("main"), theirs);
            world.assert_clean(&mirror);
        }
    }
}

#[tokio::test]
async fn an_empty_repository_gets_its_first_look_and_sha256_works() {
    for by in BOTH {
        for format in ["sha1", "sha256"] {
            let mut ssh = SshWorld::by(by, &SshOptions::default()).await;
            ssh.world = crate::support::World::empty_by(by, &[&format!("--object-format={format}")]).await;
            let mut mirror = ssh.mirror().await;
            assert_eq!(mirror.ls_refs(&["main"]).await.unwrap()["main"], None);
            let tip = ssh.world.foreign(&[("x.yaml", "a: 1\n")]);
            assert_eq!(update(&mut mirror, "main").await, tip);
            let prepared = edit(&mirror, tip, "x.yaml", "a: 2\n", "Update").await;
            land(&mut mirror, "main", Some(tip), &prepared).await;
            ssh.world.assert_clean(&mirror);
        }
    }
}

#[tokio::test]
async fn a_hooks_refusal_is_told_in_its_own_words() {
    for by in BOTH {
        let ssh = SshWorld::by(by, &SshOptions::default()).await;
        let world = &ssh.world;
        world.hook("pre-receive", "printf 'no \\033[31mFriday\\033[0m releases\\n' >&2\nexit 1");
        let mut mirror = ssh.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
        let outcome = push(&mut mirror, "main", Some(tip), &prepared).await;
        let PushOutcome::Rejected { refusals, messages } = outcome else { panic!("{outcome:?}") };
        assert_eq!(refusals.len(), 1);
        assert_eq!(refusals[0].reason, "pre-receive hook declined");
        assert_eq!(messages, ["no [31mFriday[0m releases"]);
        assert_eq!(world.tip("main"), tip);
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn a_lost_race_starts_again_on_the_new_tip() {
    for by in BOTH {
        let ssh = SshWorld::by(by, &SshOptions::default()).await;
        let world = &ssh.world;
        let mut mirror = ssh.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let ours = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
        // Somebody is faster while our pack is checked, after the server has told its refs.
        let theirs = commit_elsewhere(&world.work(), &[("README.md", "raced\n")]);
        git(&world.repository(), &["update-ref", "refs/heads/main", &tip.to_string()]);
        world.hook(
            "pre-receive",
            &format!("unset GIT_QUARANTINE_PATH; git update-ref refs/heads/main {theirs}"),
        );
        let outcome = push(&mut mirror, "main", Some(tip), &ours).await;
        assert!(matches!(outcome, PushOutcome::Moved { actual } if actual == Some(theirs)), "{outcome:?}");
        world.remove_hook("pre-receive");
        mirror.fetch("main", theirs).await.unwrap();
        let again = edit(&mirror, theirs, ONE, "image: app:1.0.1\n", "Update").await;
        land(&mut mirror, "main", Some(theirs), &again).await;
        assert_eq!(world.content("main", "README.md"), "raced\n");
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_told_with_the_servers_words() {
    for by in BOTH {
        let ssh = SshWorld::by(by, &SshOptions::default()).await;
        for name in ["srv/none.git", "srv"] {
            let mut config = ssh.config_with(ssh.auth());
            config.url = ssh.server.url_at(ssh.link.address(), &ssh.world.temp.path().join(name));
            let mirror = ssh.world.mirror_with(config, Limits::default()).await;
            let error = mirror.ls_refs(&["main"]).await.unwrap_err();
            assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Backoff), "{error:?}");
            assert!(error.to_string().contains("does not appear to be a git repository"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_gone_is_made_again() {
    for options in both_versions() {
        let ssh = SshWorld::with(&options).await;
        let mut mirror = ssh.mirror().await;
        let mut tip = update(&mut mirror, "main").await;
        for round in 0..3 {
            ssh.link.cut();
            let prepared = edit(&mirror, tip, ONE, &format!("image: app:2.{round}\n"), "Update").await;
            land(&mut mirror, "main", Some(tip), &prepared).await;
            ssh.link.cut();
            tip = update(&mut mirror, "main").await;
            assert_eq!(tip, prepared.id());
        }
        ssh.world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn a_fetch_that_breaks_off_changes_nothing() {
    for options in both_versions() {
        let ssh = SshWorld::with(&options).await;
        // So that contents come with the fetch.
        git(&ssh.world.repository(), &["config", "uploadpack.allowFilter", "false"]);
        let mut mirror = ssh.mirror().await;
        let before = update(&mut mirror, "main").await;
        let tip = ssh.world.foreign(&[("noise.txt", &noise(400_000))]);
        for bytes in [100_000, 250_000] {
            // Past a fresh handshake, and past the answer's first packet of at most 32 KiB: a line that ends before that
            // was dead already, and is replaced without a word.
            ssh.link.cut_after(Way::ToClient, bytes);
            let error = mirror.fetch("main", tip).await.unwrap_err();
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Network, Retry::Backoff), "{error:?}");
            assert_eq!(mirror.files(before, "", |_| true).await.unwrap().len(), 4);
        }
        mirror.fetch("main", tip).await.unwrap();
        ssh.world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn a_push_that_breaks_off_in_the_pack_has_not_landed() {
    for by in BOTH {
        let ssh = SshWorld::by(by, &SshOptions::default()).await;
        let world = &ssh.world;
        let mut mirror = ssh.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, "noise.txt", &noise(400_000), "Noise").await;
        ssh.link.cut_after(Way::ToServer, 200_000);
        let outcome = push(&mut mirror, "main", Some(tip), &prepared).await;
        assert!(matches!(outcome, PushOutcome::Unknown { .. }), "{outcome:?}");
        assert_eq!(world.tip("main"), tip);
        land(&mut mirror, "main", Some(tip), &prepared).await;
        assert_eq!(world.log("main"), ["Noise", "by somebody else"]);
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn a_push_whose_report_is_lost_is_found_and_not_made_twice() {
    for by in BOTH {
        let ssh = SshWorld::by(by, &SshOptions::default()).await;
        let world = &ssh.world;
        let mut mirror = ssh.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, ONE, "image: app:1.0.1\n", "Update").await;
        // The refs are written when this hook runs; it waits until nobody listens any more.
        let (landed, gone) = (world.temp.path().join("landed"), world.temp.path().join("gone"));
        let (landed_text, gone_text) = (landed.display(), gone.display());
        let script = format!("echo x >> {landed_text}\nwhile [ ! -e {gone_text} ]; do sleep 0.02; done");
        world.hook("post-receive", &script);
        let breaking = async {
            windlass_testkit::eventually(Duration::from_secs(30), "the push to land", async || {
                Ok(landed.exists().then_some(()))
            })
            .await
            .unwrap();
            ssh.link.cut();
            std::fs::write(&gone, "").unwrap();
        };
        let (outcome, ()) = tokio::join!(push(&mut mirror, "main", Some(tip), &prepared), breaking);
        assert!(matches!(outcome, PushOutcome::Landed { .. }), "{outcome:?}");
        assert_eq!(world.log("main"), ["Update", "by somebody else"]);
        assert_eq!(std::fs::read_to_string(&landed).unwrap(), "x\n", "the push ran once");
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn large_pushes_and_packs_pass_a_channels_window() {
    let ssh = SshWorld::new().await;
    let mut mirror = ssh.mirror().await;
    let tip = update(&mut mirror, "main").await;
    let (ours, theirs) = (noise(6_000_000), noise(5_000_000));
    let large = mirror.commit(tip, change("large.txt", &ours), &text("Large")).await.unwrap().unwrap();
    land(&mut mirror, "main", Some(tip), &large).await;
    ssh.world.foreign(&[("theirs.txt", &theirs)]);
    let tip: CommitId = update(&mut mirror, "main").await;
    let files = contents(&mirror, tip).await;
    assert!(files.contains(&("theirs.txt".into(), theirs)) && files.contains(&("large.txt".into(), ours)));
    ssh.world.assert_clean(&mirror);
}

#[tokio::test]
async fn a_server_that_never_answers_times_out_and_one_that_is_not_there_refuses() {
    let ssh = SshWorld::new().await;
    let error = async |address: std::net::SocketAddr, timeout: Duration| {
        let known_hosts = ssh.server.known_hosts_at(address);
        let mut config = ssh.config_with(auth(ssh.server.identity(), None, &known_hosts));
        config.url = ssh.server.url_at(address, &ssh.world.repository());
        config.timeout = timeout;
        let mirror = ssh.world.mirror_with(config, Limits::default()).await;
        mirror.ls_refs(&["main"]).await.unwrap_err()
    };
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let late = error(silent.local_addr().unwrap(), Duration::from_millis(200)).await;
    assert_eq!(late.kind(), ErrorKind::Timeout, "{late:?}");
    // Nothing listens on a port that was only reserved.
    let refused = error(windlass_testkit::port::free().unwrap(), Duration::from_secs(30)).await;
    let is_refusal = matches!(refused, GitError::Remote(RemoteError::Ssh(SshError::Connect(_))));
    assert!(is_refusal, "{}", everything(&refused));
}
