//! What to send in `Authorization`, and the memory of what a registry wanted before.
//!
//! A registry is first asked without credentials; its challenge says how to go on. The challenge and the token are
//! remembered, so that later requests carry the right header at once. The memory belongs to one way to one registry,
//! one set of credentials and one scope; nothing crosses these.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderValue};

use crate::challenge::{self, Bearer, Challenge};
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::error::Cause;
use crate::token::{self, Token};
use crate::transport::Fingerprint;

/// Grants kept before the first search for dead ones.
const MIN_KEPT: usize = 1024;

/// The right to pull from one repository.
pub(crate) struct Authority {
    endpoint: Arc<Endpoint>,
    credentials: Credentials,
    auth_hosts: Vec<String>,
    scope: String,
    grant: Grant,
}

impl Authority {
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        credentials: Credentials,
        auth_hosts: Vec<String>,
        repository: &str,
    ) -> Self {
        let scope = format!("repository:{repository}:pull");
        let hosts = auth_hosts.iter().map(|host| Some(host.as_bytes()));
        let key = Fingerprint::of(
            credentials.fingerprint_parts().into_iter().chain([Some(scope.as_bytes())]).chain(hosts),
        );
        let grant = endpoint.grants.get(key);
        Self { endpoint, credentials, auth_hosts, scope, grant }
    }

    /// The header to send at once, as far as it is known what the registry wants.
    pub(crate) async fn header(&self) -> Result<Option<HeaderValue>, Cause> {
        if let Credentials::RegistryToken(_) = self.credentials {
            return Ok(self.credentials.registry_token_header());
        }
        let mut known = self.grant.lock().await;
        match &*known {
            Known::Nothing => Ok(None),
            Known::Basic => Ok(self.credentials.basic_header()),
            Known::Bearer { token, .. } if token.is_fresh() => Ok(Some(token.header.clone())),
            Known::Bearer { challenge, token } => {
                let challenge = challenge.clone();
                match self.fetch(&challenge).await {
                    Ok(token) => Ok(Some(known.remember(challenge, token))),
                    // The old token still works for a while, perhaps longer than the token server's failure.
                    Err(_) if token.is_alive() => Ok(Some(token.header.clone())),
                    Err(cause) => {
                        *known = Known::Nothing;
                        Err(cause)
                    }
                }
            }
        }
    }

    /// The header that answers a challenge to a request which carried `refused`. `None` if these credentials have no
    /// answer to it.
    pub(crate) async fn answer(
        &self,
        headers: &HeaderMap,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Cause> {
        if let Credentials::RegistryToken(_) = self.credentials {
            return Ok(None);
        }
        let mut known = self.grant.lock().await;
        // Another request may have fetched a token while this one was on its way.
        if let Known::Bearer { token, .. } = &*known
            && token.is_fresh()
            && refused != Some(&token.header)
        {
            return Ok(Some(token.header.clone()));
        }
        *known = Known::Nothing;
        match challenge::choose(headers) {
            Some(Challenge::Bearer(challenge)) => {
                let token = self.fetch(&challenge).await?;
                Ok(Some(known.remember(challenge, token)))
            }
            Some(Challenge::Basic) if matches!(self.credentials, Credentials::Basic { .. }) => {
                let header = self.credentials.basic_header();
                if header.as_ref() == refused {
                    return Ok(None);
                }
                *known = Known::Basic;
                Ok(header)
            }
            Some(Challenge::Basic) | None => Ok(None),
        }
    }

    /// Forgets what was refused in spite of a fresh answer to the challenge.
    pub(crate) async fn forget(&self) {
        *self.grant.lock().await = Known::Nothing;
    }

    /// The texts that no error may show.
    pub(crate) fn secrets<'a>(&'a self, authorization: Option<&'a HeaderValue>) -> Vec<&'a str> {
        self.credentials.secret_texts(authorization)
    }

    async fn fetch(&self, challenge: &Bearer) -> Result<Token, Cause> {
        let fetched =
            token::fetch(&self.endpoint, &self.credentials, &self.auth_hosts, challenge, &self.scope);
        // Boxed: it is seldom done, and would enlarge every request that waits for its turn.
        Box::pin(fetched).await
    }
}

/// What is known about one scope. The lock is held while a token is fetched, so that many requests fetch one token.
type Grant = Arc<tokio::sync::Mutex<Known>>;

/// What the registry wants.
#[derive(Debug, Default)]
enum Known {
    /// Nothing is known; the first request asks.
    #[default]
    Nothing,
    Basic,
    Bearer {
        challenge: Bearer,
        token: Token,
    },
}

impl Known {
    fn remember(&mut self, challenge: Bearer, token: Token) -> HeaderValue {
        let header = token.header.clone();
        *self = Known::Bearer { challenge, token };
        header
    }

    fn is_worth_keeping(&self) -> bool {
        match self {
            Known::Nothing => false,
            Known::Basic => true,
            Known::Bearer { token, .. } => token.is_alive(),
        }
    }
}

/// Every grant of an endpoint, by credentials and scope.
#[derive(Debug, Default)]
pub(crate) struct Grants(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    grants: HashMap<Fingerprint, Grant>,
    /// The size at which dead grants are next searched for: twice what was alive the last time, so that the search
    /// costs a constant share of each insertion.
    search_at: usize,
}

impl Grants {
    fn get(&self, key: Fingerprint) -> Grant {
        // A panic while the lock is held leaves the map valid.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(grant) = kept.grants.get(&key) {
            return grant.clone();
        }
        if kept.grants.len() >= kept.search_at.max(MIN_KEPT) {
            kept.grants.retain(|_, grant| {
                Arc::strong_count(grant) > 1 || grant.try_lock().is_ok_and(|known| known.is_worth_keeping())
            });
            kept.search_at = kept.grants.len() * 2;
        }
        kept.grants.entry(key).or_default().clone()
    }
}
