//! The `git` program in place of the built-in code: what it is given, what it must not do, and how its failures are told.
//! That it does what the built-in code does is shown beside that, by the cases that run with both.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use windlass_git::{
    Auth, ClientPool, ConfigError, ErrorKind, GitError, Implementation, Limits, Mirror, ProgramEnvironment,
    PushOutcome, Remote, RemoteConfig, RemoteError, Retry,
};
use windlass_testkit::eventually;
use windlass_testkit::ssh_server::{KeyPair, SshOptions};

use crate::support::ssh::{SshWorld, auth, everything};
use crate::support::{Server, World, clients, contents, edit, land, path, push, read_all, update};

const ONE: &str = "apps/one/deploy.yaml";
const SECRET: &str = "hunter2-secret";

/// Programs before the machine's own, which note how they are called.
struct Watched {
    folder: tempfile::TempDir,
}

impl Watched {
    /// `name` notes its arguments, its variables and the files of its folder; then the machine's own does the work.
    fn new(names: &[&str]) -> Self {
        let watched = Self { folder: tempfile::tempdir().unwrap() };
        let notes = watched.folder.path().display().to_string();
        for name in names {
            let search = path().into_string().unwrap();
            let own =
                search.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file());
            let own = own.unwrap().display().to_string();
            watched.install(
                name,
                &format!(
                    "printf '%s\\n' \"$0 $*\" >> {notes}/arguments\nenv | cut -d= -f1 >> {notes}/variables\n\
                     find . -maxdepth 1 -type f -printf '%m %f\\n' >> {notes}/files\n\
                     stat -c '%a' . >> {notes}/folders\nexec {own} \"$@\"\n"
                ),
            );
        }
        watched
    }

    fn install(&self, name: &str, script: &str) {
        let path = self.folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn clients(&self) -> ClientPool {
        let mut search: OsString = self.folder.path().into();
        search.push(":");
        search.push(path());
        ClientPool::with_program(ProgramEnvironment { path: search, ..ProgramEnvironment::default() })
    }

    /// Each line once.
    fn notes(&self, of: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join(of)).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines.dedup();
        lines
    }
}

async fn open(world: &World, config: RemoteConfig, clients: &ClientPool) -> Mirror {
    let remote = Remote::pooled(config, clients).unwrap();
    Mirror::open(&world.temp.path().join("mirror"), remote, Limits::default()).await.unwrap()
}

fn program(world: &World) -> RemoteConfig {
    RemoteConfig { implementation: Implementation::Program, ..world.config() }
}

/// Folders of single operations that are still there.
fn leftovers(world: &World) -> Vec<String> {
    let entries = fs::read_dir(world.temp.path().join("mirror")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("scratch-")).collect()
}

#[tokio::test]
async fn tokens_are_in_no_argument_and_no_file_and_nothing_of_the_machine_is_passed_on() {
    let world = World::new().await;
    let watched = Watched::new(&["git"]);
    for (auth, header) in [
        (
            Auth::Basic { username: "robot".into(), password: SECRET.to_owned().into() },
            "Basic cm9ib3Q6aHVudGVyMi1zZWNyZXQ=",
        ),
        (Auth::Bearer { token: SECRET.to_owned().into() }, "Bearer hunter2-secret"),
    ] {
        world.server.switches().authorization = Some(header.to_owned());
        world.server.take_seen();
        let mut mirror = open(&world, RemoteConfig { auth, ..program(&world) }, &watched.clients()).await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, ONE, &format!("image: {header}\n"), "Update").await;
        land(&mut mirror, "main", Some(tip), &prepared).await;
        let seen = world.server.take_seen();
        assert!(seen.iter().all(|seen| seen.authorization.as_deref() == Some(header)), "{seen:?}");

        // The password changes on the server.
        world.server.switches().authorization = Some("Basic other".to_owned());
        let error = mirror.ls_refs(&["main"]).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Auth, Retry::OnChange), "{error:?}");
        let again = edit(&mirror, prepared.id(), ONE, "image: app:3\n", "Update").await;
        let outcome = push(&mut mirror, "main", Some(prepared.id()), &again).await;
        let PushOutcome::Unknown { error: unknown } = outcome else { panic!("{outcome:?}") };
        assert!(
            matches!(unknown, GitError::Remote(RemoteError::Unauthorized { status: 401 })),
            "{unknown:?}"
        );
        let text = everything(&error) + &everything(&unknown) + &format!("{mirror:?} {:?}", mirror.remote());
        assert!(!text.contains(SECRET) && !text.contains("aHVudGVy"), "{text}");
        assert_eq!(world.tip("main"), prepared.id());
    }
    let arguments = watched.notes("arguments").join("\n");
    assert!(arguments.contains(" push --porcelain ") && arguments.contains(" fetch "), "{arguments}");
    assert!(!arguments.contains(SECRET) && !arguments.contains("aHVudGVy"), "{arguments}");
    assert_eq!(watched.notes("folders"), ["700"]);
    let files = watched.notes("files").join("\n");
    assert!(!files.contains("identity") && !files.contains("pem"), "{files}");
    let mut variables = watched.notes("variables");
    variables.retain(|name| !name.starts_with("GIT_CONFIG_KEY_") && !name.starts_with("GIT_CONFIG_VALUE_"));
    // The shell that notes them adds two of its own.
    variables.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(&name.as_str()));
    assert_eq!(
        variables,
        [
            "GIT_ALLOW_PROTOCOL",
            "GIT_ASKPASS",
            "GIT_ATTR_NOSYSTEM",
            "GIT_CONFIG_COUNT",
            "GIT_CONFIG_GLOBAL",
            "GIT_CONFIG_NOSYSTEM",
            "GIT_DIR",
            "GIT_NO_LAZY_FETCH",
            "GIT_NO_REPLACE_OBJECTS",
            "GIT_TERMINAL_PROMPT",
            "HOME",
            "LC_ALL",
            "PATH",
            "XDG_CONFIG_HOME",
        ]
    );
    assert_eq!(leftovers(&world), [""; 0]);
}

