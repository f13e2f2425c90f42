//! Signatures at the wrong time: certificates, logs and timestamp authorities that were not valid when something was
//! signed, times that nobody vouches for, and trust roots that contradict themselves.

use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use windlass_testkit::ca::{Authority, Subject};
use windlass_testkit::cosign::{Layout, Line, Logged, Signing};
use windlass_testkit::evidence::{CHAIN, Layer, REKOR, only_bundle, put_bundle, put_layers, signature_tag};
use windlass_testkit::forge::{Certified, Forger};
use windlass_testkit::referrers_registry::AnyRegistry;
use windlass_testkit::sigstore::Sigstore;

use super::{ALLOWED, DENIED, ISSUER, Image, REPOSITORY, SUBJECT, Setting, by_identity, push, with};

const LONG_AGO: &str = "2020-01-01T00:00:00Z";
const PAST: &str = "2021-01-01T00:00:00Z";
const FUTURE: &str = "2099-01-01T00:00:00Z";
/// Longer than any certificate of a signer is valid.
const HOUR: Duration = Duration::from_hours(1);

/// Signatures that are made by hand, and how they are judged.
struct Forgery {
    setting: Setting,
    registry: AnyRegistry,
    forger: Forger,
}

impl Forgery {
    async fn new() -> Result<Self> {
        let (setting, [registry, _]) = (Setting::new().await?, AnyRegistry::both().await?);
        Ok(Self { setting, registry, forger: Forger::new()? })
    }

    fn certified(&self, authority: &Authority, age: Duration) -> Result<Certified> {
        self.forger.certified(authority, &Subject { age, ..Subject::new(SUBJECT, ISSUER) })
    }

    async fn logged(&self, image: &Image, by: &Certified) -> Result<Layer> {
        self.forger.sign(&image.digest, by, Some(&self.setting.sigstore.rekor)).await
    }

    async fn is(&self, wanted: i32, image: &Image, layer: Layer, root: &Value, what: &str) -> Result<()> {
        let tag = signature_tag(&image.digest);
        put_layers(self.registry.images(), REPOSITORY, &tag, &[layer]).await?;
        let identity = by_identity(ISSUER, SUBJECT);
        self.setting.ask_with(&image.name, identity, root).await?.is(wanted, what)
    }
}

