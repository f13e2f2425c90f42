//! Attestations satisfy what asks for their type, and are never signatures.

use anyhow::{Context as _, Result, ensure};
use windlass_testkit::cosign::{Layout, Line, Logged, Signing};
use windlass_testkit::referrers_registry::AnyRegistry;

use super::{ALLOWED, DENIED, ISSUER, SUBJECT, Setting, attested_by, by_identity, by_key, push, with};

const VULN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";
const SLSA: &str = "https://slsa.dev/provenance/v1";
const OWN: &str = "https://example.org/approval/v1";
const SCAN: &str = r#"{"scanner":{"uri":"pkg:scanner","result":{"findings":[]}},"metadata":{}}"#;
const BUILD: &str = r#"{"buildDefinition":{"buildType":"https://example.org/build"},"runDetails":{"builder":{"id":"https://ci.example.org"}}}"#;

#[tokio::test]
async fn an_attestation_counts_for_its_type_its_image_and_its_signer() -> Result<()> {
    let setting = Setting::new().await?;
    for registry in AnyRegistry::both().await? {
        for (line, layout) in
            [(Line::Two, Layout::Legacy), (Line::Three, Layout::Legacy), (Line::Three, Layout::Bundle)]
        {
            for (short, predicate, kind) in
                [("vuln", SCAN, VULN), ("slsaprovenance1", BUILD, SLSA), (OWN, SCAN, OWN)]
            {
                let what = format!("{line:?} {layout:?} {kind}");
                let seed = format!("{line:?}-{layout:?}-{}", kind.len());
                let (image, other) =
                    (push(&registry, &seed).await?, push(&registry, &format!("{seed}-")).await?);
                let how = Signing::with_key(&setting.key, layout);
                setting.cosign(line).attest(&image.name, short, predicate, &how).await?;

                let right = with(by_key(&setting.key)?, "insecureIgnoreTlog", true);
                let answer = setting.ask_for(&image.name, &attested_by(kind, &right)).await?;
                answer.is(ALLOWED, &what)?;
                let evidence = answer.document["evidence"].as_array().context("evidence")?;
                ensure!(
                    evidence.iter().any(|proof| proof["predicateType"] == kind),
                    "{what}: {:#}",
                    answer.document
                );
                let another = if kind == OWN { VULN } else { OWN };
                setting.ask_for(&image.name, &attested_by(another, &right)).await?.is(DENIED, &what)?;
                setting.ask_for(&other.name, &attested_by(kind, &right)).await?.is(DENIED, &what)?;
                let stranger = with(by_key(&setting.stranger)?, "insecureIgnoreTlog", true);
                setting.ask_for(&image.name, &attested_by(kind, &stranger)).await?.is(DENIED, &what)?;
                setting.ask(&image.name, right).await?.is(DENIED, &format!("{what} as a signature"))?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_signature_is_no_attestation_and_an_attestation_hides_no_signature() -> Result<()> {
    let setting = Setting::new().await?;
    for registry in AnyRegistry::both().await? {
        let image = push(&registry, "both").await?;
        let right = with(by_key(&setting.key)?, "insecureIgnoreTlog", true);
        setting.two.sign(&image.name, &Signing::with_key(&setting.key, Layout::Legacy)).await?;
        setting.ask_for(&image.name, &attested_by(VULN, &right)).await?.is(DENIED, "a signature alone")?;
        // Provenance as a bundle, by a stranger and by us: cosign 3 would now overlook the `.sig`.
        for key in [&setting.stranger, &setting.key] {
            let how = Signing::with_key(key, Layout::Bundle);
            setting.three.attest(&image.name, "slsaprovenance1", BUILD, &how).await?;
            setting.ask(&image.name, right.clone()).await?.is(ALLOWED, "a `.sig` beside bundles")?;
        }
        setting.ask_for(&image.name, &attested_by(SLSA, &right)).await?.is(ALLOWED, "provenance")?;
    }
    Ok(())
}

#[tokio::test]
async fn keyless_attestations_in_either_log_are_accepted_for_their_identity() -> Result<()> {
    let setting = Setting::new().await?;
    for registry in AnyRegistry::both().await? {
        for (line, layout, logged) in [
            (Line::Two, Layout::Legacy, Logged::One),
            (Line::Three, Layout::Bundle, Logged::One),
            (Line::Three, Layout::Bundle, Logged::Two),
        ] {
            let what = format!("{line:?}-{logged:?}");
            let image = push(&registry, &what).await?;
            let how = Signing { logged, ..Signing::keyless(&setting.sigstore, ISSUER, SUBJECT, layout) };
            setting.cosign(line).attest(&image.name, "vuln", SCAN, &how).await?;
            let right = attested_by(VULN, &by_identity(ISSUER, SUBJECT));
            setting.ask_for(&image.name, &right).await?.is(ALLOWED, &what)?;
            let wrong = attested_by(VULN, &by_identity(ISSUER, "https://ci.example.org/other"));
            setting.ask_for(&image.name, &wrong).await?.is(DENIED, &what)?;
        }
    }
    Ok(())
}
