use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use windlass_model::guard::{SlsaCondition, TextRule, predicate_type};

use super::*;

const NOW: &str = "2026-03-02T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn compile(name: &str, condition: Option<Condition>) -> AttestationCheck {
    let predicate_type = predicate_type(name).unwrap();
    AttestationCheck::compile(&AttestationRule { predicate_type, authorities: vec!["a".into()], condition })
        .unwrap()
}

fn statement(name: &str, predicate: &Value) -> Statement {
    let text = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "ghcr.io/acme/app", "digest": {"sha256": "00"}}],
        "predicateType": predicate_type(name).unwrap(),
        "predicate": predicate,
    });
    Statement::read(text.to_string().as_bytes()).unwrap()
}

/// What is missing, as it is told; nothing where the condition is met.
fn told(name: &str, condition: Condition, predicate: &Value) -> Option<String> {
    let check = compile(name, Some(condition));
    check.check(&statement(name, predicate), now()).err().map(|unmet| unmet.to_string())
}

fn assert_unmet(name: &str, condition: &Condition, predicate: &Value, part: &str) {
    let told = told(name, condition.clone(), predicate);
    assert!(
        told.as_ref().is_some_and(|told| told.contains(part)),
        "wanted `{part}`, found {told:?}\n{predicate}"
    );
}

/// The predicate with one place changed; `null` removes it.
fn changed(predicate: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = predicate.clone();
    *changed.pointer_mut(pointer).unwrap() = value;
    changed
}

#[expect(clippy::unnecessary_wraps, reason = "as the fields have it")]
fn exact(text: &str) -> Option<TextRule> {
    Some(TextRule::Exact(text.to_owned()))
}

#[expect(clippy::unnecessary_wraps, reason = "as the fields have it")]
fn pattern(expression: &str) -> Option<TextRule> {
    Some(TextRule::Pattern { expression: expression.to_owned(), anchored: true })
}

const GENERATOR: &str =
    "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml";

/// As the SLSA generator for containers writes it.
fn provenance_v02() -> Value {
    json!({
        "builder": {"id": format!("{GENERATOR}@refs/tags/v1.9.0")},
        "buildType": "https://github.com/slsa-framework/slsa-github-generator/container@v1",
        "invocation": {
            "configSource": {
                "uri": "git+https://github.com/acme/app@refs/tags/v1.2.3",
                "digest": {"sha1": "6ea7ff5e1d3a0f5a5f3b7a8a7c0f1ea39a3c0a11"},
                "entryPoint": ".github/workflows/release.yml"
            },
            "parameters": {},
            "environment": {"github_ref": "refs/tags/v1.2.3", "github_actor": "somebody"}
        },
        "metadata": {"buildInvocationID": "5-1", "completeness": {"parameters": true}, "reproducible": false},
        "materials": [{"uri": "git+https://github.com/evil/other@refs/heads/main", "digest": {"sha1": "11"}}]
    })
}

/// As GitHub's artifact attestations write it.
fn provenance_v1() -> Value {
    json!({
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {
                "workflow": {
                    "ref": "refs/heads/main",
                    "repository": "https://github.com/acme/app",
                    "path": ".github/workflows/release.yml"
                }
            },
            "internalParameters": {"github": {"event_name": "push", "runner_environment": "github-hosted"}},
            "resolvedDependencies": [
                {"uri": "git+https://github.com/evil/other@refs/heads/main", "digest": {"gitCommit": "11"}}
            ]
        },
        "runDetails": {
            "builder": {"id": "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"},
            "metadata": {"invocationId": "https://github.com/acme/app/actions/runs/1/attempts/1"}
        }
    })
}