#[tokio::test]
async fn keys_are_private_files_that_go_with_the_command() {
    let ssh = SshWorld::by(Implementation::Program, &SshOptions::default()).await;
    let watched = Watched::new(&["git", "ssh"]);
    let key = KeyPair::generate(&["-t", "ed25519"], SECRET).unwrap();
    ssh.server.accept_only(&key).unwrap();
    let credentials = auth(&key.identity, Some(SECRET), &ssh.known_hosts());
    let mut mirror = open(&ssh.world, ssh.config_with(credentials), &watched.clients()).await;
    let tip = update(&mut mirror, "main").await;
    let prepared = edit(&mirror, tip, ONE, "image: app:2\n", "Update").await;
    land(&mut mirror, "main", Some(tip), &prepared).await;
    assert_eq!(leftovers(&ssh.world), [""; 0]);
    let files = watched.notes("files");
    let private = |name: &str| files.iter().filter(|line| line.ends_with(name)).collect::<Vec<_>>();
    assert_eq!(private(" identity"), ["600 identity"], "{files:?}");
    assert_eq!(private(" known_hosts"), ["600 known_hosts"], "{files:?}");
    let arguments = watched.notes("arguments").join("\n");
    assert!(arguments.contains("StrictHostKeyChecking=yes") && !arguments.contains(SECRET), "{arguments}");
    ssh.world.assert_clean(&mirror);
}

#[tokio::test]
async fn redirects_are_not_followed_and_another_host_never_sees_credentials() {
    let world = World::new().await;
    let elsewhere = Server::start(world.temp.path().join("srv")).await;
    let auth = Auth::Basic { username: "robot".into(), password: SECRET.to_owned().into() };
    let mirror = open(&world, RemoteConfig { auth, ..program(&world) }, &clients()).await;
    for (target, kind) in [
        (format!("{}/repo.git", elsewhere.url()), ErrorKind::Config),
        ("/renamed.git".to_owned(), ErrorKind::NotFound),
    ] {
        world.server.switches().redirect = Some(("/repo.git".to_owned(), target));
        let error = mirror.ls_refs(&["main"]).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_eq!(elsewhere.take_seen(), []);
    }
    // What the built-in code follows, the program tells.
    std::os::unix::fs::symlink("repo.git", world.temp.path().join("srv/renamed.git")).unwrap();
    let error = mirror.ls_refs(&["main"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server, "{error:?}");
    assert!(error.to_string().contains("`git ls-remote` failed"), "{error}");
}

#[tokio::test]
async fn failures_of_a_server_have_their_kinds() {
    let world = World::new().await;
    let mirror = open(&world, program(&world), &clients()).await;
    let html = vec![("content-type", "text/html".to_owned())];
    let wait = vec![("retry-after", "7".to_owned())];
    for (answer, kind, retry) in [
        ((404, vec![], ""), ErrorKind::NotFound, Retry::OnChange),
        ((403, vec![], ""), ErrorKind::Auth, Retry::OnChange),
        ((503, wait, ""), ErrorKind::Server, Retry::After(Duration::from_secs(7))),
        ((200, html, "<html>Sign in</html>"), ErrorKind::Protocol, Retry::Backoff),
    ] {
        let case = format!("{answer:?}");
        world.server.switches().answer = Some(answer);
        let error = mirror.ls_refs(&["main"]).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{case}: {error:?}");
    }
    world.server.switches().answer = None;
    assert!(mirror.ls_refs(&["main"]).await.unwrap()["main"].is_some());
    assert_eq!(leftovers(&world), [""; 0]);
}

#[tokio::test]
async fn a_program_that_is_missing_or_too_old_is_told_by_the_annotation() {
    let world = World::new().await;
    let empty = tempfile::tempdir().unwrap();
    let old = Watched::new(&[]);
    old.install("git", "echo 'git version 2.31.8'\n");
    for (search, told) in [(empty.path(), "cannot be started"), (old.folder.path(), "git version 2.31.8")] {
        let environment = ProgramEnvironment { path: search.into(), ..ProgramEnvironment::default() };
        let mirror = open(&world, program(&world), &ClientPool::with_program(environment)).await;
        let error = mirror.ls_refs(&["main"]).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::OnChange), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("windlass.dev/git-implementation") && text.contains(told), "{text}");
    }
}

