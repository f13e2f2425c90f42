use std::collections::BTreeMap;

use proptest::prelude::*;
use windlass_model::ObjectKey;
use windlass_model::place::ObjectIdentifier;

use super::*;

fn object(api_version: &str, kind: &str, name: &str, namespace: &str) -> ObjectIdentifier {
    ObjectIdentifier {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        namespace: namespace.to_owned(),
    }
}

fn change(file: &str, object: &ObjectIdentifier, old: &str, new: &str, setter: &str) -> Change {
    Change {
        file: file.to_owned(),
        object: object.clone(),
        old_value: old.to_owned(),
        new_value: new.to_owned(),
        setter: setter.to_owned(),
    }
}

fn commit(changes: Vec<Change>) -> CommitData {
    let values = [
        ("cluster", "prod-1"),
        ("empty", ""),
        ("url", "https://x.example/a?b"),
        ("n", "3"),
        ("multi", "a\nb"),
    ];
    CommitData {
        automation: ObjectKey::new("flux-system", "apps"),
        changes,
        values: values.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
    }
}

/// The commit for which messages were recorded; its changes are not in order.
fn example() -> CommitData {
    let (backend, web) = ("apps/backend/deploy.yaml", "apps/web.yaml");
    let deployment = object("apps/v1", "Deployment", "backend", "prod");
    commit(vec![
        change(web, &object("", "Kustomization", "", ""), "", "2.0.0", "flux-system:web:tag"),
        change(
            backend,
            &object("batch/v1", "CronJob", "job", "prod"),
            "ghcr.io/o/job:v1",
            "ghcr.io/o/job:v2@sha256:abc",
            "flux-system:job",
        ),
        change(
            backend,
            &deployment,
            "ghcr.io/o/backend:1.0.0",
            "ghcr.io/o/backend:1.1.0",
            "flux-system:backend",
        ),
        change(backend, &deployment, "1.0.0", "1.1.0", "flux-system:backend:tag"),
    ])
}

fn rendered(source: &str, data: &CommitData) -> Result<String, TemplateError> {
    Template::parse(source)?.render(data)
}

fn error(source: &str) -> TemplateError {
    rendered(source, &example()).expect_err(source)
}

/// Templates with the messages that Go 1.26's `text/template` and sprig v3.3.0 (`HermeticTxtFuncMap`) gave for
/// [`example`], or for a commit without changes where `empty` is set; null is an error.
#[test]
fn recorded_messages_are_those_of_go() {
    let (example, empty) = (example(), commit(Vec::new()));
    for line in include_str!("../../testdata/templates.jsonl").lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let data = if case["empty"] == true { &empty } else { &example };
        let message = rendered(case["template"].as_str().unwrap(), data);
        assert_eq!(message.as_deref().ok(), case["message"].as_str(), "{} {message:?}", case["template"]);
    }
}

#[test]
fn the_template_of_the_flux_guide_renders() {
    let source = "\
Automated image update

Automation: {{ .AutomationObject }}

Files:
{{ range $filename, $_ := .Changed.FileChanges -}}
- {{ $filename }}
{{ end -}}

Objects:
{{ range $resource, $changes := .Changed.Objects -}}
- {{ $resource.Kind }} {{ $resource.Name }}
  Changes:
{{- range $_, $change := $changes }}
    - {{ $change.OldValue }} -> {{ $change.NewValue }}
{{ end -}}
{{ end -}}
";
    let wanted = "\
Automated image update

Automation: flux-system/apps

Files:
- apps/backend/deploy.yaml
- apps/web.yaml
Objects:
- Kustomization \n  Changes:
    -  -> 2.0.0
- Deployment backend
  Changes:
    - ghcr.io/o/backend:1.0.0 -> ghcr.io/o/backend:1.1.0

    - 1.0.0 -> 1.1.0
- CronJob job
  Changes:
    - ghcr.io/o/job:v1 -> ghcr.io/o/job:v2@sha256:abc
";
    assert_eq!(rendered(source, &example()).unwrap(), wanted);
}

#[test]
fn changes_come_in_the_order_of_files_objects_and_places_each_once() {
    let (one, two) = (object("v1", "A", "one", ""), object("v1", "A", "two", ""));
    let data = commit(vec![
        change("b.yaml", &one, "1", "4", "s"),
        change("a.yaml", &two, "1", "3", "s"),
        change("a.yaml", &one, "9", "1", "s"),
        change("a.yaml", &one, "1", "2", "s"),
        change("c.yaml", &two, "1", "3", "s"),
    ]);
    assert_eq!(rendered("{{ range .Changed.Changes }}{{ .NewValue }} {{ end }}", &data).unwrap(), "1 2 3 4 ");
    let objects = "{{ range $o, $c := .Changed.Objects }}{{ $o.Name }}:{{ range $c }}{{ .NewValue }}{{ end }} {{ end }}";
    assert_eq!(rendered(objects, &data).unwrap(), "one:124 two:33 ", "an object's changes in all files");
}