#[test]
fn provenance_v02_is_matched_and_each_wrong_value_is_named() {
    let wanted = SlsaCondition {
        builder: pattern(&format!("{}@refs/tags/v1\\..*", GENERATOR.replace('.', "\\."))),
        source: exact("https://github.com/acme/app"),
        reference: pattern("refs/tags/v.*"),
        build_type: Some("https://github.com/slsa-framework/slsa-github-generator/container@v1".into()),
    };
    let (wanted, good) = (Condition::Slsa(wanted), provenance_v02());
    assert_eq!(told("slsaprovenance", wanted.clone(), &good), None);
    for (pointer, value, part) in [
        (
            "/builder/id",
            json!(format!("https://evil.example/?{GENERATOR}@refs/tags/v1.9.0")),
            "`builder.id` is",
        ),
        ("/builder/id", json!(""), "`builder.id` is not a filled string"),
        ("/builder", json!(null), "`builder.id` is not a string"),
        (
            "/buildType",
            json!("https://github.com/slsa-framework/slsa-github-generator/container@v2"),
            "`buildType`",
        ),
        ("/buildType", json!(7), "`buildType` is not a string"),
        (
            "/invocation/configSource/uri",
            json!("git+https://github.com/acme/app-evil@refs/tags/v1"),
            "app-evil",
        ),
        (
            "/invocation/configSource/uri",
            json!("git+https://github.com/acme/app@refs/heads/v"),
            "refs/heads/v",
        ),
        (
            "/invocation/configSource/uri",
            json!("git+https://github.com/acme/app"),
            "does not say what its ref is",
        ),
        (
            "/invocation/configSource/uri",
            json!("git+https://github.com/acme/app@"),
            "does not say what its ref is",
        ),
        ("/invocation/configSource/uri", json!(["x"]), "is not a string"),
        ("/invocation/configSource", json!(null), "does not say what its source is"),
        ("/invocation", json!("x"), "does not say what its source is"),
    ] {
        assert_unmet("slsaprovenance", &wanted, &changed(&good, pointer, value), part);
    }
    for predicate in [json!(null), json!([]), json!("x"), json!(1), json!({})] {
        assert!(told("slsaprovenance", wanted.clone(), &predicate).is_some(), "{predicate}");
    }
}

#[test]
fn provenance_v1_is_matched_and_each_wrong_value_is_named() {
    let wanted = SlsaCondition {
        builder: exact("https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"),
        source: exact("https://github.com/acme/app"),
        reference: exact("refs/heads/main"),
        build_type: Some("https://actions.github.io/buildtypes/workflow/v1".into()),
    };
    let (wanted, good) = (Condition::Slsa(wanted), provenance_v1());
    assert_eq!(told("slsaprovenance1", wanted.clone(), &good), None);
    let parameters = "/buildDefinition/externalParameters";
    let workflow = "/buildDefinition/externalParameters/workflow";
    for (pointer, value, part) in [
        ("/runDetails/builder/id".to_owned(), json!("https://github.com/acme"), "`runDetails.builder.id` is"),
        ("/runDetails".to_owned(), json!({}), "`runDetails.builder.id` is not"),
        ("/buildDefinition/buildType".to_owned(), json!("x"), "`buildDefinition.buildType` is `x`"),
        (format!("{workflow}/repository"), json!("https://github.com/Acme/app"), "github.com/Acme/app"),
        (format!("{workflow}/repository"), json!(null), "does not say what its source is"),
        (format!("{workflow}/ref"), json!("refs/heads/main2"), "refs/heads/main2"),
        (format!("{workflow}/ref"), json!(null), "does not say what its ref is"),
        (format!("{workflow}/ref"), json!({}), "ref` is not a string"),
        (parameters.to_owned(), json!({}), "does not say what its source is"),
        ("/buildDefinition".to_owned(), json!(null), "is not a string"),
        // Every place that speaks of a source must agree.
        (
            parameters.to_owned(),
            json!({"workflow": good.pointer(workflow), "source": {"uri": "git+https://github.com/evil/app@refs/heads/main"}}),
            "`buildDefinition.externalParameters.source` is `https://github.com/evil/app`",
        ),
    ] {
        assert_unmet("slsaprovenance1", &wanted, &changed(&good, &pointer, value), part);
    }
}

