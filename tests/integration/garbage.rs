//! Garbage from every side: from senders, from the registry, from the Git server and in the repository. Each kind is
//! refused with a reason, memory stays bounded, and the process goes on working.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::pin::pin;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use windlass_testkit::config;
use windlass_testkit::event::signature;
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::git_repository::BRANCH;
use windlass_testkit::git_server::GitServer;
use windlass_testkit::http_fault::{manifests, tag_lists};
use windlass_testkit::http_server::Canned;
use windlass_testkit::locate;
use windlass_testkit::observed::{AUTOMATION, IMAGE};
use windlass_testkit::traffic::{Fault, Match, Method, RequestHead};
use windlass_testkit::world::{self, FLEET, MANIFEST_PATH, NAMESPACE, PATIENCE, TOKEN, World, WorldOptions};

/// More than a debug build needs for its work (75 MiB at most here), and less than it would with one enormous body in it.
const MEMORY_BOUND: u64 = 120 << 20;
const ENORMOUS: usize = 100 << 20;
const CHUNK: usize = 64 << 10;
/// How many connections slow senders hold at once.
const HELD: usize = 1000;
/// The types of Receiver that are added beside the world's own one, of type `distribution`.
const ADDED: [&str; 3] = ["harbor", "generic", "generic-hmac"];
const HTML: &str = "<!doctype html><html><body>Please sign in</body></html>";

/// A world that serves a Receiver of each type.
async fn world_with_every_receiver(options: WorldOptions) -> Result<World> {
    let mut world = World::prepare(options).await?;
    let receivers =
        ADDED.map(|sender| config::receiver(NAMESPACE, sender, sender, "webhook-token", &["podinfo"]));
    world.config.write("receivers.yaml", config::documents(receivers))?;
    world.start_windlass().await?;
    Ok(world)
}

/// Each type of Receiver with its path.
fn receivers(world: &World) -> Vec<(&'static str, String)> {
    let added = ADDED.map(|sender| (sender, config::webhook_path(TOKEN, sender, NAMESPACE)));
    std::iter::once(("distribution", world.webhook_path())).chain(added).collect()
}

/// The header that makes a body of this sender authentic.
fn proof(sender: &str, body: &[u8]) -> (&'static str, String) {
    match sender {
        "generic-hmac" => ("x-signature", signature(TOKEN, body)),
        _ => ("authorization", format!("Bearer {TOKEN}")),
    }
}

/// The process is healthy, its memory stayed bounded, and an ordinary push still lands.
async fn unharmed(world: &mut World, tag: &str) -> Result<()> {
    world.push(tag).await?;
    world.wait_for(tag).await?;
    let windlass = world.windlass();
    windlass.process().expect_running()?;
    ensure!(windlass.get("/healthz").await?.status() == 200, "/healthz");
    let peak = windlass.peak_memory()?;
    println!("peak memory of a debug build: {} MiB", peak >> 20);
    ensure!(peak < MEMORY_BOUND, "{} MiB of memory were used", peak >> 20);
    Ok(())
}

