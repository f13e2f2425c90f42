//! Asking where branches point (gitprotocol-v2, "ls-refs"; older servers: the advertisement).

use std::collections::BTreeMap;

use bytes::Bytes;
use gix::ObjectId;

use crate::advertisement::{self, Advertisement};
use crate::capabilities::{Dialect, Learn, MAX_ADVERTISEMENT, UploadServer};
use crate::http::{RemoteError, Service};
use crate::pktline;
use crate::remote::Remote;

/// The prefix of every branch's ref.
pub(crate) const HEADS: &str = "refs/heads/";

/// Where each of the branches points, `None` for those that do not exist. One request when the server is known.
pub(crate) async fn ls_refs(
    remote: &Remote,
    branches: &[&str],
) -> Result<BTreeMap<String, Option<ObjectId>>, RemoteError> {
    let mut tips: BTreeMap<String, Option<ObjectId>> =
        branches.iter().map(|branch| ((*branch).to_owned(), None)).collect();
    if tips.is_empty() {
        return Ok(tips);
    }
    let mut learned = remote.upload_server(Learn::IfUnknown).await?;
    loop {
        match query(remote, &learned.server, &mut tips).await {
            Err(error) if learned.cached && error.disagrees() => {
                learned = remote.upload_server(Learn::Anew).await?;
            }
            result => return result.map(|()| tips),
        }
    }
}

async fn query(
    remote: &Remote,
    server: &UploadServer,
    tips: &mut BTreeMap<String, Option<ObjectId>>,
) -> Result<(), RemoteError> {
    // An attempt that failed half-way may have left something.
    for tip in tips.values_mut() {
        *tip = None;
    }
    let branches: Vec<String> = tips.keys().cloned().collect();
    let mut note = |id: ObjectId, name: &str| {
        if id.kind() != server.hash {
            return Err(RemoteError::Protocol("a ref's id does not have the repository's object format"));
        }
        if let Some(tip) = name.strip_prefix(HEADS).and_then(|branch| tips.get_mut(branch)) {
            *tip = Some(id);
        }
        Ok(())
    };
    let Dialect::V2 { request } = &server.dialect else { return query_v0(remote, note).await };
    let request = request_v2(request, &branches);
    let mut body = remote.post(&server.base, Service::UploadPack, true, request, MAX_ADVERTISEMENT).await?;
    while let Some(line) = body.line().await? {
        let line = pktline::trim(&line);
        // `unborn HEAD` is stated only when asked for, yet costs nothing to pass over.
        if line.starts_with(b"unborn ") {
            continue;
        }
        let (id, rest) = advertisement::parse_ref(line)?;
        // Attributes (`symref-target:`, `peeled:`) follow the name after a blank, which no ref name contains.
        note(id, rest.split(' ').next().unwrap_or_default())?;
    }
    body.end().await
}

async fn query_v0(
    remote: &Remote,
    mut note: impl FnMut(ObjectId, &str) -> Result<(), RemoteError>,
) -> Result<(), RemoteError> {
    let (_, mut body) = remote.advertise(Service::UploadPack, MAX_ADVERTISEMENT).await?;
    let Advertisement::V0 { first, .. } = advertisement::read(&mut body).await? else {
        return Err(RemoteError::Protocol("the server changed its protocol version"));
    };
    let Some((id, name)) = first else { return Ok(()) };
    note(id, &name)?;
    while let Some((id, name)) = advertisement::next_ref(&mut body).await? {
        note(id, &name)?;
    }
    body.end().await
}

fn request_v2(capabilities: &str, branches: &[String]) -> Bytes {
    let mut body = pktline::command("ls-refs", capabilities);
    for branch in branches {
        pktline::write(&mut body, format!("ref-prefix {HEADS}{branch}\n").as_bytes());
    }
    body.extend_from_slice(pktline::FLUSH);
    body.into()
}