#[test]
fn the_sources_of_other_builders_are_found() {
    for (parameters, met) in [
        (json!({"configSource": {"uri": "https://github.com/acme/app#refs/heads/main"}}), true),
        (json!({"source": {"uri": "git+https://github.com/acme/app@refs/heads/main"}}), true),
        (json!({"source": "git+https://github.com/acme/app@refs/heads/main"}), true),
        (
            json!({"buildConfigSource": {"repository": "git+https://github.com/acme/app", "ref": "refs/heads/main"}}),
            true,
        ),
        (json!({"source": "git+https://x@github.com/acme/app@refs/heads/main"}), false),
        (json!({"source": "https://github.com/acme/app@evil@refs/heads/main"}), false),
        (json!({"inputs": {"source": "https://github.com/acme/app@refs/heads/main"}}), false),
    ] {
        let predicate = changed(&provenance_v1(), "/buildDefinition/externalParameters", parameters);
        let wanted = SlsaCondition {
            source: exact("https://github.com/acme/app"),
            reference: exact("refs/heads/main"),
            ..SlsaCondition::default()
        };
        let told = told("slsaprovenance1", Condition::Slsa(wanted), &predicate);
        assert_eq!(told.is_none(), met, "{predicate} {told:?}");
    }
}

fn scan(result: &Value) -> Value {
    json!({
        "invocation": {"parameters": null, "uri": "", "event_id": "", "builder.id": ""},
        "scanner": {"uri": "pkg:github/aquasecurity/trivy@0.57.0", "version": "0.57.0",
                    "db": {"uri": "", "version": ""}, "result": result},
        "metadata": {"scanStartedOn": "2026-03-02T09:59:00.123456789Z", "scanFinishedOn": "2026-03-02T10:00:00.5+01:00"}
    })
}

fn trivy() -> Value {
    json!({
        "SchemaVersion": 2,
        "ArtifactName": "ghcr.io/acme/app",
        "ArtifactType": "container_image",
        "Results": [
            {"Target": "app (debian 12.5)", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": [
                {"VulnerabilityID": "CVE-2024-0001", "PkgName": "libc6", "InstalledVersion": "2.36", "Severity": "LOW"},
                {"VulnerabilityID": "CVE-2024-0002", "PkgName": "zlib1g", "InstalledVersion": "1.2", "Severity": "HIGH"}
            ]},
            {"Target": "usr/bin/app", "Class": "lang-pkgs", "Type": "gobinary"}
        ]
    })
}

fn grype() -> Value {
    json!({
        "matches": [
            {"vulnerability": {"id": "GHSA-aaaa", "severity": "Medium"}, "artifact": {"name": "openssl", "version": "3"}},
            {"vulnerability": {"id": "CVE-2024-0009", "severity": "Negligible"}, "artifact": {"name": "tar"}}
        ],
        "source": {"type": "image"},
        "descriptor": {"name": "grype", "version": "0.84.0"}
    })
}

fn worst(severity: Severity) -> Condition {
    Condition::Vuln(VulnCondition { max_age: None, max_severity: Some(severity) })
}

#[test]
fn the_worst_finding_decides() {
    for (result, severity, part) in [
        (trivy(), Severity::Critical, None),
        (trivy(), Severity::High, None),
        (
            trivy(),
            Severity::Medium,
            Some("CVE-2024-0002 in `zlib1g` is high, and at most medium is allowed; 1 "),
        ),
        (trivy(), Severity::None, Some("2 findings")),
        (grype(), Severity::Medium, None),
        (grype(), Severity::Low, Some("GHSA-aaaa in `openssl` is medium")),
        (changed(&grype(), "/matches", json!([])), Severity::None, None),
        (changed(&trivy(), "/Results/0/Vulnerabilities", json!(null)), Severity::None, None),
        (
            changed(&trivy(), "/Results/0/Vulnerabilities/0/Severity", json!("UNKNOWN")),
            Severity::High,
            Some("is critical"),
        ),
        (
            changed(&trivy(), "/Results/0/Vulnerabilities/0/Severity", json!("UNKNOWN")),
            Severity::Critical,
            None,
        ),
    ] {
        let told = told("vuln", worst(severity), &scan(&result));
        match part {
            None => assert_eq!(told, None, "{severity}"),
            Some(part) => assert!(told.as_ref().is_some_and(|told| told.contains(part)), "{part}: {told:?}"),
        }
    }
}

