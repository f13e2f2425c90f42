//! Guards that were policies of another tool: what cosign signs is allowed by them, and what a stranger signs is not.

use std::process::Stdio;

use anyhow::{Result, ensure};
use serde_json::json;
use windlass_testkit::cosign::{Layout, Signing};
use windlass_testkit::locate;
use windlass_testkit::referrers_registry::AnyRegistry;

use super::{ALLOWED, DENIED, Setting, push, verify};

#[tokio::test]
async fn an_imported_policy_judges_as_its_source_would() -> Result<()> {
    let (setting, [registry, _]) = (Setting::new().await?, AnyRegistry::both().await?);
    let policy = json!({
        "apiVersion": "policy.sigstore.dev/v1beta1", "kind": "ClusterImagePolicy", "metadata": {"name": "signed"},
        "spec": {
            "images": [{"glob": format!("{}/**", registry.host())}],
            "authorities": [{"name": "team", "key": {"data": setting.key.public_pem()?}}],
        },
    });
    let file = setting.folder.path().join("policy.json");
    std::fs::write(&file, policy.to_string())?;
    let mut command = tokio::process::Command::new(locate::windlass()?);
    let output =
        command.args(["guard", "import"]).arg(&file).env_clear().stderr(Stdio::inherit()).output().await?;
    ensure!(output.status.success(), "the import ended with {}", output.status);
    let guard = setting.folder.path().join("imported.yaml");
    std::fs::write(&guard, output.stdout)?;
    let guard = guard.display().to_string();
    for (key, wanted) in [(&setting.key, ALLOWED), (&setting.stranger, DENIED)] {
        let image = push(&registry, &format!("imported-{wanted}")).await?;
        setting.three.sign(&image.name, &Signing::with_key(key, Layout::Legacy)).await?;
        verify(&[&image.name, "--guard", &guard]).await?.is(wanted, "an imported policy")?;
    }
    Ok(())
}
