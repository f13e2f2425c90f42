//! After a landed push the reconciler is told, by a request that it believes, whatever becomes of the chat.

use anyhow::{Result, ensure};
use serde_json::json;
use windlass_testkit::config;
use windlass_testkit::http_server::Canned;
use windlass_testkit::reconciler::{Reconciler, Reconcilers, TOKEN};
use windlass_testkit::traffic::{Match, Point};
use windlass_testkit::world::{self, FLEET, MANIFEST_PATH, NAMESPACE, PATIENCE, World, WorldOptions};

/// A Notifier to a reconciler, with further lines of its `spec`.
fn notifier(name: &str, target: &str, more: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: Notifier\nmetadata:\n  name: {name}\n  namespace: {NAMESPACE}\nspec:\n  \
         {target}:\n    secretRef:\n      name: {name}\n{more}"
    )
}

/// Every kind, and one that is for another automation.
fn configure(world: &World, reconcilers: &Reconcilers) -> Result<()> {
    let secret = |name: &str, of: Reconciler, signed: bool| {
        let address = reconcilers.url(of);
        let token = signed.then_some(("token", TOKEN));
        let values: Vec<_> = [("address", address.as_str())].into_iter().chain(token).collect();
        config::secret(NAMESPACE, name, &values)
    };
    world.config.write(
        "reconcilers.yaml",
        config::documents([
            notifier("flux", "fluxReceiver", ""),
            notifier("flux-signed", "fluxReceiver", "  events: [committed]\n"),
            notifier("argocd", "argocd", &format!("  automations: [{FLEET}]\n")),
            notifier("other", "fluxReceiver", "  automations: [other]\n"),
            secret("flux", Reconciler::Flux, false),
            secret("flux-signed", Reconciler::FluxSigned, true),
            secret("argocd", Reconciler::ArgoCd, true),
            secret("other", Reconciler::Flux, false),
        ]),
    )
}

#[tokio::test]
async fn a_landed_commit_is_told_to_each_reconciler_while_the_chat_hangs() -> Result<()> {
    world::run_prepared(WorldOptions::default(), async |world| {
        let reconcilers = Reconcilers::start()?;
        configure(world, &reconcilers)?;
        let _chat = world.slack.traffic().hold(Match::any(), Point::Before);
        world.start_windlass().await?;
        let parent = world.repository.head("main").await?.unwrap_or_default();
        world.push("1.1.0").await?;
        let commit = world.wait_for("1.1.0").await?;
        let nudges = reconcilers.wait_for(3, PATIENCE).await?;
        ensure!(world.slack.messages().is_empty() && nudges.len() == 3, "{nudges:#?}");
        for nudge in nudges {
            let told = match nudge.to {
                Reconciler::Flux | Reconciler::FluxSigned => nudge.body["commit"]["id"].clone(),
                Reconciler::ArgoCd => {
                    let body = &nudge.body;
                    ensure!(
                        body["ref"] == "refs/heads/main" && body["before"] == parent.as_str(),
                        "{body:#}"
                    );
                    ensure!(body["commits"][0]["modified"] == json!([MANIFEST_PATH]), "{body:#}");
                    let page = world.git.url(FLEET);
                    ensure!(body["repository"]["html_url"] == page.trim_end_matches(".git"), "{body:#}");
                    body["after"].clone()
                }
            };
            ensure!(told == commit.id.as_str(), "{:?} was told of {told}", nudge.to);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_receiver_that_is_away_is_told_later_once_for_everything_and_delays_no_commit() -> Result<()> {
    world::run_prepared(WorldOptions { notifier: false, ..WorldOptions::default() }, async |world| {
        let reconcilers = Reconcilers::start()?;
        configure(world, &reconcilers)?;
        let signed = Reconcilers::requests(Reconciler::FluxSigned);
        let away = reconcilers.traffic().answer(signed.clone(), Canned::status(503));
        world.start_windlass().await?;
        for tag in ["1.1.0", "1.2.0", "1.3.0"] {
            world.push(tag).await?;
            world.wait_for(tag).await?;
        }
        let told = |of: Reconciler| {
            let nudges = reconcilers.nudges();
            nudges.iter().filter(|nudge| nudge.to == of).count()
        };
        windlass_testkit::eventually(PATIENCE, "Argo CD to hear of every commit", async || {
            Ok((told(Reconciler::ArgoCd) == 3).then_some(()))
        })
        .await?;
        away.lift();
        let windlass = world.windlass();
        windlass_testkit::eventually(PATIENCE, "the outbox to be empty", async || {
            let waiting = windlass.metrics().await?.count("windlass_outbox_waiting", &[]);
            Ok((told(Reconciler::FluxSigned) > 0 && waiting < 0.5).then_some(()))
        })
        .await?;
        ensure!(told(Reconciler::FluxSigned) == 1, "a later nudge covers the earlier ones");
        Ok(())
    })
    .await
}