#[test]
fn names_are_checked_where_no_commit_would_reach_them() {
    for (source, kind, message) in [
        (
            "{{ .Updated }}",
            TemplateErrorKind::RemovedField,
            "line 1, column 4: template uses removed '.Updated' field. Please use '.Changed' instead.",
        ),
        (
            "{{ range .Changed.ImageResult.Images }}{{ end }}",
            TemplateErrorKind::RemovedField,
            "line 1, column 18: template uses removed '.Changed.ImageResult' field. Please use '.Changed.FileChanges' or '.Changed.Objects' instead.",
        ),
        (
            "a\n{{ if false }}\n  {{ .Nope }}{{ end }}",
            TemplateErrorKind::Unknown,
            "line 3, column 6: can't evaluate field Nope in type source.TemplateData",
        ),
        (
            "{{ range .Changed.Changes }}é{{ .Old }}{{ end }}",
            TemplateErrorKind::Unknown,
            "line 1, column 33: can't evaluate field Old in type update.Change",
        ),
        (
            "{{ range $o, $c := .Changed.Objects }}{{ $c.Name }}{{ end }}",
            TemplateErrorKind::Unknown,
            "line 1, column 44: can't evaluate field Name in type []update.Change",
        ),
        (
            "{{ define \"x\" }}{{ .Kind }}{{ end }}{{ template \"x\" .Changed }}",
            TemplateErrorKind::Unknown,
            "line 1, column 20: can't evaluate field Kind in type update.Result",
        ),
        (
            "{{ .Values.cluster | shout }}",
            TemplateErrorKind::Unknown,
            "line 1, column 22: function \"shout\" not defined",
        ),
        (
            "{{ now }}",
            TemplateErrorKind::Unknown,
            "line 1, column 4: function \"now\" is not available: its result depends on more than its arguments (Flux does not have it either)",
        ),
        (
            "{{ toJson .Values }}",
            TemplateErrorKind::Unknown,
            "line 1, column 4: function \"toJson\" is not supported in commit messages",
        ),
        ("{{ $x }}", TemplateErrorKind::Unknown, "line 1, column 4: undefined variable \"$x\""),
        ("{{ template \"x\" }}", TemplateErrorKind::Unknown, "line 1, column 13: template \"x\" not defined"),
        (
            "{{ upper }}",
            TemplateErrorKind::Type,
            "line 1, column 4: wrong number of args for upper: want 1 got 0",
        ),
        (
            "{{ .Changed.Objects | upper }}",
            TemplateErrorKind::Type,
            "line 1, column 23: wrong type for upper: argument 1 must be a string, not map[update.ObjectIdentifier][]update.Change",
        ),
        (
            "{{ .Values.x 1 }}",
            TemplateErrorKind::Type,
            "line 1, column 4: x has arguments but cannot be invoked as function",
        ),
        ("{{ if .Values }}", TemplateErrorKind::Syntax, "line 1, column 1: {{if}} has no {{end}}"),
        (
            "{{ 1.5 }}",
            TemplateErrorKind::Syntax,
            "line 1, column 4: floating-point constants are not supported: 1.5",
        ),
    ] {
        let error = Template::parse(source).expect_err(source);
        assert_eq!((error.kind, error.to_string().as_str()), (kind, message), "{source}");
    }
}

#[test]
fn what_only_the_data_shows_fails_with_its_place() {
    let late = error("ok\n{{ (index .Changed.Changes 9).Setter }}");
    assert_eq!(late.kind, TemplateErrorKind::Failed);
    assert_eq!(late.to_string(), "line 2, column 5: error calling index: index out of range: 9");
    assert_eq!(
        error("{{ .Values.missing | upper }}").message,
        "error calling upper: argument 1 must be a string, not nil"
    );
    assert_eq!(error("{{ fail \"stop\" }}").message, "error calling fail: stop");
}

#[test]
fn a_variable_that_changes_its_type_raises_no_false_alarm() {
    let source = r#"{{ $last := "" }}{{ range .Changed.Changes }}{{ if $last }}{{ $last.NewValue }} {{ end }}{{ $last = . }}{{ end }}"#;
    assert_eq!(
        rendered(source, &example()).unwrap(),
        "2.0.0 ghcr.io/o/backend:1.1.0 1.1.0 ".replace("2.0.0 ", "") + "ghcr.io/o/job:v2@sha256:abc "
    );
}

