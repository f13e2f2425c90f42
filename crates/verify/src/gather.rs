//! Evidence from a registry, bounded in count, size and time.
//!
//! All forms are read, and one never hides another. Only a 404 says that something is not there. Whatever else keeps
//! an answer away is told as [`Found::unread`], which must never be taken for "unsigned".

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Deserialize;
use tokio::time::timeout;
use windlass_model::{Digest, Tag};
use windlass_registry::{Manifest, Reference, Referrer, Repository};

use crate::bounds;
use crate::evidence::{Described, Evidence, Form, Found, Wanted};
use crate::platform;

/// All requests for one digest in one repository together.
const DEADLINE: Duration = Duration::from_mins(1);
/// Requests under way at a time, for one digest in one repository.
const CONCURRENT: usize = 8;

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Both the artifact type and, in earlier versions, the configuration's (Notary Project, "OCI signatures").
const NOTATION: &str = "application/vnd.cncf.notary.signature";
const NOTATION_LAYERS: [&str; 2] = ["application/jose+json", "application/cose"];
const DSSE: &str = "application/vnd.dsse.envelope.v1+json";
/// What cosign 2 calls its first format where it is a referrer (`--registry-referrers-mode=oci-1-1`).
const LEGACY_REFERRERS: [&str; 2] =
    ["application/vnd.dev.cosign.artifact.sig.v1+json", "application/vnd.dev.cosign.artifact.att.v1+json"];

/// What a registry may name instead of an artifact type: nothing, or the configuration's type, which says nothing.
const UNTOLD: [&str; 3] =
    ["", "application/vnd.oci.empty.v1+json", "application/vnd.oci.image.config.v1+json"];

/// Looks for evidence about an image.
pub async fn gather(repository: &Repository, subject: &Digest, wanted: Wanted) -> Found {
    let gathering = Gathering { repository, subject, wanted };
    timeout(DEADLINE, gathering.all()).await.unwrap_or_else(|_| {
        let what = format!("{}: no answer within {} s", repository.image(), DEADLINE.as_secs());
        Found { unread: vec![what], ..Found::default() }
    })
}

struct Gathering<'a> {
    repository: &'a Repository,
    subject: &'a Digest,
    wanted: Wanted,
}

/// A manifest that lists evidence.
struct Listed {
    place: String,
    manifest: ImageManifest,
}

/// A layer that may be evidence.
struct Piece {
    place: String,
    layer: Descriptor,
    form: Form,
}

/// What one look came to.
enum Looked<T> {
    There(T),
    Absent,
    Unusable(String),
    Unread(String),
}

#[derive(Deserialize)]
struct ImageManifest {
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    subject: Option<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl Gathering<'_> {
    async fn all(&self) -> Found {
        let mut found = Found::default();
        let (tags, referrers, image) = tokio::join!(self.tagged(), self.referrers(), self.image());
        if let Some((manifest, platforms)) = sort(image, &mut found) {
            found.manifest = Some(manifest);
            found.platforms = platforms;
        }
        let mut listed = tags;
        listed.extend(referrers);
        let mut pieces = Vec::new();
        for look in listed {
            if let Some(listed) = sort(look, &mut found) {
                self.pieces(listed, &mut pieces, &mut found);
            }
        }
        if pieces.len() > bounds::EVIDENCE {
            // Which of them count is the pusher's choice; so it is not known whether one would do.
            found.unread.push(format!(
                "{}: more than {} signatures and attestations: remove some",
                self.repository.image(),
                bounds::EVIDENCE
            ));
            pieces.truncate(bounds::EVIDENCE);
        }
        let read = stream::iter(pieces).map(|piece| self.read(piece)).buffer_unordered(CONCURRENT);
        let mut left = bounds::EVIDENCE_BYTES;
        for look in read.collect::<Vec<_>>().await {
            let Some(evidence) = sort(look, &mut found) else { continue };
            match left.checked_sub(evidence.bytes.len()) {
                Some(rest) => {
                    left = rest;
                    found.evidence.push(evidence);
                }
                None => found.unread.push(format!(
                    "{}: its signatures and attestations have more than {} bytes together: remove some",
                    self.repository.image(),
                    bounds::EVIDENCE_BYTES
                )),
            }
        }
        found.evidence.sort_by(|a, b| (&a.digest, &a.place).cmp(&(&b.digest, &b.place)));
        found.evidence.dedup();
        found
    }

    /// What cosign's tags hold.
    async fn tagged(&self) -> Vec<Looked<Listed>> {
        let (algorithm, hash) = self.subject.as_str().split_once(':').expect("a digest names its algorithm");
        // cosign knows no other algorithm.
        if !self.wanted.legacy || algorithm != "sha256" {
            return Vec::new();
        }
        let look = |suffix| async move {
            let text = format!("sha256-{hash}.{suffix}");
            let tag = Tag::parse(&text).expect("an algorithm, hex digits and a suffix are a tag");
            self.listed(tag.into(), format!("the tag {text}"), false).await
        };
        let (signatures, attestations) = tokio::join!(look("sig"), look("att"));
        vec![signatures, attestations]
    }

