//! OpenVEX documents: that a predicate is one, and how old it is. Which vulnerabilities it dismisses is not judged; an
//! expression of `cel` can.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::json::Place;
use super::{Fault, Unmet, fresh, object};

/// `@context` of every version (OpenVEX specification, "Document").
const CONTEXT: &str = "https://openvex.dev/ns";
const STATUSES: [&str; 4] = ["not_affected", "affected", "fixed", "under_investigation"];

pub(super) fn check(max_age: Option<Duration>, predicate: &Value, now: Timestamp) -> Result<(), Unmet> {
    let root = object(predicate, "an OpenVEX document")?;
    let context = root.get("@context");
    let found = context.text()?;
    if found.strip_prefix(CONTEXT).is_none_or(|rest| !rest.is_empty() && !rest.starts_with("/v")) {
        return Err(context.is_unknown(found));
    }
    root.get("author").filled_text()?;
    let made = root.get("timestamp").time()?;
    let (field, at) = match root.get("last_updated").present() {
        Some(updated) => ("last_updated", updated.time()?),
        None => ("timestamp", made),
    };
    let statements = root.get("statements").list()?;
    if statements.len() == 0 {
        return Err(root.fault(Fault::Nothing("it has no statement")));
    }
    for statement in statements {
        check_statement(&statement)?;
    }
    fresh(field, at, max_age, now)
}

fn check_statement(statement: &Place<'_>) -> Result<(), Unmet> {
    statement.object()?;
    let vulnerability = statement.get("vulnerability");
    // A name alone up to v0.0.1, an object since.
    if vulnerability.text().is_err() {
        vulnerability.get("name").filled_text()?;
    }
    let status = statement.get("status");
    let found = status.text()?;
    if !STATUSES.contains(&found) {
        return Err(status.is_unknown(found));
    }
    // "MUST" of the specification, "Status labels".
    if found == "not_affected"
        && statement.get("justification").is_absent()
        && statement.get("impact_statement").is_absent()
    {
        return Err(statement.get("justification").is_not("there, though the status is `not_affected`"));
    }
    Ok(())
}
