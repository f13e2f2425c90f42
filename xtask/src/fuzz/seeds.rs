//! Seeds from the data of tests that are there already, so that the fuzzer starts where people have thought.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use windlass_testkit::evidence::{CERTIFICATE, CHAIN, REKOR, SIGNATURE, TIMESTAMP};

use super::evidence;

/// Where a target's seeds come from, beside `fuzz/seeds`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seeds {
    /// Nowhere else.
    Own,
    Constraints,
    Versions,
    Filters,
    Templates,
    Markers,
    Paths,
    Envelopes,
    Bundles,
    Layers,
    Payloads,
}

impl Seeds {
    /// Writes the seeds into a folder, one file each.
    pub(super) fn write(self, root: &Path, folder: &Path) -> Result<()> {
        let policy = |file: &str| read(&root.join("crates/policy/testdata").join(file));
        let golden = |kind: &str| cases(&root.join("crates/manifest/tests").join(kind));
        let seeds = match self {
            Self::Own => return Ok(()),
            Self::Constraints => constraints(&policy("constraints.jsonl")?)?,
            Self::Versions => versions(&policy("constraints.jsonl")?)?,
            Self::Filters => filters(&policy("regexes.jsonl")?)?,
            Self::Templates => templates(&policy("templates.jsonl")?)?,
            Self::Markers => golden("golden")?.iter().map(|case| marked(case)).collect::<Result<_>>()?,
            Self::Paths => {
                golden("golden-paths")?.iter().map(|case| edits(case)).collect::<Result<Vec<_>>>()?.concat()
            }
            Self::Envelopes => {
                envelopes(&read(&root.join("crates/verify/src/notation/oracle/envelopes.json"))?)?
            }
            Self::Bundles => bundles(&read(&root.join(evidence::FILE))?)?,
            Self::Payloads => payloads(&read(&root.join(evidence::FILE))?)?,
            Self::Layers => layers(&read(&root.join(evidence::FILE))?)?,
        };
        ensure!(!seeds.is_empty(), "{self:?}: the tests' data has no seed");
        for (number, seed) in seeds.iter().enumerate() {
            let file = folder.join(format!("{number:04}"));
            fs::write(&file, seed).with_context(|| format!("writing {}", file.display()))?;
        }
        Ok(())
    }
}

/// An input of several fields.
fn seed(fields: &[&[u8]]) -> Vec<u8> {
    fields.join(&0)
}

fn texts(fields: &[&str]) -> Vec<u8> {
    seed(&fields.iter().map(|field| field.as_bytes()).collect::<Vec<_>>())
}

/// What the Notary Project's own code signed.
fn envelopes(data: &str) -> Result<Vec<Vec<u8>>> {
    let made: Vec<Value> = serde_json::from_str(data).context("reading the envelopes")?;
    Ok(made.iter().map(|one| one["envelope"].to_string().into_bytes()).collect())
}

/// What cosign 3 signed.
fn bundles(data: &str) -> Result<Vec<Vec<u8>>> {
    let made: Value = serde_json::from_str(data).context("reading the evidence")?;
    let bundles = made["bundles"].as_array().context("the evidence has bundles")?;
    Ok(bundles.iter().map(|bundle| bundle.to_string().into_bytes()).collect())
}

