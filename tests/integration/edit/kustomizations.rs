//! kustomize as the judge: what it renders after an edit has the new image and is otherwise equal, and its own
//! `edit set image` leaves the same file behind, as far as meaning goes.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value};
use windlass_testkit::locate;

use super::{edit, folder, new_lines, parts, run};

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers:
      - {name: init, image: side}
      containers:
      - {name: app, image: 'web:0.9'}
      - {name: side, image: side:1}
";
const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Kustomizations as people and tools write them.
const FILES: [&str; 16] = [
    "resources: [app.yaml]\n",
    "# ours\nresources:\n- app.yaml # c\nimages: # pinned\n- name: side\n  newTag: \"2\"\n- name: web # d\n  newTag: 1.0.0 # e\n\n# end\n",
    "resources:\n  - app.yaml\nimages:\n  - name: web\n    newName: ghcr.io/org/web\n    newTag: v1\n",
    "resources:\n- app.yaml\nimages:\n- digest: sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb # f\n  name: web\n- name: side\n  newTag: \"2\"\n",
    "resources:\n- app.yaml\nimages:\n- digest: sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n  # g\n  name: web\n  newTag: v1",
    "resources:\n- app.yaml\nimages:\n- name: web\n  tagSuffix: -debug\n",
    "resources:\r\n- app.yaml\r\nimages:\r\n- name: side\r\n  newTag: '2'\r\nnamePrefix: x-\r\n",
    "images: []\nresources: [app.yaml]\n",
    "images:\n# - name: web\n#   newTag: 0\nresources:\n    -   app.yaml\n",
    "images: [{name: side, newTag: \"2\"}, {name: web, newTag: v1, digest: x}]\nresources: [app.yaml]\n",
    "{\"resources\": [\"app.yaml\"], \"images\": [{\"name\": \"web\", \"newTag\": \"1\"}]}\n",
    "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- app.yaml\npatches:\n- patch: |-\n    - op: add\n      path: /metadata/labels\n      value: {a: b}\n  target: {kind: Deployment}\n",
    "\u{feff}resources:\n- app.yaml\nimages:\n-   name: web\n    newTag: v1\n-   name: side\n    newName: r.example.com/side\ncommonAnnotations: {a: &b c, d: *b}\n",
    "Resources:\n- app.yaml\nimages:\n- Name: web\n  NEWTAG: v1\n",
    "--- # a document\nresources:\n- app.yaml\n...\n",
    "resources:\n- app.yaml\nimages: null\n",
];

/// The entry, the image, and its `kustomize edit set image` argument.
const IMAGES: [(&str, &str, &str); 5] = [
    ("web", "web:1.20", "web:1.20"),
    ("web", "ghcr.io/org/web:2.0.0", "web=ghcr.io/org/web:2.0.0"),
    ("web", "localhost:5000/web:2.0.0@DIGEST", "web=localhost:5000/web:2.0.0@DIGEST"),
    ("web", "web:20240115@DIGEST", "web:20240115@DIGEST"),
    ("side", "ghcr.io/org/side:yes", "side=ghcr.io/org/side:yes"),
];

#[test]
fn kustomize_renders_the_new_image_and_nothing_else_anew() -> Result<()> {
    let kustomize = locate::kustomize()?;
    for file in FILES {
        for (entry, image, _) in IMAGES {
            let image = image.replace("DIGEST", DIGEST);
            let folder = folder(&[("app.yaml", DEPLOYMENT), ("kustomization.yaml", file)])?;
            let build = || run(&kustomize, folder.path(), &["build", "."]);
            let before = build()?;
            set(folder.path(), entry, &image)?;
            let after = build()?;
            let lines = new_lines(&before, &after).with_context(|| format!("{entry}={image} in\n{file}"))?;
            let expected = format!("image: {image}");
            let is_new = |line: &&str| line.trim_start_matches("- ") == expected;
            assert!(lines.iter().all(is_new), "{entry}={image}: {lines:?} in\n{file}");
            let shown = after.lines().filter(|line| is_new(&line.trim())).count();
            assert_eq!(shown, if entry == "web" { 1 } else { 2 }, "{after}");
        }
    }
    Ok(())
}

