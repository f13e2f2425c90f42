//! Helm as the judge: what it renders after an edit of values or of a template has the new image and is otherwise equal.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use windlass_testkit::locate;

use super::{edit, folder, new_lines, parts, run};

const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.0.0\nappVersion: \"0.1.0\"\n";
const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const IMAGES: [&str; 4] = [
    "ghcr.io/org/web:1.20",
    "localhost:5000/web:20240115",
    "ghcr.io/org/web:2.0.0@DIGEST",
    "ghcr.io/org/web:yes@DIGEST",
];

/// As `helm create` writes it.
const JOINED: &str = "\
kind: Pod
spec:
  containers:
    - name: {{ .Chart.Name }}
      image: \"{{ .Values.web.image.repository }}:{{ .Values.web.image.tag | default .Chart.AppVersion }}\"
      imagePullPolicy: {{ .Values.web.image.pullPolicy | quote }}
  replicas: {{ .Values.replicas | toJson }}
";
/// As Bitnami's charts join it: a digest takes the tag's place.
const SPLIT: &str = "\
{{- $image := .Values.web.image }}
kind: Pod
spec:
  containers:
    - name: {{ .Chart.Name }}
      image: {{ if $image.registry }}{{ $image.registry }}/{{ end }}{{ $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag }}{{ end }}
      imagePullPolicy: {{ $image.pullPolicy | quote }}
  replicas: {{ .Values.replicas | toJson }}
";
const SINGLE: &str = "\
kind: Pod
spec:
  containers:
    - name: {{ .Chart.Name }}
      image: {{ .Values.web.image | quote }}
  replicas: {{ .Values.replicas | toJson }}
";

/// A template, values, and whether the tag gives way to the digest in what it renders.
const CHARTS: [(&str, &str, bool); 10] = [
    (
        JOINED,
        "replicas: 1.0\nweb:\n  image:\n    repository: nginx\n    pullPolicy: IfNotPresent\n    # the chart's\n    tag: \"\"\n",
        false,
    ),
    (JOINED, "web:\r\n    image:\r\n        repository: 'nginx' # c\r\n        tag:\r\nreplicas: 010", false),
    (JOINED, "web: {image: {repository: nginx, tag: 1.19}}\nreplicas: ~\n", false),
    (
        JOINED,
        "base: &base\n  pullPolicy: Always\nweb:\n  image:\n    <<: *base\n    repository: nginx\nreplicas: on\n",
        false,
    ),
    (
        SPLIT,
        "web:\n  image:\n    registry: docker.io\n    repository: bitnami/nginx\n    tag: 1.27.0-debian-12-r0\n    digest: \"\"\n",
        true,
    ),
    (
        SPLIT,
        "web:\n  image:\n    registry: docker.io\n    repository: bitnami/nginx\n    tag: 1.27.0\n    digest: sha256:00 # old\n",
        true,
    ),
    (SPLIT, "web:\n  image: {registry: , repository: nginx, tag: v1, digest: }\n", true),
    (SPLIT, "web:\n  image:\n    registry: ghcr.io\n    repository: org/old\n    tag: v1\n", false),
    (SINGLE, "web:\n  image: nginx:1.0 # c\nreplicas: 1e3\n", false),
    (SINGLE, "replicas: [1, 2]\nweb: {image: \"nginx\"}\n", false),
];

#[test]
fn helm_renders_the_new_image_after_an_edit_of_its_values() -> Result<()> {
    let helm = locate::helm()?;
    for (template, values, digest_alone) in CHARTS {
        for image in IMAGES {
            let image = image.replace("DIGEST", DIGEST);
            let folder =
                folder(&[("Chart.yaml", CHART), ("templates/pod.yaml", template), ("values.yaml", values)])?;
            let render = || run(&helm, folder.path(), &["template", "x", "."]);
            let before = render()?;
            done(folder.path(), &["values.yaml", "--helm", "web.image", "--set", &image])?;
            let after = render()?;
            let lines = new_lines(&before, &after).with_context(|| format!("{image} in\n{values}"))?;
            let expected = match image.split_once('@') {
                Some((tagged, digest)) if digest_alone => {
                    format!("{}@{digest}", tagged.rsplit_once(':').context("a tag")?.0)
                }
                _ => image.clone(),
            };
            let shown: Vec<String> = lines.iter().map(|line| line.replace('"', "")).collect();
            assert_eq!(shown, [format!("image: {expected}")], "{image} in\n{values}");
            let again = parts(&edit(
                folder.path(),
                &["values.yaml", "--helm", "web.image", "--set", &image, "--check"],
            )?);
            assert_eq!(again.0, Some(0), "{again:?}");
        }
    }
    Ok(())
}

#[test]
fn helm_renders_the_new_image_after_an_edit_of_marked_templates_and_values() -> Result<()> {
    let template = "\
{{- if .Values.enabled }}
kind: Pod
metadata:
  name: {{ .Release.Name }}
  labels:
    {{- toYaml .Values.labels | nindent 4 }}
spec:
  containers:
    {{- range .Values.sides }}
    - name: {{ . }}
      image: \"side:{{ $.Values.tag }}\"
    {{- end }}
    - name: web
      image: 'nginx:1.0' # {\"$imagepolicy\": \"apps:web\"}
      env:
        - name: VERSION
          value: v1 # {\"$imagepolicy\": \"apps:web:tag\"}
{{- end }}
";
    let values =
        "enabled: true\nlabels: {a: b}\nsides: [one, two]\ntag: v1 # {\"$imagepolicy\": \"apps:side:tag\"}\n";
    let folder = folder(&[("Chart.yaml", CHART), ("templates/pod.yaml", template), ("values.yaml", values)])?;
    let helm = locate::helm()?;
    let render = || run(&helm, folder.path(), &["template", "x", "."]);
    let before = render()?;
    let settings = ["--set", "apps:web=ghcr.io/org/web:1.20", "--set", "apps:side=side:2024"];
    let undeclared = parts(&edit(folder.path(), &[&[".", "--strict", "--check"], &settings[..]].concat())?);
    assert_eq!(undeclared.0, Some(2));
    assert!(undeclared.2.contains("is it a Helm template? declare it as one"), "{}", undeclared.2);

    done(folder.path(), &[&[".", "--strict", "--template", "templates/**"], &settings[..]].concat())?;
    let after = render()?;
    assert_eq!(
        new_lines(&before, &after)?,
        [
            "image: \"side:2024\"",
            "image: \"side:2024\"",
            "image: 'ghcr.io/org/web:1.20' # {\"$imagepolicy\": \"apps:web\"}",
            "value: \"1.20\" # {\"$imagepolicy\": \"apps:web:tag\"}"
        ]
    );
    let written = fs::read_to_string(folder.path().join("templates/pod.yaml"))?;
    assert_eq!(
        written,
        template.replace("nginx:1.0", "ghcr.io/org/web:1.20").replace("value: v1", "value: \"1.20\"")
    );
    Ok(())
}

fn done(folder: &Path, arguments: &[&str]) -> Result<()> {
    let (code, out, err) = parts(&edit(folder, arguments)?);
    ensure!((code, err.as_str()) == (Some(0), ""), "{arguments:?}: {out}{err}");
    Ok(())
}
