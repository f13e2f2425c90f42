//! A real OpenSSH server for Git over SSH: runs as whoever runs the tests, with its own host keys and its own list of
//! accepted keys. What a command means to Git is decided by Git.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::folder::{Storage, fresh};
use crate::process::Process;
use crate::{eventually, locate, port};

const PATIENCE: Duration = Duration::from_secs(30);
/// Keeps the machine's Git settings out of what the server runs; a home of its own does it with the shell's.
const ISOLATION: &str = "GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null LC_ALL=C";

/// How to start a server.
#[derive(Debug, Clone)]
pub struct SshOptions {
    /// The types of its host keys, as `ssh-keygen -t` names them.
    pub host_keys: Vec<&'static str>,
    /// Whether clients may ask for Git's protocol version 2, which many servers do not let them.
    pub accepts_protocol: bool,
}

impl Default for SshOptions {
    fn default() -> Self {
        Self { host_keys: vec!["ed25519"], accepts_protocol: true }
    }
}

/// A key pair, as text.
#[derive(Clone)]
pub struct KeyPair {
    /// The private key.
    pub identity: String,
    /// One line for `authorized_keys`.
    pub public: String,
}

impl KeyPair {
    /// Has `ssh-keygen` make one. `arguments` are its options, such as `-t ecdsa -b 384 -m PEM`.
    ///
    /// # Errors
    /// When ssh-keygen is missing or refuses.
    pub fn generate(arguments: &[&str], passphrase: &str) -> Result<Self> {
        let folder = fresh(Storage::Memory)?;
        let file = folder.path().join("key");
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-C", "windlass", "-N", passphrase]).args(arguments).arg("-f").arg(&file);
        let output = command.output().context("running ssh-keygen (of the package openssh-client)")?;
        ensure!(output.status.success(), "ssh-keygen: {}", String::from_utf8_lossy(&output.stderr));
        let read = |file: &Path| fs::read_to_string(file).context("reading a key");
        Ok(Self { identity: read(&file)?, public: read(&file.with_extension("pub"))? })
    }
}

/// A running server. It ends with the value.
pub struct SshServer {
    address: SocketAddr,
    user: String,
    key: KeyPair,
    host_keys: Vec<KeyPair>,
    process: Process,
    // Last, so that the files outlive the server.
    folder: TempDir,
}

impl SshServer {
    /// Starts one on a free port, and waits until it listens.
    ///
    /// # Errors
    /// When OpenSSH is missing or does not start.
    pub async fn start(options: &SshOptions) -> Result<Self> {
        let folder = fresh(Storage::Memory)?;
        let address = port::free()?;
        let key = KeyPair::generate(&["-t", "ed25519"], "")?;
        let make = |kind: &&str| KeyPair::generate(&["-t", *kind], "");
        let host_keys = options.host_keys.iter().map(make).collect::<Result<Vec<_>>>()?;
        let sshd = locate::sshd()?;
        let config = configuration(folder.path(), address, options, &host_keys, &sshd)?;
        fs::write(folder.path().join("authorized_keys"), &key.public).context("writing a list of keys")?;
        let mut command = command(&sshd, folder.path(), &config)?;
        let process = Process::spawn("sshd", &mut command, &folder.path().join("log"))?;
        let user = printed("id", &["-un"])?;
        let mut server = Self { address, user, key, host_keys, process, folder };
        eventually(PATIENCE, "sshd to listen", async || {
            server.process.expect_running()?;
            Ok(TcpStream::connect(address).ok().map(drop))
        })
        .await?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The only user who can log in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The URL of a repository, reached at another address if a link stands before the server.
    pub fn url_at(&self, address: SocketAddr, repository: &Path) -> String {
        format!("ssh://{}@{address}{}", self.user, repository.display())
    }

    /// The URL of a repository.
    pub fn url(&self, repository: &Path) -> String {
        self.url_at(self.address, repository)
    }

    /// A private key that is accepted.
    pub fn identity(&self) -> &str {
        &self.key.identity
    }

    /// Writes `identity` and `known_hosts` into a folder, as `ssh` wants them.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_client_files(&self, folder: &Path) -> Result<()> {
        write_private(&folder.join("identity"), self.identity())?;
        write_private(&folder.join("known_hosts"), &self.known_hosts())
    }

    /// The server's host keys, in the order of the options.
    pub fn host_keys(&self) -> &[KeyPair] {
        &self.host_keys
    }