/// What cosign 2 signed: the content, and the annotations in the target's order.
fn layers(data: &str) -> Result<Vec<Vec<u8>>> {
    let made: Value = serde_json::from_str(data).context("reading the evidence")?;
    let layers = made["layers"].as_array().context("the evidence has layers")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let fields = |layer: &Value| {
        let annotations =
            [SIGNATURE, CERTIFICATE, CHAIN, REKOR, TIMESTAMP].map(|name| text(&layer["annotations"][name]));
        let all: Vec<String> = std::iter::once(text(&layer["content"])).chain(annotations).collect();
        texts(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    Ok(layers.iter().map(fields).collect())
}

/// What a signer says of the image, in each of the ways that count.
fn payloads(data: &str) -> Result<Vec<Vec<u8>>> {
    let made: Value = serde_json::from_str(data).context("reading the evidence")?;
    let digest = made["digest"].as_str().context("the evidence has a digest")?;
    let hash = digest.strip_prefix("sha256:").context("the digest is a SHA-256")?;
    let payload = |optional: Value| {
        let image = json!({"docker-manifest-digest": digest});
        let identity = json!({"docker-reference": "registry.example.org/team/app"});
        let critical =
            json!({"identity": identity, "image": image, "type": "cosign container image signature"});
        json!({"critical": critical, "optional": optional})
    };
    let statement = |version: &str, kind: &str| {
        let subject = json!({"name": "app", "digest": {"sha256": hash}, "annotations": {"stage": "release"}});
        json!({
            "_type": format!("https://in-toto.io/Statement/{version}"), "subject": [subject],
            "predicateType": kind, "predicate": {},
        })
    };
    let said = [
        payload(Value::Null),
        payload(json!({"stage": "release", "build": 42})),
        statement("v1", "https://sigstore.dev/cosign/sign/v1"),
        statement("v0.1", "https://example.org/approval/v1"),
    ];
    Ok(said.iter().map(|said| said.to_string().into_bytes()).collect())
}

/// Each constraint, with its neighbour and one of the versions.
fn constraints(data: &str) -> Result<Vec<Vec<u8>>> {
    let (versions, cases) = table(data)?;
    let constraints = fields_of(&cases, "constraint");
    let others = constraints.iter().cycle().skip(1);
    let pairs = constraints.iter().zip(others).zip(versions.iter().cycle());
    Ok(pairs.map(|((constraint, other), version)| texts(&[constraint, other, version])).collect())
}

fn versions(data: &str) -> Result<Vec<Vec<u8>>> {
    let (versions, _) = table(data)?;
    let others = versions.iter().rev();
    Ok(versions.iter().zip(others).map(|(left, right)| texts(&[left, right])).collect())
}

/// Each pattern, with its replacement and some of the tags.
fn filters(data: &str) -> Result<Vec<Vec<u8>>> {
    let (tags, cases) = table(data)?;
    let (patterns, replacements) = (fields_of(&cases, "pattern"), fields_of(&cases, "extract"));
    let some = |number: usize| {
        let tags = tags.iter().cycle().skip(number % tags.len()).take(6);
        tags.map(String::as_str).collect::<Vec<_>>().join("\n")
    };
    let pairs = patterns.iter().zip(&replacements).enumerate();
    Ok(pairs.map(|(number, (pattern, extract))| texts(&[pattern, extract, &some(number)])).collect())
}

fn templates(data: &str) -> Result<Vec<Vec<u8>>> {
    let cases = lines(data)?;
    Ok(fields_of(&cases, "template").iter().map(|template| texts(&[template, "prod-1", "1.1.0"])).collect())
}

/// The file of a golden case, with the value that its edit writes.
fn marked(case: &Path) -> Result<Vec<u8>> {
    let file = ["in.yaml", "in.tpl"].iter().find_map(|name| fs::read(case.join(name)).ok());
    let file = file.with_context(|| format!("{} has no file", case.display()))?;
    let edits = fs::read_to_string(case.join("edits.txt")).unwrap_or_default();
    let value = edits.lines().find_map(|line| line.split_once(" = ")).map_or("1.1.0", |(_, value)| value);
    Ok(seed(&[value.as_bytes(), &file]))
}

/// The file of a golden case, once for each of its edits.
fn edits(case: &Path) -> Result<Vec<Vec<u8>>> {
    let path = case.join("in.yaml");
    let file = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let edits = read(&case.join("edit.txt"))?;
    Ok(edits.lines().map(|line| edit(line, &file)).collect())
}

fn edit(line: &str, file: &[u8]) -> Vec<u8> {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    // An edit of a kustomization states its fields; here it is a whole image.
    let of_kustomization = || {
        let name = rest.split(' ').next().unwrap_or_default();
        (name, format!("{name}:1.1.0"))
    };
    let given = rest.split_once(" = ").map(|(key, value)| (key, value.to_owned()));
    let (key, value) = given.unwrap_or_else(of_kustomization);
    let key = match key.strip_prefix('@').and_then(|key| key.split_once(' ')) {
        Some((document, path)) => format!("{path}@{document}"),
        None => key.to_owned(),
    };
    seed(&[kind.as_bytes(), key.as_bytes(), value.as_bytes(), file])
}

/// A list of texts in the first line, and then the cases.
fn table(data: &str) -> Result<(Vec<String>, Vec<Value>)> {
    let (first, rest) = data.split_once('\n').context("a table has several lines")?;
    Ok((serde_json::from_str(first).context("reading the first line")?, lines(rest)?))
}

fn lines(data: &str) -> Result<Vec<Value>> {
    data.lines().map(|line| serde_json::from_str(line).with_context(|| format!("reading `{line}`"))).collect()
}

fn fields_of(cases: &[Value], name: &str) -> Vec<String> {
    cases.iter().map(|case| case[name].as_str().unwrap_or_default().to_owned()).collect()
}

/// The folders of the golden cases.
fn cases(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut cases: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    cases.sort();
    Ok(cases)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_the_fields_of_the_tests_cases() {
        let data = "[\"1.0.0\",\"2.0.0\"]\n{\"constraint\":\"^1\"}\n{\"constraint\":\">2\"}\n";
        assert_eq!(constraints(data).unwrap(), [&b"^1\0>2\x001.0.0"[..], b">2\0^1\x002.0.0"]);
        assert_eq!(versions(data).unwrap()[0], b"1.0.0\x002.0.0");
        assert_eq!(edit("helm a.image = x:1", b"f"), b"helm\0a.image\0x:1\0f");
        assert_eq!(edit("path @Pod/x a.b = c", b"f"), b"path\0a.b@Pod/x\0c\0f");
        assert_eq!(edit("kustomize app newTag=2", b"f"), b"kustomize\0app\0app:1.1.0\0f");
    }

    #[test]
    fn every_source_has_seeds() {
        let root = crate::root().unwrap();
        for seeds in [
            Seeds::Constraints,
            Seeds::Versions,
            Seeds::Filters,
            Seeds::Templates,
            Seeds::Markers,
            Seeds::Paths,
        ] {
            let folder = tempfile::tempdir().unwrap();
            seeds.write(&root, folder.path()).unwrap();
            assert!(fs::read_dir(folder.path()).unwrap().count() > 20, "{seeds:?}");
        }
    }
}
