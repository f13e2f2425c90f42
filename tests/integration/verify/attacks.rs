//! Signatures that were taken apart and put together otherwise: whoever may push to a repository may do that, and none
//! of it is ever allowed.
//!
//! Where each known class of attacks is shown to fail, in the programs' own history and in this repository (`verify` is
//! this folder, `guards` its neighbour, `unit` is `crates/verify/src`):
//!
//! | | attack | tests |
//! |---|---|---|
//! | 1 | parts of another signature (CVE-2022-23649) | `parts_of_two_right_signatures_make_no_third` |
//! | 2 | a log entry of another signature (CVE-2022-36056) | `parts_of_two_right_bundles_make_no_third`, `times`: `…moved_taken_away_or_borrowed…` |
//! | 3 | an entry not bound to what was signed (CVE-2026-22703) | the two above; unit `mutations` |
//! | 4 | a key in the place of a certificate (GHSA-fx35-mq7g-6g98) | `a_public_key_in_the_place_of_a_certificate_is_denied` |
//! | 5 | an expired intermediate (CVE-2026-24122) | `times`: `an_authority_that_had_expired…`; unit `sigstore::windows` |
//! | 6 | an attestation of another type (CVE-2022-35929, -35930) | `attestations`; unit `attacks::a_predicate_of_another_type…` |
//! | 7 | provenance as a signature, bundles that hide `.sig` | `attestations`: `a_signature_is_no_attestation…` |
//! | 8 | endless data (CVE-2023-46737, CVE-2024-29902, -29903, -45395) | `floods_of_signatures…`, `hostile`: `endless…`, `…drips…`; `guards::hostile`: `endless…` |
//! | 9 | tags that move, manifests that flip, digests that lie | `hostile`: `a_tag_that_flips…`, `a_digest_in_a_header…`; `guards`: `a_tag_that_moves…`; `guards::hostile`: `…flips…` |
//! | 10 | an index for its images, an image for its index | `signed`: `a_signed_image_says_nothing_of_its_index…` |
//! | 11 | another digest, spelling or algorithm in what was signed | `a_legacy_signature_that_was_changed…`; unit `attacks::a_payload_says_once…`; `docker-reference` is a hint and not looked at |
//! | 12 | identities that look alike | `signed`: `a_look_alike…`, `…for_its_identity_alone`; unit `identity` |
//! | 13 | expired certificates, forged and borrowed times | `times`: `a_certificate_is_good_at…`, `…moved_taken_away_or_borrowed…` |
//! | 14 | times of a trust root, rotated keys, names of logs | `times`: `a_trust_root_vouches…`, `keys_of_logs_are_rotated…` |
//! | 15 | one signer counted twice (GHSA-9vcr-p3rj-q5q6) | `signed`: `signers_are_counted…`; `places`: `an_identity_counts_once…`; unit `attacks::one_signer…` |
//! | 16 | an expired key (GHSA-wqqc-jjcq-vfxm) | keys have no end here: a Guard that no longer names one no longer believes it (`guards`: `a_guard_that_breaks_or_changes_its_mind…`) |
//! | 17 | DSSE: signatures, types, encodings, names, statements | unit `attacks` |
//! | 18 | a verdict that somebody else wrote down | `guards::hostile`: `words_of_others…` |
//! | 19 | layers and types that lie | `what_is_no_signature…`, `places`: `a_type_that_lies…`, `layers_of_one_content…` |
//! | 20 | a list of referrers that lies | `a_referrer_that_refers…`, `places`: `a_list_of_referrers…` |
//! | 21 | an old image, rightly signed | the policy's order and `deny`: `guards`: `a_recalled_release…` |
//! | 22 | credentials for another host | `hostile`: `a_redirect…`; `places`: `another_registry_of_signatures…` |
//! | 23 | silence about signatures alone | `hostile`: `refusals…`, `one_path…`; `guards::hostile`: `refusals…` |
//! | 24 | patterns and expressions that never end | `limits` |

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use windlass_testkit::cosign::{Layout, Line, Logged, Signing};
use windlass_testkit::evidence::{
    self, CERTIFICATE, CHAIN, Layer, REKOR, SIGNATURE, attestation_tag, layers, only_bundle, put_bundle,
    put_layers, signature_tag,
};
use windlass_testkit::image::{INDEX, MANIFEST, Pusher};
use windlass_testkit::referrers_registry::AnyRegistry;

