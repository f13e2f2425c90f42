//! Realistic manifests of the usual kinds, each in many layouts: every marker is found in the right object and at the
//! right path, and an edit changes the marked lines alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use windlass_manifest::{Edit, apply, scan, unified};
use windlass_model::image::{Digest, ImageRef, Tag};
use windlass_model::place::Part;

/// A template, and for each of its markers: kind, name and path.
struct Sample {
    text: &'static str,
    places: &'static [(&'static str, &'static str, &'static str)],
}

/// How a person, or a tool, might have written the same manifest.
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
#[derive(Debug, Clone, Copy)]
struct Layout {
    crlf: bool,
    indent: usize,
    quotes: &'static str,
    comments: bool,
    separator: bool,
    /// A byte order mark before the file, and a tab before each marker.
    odd: bool,
}

fn layouts() -> Vec<Layout> {
    let mut layouts = Vec::new();
    for indent in [2, 3, 4] {
        for quotes in ["", "'", "\""] {
            // The odd ones do not depend on the indentation.
            for bits in 0..if indent == 2 { 16 } else { 8 } {
                let bit = |position: u8| bits >> position & 1 == 1;
                layouts.push(Layout {
                    crlf: bit(0),
                    indent,
                    quotes,
                    comments: bit(1),
                    separator: bit(2),
                    odd: bit(3),
                });
            }
        }
    }
    layouts
}

/// Writes the template in a layout: `IMAGE`, `TAG`, `NAME`, `DIGEST` and `PINNED` become marked values.
fn write(template: &str, layout: Layout) -> String {
    let mut out = String::new();
    // In a block scalar, a remark would be text.
    let remarks = layout.comments && !template.contains("|\n");
    if layout.odd {
        out.push('\u{feff}');
    }
    if layout.separator {
        out.push_str("---\n");
    }
    for (number, line) in template.lines().enumerate() {
        let depth = line.len() - line.trim_start().len();
        out.push_str(&" ".repeat(depth / 2 * layout.indent));
        let line = line.trim_start();
        // What follows a dash is aligned with the lines below it.
        let (dash, rest) = line.strip_prefix("- ").map_or(("", line), |rest| ("-", rest));
        out.push_str(dash);
        out.push_str(&" ".repeat(dash.len() * (layout.indent - 1)));
        let marked = mark(rest, layout.quotes);
        out.push_str(&if layout.odd { marked.replace(" # {", "\t# {") } else { marked });
        out.push('\n');
        if remarks && number.is_multiple_of(3) {
            out.push_str("      # a remark: \"not\" data\n\n");
        }
    }
    if layout.crlf { out.replace('\n', "\r\n") } else { out }
}

fn mark(line: &str, quotes: &str) -> String {
    for (word, value, suffix) in [
        ("IMAGE", "ghcr.io/org/app:1.0.0", ""),
        ("TAG", "1.0.0", ":tag"),
        ("NAME", "ghcr.io/org/old", ":name"),
        ("DIGEST", "sha256:0000", ":digest"),
        ("PINNED", "1.0.0", ":tag@digest"),
    ] {
        if let Some(rest) = line.strip_suffix(word) {
            return format!(
                "{rest}{quotes}{value}{quotes} # {{\"$imagepolicy\": \"flux-system:app{suffix}\"}}"
            );
        }
    }
    line.to_owned()
}

fn image() -> ImageRef {
    ImageRef {
        name: "registry.example.com:5000/team/app".into(),
        tag: Tag::parse("1.20").unwrap(),
        digest: Some(Digest::parse(&format!("sha256:{}", "a".repeat(64))).unwrap()),
    }
}

fn check(sample: &Sample, layout: Layout) {
    let old = write(sample.text, layout);
    let found = scan(old.as_bytes());
    assert_eq!(found.problems, [], "{layout:?}\n{old}");
    let places: Vec<_> = found
        .places
        .iter()
        .map(|place| (place.object.kind.as_str(), place.object.name.as_str(), place.key_path.as_str()))
        .collect();
    assert_eq!(places, sample.places, "{layout:?}\n{old}");

    let image = image();
    let value = |part: Part| part.render(&image).unwrap();
    let edits: Vec<_> = (0..found.places.len())
        .map(|place| Edit { place, value: value(found.places[place].marker.part) })
        .collect();
    let new = apply(old.as_bytes(), &found, &edits).unwrap();
    let again = scan(&new);
    for (place, edit) in again.places.iter().zip(&edits) {
        assert_eq!(place.value, edit.value, "{}", place.key_path);
    }
    assert_eq!(apply(&new, &again, &edits).unwrap(), new);

    let new = String::from_utf8(new).unwrap();
    assert_eq!(old.lines().count(), new.lines().count());
    for (number, (old, new)) in old.split('\n').zip(new.split('\n')).enumerate() {
        let marked = found.places.iter().any(|place| place.line == number + 1);
        assert_eq!(old != new, marked, "line {}: {old} became {new}", number + 1);
        assert_eq!(
            old.split_once(" # "),
            old.split_once(" # ").map(|(head, _)| (head, new.split_once(" # ").unwrap().1))
        );
    }
    let removed = unified("app.yaml", old.as_bytes(), new.as_bytes())
        .lines()
        .filter(|line| line.starts_with('-'))
        .count();
    assert_eq!(removed, found.places.len() + 1);
}