    /// What refers to the image.
    async fn referrers(&self) -> Vec<Looked<Listed>> {
        if !self.wanted.bundle && !self.wanted.legacy && !self.wanted.notation {
            return Vec::new();
        }
        let referrers = match self.repository.referrers(self.subject).await {
            Ok(referrers) => referrers,
            Err(error) => return vec![Looked::Unread(error.to_string())],
        };
        let interesting: Vec<Referrer> =
            referrers.into_iter().filter(|referrer| self.is_interesting(&referrer.artifact_type)).collect();
        if interesting.len() > bounds::EVIDENCE {
            let many = format!(
                "{}: more than {} referrers may be signatures: remove some",
                self.repository.image(),
                bounds::EVIDENCE
            );
            return vec![Looked::Unread(many)];
        }
        let looks = stream::iter(interesting).map(|referrer| {
            let place = format!("the referrer {}", referrer.digest);
            self.listed(referrer.digest.into(), place, true)
        });
        looks.buffer_unordered(CONCURRENT).collect().await
    }

    /// Whoever pushed says what it is; what says nothing is looked into.
    fn is_interesting(&self, artifact_type: &str) -> bool {
        let bundle = self.wanted.bundle && artifact_type.starts_with(BUNDLE);
        let legacy = self.wanted.legacy && LEGACY_REFERRERS.contains(&artifact_type);
        let notation = self.wanted.notation && artifact_type == NOTATION;
        bundle || legacy || notation || UNTOLD.contains(&artifact_type)
    }

    /// Reads a manifest that lists evidence. A referrer must say itself that it refers to the image: the list under
    /// the fallback tag is anybody's who may push.
    async fn listed(&self, reference: Reference, place: String, refers: bool) -> Looked<Listed> {
        let manifest = match self.repository.manifest(reference).await {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return Looked::Absent,
            Err(error) => return Looked::Unread(error.to_string()),
        };
        if manifest.bytes.len() > bounds::EVIDENCE_MANIFEST_BYTES {
            // What it lists beyond the bound may be the one that counts.
            let limit = bounds::EVIDENCE_MANIFEST_BYTES;
            return Looked::Unread(format!(
                "{place}: lists evidence in more than {limit} bytes: remove some"
            ));
        }
        let Some(read) = image_manifest(&manifest) else {
            return Looked::Unusable(format!("{place}: is not an image's manifest"));
        };
        let about = read.subject.as_ref().map(|subject| subject.digest.as_str());
        if refers && about != Some(self.subject.as_str()) {
            return Looked::Unusable(format!("{place}: does not refer to {}", self.subject));
        }
        Looked::There(Listed { place, manifest: read })
    }

    /// The layers of a manifest that are in a wanted form.
    fn pieces(&self, listed: Listed, pieces: &mut Vec<Piece>, found: &mut Found) {
        let Listed { place, manifest } = listed;
        for layer in manifest.layers.unwrap_or_default() {
            let annotations = layer.annotations.clone().unwrap_or_default();
            let form = match layer.media_type.as_str() {
                kind if kind.starts_with(BUNDLE) => Form::Bundle,
                SIMPLE_SIGNING => Form::Signature(annotations),
                DSSE => Form::Attestation(annotations),
                kind if NOTATION_LAYERS.contains(&kind) => Form::Notation(kind.to_owned()),
                _ => continue,
            };
            if !form.is_wanted(self.wanted) {
                continue;
            }
            if layer.size > bounds::BUNDLE_BYTES as u64 {
                found.unusable.push(format!("{place}: has more than {} bytes", bounds::BUNDLE_BYTES));
                continue;
            }
            pieces.push(Piece { place: place.clone(), layer, form });
        }
    }

    async fn read(&self, piece: Piece) -> Looked<Evidence> {
        let Piece { place, layer, form } = piece;
        let Ok(digest) = Digest::parse(&layer.digest) else {
            return Looked::Unusable(format!("{place}: names a layer without a digest"));
        };
        match self.repository.blob(&digest, bounds::BUNDLE_BYTES).await {
            Ok(Some(bytes)) => Looked::There(Evidence { digest, place, form, bytes }),
            Ok(None) => Looked::Unusable(format!("{place}: its content is not in the registry")),
            Err(error) => Looked::Unread(error.to_string()),
        }
    }

    /// The image itself, where its manifest matters.
    async fn image(&self) -> Looked<(Described, Option<Vec<String>>)> {
        if !self.wanted.platforms && !self.wanted.notation {
            return Looked::Absent;
        }
        let manifest = match self.repository.manifest(self.subject.clone()).await {
            Ok(Some(manifest)) => manifest,
            Ok(None) => {
                return Looked::Unread(format!("{}: {} is gone", self.repository.image(), self.subject));
            }
            Err(error) => return Looked::Unread(error.to_string()),
        };
        let described =
            Described { media_type: manifest.media_type.clone(), size: manifest.bytes.len() as u64 };
        if !self.wanted.platforms {
            return Looked::There((described, None));
        }
        match platform::of(self.repository, &manifest).await {
            Ok(platforms) => Looked::There((described, Some(platforms))),
            Err(error) => Looked::Unread(error.to_string()),
        }
    }
}

/// Keeps what is there, and notes the rest.
fn sort<T>(look: Looked<T>, found: &mut Found) -> Option<T> {
    match look {
        Looked::There(there) => return Some(there),
        Looked::Absent => {}
        Looked::Unusable(why) => found.unusable.push(why),
        Looked::Unread(why) => found.unread.push(why),
    }
    None
}

/// An index is none: its media type does not decide, for whoever pushed chose it.
fn image_manifest(manifest: &Manifest) -> Option<ImageManifest> {
    let read: ImageManifest = serde_json::from_slice(&manifest.bytes).ok()?;
    read.layers.is_some().then_some(read)
}
