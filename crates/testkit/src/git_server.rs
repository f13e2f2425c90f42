//! A Git server over smart HTTP: many bare repositories behind `git http-backend`, with authentication, and with gates
//! and faults for tests.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use tempfile::TempDir;

use crate::folder::{Storage, fresh};
use crate::git_cgi::{repository_folder, respond};
use crate::git_repository::{BareRepository, isolated_git, run};
use crate::github::App;
use crate::http_server::{Backend, Body, HttpServer, failure, plain};
use crate::port;
use crate::traffic::{Match, RequestHead, Traffic, lock};

/// What a client must present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitAuth {
    /// User and password.
    Basic(String, String),
    /// A token.
    Bearer(String),
}

/// How to start a Git server.
#[derive(Debug, Clone, Default)]
pub struct GitOptions {
    /// Required from everyone; without it, everyone may read and push.
    pub auth: Option<GitAuth>,
    /// Where the repositories lie.
    pub storage: Storage,
}

/// A running server and its repositories.
pub struct GitServer {
    address: SocketAddr,
    server: Option<HttpServer>,
    traffic: Traffic,
    backend: Arc<Cgi>,
    // Last, so that the files outlive the server.
    root: TempDir,
}

impl GitServer {
    /// Starts on a free port.
    ///
    /// # Errors
    /// When the port or the folder cannot be had.
    pub fn start(options: GitOptions) -> Result<Self> {
        let root = fresh(options.storage)?;
        let backend = Arc::new(Cgi {
            root: root.path().to_owned(),
            log: root.path().join("http-backend.log"),
            auth: Mutex::new(options.auth),
            app: Mutex::default(),
        });
        let mut git =
            Self { address: port::free()?, server: None, traffic: Traffic::default(), backend, root };
        git.up()?;
        Ok(git)
    }

    /// Makes a repository with one commit of these files on `main`.
    ///
    /// # Errors
    /// When git fails.
    pub async fn create_repository<P, B>(
        &self,
        name: &str,
        files: impl IntoIterator<Item = (P, B)>,
    ) -> Result<BareRepository>
    where
        P: AsRef<str>,
        B: AsRef<[u8]>,
    {
        BareRepository::create(&repository_folder(self.root.path(), name), files).await
    }

    /// The URL of a repository, without credentials.
    pub fn url(&self, name: &str) -> String {
        Self::url_at(self.address, name)
    }

    /// The same, reached at another address if a link stands before the server.
    pub fn url_at(address: SocketAddr, name: &str) -> String {
        format!("http://{address}/{name}.git")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests: what was asked, gates and faults.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Changes what clients must present, from the next request on.
    pub fn set_auth(&self, auth: Option<GitAuth>) {
        *lock(&self.backend.auth) = auth;
    }

    /// From the next request on, takes the tokens of a GitHub App and nothing else.
    pub fn admit_app(&self, app: Arc<App>) {
        *lock(&self.backend.app) = Some(app);
    }

    /// Stops listening: connections are refused until [`GitServer::up`].
    pub fn down(&mut self) {
        self.server = None;
    }

    /// Listens again on the same port.
    ///
    /// # Errors
    /// When something else took the port.
    pub fn up(&mut self) -> Result<()> {
        if self.server.is_none() {
            self.server =
                Some(HttpServer::start(self.address, self.traffic.clone(), Arc::clone(&self.backend))?);
        }
        Ok(())
    }

    /// A clone of a repository over HTTP by the git program, with a work tree.
    ///
    /// # Errors
    /// When git fails.
    pub async fn clone_repository(&self, name: &str) -> Result<Checkout> {
        self.clone_with(name, &[]).await
    }

    /// As [`Self::clone_repository`], without history.
    ///
    /// # Errors
    /// When git fails.
    pub async fn clone_shallow(&self, name: &str) -> Result<Checkout> {
        self.clone_with(name, &["--depth", "1"]).await
    }

    async fn clone_with(&self, name: &str, options: &[&str]) -> Result<Checkout> {
        let url = self.url(name);
        let auth = lock(&self.backend.auth).clone();
        let header = auth.map(|auth| format!("http.extraHeader=Authorization: {}", auth.header()));
        let mut arguments: Vec<&str> = header.iter().flat_map(|header| ["--config", header]).collect();
        arguments.extend_from_slice(options);
        Checkout::clone_from(&url, &arguments).await
    }

    /// A push itself: `POST …/git-receive-pack`.
    pub fn pushes() -> Match {
        Match::method(Method::POST).and(Match::path_ends_with("/git-receive-pack"))
    }

    /// What precedes a push: `GET …/info/refs?service=git-receive-pack`.
    pub fn push_advertisements() -> Match {
        Match::new("push advertisement", |head| {
            head.path.ends_with("/info/refs") && head.query.contains("service=git-receive-pack")
        })
    }

    /// Everything of a fetch: advertisement, ref listing, objects.
    pub fn fetches() -> Match {
        Match::new("fetch", |head| {
            head.path.ends_with("/git-upload-pack") || head.query.contains("service=git-upload-pack")
        })
    }
}

/// A clone with a work tree.
pub struct Checkout {
    folder: TempDir,
}

impl Checkout {
    /// A clone of any repository by the git program, with these options of `git clone`.
    ///
    /// # Errors
    /// When git fails.
    pub async fn clone_from(url: &str, options: &[&str]) -> Result<Self> {
        let folder = fresh(Storage::Memory)?;
        let arguments = [&["clone", "--quiet"], options, &[url, "."]].concat();
        run(folder.path(), &arguments, &[]).await?;
        Ok(Self { folder })
    }