use super::{ALLOWED, DENIED, ISSUER, Image, REPOSITORY, SUBJECT, Setting, by_identity, by_key, push, with};

/// A signed image, an unsigned one, and all the ways to ask.
struct Scene<'a> {
    setting: &'a Setting,
    registry: &'a AnyRegistry,
    signed: Image,
    victim: Image,
}

impl<'a> Scene<'a> {
    async fn new(
        setting: &'a Setting,
        registry: &'a AnyRegistry,
        seed: &str,
        how: &Signing<'_>,
        line: Line,
    ) -> Result<Self> {
        let (signed, victim) =
            (push(registry, seed).await?, push(registry, &format!("{seed}-victim")).await?);
        setting.cosign(line).sign(&signed.name, how).await?;
        Ok(Self { setting, registry, signed, victim })
    }

    fn images(&self) -> &Pusher {
        self.registry.images()
    }

    /// What was signed verifies; so what is denied later is denied for what was done to it.
    async fn is_sound(&self, authority: &Value) -> Result<()> {
        self.setting.ask(&self.signed.name, authority.clone()).await?.is(ALLOWED, "the signed image")
    }

    async fn is_denied(&self, image: &Image, authority: &Value, what: &str) -> Result<()> {
        self.setting.ask(&image.name, authority.clone()).await?.is(DENIED, what)
    }

    async fn legacy(&self) -> Result<Vec<Layer>> {
        layers(self.images(), REPOSITORY, &signature_tag(&self.signed.digest)).await
    }

    async fn put_legacy(&self, image: &Image, layers: &[Layer]) -> Result<()> {
        put_layers(self.images(), REPOSITORY, &signature_tag(&image.digest), layers).await.map(drop)
    }
}

#[tokio::test]
async fn a_signature_of_another_image_is_denied_wherever_it_lies() -> Result<()> {
    let setting = Setting::new().await?;
    let key = with(by_key(&setting.key)?, "insecureIgnoreTlog", true);
    let identity = by_identity(ISSUER, SUBJECT);
    for registry in AnyRegistry::both().await? {
        for (authority, name) in [(&key, "key"), (&identity, "identity")] {
            let how = |layout| match name {
                "key" => Signing::with_key(&setting.key, layout),
                _ => Signing::keyless(&setting.sigstore, ISSUER, SUBJECT, layout),
            };
            let scene =
                Scene::new(&setting, &registry, &format!("{name}-legacy"), &how(Layout::Legacy), Line::Two)
                    .await?;
            scene.is_sound(authority).await?;
            scene.put_legacy(&scene.victim, &scene.legacy().await?).await?;
            scene.is_denied(&scene.victim, authority, "a `.sig` under another image's tag").await?;

            let scene =
                Scene::new(&setting, &registry, &format!("{name}-bundle"), &how(Layout::Bundle), Line::Three)
                    .await?;
            scene.is_sound(authority).await?;
            let bundle = only_bundle(scene.images(), REPOSITORY, &scene.signed.digest).await?;
            put_bundle(scene.images(), REPOSITORY, &scene.victim.digest, &bundle).await?;
            scene.is_denied(&scene.victim, authority, "a bundle that refers to another image").await?;
        }
    }
    Ok(())
}

