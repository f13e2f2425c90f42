//! `cargo xtask demo`: the main job on real servers. Every step is observed from outside, at the edge of the server that
//! takes part in it, so what is shown is what happened.

mod play;
mod screen;
mod steps;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use windlass_testkit::fleet::Fleet;
use windlass_testkit::git_server::GitServer;
use windlass_testkit::world::{Announces, FLEET, REPOSITORY, World, WorldOptions};

use crate::{build, setup};
use screen::Screen;

const FIRST_TAG: &str = "6.1.0";
const PUSHES: [&str; 2] = ["6.2.0", "6.3.0"];
const RANGE: &str = "6.x";
/// A graceful end waits for what is under way.
const END: Duration = Duration::from_secs(30);
/// A second marked file, in another form than the Deployment of the world: quotes and parts of a reference.
const HELM_RELEASE: &str = r#"apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: podinfo
spec:
  values:
    image:
      repository: ${REGISTRY}/team/podinfo
      tag: "6.1.0" # {"$imagepolicy": "apps:podinfo:tag"}
"#;

/// How to run the demonstration.
#[derive(Args)]
pub(crate) struct Demo {
    /// Leave everything running to play with, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Use the release profile: slower to build, faster to run
    #[arg(long)]
    release: bool,
}

/// Runs it.
pub(crate) fn run(demo: &Demo) -> Result<()> {
    setup::git()?;
    let windlass = build::windlass(demo.release)?;
    let registry = setup::any_registry()?;
    let runtime = tokio::runtime::Runtime::new().context("making a runtime")?;
    runtime.block_on(tell(demo.keep, windlass, registry))
}

async fn tell(keep: bool, windlass: PathBuf, registry: PathBuf) -> Result<()> {
    let screen = Screen::new();
    let mut world = World::prepare(options(windlass.clone(), registry)).await?;
    // A push is shown when the server has taken it, not when it began to answer.
    let _complete = world.git.traffic().complete(GitServer::pushes());
    let told = tokio::select! {
        told = promote_all(&screen, &mut world) => told,
        // An error, so that everything is dropped, which ends it.
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    };
    let told = match told {
        Ok(()) if keep => play::until_interrupted(&screen, &mut world, &windlass).await,
        told => told,
    };
    if let Err(error) = told {
        return Err(error.context(format!("windlass logged:\n{}", world.log_text())));
    }
    let status = world.windlass().terminate(END).await?;
    ensure!(status.success(), "windlass ended with {status} after SIGTERM");
    screen.line("\nwindlass ended cleanly; everything that was started is gone.");
    Ok(())
}

fn options(windlass: PathBuf, registry: PathBuf) -> WorldOptions {
    let others = Fleet { clusters: 2, applications: 5, files_each: 3, marked: 0, policies: 0 };
    let mut files = others.files("registry.example.org");
    files.push(("apps/podinfo/release.yaml".to_owned(), HELM_RELEASE.to_owned()));
    WorldOptions {
        first_tag: FIRST_TAG.to_owned(),
        range: RANGE.to_owned(),
        digest: "IfNotPresent".to_owned(),
        announces: Announces::PushedManifests,
        files,
        registry_program: Some(registry),
        windlass_program: Some(windlass),
        ..WorldOptions::default()
    }
}

async fn promote_all(screen: &Screen, world: &mut World) -> Result<()> {
    screen.heading("Running");
    screen.fact("registry", &format!("{}  ({})", world.proxy.url(), world.registry.program().display()));
    let files = world.repository.git(&["ls-tree", "-r", "--name-only", "main"]).await?.lines().count();
    screen
        .fact("git server", &format!("{}  ({files} files, {REPOSITORY}:{FIRST_TAG})", world.git.url(FLEET)));
    screen.fact("Slack", &format!("{}  (a stand-in that keeps messages)", world.slack.webhook_url()));
    let started = Instant::now();
    world.start_windlass().await?;
    let ready = started.elapsed().as_millis();
    screen.fact("windlass", &format!("{}  (ready after {ready} ms)", world.windlass().url()));

    let mut times = Vec::new();
    for tag in PUSHES {
        times.push(steps::promote(screen, world, tag).await?);
    }
    let times: Vec<String> = times.iter().map(|time| format!("{} ms", time.as_millis())).collect();
    screen.heading("Done");
    screen.line(&format!(
        "{} pushes, {} commits; from push to commit: {}",
        PUSHES.len(),
        world.commits().await?.len(),
        times.join(", ")
    ));
    Ok(())
}
