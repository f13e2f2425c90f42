//! The configuration directory while Windlass runs: what changes there takes effect without a restart, what is broken
//! there changes nothing, and each is shown.

use std::ffi::OsString;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use windlass_testkit::config;
use windlass_testkit::eventually;
use windlass_testkit::git_repository::BRANCH;
use windlass_testkit::git_server::GitAuth;
use windlass_testkit::observed::{AUTOMATION, IMAGE, POLICY};
use windlass_testkit::traffic::{Match, Method};
use windlass_testkit::windlass::{Windlass, command};
use windlass_testkit::world::{
    self, APP, FLEET, MANIFEST_PATH, NAMESPACE, PATIENCE, RECEIVER, REPOSITORY, TOKEN, World, WorldOptions,
};

/// The documents of the world's image, each as the test wants it.
struct Images {
    repository: String,
    policy: String,
    receiver: String,
}

impl Images {
    fn of(world: &World, range: &str) -> Self {
        let image = format!("{}/{REPOSITORY}", world.proxy.host());
        Self {
            repository: config::image_repository(NAMESPACE, APP, &image, "1h", None),
            policy: config::image_policy(NAMESPACE, APP, range, "Never"),
            receiver: config::receiver(NAMESPACE, RECEIVER, "distribution", "webhook-token", &[APP]),
        }
    }

    fn write(&self, world: &World) -> Result<()> {
        world.config.write("images.yaml", config::documents([&self.repository, &self.policy, &self.receiver]))
    }
}

/// Suspends a document that ends in its `spec`.
fn suspended(document: &str) -> String {
    format!("{document}  suspend: true\n")
}

/// Waits until the running process says so of its configuration's mistakes.
async fn wait_for_problems(windlass: &Windlass, wanted: impl Fn(&[Value]) -> bool) -> Result<Value> {
    eventually(PATIENCE, "other problems in the status", async || {
        let report = windlass.report().await?;
        let problems = report["problems"].as_array().context("a list of problems")?;
        ensure!(wanted(problems), "they are {problems:#?}");
        Ok(Some(report))
    })
    .await
}

async fn wait_for_readiness(windlass: &Windlass, object: &str, wanted: &str) -> Result<()> {
    windlass.wait_for_resource(object, PATIENCE, |status| status["ready"] == wanted).await.map(drop)
}

