//! By key.

use anyhow::{Result, ensure};
use windlass_testkit::cosign::{Cosign, KeyKind, Layout, Line, Logged, Signing};
use windlass_testkit::sigstore::Sigstore;
use windlass_verify::{Demands, Refused, Signer};

use crate::place::{Place, UNLOGGED, by_key, by_key_with, root};

/// cosign signs images with Ed25519ph, which nothing verifies, cosign's `verify` included.
const KINDS: [KeyKind; 3] = [KeyKind::P256, KeyKind::P384, KeyKind::Rsa];

#[tokio::test]
async fn bundles_by_every_kind_of_key_are_accepted_and_by_another_key_refused() -> Result<()> {
    let cosign = Cosign::new(Line::Three)?;
    let stranger = cosign.key_pair(KeyKind::P256, "stranger").await?.public_pem()?;
    for place in Place::both().await? {
        for kind in KINDS {
            let key = cosign.key_pair(kind, &format!("{kind:?}-{}", place.host.replace(':', "-"))).await?;
            let (digest, image) = place.push(&format!("{kind:?}")).await?;
            let (other, _) = place.push(&format!("other-{kind:?}")).await?;
            cosign.sign(&image, &Signing::with_key(&key, Layout::Bundle)).await?;
            let public = key.public.to_string_lossy().into_owned();
            let hash = ["--key", &public, "--signature-digest-algorithm", kind.digest_algorithm()];
            cosign.verify(&image, None, &hash).await?;

            let bundle = place.bundle(&digest).await?;
            let signed = by_key(&bundle, &digest, &key.public_pem()?, UNLOGGED)?;
            ensure!(
                matches!(&signed, Ok(signed) if matches!(signed.signer, Signer::Key(_))),
                "{kind:?}: {signed:?}"
            );
            for refused in [
                by_key(&bundle, &digest, &stranger, UNLOGGED)?,
                by_key(&bundle, &other, &key.public_pem()?, UNLOGGED)?,
                by_key(&bundle, &digest, &key.public_pem()?, Demands::default())?,
            ] {
                ensure!(matches!(refused, Err(Refused::Unverified(_))), "{kind:?}: {refused:?}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_cosign_signs_with_ed25519_is_refused_here_as_it_is_by_cosign() -> Result<()> {
    let place = Place::plain().await?;
    for line in [Line::Two, Line::Three] {
        let cosign = Cosign::new(line)?;
        let key = cosign.key_pair(KeyKind::Ed25519, "key").await?;
        let (digest, image) = place.push(&format!("{line:?}")).await?;
        cosign.sign(&image, &Signing::with_key(&key, Layout::Bundle)).await?;
        let public = key.public.to_string_lossy().into_owned();
        ensure!(cosign.verify(&image, None, &["--key", &public]).await.is_err());
        let refused = by_key(&place.bundle(&digest).await?, &digest, &key.public_pem()?, UNLOGGED)?;
        ensure!(matches!(refused, Err(Refused::Unverified(_))), "{refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_bundle_by_key_in_either_version_of_the_log_satisfies_the_defaults() -> Result<()> {
    let (cosign, sigstore, place) =
        (Cosign::new(Line::Three)?, Sigstore::start()?, Place::with_referrers().await?);
    let (root, strange) = (root(&sigstore)?, root(&Sigstore::start()?)?);
    let key = cosign.key_pair(KeyKind::P256, "key").await?;
    let public = key.public.to_string_lossy().into_owned();
    for logged in [Logged::One, Logged::Two] {
        let (digest, image) = place.push(&format!("{logged:?}")).await?;
        let how = Signing { sigstore: Some(&sigstore), logged, ..Signing::with_key(&key, Layout::Bundle) };
        cosign.sign(&image, &how).await?;
        cosign.verify(&image, Some(&sigstore), &["--key", &public]).await?;
        let bundle = place.bundle(&digest).await?;
        let signed = by_key_with(&bundle, &digest, &key.public_pem()?, Demands::default(), &root)?;
        ensure!(signed.is_ok(), "{logged:?}: {signed:?}");
        let refused = by_key_with(&bundle, &digest, &key.public_pem()?, Demands::default(), &strange)?;
        ensure!(matches!(refused, Err(Refused::Unverified(_))), "{logged:?}: {refused:?}");
    }
    ensure!(sigstore.rekor.entries() == 2, "{} entries", sigstore.rekor.entries());
    Ok(())
}

#[tokio::test]
async fn cosign_2_makes_bundles_too() -> Result<()> {
    let (cosign, place) = (Cosign::new(Line::Two)?, Place::plain().await?);
    let key = cosign.key_pair(KeyKind::P256, "key").await?;
    let (digest, image) = place.push("two").await?;
    cosign.sign(&image, &Signing::with_key(&key, Layout::Bundle)).await?;
    let signed = by_key(&place.bundle(&digest).await?, &digest, &key.public_pem()?, UNLOGGED)?;
    ensure!(signed.is_ok(), "{signed:?}");
    Ok(())
}

#[tokio::test]
async fn legacy_signatures_of_both_lines_are_accepted_by_cosign() -> Result<()> {
    let sigstore = Sigstore::start()?;
    for (line, place) in [Line::Two, Line::Three].into_iter().zip(Place::both().await?) {
        let cosign = Cosign::new(line)?;
        for kind in KINDS {
            let key = cosign.key_pair(kind, &format!("{kind:?}")).await?;
            let (_, image) = place.push(&format!("{kind:?}")).await?;
            cosign.sign(&image, &Signing::with_key(&key, Layout::Legacy)).await?;
            let public = key.public.to_string_lossy().into_owned();
            let hash = ["--key", &public, "--signature-digest-algorithm", kind.digest_algorithm()];
            cosign.verify(&image, None, &hash).await?;
        }
        let key = cosign.key_pair(KeyKind::P256, "logged").await?;
        let public = key.public.to_string_lossy().into_owned();
        let (_, image) = place.push("logged").await?;
        let how = Signing {
            sigstore: Some(&sigstore),
            logged: Logged::One,
            ..Signing::with_key(&key, Layout::Legacy)
        };
        cosign.sign(&image, &how).await?;
        cosign.verify(&image, Some(&sigstore), &["--key", &public]).await?;
        let strange = Sigstore::start()?;
        ensure!(cosign.verify(&image, Some(&strange), &["--key", &public]).await.is_err());
    }
    Ok(())
}
