//! What `--keep` adds: everything runs on, and a typed tag is pushed.

use std::io::BufRead as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;
use windlass_testkit::world::{FLEET, REPOSITORY, World};

use super::screen::Screen;
use super::{RANGE, steps};

/// How long a typed tag may take before we say that nothing came of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pushes what is typed until Ctrl-C.
pub(crate) async fn until_interrupted(screen: &Screen, world: &mut World, windlass: &Path) -> Result<()> {
    explain(screen, world, windlass);
    let mut typed = lines()?;
    loop {
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => return interrupted.context("waiting for Ctrl-C"),
            Some(tag) = typed.recv() => {
                if !tag.trim().is_empty() {
                    push(screen, world, tag.trim()).await;
                }
            }
        }
    }
}

fn explain(screen: &Screen, world: &mut World, windlass: &Path) {
    let image = format!("{}/{REPOSITORY}", world.proxy.host());
    let (windlass, data) = (windlass.display(), world.data.path().display().to_string());
    let admin = world.windlass().admin_url().to_owned();
    screen.heading(
        "Everything keeps running. Type a tag and Enter to push it, for example 6.4.0. Ctrl-C ends.",
    );
    screen.fact("push", &format!("docker push {image}:6.4.0    (or any other client; plain HTTP)"));
    screen.fact("clone", &format!("git clone {}", world.git.url(FLEET)));
    screen.fact("status", &format!("{windlass} status --data {data}"));
    screen.fact("metrics", &format!("curl {admin}/metrics"));
    screen.fact("config", &format!("{}    (edit it: changes are picked up)", world.config.path().display()));
}

async fn push(screen: &Screen, world: &World, tag: &str) {
    let watch = steps::Watch::begin(world);
    let result = match steps::push(screen, world, tag).await {
        Ok(pushed) => watch.follow(screen, world, tag, pushed, PATIENCE).await,
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        screen.line(&format!(
            "  nothing more came of it: {error:#}\n  (a commit needs a newer tag in the range {RANGE})"
        ));
    }
}

/// Lines of standard input. Its end is not an end of the demonstration.
fn lines() -> Result<mpsc::UnboundedReceiver<String>> {
    let (send, receive) = mpsc::unbounded_channel();
    // Reading standard input cannot be interrupted, so it has a thread that ends with the process.
    std::thread::Builder::new()
        .name("standard input".to_owned())
        .spawn(move || {
            let typed = std::io::stdin().lock().lines();
            typed.map_while(Result::ok).try_for_each(|line| send.send(line))
        })
        .context("starting a thread")?;
    Ok(receive)
}