/// CVE-2026-24122, and its like in a trust root.
#[tokio::test]
async fn an_authority_that_had_expired_when_something_was_signed_vouches_for_nothing() -> Result<()> {
    let scene = Forgery::new().await?;
    let image = push(&scene.registry, "expired-authority").await?;
    let whole = Authority::new("whole")?;
    for (authority, wanted, what) in
        [(whole, ALLOWED, "a whole authority"), (Authority::expired("expired")?, DENIED, "an expired one")]
    {
        let by = scene.certified(&authority, Duration::ZERO)?;
        let layer = scene.logged(&image, &by).await?;
        let root = scene.setting.sigstore.trusted_root_with(&authority);
        // The intermediate is in the trust root; or it comes with the signature, and its root alone is trusted.
        let mut above = root.clone();
        let chain = above["certificateAuthorities"][0]["certChain"]["certificates"].as_array_mut();
        chain.context("a chain")?.remove(0);
        for (root, place) in [(&root, "in the root"), (&above, "beside the signature")] {
            scene.is(wanted, &image, layer.clone(), root, &format!("{what} {place}")).await?;
        }
        let mut alone = layer;
        alone.annotations.as_object_mut().context("annotations")?.remove(CHAIN);
        scene.is(wanted, &image, alone.clone(), &root, &format!("{what} in the root alone")).await?;
        scene.is(DENIED, &image, alone, &above, &format!("{what} nowhere")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_is_good_at_the_time_that_the_log_vouches_for_and_no_other() -> Result<()> {
    let scene = Forgery::new().await?;
    let (authority, root) = (&scene.setting.sigstore.authority, scene.setting.sigstore.trusted_root());
    let image = push(&scene.registry, "expired-certificate").await?;
    let expired = scene.certified(authority, HOUR)?;
    let late = scene.logged(&image, &expired).await?;
    scene.is(DENIED, &image, late.clone(), &root, "logged after the certificate expired").await?;
    for seconds in [-3_500, -300, 300, -1_000_000_000_000] {
        let what = format!("a time that is {seconds} s off");
        scene.is(DENIED, &image, moved(&late, seconds)?, &root, &what).await?;
    }
    let fresh = scene.certified(authority, Duration::ZERO)?;
    let good = scene.logged(&image, &fresh).await?;
    scene.is(ALLOWED, &image, good.clone(), &root, "a fresh certificate").await?;
    for seconds in [-1, 1, 400_000_000] {
        let what = format!("a good signature with a time that is {seconds} s off");
        scene.is(DENIED, &image, moved(&good, seconds)?, &root, &what).await?;
    }
    // Without a log nobody says when; the clock that judges is not asked.
    let identity = with(by_identity(ISSUER, SUBJECT), "insecureIgnoreTlog", true);
    for by in [&expired, &fresh] {
        let layer = scene.forger.sign(&image.digest, by, None).await?;
        put_layers(scene.registry.images(), REPOSITORY, &signature_tag(&image.digest), &[layer]).await?;
        let answer = scene.setting.ask_with(&image.name, identity.clone(), &root).await?;
        answer.is(DENIED, "no time at all")?;
    }
    Ok(())
}

/// The layer with another `integratedTime` in its entry.
fn moved(layer: &Layer, seconds: i64) -> Result<Layer> {
    let mut layer = layer.clone();
    let mut entry: Value = serde_json::from_str(layer.annotations[REKOR].as_str().context("an entry")?)?;
    let time = entry["Payload"]["integratedTime"].as_i64().context("a time")?;
    entry["Payload"]["integratedTime"] = json!(time + seconds);
    layer.annotations[REKOR] = json!(entry.to_string());
    Ok(layer)
}

/// An image that cosign signed with a bundle, a timestamp and an entry in a log.
struct Bundled {
    image: Image,
    bundle: Value,
}

impl Bundled {
    async fn new(setting: &Setting, registry: &AnyRegistry, seed: &str, logged: Logged) -> Result<Self> {
        let image = push(registry, seed).await?;
        let how = Signing {
            logged,
            stamped: true,
            ..Signing::keyless(&setting.sigstore, ISSUER, SUBJECT, Layout::Bundle)
        };
        setting.cosign(Line::Three).sign(&image.name, &how).await?;
        let bundle = only_bundle(registry.images(), REPOSITORY, &image.digest).await?;
        Ok(Self { image, bundle: serde_json::from_slice(&bundle)? })
    }
}

const STAMPS: &str = "timestampVerificationData";

#[tokio::test]
async fn times_that_are_moved_taken_away_or_borrowed_are_denied() -> Result<()> {
    let (setting, [_, registry]) = (Setting::new().await?, AnyRegistry::both().await?);
    let identity = by_identity(ISSUER, SUBJECT);
    for logged in [Logged::One, Logged::Two] {
        let Bundled { image, bundle } =
            Bundled::new(&setting, &registry, &format!("{logged:?}"), logged).await?;
        let other = Bundled::new(&setting, &registry, &format!("{logged:?}-other"), logged).await?;
        setting.ask(&image.name, identity.clone()).await?.is(ALLOWED, "as it was signed")?;
        let mut forged: Vec<(&str, Value)> = Vec::new();
        let mut change = |what, change: &dyn Fn(&mut Value)| {
            let mut bundle = bundle.clone();
            change(&mut bundle);
            forged.push((what, bundle));
        };
        change("borrowed timestamps", &|bundle| {
            bundle["verificationMaterial"][STAMPS] = other.bundle["verificationMaterial"][STAMPS].clone();
        });
        change("a broken timestamp", &|bundle| {
            bundle["verificationMaterial"][STAMPS]["rfc3161Timestamps"][0]["signedTimestamp"] =
                json!(STANDARD.encode([0x30, 0x03, 0x02, 0x01, 0x00]));
        });
        change("no entry", &|bundle| bundle["verificationMaterial"]["tlogEntries"] = json!([]));
        change("no proof", &|bundle| drop(taken(bundle, "inclusionProof")));
        change("a borrowed proof", &|bundle| {
            entry(bundle)["inclusionProof"] = entry(&mut other.bundle.clone())["inclusionProof"].clone();
        });
        change("a borrowed entry", &|bundle| {
            *entry(bundle) = entry(&mut other.bundle.clone()).clone();
        });
        if logged == Logged::One {
            change("a later time", &|bundle| shift(bundle, 60));
            change("an earlier time", &|bundle| shift(bundle, -60));
            change("a time and no promise, and no timestamp", &|bundle| {
                taken(bundle, "inclusionPromise");
                bundle["verificationMaterial"][STAMPS] = json!({});
            });
            change("a time that is no number", &|bundle| entry(bundle)["integratedTime"] = json!("soon"));
        } else {
            change("an entry that has no time, and no timestamp", &|bundle| {
                bundle["verificationMaterial"][STAMPS] = json!({});
            });
            change("a time that nobody signed, and no timestamp", &|bundle| {
                bundle["verificationMaterial"][STAMPS] = json!({});
                entry(bundle)["integratedTime"] = json!("1700000000");
            });
        }
        for (number, (what, bundle)) in forged.iter().enumerate() {
            let name = alone(&registry, &format!("{logged:?}"), number, bundle).await?;
            setting.ask(&name, identity.clone()).await?.is(DENIED, &format!("{logged:?}: {what}"))?;
        }
        let name = alone(&registry, &format!("{logged:?}"), forged.len(), &bundle).await?;
        setting.ask(&name, identity.clone()).await?.is(ALLOWED, "the bundle itself")?;
    }
    Ok(())
}

/// The image with this seed in a repository of its own, with this bundle and nothing else.
async fn alone(registry: &AnyRegistry, seed: &str, number: usize, bundle: &Value) -> Result<String> {
    let repository = format!("forged/{}-{number}", seed.to_lowercase());
    let digest = registry.images().push(&repository, seed, seed).await?;
    put_bundle(registry.images(), &repository, &digest, bundle.to_string().as_bytes()).await?;
    Ok(format!("{}/{repository}@{digest}", registry.host()))
}

fn entry(bundle: &mut Value) -> &mut Value {
    &mut bundle["verificationMaterial"]["tlogEntries"][0]
}

fn taken(bundle: &mut Value, name: &str) -> Option<Value> {
    entry(bundle).as_object_mut()?.remove(name)
}

fn shift(bundle: &mut Value, seconds: i64) {
    let time = entry(bundle)["integratedTime"].as_str().and_then(|time| time.parse::<i64>().ok());
    entry(bundle)["integratedTime"] = json!(time.map(|time| (time + seconds).to_string()));
}

/// With what a trust root says of the times of logs and authorities; what is retired was that before anything was signed.
#[tokio::test]
async fn a_trust_root_vouches_within_its_times_alone() -> Result<()> {
    let (setting, [_, registry]) = (Setting::new().await?, AnyRegistry::both().await?);
    let identity = by_identity(ISSUER, SUBJECT);
    for logged in [Logged::One, Logged::Two] {
        let signed = Bundled::new(&setting, &registry, &format!("{logged:?}"), logged).await?;
        let root = setting.sigstore.trusted_root();
        for window in [
            "/certificateAuthorities/0/validFor",
            "/timestampAuthorities/0/validFor",
            "/ctlogs/0/publicKey/validFor",
            "/tlogs/0/publicKey/validFor",
        ] {
            for (times, wanted) in [
                (json!({"start": LONG_AGO, "end": FUTURE}), ALLOWED),
                (json!({"start": LONG_AGO, "end": PAST}), DENIED),
                (json!({"start": FUTURE}), DENIED),
            ] {
                let what = format!("{logged:?}: {window} {times}");
                let mut root = root.clone();
                *root.pointer_mut(window).context("a time")? = times;
                let answer = setting.ask_with(&signed.image.name, identity.clone(), &root).await?;
                answer.is(wanted, &what)?;
            }
            let what = format!("{logged:?}: {window} that ends before it begins");
            let mut root = root.clone();
            *root.pointer_mut(window).context("a time")? = json!({"start": PAST, "end": LONG_AGO});
            let answer = setting.ask_with(&signed.image.name, identity.clone(), &root).await?;
            answer.is_not_allowed(&what)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn keys_of_logs_are_rotated_and_never_stand_for_one_another() -> Result<()> {
    let (setting, [_, registry]) = (Setting::new().await?, AnyRegistry::both().await?);
    let elsewhere = Sigstore::start()?;
    let identity = by_identity(ISSUER, SUBJECT);
    for logged in [Logged::One, Logged::Two] {
        let signed = Bundled::new(&setting, &registry, &format!("{logged:?}"), logged).await?;
        let root = setting.sigstore.trusted_root();
        let (ours, next) = (root["tlogs"][0].clone(), elsewhere.trusted_root()["tlogs"][0].clone());
        let ended = |log: &Value, end| {
            let mut log = log.clone();
            log["publicKey"]["validFor"] = json!({"start": LONG_AGO, "end": end});
            log
        };
        // Another log's key under the name of ours.
        let (mut posing, mut posed) = (next.clone(), ours.clone());
        posing["logId"] = ours["logId"].clone();
        posed["logId"] = next["logId"].clone();
        for (logs, wanted, what) in [
            (json!([ended(&ours, FUTURE), next]), Some(ALLOWED), "a key that will be retired"),
            (json!([next, ended(&ours, FUTURE)]), Some(ALLOWED), "the same in another order"),
            (json!([ended(&ours, PAST), next]), Some(DENIED), "a key that was retired"),
            (json!([next]), Some(DENIED), "another log alone"),
            (json!([]), Some(DENIED), "no log"),
            (json!([posing]), None, "another log's key under our log's name"),
            (json!([posed]), None, "our log's key under another log's name"),
            (json!([ours, posing]), None, "two keys of one name"),
            (json!([posing, ours]), None, "two keys of one name in another order"),
            (json!([ours, ours]), None, "one key twice"),
            (json!([ended(&ours, PAST), ours]), None, "a retired key that goes on"),
        ] {
            let what = format!("{logged:?}: {what}");
            let mut root = root.clone();
            root["tlogs"] = logs;
            let answer = setting.ask_with(&signed.image.name, identity.clone(), &root).await?;
            match wanted {
                Some(wanted) => answer.is(wanted, &what)?,
                None => answer.is_not_allowed(&what)?,
            }
        }
        for authority in ["certificateAuthorities", "timestampAuthorities", "ctlogs"] {
            let mut root = root.clone();
            root[authority] = elsewhere.trusted_root()[authority].clone();
            let answer = setting.ask_with(&signed.image.name, identity.clone(), &root).await?;
            answer.is(DENIED, &format!("{logged:?}: somebody else's {authority}"))?;
            root[authority] = json!([]);
            let answer = setting.ask_with(&signed.image.name, identity.clone(), &root).await?;
            answer.is(DENIED, &format!("{logged:?}: no {authority}"))?;
        }
    }
    Ok(())
}