#[tokio::test]
async fn bodies_that_are_no_payload_get_a_status_that_says_so() -> Result<()> {
    let mut world = world_with_every_receiver(WorldOptions::default()).await?;
    let nested = "[".repeat(100_000);
    let bodies: [(&str, &[u8]); 9] = [
        ("nothing", b""),
        (
            "a truncated object",
            br#"{"type":"PUSH_ARTIFACT","events":[{"id":"1","action":"push","target":{"repos"#,
        ),
        ("not JSON", b"{]"),
        ("an HTML page", HTML.as_bytes()),
        ("invalid UTF-8", b"{\"type\":\"\xff\xfe\",\"events\":\"\xff\xfe\"}"),
        ("binary", b"\x00\x01\x02\x1f\x8b\x08"),
        ("another shape", b"[1,2,3]"),
        ("an object that says nothing", b"{}"),
        ("a deep nest", nested.as_bytes()),
    ];
    let targets = receivers(&world);
    let windlass = world.windlass();
    let address = windlass.url().trim_start_matches("http://").to_owned();
    for (sender, path) in &targets {
        // What a generic sender says means nothing, so nothing that it says is wrong.
        let expected = if sender.starts_with("generic") { 200 } else { 400 };
        for (what, body) in &bodies {
            let (name, value) = proof(sender, body);
            let answer = windlass.post(path, &[(name, &value)], body.to_vec()).await?;
            ensure!(answer.status() == expected, "{what} to {sender}: {}", answer.status());
        }
        // The largest body that is read, and one byte more.
        for (bytes, expected) in [(3 << 20, expected), ((3 << 20) + 1, 413)] {
            let (name, value) = proof(sender, &vec![b' '; bytes]);
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: a\r\n{name}: {value}\r\ncontent-length: {bytes}\r\n\r\n"
            );
            let (status, _) = send_spaces(&address, &head, bytes).await?;
            ensure!(status == expected, "{bytes} bytes to {sender}: {status}");
        }
    }
    let metrics = windlass.metrics().await?;
    for (sender, outcome, expected) in [
        ("harbor", "malformed", 10.0),
        ("distribution", "malformed", 10.0),
        ("generic-hmac", "too_large", 1.0),
    ] {
        let counted = metrics.count("windlass_webhooks_total", &[("sender", sender), ("outcome", outcome)]);
        ensure!((counted - expected).abs() < 0.5, "{sender}, {outcome}: {counted}");
    }
    ensure!(windlass.log_text().contains("webhook refused"), "no line in the log tells of it");
    unharmed(&mut world, "1.0.1").await
}

#[tokio::test]
async fn requests_without_the_right_token_or_path_are_refused() -> Result<()> {
    let mut world = world_with_every_receiver(WorldOptions::default()).await?;
    let body = br#"{"type":"PUSH_ARTIFACT","events":[]}"#;
    let targets = receivers(&world);
    let other_body = proof("generic-hmac", b"another body").1;
    let sha1 = format!("sha1={}", &proof("generic-hmac", body).1["sha256=".len()..]);
    let refused: [(&str, &str); 12] = [
        ("authorization", ""),
        ("authorization", "Bearer"),
        ("authorization", "Bearer wrong"),
        ("authorization", "Basic d2ViaG9vazp0b2tlbg=="),
        ("authorization", &TOKEN[..TOKEN.len() - 1]),
        ("x-other", TOKEN),
        ("x-signature", ""),
        ("x-signature", "sha256="),
        ("x-signature", "sha256=zz"),
        ("x-signature", "md5=d41d8cd98f00b204e9800998ecf8427e"),
        ("x-signature", &sha1),
        ("x-signature", &other_body),
    ];
    let windlass = world.windlass();
    for (sender, path) in targets.iter().filter(|(sender, _)| *sender != "generic") {
        for (name, value) in refused {
            let answer = windlass.post(path, &[(name, value)], body.to_vec()).await?;
            ensure!(answer.status() == 401, "{name}: {value} to {sender}: {}", answer.status());
        }
    }
    let (known, token) = (targets[0].1.as_str(), format!("Bearer {TOKEN}"));
    let paths = [
        "/hook/".to_owned(),
        "/hook".to_owned(),
        "/".to_owned(),
        format!("/hook/{}", "0".repeat(64)),
        format!("/hook/{}", "%2e%2e%2f".repeat(500)),
        known.to_uppercase().replace("/HOOK/", "/hook/"),
        format!("{known}/"),
        format!("/{known}"),
        known[..known.len() - 1].to_owned(),
    ];
    for path in paths {
        let answer = windlass.post(&path, &[("authorization", &token)], body.to_vec()).await?;
        ensure!(answer.status() == 404, "{path}: {}", answer.status());
    }
    let metrics = windlass.metrics().await?;
    for sender in ["harbor", "distribution", "generic-hmac"] {
        let counted =
            metrics.count("windlass_webhooks_total", &[("sender", sender), ("outcome", "unauthorized")]);
        ensure!((counted - 12.0).abs() < 0.5, "{sender}: {counted}");
    }
    ensure!(
        metrics.count("windlass_webhooks_total", &[("outcome", "accepted")]) < 0.5,
        "something was accepted"
    );
    unharmed(&mut world, "1.0.1").await
}

