//! A GitRepository over SSH, on a real OpenSSH server.

use anyhow::{Result, ensure};
use windlass_testkit::config;
use windlass_testkit::git_server::GitServer;
use windlass_testkit::observed::AUTOMATION;
use windlass_testkit::ssh_server::{KeyPair, SshOptions, SshServer};
use windlass_testkit::world::{self, FLEET, NAMESPACE, World, WorldOptions};

const SECRET: &str = "git-over-ssh";

/// Makes the world's GitRepository one that is reached over SSH.
fn over_ssh(world: &World, server: &SshServer, known_hosts: &str) -> Result<()> {
    let url = server.url(world.repository.folder());
    let documents = config::documents([
        config::git_repository(NAMESPACE, FLEET, &url, Some(SECRET)),
        config::automation(NAMESPACE, FLEET, "1h", "./"),
        config::ssh_secret(NAMESPACE, SECRET, server.identity(), known_hosts),
    ]);
    world.config.write("git.yaml", documents)
}

#[tokio::test]
async fn a_pushed_tag_lands_over_ssh() -> Result<()> {
    world::run_prepared(WorldOptions::default(), async |world| {
        let server = SshServer::start(&SshOptions::default()).await?;
        over_ssh(world, &server, &server.known_hosts())?;
        world.start_windlass().await?;
        for tag in ["1.0.1", "1.0.2"] {
            world.push(tag).await?;
            world.wait_for(tag).await?;
        }
        world.expect_commits(2).await?;
        world.repository.fsck().await?;
        ensure!(world.git.traffic().count(&GitServer::pushes()) == 0, "nothing goes over HTTP");
        let logins = server.log_text().matches("Accepted publickey").count();
        ensure!(logins == 1, "{logins} logins:\n{}", server.log_text());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_host_key_that_changed_stops_everything_until_it_is_known() -> Result<()> {
    world::run_prepared(WorldOptions::default(), async |world| {
        let server = SshServer::start(&SshOptions::default()).await?;
        let other = KeyPair::generate(&["-t", "ed25519"], "")?;
        let address = server.address();
        let known_hosts = format!("[{}]:{} {}", address.ip(), address.port(), other.public);
        over_ssh(world, &server, &known_hosts)?;
        world.start_windlass().await?;
        world.push("1.0.1").await?;
        world.wait_failing(AUTOMATION, "IS NOT THE KNOWN ONE").await?;
        ensure!(!server.log_text().contains("Accepted publickey"), "our key was shown");
        ensure!(world.commits().await?.is_empty(), "something was written");

        over_ssh(world, &server, &server.known_hosts())?;
        world.wait_for("1.0.1").await?;
        world.wait_working(AUTOMATION).await?;
        world.expect_commits(1).await?;
        let log = world.log_text();
        let secret = server.identity().lines().nth(1).unwrap_or_default();
        ensure!(!secret.is_empty() && !log.contains(secret), "the log has the key");
        Ok(())
    })
    .await
}