#[test]
fn results_of_unknown_or_broken_form_never_pass() {
    let sarif = json!({"version": "2.1.0", "runs": []});
    for (result, part) in [
        (json!(null), "`scanner.result` is not an object"),
        (json!([]), "`scanner.result` is not an object"),
        (json!({}), "neither Trivy's nor Grype's"),
        (sarif, "neither Trivy's nor Grype's"),
        (json!({"matches": []}), "neither Trivy's nor Grype's"),
        (json!({"SchemaVersion": 3, "Results": []}), "`scanner.result.SchemaVersion` is not 2"),
        (json!({"SchemaVersion": "2", "Results": []}), "`scanner.result.SchemaVersion` is not 2"),
        (changed(&trivy(), "/Results", json!(null)), "nothing was scanned"),
        (changed(&trivy(), "/Results", json!([])), "nothing was scanned"),
        (changed(&trivy(), "/Results", json!([{"Class": "secret", "Target": "x"}])), "nothing was scanned"),
        (changed(&trivy(), "/Results", json!({})), "`scanner.result.Results` is not a list"),
        (changed(&trivy(), "/Results/0", json!("x")), "`scanner.result.Results[0]` is not an object"),
        (changed(&trivy(), "/Results/0/Vulnerabilities", json!("x")), "Vulnerabilities` is not a list"),
        (changed(&trivy(), "/Results/0/Vulnerabilities/1", json!(null)), "is not a string"),
        (
            changed(&trivy(), "/Results/0/Vulnerabilities/1/Severity", json!(null)),
            "Severity` is not a string",
        ),
        (changed(&trivy(), "/Results/0/Vulnerabilities/1/Severity", json!("NONE")), "means nothing here"),
        (changed(&trivy(), "/Results/0/Vulnerabilities/1/Severity", json!("spicy\u{7}")), "`spicy\u{fffd}`"),
        (changed(&trivy(), "/Results/0/Vulnerabilities/1/VulnerabilityID", json!("")), "filled string"),
        (changed(&grype(), "/matches", json!(null)), "`scanner.result.matches` is not a list"),
        (changed(&grype(), "/matches/0/vulnerability", json!(null)), "is not a string"),
        (changed(&grype(), "/matches/0/vulnerability/severity", json!("")), "means nothing here"),
        (changed(&grype(), "/descriptor/name", json!("other")), "neither"),
    ] {
        assert_unmet("vuln", &worst(Severity::Critical), &scan(&result), part);
    }
    for predicate in [json!(null), json!([]), json!({}), json!("x")] {
        assert_unmet("vuln", &worst(Severity::Critical), &predicate, "is not");
    }
}

#[test]
fn a_scan_is_as_old_as_its_end() {
    let fresh = |age: u64| {
        Condition::Vuln(VulnCondition { max_age: Some(Duration::from_mins(age)), max_severity: None })
    };
    // The scan ended at 09:00:00.5 UTC, three hours ago.
    assert_eq!(told("vuln", fresh(180), &scan(&trivy())), None);
    let old = told("vuln", fresh(179), &scan(&trivy())).unwrap();
    assert_eq!(old, "`metadata.scanFinishedOn` is 2026-03-02T09:00:00.5Z: that is more than 2h59m ago");
    for (time, part) in [
        (json!("2026-03-02T12:04:00Z"), None),
        (json!("2026-03-02T12:06:00Z"), Some("has not come yet")),
        (json!("9999-12-30T00:00:00Z"), Some("has not come yet")),
        (json!("0001-01-01T00:00:00Z"), Some("more than 3h ago")),
        (json!("2026-03-02"), Some("is not a time")),
        (json!("yesterday"), Some("is not a time")),
        (json!(""), Some("is not a time")),
        (json!(1_772_000_000), Some("is not a string")),
        (json!(null), Some("is not a string")),
    ] {
        let predicate = changed(&scan(&trivy()), "/metadata/scanFinishedOn", time);
        match part {
            None => assert_eq!(told("vuln", fresh(180), &predicate), None, "{predicate}"),
            Some(part) => assert_unmet("vuln", &fresh(180), &predicate, part),
        }
    }
}

