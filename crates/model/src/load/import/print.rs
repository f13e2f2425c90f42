//! A Guard as YAML. Owns quoting; what an import never makes is not printed, and the import reads every text back.

use std::fmt::Write as _;

use super::super::scalar::{Plain, classify};
use crate::guard::{
    Authority, Formats, GuardRules, Identity, ImageGlob, Quorum, TextRule, Trust, TrustRootSource,
};
use crate::name::ObjectKey;

/// One document.
pub(super) fn yaml(name: &str, images: &[ImageGlob], rules: &GuardRules) -> String {
    let mut out = format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: Guard\nmetadata:\n  name: {}\nspec:\n  match:\n    images:\n",
        text(name)
    );
    for glob in images {
        let _ = writeln!(out, "    - {}", text(&glob.to_string()));
    }
    out.push_str("  authorities:\n");
    for (name, authority) in &rules.authorities {
        let _ = writeln!(out, "  - name: {}", text(name));
        self::authority(&mut out, authority);
    }
    out.push_str("  require:\n");
    match &rules.signatures {
        Some(Quorum::AllOf(names)) => {
            out.push_str("    signatures:\n      allOf:\n");
            list(&mut out, 6, names);
        }
        Some(Quorum::AnyOf { authorities, minimum }) => {
            out.push_str("    signatures:\n      anyOf:\n");
            list(&mut out, 6, authorities);
            let _ = writeln!(out, "      minimum: {minimum}");
        }
        None => {}
    }
    if !rules.attestations.is_empty() {
        out.push_str("    attestations:\n");
    }
    for rule in &rules.attestations {
        let _ = writeln!(out, "    - predicateType: {}\n      authorities:", text(&rule.predicate_type));
        list(&mut out, 6, &rule.authorities);
    }
    out
}

fn authority(out: &mut String, authority: &Authority) {
    match &authority.trust {
        Trust::Keys(pem) => {
            out.push_str("    key:\n      pem: |\n");
            for line in pem.lines() {
                let _ = writeln!(out, "        {line}");
            }
        }
        Trust::KeySecret(key) => {
            out.push_str("    key:\n");
            secret(out, key);
        }
        Trust::Notation(notation) => {
            out.push_str("    notation:\n");
            secret(out, &notation.secret);
        }
        Trust::Keyless(identities) => {
            out.push_str("    keyless:\n      identities:\n");
            for identity in identities {
                self::identity(out, identity);
            }
        }
    }
    if let Some(source) = &authority.source {
        let _ = writeln!(out, "    source:\n      repository: {}", text(&source.to_string()));
    }
    match authority.formats {
        Formats { legacy: true, bundle: false } => out.push_str("    formats: [legacy]\n"),
        Formats { legacy: false, bundle: true } => out.push_str("    formats: [bundle]\n"),
        _ => {}
    }
    for (field, on) in [("insecureIgnoreTlog", !authority.tlog), ("insecureIgnoreSCT", !authority.sct)] {
        if on {
            let _ = writeln!(out, "    {field}: true");
        }
    }
    if !authority.annotations.is_empty() {
        out.push_str("    annotations:\n");
    }
    for (key, value) in &authority.annotations {
        let _ = writeln!(out, "      {}: {}", text(key), text(value));
    }
    // No other tool's policy names a TUF repository.
    if let Some(TrustRootSource::Secret(root)) = &authority.trust_root {
        out.push_str("    trustRoot:\n");
        secret(out, root);
    }
}

fn secret(out: &mut String, key: &ObjectKey) {
    let (namespace, name) = (text(&key.namespace), text(&key.name));
    let _ = writeln!(out, "      secretRef:\n        namespace: {namespace}\n        name: {name}");
}

fn identity(out: &mut String, identity: &Identity) {
    let mut loose = false;
    let mut line = |lead: &str, field: &str, rule: &TextRule| {
        let (suffix, value) = match rule {
            TextRule::Exact(value) => ("", value),
            TextRule::Pattern { expression, anchored } => {
                loose |= !anchored;
                ("RegExp", expression)
            }
        };
        let _ = writeln!(out, "      {lead} {field}{suffix}: {}", text(value));
    };
    line("-", "issuer", &identity.issuer);
    line(" ", "subject", &identity.subject);
    if loose {
        out.push_str("        insecureUnanchored: true\n");
    }
}

fn list(out: &mut String, indent: usize, names: &[String]) {
    for name in names {
        let _ = writeln!(out, "{:indent$}- {}", "", text(name));
    }
}

/// A scalar that is read as this very string: plain where nothing can be mistaken, else in double quotes (YAML 1.2.2,
/// section 5.7).
fn text(value: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "/._-@:".contains(c);
    let first = value.starts_with(|c: char| c.is_ascii_alphanumeric());
    if first && value.chars().all(safe) && !value.ends_with(':') && classify(value) == Plain::Text {
        return value.to_owned();
    }
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => {
                let _ = write!(out, "\\U{:08X}", u32::from(c));
            }
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::node::Documents;
    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_as_it_was(value in "\\PC{0,20}|[\u{0}-\u{ff}]{0,6}|(true|yes|1e3|0x1|2026-01-01|a: b|- a)") {
            let document = Documents::new(&format!("a: {}\n", text(&value))).next().unwrap().unwrap();
            let node = document.root.get("a").unwrap();
            prop_assert_eq!(node.scalar(), Some(value.as_str()));
        }
    }
}
