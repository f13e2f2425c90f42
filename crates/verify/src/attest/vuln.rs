//! Vulnerability scans as cosign specifies them (COSIGN_VULN_ATTESTATION_SPEC.md): how old a scan is, and what its
//! worst finding is. `scanner.result` is the scanner's own form; those of Trivy and Grype are known, and no other is
//! guessed at.

use jiff::Timestamp;
use serde_json::Value;
use windlass_model::guard::{Severity, VulnCondition};

use super::json::Place;
use super::{Fault, Unmet, fresh, object, shown};

pub(super) fn check(limits: &VulnCondition, predicate: &Value, now: Timestamp) -> Result<(), Unmet> {
    let root = object(predicate, "a vulnerability scan of cosign's form")?;
    let at = root.get("metadata").get("scanFinishedOn").time()?;
    fresh("metadata.scanFinishedOn", at, limits.max_age, now)?;
    let Some(limit) = limits.max_severity else { return Ok(()) };
    let result = root.get("scanner").get("result");
    result.object()?;
    let findings = if !result.get("SchemaVersion").is_absent() {
        trivy(&result)?
    } else if result.get("descriptor").get("name").text() == Ok("grype") {
        grype(&result)?
    } else {
        return Err(result.fault(Fault::Nothing("`scanner.result` is neither Trivy's nor Grype's")));
    };
    let excessive = || findings.iter().filter(|finding| finding.severity > limit);
    match excessive().max_by_key(|finding| finding.severity) {
        None => Ok(()),
        Some(worst) => Err(Unmet::Severe {
            id: shown(worst.id),
            package: shown(worst.package),
            severity: worst.severity,
            limit,
            count: excessive().count(),
        }),
    }
}

struct Finding<'v> {
    id: &'v str,
    package: &'v str,
    severity: Severity,
}

/// Trivy's report, schema version 2. What is not a scan for vulnerabilities (secrets, licences) says nothing about
/// them: at least one result must.
fn trivy<'v>(result: &Place<'v>) -> Result<Vec<Finding<'v>>, Unmet> {
    let version = result.get("SchemaVersion");
    if *version.value() != 2 {
        return Err(version.is_not("2"));
    }
    let mut findings = Vec::new();
    let mut scanned = false;
    let results = result.get("Results").present().map(|results| results.list()).transpose()?;
    for target in results.into_iter().flatten() {
        target.object()?;
        let class = target.get("Class").present().map(|class| class.text()).transpose()?;
        scanned |= matches!(class, Some("os-pkgs" | "lang-pkgs"));
        let Some(list) = target.get("Vulnerabilities").present() else { continue };
        scanned = true;
        for item in list.list()? {
            findings.push(Finding {
                id: item.get("VulnerabilityID").filled_text()?,
                package: item.get("PkgName").text()?,
                severity: severity(&item.get("Severity"))?,
            });
        }
    }
    if !scanned {
        return Err(result.fault(Fault::Nothing("nothing was scanned for vulnerabilities")));
    }
    Ok(findings)
}

/// Grype's JSON output.
fn grype<'v>(result: &Place<'v>) -> Result<Vec<Finding<'v>>, Unmet> {
    let finding = |item: Place<'v>| {
        Ok(Finding {
            id: item.get("vulnerability").get("id").filled_text()?,
            package: item.get("artifact").get("name").text()?,
            severity: severity(&item.get("vulnerability").get("severity"))?,
        })
    };
    result.get("matches").list()?.map(finding).collect()
}

/// A severity in either scanner's spelling.
fn severity(place: &Place<'_>) -> Result<Severity, Unmet> {
    let text = place.text()?;
    // A finding is never no finding.
    let words = Severity::WORDS.iter().skip(1).chain(&[("unknown", Severity::Critical)]);
    let found = words.into_iter().find(|(word, _)| text.eq_ignore_ascii_case(word));
    found.map(|(_, severity)| *severity).ok_or_else(|| place.is_unknown(text))
}
