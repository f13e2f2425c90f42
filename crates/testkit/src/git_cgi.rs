//! `git http-backend` as a CGI program (RFC 3875): one process a request, bodies streamed both ways. Everything that a
//! request means to Git is decided by Git.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::git_repository::isolated;
use crate::http_server::{Body, streamed};
use crate::locate::search_path;
use crate::traffic::RequestHead;

/// One read from the program's output.
const CHUNK: usize = 64 * 1024;
/// Git's own header block is a few hundred bytes.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Runs the program for one request.
///
/// # Errors
/// When it cannot be started or does not answer in CGI's form.
pub(crate) async fn respond(
    root: &Path,
    log: &Path,
    user: Option<&str>,
    head: &RequestHead,
    body: Incoming,
) -> Result<Response<Body>> {
    let mut child = command(root, log, user, head)?.spawn().context("starting git http-backend")?;
    let stdin = child.stdin.take().context("git http-backend has no standard input")?;
    let mut stdout =
        BufReader::with_capacity(CHUNK, child.stdout.take().context("it has no standard output")?);
    // Git reads the request to its end before it writes more than a pipe holds.
    let ((), parsed) = tokio::join!(feed(body, stdin), read_headers(&mut stdout));
    let mut response = Response::new(rest(child, stdout));
    let (status, headers) = parsed?;
    *response.status_mut() = status;
    response.headers_mut().extend(headers);
    Ok(response)
}

/// The program itself, and not `git http-backend`: killing that leaves the program behind, which then waits for the rest
/// of a broken request for ever, at full speed.
fn backend() -> Result<&'static Path> {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    if let Some(known) = PROGRAM.get() {
        return Ok(known);
    }
    let mut asked = std::process::Command::new("git");
    let answer = asked.arg("--exec-path").env("PATH", search_path()).output().context("running git")?;
    let folder = String::from_utf8(answer.stdout).context("git's folder of programs is not UTF-8")?;
    Ok(PROGRAM.get_or_init(|| Path::new(folder.trim()).join("git-http-backend")))
}

fn command(root: &Path, log: &Path, user: Option<&str>, head: &RequestHead) -> Result<Command> {
    let log = File::options().create(true).append(true).open(log).context("opening the Git server's log")?;
    let mut command = isolated(backend()?, root);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
    command
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", &head.path)
        .env("QUERY_STRING", &head.query)
        .env("REMOTE_ADDR", "127.0.0.1");
    if let Some(user) = user {
        command.env("REMOTE_USER", user);
    }
    let copied = [
        (CONTENT_TYPE, "CONTENT_TYPE"),
        (CONTENT_LENGTH, "CONTENT_LENGTH"),
        (CONTENT_ENCODING, "HTTP_CONTENT_ENCODING"),
        (HeaderName::from_static("git-protocol"), "HTTP_GIT_PROTOCOL"),
        (HeaderName::from_static("git-protocol"), "GIT_PROTOCOL"),
    ];
    for (header, variable) in copied {
        if let Some(value) = head.headers.get(header).and_then(|value| value.to_str().ok()) {
            command.env(variable, value);
        }
    }
    Ok(command)
}

async fn feed(mut body: Incoming, mut stdin: ChildStdin) {
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        // A program that stops reading has its answer ready.
        if stdin.write_all(&data).await.is_err() {
            return;
        }
    }
}

async fn read_headers(
    stdout: &mut BufReader<ChildStdout>,
) -> Result<(StatusCode, Vec<(HeaderName, HeaderValue)>)> {
    let mut status = StatusCode::OK;
    let mut headers = Vec::new();
    let mut seen = 0;
    loop {
        let mut line = String::new();
        seen += stdout.read_line(&mut line).await.context("reading git http-backend's headers")?;
        if line.is_empty() || seen > MAX_HEADER_BYTES {
            bail!("git http-backend's headers have no end");
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').with_context(|| format!("not a header: {line}"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap_or_default();
            status = code.parse().with_context(|| format!("not a status: {value}"))?;
        } else {
            let name: HeaderName = name.parse().with_context(|| format!("not a header: {line}"))?;
            headers
                .push((name, HeaderValue::from_str(value).with_context(|| format!("not a header: {line}"))?));
        }
    }
}

/// What follows the headers; the program lives as long as its output is read.
fn rest(child: Child, stdout: BufReader<ChildStdout>) -> Body {
    streamed(stream::unfold((child, stdout), |(mut child, mut stdout)| async move {
        let mut chunk = vec![0; CHUNK];
        match stdout.read(&mut chunk).await {
            Ok(0) => {
                // Waited for, so that a complete answer means that the program has ended.
                let _ = child.wait().await;
                None
            }
            Ok(length) => {
                chunk.truncate(length);
                Some((Ok(Bytes::from(chunk)), (child, stdout)))
            }
            Err(error) => Some((Err(error), (child, stdout))),
        }
    }))
}

/// The folder of a repository that a server names `name`.
pub(crate) fn repository_folder(root: &Path, name: &str) -> PathBuf {
    root.join(format!("{name}.git"))
}
