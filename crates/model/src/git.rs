//! How an automation's commits are signed and pushed: `spec.git` of an ImageUpdateAutomation beside its branches. Values
//! alone; the loader reads them.

/// `spec.git.push.refspec`: a second destination of the commits. Never forced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushRefspec {
    /// The branch on the left side, without `refs/heads/`, which must be the one that is pushed; `None` is `HEAD`, which
    /// always is.
    pub branch: Option<String>,
    /// The right side, in full: below `refs/heads/` or `refs/for/`.
    pub destination: String,
}

/// The field of an ImageUpdateAutomation that names its signing key's Secret.
pub const SIGNING_SECRET: &str = "spec.git.commit.signingKey.secretRef.name";

/// `spec.git.commit.signingKey`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// `type`
    pub format: SigningFormat,
    /// `secretRef.name`, in the automation's namespace.
    pub secret: String,
}

/// The kind of a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum SigningFormat {
    /// `gpg`, the default.
    #[default]
    OpenPgp,
    /// `ssh`
    Ssh,
}

impl SigningFormat {
    /// The Secret's key that holds the signing key (image-automation-controller 1.2).
    pub fn key(self) -> &'static str {
        match self {
            Self::OpenPgp => "git.asc",
            Self::Ssh => "identity",
        }
    }

    /// The Secret's key that holds its passphrase, where it has one.
    pub fn passphrase(self) -> &'static str {
        match self {
            Self::OpenPgp => "passphrase",
            Self::Ssh => "password",
        }
    }
}
