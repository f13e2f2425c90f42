//! Gitea as a child process: a real forge, with its own hooks, rules and messages. Its built-in SSH server runs on
//! request.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::folder::{Storage, fresh};
use crate::http_server::client;
use crate::process::Process;
use crate::{eventually, locate, port};

/// The user that owns every repository.
pub const USER: &str = "tester";
/// The user's password.
pub const PASSWORD: &str = "a-password-for-tests";
/// It starts in about a second; a machine that also compiles takes longer.
const START: Duration = Duration::from_mins(1);

/// How to start Gitea.
#[derive(Debug, Clone, Copy, Default)]
pub struct GiteaOptions {
    /// Whether its SSH server listens; making its host keys takes a moment.
    pub ssh: bool,
}

/// A running Gitea with one user.
pub struct Gitea {
    address: SocketAddr,
    ssh: Option<SocketAddr>,
    _process: Process,
    // Last, so that the files outlive the process.
    folder: TempDir,
}

impl Gitea {
    /// Starts it on a free port with a fresh database, and makes [`USER`].
    ///
    /// # Errors
    /// When there is no program, or it does not answer.
    pub async fn start(options: GiteaOptions) -> Result<Self> {
        let (program, folder) = (locate::gitea()?, fresh(Storage::Memory)?);
        let address = port::free()?;
        let ssh = if options.ssh { Some(port::free()?) } else { None };
        let assets = program.parent().context("Gitea lies in a folder")?;
        let settings = folder.path().join("app.ini");
        std::fs::write(&settings, configuration(folder.path(), assets, address, ssh)?)?;
        let mut web = gitea(&program, folder.path());
        web.args(["web", "--config"]).arg(&settings);
        let mut process = Process::spawn("gitea", &mut web, &folder.path().join("gitea.log"))?;
        let client = client()?;
        eventually(START, "Gitea to answer", async || {
            process.expect_running()?;
            let answer = client.get(format!("http://{address}/api/v1/version")).send().await?;
            Ok(answer.status().is_success().then_some(()))
        })
        .await?;
        let mut user = gitea(&program, folder.path());
        user.args(["admin", "user", "create", "--admin", "--must-change-password=false", "--username", USER]);
        user.args(["--password", PASSWORD, "--email", "tester@example.org", "--config"]).arg(&settings);
        let made = user.stdin(Stdio::null()).output().context("making a user of Gitea")?;
        ensure!(made.status.success(), "making a user: {}", String::from_utf8_lossy(&made.stderr));
        Ok(Self { address, ssh, _process: process, folder })
    }

    /// A repository's URL over HTTP, without credentials.
    pub fn url(&self, repository: &str) -> String {
        format!("http://{}/{USER}/{repository}.git", self.address)
    }

    /// A repository's URL over SSH, where [`GiteaOptions::ssh`] is set.
    pub fn ssh_url(&self, repository: &str) -> Option<String> {
        self.ssh.map(|address| format!("ssh://git@{address}/{USER}/{repository}.git"))
    }

    /// The SSH server's host keys, as `known_hosts` has them, where [`GiteaOptions::ssh`] is set.
    ///
    /// # Errors
    /// When it has no SSH server, or `ssh-keyscan` is missing or finds none.
    pub fn ssh_known_hosts(&self) -> Result<String> {
        let address = self.ssh.context("Gitea was started without its SSH server")?;
        let mut scan = Command::new("ssh-keyscan");
        scan.args(["-p", &address.port().to_string(), &address.ip().to_string()]);
        let output = scan.output().context("running ssh-keyscan (of the package openssh-client)")?;
        let keys = String::from_utf8(output.stdout).context("host keys are text")?;
        ensure!(!keys.trim().is_empty(), "ssh-keyscan finds no host key of Gitea");
        Ok(keys)
    }

    /// Where the bare repository lies.
    pub fn folder(&self, repository: &str) -> PathBuf {
        self.folder.path().join(format!("repositories/{USER}/{repository}.git"))
    }

    /// Makes a repository with one commit on `main`.
    ///
    /// # Errors
    /// When Gitea refuses.
    pub async fn create_repository(&self, name: &str) -> Result<()> {
        let wanted = json!({ "name": name, "auto_init": true, "default_branch": "main" });
        self.api(Method::POST, "user/repos", &wanted).await.map(drop)
    }

