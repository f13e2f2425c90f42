//! An authority of a Guard, made ready: its keys or identities, its trust root, what its signatures must have. Owns the
//! judgement of one piece of evidence by one authority.

use std::collections::BTreeMap;

use jiff::Timestamp;
use windlass_model::guard::{self, Trust, TrustRootSource, TufRepository};
use windlass_model::{ImageName, ObjectKey, Spec};

use crate::evidence::{Described, Evidence, Form, Wanted};
use crate::identity::Identities;
use crate::key::Key;
use crate::legacy::{self, Layer};
use crate::notation::{Notation, NotationRefused, Target};
use crate::root::{FetchedRoot, FetchedRoots, NotFetched, TrustRoot};
use crate::sigstore::{Artifact, Demands, Refused, Signed, Signer, Trusted, verify_bundle};
use crate::statement::Statement;

/// `predicateType` of a signature in a bundle (cosign, from 3.0). Every other statement is an attestation, and never
/// counts as a signature.
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
/// How the keys of public keys end in a Secret, as cosign names them and Flux finds them.
const PUBLIC_KEY: &str = ".pub";

/// Whom to believe.
#[derive(Debug)]
pub(crate) struct Authority {
    trust: Believed,
    root: Root,
    demands: Demands,
    annotations: BTreeMap<String, String>,
    formats: guard::Formats,
    /// Where its signatures lie, if not beside the image.
    source: Option<ImageName>,
}

#[derive(Debug)]
enum Believed {
    Keys(Vec<Key>),
    Keyless(Identities),
    Notation(Notation),
}

/// Whose certificates, logs and timestamps are believed.
#[derive(Debug)]
enum Root {
    /// For as long as the configuration lasts.
    Fixed(TrustRoot),
    /// As it was fetched last.
    Fetched { mirror: String, latest: Result<FetchedRoot, NotFetched> },
}

impl Root {
    fn current(&self) -> Result<&TrustRoot, &NotFetched> {
        match self {
            Self::Fixed(root) => Ok(root),
            Self::Fetched { latest, .. } => latest.as_ref().map(|latest| &latest.root),
        }
    }
}

/// An image, as evidence is judged against it.
pub(crate) struct Judged<'a> {
    pub(crate) image: &'a ImageName,
    pub(crate) sha256: Sha256,
    /// As the source of the evidence has it.
    pub(crate) manifest: Option<&'a Described>,
    pub(crate) now: Timestamp,
}

/// What evidence shows by an authority.
#[derive(Debug)]
pub(crate) struct Proven {
    pub(crate) signer: Signer,
    pub(crate) claim: Claim,
}

#[derive(Debug)]
pub(crate) enum Claim {
    /// The image is signed.
    Signature,
    /// Something is stated of the image.
    Attestation(Statement),
}

impl Authority {
    /// Reads keys and roots.
    ///
    /// # Errors
    /// A sentence that names the Secret and the key that is missing or malformed.
    pub(crate) fn new(
        authority: &guard::Authority,
        spec: &Spec,
        fetched: &dyn FetchedRoots,
    ) -> Result<Self, String> {
        let trust = match &authority.trust {
            Trust::Keys(pem) => Believed::Keys(Key::from_pem(pem).map_err(|error| error.to_string())?),
            Trust::KeySecret(key) => Believed::Keys(secret_keys(key, spec)?),
            Trust::Keyless(identities) => {
                Believed::Keyless(Identities::new(identities).map_err(|error| error.to_string())?)
            }
            Trust::Notation(notation) => {
                let key = &notation.secret;
                let secret = spec.secrets.get(key).ok_or_else(|| format!("Secret/{key} does not exist"))?;
                let read = Notation::from_secret(secret, notation);
                Believed::Notation(read.map_err(|error| format!("Secret/{key}: {error}"))?)
            }
        };
        let root = match &authority.trust_root {
            Some(TrustRootSource::Secret(key)) => Root::Fixed(secret_root(key, spec)?),
            Some(TrustRootSource::Tuf(repository)) => match fetched.latest(repository, spec) {
                Err(NotFetched::Unusable(why)) => return Err(why),
                latest => Root::Fetched { mirror: repository.mirror.clone(), latest },
            },
            None => Root::Fixed(TrustRoot::public_good().map_err(|error| error.to_string())?),
        };
        let demands = Demands { tlog: authority.tlog, sct: authority.sct, timestamps: authority.timestamps };
        Ok(Self {
            trust,
            root,
            demands,
            annotations: authority.annotations.clone(),
            formats: authority.formats,
            source: authority.source.clone(),
        })
    }