#[test]
fn manifests_of_the_usual_kinds_are_edited_in_place() {
    let mut manifests = 0;
    for sample in SAMPLES {
        for layout in layouts() {
            check(sample, layout);
            manifests += 1;
        }
    }
    assert!(manifests >= 1_000, "{manifests}");
}

/// A new value that is a number as plain text is quoted where it was plain, and in no other place.
#[test]
fn a_tag_like_a_number_is_quoted_where_it_was_plain() {
    for (quotes, expected) in [("", "\"1.20\""), ("'", "'1.20'"), ("\"", "\"1.20\"")] {
        let layout = Layout { crlf: false, indent: 2, quotes, comments: false, separator: false, odd: false };
        let old = write("kind: X\nspec:\n  tag: TAG\n", layout);
        let edits = [Edit { place: 0, value: "1.20".into() }];
        let new = apply(old.as_bytes(), &scan(old.as_bytes()), &edits).unwrap();
        assert!(String::from_utf8(new).unwrap().contains(&format!("tag: {expected} # ")), "{quotes}");
    }
}

const SAMPLES: &[Sample] = &[
    Sample {
        text: r#"apiVersion: apps/v1
kind: Deployment
metadata: {name: shared, namespace: shop, annotations: {"a/b": 'c, d', note: "x # y"}}
spec:
  template:
    spec:
      volumes: &volumes [{name: data, emptyDir: {}}]
      initContainers:
        - name: migrate
          image: &image IMAGE
          resources: &small {requests: {cpu: 100m}}
        - {name: wait, args: [":8080", "-x"], image: other}
      containers:
        - name: web
          image: *image
          resources: *small
        - name: proxy
          env: []
          image: IMAGE
"#,
        places: &[
            ("Deployment", "shared", "spec.template.spec.initContainers[0].image"),
            ("Deployment", "shared", "spec.template.spec.containers[1].image"),
        ],
    },
    Sample {
        text: r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  labels: {app: web, tier: "web"}
spec:
  replicas: 3
  selector:
    matchLabels:
      app: web
  strategy:
    type: RollingUpdate
  template:
    metadata:
      labels:
        app: web
      annotations:
        prometheus.io/scrape: "true"
    spec:
      initContainers:
        - name: migrate
          image: IMAGE
          args: ["migrate", '--timeout=30s']
      containers:
        - name: web
          image: IMAGE
          ports:
            - containerPort: 8080
          env:
            - name: VERSION
              value: TAG
            - name: GREETING
              value: "it's: # fine"
          resources:
            limits: {cpu: 500m, memory: 128Mi}
        - name: proxy
          image: envoyproxy/envoy:v1.30.1
"#,
        places: &[
            ("Deployment", "web", "spec.template.spec.initContainers[0].image"),
            ("Deployment", "web", "spec.template.spec.containers[0].image"),
            ("Deployment", "web", "spec.template.spec.containers[0].env[0].value"),
        ],
    },
    Sample {
        text: r#"apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: db
  namespace: shop
  labels: {app: db, tier: "web"}
spec:
  replicas: 3
  selector:
    matchLabels:
      app: db
  template:
    metadata:
      labels:
        app: db
      annotations:
        prometheus.io/scrape: "true"
    spec:
      initContainers:
        - name: migrate
          image: IMAGE
          args: ["migrate", '--timeout=30s']
      containers:
        - name: db
          image: IMAGE
          ports:
            - containerPort: 8080
          env:
            - name: VERSION
              value: TAG
            - name: GREETING
              value: "it's: # fine"
          resources:
            limits: {cpu: 500m, memory: 128Mi}
        - name: proxy
          image: envoyproxy/envoy:v1.30.1
"#,
        places: &[
            ("StatefulSet", "db", "spec.template.spec.initContainers[0].image"),
            ("StatefulSet", "db", "spec.template.spec.containers[0].image"),
            ("StatefulSet", "db", "spec.template.spec.containers[0].env[0].value"),
        ],
    },
    Sample {
        text: r#"apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: agent
  namespace: shop
  labels: {app: agent, tier: "web"}
spec:
  replicas: 3
  selector:
    matchLabels:
      app: agent
  template:
    metadata:
      labels:
        app: agent
      annotations:
        prometheus.io/scrape: "true"
    spec:
      initContainers:
        - name: migrate
          image: IMAGE
          args: ["migrate", '--timeout=30s']
      containers:
        - name: agent
          image: IMAGE
          ports:
            - containerPort: 8080
          env:
            - name: VERSION
              value: TAG
            - name: GREETING
              value: "it's: # fine"
          resources:
            limits: {cpu: 500m, memory: 128Mi}
        - name: proxy
          image: envoyproxy/envoy:v1.30.1
"#,
        places: &[
            ("DaemonSet", "agent", "spec.template.spec.initContainers[0].image"),
            ("DaemonSet", "agent", "spec.template.spec.containers[0].image"),
            ("DaemonSet", "agent", "spec.template.spec.containers[0].env[0].value"),
        ],
    },
    Sample {
        text: r#"apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: old
  namespace: shop
  labels: {app: old, tier: "web"}
spec:
  replicas: 3
  selector:
    matchLabels:
      app: old
  template:
    metadata:
      labels:
        app: old
      annotations:
        prometheus.io/scrape: "true"
    spec:
      initContainers:
        - name: migrate
          image: IMAGE
          args: ["migrate", '--timeout=30s']
      containers:
        - name: old
          image: IMAGE
          ports:
            - containerPort: 8080
          env:
            - name: VERSION
              value: TAG
            - name: GREETING
              value: "it's: # fine"
          resources:
            limits: {cpu: 500m, memory: 128Mi}
        - name: proxy
          image: envoyproxy/envoy:v1.30.1
"#,
        places: &[
            ("ReplicaSet", "old", "spec.template.spec.initContainers[0].image"),
            ("ReplicaSet", "old", "spec.template.spec.containers[0].image"),
            ("ReplicaSet", "old", "spec.template.spec.containers[0].env[0].value"),
        ],
    },
    Sample {
        text: r#"apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata:
  name: canary
  namespace: shop
  labels: {app: canary, tier: "web"}
spec:
  replicas: 3
  selector:
    matchLabels:
      app: canary
  strategy:
    type: RollingUpdate
  template:
    metadata:
      labels:
        app: canary
      annotations:
        prometheus.io/scrape: "true"
    spec:
      initContainers:
        - name: migrate
          image: IMAGE
          args: ["migrate", '--timeout=30s']
      containers:
        - name: canary
          image: IMAGE
          ports:
            - containerPort: 8080
          env:
            - name: VERSION
              value: TAG
            - name: GREETING
              value: "it's: # fine"
          resources:
            limits: {cpu: 500m, memory: 128Mi}
        - name: proxy
          image: envoyproxy/envoy:v1.30.1
"#,
        places: &[
            ("Rollout", "canary", "spec.template.spec.initContainers[0].image"),
            ("Rollout", "canary", "spec.template.spec.containers[0].image"),
            ("Rollout", "canary", "spec.template.spec.containers[0].env[0].value"),
        ],
    },
    Sample {
        text: r#"apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: fn
  namespace: shop
  labels: {app: fn, tier: "web"}
spec:
  replicas: 3
  selector:
    matchLabels:
      app: fn
  template:
    metadata:
      labels:
        app: fn
      annotations:
        prometheus.io/scrape: "true"
    spec:
      initContainers:
        - name: migrate
          image: IMAGE
          args: ["migrate", '--timeout=30s']
      containers:
        - name: fn
          image: IMAGE
          ports:
            - containerPort: 8080
          env:
            - name: VERSION
              value: TAG
            - name: GREETING
              value: "it's: # fine"
          resources:
            limits: {cpu: 500m, memory: 128Mi}
        - name: proxy
          image: envoyproxy/envoy:v1.30.1
"#,
        places: &[
            ("Service", "fn", "spec.template.spec.initContainers[0].image"),
            ("Service", "fn", "spec.template.spec.containers[0].image"),
            ("Service", "fn", "spec.template.spec.containers[0].env[0].value"),
        ],
    },
    Sample {
        text: r#"apiVersion: batch/v1
kind: Job
metadata:
  name: once
  namespace: shop
  labels: {app: once, tier: "web"}
spec:
  replicas: 3
  selector:
    matchLabels:
      app: once
  template:
    metadata:
      labels:
        app: once
      annotations:
        prometheus.io/scrape: "true"
    spec:
      initContainers:
        - name: migrate
          image: IMAGE
          args: ["migrate", '--timeout=30s']
      containers:
        - name: once
          image: IMAGE
          ports:
            - containerPort: 8080
          env:
            - name: VERSION
              value: TAG
            - name: GREETING
              value: "it's: # fine"
          resources:
            limits: {cpu: 500m, memory: 128Mi}
        - name: proxy
          image: envoyproxy/envoy:v1.30.1
"#,
        places: &[
            ("Job", "once", "spec.template.spec.initContainers[0].image"),
            ("Job", "once", "spec.template.spec.containers[0].image"),
            ("Job", "once", "spec.template.spec.containers[0].env[0].value"),
        ],
    },
    Sample {
        text: r#"apiVersion: batch/v1
kind: CronJob
metadata:
  name: nightly
spec:
  schedule: "0 3 * * *"
  concurrencyPolicy: Forbid
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: OnFailure
          containers:
            - image: IMAGE
              name: job
              command:
                - /bin/sh
                - -c
                - |
                  set -e
                  echo "run: $(date)"
"#,
        places: &[("CronJob", "nightly", "spec.jobTemplate.spec.template.spec.containers[0].image")],
    },
    Sample {
        text: "apiVersion: v1
kind: Pod
metadata:
  generateName: x-
  name: debug
spec:
  containers:
    - image: IMAGE
      imagePullPolicy: Always
      name: shell
  tolerations:
    - {key: a, operator: Exists}
",
        places: &[("Pod", "debug", "spec.containers[0].image")],
    },
    Sample {
        text: r#"apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: app
  namespace: shop
spec:
  interval: 10m
  chart:
    spec: {chart: app, version: ">=1.0.0 <2.0.0"}
  values:
    image:
      repository: NAME
      tag: PINNED
      digest: DIGEST
    ingress:
      enabled: yes
      hosts: [{host: a.example.com, paths: ["/"]}]
"#,
        places: &[
            ("HelmRelease", "app", "spec.values.image.repository"),
            ("HelmRelease", "app", "spec.values.image.tag"),
            ("HelmRelease", "app", "spec.values.image.digest"),
        ],
    },
    Sample {
        text: "apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ../../base
  - https://example.com/x?ref=v1.0.0
images:
  - name: app
    newName: NAME
    newTag: TAG
  - name: other
    digest: DIGEST
configMapGenerator:
  - name: settings
    literals:
      - A=1
",
        places: &[
            ("Kustomization", "", "images[0].newName"),
            ("Kustomization", "", "images[0].newTag"),
            ("Kustomization", "", "images[1].digest"),
        ],
    },
    Sample {
        text: "apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata:
  name: charts
  namespace: flux-system
spec:
  interval: 5m0s
  url: oci://ghcr.io/org/charts/app
  ref:
    tag: TAG
",
        places: &[("OCIRepository", "charts", "spec.ref.tag")],
    },
    Sample {
        text: r#"apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  sidecar.image: IMAGE
  plain: text
  config.yaml: |
    image: not-marked:1.0.0
      odd: indentation
    # a comment that is text
  empty: ""
"#,
        places: &[("ConfigMap", "settings", r#"data["sidecar.image"]"#)],
    },
    Sample {
        text: r#"apiVersion: tekton.dev/v1
kind: Task
metadata:
  name: build
spec:
  params:
    - name: base
      default: IMAGE
  steps:
    - name: build
      image: IMAGE
      script: |
        #!/bin/sh
        echo "$(params.base)"
"#,
        places: &[("Task", "build", "spec.params[0].default"), ("Task", "build", "spec.steps[0].image")],
    },
    Sample {
        text: "apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: app
  namespace: argocd
spec:
  source:
    repoURL: https://example.com/app.git
    helm:
      parameters:
        - name: image.tag
          value: TAG
    kustomize:
      images:
        - IMAGE
",
        places: &[
            ("Application", "app", "spec.source.helm.parameters[0].value"),
            ("Application", "app", "spec.source.kustomize.images[0]"),
        ],
    },
    Sample {
        text: "apiVersion: v1
kind: List
metadata: {}
items:
  - apiVersion: v1
    kind: Service
    metadata: {name: web, namespace: shop}
    spec:
      ports:
        - port: 80
  - apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: web
    spec:
      template:
        spec:
          containers:
            - image: IMAGE
",
        places: &[("Deployment", "web", "items[1].spec.template.spec.containers[0].image")],
    },
    Sample {
        text: "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.example.com
spec:
  group: example.com
  names: {kind: Widget, plural: widgets}
  scope: Namespaced
---
apiVersion: example.com/v1
kind: Widget
metadata:
  name: first
spec:
  image: IMAGE
---
apiVersion: example.com/v1
kind: Widget
metadata:
  name: second
spec:
  image: IMAGE
",
        places: &[("Widget", "first", "spec.image"), ("Widget", "second", "spec.image")],
    },
];