    /// The work tree.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs git there.
    ///
    /// # Errors
    /// When git fails; the message has its output.
    pub async fn git(&self, arguments: &[&str]) -> Result<String> {
        let output = run(self.folder(), arguments, &[]).await?;
        Ok(String::from_utf8(output)
            .context("git printed something that is not UTF-8")?
            .trim_end()
            .to_owned())
    }

    /// A git command to run there, for callers that measure it.
    pub fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = isolated_git(self.folder());
        command.args(arguments);
        command
    }

    /// Writes a file, commits it, and pushes the branch that is checked out.
    ///
    /// # Errors
    /// When git fails, for instance because the push is refused.
    pub async fn commit_and_push(&self, path: &str, bytes: &[u8], message: &str) -> Result<()> {
        let file = self.folder().join(path);
        let parent = file.parent().context("a file lies in a folder")?;
        std::fs::create_dir_all(parent).context("making a folder in a checkout")?;
        std::fs::write(&file, bytes).context("writing a file in a checkout")?;
        self.git(&["add", "--", path]).await?;
        self.git(&["commit", "--quiet", "--message", message]).await?;
        self.git(&["push", "--quiet", "origin", "HEAD"]).await.map(drop)
    }
}

impl GitAuth {
    /// The value of the `Authorization` header.
    pub fn header(&self) -> String {
        match self {
            GitAuth::Basic(user, password) => {
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            }
            GitAuth::Bearer(token) => format!("Bearer {token}"),
        }
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static(match self {
            GitAuth::Basic(..) => "Basic realm=\"git\"",
            GitAuth::Bearer(_) => "Bearer realm=\"git\"",
        })
    }
}

/// `fleet` of `/acme/fleet.git/info/refs`.
fn repository_name(path: &str) -> &str {
    let (repository, _) = path.split_once(".git/").unwrap_or((path, ""));
    repository.rsplit('/').next().unwrap_or_default()
}

struct Cgi {
    root: PathBuf,
    log: PathBuf,
    auth: Mutex<Option<GitAuth>>,
    app: Mutex<Option<Arc<App>>>,
}

