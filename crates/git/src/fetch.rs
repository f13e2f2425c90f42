//! Asking for a pack (gitprotocol-v2, "fetch"; gitprotocol-pack for older servers). It negotiates in one round and
//! hands out the pack's bytes; what becomes of them is the mirror's business.

use bytes::Bytes;
use gix::ObjectId;

use crate::capabilities::{Dialect, Learn, UploadServer};
use crate::remote::Remote;
use crate::sideband::Words;
use crate::transport::{Body, RemoteError, Service};
use crate::{id, pktline};

/// Most commits that are offered as known: the tips of the branches that the mirror tracks.
const MAX_HAVES: usize = 64;

/// What the server leaves out, where it can (rev-list, "--filter").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    Nothing,
    /// Contents of files, except those that are wanted by their id.
    Blobs,
    /// Folders too: commits alone.
    Trees,
}

/// What is wanted, and what is there already.
#[derive(Debug)]
pub(crate) struct Negotiation {
    pub(crate) wants: Vec<ObjectId>,
    /// Commits whose trees are complete here.
    pub(crate) haves: Vec<ObjectId>,
    /// Commits here whose parents are not.
    pub(crate) shallow: Vec<ObjectId>,
    /// How many commits of history; 0 where no commit is wanted.
    pub(crate) depth: u32,
    /// Deltas may refer to objects of the `haves`.
    pub(crate) thin: bool,
    pub(crate) filter: Filter,
}

impl Negotiation {
    /// Whether deltas may refer to what is here. A server that does not filter may take a file's content as known that
    /// was filtered before.
    fn thin_for(&self, server: &UploadServer) -> bool {
        self.thin && (self.filter == Filter::Nothing || server.filter)
    }

    /// The lines that say what to leave out.
    fn cuts(&self, server: &UploadServer) -> Vec<String> {
        let mut lines = Vec::new();
        if server.shallow && self.depth > 0 {
            lines.extend(self.shallow.iter().map(|id| format!("shallow {id}\n")));
            lines.push(format!("deepen {}\n", self.depth));
        }
        if server.filter {
            match self.filter {
                Filter::Nothing => {}
                Filter::Blobs => lines.push("filter blob:none\n".to_owned()),
                Filter::Trees => lines.push("filter tree:0\n".to_owned()),
            }
        }
        lines
    }
}

/// Where history is cut after this fetch.
#[derive(Debug, Default)]
pub(crate) struct Boundary {
    pub(crate) shallow: Vec<ObjectId>,
    pub(crate) unshallow: Vec<ObjectId>,
}

/// A pack on its way.
#[derive(Debug)]
pub(crate) struct PackStream {
    body: Body,
    pub(crate) boundary: Boundary,
}

impl PackStream {
    /// Sends the request and reads up to the pack's first byte.
    pub(crate) async fn open(
        remote: &Remote,
        negotiation: &Negotiation,
        limit: u64,
    ) -> Result<Self, RemoteError> {
        let mut learned = remote.upload_server(Learn::IfUnknown).await?;
        loop {
            match start(remote, &learned.server, negotiation, limit).await {
                Err(error) if learned.cached && error.disagrees() => {
                    learned = remote.upload_server(Learn::Anew).await?;
                }
                result => return result,
            }
        }
    }

    /// The pack's next bytes; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, RemoteError> {
        let piece = self.body.data(&mut Words::default()).await?;
        if piece.is_none() {
            self.body.end().await?;
        }
        Ok(piece)
    }
}

async fn start(
    remote: &Remote,
    server: &UploadServer,
    negotiation: &Negotiation,
    limit: u64,
) -> Result<PackStream, RemoteError> {
    if negotiation.wants.iter().any(|want| want.kind() != server.hash) {
        return Err(RemoteError::Protocol("the wanted id does not have the repository's object format"));
    }
    let (request, version2) = match &server.dialect {
        Dialect::V2 { request } => (request_v2(server, request, negotiation), true),
        Dialect::V0 { side_band: false, .. } => {
            return Err(RemoteError::Protocol(
                "the server offers neither protocol version 2 nor side-band-64k",
            ));
        }
        Dialect::V0 { request, .. } => (request_v0(server, request, negotiation), false),
    };
    let mut body = remote.post(&server.base, Service::UploadPack, version2, request, limit).await?;
    let boundary = if version2 {
        read_sections(&mut body).await?
    } else if server.shallow && negotiation.depth > 0 {
        read_boundary(&mut body).await?
    } else {
        Boundary::default()
    };
    if !version2 {
        read_acknowledgements(&mut body).await?;
    }
    Ok(PackStream { body, boundary })
}

