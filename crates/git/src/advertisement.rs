//! Reading what a Git server says of itself (gitprotocol-v2, "Capability Advertisement"; gitprotocol-pack, "Reference
//! Discovery"). It parses one response and keeps nothing.

use gix::ObjectId;
use gix::hash::Kind;

use crate::transport::{Body, RemoteError};
use crate::{id, pktline};

/// The start of an advertisement. For version 0 and 1 the remaining refs are still in the body.
#[derive(Debug)]
pub(crate) enum Advertisement {
    /// Capabilities alone; refs are asked for.
    V2(Capabilities),
    /// Capabilities and the first ref, unless there is none.
    V0 { capabilities: Capabilities, first: Option<(ObjectId, String)> },
}

/// Capabilities by name, in the server's order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities(Vec<(String, String)>);

impl Capabilities {
    fn add(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let (name, value) = text.split_once('=').unwrap_or((&text, ""));
        self.0.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }

    /// Whether `feature` is among the blank-separated values of `name`, as in `fetch=shallow filter`.
    pub(crate) fn offers(&self, name: &str, feature: &str) -> bool {
        self.value(name).is_some_and(|value| value.split(' ').any(|f| f == feature))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The repository's hash; SHA-1 where the server does not say (gitprotocol-capabilities, "object-format").
    pub(crate) fn hash(&self) -> Result<Kind, RemoteError> {
        match self.value("object-format") {
            None | Some("sha1") => Ok(Kind::Sha1),
            Some("sha256") => Ok(Kind::Sha256),
            Some(other) => Err(RemoteError::ObjectFormat(crate::sideband::clean(other.as_bytes()))),
        }
    }
}

/// Reads the advertisement's start.
pub(crate) async fn read(body: &mut Body) -> Result<Advertisement, RemoteError> {
    let mut line = body.line().await?;
    if line.as_ref().is_some_and(|line| line.starts_with(b"# service=")) {
        if body.line().await?.is_some() {
            return Err(RemoteError::Protocol("the service line is not followed by a flush packet"));
        }
        line = body.line().await?;
    }
    match line.as_deref().map(pktline::trim) {
        Some(b"version 2") => read_v2(body).await,
        Some(b"version 1") => {
            let line = body.line().await?;
            parse_first(line.as_deref())
        }
        first => parse_first(first),
    }
}

/// The next ref of a version 0 advertisement.
pub(crate) async fn next_ref(body: &mut Body) -> Result<Option<(ObjectId, String)>, RemoteError> {
    while let Some(line) = body.line().await? {
        let line = pktline::trim(&line);
        if !line.starts_with(b"shallow ") {
            return parse_ref(line).map(Some);
        }
    }
    Ok(None)
}

/// `<id> <name>`, where a name that is not UTF-8 is none that we ask for.
pub(crate) fn parse_ref(line: &[u8]) -> Result<(ObjectId, String), RemoteError> {
    let broken = RemoteError::Protocol("a ref is not an object id and a name");
    let Some(space) = line.iter().position(|b| *b == b' ') else { return Err(broken) };
    let (digits, name) = (&line[..space], &line[space + 1..]);
    let Some(id) = id::parse(digits) else { return Err(broken) };
    Ok((id, String::from_utf8_lossy(name).into_owned()))
}

async fn read_v2(body: &mut Body) -> Result<Advertisement, RemoteError> {
    let mut capabilities = Capabilities::default();
    while let Some(line) = body.line().await? {
        capabilities.add(pktline::trim(&line));
    }
    body.keep().await?;
    Ok(Advertisement::V2(capabilities))
}

/// The first ref carries the capabilities after a NUL; an empty repository sends `capabilities^{}` or nothing.
fn parse_first(line: Option<&[u8]>) -> Result<Advertisement, RemoteError> {
    let mut capabilities = Capabilities::default();
    let Some(line) = line.map(pktline::trim) else {
        return Ok(Advertisement::V0 { capabilities, first: None });
    };
    let (reference, list) = match line.iter().position(|b| *b == 0) {
        Some(nul) => (&line[..nul], &line[nul + 1..]),
        None => (line, &b""[..]),
    };
    list.split(|b| *b == b' ').filter(|item| !item.is_empty()).for_each(|item| capabilities.add(item));
    let (id, name) = parse_ref(reference)?;
    let first = (name != "capabilities^{}").then_some((id, name));
    Ok(Advertisement::V0 { capabilities, first })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_line_gives_capabilities_and_perhaps_a_ref() {
        let id = "a".repeat(40);
        let line = format!("{id} refs/heads/main\0report-status object-format=sha1 agent=git/2\n");
        let Advertisement::V0 { capabilities, first } = parse_first(Some(line.as_bytes())).unwrap() else {
            panic!("version 0");
        };
        assert!(capabilities.has("report-status") && !capabilities.has("atomic"));
        assert_eq!(capabilities.hash().unwrap(), Kind::Sha1);
        assert_eq!(first.unwrap().1, "refs/heads/main");

        let empty = format!("{} capabilities^{{}}\0atomic object-format=sha256", "0".repeat(64));
        let Advertisement::V0 { capabilities, first } = parse_first(Some(empty.as_bytes())).unwrap() else {
            panic!("version 0");
        };
        assert_eq!((capabilities.hash().unwrap(), first), (Kind::Sha256, None));
    }

    #[test]
    fn features_are_compared_whole() {
        let mut capabilities = Capabilities::default();
        capabilities.add(b"fetch=shallow wait-for-done filter");
        assert!(capabilities.offers("fetch", "filter") && !capabilities.offers("fetch", "filte"));
        capabilities.add(b"object-format=md5");
        assert!(matches!(capabilities.hash(), Err(RemoteError::ObjectFormat(name)) if name == "md5"));
    }

    proptest! {
        #[test]
        fn arbitrary_lines_never_panic(line in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = parse_first(Some(&line));
            let _ = parse_ref(&line);
        }
    }
}