impl Backend for Cgi {
    async fn respond(&self, head: &RequestHead, body: Incoming) -> Response<Body> {
        let app = lock(&self.app).clone();
        if let Some(app) = app
            && !app.admits(&head.headers, repository_name(&head.path))
        {
            return plain(StatusCode::UNAUTHORIZED, "authentication required\n");
        }
        let auth = lock(&self.auth).clone();
        if let Some(auth) = &auth {
            let presented = head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
            if presented != Some(auth.header().as_bytes()) {
                let mut response = plain(StatusCode::UNAUTHORIZED, "authentication required\n");
                response.headers_mut().insert(WWW_AUTHENTICATE, auth.challenge());
                return response;
            }
        }
        let user = auth.map(|auth| match auth {
            GitAuth::Basic(user, _) => user,
            GitAuth::Bearer(_) => "token".to_owned(),
        });
        match respond(&self.root, &self.log, user.as_deref(), head, body).await {
            Ok(response) => response,
            Err(error) => failure(&format!("{error:#}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::git_repository::BRANCH;
    use crate::http_server::Canned;
    use crate::traffic::Point;

    const SOON: Duration = Duration::from_secs(30);

    async fn served(auth: Option<GitAuth>) -> (GitServer, BareRepository, Checkout) {
        let server = GitServer::start(GitOptions { auth, storage: Storage::Memory }).unwrap();
        let repository = server.create_repository("fleet", [("a.yaml", "a: 1\n")]).await.unwrap();
        let checkout = server.clone_repository("fleet").await.unwrap();
        (server, repository, checkout)
    }

    #[tokio::test]
    async fn the_git_program_clones_and_pushes() {
        let (server, repository, checkout) = served(None).await;
        // Larger than one pipe and one chunk, and git compresses requests of this size.
        let large: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
        checkout.commit_and_push("dir/large.bin", &large, "Large").await.unwrap();
        assert_eq!(repository.show(BRANCH, "dir/large.bin").await.unwrap(), large);
        assert_eq!(repository.log(BRANCH).await.unwrap()[0].message, "Large");
        assert_eq!(server.traffic().count(&GitServer::pushes()), 1);
        assert!(server.traffic().count(&GitServer::fetches()) >= 2);
        repository.fsck().await.unwrap();

        let again = server.clone_repository("fleet").await.unwrap();
        assert_eq!(std::fs::read(again.folder().join("dir/large.bin")).unwrap(), large);
    }

    #[tokio::test]
    async fn credentials_are_required_and_can_change() {
        for auth in
            [GitAuth::Basic("bot".to_owned(), "secret".to_owned()), GitAuth::Bearer("a-token".to_owned())]
        {
            let (server, _, checkout) = served(Some(auth)).await;
            checkout.commit_and_push("b.yaml", b"b: 1\n", "With credentials").await.unwrap();
            server.set_auth(Some(GitAuth::Bearer("another".to_owned())));
            let error = checkout.commit_and_push("c.yaml", b"c: 1\n", "With old ones").await.unwrap_err();
            assert!(error.to_string().contains("git push"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_unknown_repository_is_not_found() {
        let server = GitServer::start(GitOptions::default()).unwrap();
        let error = server.clone_repository("nowhere").await.err().expect("there is no such repository");
        assert!(error.to_string().contains("not found"), "{error}");
    }

    #[tokio::test]
    async fn a_push_that_is_held_before_the_server_has_not_landed() {
        let (server, repository, checkout) = served(None).await;
        let gate = server.traffic().hold(GitServer::pushes(), Point::Before);
        let push = checkout.commit_and_push("b.yaml", b"b: 1\n", "Held");
        let look = async {
            gate.arrived(SOON).await.unwrap();
            assert_eq!(repository.log(BRANCH).await.unwrap().len(), 1);
            gate.open();
        };
        let (pushed, ()) = tokio::join!(push, look);
        pushed.unwrap();
        assert_eq!(repository.log(BRANCH).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_push_whose_answer_is_lost_has_landed() {
        let (server, repository, checkout) = served(None).await;
        let gate = server.traffic().hold(GitServer::pushes(), Point::After);
        let push = checkout.commit_and_push("b.yaml", b"b: 1\n", "Answer lost");
        let look = async {
            gate.arrived(SOON).await.unwrap();
            assert_eq!(repository.log(BRANCH).await.unwrap()[0].message, "Answer lost");
            gate.disconnect();
        };
        let (pushed, ()) = tokio::join!(push, look);
        assert!(pushed.is_err(), "git has no report, and its second try finds the branch moved");
        let exchanges = server.traffic().exchanges();
        let push = exchanges.iter().find(|exchange| GitServer::pushes().matches(&exchange.head)).unwrap();
        assert_eq!(push.status, None);
    }

    #[tokio::test]
    async fn a_complete_push_is_recorded_when_it_has_landed() {
        let (server, repository, checkout) = served(None).await;
        // The server begins its answer before it runs the hook, which takes its time.
        repository.install_hook("pre-receive", "head -c 50000000 /dev/zero | sha256sum").unwrap();
        let _complete = server.traffic().complete(GitServer::pushes());
        let mark = server.traffic().mark();
        let look = async {
            server.traffic().next_after(mark, &GitServer::pushes(), SOON).await.unwrap();
            repository.log(BRANCH).await.unwrap().len()
        };
        let (pushed, commits) = tokio::join!(checkout.commit_and_push("b.yaml", b"b: 1\n", "Slow"), look);
        pushed.unwrap();
        assert_eq!(commits, 2);
    }

    #[tokio::test]
    async fn faults_answer_in_the_servers_place_until_lifted() {
        let (mut server, _, checkout) = served(None).await;
        let fault = server.traffic().answer(GitServer::push_advertisements(), Canned::status(503));
        assert!(checkout.commit_and_push("b.yaml", b"b: 1\n", "Unavailable").await.is_err());
        assert_eq!(fault.hits(), 1);
        fault.lift();
        server.down();
        assert!(checkout.git(&["push", "--quiet"]).await.is_err());
        server.up().unwrap();
        checkout.git(&["push", "--quiet"]).await.unwrap();
    }

    #[tokio::test]
    async fn hooks_decide() {
        let (_server, repository, checkout) = served(None).await;
        repository.install_hook("pre-receive", "echo not on a Friday >&2; exit 1").unwrap();
        let error = checkout.commit_and_push("b.yaml", b"b: 1\n", "Refused").await.unwrap_err();
        assert!(error.to_string().contains("not on a Friday"), "{error}");
        repository.remove_hook("pre-receive").unwrap();
        checkout.git(&["push", "--quiet"]).await.unwrap();
    }
}