    /// Where its evidence about an image lies.
    pub(crate) fn source<'a>(&'a self, image: &'a ImageName) -> &'a ImageName {
        self.source.as_ref().unwrap_or(image)
    }

    pub(crate) fn wanted(&self) -> Wanted {
        match self.trust {
            Believed::Notation(_) => Wanted { notation: true, ..Wanted::default() },
            Believed::Keys(_) | Believed::Keyless(_) => {
                Wanted { legacy: self.formats.legacy, bundle: self.formats.bundle, ..Wanted::default() }
            }
        }
    }

    /// SHA-256 of what it believes by: the trust root, or the trust policy with its certificates. Empty where there is
    /// no trust root at present.
    pub(crate) fn root(&self) -> &str {
        match &self.trust {
            Believed::Notation(notation) => notation.sha256(),
            Believed::Keys(_) | Believed::Keyless(_) => self.root.current().map_or("", TrustRoot::sha256),
        }
    }

    /// Where its trust root is fetched from, and what came last.
    pub(crate) fn fetched(&self) -> Option<(&str, &Result<FetchedRoot, NotFetched>)> {
        match &self.root {
            Root::Fetched { mirror, latest } => Some((mirror, latest)),
            Root::Fixed(_) => None,
        }
    }

    /// Whether it can judge at a time: a trust root that is missing or has expired proves and refutes nothing.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) fn is_able(&self, now: Timestamp) -> Result<(), String> {
        let Root::Fetched { mirror, latest } = &self.root else { return Ok(()) };
        match latest {
            Ok(latest) if now < latest.until => Ok(()),
            Ok(latest) => Err(format!("the trust root of {mirror} expired at {}", latest.until)),
            Err(why) => Err(format!("{mirror}: {why}")),
        }
    }

    /// Everything that a verdict of this authority depends on, for a cache's key.
    pub(crate) fn identify(&self, into: &mut impl FnMut(&str)) {
        into(self.root());
        match &self.trust {
            Believed::Keys(keys) => keys.iter().for_each(|key| into(key.fingerprint())),
            Believed::Keyless(_) | Believed::Notation(_) => {}
        }
    }

    /// Whether this kind of evidence is looked at.
    pub(crate) fn reads(&self, evidence: &Evidence) -> bool {
        evidence.form.is_wanted(self.wanted())
    }

    /// What a piece of evidence shows of the image with this digest.
    pub(crate) fn prove(&self, evidence: &Evidence, judged: &Judged<'_>) -> Result<Proven, Unproven> {
        let image = &judged.sha256;
        match &self.trust {
            Believed::Notation(notation) => by_notation(notation, evidence, judged),
            Believed::Keyless(identities) => self.prove_by(evidence, image, Trusted::Keyless(identities)),
            Believed::Keys(keys) => {
                let mut why = None;
                for key in keys {
                    match self.prove_by(evidence, image, Trusted::Key(key)) {
                        Ok(proven) => return Ok(proven),
                        Err(unproven) => why = why.or(Some(unproven)),
                    }
                }
                Err(match why {
                    Some(why) if keys.len() == 1 => why,
                    Some(why) => Unproven::NoKey { keys: keys.len(), first: Box::new(why) },
                    None => Unproven::Plain,
                })
            }
        }
    }

    fn prove_by(
        &self,
        evidence: &Evidence,
        image: &Sha256,
        trusted: Trusted<'_>,
    ) -> Result<Proven, Unproven> {
        let about = Artifact::Sha256(image.bytes);
        let root = self.root.current().map_err(|why| Unproven::NoRoot(why.clone()))?;
        let verify = |bundle: &[u8], artifact| -> Result<Signed, Unproven> {
            Ok(verify_bundle(bundle, artifact, trusted, self.demands, root)?)
        };
        match &evidence.form {
            Form::Notation(_) => Err(Unproven::Plain),
            Form::Bundle => self.claim(verify(&evidence.bytes, about)?, image),
            Form::Attestation(annotations) => {
                let bundle = legacy::to_bundle(Layer::Attestation, &evidence.bytes, annotations)?;
                self.claim(verify(&bundle, about)?, image)
            }
            Form::Signature(annotations) => {
                let bundle = legacy::to_bundle(Layer::Signature, &evidence.bytes, annotations)?;
                let signed = verify(&bundle, Artifact::Bytes(&evidence.bytes))?;
                // Only now are the bytes worth reading.
                let stated = legacy::read_payload(&evidence.bytes, &image.digest)?;
                self.states(&stated)?;
                Ok(Proven { signer: signed.signer, claim: Claim::Signature })
            }
        }
    }

    /// What a verified statement claims.
    fn claim(&self, signed: Signed, image: &Sha256) -> Result<Proven, Unproven> {
        let Signed { signer, statement } = signed;
        let statement = statement.ok_or(Unproven::Plain)?;
        if statement.predicate_type != SIGN {
            return Ok(Proven { signer, claim: Claim::Attestation(statement) });
        }
        self.states(&legacy::annotations(statement.annotations(image.bytes)))?;
        Ok(Proven { signer, claim: Claim::Signature })
    }

    /// Whether a signature states what it must.
    fn states(&self, stated: &BTreeMap<String, String>) -> Result<(), Unproven> {
        match self.annotations.iter().find(|(key, wanted)| stated.get(*key) != Some(wanted)) {
            Some((key, wanted)) => Err(Unproven::Annotation { key: key.clone(), wanted: wanted.clone() }),
            None => Ok(()),
        }
    }
}

