//! A GitHub App's tokens, from the Secret to the push.

use std::time::SystemTime;

use anyhow::{Result, ensure};
use windlass_testkit::config;
use windlass_testkit::eventually;
use windlass_testkit::github::{APP_ID, GitHub, INSTALLATION};
use windlass_testkit::world::{self, FLEET, NAMESPACE, PATIENCE, World, WorldOptions};

#[expect(clippy::disallowed_methods, reason = "the program under test reads the same clock")]
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later than 1970");
    i64::try_from(since.as_secs()).expect("it is not that late")
}

/// The Secret in Flux's shape.
fn secret(github: &GitHub, installation: &str) -> String {
    let key = github.private_key().replace('\n', "\n    ");
    let values = [
        ("githubAppID", APP_ID),
        ("githubAppInstallationID", installation),
        ("githubAppBaseURL", &github.url()),
    ];
    config::secret(NAMESPACE, "github-app", &values)
        + &format!("  githubAppPrivateKey: |\n    {}\n", key.trim_end())
}

fn repository(world: &World) -> String {
    let url = world.git.url("acme/fleet");
    config::documents([
        config::git_repository(NAMESPACE, FLEET, &url, Some("github-app")) + "  provider: github\n",
        config::automation(NAMESPACE, FLEET, "1h", "./"),
    ])
}

#[tokio::test]
async fn an_image_lands_by_a_token_of_a_github_app() -> Result<()> {
    world::run_prepared(WorldOptions::default(), async |world| {
        let github = GitHub::start(&["fleet"], now)?;
        world.git.admit_app(github.app());
        let files = [(world::MANIFEST_PATH, world.expected_manifest("1.0.0"))];
        let fleet = world.git.create_repository("acme/fleet", files).await?;
        world.config.write("git.yaml", repository(world))?;
        // A wrong installation at first: what is shown says what to check, and its repair is picked up.
        world.config.write("app.yaml", secret(&github, "1"))?;
        world.start_windlass().await?;
        world.push("1.1.0").await?;
        eventually(PATIENCE, "the failure to be logged", async || {
            Ok(world.log_text().contains("check `githubAppInstallationID`").then_some(()))
        })
        .await?;
        world.config.write("app.yaml", secret(&github, INSTALLATION))?;
        let expected = world.expected_manifest("1.1.0");
        eventually(PATIENCE, "the image to land", async || {
            let found = fleet.show("main", world::MANIFEST_PATH).await?;
            Ok((found == expected.as_bytes()).then_some(()))
        })
        .await?;
        ensure!(github.given() == 1, "{} tokens were asked for", github.given());
        let log = world.log_text();
        let key = github.private_key().lines().nth(1).unwrap_or_default().to_owned();
        for secret in github.tokens().into_iter().chain([key, "eyJ".to_owned()]) {
            ensure!(!log.contains(&secret), "the log holds a secret");
        }
        Ok(())
    })
    .await
}
