//! `windlass select`: the built program over standard input, files, and the tags of a real registry.

use std::path::Path;
use std::process::{Output, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use windlass_testkit::registry::{PASSWORD, Registry, RegistryOptions, USER};
use windlass_testkit::{locate, windlass};

const REPOSITORY: &str = "team/app";

/// Runs `windlass select` with these arguments and this standard input.
async fn select(arguments: &[&str], input: &str) -> Result<Output> {
    let mut command = tokio::process::Command::new(locate::windlass()?);
    command.arg("select").args(arguments).env_clear().kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("standard input is a pipe")?;
    // A policy that is refused is refused before the tags are read; the pipe is closed then.
    drop(stdin.write_all(input.as_bytes()).await);
    drop(stdin);
    child.wait_with_output().await.context("running windlass select")
}

/// Exit status, standard output, standard error.
fn parts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn the_tag_alone_is_printed_and_the_exit_status_tells_the_rest() -> Result<()> {
    for (arguments, input, status, out, err) in [
        (&["--semver", ">=1.0.0"][..], "1.0.0\n1.2.0\nlatest\n", 0, "1.2.0\n", ""),
        (&["--semver", ">=2.0.0"], "1.0.0\n", 1, "", "no tag is chosen: unable to determine latest version"),
        (&["--semver", ">=2.0.0"], "", 1, "", "no tag is chosen: there are no tags"),
        (&["--numerical", "asc"], "7\nx\n", 1, "", "failed to parse invalid numeric value 'x' of tag 'x'"),
        (&["--semver", "not a range"], "", 2, "", "error: policy.semver.range: improper constraint"),
        (&["--semver", "not a range"], "1.0.0\n", 2, "", "error: policy.semver.range: improper constraint"),
        (&["--semver", "*", "--tags", "/nonexistent"], "", 2, "", "/nonexistent cannot be read"),
        (&["--semver", "*"], "1.0.0\na/b\n", 2, "", "standard input: line 2: `a/b` is not a valid tag"),
        (&[], "1.0.0\n", 2, "", "Usage: windlass select"),
    ] {
        let (code, printed, told) = parts(&select(arguments, input).await?);
        assert_eq!((code, printed.as_str()), (Some(status), out), "{arguments:?}: {told}");
        assert!(told.contains(err) && told.is_empty() == err.is_empty(), "{arguments:?}: {told}");
    }
    Ok(())
}

#[tokio::test]
async fn the_tags_of_a_registry_are_chosen_from_with_credentials() -> Result<()> {
    let options = RegistryOptions { authentication: true, ..RegistryOptions::default() };
    let registry = Registry::start(options).await?;
    let digest = registry.images().push(REPOSITORY, "1.0.0", "one").await?;
    for tag in ["1.1.0", "1.2.0-alpine", "latest", &format!("{}.sig", digest.replace(':', "-"))] {
        registry.images().tag(REPOSITORY, "1.0.0", tag).await?;
    }
    let image = format!("{}/{REPOSITORY}", registry.host());
    let folder = tempfile::tempdir()?;
    let config = |password: &str, name: &str| -> Result<String> {
        let path = folder.path().join(name);
        let entry = serde_json::json!({"username": USER, "password": password});
        std::fs::write(&path, serde_json::json!({"auths": {registry.host(): entry}}).to_string())?;
        Ok(path.display().to_string())
    };
    let (right, wrong) = (config(PASSWORD, "right.json")?, config("wrong", "wrong.json")?);
    let ask = async |arguments: &[&str]| -> Result<(Option<i32>, String, String)> {
        let arguments = [&["--image", &image, "--insecure"], arguments].concat();
        Ok(parts(&select(&arguments, "").await?))
    };

    let (code, out, err) = ask(&["--docker-config", &right, "--semver", "1.x"]).await?;
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "1.1.0\n", ""));

    let locked =
        ["--docker-config", &right, "--semver", "1.x", "--variant-lock", "--current", "1.1.0-alpine"];
    assert_eq!(ask(&locked).await?.1, "1.2.0-alpine\n");

    let explained = ["--docker-config", &right, "--semver", "1.x", "--explain", "--output", "json"];
    let document: Value = serde_json::from_str(&ask(&explained).await?.1)?;
    assert_eq!(document["chosen"], "1.1.0");
    let cause = |tag: &str| {
        let tags = document["tags"].as_array().into_iter().flatten();
        tags.filter(|entry| entry["tag"] == tag).map(|entry| entry["by"]["cause"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(cause("latest"), ["notAVersion"]);
    assert_eq!(cause(&format!("{}.sig", digest.replace(':', "-"))), ["signature"]);

    for (arguments, words) in [
        (vec!["--semver", "1.x"], "401"),
        (vec!["--semver", "1.x", "--docker-config", &wrong], "401"),
        (vec!["--semver", "1.x", "--docker-config", "/nonexistent"], "/nonexistent cannot be read"),
        (
            vec!["--alphabetical", "asc", "--order", "newest-pushed", "--docker-config", &right],
            "each with its time",
        ),
    ] {
        let (code, out, err) = ask(&arguments).await?;
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(err.contains(words) && !err.contains(PASSWORD), "{arguments:?}: {err}");
    }
    Ok(())
}

#[tokio::test]
async fn a_policy_file_is_checked_as_the_configuration_is() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let policy = |name: &str, annotation: &str, range: &str| -> Result<String> {
        let text = format!(
            "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata:\n  name: app\n  annotations:\n    \
             {annotation}\nspec:\n  imageRepositoryRef: {{name: app}}\n  policy: {{semver: {{range: '{range}'}}}}\n"
        );
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let tags = folder.path().join("tags");
    std::fs::write(&tags, "2026.1.31\n2026.2.1\n2027.1.1-rc.1\n")?;
    let over = async |policy: &str, tags: &Path| -> Result<(Option<i32>, String, String)> {
        let tags = tags.display().to_string();
        let arguments = ["select", "--policy", policy, "--tags", &tags].map(Into::into);
        Ok(parts(&windlass::command(&arguments).await?))
    };

    let good = policy("good.yaml", "windlass.dev/order: calver:YYYY.MM.DD", ">=2026.0.0")?;
    assert_eq!(over(&good, &tags).await?, (Some(0), "2026.2.1\n".to_owned(), String::new()));

    let bad = policy("bad.yaml", "windlass.dev/order: calver:YYYYMMDD", ">>")?;
    let (code, out, err) = over(&bad, Path::new("/nonexistent")).await?;
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(
        err.contains("bad.yaml:6: error: ImagePolicy/default/app: metadata.annotations.windlass.dev/order"),
        "{err}"
    );
    assert!(err.contains("nothing tells where `MM` ends and `DD` begins"), "{err}");
    assert!(err.contains("bad.yaml:9: error: ImagePolicy/default/app: spec.policy.semver.range"), "{err}");
    Ok(())
}
