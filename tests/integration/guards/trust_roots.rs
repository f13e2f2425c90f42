//! Trust roots that are fetched while Windlass runs: a new one counts without a restart, and without a valid one nothing
//! is written.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use windlass_testkit::cosign::{Cosign, Layout, Line, Signing};
use windlass_testkit::eventually;
use windlass_testkit::http_server::Canned;
use windlass_testkit::sigstore::Sigstore;
use windlass_testkit::traffic::Match;
use windlass_testkit::tuf::TufRepository;
use windlass_testkit::world::{self, PATIENCE, REPOSITORY, World, WorldOptions};

use super::wait_for_policy;

const ISSUER: &str = "https://token.example.org";
const SUBJECT: &str = "https://ci.example.org/team/app/.github/workflows/release.yml@refs/heads/main";
/// As `windlass status` names the Guard.
const GUARD: &str = "Guard/signed/signed";
const PAST: &str = "2020-01-01T00:00:00Z";

/// A Guard that believes certificates by the trust root of a repository, which is looked at every second.
fn guard(world: &World, repository: &TufRepository) -> String {
    let tuf = json!({
        "mirror": repository.url(), "insecureHTTP": true, "refreshInterval": "1s",
        "root": {"json": repository.first_root()},
    });
    let spec = json!({
        "match": {"images": [format!("{}/**", world.proxy.host())]},
        "authorities": [{
            "name": "ci",
            "keyless": {"identities": [{"issuer": ISSUER, "subject": SUBJECT}]},
            "trustRoot": {"tuf": tuf},
        }],
        "require": {"signatures": {"anyOf": ["ci"]}},
    });
    json!({"apiVersion": "windlass.dev/v1alpha1", "kind": "Guard", "metadata": {"name": "signed"}, "spec": spec})
        .to_string()
}

async fn push_signed(world: &World, cosign: &Cosign, by: &Sigstore, tag: &str) -> Result<String> {
    let digest = world.push(tag).await?;
    let image = format!("{}/{REPOSITORY}@{digest}", world.proxy.host());
    cosign.sign(&image, &Signing::keyless(by, ISSUER, SUBJECT, Layout::Bundle)).await?;
    Ok(digest)
}

async fn wait_for_guard(world: &mut World, ready: &str, part: &str) -> Result<()> {
    let says = |status: &Value| {
        status["ready"] == ready && status["message"].as_str().is_some_and(|message| message.contains(part))
    };
    world.windlass().wait_for_resource(GUARD, PATIENCE, says).await.map(drop)
}

#[tokio::test]
async fn a_trust_root_that_is_replaced_on_the_mirror_counts_without_a_restart() -> Result<()> {
    let cosign = Cosign::new(Line::Three)?;
    let (old, new) = (Sigstore::start()?, Sigstore::start()?);
    let mut repository = TufRepository::start(&old.trusted_root().to_string())?;
    world::run_prepared(WorldOptions::default(), async |world: &mut World| {
        world.config.write("guard.yaml", guard(world, &repository))?;
        world.start_windlass().await?;
        let digest = push_signed(world, &cosign, &old, "1.1.0").await?;
        world.wait_for(&format!("1.1.0@{digest}")).await?;
        wait_for_guard(world, "ready", "`ci`, trust root of http://").await?;

        let digest = push_signed(world, &cosign, &new, "1.2.0").await?;
        wait_for_policy(world, "ready", "1.2.0 is not allowed").await?;
        repository.publish(&new.trusted_root().to_string());
        world.wait_for(&format!("1.2.0@{digest}")).await?;

        push_signed(world, &cosign, &old, "1.3.0").await?;
        wait_for_policy(world, "ready", "1.3.0 is not allowed").await?;
        ensure!(world.commits().await?.len() == 2);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nothing_is_written_by_a_trust_root_that_expired_and_everything_by_the_next() -> Result<()> {
    let cosign = Cosign::new(Line::Three)?;
    let sigstore = Sigstore::start()?;
    let root = sigstore.trusted_root().to_string();
    let mut repository = TufRepository::start(&root)?;
    let far_away = std::mem::replace(&mut repository.expiry.timestamp, PAST.to_owned());
    repository.publish(&root);
    world::run_prepared(WorldOptions::default(), async |world: &mut World| {
        let digest = push_signed(world, &cosign, &sigstore, "1.1.0").await?;
        world.config.write("guard.yaml", guard(world, &repository))?;
        world.start_windlass().await?;
        wait_for_guard(world, "failing", "timestamp metadata expired at 2020-01-01T00:00:00Z").await?;
        wait_for_policy(world, "failing", "1.1.0 cannot be verified").await?;
        ensure!(world.commits().await?.is_empty());
        ensure!(world.log_text().contains("is not verified"), "it is loud");
        let metrics = world.windlass().get("/metrics").await?.text().await?;
        ensure!(metrics.contains("windlass_trust_root_refreshes_total{mirror="), "{metrics}");

        repository.expiry.timestamp.clone_from(&far_away);
        repository.publish(&root);
        world.wait_for(&format!("1.1.0@{digest}")).await?;
        wait_for_guard(world, "ready", "until 2040-01-01T00:00:00Z").await
    })
    .await
}

#[tokio::test]
async fn a_restart_while_the_mirror_is_down_goes_on_with_what_was_fetched() -> Result<()> {
    let cosign = Cosign::new(Line::Three)?;
    let sigstore = Sigstore::start()?;
    let repository = TufRepository::start(&sigstore.trusted_root().to_string())?;
    world::run_prepared(WorldOptions::default(), async |world: &mut World| {
        world.config.write("guard.yaml", guard(world, &repository))?;
        world.start_windlass().await?;
        wait_for_guard(world, "ready", "until 2040-01-01T00:00:00Z").await?;
        world.windlass().terminate(PATIENCE).await?;
        let outage = repository.traffic().answer(Match::any(), Canned::status(503));
        world.start_windlass().await?;
        let digest = push_signed(world, &cosign, &sigstore, "1.1.0").await?;
        world.wait_for(&format!("1.1.0@{digest}")).await?;
        wait_for_guard(world, "ready", "it could not be fetched anew").await?;
        outage.lift();
        eventually(PATIENCE, "a Guard whose trust root is fetched anew", async || {
            let report = world.windlass().report().await?;
            ensure!(!report.to_string().contains("fetched anew"), "{report:#}");
            Ok(Some(()))
        })
        .await
    })
    .await
}