#[tokio::test]
async fn enormous_bodies_are_refused_before_they_are_read() -> Result<()> {
    let mut world = world_with_every_receiver(WorldOptions::default()).await?;
    let targets = receivers(&world);
    let address = world.windlass().url().trim_start_matches("http://").to_owned();
    let mut senders = JoinSet::new();
    for (sender, path) in targets {
        for framing in ["transfer-encoding: chunked".to_owned(), format!("content-length: {ENORMOUS}")] {
            let (name, value) = proof(sender, b"");
            let head =
                format!("POST {path} HTTP/1.1\r\nhost: {address}\r\n{name}: {value}\r\n{framing}\r\n\r\n");
            let address = address.clone();
            senders.spawn(async move {
                let refused = tokio::time::timeout(PATIENCE, send_spaces(&address, &head, ENORMOUS)).await;
                let (status, sent) = refused.context("no answer in time")??;
                ensure!(
                    status == 413 && sent < ENORMOUS / 2,
                    "{sender}, {framing}: {status} after {sent} bytes"
                );
                Ok(())
            });
        }
    }
    senders.join_all().await.into_iter().collect::<Result<()>>()?;
    let counted =
        world.windlass().metrics().await?.count("windlass_webhooks_total", &[("outcome", "too_large")]);
    ensure!((counted - 8.0).abs() < 0.5, "{counted} were counted as too large");
    unharmed(&mut world, "1.0.1").await
}

/// Sends a head and then a body of this many spaces, until the answer's first line is there. Gives its status, and how
/// much of the body had been sent.
async fn send_spaces(address: &str, head: &str, bytes: usize) -> Result<(u16, usize)> {
    let (from, mut to) = TcpStream::connect(address).await?.into_split();
    let chunked = head.contains("chunked");
    let mut bytes_sent = 0;
    let send = async {
        to.write_all(head.as_bytes()).await?;
        while bytes_sent < bytes {
            let mut piece = vec![b' '; CHUNK.min(bytes - bytes_sent)];
            bytes_sent += piece.len();
            if chunked {
                piece = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
            }
            to.write_all(&piece).await?;
        }
        std::io::Result::Ok(())
    };
    let mut answer = pin!(status_of(from));
    let status = tokio::select! {
        status = &mut answer => status,
        // All was sent, or the server reads no more: then its answer is on the way.
        _ = send => answer.await,
    };
    Ok((status?, bytes_sent))
}

/// The status of the answer that comes over a connection.
async fn status_of(from: impl tokio::io::AsyncRead + Unpin) -> Result<u16> {
    let mut line = String::new();
    BufReader::new(from).read_line(&mut line).await.context("reading an answer")?;
    let status = line.split(' ').nth(1).with_context(|| format!("no status in {line:?}"))?;
    status.parse().with_context(|| format!("no status in {line:?}"))
}

/// A process may have 1,024 open files where nobody says otherwise: too few to hold so many connections.
fn may_open_enough_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).context("raising the limit of open files")
}

