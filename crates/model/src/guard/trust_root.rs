//! Where the trust root of an authority comes from. Owns the sources as values; nothing is fetched here.

use std::time::Duration;

use url::Url;

use crate::name::ObjectKey;

/// `trustRoot` of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustRootSource {
    /// `secretRef`: a Secret with `trusted_root.json`.
    Secret(ObjectKey),
    /// `tuf`: a repository of The Update Framework, which is asked for news.
    Tuf(TufRepository),
}

impl TrustRootSource {
    /// The Secret that it names, if any.
    pub fn secret(&self) -> Option<&ObjectKey> {
        match self {
            Self::Secret(key) | Self::Tuf(TufRepository { anchor: TufAnchor::Secret(key), .. }) => Some(key),
            Self::Tuf(_) => None,
        }
    }
}

/// `trustRoot.tuf`: a repository whose metadata vouch for a trust root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TufRepository {
    /// `mirror`: where it is, as a URL that ends in `/`; metadata lie there, targets in `targets/` below.
    pub mirror: String,
    /// `root`: whom to believe at first.
    pub anchor: TufAnchor,
    /// `target`: the target that is the trust root.
    pub target: String,
    /// `refreshInterval`: how often the mirror is asked.
    pub refresh_interval: Duration,
    /// `offline`: the mirror is never asked; the folder that was filled before is all there is.
    pub offline: bool,
}

impl TufRepository {
    /// Sigstore's own mirror.
    pub const SIGSTORE: &'static str = "https://tuf-repo-cdn.sigstore.dev/";
    /// The default of `target`, and the key of a trust root in a Secret, as Flux names it.
    pub const TRUSTED_ROOT: &'static str = "trusted_root.json";
    /// The key of a repository's first root in a Secret.
    pub const ROOT: &'static str = "root.json";
    /// The default of `refreshInterval`.
    pub const REFRESH_INTERVAL: Duration = Duration::from_hours(24);

    /// Reads the address of a mirror. Equal mirrors are equal texts: it ends in `/`.
    pub fn mirror(text: &str, plain_http: bool) -> Result<String, InvalidMirror> {
        let mut url = Url::parse(text).map_err(|error| InvalidMirror::Url(error.to_string()))?;
        match url.scheme() {
            "https" => {}
            "http" if plain_http => {}
            "http" => return Err(InvalidMirror::PlainHttp),
            _ => return Err(InvalidMirror::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidMirror::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidMirror::Query);
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(url.into())
    }
}

/// Why a text is no address of a mirror.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMirror {
    /// It does not parse.
    #[error("is not a URL: {0}")]
    Url(String),
    /// It is not encrypted, which has to be asked for.
    #[error("must be an https URL; plain HTTP has to be allowed beside it")]
    PlainHttp,
    /// Neither HTTPS nor HTTP.
    #[error("must be an https URL")]
    Scheme,
    /// It names a user.
    #[error("must not hold credentials: none are sent to a mirror")]
    Credentials,
    /// Something stands behind the path.
    #[error("must not have a query or a fragment: names of files are put behind it")]
    Query,
}

/// `trustRoot.tuf.root`: the metadata of the role `root` from which later ones are followed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TufAnchor {
    /// Absent: that of Sigstore's public good repository, which is built in.
    PublicGood,
    /// `json`: written in the Guard.
    Inline(String),
    /// `secretRef`: a Secret with `root.json`.
    Secret(ObjectKey),
}
