//! Commit objects: who, when, what message, and commits that wait in memory to be pushed.

use std::collections::BTreeMap;
use std::sync::Arc;

use gix::ObjectId;
use gix::hash::Kind as Hash;
use jiff::Timestamp;

use crate::edit::{NewObject, NewObjects};
use crate::error::GitError;
use crate::id::CommitId;
use crate::signing::Signer;

/// A name and an e-mail address, as a commit shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Must not be empty.
    pub name: String,
    /// May be empty.
    pub email: String,
}

/// Everything of a commit but its tree and parent.
#[derive(Debug, Clone)]
pub struct CommitText {
    /// Who made the change.
    pub author: Identity,
    /// Who made the commit.
    pub committer: Identity,
    /// Both dates, in whole seconds, written in UTC.
    pub time: Timestamp,
    /// Subject, body and trailers. A final newline is added where it is missing.
    pub message: String,
    /// Who signs it; `None` leaves it unsigned.
    pub signer: Option<Signer>,
}

/// What a commit cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitTextError {
    /// Nothing is left of the name after Git's rules.
    #[error("the {0}'s name is empty")]
    Name(&'static str),
    /// Nothing but white space.
    #[error("the commit message is empty")]
    Message,
    /// Git's tools cut a message there.
    #[error("the commit message contains a NUL character")]
    Nul,
    /// Git's dates start in 1970.
    #[error("the commit's time is before 1970")]
    Time,
}

/// What a new commit builds on.
#[derive(Debug, Clone, Copy)]
pub enum Base<'a> {
    /// A fetched commit.
    Commit(CommitId),
    /// A commit that is not pushed yet: both will be pushed together.
    Prepared(&'a Prepared),
}

impl From<CommitId> for Base<'_> {
    fn from(id: CommitId) -> Self {
        Self::Commit(id)
    }
}

impl<'a> From<&'a Prepared> for Base<'a> {
    fn from(prepared: &'a Prepared) -> Self {
        Self::Prepared(prepared)
    }
}

/// A commit in memory, with the ones that it builds on. Dropping it forgets it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Prepared(Arc<State>);

#[derive(Debug)]
struct State {
    id: ObjectId,
    tree: ObjectId,
    objects: NewObjects,
    start: CommitId,
    previous: Option<Prepared>,
}

impl Prepared {
    pub(crate) fn new(
        id: ObjectId,
        tree: ObjectId,
        objects: NewObjects,
        start: CommitId,
        previous: Option<Prepared>,
    ) -> Self {
        Self(Arc::new(State { id, tree, objects, start, previous }))
    }

    /// The commit's id, which it keeps when it lands.
    pub fn id(&self) -> CommitId {
        CommitId(self.0.id)
    }

    /// The fetched commit that the whole chain builds on.
    pub fn start(&self) -> CommitId {
        self.0.start
    }

    pub(crate) fn tree(&self) -> ObjectId {
        self.0.tree
    }

    pub(crate) fn object(&self, id: &ObjectId) -> Option<&NewObject> {
        self.chain().find_map(|prepared| prepared.0.objects.get(id))
    }

    /// All new objects of the chain, each once.
    pub(crate) fn objects(&self) -> PendingObjects<'_> {
        self.chain().flat_map(|prepared| prepared.0.objects.iter()).collect()
    }

    /// This commit and those before it that are not pushed either.
    fn chain(&self) -> impl Iterator<Item = &Prepared> {
        std::iter::successors(Some(self), |prepared| prepared.0.previous.as_ref())
    }
}

/// New objects of a whole chain, by id.
pub(crate) type PendingObjects<'a> = BTreeMap<&'a ObjectId, &'a NewObject>;

impl CommitText {
    /// The commit object's content, signed where there is a signer.
    pub(crate) fn object(&self, tree: ObjectId, parent: ObjectId) -> Result<Vec<u8>, GitError> {
        let content = self.encode(tree, parent)?;
        let Some(signer) = &self.signer else { return Ok(content) };
        let signature = signer.sign(&content, self.time)?;
        Ok(with_signature(&content, &signature, tree.kind()))
    }

    /// The content without a signature (gitformat: header lines, an empty line, the message). A signature is made over
    /// exactly these bytes.
    fn encode(&self, tree: ObjectId, parent: ObjectId) -> Result<Vec<u8>, CommitTextError> {
        if self.message.contains('\0') {
            return Err(CommitTextError::Nul);
        }
        let message = self.message.trim_end();
        if message.trim().is_empty() {
            return Err(CommitTextError::Message);
        }
        let author = self.signature("author", &self.author)?;
        let committer = self.signature("committer", &self.committer)?;
        Ok(format!("tree {tree}\nparent {parent}\n{author}\n{committer}\n\n{message}\n").into_bytes())
    }