#[tokio::test]
async fn a_thousand_slow_senders_neither_keep_a_push_out_nor_stay() -> Result<()> {
    // Slow in each way: silent, in the middle of the head, in the middle of the body. Windlass starts with the limit of
    // open files that it gets where nobody sets one.
    may_open_enough_files()?;
    let folder = fresh(Storage::Memory)?;
    let program = folder.path().join("windlass");
    let script = format!("#!/bin/sh\nulimit -S -n 1024\nexec '{}' \"$@\"\n", locate::windlass()?.display());
    std::fs::write(&program, script).context("writing a script")?;
    std::fs::set_permissions(&program, Permissions::from_mode(0o755))
        .context("making a script executable")?;
    let options = WorldOptions { windlass_program: Some(program), ..WorldOptions::default() };
    let mut world = world_with_every_receiver(options).await?;
    let targets = receivers(&world);
    let address = world.windlass().url().trim_start_matches("http://").to_owned();
    let mut connections = Vec::with_capacity(HELD);
    for number in 0..HELD {
        let (sender, path) = &targets[number % targets.len()];
        let (name, value) = proof(sender, b"{}");
        let head = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\n{name}: {value}\r\n");
        let (said, expected) = match number % 3 {
            0 => (String::new(), None),
            1 => (head, None),
            _ => (format!("{head}content-length: 100\r\n\r\n{{\"events\":"), Some(408)),
        };
        let mut connection = TcpStream::connect(&address).await.context("connecting")?;
        connection.write_all(said.as_bytes()).await?;
        connections.push((connection, expected));
    }
    world.push("1.0.1").await?;
    world.wait_for("1.0.1").await?;

    let mut ends = JoinSet::new();
    for (mut connection, expected) in connections {
        ends.spawn(async move {
            let mut answer = Vec::new();
            // A connection that is reset has ended too.
            let ended = tokio::time::timeout(PATIENCE, connection.read_to_end(&mut answer)).await;
            ensure!(ended.is_ok(), "a slow sender is still connected");
            let status = String::from_utf8_lossy(&answer).split(' ').nth(1).map(str::to_owned);
            let told = expected.is_none_or(|expected: u16| status == Some(expected.to_string()));
            ensure!(told, "a slow body was answered {status:?}");
            Ok(())
        });
    }
    ends.join_all().await.into_iter().collect::<Result<()>>()?;
    let counted =
        world.windlass().metrics().await?.count("windlass_webhooks_total", &[("outcome", "timeout")]);
    ensure!((counted - 333.0).abs() < 0.5, "{counted} slow bodies were counted");
    unharmed(&mut world, "1.0.2").await
}

#[tokio::test]
async fn a_registry_that_answers_garbage_is_named_in_the_status() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let traffic = world.proxy.traffic().clone();
        let answers = |canned: Canned| traffic.answer(tag_lists(), canned);
        let page = || Canned::status(200).header("content-type", "text/html").body(HTML);
        let circle = traffic.answer_with(tag_lists(), |head| {
            Canned::status(307).header("location", &format!("{}?again={}", head.path, head.query.len()))
        });
        fails_and_recovers(world, IMAGE, "redirects more than", circle).await?;
        let elsewhere = answers(Canned::status(302).header("location", "ftp://127.0.0.1/"));
        fails_and_recovers(world, IMAGE, "not followed", elsewhere).await?;
        for (canned, why) in [
            (page(), "not a tag list"),
            (Canned::status(200).body(r#"{"name":"team/podinfo","tags":["1.0.0","#), "not a tag list"),
            (Canned::status(200).body(&b"{\"tags\":[\"\xff\xfe\"]}"[..]), "not a tag list"),
            (Canned::status(200).body(r#"{"errors":[{"code":"UNKNOWN"}]}"#), "not a tag list"),
            (Canned::status(204), "204"),
            (Canned::status(200).repeated(vec![b' '; CHUNK], ENORMOUS / CHUNK), "33554432"),
        ] {
            fails_and_recovers(world, IMAGE, why, answers(canned)).await?;
        }
        unharmed(world, "1.0.1").await
    })
    .await
}

/// A resource fails for this reason while there is a fault, and works again without it.
async fn fails_and_recovers(world: &World, object: &str, why: &str, fault: Fault) -> Result<()> {
    world.running()?.reconcile(object).await?;
    world.wait_failing(object, why).await?;
    fault.lift();
    world.running()?.reconcile(object).await?;
    world.wait_working(object).await.map(drop)
}

#[tokio::test]
async fn a_manifest_that_is_none_never_reaches_git() -> Result<()> {
    let options = WorldOptions { digest: "IfNotPresent".to_owned(), ..WorldOptions::default() };
    world::run(options, async |world| {
        let page = || Canned::status(200).header("content-type", "text/html").body(HTML);
        let malformed = || Canned::status(200).header("docker-content-digest", "sha256:a lie");
        let of_another = format!("sha256:{}", "a".repeat(64));
        let lies = move |head: &RequestHead| {
            if head.method == Method::HEAD {
                return Canned::status(200);
            }
            Canned::status(200).header("docker-content-digest", &of_another).body(r#"{"schemaVersion":2}"#)
        };
        let traffic = world.proxy.traffic().clone();
        let fault = traffic.answer(manifests(), page());
        manifest_fails(world, "1.0.1", "not a manifest", fault).await?;
        let fault = traffic.answer(manifests(), malformed());
        manifest_fails(world, "1.0.2", "Docker-Content-Digest is not a digest", fault).await?;
        let fault = traffic.answer_with(manifests(), lies);
        manifest_fails(world, "1.0.3", "states the digest", fault).await?;
        let fault = world.proxy.enormous_manifests(ENORMOUS);
        manifest_fails(world, "1.0.4", "4194304", fault).await?;
        ensure!(world.commits().await?.len() == 4, "one commit for each tag");
        Ok(())
    })
    .await
}

/// Pushes a tag while the registry answers garbage for it: nothing is committed until it answers what it should.
async fn manifest_fails(world: &mut World, tag: &str, why: &str, fault: Fault) -> Result<()> {
    let before = world.manifest_at_head().await?;
    let digest = world.push(tag).await?;
    world.wait_failing(IMAGE, why).await?;
    ensure!(world.manifest_at_head().await? == before, "{tag} was committed although `{why}`");
    fault.lift();
    world.windlass().reconcile(IMAGE).await?;
    world.wait_for(&format!("{tag}@{digest}")).await?;
    let peak = world.windlass().peak_memory()?;
    ensure!(peak < MEMORY_BOUND, "{} MiB of memory were used", peak >> 20);
    Ok(())
}

#[tokio::test]
async fn a_tag_list_that_never_ends_is_refused_and_costs_little() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let endless = world.proxy.endless_tag_lists();
        fails_and_recovers(world, IMAGE, "more than", endless).await?;
        unharmed(world, "1.0.1").await
    })
    .await
}

