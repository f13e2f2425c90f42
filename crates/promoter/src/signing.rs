//! The signing keys of a configuration: each is opened once, and an automation whose key cannot sign says why. Secrets are
//! read from the automation's own namespace.

use std::collections::{BTreeMap, HashMap};

use windlass_git::{Signer, SigningKeyError};
use windlass_model::git::{SIGNING_SECRET, SigningFormat, SigningKey};
use windlass_model::resource::{ImageUpdateAutomation, SecretValue};
use windlass_model::{ObjectKey, Spec};

/// The keys, by the Secret that holds them.
#[derive(Debug, Default)]
pub(crate) struct Signers(HashMap<(ObjectKey, SigningFormat), Opened>);

#[derive(Debug, Clone)]
struct Opened {
    key: SecretValue,
    passphrase: Option<SecretValue>,
    signer: Result<Signer, SigningKeyError>,
}

/// Why automations cannot sign although their Secret is there: the key cannot be read, or its passphrase is wrong. Each
/// reads as a sentence about [`SIGNING_SECRET`].
pub fn signing_problems(spec: &Spec) -> BTreeMap<ObjectKey, String> {
    Signers::open(spec, &Signers::default()).problems(spec)
}

impl Signers {
    /// Opens what `known` does not have in the same form: a passphrase takes a fraction of a second by design.
    pub(crate) fn open(spec: &Spec, known: &Self) -> Self {
        let mut signers = Self::default();
        for automation in spec.automations.values() {
            let Some((id, key, passphrase)) = stated(spec, automation) else { continue };
            if signers.0.contains_key(&id) {
                continue;
            }
            let same = |opened: &&Opened| opened.key == key && opened.passphrase == passphrase;
            let opened = known.0.get(&id).filter(same).cloned().unwrap_or_else(|| {
                let secret = passphrase.as_ref().map(SecretValue::expose);
                let signer = match id.1 {
                    SigningFormat::OpenPgp => Signer::openpgp(key.expose(), secret),
                    SigningFormat::Ssh => Signer::ssh(key.expose(), secret),
                };
                Opened { key, passphrase, signer }
            });
            signers.0.insert(id, opened);
        }
        signers
    }

    /// Who signs an automation's commits; `None` leaves them unsigned. A commit that should be signed is never made
    /// without.
    pub(crate) fn of(&self, automation: &ImageUpdateAutomation) -> Result<Option<Signer>, String> {
        let Some(SigningKey { format, secret }) = &automation.signing_key else { return Ok(None) };
        let id = (ObjectKey::new(&automation.meta.key.namespace, secret), *format);
        let missing = || format!("{SIGNING_SECRET}: Secret/{} has no key `{}`", id.0, format.key());
        match &self.0.get(&id).ok_or_else(missing)?.signer {
            Ok(signer) => Ok(Some(signer.clone())),
            Err(error) => Err(format!("{SIGNING_SECRET}: {}", sentence(&id, error))),
        }
    }

    /// See [`signing_problems`].
    pub(crate) fn problems(&self, spec: &Spec) -> BTreeMap<ObjectKey, String> {
        let problem = |automation: &ImageUpdateAutomation| {
            let (id, ..) = stated(spec, automation)?;
            let error = self.0.get(&id)?.signer.as_ref().err()?;
            Some((automation.meta.key.clone(), sentence(&id, error)))
        };
        spec.automations.values().filter_map(|automation| problem(automation)).collect()
    }
}

/// The Secret, the key and the passphrase of an automation, where they are there.
fn stated(
    spec: &Spec,
    automation: &ImageUpdateAutomation,
) -> Option<((ObjectKey, SigningFormat), SecretValue, Option<SecretValue>)> {
    let SigningKey { format, secret } = automation.signing_key.as_ref()?;
    let secret = spec.secret(&automation.meta.key.namespace, secret)?;
    let key = secret.values.get(format.key()).filter(|key| !key.expose().is_empty())?;
    let passphrase = secret.values.get(format.passphrase()).cloned();
    Some(((secret.meta.key.clone(), *format), key.clone(), passphrase))
}

fn sentence((secret, format): &(ObjectKey, SigningFormat), error: &SigningKeyError) -> String {
    let where_to = match error {
        SigningKeyError::Locked => format!(": add the key `{}`", format.passphrase()),
        _ => String::new(),
    };
    format!("the key `{}` of Secret/{secret} {error}{where_to}", format.key())
}
