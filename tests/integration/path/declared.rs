//! Places that an automation declares by annotation, without markers: kustomizations, Helm values, scalars by their path,
//! Helm templates. They are written, refused, held and shown as marked places are.

use anyhow::{Context as _, Result, ensure};
use windlass_testkit::config;
use windlass_testkit::eventually;
use windlass_testkit::git_repository::BRANCH;
use windlass_testkit::observed::AUTOMATION;
use windlass_testkit::world::{
    self, FLEET, MANIFEST_PATH, NAMESPACE, PATIENCE, REGISTRY_PLACE, World, WorldOptions,
};

const KUSTOMIZATION: &str = "overlays/kustomization.yaml";
const VALUES: &str = "charts/podinfo/values.yaml";
const TEMPLATE: &str = "charts/podinfo/templates/deployment.yaml";
const JOB: &str = "jobs/migrate.yaml";

fn files() -> Vec<(String, String)> {
    [
        (KUSTOMIZATION, "resources: [../base]\nimages: # by hand\n  - name: podinfo\n    newName: ${REGISTRY}/team/podinfo\n    newTag: 1.0.0\n"),
        (VALUES, "image:\n  repository: ${REGISTRY}/team/podinfo # ours\n  tag: 1.0.0\nreplicas: 2\n"),
        (TEMPLATE, "{{- if .Values.sidecar }}\nimage: \"${REGISTRY}/team/podinfo:1.0.0\" # {\"$imagepolicy\": \"apps:podinfo\"}\n{{- end }}\n"),
        (JOB, "kind: Job\nmetadata: {name: a}\nspec: {image: 'x:1'}\n---\nkind: Job\nmetadata: {name: migrate}\nspec: {image: '${REGISTRY}/team/podinfo:1.0.0'}\n"),
        ("bad/values.yaml", "image: &all\n  registry: x\nother: *all\n"),
    ]
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .to_vec()
}

fn declare(world: &World, edits: &str) -> Result<()> {
    let indented = edits.lines().map(|line| format!("      {line}")).collect::<Vec<_>>().join("\n");
    let annotations = format!(
        "  annotations:\n    windlass.dev/templates: 'charts/*/templates/**'\n    windlass.dev/edits: |\n{indented}\n"
    );
    let automation = config::automation(NAMESPACE, FLEET, "1h", "./").replacen(
        "spec:\n",
        &format!("{annotations}spec:\n"),
        1,
    );
    let source = config::git_repository(NAMESPACE, FLEET, &world.git.url(FLEET), None);
    world.config.write("git.yaml", config::documents([source, automation]))
}

/// Every file of [`files`] as it is to be at a tag.
fn expected(world: &World, path: &str, tag: &str) -> String {
    let (_, text) = files().into_iter().find(|(file, _)| file == path).expect("a file of the test");
    let text = text
        .replace("podinfo:1.0.0", &format!("podinfo:{tag}"))
        .replace("newTag: 1.0.0", &format!("newTag: {tag}"));
    text.replace("  tag: 1.0.0\n", &format!("  tag: {tag}\n")).replace(REGISTRY_PLACE, &world.proxy.host())
}

const GOOD: &str = "- {path: overlays/kustomization.yaml, type: kustomize, key: podinfo, policy: podinfo}\n\
                    - {path: charts/podinfo/values.yaml, type: helm, key: image, policy: 'apps:podinfo'}\n\
                    - {path: jobs/migrate.yaml, type: yaml-path, key: spec.image, document: Job/migrate, policy: podinfo}\n";