#[tokio::test]
async fn a_git_server_that_answers_garbage_is_named_in_the_status() -> Result<()> {
    let mut world = World::prepare(WorldOptions::default()).await?;
    let traffic = world.git.traffic().clone();
    let page = || Canned::status(200).header("content-type", "text/html").body(HTML);
    let advertised = |body: Vec<u8>| {
        Canned::status(200).header("content-type", "application/x-git-upload-pack-advertisement").body(body)
    };
    // From the first contact on: Windlass becomes ready all the same, for it tried.
    let fault = traffic.answer(Match::any(), page());
    world.start_windlass().await?;
    world.wait_failing(AUTOMATION, "not from a Git server").await?;
    fault.lift();
    let circle = traffic.answer_with(Match::any(), |head| {
        Canned::status(301).header("location", &format!("{}?{}&again=1", head.path, head.query))
    });
    fails_and_recovers(&world, AUTOMATION, "redirect", circle).await?;
    for (body, why) in [
        (b"\x00\xff\xfe\x01".repeat(1000), "protocol"),
        // To the letter this is a repository without branches.
        (b"0000".to_vec(), "branch main does not exist"),
        (b"001e# service=git-upload-pack\n00000050only a few".to_vec(), "in the middle"),
        (HTML.as_bytes().to_vec(), "protocol"),
    ] {
        let fault = traffic.answer(Match::any(), advertised(body));
        fails_and_recovers(&world, AUTOMATION, why, fault).await?;
    }
    let line = format!("{} refs/heads/{}\n", "a".repeat(40), "b".repeat(900));
    let lines = format!("{:04x}{line}", line.len() + 4).repeat(100);
    let endless = Canned::status(200)
        .header("content-type", "application/x-git-upload-pack-advertisement")
        .repeated(lines.clone(), ENORMOUS / lines.len());
    let fault = traffic.answer(Match::any(), endless);
    fails_and_recovers(&world, AUTOMATION, "larger than the limit", fault).await?;
    unharmed(&mut world, "1.0.1").await
}

