//! The questions that are asked of a repository, and the path of one request: authorise, send, follow.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderValue, Method, StatusCode};
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use url::Url;
use windlass_failpoint::{self as failpoint, Point};
use windlass_model::{Digest, ImageName, Tag};

use crate::authority::Authority;
use crate::destination;
use crate::endpoint::{Answer, Call, Endpoint};
use crate::error::{Asked, Cause, RegistryError, Said};
use crate::link;
use crate::manifest::{self, Manifest, Reference};
use crate::pool::RepositoryConfig;
use crate::referrers::{self, Referrer};
use crate::tags::{Gathering, TagLimits, TagList};
use crate::transport::Fingerprint;

/// Redirects that one request follows. Registries need one.
const MAX_REDIRECTS: usize = 5;
/// Some registries label tag lists as plain text, so nothing narrower is asked for.
const ACCEPT_TAGS: &str = "application/json, */*;q=0.5";
/// Distribution-spec 1.1, "Listing Referrers".
const ACCEPT_REFERRERS: &str = "application/vnd.oci.image.index.v1+json";
/// A blob has no type of its own.
const ACCEPT_BLOB: &str = "*/*";

/// A repository of one registry. Cheap to clone, and cheap to make anew: what is worth keeping is in the pool.
#[derive(Clone)]
pub struct Repository {
    inner: Arc<Inner>,
}

struct Inner {
    image: ImageName,
    endpoint: Arc<Endpoint>,
    authority: Authority,
    timeout: Duration,
    limits: TagLimits,
}

impl Repository {
    pub(crate) fn new(endpoint: Arc<Endpoint>, config: RepositoryConfig, limits: TagLimits) -> Self {
        let authority = Authority::new(
            endpoint.clone(),
            config.credentials,
            config.auth_hosts,
            config.image.repository(),
        );
        let inner = Inner { image: config.image, endpoint, authority, timeout: config.timeout, limits };
        Self { inner: Arc::new(inner) }
    }

    /// The repository's name.
    pub fn image(&self) -> &ImageName {
        &self.inner.image
    }

    /// Every tag: all pages, or an error. A repository that the registry does not know is
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub async fn tags(&self) -> Result<TagList, RegistryError> {
        let listed = async {
            let _place = self.inner.endpoint.place_to_list().await;
            // Boxed now, so that the thousands that may wait for a place hold no room for what comes after it.
            Box::pin(self.inner.list()).await
        };
        self.judge(Asked::Tags, timeout(self.inner.timeout, listed).await)
    }

    /// The digest that a tag has now, by one HEAD request where the registry states it. `None` if there is no such tag;
    /// whatever else keeps the answer from being known is an error.
    pub async fn resolve(&self, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        let asked = async {
            let digest = self.inner.digest(tag).await?;
            failpoint::pass(Point::Resolved).await?;
            Ok(digest)
        };
        let answer = timeout(self.inner.timeout, asked).await;
        self.judge(Asked::Digest(tag.clone()), answer)
    }

    /// A manifest of at most 4 MiB, with its digest computed. `None` if there is no such manifest. By digest, other
    /// content than asked for is [`Invalid`](crate::ErrorKind::Invalid).
    pub async fn manifest(&self, reference: impl Into<Reference>) -> Result<Option<Manifest>, RegistryError> {
        let reference = reference.into();
        let answer = timeout(self.inner.timeout, self.inner.manifest(&reference)).await;
        self.judge(Asked::Manifest(reference), answer)
    }

    /// What refers to a manifest: all pages of the referrers API and the index under the fallback tag,
    /// or an error. At most 256 entries.
    pub async fn referrers(&self, subject: &Digest) -> Result<Vec<Referrer>, RegistryError> {
        let answer = timeout(self.inner.timeout, self.inner.referrers(subject)).await;
        self.judge(Asked::Referrers(subject.clone()), answer)
    }

    /// A blob of at most `max_bytes`, whose content was checked against its digest. `None` if there is no such blob.
    pub async fn blob(&self, digest: &Digest, max_bytes: usize) -> Result<Option<Bytes>, RegistryError> {
        let answer = timeout(self.inner.timeout, self.inner.blob(digest, max_bytes)).await;
        self.judge(Asked::Blob(digest.clone()), answer)
    }