#[test]
fn bills_of_materials_are_of_their_kind_and_list_something() {
    let spdx = json!({"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "app",
                      "packages": [{"name": "libc6", "SPDXID": "SPDXRef-1"}]});
    let cyclone = json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
                         "components": [{"type": "library", "name": "zlib"}]});
    assert_eq!(told("spdxjson", Condition::Sbom, &spdx), None);
    assert_eq!(told("cyclonedx", Condition::Sbom, &cyclone), None);
    for (name, predicate, part) in [
        ("spdx", cyclone.clone(), "not an SPDX 2 document in JSON"),
        ("cyclonedx", spdx.clone(), "not a CycloneDX document"),
        ("spdx", json!("SPDXVersion: SPDX-2.3\n"), "`predicate` is not an object"),
        (
            "spdx",
            json!({"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": []}),
            "spdxVersion",
        ),
        ("spdx", changed(&spdx, "/spdxVersion", json!("SPDX-3.0")), "`SPDX-3.0`"),
        ("spdx", changed(&spdx, "/packages", json!([])), "it lists no package"),
        ("spdx", changed(&spdx, "/packages", json!(null)), "`packages` is not a list"),
        ("spdx", changed(&spdx, "/packages/0", json!(1)), "`packages[0].name` is not"),
        ("spdx", changed(&spdx, "/name", json!("")), "`name` is not"),
        ("cyclonedx", changed(&cyclone, "/components", json!([])), "it lists no component"),
        ("cyclonedx", changed(&cyclone, "/components/0/name", json!(null)), "`components[0].name` is not"),
        ("cyclonedx", changed(&cyclone, "/bomFormat", json!("cyclonedx")), "means nothing here"),
        ("cyclonedx", changed(&cyclone, "/specVersion", json!("2.0")), "`2.0`"),
        ("cyclonedx", json!(null), "`predicate` is not an object"),
    ] {
        assert_unmet(name, &Condition::Sbom, &predicate, part);
    }
}

#[test]
fn open_vex_documents_are_whole_and_young_enough() {
    let good = json!({
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://openvex.dev/docs/public/vex-1", "author": "security@example.com", "version": 1,
        "timestamp": "2026-03-01T12:00:00Z",
        "statements": [
            {"vulnerability": {"name": "CVE-2024-0001"}, "products": [{"@id": "pkg:oci/app"}],
             "status": "not_affected", "justification": "component_not_present"},
            {"vulnerability": "CVE-2024-0002", "status": "fixed"}
        ]
    });
    let any = Condition::Vex { max_age: None };
    let day = Condition::Vex { max_age: Some(Duration::from_hours(24)) };
    assert_eq!(told("openvex", any.clone(), &good), None);
    assert_eq!(told("openvex", day.clone(), &good), None);
    for (pointer, value, part) in [
        (
            "/timestamp",
            json!("2026-03-01T11:00:00Z"),
            "`timestamp` is 2026-03-01T11:00:00Z: that is more than 24h ago",
        ),
        ("/timestamp", json!(null), "`timestamp` is not a string"),
        ("/@context", json!("https://openvex.dev/nsx"), "means nothing here"),
        ("/@context", json!(["https://openvex.dev/ns"]), "is not a string"),
        ("/author", json!(null), "`author`"),
        ("/statements", json!([]), "it has no statement"),
        ("/statements", json!({}), "`statements` is not a list"),
        ("/statements/0", json!("x"), "`statements[0]` is not an object"),
        ("/statements/0/vulnerability", json!({}), "vulnerability.name` is not"),
        ("/statements/0/status", json!("fine"), "`fine`"),
        ("/statements/0/justification", json!(null), "`statements[0].justification` is not there"),
    ] {
        assert_unmet("openvex", &day, &changed(&good, pointer, value), part);
    }
    let mut updated = changed(&good, "/timestamp", json!("2020-01-01T00:00:00Z"));
    updated["last_updated"] = json!("2026-03-02T00:00:00Z");
    assert_eq!(told("openvex", day, &updated), None);
}

#[test]
fn a_type_is_compared_exactly_and_is_enough_where_nothing_else_is_asked() {
    let check = compile("custom", None);
    assert_eq!(check.check(&statement("custom", &json!(null)), now()), Ok(()));
    let told = check.check(&statement("vuln", &json!({})), now()).unwrap_err().to_string();
    assert!(told.contains("is of type `https://cosign.sigstore.dev/attestation/vuln/v1`, not"), "{told}");
    let other = compile("https://cosign.sigstore.dev/attestation/v1/", None);
    assert!(other.check(&statement("custom", &json!(null)), now()).is_err());
}