fn request_v2(server: &UploadServer, capabilities: &str, negotiation: &Negotiation) -> Bytes {
    let mut body = pktline::command("fetch", capabilities);
    let mut line = |text: &str| pktline::write(&mut body, text.as_bytes());
    line("no-progress\n");
    line("ofs-delta\n");
    if negotiation.thin_for(server) {
        line("thin-pack\n");
    }
    negotiation.cuts(server).iter().for_each(|text| line(text));
    negotiation.wants.iter().for_each(|id| line(&format!("want {id}\n")));
    negotiation.haves.iter().take(MAX_HAVES).for_each(|id| line(&format!("have {id}\n")));
    line("done\n");
    body.extend_from_slice(pktline::FLUSH);
    body.into()
}

fn request_v0(server: &UploadServer, capabilities: &str, negotiation: &Negotiation) -> Bytes {
    let mut body = Vec::new();
    let mut line = |text: &str| pktline::write(&mut body, text.as_bytes());
    let mut words = format!(" {capabilities}");
    if negotiation.thin_for(server) {
        words.push_str(" thin-pack");
    }
    for id in &negotiation.wants {
        // The capabilities go with the first.
        line(&format!("want {id}{}\n", std::mem::take(&mut words)));
    }
    negotiation.cuts(server).iter().for_each(|text| line(text));
    body.extend_from_slice(pktline::FLUSH);
    let mut line = |text: &str| pktline::write(&mut body, text.as_bytes());
    negotiation.haves.iter().take(MAX_HAVES).for_each(|id| line(&format!("have {id}\n")));
    line("done\n");
    body.into()
}

/// Version 2: sections, each with a header, until the one that holds the pack.
async fn read_sections(body: &mut Body) -> Result<Boundary, RemoteError> {
    let mut boundary = Boundary::default();
    while let Some(header) = body.line().await? {
        match pktline::trim(&header) {
            b"packfile" => return Ok(boundary),
            b"shallow-info" => boundary = read_boundary(body).await?,
            _ => while body.line().await?.is_some() {},
        }
    }
    Err(RemoteError::Protocol("the server's answer to a fetch holds no pack"))
}

/// `shallow` and `unshallow` lines up to the end of their section.
async fn read_boundary(body: &mut Body) -> Result<Boundary, RemoteError> {
    let mut boundary = Boundary::default();
    while let Some(line) = body.line().await? {
        let line = pktline::trim(&line);
        let (list, digits) = if let Some(digits) = line.strip_prefix(b"shallow ") {
            (&mut boundary.shallow, digits)
        } else if let Some(digits) = line.strip_prefix(b"unshallow ") {
            (&mut boundary.unshallow, digits)
        } else {
            return Err(RemoteError::Protocol("a line that is neither shallow nor unshallow"));
        };
        list.push(id::parse(digits).ok_or(RemoteError::Protocol("a shallow line without an object id"))?);
    }
    Ok(boundary)
}

/// Version 0: `ACK` lines for what is common, then one `ACK` or `NAK` that ends them. With `multi_ack_detailed` the
/// intermediate ones end in `common` or `ready`; the last one has no suffix.
async fn read_acknowledgements(body: &mut Body) -> Result<(), RemoteError> {
    loop {
        let Some(line) = body.line().await? else {
            return Err(RemoteError::Protocol("the negotiation ends without ACK or NAK"));
        };
        let line = pktline::trim(&line);
        let mut words = line.split(|b| *b == b' ');
        match (words.next(), words.next(), words.next()) {
            (Some(b"NAK"), None, None) | (Some(b"ACK"), Some(_), None) => return Ok(()),
            (Some(b"ACK"), Some(_), Some(_)) => {}
            _ => {
                return Err(RemoteError::Protocol(
                    "the negotiation holds a line that is neither ACK nor NAK",
                ));
            }
        }
    }
}
