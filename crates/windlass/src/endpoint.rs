//! How the command line finds a running instance: a file in the data directory, readable by its own user alone.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

const FILE: &str = "endpoint.json";
/// 256 bits: not to be guessed.
const TOKEN_BYTES: usize = 32;

/// Where a running instance listens, and the token of its local API.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// The webhooks' base URL.
    pub(crate) listen: String,
    /// The base URL of health, metrics and the local API.
    pub(crate) admin: String,
    /// The process.
    pub(crate) pid: u32,
    /// What the local API asks for.
    pub(crate) token: String,
}

impl Endpoint {
    pub(crate) fn new(listen: SocketAddr, admin: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self { listen: url(listen), admin: url(admin), pid: std::process::id(), token: random_token()? })
    }

    /// Replaces the file in one step, so that a reader never sees half of it.
    pub(crate) fn write(&self, data: &Path) -> anyhow::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(data).context("the data directory is not writable")?;
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600))?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.flush()?;
        file.persist(data.join(FILE)).with_context(|| format!("{FILE} could not be written"))?;
        Ok(())
    }

    pub(crate) fn read(data: &Path) -> anyhow::Result<Self> {
        let path = data.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| {
            format!("no instance has run on {}: {} is not readable", data.display(), path.display())
        })?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged; a restart writes it anew", path.display()))
    }

    pub(crate) fn remove(data: &Path) {
        if let Err(error) = fs::remove_file(data.join(FILE)) {
            tracing::debug!(%error, "{FILE} was already gone");
        }
    }
}

/// An address that a client on this machine can reach: an unspecified one means loopback.
fn url(address: SocketAddr) -> String {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    format!("http://{address}")
}

pub(crate) fn random_token() -> anyhow::Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    let mut source = fs::File::open("/dev/urandom").context("no source of randomness")?;
    source.read_exact(&mut bytes).context("no source of randomness")?;
    Ok(hex::encode(bytes))
}
