//! The table from webhook paths to Receivers, built once for each configuration. Owns which Receivers are served;
//! reads no request.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use windlass_model::Spec;
use windlass_model::resource::{Receiver, SecretValue, SenderType};

use crate::matching::Matcher;

/// The key of a Receiver's Secret (notification-controller 1.9).
const TOKEN: &str = "token";

/// One Receiver, ready to be posted to.
#[derive(Debug)]
pub(crate) struct Route {
    /// `namespace/name`
    pub(crate) receiver: String,
    pub(crate) sender: SenderType,
    pub(crate) token: SecretValue,
    /// Suspended, or with a field that this version does not act on.
    pub(crate) closed: bool,
    pub(crate) matcher: Matcher,
}

/// All Receivers by path.
#[derive(Default)]
pub(crate) struct Routes(HashMap<PathHash, Arc<Route>>);

/// A path is as good as a password for `generic`, so the table is looked up by its hash: the time that a wrong path
/// takes tells nothing of the right ones.
type PathHash = [u8; 32];

impl Routes {
    /// Builds the table. A Receiver without a usable token has no path and is left out, with a warning.
    pub(crate) fn new(spec: &Spec) -> Self {
        let mut routes = HashMap::new();
        for receiver in spec.receivers.values() {
            let key = &receiver.meta.key;
            let secret = spec.secret(&key.namespace, &receiver.secret);
            let token = secret.and_then(|secret| secret.values.get(TOKEN));
            let Some(token) = token.filter(|token| !token.expose().is_empty()) else {
                tracing::warn!(receiver = %key, secret = %receiver.secret, "receiver is not served: its Secret has no `token`");
                continue;
            };
            let route = Route::new(receiver, token.clone(), spec);
            match routes.entry(hash(&receiver.webhook_path(token.expose()))) {
                Entry::Vacant(vacant) => {
                    vacant.insert(Arc::new(route));
                }
                // Flux's rule joins token, name and namespace without a separator, so two Receivers can meet.
                Entry::Occupied(first) => {
                    let first: &Arc<Route> = first.get();
                    tracing::warn!(receiver = %key, same_path_as = %first.receiver, "receiver is not served: its path is taken");
                }
            }
        }
        Self(routes)
    }

    /// The Receiver with this exact path.
    pub(crate) fn get(&self, path: &str) -> Option<&Arc<Route>> {
        self.0.get(&hash(path))
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.values().map(|route| &route.receiver)).finish()
    }
}

impl Route {
    fn new(receiver: &Receiver, token: SecretValue, spec: &Spec) -> Self {
        Self {
            receiver: receiver.meta.key.to_string(),
            sender: receiver.sender,
            token,
            closed: receiver.suspend || !receiver.meta.unsupported.is_empty(),
            matcher: Matcher::new(receiver.image_repositories(spec)),
        }
    }
}

fn hash(path: &str) -> PathHash {
    Sha256::digest(path).into()
}