#[tokio::test]
async fn a_push_that_is_answered_with_garbage_is_made_again_and_lands_once() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let traffic = world.git.traffic().clone();
        let typed = || Canned::status(200).header("content-type", "application/x-git-receive-pack-result");
        let answers = [
            Canned::status(200).header("content-type", "text/html").body(HTML),
            Canned::status(302).header("location", "http://127.0.0.1:1/elsewhere"),
            typed().body(&b"\xff\xfe\x00garbage"[..]),
            typed().body("0000"),
            typed(),
            typed().repeated(vec![b'0'; CHUNK], ENORMOUS / CHUNK),
        ];
        for (number, canned) in answers.into_iter().enumerate() {
            let (tag, mark) = (format!("1.0.{}", number + 1), traffic.mark());
            let fault = traffic.answer_next(1, GitServer::pushes(), canned);
            world.push(&tag).await?;
            traffic.next_after(mark, &GitServer::pushes(), PATIENCE).await?;
            ensure!(fault.hits() == 1, "the first push of {tag} met the fault");
            world.wait_for(&tag).await?;
        }
        let commits = world.commits().await?;
        ensure!(commits.len() == 6, "{} commits for six tags", commits.len());
        unharmed(world, "1.1.0").await
    })
    .await
}

#[tokio::test]
async fn markers_where_nothing_can_be_edited_are_told_and_the_others_are_written() -> Result<()> {
    let mut world = World::prepare(WorldOptions::default()).await?;
    let place = format!(
        "image: {}/team/podinfo:1.0.0 # {{\"$imagepolicy\": \"apps:podinfo\"}}\n",
        world.proxy.host()
    );
    let mut large = place.clone().into_bytes();
    large.resize(20 << 20, b'\n');
    let files: [(&str, Vec<u8>); 6] = [
        ("apps/notes.txt", place.clone().into_bytes()),
        ("apps/broken.yaml", format!("a: [1, 2\nb: }}\n{place}").into_bytes()),
        (
            "apps/template.yaml",
            format!("{{{{- if .Values.enabled }}}}\n{place}{{{{- end }}}}\n").into_bytes(),
        ),
        ("apps/binary.yaml", [&b"\x00\x01\xff\xfe"[..], place.as_bytes()].concat()),
        ("apps/commented.yaml", format!("# {place}other: 1\n").into_bytes()),
        ("apps/large.yaml", large),
    ];
    let checkout = world.git.clone_repository(FLEET).await?;
    for (path, bytes) in &files {
        std::fs::write(checkout.folder().join(path), bytes).context("writing a file")?;
    }
    let link = checkout.folder().join("apps/link.yaml");
    std::os::unix::fs::symlink("podinfo/deployment.yaml", link).context("making a link")?;
    checkout.git(&["add", "--all"]).await?;
    checkout.git(&["commit", "--quiet", "--message", "Files that cannot be edited"]).await?;
    checkout.git(&["push", "--quiet", "origin", "HEAD"]).await?;

    world.start_windlass().await?;
    unharmed(&mut world, "1.0.1").await?;
    let head = world.repository.head(BRANCH).await?.context("the branch exists")?;
    ensure!(world.repository.changed_paths(&head).await? == [MANIFEST_PATH], "other files changed");
    let link = world.repository.git(&["ls-tree", BRANCH, "apps/link.yaml"]).await?;
    ensure!(link.starts_with("120000 "), "the link became {link}");
    world.wait_working(AUTOMATION).await?;
    let told = world.diagnostics(AUTOMATION).await?;
    for (path, cause) in [
        ("apps/broken.yaml:", "cannot be parsed"),
        ("apps/template.yaml:", "template"),
        ("apps/binary.yaml:", "UTF-8"),
        ("apps/commented.yaml:1:", "commented out"),
        ("apps/large.yaml:", "20971520 bytes"),
    ] {
        let found = told.iter().any(|line| line.starts_with(path) && line.contains(cause));
        ensure!(found, "nothing tells of {path} {cause}: {told:#?}");
    }
    // Flux reads no text files and follows no links, so a marker there is nobody's mistake.
    ensure!(told.len() == 5, "{told:#?}");
    let table = windlass_testkit::windlass::command(&[
        "status".into(),
        "--data".into(),
        world.data.path().as_os_str().to_owned(),
    ])
    .await?;
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    ensure!(table.contains("apps/broken.yaml:"), "the table has no diagnostics:\n{table}");
    Ok(())
}
