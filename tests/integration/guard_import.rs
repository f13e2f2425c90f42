//! `windlass guard import`: the built program over policies of other tools, and `windlass check` over what it prints.

use std::process::{Output, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use windlass_testkit::cosign::{Cosign, KeyKind, Line};
use windlass_testkit::locate;

/// Runs `windlass` with these arguments and this standard input.
async fn windlass(arguments: &[&str], input: &str) -> Result<(Option<i32>, String, String)> {
    let mut command = tokio::process::Command::new(locate::windlass()?);
    command.args(arguments).env_clear().kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("standard input is a pipe")?;
    drop(stdin.write_all(input.as_bytes()).await);
    drop(stdin);
    let Output { status, stdout, stderr } = child.wait_with_output().await?;
    Ok((status.code(), String::from_utf8(stdout)?, String::from_utf8(stderr)?))
}

#[tokio::test]
async fn policies_become_guards_that_check_accepts() -> Result<()> {
    let key = Cosign::new(Line::Three)?.key_pair(KeyKind::P256, "key").await?.public_pem()?;
    let policies = format!(
        "apiVersion: policy.sigstore.dev/v1beta1\nkind: ClusterImagePolicy\nmetadata: {{name: signed}}\nspec:\n  images: \
         [{{glob: 'ghcr.io/acme/**'}}]\n  authorities:\n  - key: {{data: {key:?}}}\n---\napiVersion: kyverno.io/v1\nkind: \
         ClusterPolicy\nmetadata: {{name: fleet}}\nspec:\n  rules:\n  - name: keyless\n    verifyImages:\n    - \
         imageReferences: ['ghcr.io/acme/*']\n      attestors:\n      - entries:\n        - keyless: {{issuer: \
         'https://token.example.org', subject: 'https://ci.example.org/*'}}\n"
    );
    let (status, printed, told) = windlass(&["guard", "import", "-"], &policies).await?;
    assert_eq!(status, Some(0), "{told}");
    assert!(
        told.contains(
            "standard input:7: note: ClusterImagePolicy/signed: spec.authorities[0].key: has no `ctlog`"
        ),
        "{told}"
    );
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("guards.yaml"), &printed)?;
    let directory = folder.path().display().to_string();
    let (status, checked, problems) = windlass(&["check", "--config", &directory], "").await?;
    assert_eq!(status, Some(0), "{printed}\n{checked}\n{problems}");
    assert!(printed.contains("name: fleet-keyless\n") && printed.contains("name: signed\n"), "{printed}");
    Ok(())
}

#[tokio::test]
async fn what_is_left_out_is_the_exit_status_and_in_the_document() -> Result<()> {
    let policy = "apiVersion: policy.sigstore.dev/v1beta1\nkind: ClusterImagePolicy\nmetadata: {name: signed}\nspec:\n  images: \
                  [{glob: '**'}]\n  authorities:\n  - key: {kms: 'gcpkms://x'}\n  - keyless: {identities: [{issuer: i, subject: s}]}\n";
    let (status, printed, told) = windlass(&["guard", "import", "-", "--output", "json"], policy).await?;
    assert_eq!((status, told.as_str()), (Some(1), ""));
    let document: Value = serde_json::from_str(&printed)?;
    assert_eq!(document["guards"][0]["name"], "signed");
    let remark = &document["remarks"][0];
    assert_eq!((&remark["weight"], &remark["line"]), (&"dropped".into(), &7.into()), "{document:#}");
    assert_eq!(remark["field"], "spec.authorities[0].key.kms");
    for (arguments, input, words) in [
        (&["guard", "import", "-"][..], "kind: Deployment\n", "there is no policy"),
        (&["guard", "import", "/nonexistent"], "", "/nonexistent cannot be read"),
        (&["guard", "import"], "", "Usage: windlass guard import"),
    ] {
        let (status, _, told) = windlass(arguments, input).await?;
        assert!(status == Some(2) && told.contains(words), "{arguments:?}: {told}");
    }
    Ok(())
}