#[test]
fn kustomize_itself_would_have_left_the_same_file() -> Result<()> {
    let kustomize = locate::kustomize()?;
    let mut pairs = Vec::new();
    for file in FILES {
        for (entry, image, argument) in IMAGES {
            let ours = folder(&[("app.yaml", DEPLOYMENT), ("kustomization.yaml", file)])?;
            let theirs = folder(&[("app.yaml", DEPLOYMENT), ("kustomization.yaml", file)])?;
            set(ours.path(), entry, &image.replace("DIGEST", DIGEST))?;
            run(&kustomize, theirs.path(), &["edit", "set", "image", &argument.replace("DIGEST", DIGEST)])?;
            let read = |folder: &Path| fs::read_to_string(folder.join("kustomization.yaml"));
            pairs.push((read(ours.path())?, read(theirs.path())?));
        }
    }
    let texts: Vec<&str> = pairs.iter().flat_map(|(ours, theirs)| [ours.as_str(), theirs.as_str()]).collect();
    let values = parsed(&texts)?;
    for (index, (ours, theirs)) in pairs.iter().enumerate() {
        let (our_value, their_value) = (&values[2 * index], &values[2 * index + 1]);
        assert_eq!(comparable(our_value)?, comparable(their_value)?, "ours\n{ours}\ntheirs\n{theirs}");
    }
    Ok(())
}

fn set(folder: &Path, entry: &str, image: &str) -> Result<()> {
    let kind = format!("--kustomize={entry}");
    let (code, out, err) = parts(&edit(folder, &[".", &kind, "--set", image])?);
    ensure!((code, err.as_str()) == (Some(0), ""), "{out}{err}");
    Ok(())
}

/// The texts as Helm's YAML library reads them, which is that of kustomize.
fn parsed(texts: &[&str]) -> Result<Vec<Value>> {
    let mut files = vec![
        ("Chart.yaml".to_owned(), "apiVersion: v2\nname: parse\nversion: 1.0.0\n".to_owned()),
        (
            "templates/all.yaml".to_owned(),
            "{{ range $index := until (int .Values.count) }}\n\
             value: {{ $.Files.Get (printf \"texts/%d\" $index) | fromYaml | toJson }}\n{{ end }}\n"
                .replace("until", "untilStep 0")
                .replace("(int .Values.count)", "(int .Values.count) 1"),
        ),
    ];
    files
        .extend(texts.iter().enumerate().map(|(index, text)| (format!("texts/{index}"), (*text).to_owned())));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let folder = folder(&files)?;
    let count = format!("count={}", texts.len());
    let rendered = run(&locate::helm()?, folder.path(), &["template", "x", ".", "--set", &count, "--debug"])?;
    let values: Vec<Value> = rendered
        .lines()
        .filter_map(|line| line.strip_prefix("value: "))
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(values.len() == texts.len(), "{} of {} texts were parsed", values.len(), texts.len());
    Ok(values)
}

/// kustomize adds the file's own type, sorts the entries by name, and spells keys its own way.
fn comparable(value: &Value) -> Result<Value> {
    let lower = |map: &Map<String, Value>| {
        map.iter().map(|(key, value)| (key.to_lowercase(), value.clone())).collect::<Map<_, _>>()
    };
    let mut file = lower(value.as_object().context("a kustomization is a mapping")?);
    ensure!(!file.contains_key("error"), "it could not be parsed: {value}");
    file.remove("apiversion");
    file.remove("kind");
    if let Some(Value::Array(images)) = file.get_mut("images") {
        for image in images.iter_mut() {
            *image = Value::Object(lower(image.as_object().context("an entry is a mapping")?));
        }
        images.sort_by_key(|image| image["name"].to_string());
    }
    Ok(Value::Object(file))
}
