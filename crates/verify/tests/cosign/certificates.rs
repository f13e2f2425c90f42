//! By certificate, with everything that Sigstore's public services give, from services of our own.

use std::time::Duration;

use anyhow::{Result, ensure};
use windlass_testkit::ca::{Subject, VALIDITY, pem};
use windlass_testkit::cosign::{By, Cosign, KeyFiles, KeyKind, Layout, Line, Logged, Signing};
use windlass_testkit::sigstore::Sigstore;
use windlass_verify::{Demands, Refused, Signer};

use crate::place::{ISSUER, Place, SUBJECT, by_identity, identity_arguments, root};

const RIGHT: (&str, &str) = (ISSUER, SUBJECT);

#[tokio::test]
async fn keyless_bundles_are_accepted_for_the_identity_alone() -> Result<()> {
    let (cosign, sigstore) = (Cosign::new(Line::Three)?, Sigstore::start()?);
    let (root, strange) = (root(&sigstore)?, root(&Sigstore::start()?)?);
    for place in Place::both().await? {
        for (logged, stamped) in [(Logged::One, false), (Logged::One, true), (Logged::Two, true)] {
            let (digest, image) = place.push(&format!("{logged:?}-{stamped}")).await?;
            let (other, _) = place.push(&format!("other-{logged:?}-{stamped}")).await?;
            let how =
                Signing { logged, stamped, ..Signing::keyless(&sigstore, ISSUER, SUBJECT, Layout::Bundle) };
            cosign.sign(&image, &how).await?;
            cosign.verify(&image, Some(&sigstore), &identity_arguments(ISSUER, SUBJECT)).await?;

            let bundle = place.bundle(&digest).await?;
            let demands = Demands { timestamps: stamped, ..Demands::default() };
            let signed = by_identity(&bundle, &digest, RIGHT, demands, &root)?;
            let holder = Signer::Certificate { issuer: ISSUER.into(), subject: SUBJECT.into() };
            ensure!(matches!(&signed, Ok(signed) if signed.signer == holder), "{logged:?}: {signed:?}");
            for wrong in [(ISSUER, "https://ci.example.org/other"), ("https://other.example.org", SUBJECT)] {
                let refused = by_identity(&bundle, &digest, wrong, demands, &root)?;
                ensure!(matches!(refused, Err(Refused::Stranger { .. })), "{refused:?}");
            }
            for refused in [
                by_identity(&bundle, &other, RIGHT, demands, &root)?,
                by_identity(&bundle, &digest, RIGHT, demands, &strange)?,
            ] {
                ensure!(matches!(refused, Err(Refused::Unverified(_))), "{refused:?}");
            }
            if !stamped {
                let demands = Demands { timestamps: true, ..Demands::default() };
                let refused = by_identity(&bundle, &digest, RIGHT, demands, &root)?;
                ensure!(refused == Err(Refused::NoTimestamp), "{refused:?}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_email_address_signs_too() -> Result<()> {
    let (cosign, sigstore, place) = (Cosign::new(Line::Three)?, Sigstore::start()?, Place::plain().await?);
    let (digest, image) = place.push("email").await?;
    let subject = "release@example.org";
    cosign.sign(&image, &Signing::keyless(&sigstore, ISSUER, subject, Layout::Bundle)).await?;
    let bundle = place.bundle(&digest).await?;
    let signed = by_identity(&bundle, &digest, (ISSUER, subject), Demands::default(), &root(&sigstore)?)?;
    ensure!(signed.is_ok(), "{signed:?}");
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_is_not_publicly_logged_is_refused_unless_that_is_not_asked_for() -> Result<()> {
    let (cosign, sigstore, place) = (Cosign::new(Line::Three)?, Sigstore::start()?, Place::plain().await?);
    let (digest, image) = place.push("unlogged").await?;
    sigstore.fulcio.set_logged(false);
    let how = Signing::keyless(&sigstore, ISSUER, SUBJECT, Layout::Bundle);
    cosign.sign(&image, &how).await?;
    let identity = identity_arguments(ISSUER, SUBJECT);
    ensure!(cosign.verify(&image, Some(&sigstore), &identity).await.is_err());
    let bundle = place.bundle(&digest).await?;
    let refused = by_identity(&bundle, &digest, RIGHT, Demands::default(), &root(&sigstore)?)?;
    ensure!(matches!(refused, Err(Refused::Unverified(_))), "{refused:?}");
    let demands = Demands { sct: false, ..Demands::default() };
    let signed = by_identity(&bundle, &digest, RIGHT, demands, &root(&sigstore)?)?;
    ensure!(signed.is_ok(), "{signed:?}");
    Ok(())
}

#[tokio::test]
async fn legacy_keyless_signatures_of_both_lines_are_accepted_by_cosign() -> Result<()> {
    let sigstore = Sigstore::start()?;
    for (line, place) in [Line::Two, Line::Three].into_iter().zip(Place::both().await?) {
        let cosign = Cosign::new(line)?;
        for stamped in [false, true] {
            let (_, image) = place.push(&format!("{stamped}")).await?;
            let how = Signing { stamped, ..Signing::keyless(&sigstore, ISSUER, SUBJECT, Layout::Legacy) };
            cosign.sign(&image, &how).await?;
            cosign.verify(&image, Some(&sigstore), &identity_arguments(ISSUER, SUBJECT)).await?;
            let wrong = identity_arguments(ISSUER, "https://ci.example.org/other");
            ensure!(cosign.verify(&image, Some(&sigstore), &wrong).await.is_err());
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_in_a_file_is_judged_by_the_time_of_the_timestamp() -> Result<()> {
    let (cosign, sigstore, place) = (Cosign::new(Line::Three)?, Sigstore::start()?, Place::plain().await?);
    let key = cosign.key_pair(KeyKind::P256, "key").await?;
    let hour = Duration::from_hours(1);
    for (seed, age, with_chain, right) in [
        ("fresh", Duration::ZERO, false, true),
        ("expired", VALIDITY + hour, false, false),
        // Version 0.3 of a bundle has one certificate.
        ("with-chain", Duration::ZERO, true, false),
    ] {
        let (digest, image) = place.push(seed).await?;
        let [certificate, chain] = certificate(&sigstore, &key, age)?;
        let by = By::Certificate {
            key: &key,
            certificate: &certificate,
            chain: with_chain.then_some(chain.as_path()),
        };
        let how = Signing {
            by,
            sigstore: Some(&sigstore),
            stamped: true,
            ..Signing::with_key(&key, Layout::Bundle)
        };
        cosign.sign(&image, &how).await?;
        let bundle = place.bundle(&digest).await?;
        let demands = Demands { tlog: false, timestamps: true, ..Demands::default() };
        let answer = by_identity(&bundle, &digest, RIGHT, demands, &root(&sigstore)?)?;
        ensure!(answer.is_ok() == right, "{seed}: {answer:?}");
    }
    Ok(())
}

/// Files with a certificate for a key, and with those above it.
fn certificate(sigstore: &Sigstore, key: &KeyFiles, age: Duration) -> Result<[std::path::PathBuf; 2]> {
    let subject = Subject { age, ..Subject::new(SUBJECT, ISSUER) };
    let certificate = sigstore.authority.certify_pem(&key.public_pem()?, &subject)?;
    let (leaf, chain) = (key.public.with_extension("crt"), key.public.with_extension("chain"));
    std::fs::write(&leaf, pem(&certificate))?;
    std::fs::write(&chain, sigstore.authority.chain_pem())?;
    Ok([leaf, chain])
}
