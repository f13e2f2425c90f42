//! What a mirror may try.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use windlass_model::Spec;
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::http_server::Canned;
use windlass_testkit::traffic::{Match, Point};
use windlass_testkit::tuf::{RootSigners, TufRepository, Versions, target_path};
use windlass_tuf::{Cache, fetch_one};

use super::{NOW, Setting, none, roots, time};

#[tokio::test]
async fn news_are_followed() -> Result<()> {
    let mut setting = Setting::new()?;
    setting.begin().await?;
    setting.repository.publish(&setting.roots[1]);
    setting.is(&setting.fetch(NOW).await?, 1)?;
    let mark = setting.repository.traffic().mark();
    setting.is(&setting.fetch(NOW).await?, 1)?;
    let asked = setting.repository.traffic().mark() - mark;
    ensure!(
        asked == 2,
        "where nothing is new, the next root and the timestamp are asked for, not {asked} files"
    );
    Ok(())
}

#[tokio::test]
async fn a_rollback_of_any_role_is_refused() -> Result<()> {
    let mut setting = Setting::new()?;
    setting.begin().await?;
    let old = setting.repository.files();
    setting.repository.publish(&setting.roots[1]);
    let current = setting.repository.versions();
    setting.is(&setting.fetch(NOW).await?, 1)?;

    setting.repository.set_files(old);
    setting.keeps(1, "rollback detected for timestamp").await?;
    let newer = Versions { timestamp: current.timestamp + 1, ..current };
    setting.repository.publish_as(&setting.roots[0], Versions { snapshot: current.snapshot - 1, ..newer });
    setting.keeps(1, "rollback detected for snapshot").await?;
    let newer = Versions { snapshot: current.snapshot + 1, ..newer };
    setting.repository.publish_as(&setting.roots[0], Versions { targets: current.targets - 1, ..newer });
    setting.keeps(1, "rollback detected for targets.json").await?;

    setting.repository.publish_as(&setting.roots[2], Versions { targets: current.targets + 1, ..newer });
    setting.is(&setting.fetch(NOW).await?, 2)
}