/// The tag that stands for the referrers is anybody's who may push: a referrer itself must say what it refers to.
#[tokio::test]
async fn a_referrer_that_refers_to_another_image_is_denied() -> Result<()> {
    let setting = Setting::new().await?;
    let [plain, _] = AnyRegistry::both().await?;
    let authority = with(by_key(&setting.key)?, "insecureIgnoreTlog", true);
    let how = Signing::with_key(&setting.key, Layout::Bundle);
    let scene = Scene::new(&setting, &plain, "listed", &how, Line::Three).await?;
    let listed = scene.images().referrers(REPOSITORY, &scene.signed.digest).await?;
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).to_string();
    let tag = scene.victim.digest.replace(':', "-");
    scene.images().put_manifest(REPOSITORY, &tag, INDEX, index.into_bytes()).await?;
    scene.is_denied(&scene.victim, &authority, "another image's referrer").await
}

#[tokio::test]
async fn a_legacy_signature_that_was_changed_is_denied() -> Result<()> {
    let (setting, [registry, _]) = (Setting::new().await?, AnyRegistry::both().await?);
    let key = with(by_key(&setting.key)?, "insecureIgnoreTlog", true);
    let scene =
        Scene::new(&setting, &registry, "key", &Signing::with_key(&setting.key, Layout::Legacy), Line::Two)
            .await?;
    scene.is_sound(&key).await?;
    let good = scene.legacy().await?.remove(0);
    let payload: Value = serde_json::from_slice(&good.content)?;

    for (what, changed) in [
        ("the digest of the victim", edited(&payload, "docker-manifest-digest", json!(scene.victim.digest))),
        (
            "an upper-case digest",
            edited(&payload, "docker-manifest-digest", json!(scene.victim.digest.to_uppercase())),
        ),
        ("no digest", edited(&payload, "docker-manifest-digest", Value::Null)),
        ("nothing at all", Value::Null),
    ] {
        let layer = Layer { content: changed.to_string().into_bytes(), ..good.clone() };
        scene.put_legacy(&scene.victim, &[layer]).await?;
        scene.is_denied(&scene.victim, &key, what).await?;
    }
    for (what, signature) in [
        ("an empty signature", json!("")),
        ("no base64", json!("~")),
        ("another's signature", json!(STANDARD.encode([0x30; 70]))),
    ] {
        let mut layer = good.clone();
        layer.annotations[SIGNATURE] = signature;
        scene.put_legacy(&scene.signed, &[layer]).await?;
        scene.is_denied(&scene.signed, &key, what).await?;
    }
    let mut layer = good.clone();
    layer.media_type = "application/octet-stream".to_owned();
    scene.put_legacy(&scene.signed, &[layer]).await?;
    scene.is_denied(&scene.signed, &key, "a layer of another type").await?;
    // Many that are worth nothing do not hide the one that is good.
    let broken = Layer { content: b"{}".to_vec(), ..good.clone() };
    scene.put_legacy(&scene.signed, &[broken, good]).await?;
    scene.is_sound(&key).await
}

fn edited(payload: &Value, name: &str, value: Value) -> Value {
    let mut payload = payload.clone();
    payload["critical"]["image"][name] = value;
    payload
}

/// CVE-2022-23649, CVE-2022-36056 and CVE-2026-22703: parts of right signatures in other company.
#[tokio::test]
async fn parts_of_two_right_signatures_make_no_third() -> Result<()> {
    let (setting, [registry, _]) = (Setting::new().await?, AnyRegistry::both().await?);
    let identity = by_identity(ISSUER, SUBJECT);
    for line in [Line::Two, Line::Three] {
        let how = Signing::keyless(&setting.sigstore, ISSUER, SUBJECT, Layout::Legacy);
        let mallory = Signing::keyless(&setting.sigstore, ISSUER, "https://evil.example/", Layout::Legacy);
        let scene = Scene::new(&setting, &registry, &format!("{line:?}"), &how, line).await?;
        scene.is_sound(&identity).await?;
        let good = scene.legacy().await?.remove(0);
        // Mallory signs the victim with a certificate of her own, and borrows from the good signature.
        setting.cosign(line).sign(&scene.victim.name, &mallory).await?;
        let tag = signature_tag(&scene.victim.digest);
        let hers = layers(scene.images(), REPOSITORY, &tag).await?.remove(0);
        scene.is_denied(&scene.victim, &identity, "her own signature").await?;
        for borrowed in [
            &[CERTIFICATE][..],
            &[CERTIFICATE, REKOR],
            &[CERTIFICATE, REKOR, SIGNATURE],
            &[REKOR],
            &[SIGNATURE],
            &[CERTIFICATE, CHAIN, SIGNATURE],
        ] {
            let mut layer = hers.clone();
            for name in borrowed {
                layer.annotations[*name] = good.annotations[*name].clone();
            }
            scene.put_legacy(&scene.victim, &[layer]).await?;
            scene.is_denied(&scene.victim, &identity, &format!("{line:?}: borrowed {borrowed:?}")).await?;
        }
        let mut unlogged = good.clone();
        unlogged.annotations.as_object_mut().context("annotations")?.remove(REKOR);
        scene.put_legacy(&scene.signed, &[unlogged]).await?;
        scene.is_denied(&scene.signed, &identity, "without its entry in the log").await?;
    }
    Ok(())
}