#[tokio::test]
async fn declared_places_move_with_the_marked_ones_in_one_commit_and_bad_ones_are_shown() -> Result<()> {
    let options = WorldOptions { files: files(), ..WorldOptions::default() };
    world::run_prepared(options, async |world| {
        let bad = "- {path: gone.yaml, type: helm, key: image, policy: podinfo}\n\
                   - {path: bad/values.yaml, type: helm, key: image, policy: podinfo}\n\
                   - {path: jobs/migrate.yaml, type: yaml-path, key: spec.image, policy: podinfo}\n\
                   - {path: charts/podinfo/values.yaml, type: yaml-path, key: replicas, policy: nobody}\n";
        declare(world, &format!("{GOOD}{bad}"))?;
        world.start_windlass().await?;
        world.push("1.1.0").await?;
        world.wait_for("1.1.0").await?;
        let commits = world.expect_commits(1).await?;
        let mut changed = world.repository.changed_paths(&commits[0].id).await?;
        changed.sort_unstable();
        assert_eq!(changed, [MANIFEST_PATH, TEMPLATE, VALUES, JOB, KUSTOMIZATION]);
        for path in [KUSTOMIZATION, VALUES, TEMPLATE, JOB] {
            let found = String::from_utf8(world.repository.show(BRANCH, path).await?)?;
            assert_eq!(found, expected(world, path, "1.1.0"), "{path}");
        }
        let shown = world.diagnostics(AUTOMATION).await?;
        for words in [
            "windlass.dev/edits[3]: gone.yaml: is no file of the branch",
            "windlass.dev/edits[4]: bad/values.yaml:2: `image` holds no image",
            "windlass.dev/edits[5]: jobs/migrate.yaml:1: `spec.image` is found in 2 documents",
            "charts/podinfo/values.yaml:4: apps:nobody names a policy that does not exist",
        ] {
            let is_there = shown.iter().any(|line| line.starts_with(words));
            is_there.then_some(()).with_context(|| format!("{words}: {shown:#?}"))?;
        }
        assert_eq!(shown.len(), 4, "{shown:#?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_persons_older_value_in_a_kustomization_is_held() -> Result<()> {
    let options = WorldOptions { files: files(), ..WorldOptions::default() };
    world::run_prepared(options, async |world| {
        declare(world, GOOD)?;
        world.start_windlass().await?;
        world.push("1.1.0").await?;
        world.wait_for("1.1.0").await?;
        let theirs = expected(world, KUSTOMIZATION, "1.0.0");
        world.repository.commit(BRANCH, "Back\n", [(KUSTOMIZATION, theirs.clone())]).await?;
        world.running()?.reconcile(AUTOMATION).await?;
        eventually(PATIENCE, "the hold", async || {
            let found = world.diagnostics(AUTOMATION).await?.join("\n");
            ensure!(
                found.contains("overlays/kustomization.yaml:3: apps:podinfo is held"),
                "it has `{found}`"
            );
            Ok(Some(()))
        })
        .await?;
        assert_eq!(world.repository.show(BRANCH, KUSTOMIZATION).await?, theirs.as_bytes());
        world.push("1.2.0").await?;
        world.wait_for("1.2.0").await?;
        let found = String::from_utf8(world.repository.show(BRANCH, KUSTOMIZATION).await?)?;
        assert_eq!(found, expected(world, KUSTOMIZATION, "1.2.0"), "something newer lifts it");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn two_that_govern_one_place_are_not_both_obeyed() -> Result<()> {
    let text = "image: ${REGISTRY}/team/podinfo:1.0.0 # {\"$imagepolicy\": \"apps:podinfo\"}\n";
    let files = vec![("both.yaml".to_owned(), text.to_owned())];
    world::run_prepared(WorldOptions { files, ..WorldOptions::default() }, async |world| {
        // The marker wants the image, the declaration its tag alone.
        declare(world, "- {path: both.yaml, type: yaml-path, key: image, part: tag, policy: podinfo}\n")?;
        world.start_windlass().await?;
        world.push("1.1.0").await?;
        world.wait_for("1.1.0").await?;
        let wanted = text.replace(REGISTRY_PLACE, &world.proxy.host()).replace("1.0.0", "1.1.0");
        assert_eq!(String::from_utf8(world.repository.show(BRANCH, "both.yaml").await?)?, wanted);
        let shown = world.diagnostics(AUTOMATION).await?;
        let told = "windlass.dev/edits[0]: both.yaml: a marker governs this place too: remove one of the two";
        assert!(shown.iter().any(|line| line == told), "{shown:#?}");
        Ok(())
    })
    .await
}