#[tokio::test]
async fn a_mirror_that_is_frozen_is_believed_until_what_it_shows_expires() -> Result<()> {
    for role in ["timestamp", "snapshot", "targets", "root"] {
        let mut setting = Setting::new()?;
        let end = "2030-02-01T00:00:00Z".to_owned();
        let expiry = &mut setting.repository.expiry;
        match role {
            "timestamp" => expiry.timestamp = end,
            "snapshot" => expiry.snapshot = end,
            "targets" => expiry.targets = end,
            _ => expiry.root = end,
        }
        if role == "root" {
            setting.repository.rotate(RootSigners::Both)?;
        }
        setting.repository.publish(&setting.roots[1]);
        let fetched = setting.fetch(NOW).await?;
        setting.is(&fetched, 1)?;
        ensure!(fetched.until == time("2030-02-01T00:00:00Z"), "{role}: {}", fetched.until);
        setting.is(&setting.fetch("2030-01-31T23:59:59Z").await?, 1)?;
        for now in ["2030-02-01T00:00:00Z", "2030-02-01T00:00:01Z"] {
            setting.has_none(now, "expired at 2030-02-01T00:00:00Z").await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn new_root_keys_are_believed_only_where_the_old_ones_vouch_for_them() -> Result<()> {
    let mut setting = Setting::new()?;
    setting.begin().await?;
    for _ in 0..2 {
        setting.repository.rotate(RootSigners::Both)?;
    }
    setting.repository.publish(&setting.roots[1]);
    setting.is(&setting.fetch(NOW).await?, 1)?;
    let good = setting.repository.files();

    for signers in [RootSigners::NewAlone, RootSigners::TooFewOld] {
        let mut forged = Setting::new()?;
        forged.begin().await?;
        forged.repository.rotate(signers)?;
        forged.repository.publish(&forged.roots[1]);
        forged.keeps(0, "signature threshold not met for role root").await?;
        let anew = fetch_one(&forged.configured(), &Spec::default(), &Cache::Nowhere, time(NOW)).await;
        none(anew, "signature threshold not met for role root")?;
    }

    // A root that is left out, and one in another's place.
    let mut gap = good.clone();
    gap.insert("2.root.json".to_owned(), good["3.root.json"].clone());
    setting.folder = fresh(Storage::Memory)?;
    setting.repository.set_files(gap);
    setting.has_none(NOW, "root version must increment by one").await?;
    setting.repository.set_files(good);
    setting.is(&setting.fetch(NOW).await?, 1)
}

#[tokio::test]
async fn another_repository_in_the_mirrors_place_is_refused() -> Result<()> {
    let setting = Setting::new()?;
    setting.begin().await?;
    let mut other = TufRepository::start(&roots()?[1])?;
    other.publish(&setting.roots[1]);
    setting.repository.set_files(other.files());
    setting.keeps(0, "signature threshold not met for role timestamp").await
}

#[tokio::test]
async fn targets_are_what_metadata_say_in_length_and_hash() -> Result<()> {
    let mut setting = Setting::new()?;
    setting.begin().await?;
    setting.repository.publish(&setting.roots[1]);
    let good = setting.repository.files();
    let path = target_path(&setting.roots[1]);
    let mut other = setting.roots[1].clone().into_bytes();
    other[0] = b' ';
    setting.repository.put(&path, other);
    setting.keeps(0, "sha256 mismatch").await?;
    setting.repository.put(&path, setting.roots[1].as_bytes()[1..].to_vec());
    setting.keeps(0, "length").await?;
    setting.repository.put(&path, format!("{} ", setting.roots[1]).into_bytes());
    setting.keeps(0, "bytes").await?;
    setting.repository.set_files(good);
    setting.is(&setting.fetch(NOW).await?, 1)
}

#[tokio::test]
async fn a_target_that_is_no_trust_root_changes_nothing() -> Result<()> {
    let mut setting = Setting::new()?;
    setting.begin().await?;
    for broken in ["{}", "not JSON", "[]"] {
        setting.repository.publish(broken);
        setting.keeps(0, "the trust root cannot be used").await?;
    }
    setting.repository.publish(&" ".repeat((1 << 20) + 1));
    setting.keeps(0, "exceeds configured max").await?;
    setting.repository.publish(&setting.roots[1]);
    setting.is(&setting.fetch(NOW).await?, 1)
}

#[tokio::test]
async fn endless_files_and_redirects_are_cut_off() -> Result<()> {
    let mut setting = Setting::new()?;
    setting.begin().await?;
    setting.repository.publish(&setting.roots[1]);
    let elsewhere = TufRepository::start(&setting.roots[2])?;
    let endless = || Canned::status(200).repeated(vec![b' '; 64 << 10], 1 << 20);
    let dripping = Canned::status(200).dripping(vec![b' '; 4 << 10], Duration::from_millis(1));
    let announced = Canned::status(200).body(vec![b' '; 600_000]);
    let redirect = Canned::status(302).header("location", &elsewhere.url());
    for (path, answer, why) in [
        ("2.root.json", endless(), "has more than 512000 bytes"),
        ("2.root.json", announced, "has more than 512000 bytes"),
        ("timestamp.json", endless(), "has more than 16384 bytes"),
        ("timestamp.json", dripping, "has more than 16384 bytes"),
        ("snapshot.json", endless(), "has more than 2000000 bytes"),
        ("targets.json", endless(), "has more than 5000000 bytes"),
        ("trusted_root.json", endless(), "bytes"),
        ("timestamp.json", redirect, "redirects (302 Found), which is not followed"),
        ("timestamp.json", Canned::status(503), "503"),
        ("timestamp.json", Canned::status(404), "timestamp.json not found"),
        ("timestamp.json", Canned::status(200).body("[".repeat(10_000)), "failed to parse JSON"),
    ] {
        let fault = setting.repository.traffic().answer(Match::path_ends_with(path), answer);
        setting.keeps(0, why).await?;
        ensure!(fault.hits() > 0, "{path} was not asked for");
        fault.lift();
    }
    ensure!(elsewhere.traffic().mark() == 0, "nobody was asked to whom the mirror points");
    setting.is(&setting.fetch(NOW).await?, 1)
}

#[tokio::test]
async fn a_mirror_that_falls_silent_is_not_waited_for_long() -> Result<()> {
    let setting = Setting::new()?;
    setting.begin().await?;
    let silence = setting.repository.traffic().hold(Match::path_ends_with("timestamp.json"), Point::Before);
    let started = Instant::now();
    setting.keeps(0, "did not answer").await?;
    ensure!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
    silence.open();
    setting.is(&setting.fetch(NOW).await?, 0)
}

#[tokio::test]
async fn no_credential_and_nothing_of_the_user_is_sent() -> Result<()> {
    let setting = Setting::new()?;
    setting.begin().await?;
    for exchange in setting.repository.traffic().exchanges() {
        for name in exchange.head.headers.keys() {
            ensure!(["host", "accept", "user-agent"].contains(&name.as_str()), "{name}");
        }
        ensure!(exchange.head.query.is_empty(), "{:?}", exchange.head);
    }
    Ok(())
}
