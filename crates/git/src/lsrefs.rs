//! Asking where refs point (gitprotocol-v2, "ls-refs"; older servers: the advertisement).

use std::collections::BTreeMap;

use bytes::Bytes;
use gix::ObjectId;

use crate::advertisement::{self, Advertisement};
use crate::capabilities::{Dialect, Learn, MAX_ADVERTISEMENT, UploadServer};
use crate::pktline;
use crate::remote::Remote;
use crate::transport::{RemoteError, Service};

/// The prefix of every branch's ref.
pub(crate) const HEADS: &str = "refs/heads/";
/// What follows the name of an annotated tag in an advertisement, where the line names what it points to.
const PEELED: &str = "^{}";

/// Where refs point, annotated tags peeled to what they mark. A name that ends in a slash stands for every ref below
/// it. One request when the server is known; at most `limit` refs are read.
pub(crate) async fn refs(
    remote: &Remote,
    names: &[&str],
    limit: usize,
) -> Result<BTreeMap<String, ObjectId>, RemoteError> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut learned = remote.upload_server(Learn::IfUnknown).await?;
    loop {
        // An attempt that failed half-way may have left something.
        let mut found = Found { names, limit, hash: learned.server.hash, read: 0, tips: BTreeMap::new() };
        match found.query(remote, &learned.server).await {
            Err(error) if learned.cached && error.disagrees() => {
                learned = remote.upload_server(Learn::Anew).await?;
            }
            result => return result.map(|()| found.tips),
        }
    }
}

/// What was found so far of what is looked for.
struct Found<'a> {
    names: &'a [&'a str],
    limit: usize,
    hash: gix::hash::Kind,
    read: usize,
    tips: BTreeMap<String, ObjectId>,
}

impl Found<'_> {
    async fn query(&mut self, remote: &Remote, server: &UploadServer) -> Result<(), RemoteError> {
        let Dialect::V2 { request } = &server.dialect else { return self.query_v0(remote).await };
        let request = request_v2(request, self.names);
        let mut body =
            remote.post(&server.base, Service::UploadPack, true, request, MAX_ADVERTISEMENT).await?;
        while let Some(line) = body.line().await? {
            let line = pktline::trim(&line);
            // `unborn HEAD` is stated only when asked for, yet costs nothing to pass over.
            if line.starts_with(b"unborn ") {
                continue;
            }
            let (id, rest) = advertisement::parse_ref(line)?;
            // Attributes follow the name after a blank, which no ref name contains.
            let mut words = rest.split(' ');
            let name = words.next().unwrap_or_default();
            let peeled = words.find_map(|word| word.strip_prefix("peeled:"));
            let peeled = peeled.map(|digits| {
                crate::id::parse(digits.as_bytes())
                    .ok_or(RemoteError::Protocol("a peeled ref without an object id"))
            });
            self.note(peeled.transpose()?.unwrap_or(id), name)?;
        }
        body.end().await
    }

    async fn query_v0(&mut self, remote: &Remote) -> Result<(), RemoteError> {
        let (_, mut body) = remote.advertise(Service::UploadPack, MAX_ADVERTISEMENT).await?;
        let Advertisement::V0 { first, .. } = advertisement::read(&mut body).await? else {
            return Err(RemoteError::Protocol("the server changed its protocol version"));
        };
        let Some((id, name)) = first else { return Ok(()) };
        self.note(id, &name)?;
        while let Some((id, name)) = advertisement::next_ref(&mut body).await? {
            // It follows the line of the tag itself.
            self.note(id, name.strip_suffix(PEELED).unwrap_or(&name))?;
        }
        body.end().await
    }

    fn note(&mut self, id: ObjectId, name: &str) -> Result<(), RemoteError> {
        if id.kind() != self.hash {
            return Err(RemoteError::Protocol("a ref's id does not have the repository's object format"));
        }
        self.read += 1;
        if self.read > self.limit {
            return Err(RemoteError::TooManyRefs { limit: self.limit });
        }
        let is_wanted =
            |wanted: &&str| name == *wanted || (wanted.ends_with('/') && name.starts_with(wanted));
        if self.names.iter().any(is_wanted) {
            self.tips.insert(name.to_owned(), id);
        }
        Ok(())
    }
}

fn request_v2(capabilities: &str, names: &[&str]) -> Bytes {
    let mut body = pktline::command("ls-refs", capabilities);
    pktline::write(&mut body, b"peel\n");
    for name in names {
        pktline::write(&mut body, format!("ref-prefix {name}\n").as_bytes());
    }
    body.extend_from_slice(pktline::FLUSH);
    body.into()
}