#[test]
fn work_memory_and_depth_are_bounded() {
    let nested = format!("{}1{}", "{{if 1}}".repeat(101), "{{end}}".repeat(101));
    let parentheses = format!("{{{{ {}1{} }}}}", "(".repeat(101), ")".repeat(101));
    for source in [
        nested.as_str(),
        &parentheses,
        &" ".repeat(MAX_SOURCE + 1),
        r#"{{ repeat 1000000000 "x" }}"#,
        r#"{{ repeat 1000000000 "" }}{{ range 1000000000 }}{{ end }}"#,
        r#"{{ printf "%1000000000d" 1 }}"#,
        "{{ range 300000 }}x{{ end }}",
        "{{ range until 1000000000 }}{{ end }}",
        "{{ range 2000 }}{{ range 2000 }}{{ end }}{{ end }}",
        r#"{{ define "r" }}{{ template "r" . }}{{ end }}{{ template "r" . }}"#,
        "{{ $x := list 1 }}{{ range 40 }}{{ $x = list $x }}{{ end }}",
        "{{ $x := list 1 }}{{ range 30 }}{{ $x = list $x $x }}{{ end }}{{ has $x (list $x) }}",
        r#"{{ $x := "ab" }}{{ range 30 }}{{ $x = cat $x $x }}{{ end }}"#,
        r#"{{ $x := "ab" }}{{ range 30 }}{{ $x = replace "a" "aaaaaaaaaa" $x }}{{ end }}"#,
        r#"{{ range 1000 }}{{ if regexMatch (printf "%d" .) "x" }}{{ end }}{{ end }}"#,
    ] {
        let error = error(source);
        assert_eq!(error.kind, TemplateErrorKind::Limit, "{error} {}", &source[..source.len().min(80)]);
    }
}

#[test]
fn a_message_about_a_thousand_changes_is_no_problem() {
    let object = object("apps/v1", "Deployment", "app", "prod");
    let changes = (0..1000).map(|i| {
        change(
            &format!("apps/{i}.yaml"),
            &object,
            "ghcr.io/o/app:1.0.0",
            &format!("ghcr.io/o/app:1.1.{i}"),
            "a:b",
        )
    });
    let source = "{{ range .Changed.Changes }}{{ if ne .OldValue .NewValue }}- {{ .Setter | trimPrefix \"a:\" | quote }}: {{ .OldValue }} -> {{ .NewValue }}\n{{ end }}{{ end }}";
    let message = rendered(source, &commit(changes.collect())).unwrap();
    assert_eq!(message.lines().count(), 1000);
}

fn fragments() -> impl Strategy<Value = String> {
    let fragment = prop::sample::select(vec![
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        "\n",
        "text",
        "é",
        ".",
        "$",
        "$x",
        ":=",
        "=",
        ",",
        "|",
        "(",
        ")",
        "1",
        "-2",
        "0x",
        "\"a\"",
        "`b`",
        "'c'",
        "nil",
        "true",
        ".Changed",
        ".Changes",
        ".Objects",
        ".FileChanges",
        ".Values",
        ".cluster",
        "range",
        "if",
        "with",
        "else",
        "end",
        "define",
        "template",
        "block",
        "break",
        "continue",
        "printf",
        "%v",
        "index",
        "len",
        "list",
        "dict",
        "slice",
        "trunc",
        "substr",
        "wrap",
        "splitList",
        "join",
        "indent",
        "regexReplaceAll",
        "default",
        "eq",
        "and",
        "first",
        "/*",
        "*/",
        "\\",
        "{{ end }}",
        "{{ range .Changed.Changes }}",
        "{{ if .Values }}",
        "{{ $x := . }}",
        "{{ .Setter | trunc -3 }}",
        "{{ .Values.cluster | ",
    ]);
    prop::collection::vec(fragment, 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_text_is_a_template_or_an_error_with_a_place(source in fragments(), noise in "\\PC{0,12}") {
        for source in [source.clone(), source + &noise] {
            if let Err(error) = rendered(&source, &example()) {
                prop_assert!(error.line >= 1 && error.line <= source.matches('\n').count() + 1);
                prop_assert!(error.column >= 1);
            }
        }
    }

    #[test]
    fn text_without_actions_is_its_own_message(text in "[^{}]{0,80}") {
        prop_assert_eq!(rendered(&text, &commit(Vec::new())).unwrap(), text);
    }

    #[test]
    fn any_value_is_printed_as_it_is(value in "\\PC{0,40}") {
        let mut data = commit(Vec::new());
        data.values = BTreeMap::from([("v".to_owned(), value.clone())]);
        prop_assert_eq!(rendered("{{ .Values.v }}{{ print .Values.v }}", &data).unwrap(), value.repeat(2));
    }
}