    /// Nobody may push to this branch.
    ///
    /// # Errors
    /// When Gitea refuses.
    pub async fn protect(&self, repository: &str, branch: &str) -> Result<()> {
        let path = format!("repos/{USER}/{repository}/branch_protections");
        let rule = json!({ "rule_name": branch, "enable_push": false });
        self.api(Method::POST, &path, &rule).await.map(drop)
    }

    /// Commits a file to `main` on the forge, as its editor does, and gives the commit's id.
    ///
    /// # Errors
    /// When Gitea refuses.
    pub async fn commit(&self, repository: &str, path: &str, base64: &str) -> Result<String> {
        let path = format!("repos/{USER}/{repository}/contents/{path}");
        let file = json!({ "content": base64, "message": "by somebody else", "branch": "main" });
        let answer = self.api(Method::POST, &path, &file).await?;
        answer["commit"]["sha"].as_str().map(str::to_owned).context("the answer names the commit")
    }

    /// Admits a public key (OpenSSH's form) to a repository, for reading and writing.
    ///
    /// # Errors
    /// When Gitea refuses.
    pub async fn add_deploy_key(&self, repository: &str, public_key: &str) -> Result<()> {
        let key = json!({ "title": "deploy", "key": public_key, "read_only": false });
        self.api(Method::POST, &format!("repos/{USER}/{repository}/keys"), &key).await.map(drop)
    }

    /// A request to the API as [`USER`]; the answer's JSON.
    ///
    /// # Errors
    /// When the status is not 2xx.
    pub async fn api(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let request = client()?.request(method, url).basic_auth(USER, Some(PASSWORD)).json(body);
        let answer = request.send().await.with_context(|| format!("asking Gitea for {path}"))?;
        let status = answer.status();
        let text = answer.text().await.context("reading Gitea's answer")?;
        ensure!(status.is_success(), "Gitea answered {status} to {path}: {text}");
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

/// The program, apart from the machine's configuration.
fn gitea(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", locate::search_path()).env("HOME", home).current_dir(home);
    command
}

fn configuration(
    folder: &Path,
    assets: &Path,
    address: SocketAddr,
    ssh: Option<SocketAddr>,
) -> Result<String> {
    let who = Command::new("id").arg("-un").output().context("asking who runs this")?;
    let user = String::from_utf8(who.stdout).context("a user's name is text")?;
    let user = user.trim();
    let (ip, port, work) = (address.ip(), address.port(), folder.display());
    let mut text = format!(
        "APP_NAME = tests\nRUN_USER = {user}\nRUN_MODE = prod\nWORK_PATH = {work}\n\
         I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = {}\n\
         [database]\nDB_TYPE = sqlite3\nPATH = {work}/gitea.db\n\
         [repository]\nROOT = {work}/repositories\n\
         [security]\nINSTALL_LOCK = true\nSECRET_KEY = for-tests\nINTERNAL_TOKEN = for-tests\n\
         [log]\nMODE = console\nLEVEL = warn\n[cron]\nENABLED = false\n[actions]\nENABLED = false\n\
         [oauth2]\nENABLED = false\n[indexer]\nISSUE_INDEXER_TYPE = db\n[queue]\nTYPE = channel\n\
         [server]\nHTTP_ADDR = {ip}\nHTTP_PORT = {port}\nROOT_URL = http://{address}/\nOFFLINE_MODE = true\n\
         STATIC_ROOT_PATH = {}\nLFS_START_SERVER = false\n",
        user == "root",
        assets.display(),
    );
    match ssh {
        None => text.push_str("DISABLE_SSH = true\n"),
        Some(address) => writeln!(
            text,
            "START_SSH_SERVER = true\nBUILTIN_SSH_SERVER_USER = git\nSSH_LISTEN_HOST = {ip}\nSSH_LISTEN_PORT = {port}\n\
             SSH_DOMAIN = {ip}\nSSH_PORT = {port}",
            ip = address.ip(),
            port = address.port()
        )?,
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn its_ssh_server_listens_on_request_and_admits_deploy_keys() {
        let gitea = Gitea::start(GiteaOptions { ssh: true }).await.unwrap();
        gitea.create_repository("fleet").await.unwrap();
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl bot";
        gitea.add_deploy_key("fleet", key).await.unwrap();
        let url = gitea.ssh_url("fleet").unwrap();
        let address = url.strip_prefix("ssh://git@").unwrap().split('/').next().unwrap();
        let mut banner = [0; 8];
        TcpStream::connect(address).unwrap().read_exact(&mut banner).unwrap();
        assert_eq!(&banner, b"SSH-2.0-");
        assert!(gitea.folder("fleet").join("HEAD").is_file());
    }
}
