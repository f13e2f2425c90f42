//! What was learned of a Git server: where the repository is, its hash, and the features that this crate uses.
//!
//! It is learned by one GET per service and kept, so that later operations start with their POST. Whoever finds that
//! the server disagrees learns anew.

use std::sync::{Arc, PoisonError};

use gix::hash::Kind;
use url::Url;

use crate::advertisement::{self, Advertisement};
use crate::remote::Remote;
use crate::transport::{RemoteError, Service};

/// How this program introduces itself (gitprotocol-capabilities, "agent").
const AGENT: &str = concat!("agent=windlass/", env!("CARGO_PKG_VERSION"));
/// Largest advertisement that is read: about 600,000 refs of an old server; protocol v2 needs a few hundred bytes.
pub(crate) const MAX_ADVERTISEMENT: u64 = 64 << 20;

/// What is kept between operations.
#[derive(Debug, Default)]
pub(crate) struct Known {
    upload: Option<Arc<UploadServer>>,
    receive: Option<Arc<ReceiveServer>>,
}

/// Whether an earlier answer will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learn {
    IfUnknown,
    Anew,
}

/// A server's features, and whether they come from an earlier answer.
#[derive(Debug)]
pub(crate) struct Learned<T> {
    pub(crate) server: Arc<T>,
    pub(crate) cached: bool,
}

/// The reading side.
#[derive(Debug)]
pub(crate) struct UploadServer {
    pub(crate) base: Url,
    pub(crate) hash: Kind,
    pub(crate) dialect: Dialect,
    /// `deepen` and `shallow` are understood.
    pub(crate) shallow: bool,
    /// Object filters are understood.
    pub(crate) filter: bool,
    /// Contents of files can be asked for by their ids, so that a mirror may leave them out at first.
    pub(crate) gives_blobs: bool,
}

/// The protocol version that the server chose.
#[derive(Debug)]
pub(crate) enum Dialect {
    /// The words go with every command; a server refuses those that it does not offer.
    V2 { request: String },
    /// Also version 1. Refs come with every advertisement. The words are those of our capabilities that it offers.
    V0 { request: String, side_band: bool },
}

/// The writing side.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "what a server can do, each independent of the others")]
pub(crate) struct ReceiveServer {
    pub(crate) base: Url,
    pub(crate) hash: Kind,
    /// The capabilities to name in a push: ours that the server offers.
    pub(crate) request: String,
    pub(crate) side_band: bool,
    /// The server cannot complete thin packs.
    pub(crate) no_thin: bool,
    /// All updates of a push happen, or none.
    pub(crate) atomic: bool,
    /// The server passes push options to its hooks.
    pub(crate) push_options: bool,
}

impl Remote {
    pub(crate) async fn upload_server(&self, learn: Learn) -> Result<Learned<UploadServer>, RemoteError> {
        if learn == Learn::IfUnknown
            && let Some(server) = self.known(|known| known.upload.clone())
        {
            return Ok(Learned { server, cached: true });
        }
        self.known(|known| known.upload = None);
        let (base, mut body) = self.advertise(Service::UploadPack, MAX_ADVERTISEMENT).await?;
        let server = match advertisement::read(&mut body).await? {
            Advertisement::V2(offered) => UploadServer {
                base,
                hash: offered.hash()?,
                dialect: Dialect::V2 { request: choose(&offered, &[]) },
                shallow: offered.offers("fetch", "shallow"),
                filter: offered.offers("fetch", "filter"),
                // Version 2 has no rule against it (gitprotocol-v2, "fetch": any object may be wanted).
                gives_blobs: offered.offers("fetch", "filter"),
            },
            Advertisement::V0 { capabilities: offered, first } => {
                // So that the server is not left in the middle of it.
                if first.is_some() {
                    while advertisement::next_ref(&mut body).await?.is_some() {}
                }
                body.end().await?;
                // Azure DevOps refuses clients without `multi_ack`.
                let ours = ["side-band-64k", "ofs-delta", "no-progress", "multi_ack_detailed", "filter"];
                UploadServer {
                    base,
                    hash: offered.hash()?,
                    dialect: Dialect::V0 {
                        request: choose(&offered, &ours),
                        side_band: offered.has("side-band-64k"),
                    },
                    shallow: offered.has("shallow"),
                    filter: offered.has("filter"),
                    // Both words together are how `uploadpack.allowAnySHA1InWant` shows. Each alone, and both where
                    // they were set one by one, are for commits; then the mirror is whole after the first refusal.
                    gives_blobs: ["filter", "allow-tip-sha1-in-want", "allow-reachable-sha1-in-want"]
                        .iter()
                        .all(|word| offered.has(word)),
                }
            }
        };
        let server = Arc::new(server);
        self.known(|known| known.upload = Some(Arc::clone(&server)));
        Ok(Learned { server, cached: false })
    }

    pub(crate) async fn receive_server(&self, learn: Learn) -> Result<Learned<ReceiveServer>, RemoteError> {
        if learn == Learn::IfUnknown
            && let Some(server) = self.known(|known| known.receive.clone())
        {
            return Ok(Learned { server, cached: true });
        }
        self.known(|known| known.receive = None);
        let (base, mut body) = self.advertise(Service::ReceivePack, MAX_ADVERTISEMENT).await?;
        let Advertisement::V0 { capabilities: offered, .. } = advertisement::read(&mut body).await? else {
            return Err(RemoteError::Protocol("protocol version 2 cannot be pushed to"));
        };
        while advertisement::next_ref(&mut body).await?.is_some() {}
        body.keep().await?;
        let report = if offered.has("report-status-v2") { "report-status-v2" } else { "report-status" };
        let server = Arc::new(ReceiveServer {
            base,
            hash: offered.hash()?,
            request: choose(&offered, &[report, "side-band-64k", "atomic"]),
            side_band: offered.has("side-band-64k"),
            no_thin: offered.has("no-thin"),
            atomic: offered.has("atomic"),
            push_options: offered.has("push-options"),
        });
        self.known(|known| known.receive = Some(Arc::clone(&server)));
        Ok(Learned { server, cached: false })
    }

    fn known<T>(&self, with: impl FnOnce(&mut Known) -> T) -> T {
        with(&mut self.0.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The capabilities to request, blank-separated: ours that are offered, the object format and the agent where the
/// server states its own.
fn choose(offered: &advertisement::Capabilities, ours: &[&str]) -> String {
    let mut request: Vec<&str> = ours.iter().copied().filter(|name| offered.has(name)).collect();
    for format in ["sha1", "sha256"] {
        if offered.offers("object-format", format) {
            request.push(if format == "sha1" { "object-format=sha1" } else { "object-format=sha256" });
        }
    }
    if offered.has("agent") {
        request.push(AGENT);
    }
    request.join(" ")
}
