//! The senders beside the registry's own notifications, and the hosts under which they name an image.

use anyhow::{Result, ensure};
use serde_json::json;
use windlass_testkit::config;
use windlass_testkit::event::{ENVELOPE, Push, envelope, signature};
use windlass_testkit::http_fault::{Proxy, manifest};
use windlass_testkit::world::{self, APP, Announces, NAMESPACE, REPOSITORY, TOKEN, World, WorldOptions};

/// A delivery: its headers and its body.
type Delivery = (Vec<(&'static str, String)>, Vec<u8>);

#[tokio::test]
async fn generic_receivers_bring_a_tag_in() -> Result<()> {
    delivers("generic", |_, _, _| (Vec::new(), b"anything".to_vec())).await
}

#[tokio::test]
async fn signed_generic_receivers_bring_a_tag_in() -> Result<()> {
    delivers("generic-hmac", |_, _, _| {
        let body = b"{\"built\": true}".to_vec();
        (vec![("x-signature", signature(TOKEN, &body))], body)
    })
    .await
}

#[tokio::test]
async fn harbor_brings_a_tag_in() -> Result<()> {
    delivers("harbor", |host, tag, digest| {
        let payload = json!({"type": "PUSH_ARTIFACT", "occur_at": 1_700_000_000, "operator": "robot",
            "event_data": harbor_data(host, tag, digest)});
        (vec![("authorization", TOKEN.to_owned())], payload.to_string().into_bytes())
    })
    .await
}

#[tokio::test]
async fn harbor_brings_a_tag_in_as_a_cloud_event() -> Result<()> {
    delivers("harbor", |host, tag, digest| {
        let payload = json!({"specversion": "1.0", "id": "4b2f89a6-548d-4c12-9993-a1f5790b97d2",
            "source": "/projects/1/webhook/policies/3", "type": "harbor.artifact.pushed",
            "datacontenttype": "application/json", "time": "2026-03-06T06:08:43Z",
            "data": harbor_data(host, tag, digest), "operator": "robot"});
        (vec![("authorization", TOKEN.to_owned())], payload.to_string().into_bytes())
    })
    .await
}

fn harbor_data(host: &str, tag: &str, digest: &str) -> serde_json::Value {
    let (namespace, name) = REPOSITORY.split_once('/').expect("the repository has a project");
    json!({
        "resources": [{"digest": digest, "tag": tag, "resource_url": format!("{host}/{REPOSITORY}:{tag}")}],
        "repository": {"date_created": 1_677_053_165, "name": name, "namespace": namespace,
            "repo_full_name": REPOSITORY, "repo_type": "private"},
    })
}

/// A Receiver of this type, a tag that only its delivery announces, and the commit.
async fn delivers(sender: &str, delivery: impl Fn(&str, &str, &str) -> Delivery) -> Result<()> {
    let options = WorldOptions { announces: Announces::Nothing, ..WorldOptions::default() };
    world::run_prepared(options, async |world| {
        let receiver = config::receiver(NAMESPACE, sender, sender, "webhook-token", &[APP]);
        world.config.write("receiver.yaml", receiver)?;
        world.start_windlass().await?;
        world.idle().await?;
        let digest = world.push("1.0.1").await?;
        // Harbor calls itself by its external URL.
        let (headers, body) = delivery("harbor.example.com:8443", "1.0.1", &digest);
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let path = config::webhook_path(TOKEN, sender, NAMESPACE);
        let answer = world.running()?.post(&path, &headers, body).await?;
        ensure!(answer.status() == 200, "{}: {}", answer.status(), answer.text().await?);
        world.wait_for("1.0.1").await?;
        let commits = world.expect_commits(1).await?;
        assert!(commits[0].message.contains("\nWindlass-Event: "), "{}", commits[0].message);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_host_means_its_own_image_and_an_unknown_one_every_image_of_that_path() -> Result<()> {
    let options = WorldOptions { announces: Announces::Nothing, ..WorldOptions::default() };
    world::run_prepared(options, async |world| {
        // The same registry under a second name, with an image of the same path.
        let mirror = Proxy::start(world.registry.url())?;
        let image = |host: &str| format!("{host}/{REPOSITORY}");
        let first = config::image_repository(NAMESPACE, APP, &image(&world.proxy.host()), "1h", None);
        let alias = "metadata:\n  annotations:\n    windlass.dev/registry-hosts: registry.internal:5000\n";
        let documents = [
            first.replace("metadata:\n", alias),
            config::image_repository(NAMESPACE, "mirrored", &image(&mirror.host()), "1h", None),
            config::image_policy(NAMESPACE, APP, ">=1.0.0", "Never"),
            config::receiver(NAMESPACE, world::RECEIVER, "distribution", "webhook-token", &[APP, "mirrored"]),
        ];
        world.config.write("images.yaml", config::documents(documents))?;
        world.start_windlass().await?;
        world.idle().await?;

        let (own, mirrored) = (world.proxy.host(), mirror.host());
        let cases = [
            ("1.0.1", own.as_str(), (1, 0)),
            ("1.0.2", mirrored.as_str(), (0, 1)),
            ("1.0.3", "registry.internal:5000", (1, 0)),
            ("1.0.4", "registry.example.org", (1, 1)),
        ];
        for (tag, host, asked) in cases {
            let digest = world.push(tag).await?;
            announce_from(world, host, tag, &digest).await?;
            world.idle().await?;
            let asked_of = |proxy: &Proxy| proxy.traffic().count(&manifest(tag));
            assert_eq!((asked_of(&world.proxy), asked_of(&mirror)), asked, "{tag} from {host}");
        }
        assert_eq!(world.manifest_at_head().await?, world.expected_manifest("1.0.4"));
        // 1.0.2 was announced as the mirror's, so it is no news for the image that is in Git.
        world.expect_commits(3).await?;
        Ok(())
    })
    .await
}

async fn announce_from(world: &World, host: &str, tag: &str, digest: &str) -> Result<()> {
    let push = Push { id: tag, host, repository: REPOSITORY, tag: Some(tag), digest };
    let body = envelope(&[push]).to_string().into_bytes();
    let headers = [("authorization", TOKEN), ("content-type", ENVELOPE)];
    world.running()?.post(&world.webhook_path(), &headers, body).await?.error_for_status()?;
    Ok(())
}