    /// What a client that knows every host key has, for the server at this address.
    pub fn known_hosts_at(&self, address: SocketAddr) -> String {
        self.host_keys.iter().fold(String::new(), |mut text, key| {
            write!(text, "[{}]:{} {}", address.ip(), address.port(), key.public)
                .expect("writing to a String");
            text
        })
    }

    /// What a client that knows every host key has.
    pub fn known_hosts(&self) -> String {
        self.known_hosts_at(self.address)
    }

    /// Accepts exactly this key from now on.
    ///
    /// # Errors
    /// When the list cannot be written.
    pub fn accept_only(&self, key: &KeyPair) -> Result<()> {
        fs::write(self.folder.path().join("authorized_keys"), &key.public).context("writing a list of keys")
    }

    /// What the server logged so far.
    pub fn log_text(&self) -> String {
        self.process.log_text()
    }
}

fn configuration(
    folder: &Path,
    address: SocketAddr,
    options: &SshOptions,
    host_keys: &[KeyPair],
    sshd: &Path,
) -> Result<PathBuf> {
    let mut text = format!(
        "ListenAddress {}\nPort {}\nPidFile none\nStrictModes no\nUsePAM no\nUseDNS no\nLogLevel VERBOSE\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
         AuthorizedKeysFile {}\nSetEnv {ISOLATION} HOME={} \"PATH={}\"\n",
        address.ip(),
        address.port(),
        folder.join("authorized_keys").display(),
        folder.display(),
        locate::search_path().display(),
    );
    if options.accepts_protocol {
        text.push_str("AcceptEnv GIT_PROTOCOL\n");
    }
    for (number, key) in host_keys.iter().enumerate() {
        let file = folder.join(format!("host_key_{number}"));
        write_private(&file, &key.identity)?;
        writeln!(text, "HostKey {}", file.display()).expect("writing to a String");
    }
    // From 9.8 on the server starts helpers, whose place is compiled in.
    for (name, setting) in [("sshd-session", "SshdSessionPath"), ("sshd-auth", "SshdAuthPath")] {
        let helper = root_of(sshd).join("usr/lib/openssh").join(name);
        if helper.is_file() {
            writeln!(text, "{setting} {}", helper.display()).expect("writing to a String");
        }
    }
    let file = folder.join("sshd_config");
    fs::write(&file, text).context("writing sshd's configuration")?;
    Ok(file)
}

fn command(sshd: &Path, folder: &Path, config: &Path) -> Result<Command> {
    let is_root = printed("id", &["-u"])? == "0";
    let is_installed = Path::new("/run/sshd").is_dir() && printed("getent", &["passwd", "sshd"]).is_ok();
    let mut command = if is_root && !is_installed {
        in_a_namespace(folder)?
    } else {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\"", "sh"]);
        command
    };
    // It runs itself again and wants to be called by its whole path.
    command.arg(sshd).args(["-D", "-e", "-f"]).arg(config);
    if let Some(libraries) = libraries(sshd) {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    Ok(command)
}

/// Root's server wants a user and a folder of its own, which a package would make. Here it sees them, and nobody else.
fn in_a_namespace(folder: &Path) -> Result<Command> {
    let mut users = fs::read_to_string("/etc/passwd").context("reading the list of users")?;
    users.push_str("sshd:x:74:65534::/run/sshd:/usr/sbin/nologin\n");
    let file = folder.join("passwd");
    fs::write(&file, users).context("writing a list of users")?;
    let script = "mount --bind \"$1\" /etc/passwd && mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && shift \
                  && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(file);
    Ok(command)
}

/// Libraries that were unpacked together with the server.
fn libraries(sshd: &Path) -> Option<PathBuf> {
    let root = root_of(sshd);
    if root == Path::new("/") {
        return None;
    }
    let folders = fs::read_dir(root.join("usr/lib")).ok()?;
    folders.filter_map(|entry| Some(entry.ok()?.path())).find(|path| path.join("libwrap.so.0").exists())
}

/// Where `usr/sbin/sshd` lies.
fn root_of(sshd: &Path) -> &Path {
    sshd.ancestors().nth(3).unwrap_or(Path::new("/"))
}

fn write_private(file: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(file, text).context("writing a key")?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).context("protecting a key")
}

fn printed(program: &str, arguments: &[&str]) -> Result<String> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("running {program}"))?;
    ensure!(output.status.success(), "{program} {arguments:?} failed");
    Ok(String::from_utf8(output.stdout).context("a program printed no text")?.trim().to_owned())
}
