//! Receivers: where webhooks arrive, and which images they concern.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ImageRepository, Meta, Spec, contains_all};

/// `notification.toolkit.fluxcd.io` Receiver: a webhook's path, its authentication, and what it concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Name, labels, origin.
    pub meta: Meta,
    /// `spec.type`
    pub sender: SenderType,
    /// `spec.secretRef.name`: key `token`.
    pub secret: String,
    /// `spec.resources`, of kind ImageRepository.
    pub resources: Vec<ReceiverResource>,
    /// `spec.suspend`
    pub suspend: bool,
}

impl Receiver {
    /// `/hook/<hex sha256(token + name + namespace)>` (notification-controller 1.9, `status.webhookPath`).
    pub fn webhook_path(&self, token: &[u8]) -> String {
        use sha2::{Digest as _, Sha256};
        let mut hash = Sha256::new();
        hash.update(token);
        hash.update(&self.meta.key.name);
        hash.update(&self.meta.key.namespace);
        format!("/hook/{}", hex::encode(hash.finalize()))
    }
}

/// `spec.type` of a Receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SenderType {
    /// Harbor, default and CloudEvents payloads.
    Harbor,
    /// Any request on the secret path.
    Generic,
    /// Any body signed in `X-Signature`.
    GenericHmac,
    /// The distribution registry's notifications (Windlass's own type).
    Distribution,
}

impl SenderType {
    /// As written in `spec.type`, and as the metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            SenderType::Harbor => "harbor",
            SenderType::Generic => "generic",
            SenderType::GenericHmac => "generic-hmac",
            SenderType::Distribution => "distribution",
        }
    }
}

/// One entry of a Receiver's `spec.resources`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverResource {
    /// The namespace; the Receiver's own by default.
    pub namespace: String,
    /// Which ImageRepositories.
    pub select: ReceiverSelect,
}

/// How a Receiver names its resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverSelect {
    /// `name: podinfo`
    Name(String),
    /// `name: "*"` with `matchLabels`, which Flux requires.
    Labels(BTreeMap<String, String>),
}

impl Receiver {
    /// The ImageRepositories that this Receiver concerns, in order, each once.
    pub fn image_repositories<'a>(&self, spec: &'a Spec) -> Vec<&'a Arc<ImageRepository>> {
        spec.image_repositories
            .values()
            .filter(|repository| {
                self.resources.iter().any(|resource| {
                    resource.namespace == repository.meta.key.namespace
                        && match &resource.select {
                            ReceiverSelect::Name(name) => *name == repository.meta.key.name,
                            ReceiverSelect::Labels(labels) => contains_all(&repository.meta.labels, labels),
                        }
                })
            })
            .collect()
    }
}
