//! One bad place never stops the good ones: what cannot be written is shown with file, line and cause.

use anyhow::{Context as _, Result};
use windlass_testkit::git_repository::BRANCH;
use windlass_testkit::observed::AUTOMATION;
use windlass_testkit::world::{self, REGISTRY_PLACE, WorldOptions};

/// A file for each thing that can be wrong, and where and how `status` says so.
const CASES: [(&str, &str, &str); 8] = [
    (
        "bad/unknown.yaml",
        "a: 1\nimage: ${REGISTRY}/team/other:1.0.0 # {\"$imagepolicy\": \"apps:nobody\"}\n",
        "bad/unknown.yaml:2: apps:nobody names a policy that does not exist",
    ),
    (
        "bad/namespace.yaml",
        "image: ${REGISTRY}/team/podinfo:1.0.0 # {\"$imagepolicy\": \"elsewhere:podinfo\"}\n",
        "bad/namespace.yaml:1: elsewhere:podinfo names a policy of another namespace",
    ),
    (
        "bad/digest.yaml",
        "digest: none # {\"$imagepolicy\": \"apps:podinfo:digest\"}\n",
        "bad/digest.yaml:1: apps:podinfo:digest ",
    ),
    (
        "bad/alias.yaml",
        "a: &image ${REGISTRY}/team/podinfo:1.0.0\nb: *image # {\"$imagepolicy\": \"apps:podinfo\"}\n",
        "bad/alias.yaml:2: the marked value is an alias",
    ),
    (
        "bad/block.yaml",
        "a: |\n  image: ${REGISTRY}/team/podinfo:1.0.0 # {\"$imagepolicy\": \"apps:podinfo\"}\n",
        "bad/block.yaml:2: the marker is in a block scalar",
    ),
    (
        "bad/suffix.yaml",
        "tag: 1.0.0 # {\"$imagepolicy\": \"apps:podinfo:tagg\"}\n",
        "bad/suffix.yaml:1: the marker's suffix `:tagg` is unknown",
    ),
    (
        "bad/template.yaml",
        "image: {{ .Values.image }}:1.0.0 # {\"$imagepolicy\": \"apps:podinfo\"}\n",
        "bad/template.yaml:1: ",
    ),
    (
        "bad/unparsable.yaml",
        "a: [1,\nimage: ${REGISTRY}/team/podinfo:1.0.0 # {\"$imagepolicy\": \"apps:podinfo\"}\n",
        "bad/unparsable.yaml:",
    ),
];

#[tokio::test]
async fn unknown_policies_and_unsafe_places_are_shown_and_the_others_are_written() -> Result<()> {
    // One file with both kinds: the good place in it is written too.
    let mixed = format!(
        "bad: {REGISTRY_PLACE}/team/other:1.0.0 # {{\"$imagepolicy\": \"apps:nobody\"}}\n\
         good: {REGISTRY_PLACE}/team/podinfo:1.0.0 # {{\"$imagepolicy\": \"apps:podinfo\"}}\n"
    );
    let mut files = vec![("mixed.yaml".to_owned(), mixed.clone())];
    files.extend(CASES.map(|(path, text, _)| (path.to_owned(), text.to_owned())));
    world::run(WorldOptions { files, ..WorldOptions::default() }, async |world| {
        world.push("1.0.1").await?;
        world.wait_for("1.0.1").await?;
        let commits = world.expect_commits(1).await?;

        let paths = world.repository.changed_paths(&commits[0].id).await?;
        assert_eq!(paths, [world::MANIFEST_PATH, "mixed.yaml"]);
        let wanted =
            mixed.replace(REGISTRY_PLACE, &world.proxy.host()).replace("podinfo:1.0.0", "podinfo:1.0.1");
        assert_eq!(String::from_utf8(world.repository.show(BRANCH, "mixed.yaml").await?)?, wanted);

        let shown = world.diagnostics(AUTOMATION).await?;
        let expected = CASES.iter().map(|(_, _, words)| *words);
        for words in expected.chain(["mixed.yaml:1: apps:nobody names a policy that does not exist"]) {
            shown
                .iter()
                .find(|line| line.starts_with(words))
                .with_context(|| format!("{words}: {shown:#?}"))?;
        }
        assert_eq!(shown.len(), CASES.len() + 1, "{shown:#?}");
        // The table for people has them too.
        let arguments = ["status".into(), "--data".into(), world.data.path().into()];
        let table = windlass_testkit::windlass::command(&arguments).await?;
        let table = String::from_utf8(table.stdout)?;
        assert!(table.contains("bad/alias.yaml:2: the marked value is an alias"), "{table}");
        Ok(())
    })
    .await
}
