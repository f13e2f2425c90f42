//! Attestations, and what a signer adds.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use windlass_testkit::cosign::{Cosign, KeyKind, Layout, Line, Signing};
use windlass_testkit::evidence;
use windlass_testkit::sigstore::Sigstore;
use windlass_verify::Demands;

use crate::place::{
    ISSUER, Place, REPOSITORY, SUBJECT, UNLOGGED, by_identity, by_key, identity_arguments, root,
};

const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
const VULN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";
const OWN: &str = "https://example.org/approval/v1";
const SCAN: &str = r#"{"scanner":{"uri":"pkg:scanner","result":{"findings":[]}},"metadata":{}}"#;

#[tokio::test]
async fn the_predicate_type_of_a_bundle_is_what_was_attested() -> Result<()> {
    let (cosign, sigstore) = (Cosign::new(Line::Three)?, Sigstore::start()?);
    let key = cosign.key_pair(KeyKind::P256, "key").await?;
    let public = key.public.to_string_lossy().into_owned();
    for place in Place::both().await? {
        for (short, kind) in [("vuln", VULN), (OWN, OWN)] {
            let (digest, image) = place.push(if short == OWN { "own" } else { short }).await?;
            cosign.attest(&image, short, SCAN, &Signing::with_key(&key, Layout::Bundle)).await?;
            cosign.verify_attestation(&image, short, None, &["--key", &public]).await?;
            let signed = by_key(&place.bundle(&digest).await?, &digest, &key.public_pem()?, UNLOGGED)??;
            let statement = signed.statement.context("an attestation has a statement")?;
            ensure!(statement.predicate_type == kind, "{statement:?}");
        }
        let (digest, image) = place.push("keyless").await?;
        let how = Signing::keyless(&sigstore, ISSUER, SUBJECT, Layout::Bundle);
        cosign.attest(&image, "vuln", SCAN, &how).await?;
        let right = identity_arguments(ISSUER, SUBJECT);
        cosign.verify_attestation(&image, "vuln", Some(&sigstore), &right).await?;
        ensure!(cosign.verify_attestation(&image, "spdx", Some(&sigstore), &right).await.is_err());
        let bundle = place.bundle(&digest).await?;
        let root = root(&sigstore)?;
        let signed = by_identity(&bundle, &digest, (ISSUER, SUBJECT), Demands::default(), &root)??;
        ensure!(signed.statement.context("a statement")?.predicate_type == VULN);
    }
    Ok(())
}

#[tokio::test]
async fn a_signature_states_that_it_is_one_and_carries_what_the_signer_added() -> Result<()> {
    let (cosign, place) = (Cosign::new(Line::Three)?, Place::with_referrers().await?);
    let key = cosign.key_pair(KeyKind::P256, "key").await?;
    let (digest, image) = place.push("annotated").await?;
    let how = Signing { annotations: &[("stage", "release")], ..Signing::with_key(&key, Layout::Bundle) };
    cosign.sign(&image, &how).await?;
    let bundle = place.bundle(&digest).await?;
    let signed = by_key(&bundle, &digest, &key.public_pem()?, UNLOGGED)??;
    ensure!(signed.statement.context("a statement")?.predicate_type == SIGN);
    let bundle: Value = serde_json::from_slice(&bundle)?;
    let payload = bundle["dsseEnvelope"]["payload"].as_str().context("an envelope has a payload")?;
    let statement: Value = serde_json::from_slice(&STANDARD.decode(payload)?)?;
    ensure!(statement["subject"][0]["annotations"]["stage"] == "release", "{statement}");
    Ok(())
}

#[tokio::test]
async fn an_index_is_signed_alone_or_with_its_images() -> Result<()> {
    for (line, layout) in [(Line::Two, Layout::Legacy), (Line::Three, Layout::Bundle)] {
        let (cosign, place) = (Cosign::new(line)?, Place::plain().await?);
        let key = cosign.key_pair(KeyKind::P256, "key").await?;
        let public = key.public.to_string_lossy().into_owned();
        for recursive in [false, true] {
            let seed = format!("{recursive}");
            let index = place.images.push_index(REPOSITORY, &seed, &seed, &["amd64", "arm64"]).await?;
            let how = Signing { recursive, ..Signing::with_key(&key, layout) };
            cosign.sign(&format!("{}/{REPOSITORY}@{index}", place.host), &how).await?;
            let (_, manifest) = place.images.manifest(REPOSITORY, &index).await?;
            let manifest: Value = serde_json::from_slice(&manifest)?;
            for entry in manifest["manifests"].as_array().context("an index has images")? {
                let image =
                    format!("{}/{REPOSITORY}@{}", place.host, entry["digest"].as_str().unwrap_or("?"));
                let accepted = cosign.verify(&image, None, &["--key", &public]).await;
                ensure!(accepted.is_ok() == recursive, "{line:?}: {accepted:?}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn legacy_signatures_and_attestations_lie_where_their_tags_say() -> Result<()> {
    for line in [Line::Two, Line::Three] {
        let (cosign, place) = (Cosign::new(line)?, Place::with_referrers().await?);
        let key = cosign.key_pair(KeyKind::P256, "key").await?;
        let public = key.public.to_string_lossy().into_owned();
        let (digest, image) = place.push("legacy").await?;
        let how = Signing { annotations: &[("stage", "release")], ..Signing::with_key(&key, Layout::Legacy) };
        cosign.sign(&image, &how).await?;
        cosign.attest(&image, "vuln", SCAN, &Signing::with_key(&key, Layout::Legacy)).await?;
        cosign.verify(&image, None, &["--key", &public, "--annotations", "stage=release"]).await?;
        ensure!(
            cosign.verify(&image, None, &["--key", &public, "--annotations", "stage=other"]).await.is_err()
        );
        cosign.verify_attestation(&image, "vuln", None, &["--key", &public]).await?;

        let tag = evidence::signature_tag(&digest);
        let layers = evidence::layers(&place.images, REPOSITORY, &tag).await?;
        ensure!(layers.len() == 1 && layers[0].media_type == evidence::SIMPLE_SIGNING, "{layers:?}");
        let payload: Value = serde_json::from_slice(&layers[0].content)?;
        ensure!(payload["critical"]["image"]["docker-manifest-digest"] == digest, "{payload}");
        ensure!(payload["optional"]["stage"] == "release", "{payload}");
        ensure!(layers[0].annotations[evidence::SIGNATURE].is_string(), "{layers:?}");

        let tag = evidence::attestation_tag(&digest);
        let layers = evidence::layers(&place.images, REPOSITORY, &tag).await?;
        ensure!(layers.len() == 1 && layers[0].media_type == evidence::DSSE, "{layers:?}");
    }
    Ok(())
}
