//! Helm templates, declared by the annotation `windlass.dev/templates`: read line by line, committed with the manifests,
//! and held where a person set a value back.

use anyhow::Result;
use windlass_testkit::eventually;
use windlass_testkit::git_repository::BRANCH;
use windlass_testkit::observed::AUTOMATION;
use windlass_testkit::world::{self, PATIENCE, REGISTRY_PLACE, World, WorldOptions};

use super::layouts::edit_configuration;

const TEMPLATE: &str = "chart/templates/web.yaml";
/// A name that no YAML file has.
const HELPERS: &str = "chart/templates/_helpers.tpl";

/// What the template says with this tag.
fn template(host: &str, tag: &str) -> String {
    format!(
        "{{{{- if .Values.enabled }}}}\nimage: {host}/team/podinfo:{tag} # {{\"$imagepolicy\": \"apps:podinfo\"}}\n\
         bad: {{{{ .Values.image }}}}:1.0.0 # {{\"$imagepolicy\": \"apps:podinfo\"}}\n{{{{- end }}}}\n"
    )
}

/// What the helpers say with this tag.
fn helpers(tag: &str) -> String {
    format!(
        "{{{{- define \"tag\" }}}}\ntag: {tag} # {{\"$imagepolicy\": \"apps:podinfo:tag\"}}\n{{{{- end }}}}\n"
    )
}

fn declare(world: &World, patterns: &str) -> Result<()> {
    edit_configuration(world, "git.yaml", |text| {
        let kind = "kind: ImageUpdateAutomation\nmetadata:\n";
        text.replace(kind, &format!("{kind}  annotations:\n    windlass.dev/templates: '{patterns}'\n"))
    })
}

async fn at_head(world: &World, path: &str) -> Result<String> {
    Ok(String::from_utf8(world.repository.show(BRANCH, path).await?)?)
}

#[tokio::test]
async fn declared_templates_are_committed_with_the_manifests_and_their_unsafe_lines_are_shown() -> Result<()>
{
    let files = vec![
        (TEMPLATE.to_owned(), template(REGISTRY_PLACE, "1.0.0")),
        (HELPERS.to_owned(), helpers("1.0.0")),
        // Not declared: it stays what it is, a file that is no YAML.
        ("other/templates/web.yaml".to_owned(), template(REGISTRY_PLACE, "1.0.0")),
    ];
    world::run_prepared(WorldOptions { files, ..WorldOptions::default() }, async |world| {
        declare(world, "chart/templates/**, nowhere/*.tpl")?;
        world.start_windlass().await?;
        world.push("1.0.1").await?;
        world.wait_for("1.0.1").await?;
        let commits = world.expect_commits(1).await?;
        let paths = world.repository.changed_paths(&commits[0].id).await?;
        assert_eq!(paths, [world::MANIFEST_PATH, HELPERS, TEMPLATE]);
        assert_eq!(at_head(world, TEMPLATE).await?, template(&world.proxy.host(), "1.0.1"));
        assert_eq!(at_head(world, HELPERS).await?, helpers("1.0.1"));

        let shown = world.diagnostics(AUTOMATION).await?;
        let starts = |words: &str| shown.iter().any(|line| line.starts_with(words));
        assert!(starts("chart/templates/web.yaml:3: "), "{shown:#?}");
        assert!(starts("other/templates/web.yaml:"), "{shown:#?}");
        assert!(starts("windlass.dev/templates: `nowhere/*.tpl` is the pattern of no file"), "{shown:#?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_older_value_that_a_person_sets_in_a_template_is_held() -> Result<()> {
    let files = vec![(HELPERS.to_owned(), helpers("1.0.0"))];
    world::run_prepared(WorldOptions { files, ..WorldOptions::default() }, async |world| {
        declare(world, "*.tpl")?;
        world.start_windlass().await?;
        world.push("1.1.0").await?;
        world.wait_for("1.1.0").await?;
        world.repository.commit(BRANCH, "By hand\n", [(HELPERS, helpers("1.0.0"))]).await?;
        world.running()?.reconcile(AUTOMATION).await?;
        eventually(PATIENCE, "the hold", async || {
            let shown = world.diagnostics(AUTOMATION).await?.join("\n");
            Ok(shown.contains("a person set 1.0.0 in place of 1.1.0").then_some(()))
        })
        .await?;
        assert_eq!(at_head(world, HELPERS).await?, helpers("1.0.0"));

        world.push("1.2.0").await?;
        world.wait_for("1.2.0").await?;
        assert_eq!(at_head(world, HELPERS).await?, helpers("1.2.0"));
        Ok(())
    })
    .await
}