#[test]
fn an_expression_decides() {
    let cel = |text: &str| Condition::Cel(text.to_owned());
    let predicate = json!({"reviewers": ["a", "b"], "approved": true});
    assert_eq!(told("custom", cel("predicate.approved && size(predicate.reviewers) >= 2"), &predicate), None);
    let about = "statement.subject.exists(s, s.name == 'ghcr.io/acme/app' && s.digest.sha256 == '00') && \
                 statement.predicateType.endsWith('/v1') && statement.predicate == predicate";
    assert_eq!(told("custom", cel(about), &predicate), None);
    assert_unmet(
        "custom",
        &cel("size(predicate.reviewers) > 2"),
        &predicate,
        "is false for this attestation",
    );
    assert_unmet("custom", &cel("predicate.missing"), &predicate, "there is no `missing`");
    assert_unmet("custom", &cel("predicate.reviewers"), &predicate, "its value is a list, not a boolean");
}

#[test]
fn rules_that_cannot_be_asked_are_refused() {
    let rule = |name: &str, condition| AttestationRule {
        predicate_type: predicate_type(name).unwrap(),
        authorities: vec![],
        condition: Some(condition),
    };
    let error = |name, condition| AttestationCheck::compile(&rule(name, condition)).unwrap_err();
    assert!(matches!(error("vuln", Condition::Sbom), AttestationError::Unfit { condition: "sbom", .. }));
    let broken = SlsaCondition { source: pattern("("), ..SlsaCondition::default() };
    assert!(matches!(error("slsaprovenance", Condition::Slsa(broken)), AttestationError::Pattern(_)));
    assert!(matches!(error("custom", Condition::Cel("1 +".into())), AttestationError::Cel(_)));
}

#[test]
fn statements_are_bounded_and_say_a_thing_once() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{}}}}],"predicateType":"a:b","predicate":{open}{close}}}"#
        )
    };
    assert!(Statement::read(nested(100).as_bytes()).is_ok());
    assert!(Statement::read(nested(200).as_bytes()).is_err());
    let long = nested(1).replace("a:b", &"a".repeat(1 << 20));
    assert_eq!(Statement::read(long.as_bytes()), Err(crate::StatementError::TooLarge));
    let twice = nested(1).replace(r#""predicateType""#, r#""predicate":{},"predicateType""#);
    assert!(Statement::read(twice.as_bytes()).is_err());
}

/// JSON of any shape, in which the names that are looked for are frequent.
fn any_json() -> impl Strategy<Value = Value> {
    let names = [
        "builder",
        "id",
        "buildType",
        "invocation",
        "configSource",
        "uri",
        "buildDefinition",
        "externalParameters",
        "workflow",
        "repository",
        "ref",
        "source",
        "runDetails",
        "metadata",
        "scanFinishedOn",
        "scanner",
        "result",
        "SchemaVersion",
        "Results",
        "Vulnerabilities",
        "Severity",
        "Class",
        "matches",
        "descriptor",
        "name",
        "vulnerability",
        "spdxVersion",
        "packages",
        "bomFormat",
        "specVersion",
        "components",
        "@context",
        "author",
        "timestamp",
        "statements",
        "status",
    ];
    let words = [
        "",
        "grype",
        "HIGH",
        NOW,
        "git+https://a/b@c",
        "SPDX-2.3",
        "CycloneDX",
        "1.5",
        "https://openvex.dev/ns",
        "\u{0}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!(2)),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(names.to_vec()), inner, 0..6).prop_map(|map| {
                Value::Object(map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_a_predicate_is_it_is_judged(predicate in any_json()) {
        let slsa = Condition::Slsa(SlsaCondition { source: pattern(".*"), ..SlsaCondition::default() });
        let limits = VulnCondition { max_age: Some(Duration::from_hours(1)), max_severity: Some(Severity::None) };
        let cel = "predicate.all(k, predicate[k] != null) || has(predicate.id) && predicate.name.matches('a+')";
        for (name, condition) in [
            ("slsaprovenance", slsa.clone()),
            ("slsaprovenance1", slsa),
            ("vuln", Condition::Vuln(limits)),
            ("spdx", Condition::Sbom),
            ("cyclonedx", Condition::Sbom),
            ("openvex", Condition::Vex { max_age: Some(Duration::from_hours(1)) }),
            ("custom", Condition::Cel(cel.to_owned())),
        ] {
            if let Some(told) = told(name, condition, &predicate) {
                prop_assert!(!told.is_empty() && !told.contains(char::is_control));
            }
        }
    }
}