    /// What an operation came to.
    fn judge<T>(&self, asked: Asked, answer: Result<Result<T, Cause>, Elapsed>) -> Result<T, RegistryError> {
        let answer = answer.unwrap_or(Err(Cause::Timeout(self.inner.timeout)));
        answer.map_err(|cause| RegistryError::new(self.inner.image.clone(), asked, cause))
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository").field("image", &self.inner.image).finish_non_exhaustive()
    }
}

impl Inner {
    async fn list(&self) -> Result<TagList, Cause> {
        let mut gathering = Gathering::new(&self.limits);
        let mut seen = HashSet::new();
        let mut url = self.url("tags/list").await?;
        loop {
            if seen.len() == self.limits.pages {
                return Err(Cause::TooLarge(format!(
                    "the tag list has more than {} pages",
                    self.limits.pages
                )));
            }
            // Hashes, because the URLs are as long as the registry likes.
            if !seen.insert(Fingerprint::of([Some(url.as_str().as_bytes())])) {
                return Err(Cause::Invalid("the pages of the tag list lead in a circle".to_owned()));
            }
            let fetched = self.fetch(Method::GET, url, ACCEPT_TAGS, self.limits.page_bytes).await?;
            if fetched.answer.status != StatusCode::OK {
                return Err(self.refusal(&fetched));
            }
            gathering.page(&fetched.answer.body)?;
            let Some(target) = link::next(&fetched.answer.headers) else { return Ok(gathering.finish()) };
            url = destination::next_page(&fetched.url, &target)
                .map_err(|why| Cause::Refused(format!("the registry's tag list goes on, but {why}")))?;
        }
    }

    async fn digest(&self, tag: &Tag) -> Result<Option<Digest>, Cause> {
        let url = self.url(&format!("manifests/{tag}")).await?;
        let fetched = self.fetch(Method::HEAD, url, manifest::ACCEPT, manifest::MAX_BYTES).await?;
        let stated = match fetched.answer.status {
            StatusCode::OK => manifest::stated_digest(&fetched.answer.headers)?,
            StatusCode::NOT_FOUND => return Ok(None),
            // Registries without HEAD, and those too old to state the digest, are asked for the content.
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => None,
            _ => return Err(self.refusal(&fetched)),
        };
        match stated {
            Some(digest) => Ok(Some(digest)),
            None => Ok(self.manifest(&Reference::Tag(tag.clone())).await?.map(|manifest| manifest.digest)),
        }
    }