/// Waits until a webhook to this path is answered with this status.
async fn wait_for_answer(windlass: &Windlass, path: &str, wanted: u16) -> Result<()> {
    eventually(PATIENCE, format!("{path} to be answered {wanted}"), async || {
        let status =
            windlass.post(path, &[("authorization", TOKEN)], br#"{"events":[]}"#.to_vec()).await?.status();
        ensure!(status == wanted, "it is answered {status}");
        Ok(Some(()))
    })
    .await
}

/// A request to look at a suspended object is refused, and says why.
async fn refuses_to_look(windlass: &Windlass, object: &str) -> Result<()> {
    let refused = windlass.reconcile(object).await.err().context("a suspended object is looked at")?;
    let why = refused.to_string();
    ensure!(why.contains(object) && why.contains("suspend"), "{why}");
    Ok(())
}

#[tokio::test]
async fn a_changed_policy_takes_effect_without_a_restart() -> Result<()> {
    let options = WorldOptions { range: ">=1.0.0 <2.0.0".to_owned(), ..WorldOptions::default() };
    world::run(options, async |world| {
        let id = world.windlass().id();
        world.push("2.0.0").await?;
        world.push("1.0.1").await?;
        world.wait_for("1.0.1").await?;
        Images::of(world, ">=1.0.0").write(world)?;
        world.wait_for("2.0.0").await?;
        // And back: whoever narrows the range means it.
        Images::of(world, "1.0.x").write(world)?;
        world.wait_for("1.0.1").await?;
        ensure!(world.commits().await?.len() == 3, "one commit for each change");
        let windlass = world.windlass();
        windlass.process().expect_running()?;
        ensure!(windlass.id() == id && windlass.report().await?["configuration"] == 3, "two reloads");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_broken_change_keeps_the_last_good_state_and_says_so_until_it_is_mended() -> Result<()> {
    let options = WorldOptions { range: ">=1.0.0 <2.0.0".to_owned(), ..WorldOptions::default() };
    world::run(options, async |world| {
        let good = Images::of(world, ">=1.0.0");
        let check: Vec<OsString> = vec!["check".into(), "--config".into(), world.config.path().into()];
        // A wrong field in one document, then a file that is no YAML at all: in both, nothing of the file applies.
        let wrong =
            Images { policy: good.policy.replace("semver:", "semvar:"), ..Images::of(world, ">=1.0.0") };
        wrong.write(world)?;
        let named = |problems: &[Value], text: &str| {
            problems.iter().filter_map(Value::as_str).any(|problem| {
                problem.starts_with("images.yaml:") && problem.contains("error") && problem.contains(text)
            })
        };
        wait_for_problems(world.windlass(), |problems| named(problems, "semvar")).await?;
        world.push("2.0.0").await?;
        world.push("1.0.1").await?;
        world.wait_for("1.0.1").await?;
        ensure!(command(&check).await?.status.code() == Some(1), "`check` agrees");

        world.config.write("images.yaml", "apiVersion: [image.toolkit.fluxcd.io/v1\n")?;
        wait_for_problems(world.windlass(), |p| named(p, "") && !named(p, "semvar")).await?;
        world.push("1.0.2").await?;
        world.wait_for("1.0.2").await?;
        wait_for_readiness(world.windlass(), IMAGE, "ready").await?;

        // A file that looks like a template may lie about; in the place of a good one it is broken like any other.
        world.config.write("images.yaml", "{{- range .Values.images }}\n- {{ . }}\n")?;
        wait_for_problems(world.windlass(), |p| p.iter().any(|p| p.to_string().contains("template"))).await?;
        world.push("1.0.3").await?;
        world.wait_for("1.0.3").await?;

        good.write(world)?;
        let report = wait_for_problems(world.windlass(), <[Value]>::is_empty).await?;
        ensure!(report["configuration"] == 5, "four reloads");
        world.wait_for("2.0.0").await?;
        ensure!(command(&check).await?.status.code() == Some(0), "`check` agrees");
        let log = world.log_text();
        for told in ["images.yaml", "semvar", "last good resources stay in force", "mended"] {
            ensure!(log.contains(told), "the log does not tell `{told}`");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_whole_application_comes_and_goes() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let host = world.proxy.host();
        let text =
            |tag: &str| format!("image: {host}/team/other:{tag} # {{\"$imagepolicy\": \"other:web\"}}\n");
        let repository = world.git.create_repository("others", [("web.yaml", text("1.0.0"))]).await?;
        world.images.push("team/other", "1.2.0", "other").await?;
        let application = |receiver: bool| {
            let mut documents = vec![
                config::image_repository("other", "web", &format!("{host}/team/other"), "1h", None),
                config::image_policy("other", "web", ">=1.0.0", "Never"),
                config::git_repository("other", "others", &world.git.url("others"), None),
                config::automation("other", "others", "1h", "./"),
                config::secret("other", "hook", &[("token", TOKEN)]),
            ];
            if receiver {
                documents.push(config::receiver("other", "web", "generic", "hook", &["web"]));
            }
            config::documents(documents)
        };
        let (path, own) = (config::webhook_path(TOKEN, "web", "other"), world.webhook_path());
        wait_for_answer(world.running()?, &path, 404).await?;

        std::fs::create_dir(world.config.path().join("other")).context("making a folder")?;
        world.config.write("other/application.yaml", application(true))?;
        let windlass = world.running()?;
        let landed = async |tag: &str| {
            eventually(PATIENCE, format!("{tag} of the new application"), async || {
                let found = repository.show(BRANCH, "web.yaml").await?;
                Ok((found == text(tag).as_bytes()).then_some(()))
            })
            .await
        };
        landed("1.2.0").await?;
        world.images.push("team/other", "1.3.0", "other").await?;
        wait_for_answer(windlass, &path, 200).await?;
        landed("1.3.0").await?;

        world.config.write("other/application.yaml", application(false))?;
        wait_for_answer(windlass, &path, 404).await?;
        wait_for_answer(windlass, &own, 200).await?;
        std::fs::remove_dir_all(world.config.path().join("other")).context("removing a folder")?;
        eventually(PATIENCE, "the application to be forgotten", async || {
            let report = windlass.report().await?;
            let left = windlass_testkit::windlass::resource(&report, "ImagePolicy/other/web");
            Ok(left.is_none().then_some(()))
        })
        .await?;
        world.push("1.0.1").await?;
        world.wait_for("1.0.1").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn suspend_is_honoured_and_lifted() -> Result<()> {
    world::run(WorldOptions::default(), async |world| {
        let git = config::git_repository(NAMESPACE, FLEET, &world.git.url(FLEET), None);
        let automation = config::automation(NAMESPACE, FLEET, "1h", "./");
        let images = Images::of(world, ">=1.0.0");
        let path = world.webhook_path();

        // The automation and the Receiver: the image is still followed, nothing is written, no webhook is taken.
        world.config.write("git.yaml", config::documents([git.as_str(), &suspended(&automation)]))?;
        Images { receiver: suspended(&images.receiver), ..Images::of(world, ">=1.0.0") }.write(world)?;
        let windlass = world.running()?;
        wait_for_readiness(windlass, AUTOMATION, "suspended").await?;
        wait_for_readiness(windlass, "Receiver/apps/registry", "suspended").await?;
        wait_for_answer(windlass, &path, 503).await?;
        let digest = world.images.push(REPOSITORY, "1.0.1", "1.0.1").await?;
        ensure!(
            world.announce("refused", "1.0.1", &digest).await?.status() == 503,
            "the Receiver is suspended"
        );
        windlass.reconcile(IMAGE).await?;
        let chose = |status: &Value| status["latest"].as_str().is_some_and(|image| image.ends_with(":1.0.1"));
        windlass.wait_for_resource(POLICY, PATIENCE, chose).await?;
        refuses_to_look(windlass, AUTOMATION).await?;
        world.idle().await?;
        ensure!(world.commits().await?.is_empty(), "a suspended automation committed");

        world.config.write("git.yaml", config::documents([&git, &automation]))?;
        images.write(world)?;
        world.wait_for("1.0.1").await?;
        wait_for_answer(windlass, &path, 200).await?;

        // The repository: not even a request is made for it.
        Images { repository: suspended(&images.repository), ..Images::of(world, ">=1.0.0") }.write(world)?;
        wait_for_readiness(windlass, IMAGE, "suspended").await?;
        wait_for_readiness(windlass, POLICY, "suspended").await?;
        let digest = world.images.push(REPOSITORY, "1.0.2", "1.0.2").await?;
        let (mark, reads) = (world.proxy.traffic().mark(), Match::method(Method::GET));
        let answer = world.announce("ignored", "1.0.2", &digest).await?;
        ensure!(answer.status() == 200, "an authentic event is no error");
        let said = answer.json::<Value>().await?;
        ensure!(said["signals"] == 0 && said["ignored"].is_string(), "it was answered {said}");
        refuses_to_look(windlass, IMAGE).await?;
        world.idle().await?;
        let asked = world.proxy.traffic().exchanges().into_iter().skip(mark).any(|e| reads.matches(&e.head));
        ensure!(!asked && world.commits().await?.len() == 1, "a suspended repository was worked on");

        images.write(world)?;
        world.wait_for("1.0.2").await?;
        for object in [IMAGE, POLICY, AUTOMATION, "Receiver/apps/registry"] {
            wait_for_readiness(windlass, object, "ready").await?;
        }
        ensure!(world.commits().await?.len() == 2, "one commit for each tag");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn rotated_secrets_are_used_from_then_on() -> Result<()> {
    let auth = |password: &str| GitAuth::Basic("bot".to_owned(), password.to_owned());
    let options = WorldOptions { git_auth: Some(auth("first-password")), ..WorldOptions::default() };
    let mut world = World::prepare(options).await?;
    // As a Secret that is mounted: the value is in a file outside of the documents, here beside them.
    let password = world.config.path().join("git-password");
    std::fs::write(&password, "first-password\n").context("writing a password")?;
    let secrets = |token: &str| {
        let git = config::secret(NAMESPACE, "git-credentials", &[("username", "bot")]).replace(
            "metadata:\n",
            "metadata:\n  annotations:\n    windlass.dev/from-file: password=git-password\n",
        );
        let slack = config::secret(NAMESPACE, "slack-webhook", &[("address", &world.slack.webhook_url())]);
        config::documents([config::secret(NAMESPACE, "webhook-token", &[("token", token)]), slack, git])
    };
    world.config.write("secrets.yaml", secrets(TOKEN))?;
    let rotated = secrets("another-token");
    world.start_windlass().await?;
    world.push("1.0.1").await?;
    world.wait_for("1.0.1").await?;

    world.git.set_auth(Some(auth("second-password")));
    world.push("1.0.2").await?;
    wait_for_readiness(world.windlass(), AUTOMATION, "failing").await?;
    std::fs::write(&password, "second-password\n").context("writing a password")?;
    world.wait_for("1.0.2").await?;
    wait_for_readiness(world.windlass(), AUTOMATION, "ready").await?;

    // A Receiver's path is made of its token: the old one is gone with it.
    let (old, new) = (world.webhook_path(), config::webhook_path("another-token", RECEIVER, NAMESPACE));
    world.config.write("secrets.yaml", rotated)?;
    let windlass = world.running()?;
    wait_for_answer(windlass, &old, 404).await?;
    wait_for_answer(windlass, &new, 401).await?;
    let body = json!({"events": []}).to_string().into_bytes();
    let answer = windlass.post(&new, &[("authorization", "Bearer another-token")], body).await?;
    ensure!(answer.status() == 200, "the new token is answered {}", answer.status());
    ensure!(world.manifest_at_head().await? == world.expected_manifest("1.0.2"), "{MANIFEST_PATH}");
    Ok(())
}