    fn signature(&self, role: &'static str, identity: &Identity) -> Result<String, CommitTextError> {
        let name = strip(&identity.name);
        if name.is_empty() {
            return Err(CommitTextError::Name(role));
        }
        let seconds = self.time.as_second();
        if seconds < 0 {
            return Err(CommitTextError::Time);
        }
        Ok(format!("{role} {name} <{}> {seconds} +0000", strip(&identity.email)))
    }
}

/// Adds the signature as the last header, its lines folded (gitformat-signature, "Commit Signatures").
fn with_signature(content: &[u8], signature: &str, hash: Hash) -> Vec<u8> {
    let header = match hash {
        Hash::Sha1 => "gpgsig",
        _ => "gpgsig-sha256",
    };
    let end = content.windows(2).position(|two| two == b"\n\n").expect("`encode` ends the header so") + 1;
    let folded = signature.trim_end().replace("\r\n", "\n").replace('\n', "\n ");
    let mut signed = content[..end].to_vec();
    signed.extend_from_slice(format!("{header} {folded}\n").as_bytes());
    signed.extend_from_slice(&content[end..]);
    signed
}

/// Git's rule for names and addresses (`ident.c`): no `<`, `>`, newline or other control character inside, and no white
/// space or stray punctuation around.
fn strip(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).collect();
    let crud = |c: char| c.is_whitespace() || matches!(c, '.' | ',' | ':' | ';' | '"' | '\\' | '\'');
    kept.trim_matches(crud).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(name: &str, message: &str) -> CommitText {
        let author = Identity { name: name.to_owned(), email: "bot@example.com".to_owned() };
        let time = Timestamp::from_second(1_700_000_000).unwrap();
        CommitText { committer: author.clone(), author, time, message: message.to_owned(), signer: None }
    }

    #[test]
    fn a_commit_is_written_as_git_writes_it() {
        let tree = ObjectId::empty_tree(Hash::Sha1);
        let content =
            text(" The <Bot>\n.", "Update app\n\nWindlass-Event: x\n\n").encode(tree, tree).unwrap();
        let expected = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
                        parent 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
                        author The Bot <bot@example.com> 1700000000 +0000\n\
                        committer The Bot <bot@example.com> 1700000000 +0000\n\n\
                        Update app\n\nWindlass-Event: x\n";
        assert_eq!(String::from_utf8(content).unwrap(), expected);
    }

    #[test]
    fn a_signature_is_the_last_header_with_folded_lines() {
        let tree = ObjectId::empty_tree(Hash::Sha1);
        let content = text("Bot", "Update\n\nBody").encode(tree, tree).unwrap();
        let header =
            |hash| String::from_utf8(with_signature(&content, "-----A\n\nb\r\n-----Z\n", hash)).unwrap();
        let signed = header(Hash::Sha1);
        assert!(signed.contains(" +0000\ngpgsig -----A\n \n b\n -----Z\n\nUpdate\n\nBody\n"), "{signed}");
        assert!(header(Hash::Sha256).contains("\ngpgsig-sha256 -----A\n"));
    }

    #[test]
    fn texts_that_a_commit_cannot_hold_are_refused() {
        let encode = |text: CommitText| text.encode(ObjectId::null(Hash::Sha1), ObjectId::null(Hash::Sha1));
        assert_eq!(encode(text(" <> ", "x")), Err(CommitTextError::Name("author")));
        assert_eq!(encode(text("a", " \n")), Err(CommitTextError::Message));
        assert_eq!(encode(text("a", "a\0b")), Err(CommitTextError::Nul));
        let early = CommitText { time: Timestamp::from_second(-1).unwrap(), ..text("a", "b") };
        assert_eq!(encode(early), Err(CommitTextError::Time));
    }

    proptest! {
        #[test]
        fn no_name_can_forge_a_header(name in "\\PC*|[\\n<>a-z ]*", email in "[\\n<>a-z@ ]*") {
            let mut text = text(&name, "subject");
            text.author.email = email;
            if let Ok(content) = text.encode(ObjectId::null(Hash::Sha1), ObjectId::null(Hash::Sha1)) {
                let content = String::from_utf8(content).unwrap();
                let header = content.split("\n\n").next().unwrap();
                prop_assert_eq!(header.lines().count(), 4);
                prop_assert_eq!(header.matches('<').count(), 2);
            }
        }
    }
}