#[tokio::test]
async fn what_takes_too_long_is_killed_with_all_that_it_started() {
    let world = World::new().await;
    let watched = Watched::new(&[]);
    let started = watched.folder.path().join("started");
    let script = format!(
        "[ \"$1\" = version ] && exec echo 'git version 2.47.0'\nsleep 1000 &\necho $! > {}\nwait\n",
        started.display()
    );
    watched.install("git", &script);
    let config = RemoteConfig { timeout: Duration::from_secs(2), ..program(&world) };
    let mirror = open(&world, config, &watched.clients()).await;
    let error = mirror.ls_refs(&["main"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    let child: u32 = fs::read_to_string(&started).unwrap().trim().parse().unwrap();
    eventually(Duration::from_secs(10), "the program's child to end", async || {
        let state = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        Ok((state.is_empty() || state.contains(") Z ")).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(leftovers(&world), [""; 0]);
}

#[tokio::test]
async fn packs_larger_than_the_limit_are_refused() {
    let world = World::new().await;
    let noise: Vec<String> =
        (0..60_000_u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string()).collect();
    let tip = world.foreign(&[("noise.txt", &noise.concat())]);
    for limits in [
        Limits { pack_bytes: 64 * 1024, ..Limits::default() },
        Limits { object_bytes: 64 * 1024, ..Limits::default() },
    ] {
        let mut mirror = world.mirror_with(program(&world), limits).await;
        let error = mirror.fetch("main", tip).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error:?}");
        assert_eq!(mirror.path(), None);
    }
}

#[tokio::test]
async fn a_fetch_that_breaks_off_changes_nothing() {
    let world = World::new().await;
    let mut mirror = open(&world, program(&world), &clients()).await;
    let before = update(&mut mirror, "main").await;
    let noise: Vec<String> =
        (0..5000_u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string()).collect();
    let tip = world.foreign(&[("noise.txt", &noise.concat())]);
    world.server.switches().cut_fetch = Some(20_000);
    let error = mirror.fetch("main", tip).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Server, Retry::Backoff), "{error:?}");
    assert_eq!(contents(&mirror, before).await.len(), 4);
    world.server.switches().cut_fetch = None;
    mirror.fetch("main", tip).await.unwrap();
    assert_eq!(read_all(&mirror, tip).await, 5);
    world.assert_clean(&mirror);
}

#[tokio::test]
async fn a_mirror_that_was_made_without_contents_is_made_whole() {
    let world = World::new().await;
    let mut mirror = world.mirror().await;
    let tip = update(&mut mirror, "main").await;
    drop(mirror);
    for implementation in [Implementation::Program, Implementation::BuiltIn, Implementation::Program] {
        let config = RemoteConfig { implementation, ..world.config() };
        let mut mirror = open(&world, config, &clients()).await;
        mirror.fetch("main", tip).await.unwrap();
        if implementation == Implementation::Program {
            // Nothing more is asked for.
            world.server.take_seen();
            assert_eq!(read_all(&mirror, tip).await, 4);
            assert_eq!(world.server.requests(), [""; 0]);
        }
        world.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn folders_of_this_machine_are_reached_in_tests_alone() {
    let world = World::new().await;
    world.hook("pre-receive", "cat > /dev/null; echo \"$GIT_PUSH_OPTION_0\"");
    let url = format!("file://{}", world.repository().display());
    let config = || RemoteConfig { url: url.clone(), ..program(&world) };
    let product =
        ClientPool::with_program(ProgramEnvironment { path: path(), ..ProgramEnvironment::default() });
    for refused in [
        Remote::pooled(config(), &product),
        Remote::pooled(RemoteConfig { implementation: Implementation::BuiltIn, ..config() }, &clients()),
    ] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, RemoteError::Config(ConfigError::Scheme(_))), "{refused:?}");
    }
    let mut mirror = open(&world, config(), &clients()).await;
    let tip = update(&mut mirror, "main").await;
    let prepared = edit(&mirror, tip, ONE, "image: app:2\n", "Update").await;
    land(&mut mirror, "main", Some(tip), &prepared).await;
    let theirs = world.foreign(&[("README.md", "changed\n")]);
    let stale = edit(&mirror, prepared.id(), ONE, "image: app:3\n", "Update").await;
    let outcome = push(&mut mirror, "main", Some(prepared.id()), &stale).await;
    assert!(matches!(outcome, PushOutcome::Moved { actual } if actual == Some(theirs)), "{outcome:?}");
    assert_eq!(update(&mut mirror, "main").await, theirs);
    world.assert_clean(&mirror);
}
