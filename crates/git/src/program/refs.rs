//! Where refs point: `git ls-remote`.

use std::collections::BTreeMap;
use std::sync::Arc;

use gix::ObjectId;

use super::Program;
use crate::advertisement;
use crate::generation::Folder;
use crate::remote::Remote;
use crate::transport::{RemoteError, Service};

/// What follows the name of an annotated tag where the line names what it points to.
const PEELED: &str = "^{}";

impl Program {
    /// As [`crate::lsrefs::refs`]. The program may read every ref of the server for it; `limit` is for those that match.
    pub(crate) async fn refs(
        &self,
        remote: &Remote,
        folder: &Arc<Folder>,
        names: &[&str],
        limit: usize,
    ) -> Result<BTreeMap<String, ObjectId>, RemoteError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let session = self.session(remote, folder).await?;
        let patterns = names.iter().flat_map(|name| match name.strip_suffix('/') {
            Some(_) => vec![format!("{name}*")],
            None => vec![(*name).to_owned(), format!("{name}{PEELED}")],
        });
        let script = session.script("ls-remote").args(["--quiet", "--", &self.url]).args(patterns);
        let finished = script.run().await?;
        if !finished.status.success() {
            return Err(session.failure(Service::UploadPack, finished).await);
        }
        let found = read(&finished.output, names, limit)?;
        // The program takes any web page for an old server's list of refs, and finds none in it.
        if found.is_empty()
            && let Some(error) = remote.refusal(Service::UploadPack).await
        {
            return Err(error);
        }
        Ok(found)
    }
}

/// Patterns match the ends of names too (`refs/heads/refs/heads/main`), so the names are compared again.
fn read(output: &[u8], names: &[&str], limit: usize) -> Result<BTreeMap<String, ObjectId>, RemoteError> {
    let mut found = BTreeMap::new();
    for (at, line) in output.split(|b| *b == b'\n').filter(|line| !line.is_empty()).enumerate() {
        if at >= limit {
            return Err(RemoteError::TooManyRefs { limit });
        }
        let line: Vec<u8> = line.iter().map(|b| if *b == b'\t' { b' ' } else { *b }).collect();
        let (id, name) = advertisement::parse_ref(&line)?;
        // The peeled one follows the line of the tag itself.
        let name = name.strip_suffix(PEELED).unwrap_or(&name);
        let is_wanted =
            |wanted: &&str| name == *wanted || (wanted.ends_with('/') && name.starts_with(wanted));
        if names.iter().any(is_wanted) {
            found.insert(name.to_owned(), id);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_whole_and_tags_are_peeled() {
        let [a, b] = ["a", "b"].map(|digit| digit.repeat(40));
        let output = format!(
            "{a}\trefs/heads/main\n{b}\trefs/heads/refs/heads/main\n{a}\trefs/tags/v1\n{b}\trefs/tags/v1^{{}}\n"
        );
        let found = read(output.as_bytes(), &["refs/heads/main", "refs/tags/"], 4).unwrap();
        let shown: Vec<String> = found.iter().map(|(name, id)| format!("{name} {id}")).collect();
        assert_eq!(shown, [format!("refs/heads/main {a}"), format!("refs/tags/v1 {b}")]);
        assert!(matches!(read(output.as_bytes(), &["x"], 3), Err(RemoteError::TooManyRefs { limit: 3 })));
        assert!(read(b"warning: hello\n", &["x"], 3).is_err());
    }
}