/// GHSA-fx35-mq7g-6g98.
#[tokio::test]
async fn a_public_key_in_the_place_of_a_certificate_is_denied() -> Result<()> {
    let (setting, [registry, _]) = (Setting::new().await?, AnyRegistry::both().await?);
    let identity = by_identity(ISSUER, SUBJECT);
    let how = Signing {
        sigstore: Some(&setting.sigstore),
        logged: Logged::One,
        ..Signing::with_key(&setting.stranger, Layout::Legacy)
    };
    let scene = Scene::new(&setting, &registry, "key", &how, Line::Two).await?;
    let good = scene.legacy().await?.remove(0);
    for certificate in [
        setting.stranger.public_pem()?,
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".to_owned(),
        "x".to_owned(),
    ] {
        let mut layer = good.clone();
        layer.annotations[CERTIFICATE] = json!(certificate);
        scene.put_legacy(&scene.signed, &[layer]).await?;
        scene.is_denied(&scene.signed, &identity, &certificate).await?;
        let lax = with(with(identity.clone(), "insecureIgnoreSCT", true), "insecureIgnoreTlog", true);
        scene.is_denied(&scene.signed, &lax, &certificate).await?;
    }
    Ok(())
}

#[tokio::test]
async fn parts_of_two_right_bundles_make_no_third() -> Result<()> {
    let (setting, [_, registry]) = (Setting::new().await?, AnyRegistry::both().await?);
    let identity = by_identity(ISSUER, SUBJECT);
    for logged in [Logged::One, Logged::Two] {
        let how = Signing { logged, ..Signing::keyless(&setting.sigstore, ISSUER, SUBJECT, Layout::Bundle) };
        let scene = Scene::new(&setting, &registry, &format!("{logged:?}"), &how, Line::Three).await?;
        scene.is_sound(&identity).await?;
        let good = bundle_of(&scene, &scene.signed).await?;
        let mallory = Signing {
            logged,
            ..Signing::keyless(&setting.sigstore, ISSUER, "https://evil.example/", Layout::Bundle)
        };
        let aside = push(&registry, &format!("{logged:?}-aside")).await?;
        setting.three.sign(&aside.name, &mallory).await?;
        let hers = bundle_of(&scene, &aside).await?;
        for pointer in [
            "/verificationMaterial/certificate",
            "/verificationMaterial/tlogEntries",
            "/verificationMaterial",
            "/dsseEnvelope/payload",
            "/dsseEnvelope/signatures",
            "/dsseEnvelope",
        ] {
            // Hers with a part of the good one, and the good one with a part of hers.
            for (into, from, image) in [(&hers, &good, &scene.victim), (&good, &hers, &aside)] {
                let mut spliced = into.clone();
                *spliced.pointer_mut(pointer).context("a bundle has this part")? =
                    from.pointer(pointer).context("a bundle has this part")?.clone();
                put_bundle(scene.images(), REPOSITORY, &image.digest, spliced.to_string().as_bytes()).await?;
                scene.is_denied(image, &identity, &format!("{logged:?}: {pointer}")).await?;
            }
        }
    }
    Ok(())
}

