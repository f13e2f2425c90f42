//! SLSA provenance, v0.2 and v1: who built the image, from which source, at which reference.
//!
//! Where the source stands depends on the build type (slsa.dev/spec, "Build: provenance"). Every place that is known
//! and filled must agree with the Guard; `materials` and `resolvedDependencies` are never looked at, for whatever a
//! build has fetched stands there.

use serde_json::Value;
use windlass_model::guard::{Predicate, SlsaCondition};

use super::json::Place;
use super::{Unmet, object, shown};
use crate::identity::{IdentityError, Rule};

const FORM: &str = "a SLSA provenance";

/// What is asked, compiled.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    v1: bool,
    builder: Option<Rule>,
    source: Option<Rule>,
    reference: Option<Rule>,
    build_type: Option<String>,
}

impl Wanted {
    pub(super) fn new(condition: &SlsaCondition, predicate_type: &str) -> Result<Self, IdentityError> {
        let rule = |rule: &Option<_>| rule.as_ref().map(Rule::new).transpose();
        Ok(Self {
            v1: Predicate::of(predicate_type) == Some(Predicate::SlsaV1),
            builder: rule(&condition.builder)?,
            source: rule(&condition.source)?,
            reference: rule(&condition.reference)?,
            build_type: condition.build_type.clone(),
        })
    }

    pub(super) fn check(&self, predicate: &Value) -> Result<(), Unmet> {
        let root = object(predicate, FORM)?;
        let (builder, build_type) = if self.v1 {
            (root.get("runDetails").get("builder").get("id"), root.get("buildDefinition").get("buildType"))
        } else {
            (root.get("builder").get("id"), root.get("buildType"))
        };
        if let Some(rule) = &self.builder {
            let found = builder.filled_text()?;
            matched(rule, if self.v1 { "runDetails.builder.id" } else { "builder.id" }, found)?;
        }
        if let Some(wanted) = &self.build_type {
            let found = build_type.filled_text()?;
            if found != wanted {
                let field = if self.v1 { "buildDefinition.buildType" } else { "buildType" };
                return Err(Unmet::Differs { field, found: shown(found) });
            }
        }
        if self.source.is_some() || self.reference.is_some() {
            let origins = if self.v1 { origins_v1(&root)? } else { origins_v02(&root)? };
            self.check_origins(&origins)?;
        }
        Ok(())
    }

    fn check_origins(&self, origins: &[Origin<'_>]) -> Result<(), Unmet> {
        if let Some(rule) = &self.source {
            some(origins, "source", |origin| origin.source)?
                .try_for_each(|(field, found)| matched(rule, field, found))?;
        }
        if let Some(rule) = &self.reference {
            some(origins, "ref", |origin| origin.reference)?
                .try_for_each(|(field, found)| matched(rule, field, found))?;
        }
        Ok(())
    }
}

/// What one place says about the source.
struct Origin<'v> {
    field: &'static str,
    source: Option<&'v str>,
    reference: Option<&'v str>,
}

impl<'v> Origin<'v> {
    /// From a URI as SPDX download locations and BuildKit write it: `git+https://host/path@ref`, `…#ref`.
    fn of_uri(field: &'static str, uri: &'v str) -> Self {
        let uri = uri.strip_prefix("git+").unwrap_or(uri);
        let scheme = uri.find("://").map_or(0, |at| at + 3);
        let path = uri[scheme..].find('/').map_or(uri.len(), |at| scheme + at);
        let (source, reference) = match uri[path..].find(['@', '#']) {
            Some(at) => (&uri[..path + at], Some(&uri[path + at + 1..])),
            None => (uri, None),
        };
        let filled = |text: &&str| !text.is_empty();
        Self { field, source: Some(source).filter(filled), reference: reference.filter(filled) }
    }
}

/// Those origins that say this; there must be one.
fn some<'o>(
    origins: &'o [Origin<'_>],
    what: &'static str,
    part: impl Fn(&Origin<'o>) -> Option<&'o str> + 'o,
) -> Result<impl Iterator<Item = (&'static str, &'o str)>, Unmet> {
    let mut found = origins.iter().filter_map(move |origin| Some((origin.field, part(origin)?))).peekable();
    if found.peek().is_none() {
        return Err(Unmet::Silent { what });
    }
    Ok(found)
}

fn matched(rule: &Rule, field: &'static str, found: &str) -> Result<(), Unmet> {
    if rule.matches(found) { Ok(()) } else { Err(Unmet::Differs { field, found: shown(found) }) }
}

/// `invocation.configSource.uri`, as the SLSA generators, BuildKit and Tekton write it.
fn origins_v02<'v>(root: &Place<'v>) -> Result<Vec<Origin<'v>>, Unmet> {
    let uri = root.get("invocation").get("configSource").get("uri");
    match uri.present() {
        Some(uri) => Ok(vec![Origin::of_uri("invocation.configSource.uri", uri.text()?)]),
        None => Ok(Vec::new()),
    }
}

/// What the build types of GitHub Actions (`workflow`), Cloud Build (`buildConfigSource`), the SLSA generators
/// (`source`) and BuildKit (`configSource`) have among their external parameters.
fn origins_v1<'v>(root: &Place<'v>) -> Result<Vec<Origin<'v>>, Unmet> {
    const PARTS: [(&str, &str); 2] = [
        ("workflow", "buildDefinition.externalParameters.workflow"),
        ("buildConfigSource", "buildDefinition.externalParameters.buildConfigSource"),
    ];
    const URIS: [(&str, &str); 2] = [
        ("source", "buildDefinition.externalParameters.source"),
        ("configSource", "buildDefinition.externalParameters.configSource"),
    ];
    let parameters = root.get("buildDefinition").get("externalParameters");
    let mut origins = Vec::new();
    for (name, field) in PARTS {
        let Some(place) = parameters.get(name).present() else { continue };
        let repository = place.get("repository").present().map(|place| place.filled_text()).transpose()?;
        let reference = place.get("ref").present().map(|place| place.filled_text()).transpose()?;
        let source = repository.map(|text| text.strip_prefix("git+").unwrap_or(text));
        origins.push(Origin { field, source, reference });
    }
    for (name, field) in URIS {
        let Some(place) = parameters.get(name).present() else { continue };
        // A resource descriptor, or its URI alone.
        let uri = place.get("uri").present().unwrap_or(place);
        origins.push(Origin::of_uri(field, uri.text()?));
    }
    Ok(origins)
}
