//! Bills of materials: that a predicate is one. What it lists is not judged; an expression of `cel` can.

use serde_json::Value;

use super::{Fault, Unmet, object};

/// An SPDX 2 document in JSON with at least one package.
pub(super) fn spdx(predicate: &Value) -> Result<(), Unmet> {
    let root = object(predicate, "an SPDX 2 document in JSON")?;
    let version = root.get("spdxVersion");
    let found = version.text()?;
    if !found.starts_with("SPDX-2.") {
        return Err(version.is_unknown(found));
    }
    root.get("name").filled_text()?;
    let packages = root.get("packages").list()?;
    if packages.len() == 0 {
        return Err(root.fault(Fault::Nothing("it lists no package")));
    }
    for package in packages {
        package.get("name").filled_text()?;
    }
    Ok(())
}

/// A CycloneDX document in JSON with at least one component.
pub(super) fn cyclone_dx(predicate: &Value) -> Result<(), Unmet> {
    let root = object(predicate, "a CycloneDX document in JSON")?;
    let format = root.get("bomFormat");
    let found = format.text()?;
    if found != "CycloneDX" {
        return Err(format.is_unknown(found));
    }
    let version = root.get("specVersion");
    let found = version.text()?;
    if !found.starts_with("1.") {
        return Err(version.is_unknown(found));
    }
    let components = root.get("components").list()?;
    if components.len() == 0 {
        return Err(root.fault(Fault::Nothing("it lists no component")));
    }
    for component in components {
        component.get("name").filled_text()?;
    }
    Ok(())
}