async fn bundle_of(scene: &Scene<'_>, image: &Image) -> Result<Value> {
    Ok(serde_json::from_slice(&only_bundle(scene.images(), REPOSITORY, &image.digest).await?)?)
}

#[tokio::test]
async fn what_is_no_signature_is_denied_whatever_it_says_it_is() -> Result<()> {
    let setting = Setting::new().await?;
    let key = with(by_key(&setting.key)?, "insecureIgnoreTlog", true);
    for registry in AnyRegistry::both().await? {
        let how = Signing::with_key(&setting.key, Layout::Bundle);
        let scene = Scene::new(&setting, &registry, "odd", &how, Line::Three).await?;
        let images = scene.images();
        for bundle in ["", "{}", "[]", "null", "\u{feff}{}", &"[".repeat(100_000)] {
            put_bundle(images, REPOSITORY, &scene.victim.digest, bundle.as_bytes()).await?;
            scene.is_denied(&scene.victim, &key, "a bundle that is none").await?;
        }
        // The `.sig` tag as an index of the signed image, as the image itself, and an image as `.att`.
        let (media_type, itself) = images.manifest(REPOSITORY, &scene.signed.digest).await?;
        let entry = json!({"mediaType": MANIFEST, "digest": scene.signed.digest, "size": itself.len()});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).to_string();
        let (sig, att) = (signature_tag(&scene.victim.digest), attestation_tag(&scene.victim.digest));
        for (tag, media_type, manifest) in [
            (&sig, INDEX, index.into_bytes()),
            (&sig, media_type.as_str(), itself.clone()),
            (&att, media_type.as_str(), itself),
        ] {
            images.put_manifest(REPOSITORY, tag, media_type, manifest).await?;
            scene.is_denied(&scene.victim, &key, tag).await?;
        }
    }
    Ok(())
}

/// CVE-2024-29903 and its like: more than anybody signs. What is past a limit is not "unsigned".
#[tokio::test]
async fn floods_of_signatures_are_bounded_and_never_allow() -> Result<()> {
    let setting = Setting::new().await?;
    let key = with(by_key(&setting.key)?, "insecureIgnoreTlog", true);
    for registry in AnyRegistry::both().await? {
        let how = Signing::with_key(&setting.stranger, Layout::Legacy);
        let scene = Scene::new(&setting, &registry, "flood", &how, Line::Two).await?;
        let layer = scene.legacy().await?.remove(0);
        let layers: Vec<Layer> = (0..2_000)
            .map(|number| {
                let mut layer = layer.clone();
                layer.annotations["number"] = json!(number.to_string());
                layer
            })
            .collect();
        scene.put_legacy(&scene.victim, &layers).await?;
        setting.ask(&scene.victim.name, key.clone()).await?.is_not_allowed("2,000 layers")?;

        let how = Signing::with_key(&setting.stranger, Layout::Bundle);
        let scene = Scene::new(&setting, &registry, "heavy", &how, Line::Three).await?;
        let good = bundle_of(&scene, &scene.signed).await?;
        let entry = json!({"signedTimestamp": STANDARD.encode([0; 700])});
        let mut heavy = good.clone();
        heavy["verificationMaterial"]["timestampVerificationData"] =
            json!({"rfc3161Timestamps": vec![entry; 2_000]});
        let huge = format!("{}{good}", " ".repeat(2 << 20));
        for bundle in [heavy.to_string(), huge] {
            put_bundle(scene.images(), REPOSITORY, &scene.victim.digest, bundle.as_bytes()).await?;
            setting.ask(&scene.victim.name, key.clone()).await?.is_not_allowed("a heavy bundle")?;
        }
        ensure!(evidence::bundles(scene.images(), REPOSITORY, &scene.victim.digest).await?.len() == 2);
    }
    Ok(())
}
