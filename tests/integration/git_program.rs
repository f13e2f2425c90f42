//! A GitRepository whose server is spoken with by the `git` program.

use anyhow::{Result, ensure};
use windlass_testkit::config;
use windlass_testkit::eventually;
use windlass_testkit::git_server::GitAuth;
use windlass_testkit::observed::AUTOMATION;
use windlass_testkit::ssh_server::{SshOptions, SshServer};
use windlass_testkit::world::{self, FLEET, NAMESPACE, PATIENCE, World, WorldOptions};

const GIT_SECRET: &str = "git-credentials";
const PASSWORD: &str = "hunter2-secret";

/// Asks for the program, or for something that does not exist.
fn annotated(document: &str, implementation: &str) -> String {
    let annotation =
        format!("metadata:\n  annotations:\n    windlass.dev/git-implementation: {implementation}\n");
    document.replacen("metadata:\n", &annotation, 1)
}

fn write(world: &World, repository: &str, implementation: &str, more: String) -> Result<()> {
    let repository = annotated(repository, implementation);
    world.config.write(
        "git.yaml",
        config::documents([repository, config::automation(NAMESPACE, FLEET, "1h", "./"), more]),
    )
}

#[tokio::test]
async fn a_pushed_tag_lands_by_the_git_program() -> Result<()> {
    let git_auth = Some(GitAuth::Basic("bot".to_owned(), PASSWORD.to_owned()));
    world::run_prepared(WorldOptions { git_auth, ..WorldOptions::default() }, async |world| {
        let plain = config::git_repository(NAMESPACE, FLEET, &world.git.url(FLEET), Some(GIT_SECRET));
        write(world, &plain, "program", String::new())?;
        world.start_windlass().await?;
        for tag in ["1.0.1", "1.0.2"] {
            world.push(tag).await?;
            world.wait_for(tag).await?;
        }
        world.expect_commits(2).await?;

        // Over SSH too, once the configuration says so; and a word that does not exist changes nothing that works.
        let server = SshServer::start(&SshOptions::default()).await?;
        let ssh =
            config::git_repository(NAMESPACE, FLEET, &server.url(world.repository.folder()), Some("ssh"));
        let secret = config::ssh_secret(NAMESPACE, "ssh", server.identity(), &server.known_hosts());
        write(world, &ssh, "program", secret.clone())?;
        eventually(PATIENCE, "the changed configuration", async || {
            let report = world.windlass().report().await?;
            ensure!(report["configuration"] == 2, "it is {}", report["configuration"]);
            Ok(Some(()))
        })
        .await?;
        world.push("1.0.3").await?;
        world.wait_for("1.0.3").await?;
        world.wait_working(AUTOMATION).await?;
        ensure!(server.log_text().contains("Accepted publickey"), "nothing went over SSH");
        world.repository.fsck().await?;
        let log = world.log_text();
        let key = server.identity().lines().nth(1).unwrap_or_default();
        ensure!(!key.is_empty() && !log.contains(key), "the log has the key");
        ensure!(!log.contains(PASSWORD), "the log has the password");
        Ok(())
    })
    .await
}
