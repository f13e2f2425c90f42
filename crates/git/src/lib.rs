//! Git over smart HTTP and SSH, in pure Rust: a persistent bare mirror, edits without a work tree, and a compare-and-swap push.
//!
//! This crate owns the wire protocol (pkt-line, protocol v2 `ls-refs` and `fetch`, send-pack), the mirror on disk and
//! the making of commits. It never reads Git configuration, credential helpers or the environment, never follows a
//! symbolic link or a submodule, and never decides what to write. It runs no program, but for one module (`program`), for
//! repositories whose settings ask for the `git` program.
//!
//! gix supplies object, tree and pack formats and appears in no public signature.

mod advertisement;
mod bulk;
mod capabilities;
mod commit;
mod credentials;
mod edit;
mod error;
mod fetch;
mod generation;
mod github_app;
mod http;
mod id;
mod lsrefs;
mod mirror;
mod pack;
mod pktline;
mod program;
mod push;
mod remote;
mod report;
mod sideband;
mod signing;
mod ssh;
mod store;
mod transport;
mod tree;

pub use commit::{Base, CommitText, CommitTextError, Identity, Prepared};
pub use edit::EditError;
pub use error::{ErrorKind, GitError, Retry};
pub use generation::LayoutError;
pub use github_app::{Clock, GitHubApp, GitHubAppConfig, GitHubAppError, Installation};
pub use id::{BlobId, CommitId, InvalidId};
pub use mirror::{Ahead, AheadCommit, Limits, Mirror, PushOutcome, PushRequest, Refusal};
pub use program::{ProgramEnvironment, ProgramError};
pub use remote::{Auth, ClientPool, ConfigError, Implementation, ProxyConfig, Remote, RemoteConfig};
pub use signing::{Signer, SigningError, SigningKeyError};
pub use ssh::{SshConfigError, SshError};
pub use store::{Blob, Cause, StoreError};
pub use transport::RemoteError;
pub use tree::FileEntry;