    async fn manifest(&self, reference: &Reference) -> Result<Option<Manifest>, Cause> {
        let url = self.url(&format!("manifests/{reference}")).await?;
        let fetched = self.fetch(Method::GET, url, manifest::ACCEPT, manifest::MAX_BYTES).await?;
        match fetched.answer.status {
            StatusCode::OK => {
                Manifest::verify(reference, &fetched.answer.headers, fetched.answer.body).map(Some)
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refusal(&fetched)),
        }
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Referrer>, Cause> {
        let mut found = Vec::new();
        let mut url = self.url(&format!("referrers/{subject}")).await?;
        for page in 0..referrers::MAX_PAGES {
            let fetched = self.fetch(Method::GET, url, ACCEPT_REFERRERS, referrers::MAX_BYTES).await?;
            match fetched.answer.status {
                StatusCode::OK => referrers::gather(&mut found, &fetched.answer.body)?,
                // A later page that is gone is no answer to the whole question.
                StatusCode::NOT_FOUND if page == 0 => return self.fallback(subject, found).await,
                _ => return Err(self.refusal(&fetched)),
            }
            let Some(target) = link::next(&fetched.answer.headers) else {
                return self.fallback(subject, found).await;
            };
            url = destination::next_page(&fetched.url, &target)
                .map_err(|why| Cause::Refused(format!("the registry's referrers go on, but {why}")))?;
        }
        Err(Cause::TooLarge(format!("the list of referrers has more than {} pages", referrers::MAX_PAGES)))
    }

    /// Adds what clients recorded under the tag when the registry had no such API, which may be now.
    async fn fallback(&self, subject: &Digest, mut found: Vec<Referrer>) -> Result<Vec<Referrer>, Cause> {
        let tag = Reference::Tag(referrers::fallback(subject));
        if let Some(index) = self.manifest(&tag).await? {
            referrers::gather(&mut found, &index.bytes)?;
        }
        Ok(found)
    }

    async fn blob(&self, digest: &Digest, max_bytes: usize) -> Result<Option<Bytes>, Cause> {
        let url = self.url(&format!("blobs/{digest}")).await?;
        let fetched = self.fetch(Method::GET, url, ACCEPT_BLOB, max_bytes).await?;
        match fetched.answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.refusal(&fetched)),
        }
        let found = manifest::digest_like(digest, &fetched.answer.body);
        if found != *digest {
            return Err(Cause::Invalid(format!("the registry sent other content, whose digest is {found}")));
        }
        Ok(Some(fetched.answer.body))
    }

    async fn url(&self, what: &str) -> Result<Url, Cause> {
        let mut url = self.endpoint.base().await?.clone();
        url.set_path(&format!("/v2/{}/{what}", self.image.repository()));
        Ok(url)
    }

    /// Sends a request with what the registry is known to want; after a 401, once more with the answer to its challenge.
    async fn fetch(
        &self,
        method: Method,
        url: Url,
        accept: &'static str,
        max_bytes: usize,
    ) -> Result<Fetched, Cause> {
        let authorization = self.authority.header().await?;
        let mut call = Call { method, url, accept, authorization, form: None, max_bytes };
        let fetched = self.follow(&call).await?;
        if fetched.answer.status != StatusCode::UNAUTHORIZED {
            return Ok(fetched);
        }
        if !fetched.at_registry {
            let host = fetched.url.host_str().unwrap_or_default();
            return Err(Cause::Refused(format!(
                "the registry redirects to {host}, which asks for credentials that are not meant for it"
            )));
        }
        match self.authority.answer(&fetched.answer.headers, call.authorization.as_ref()).await? {
            None => Ok(fetched),
            header => {
                call.authorization = header;
                let fetched = self.follow(&call).await?;
                if fetched.answer.status == StatusCode::UNAUTHORIZED {
                    self.authority.forget().await;
                }
                Ok(fetched)
            }
        }
    }

    /// Follows redirects. The credential is left behind for good where one leaves the registry's origin.
    async fn follow(&self, call: &Call) -> Result<Fetched, Cause> {
        let registry = self.endpoint.base().await?;
        let mut call = call.clone();
        let sent = call.authorization.clone();
        let mut at_registry = true;
        for _ in 0..=MAX_REDIRECTS {
            at_registry &= destination::same_origin(&call.url, registry);
            if !at_registry {
                call.authorization = None;
            }
            let answer = self.endpoint.exchange(&call).await?;
            let location = answer.headers.get(LOCATION).filter(|_| answer.status.is_redirection());
            let Some(location) = location else {
                return Ok(Fetched { answer, url: call.url, at_registry, sent });
            };
            let location = String::from_utf8_lossy(location.as_bytes());
            call.url = destination::redirect(&call.url, &location)
                .map_err(|why| Cause::Refused(format!("the registry's answer is not followed: {why}")))?;
        }
        Err(Cause::Refused(format!("the registry redirects more than {MAX_REDIRECTS} times")))
    }

    fn refusal(&self, fetched: &Fetched) -> Cause {
        let secrets = self.authority.secrets(fetched.sent.as_ref());
        self.endpoint.refusal(Said::read(fetched.answer.status, &fetched.answer.body, &secrets))
    }
}

/// An answer, and where it came from.
struct Fetched {
    answer: Answer,
    /// The URL that answered, after all redirects.
    url: Url,
    /// Whether no redirect left the registry's origin.
    at_registry: bool,
    /// The credential that the registry saw, to be kept out of messages.
    sent: Option<HeaderValue>,
}