/// A signature of the Notary Project is about the manifest's descriptor, whole.
fn by_notation(notation: &Notation, evidence: &Evidence, judged: &Judged<'_>) -> Result<Proven, Unproven> {
    let Form::Notation(media_type) = &evidence.form else { return Err(Unproven::Plain) };
    let manifest = judged.manifest.ok_or(Unproven::Manifest)?;
    let target =
        Target { media_type: &manifest.media_type, digest: &judged.sha256.digest, size: manifest.size };
    let repository = judged.image.to_string();
    let signed = notation.verify(&evidence.bytes, media_type, target, &repository, judged.now)?;
    Ok(Proven { signer: signed.signer, claim: Claim::Signature })
}

/// An image's digest as the text and as the bytes that it stands for.
#[derive(Debug)]
pub(crate) struct Sha256 {
    digest: String,
    bytes: [u8; 32],
}

impl Sha256 {
    /// `None` for other algorithms, which no signature is about.
    pub(crate) fn of(digest: &windlass_model::Digest) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(digest.as_str().strip_prefix("sha256:")?, &mut bytes).ok()?;
        Some(Self { digest: digest.as_str().to_owned(), bytes })
    }
}

/// Why a piece of evidence shows nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unproven {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Legacy(#[from] legacy::LegacyError),
    #[error(transparent)]
    Notation(#[from] NotationRefused),
    #[error(transparent)]
    NoRoot(NotFetched),
    /// The registry did not give the image's manifest.
    #[error("the image's own manifest is not known")]
    Manifest,
    /// Bytes that happen to be a manifest were signed, by somebody who need not have meant an image.
    #[error("it signs bytes, not an image")]
    Plain,
    #[error("the signature does not state {key}={wanted}")]
    Annotation { key: String, wanted: String },
    #[error("none of the {keys} keys made it; by the first: {first}")]
    NoKey { keys: usize, first: Box<Unproven> },
}

fn secret_keys(key: &ObjectKey, spec: &Spec) -> Result<Vec<Key>, String> {
    let secret = spec.secrets.get(key).ok_or_else(|| format!("Secret/{key} does not exist"))?;
    let mut keys = Vec::new();
    for name in secret.values.keys().filter(|name| name.ends_with(PUBLIC_KEY)) {
        let complain = |why: String| format!("Secret/{key}, `{name}`: {why}");
        let text = secret.text(name).ok_or_else(|| complain("is not text".to_owned()))?;
        keys.extend(Key::from_pem(text).map_err(|error| complain(error.to_string()))?);
    }
    if keys.is_empty() { Err(format!("Secret/{key} has no key that ends in `.pub`")) } else { Ok(keys) }
}

fn secret_root(key: &ObjectKey, spec: &Spec) -> Result<TrustRoot, String> {
    let secret = spec.secrets.get(key).ok_or_else(|| format!("Secret/{key} does not exist"))?;
    let name = TufRepository::TRUSTED_ROOT;
    let json = secret.text(name).ok_or_else(|| format!("Secret/{key} has no key `{name}`"))?;
    TrustRoot::from_json(json).map_err(|error| format!("Secret/{key}: {error}"))
}
