//! The crate graph against the block of floors in ARCHITECTURE.md, and the purity of the lowest floors.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// The fence that opens the block.
const FENCE: &str = "```floors";
/// Crates of this floor and below do no I/O.
const PURE: u32 = 1;
/// What a pure crate must not reach: I/O, runtimes, logging.
const IMPURE: [&str; 18] = [
    "async-std",
    "axum",
    "gix",
    "hyper",
    "hyper-util",
    "log",
    "mio",
    "oci-client",
    "opentelemetry",
    "prometheus-client",
    "reqwest",
    "rusqlite",
    "rustls",
    "smol",
    "socket2",
    "tokio",
    "tokio-util",
    "tracing",
];

/// Which crate stands where.
#[derive(Debug)]
pub(crate) struct Floors {
    levels: BTreeMap<String, u32>,
    beside: BTreeSet<String>,
    /// Imports that are allowed although they do not point down.
    arrows: BTreeSet<(String, String)>,
}

/// The workspace's packages by short name: `windlass-model` is `model`.
pub(crate) struct Packages {
    /// Short name to Cargo's package id.
    ours: BTreeMap<String, String>,
    /// Package id to name and dependencies.
    all: BTreeMap<String, Package>,
}

struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    id: String,
    /// Whether it is there for tests alone.
    dev: bool,
}

impl Floors {
    /// Reads the block: `floor N: a b`, `beside: c`, `a -> b`.
    pub(crate) fn parse(document: &str) -> Result<Self> {
        let mut lines = document.lines().skip_while(|line| line.trim() != FENCE);
        lines.next().with_context(|| format!("there is no block that starts with {FENCE}"))?;
        let mut floors = Self { levels: BTreeMap::new(), beside: BTreeSet::new(), arrows: BTreeSet::new() };
        for line in lines {
            let line = line.trim();
            if line == "```" {
                ensure!(!floors.levels.is_empty(), "the block of floors names no crate");
                return Ok(floors);
            }
            if !line.is_empty() {
                floors.add(line).with_context(|| format!("in the block of floors, `{line}`"))?;
            }
        }
        bail!("the block of floors has no end")
    }

    fn add(&mut self, line: &str) -> Result<()> {
        if let Some((from, to)) = line.split_once("->") {
            self.arrows.insert((from.trim().to_owned(), to.trim().to_owned()));
            return Ok(());
        }
        let (place, names) =
            line.split_once(':').context("is neither `floor N: names`, `beside: names` nor `a -> b`")?;
        for name in names.split_whitespace() {
            let known = match place.strip_prefix("floor ") {
                Some(number) => {
                    let number = number.parse().context("has no number after `floor`")?;
                    self.levels.insert(name.to_owned(), number).is_some()
                }
                None if place == "beside" => !self.beside.insert(name.to_owned()),
                None => bail!("is neither `floor N: names`, `beside: names` nor `a -> b`"),
            };
            ensure!(!known, "names {name} twice");
        }
        Ok(())
    }

    /// Every import that the block does not allow, and every difference between its names and the packages'.
    pub(crate) fn check(&self, packages: &Packages) -> Vec<String> {
        let mut problems = Vec::new();
        for name in self.levels.keys().chain(&self.beside) {
            if !packages.ours.contains_key(name) {
                problems
                    .push(format!("ARCHITECTURE.md: the block of floors names {name}, which is no crate"));
            }
        }
        for (from, id) in &packages.ours {
            if !self.levels.contains_key(from) && !self.beside.contains(from) {
                problems.push(format!("ARCHITECTURE.md: the block of floors does not name the crate {from}"));
                continue;
            }
            for (to, dev) in packages.own_imports(id) {
                problems.extend(self.forbids(from, to, dev).map(|why| format!("{from} imports {to}: {why}")));
            }
        }
        problems
    }

    /// Why an import is not allowed, if it is not.
    fn forbids(&self, from: &str, to: &str, dev: bool) -> Option<&'static str> {
        if self.arrows.contains(&(from.to_owned(), to.to_owned())) {
            return None;
        }
        match (self.levels.get(from), self.levels.get(to)) {
            (Some(above), Some(below)) if above > below => None,
            (Some(from), Some(to)) if from == to => Some("crates of one floor do not import each other"),
            (Some(_), Some(_)) => Some("arrows point down only"),
            (Some(_), None) if dev => None,
            (Some(_), None) => Some("the product imports it only as a dev-dependency"),
            (None, Some(_)) => Some("what stands beside imports the product only where an arrow says so"),
            (None, None) => None,
        }
    }
}

impl Packages {
    /// From `cargo metadata --format-version 1`.
    pub(crate) fn read(metadata: &Value) -> Result<Self> {
        let list = |value: &'_ Value| value.as_array().cloned().context("cargo's metadata has another form");
        let text =
            |value: &'_ Value| value.as_str().map(str::to_owned).context("cargo's metadata has another form");
        let mut names = BTreeMap::new();
        for package in list(&metadata["packages"])? {
            names.insert(text(&package["id"])?, text(&package["name"])?);
        }
        let mut all = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"])? {
            let id = text(&node["id"])?;
            let mut dependencies = Vec::new();
            for dependency in list(&node["deps"])? {
                let kinds = list(&dependency["dep_kinds"])?;
                let dev = kinds.iter().all(|kind| kind["kind"] == "dev");
                dependencies.push(Dependency { id: text(&dependency["pkg"])?, dev });
            }
            let name =
                names.get(&id).context("cargo's metadata resolves a package that it does not list")?.clone();
            all.insert(id, Package { name, dependencies });
        }
        let mut ours = BTreeMap::new();
        for id in list(&metadata["workspace_members"])? {
            let id = text(&id)?;
            let name = names.get(&id).context("cargo's metadata has a member that it does not list")?;
            ours.insert(name.strip_prefix("windlass-").unwrap_or(name).to_owned(), id);
        }
        Ok(Self { ours, all })
    }

    /// The workspace's crates that this one imports, and whether for tests alone.
    fn own_imports(&self, id: &str) -> Vec<(&str, bool)> {
        let package = self.all.get(id);
        let imports = package.into_iter().flat_map(|package| &package.dependencies);
        let named = |id: &str| self.ours.iter().find(|(_, own)| *own == id).map(|(name, _)| name.as_str());
        imports.filter_map(|import| Some((named(&import.id)?, import.dev))).collect()
    }
}

/// Pure crates that reach something impure. `tree` gives the names of a package's dependencies, itself included, as
/// `cargo tree` prints them: cargo's metadata also has those that no feature asks for.
pub(crate) fn impure(
    floors: &Floors,
    packages: &Packages,
    tree: impl Fn(&str) -> Result<String>,
) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for (short, _) in floors.levels.iter().filter(|(_, level)| **level <= PURE) {
        let Some(package) = packages.ours.get(short).and_then(|id| packages.all.get(id)) else { continue };
        let tree = tree(&package.name)?;
        let reached: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        for name in IMPURE.iter().filter(|name| reached.contains(*name)) {
            problems.push(format!(
                "{short} must stay pure, and reaches {name}; `cargo tree -e normal -p {} -i {name}` shows how",
                package.name
            ));
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BLOCK: &str =
        "text\n```floors\nfloor 2: app\nfloor 1: core twin\nfloor 0: model\nbeside: kit\ntwin -> core\n```\n";

    /// A workspace of these imports; `-` marks one for tests alone.
    fn packages(imports: &[(&str, &str)]) -> Packages {
        let mut nodes: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (from, to) in imports {
            let (to, kind) = to.strip_prefix('-').map_or((*to, Value::Null), |to| (to, json!("dev")));
            nodes.entry(to.to_owned()).or_default();
            let import = json!({"pkg": to, "dep_kinds": [{"kind": kind}]});
            nodes.entry((*from).to_owned()).or_default().push(import);
        }
        for name in ["app", "core", "twin", "model", "kit"] {
            nodes.entry(name.to_owned()).or_default();
        }
        let outside = |name: &str| ["tokio", "glue"].contains(&name);
        let named = |id: &String| if outside(id) { id.clone() } else { format!("windlass-{id}") };
        let members: Vec<&String> = nodes.keys().filter(|id| !outside(id)).collect();
        let metadata = json!({
            "packages": nodes.keys().map(|id| json!({"id": id, "name": named(id)})).collect::<Vec<_>>(),
            "resolve": {"nodes": nodes.iter().map(|(id, deps)| json!({"id": id, "deps": deps})).collect::<Vec<_>>()},
            "workspace_members": members,
        });
        Packages::read(&metadata).unwrap()
    }

    #[test]
    fn imports_are_judged_by_their_floors() {
        let floors = Floors::parse(BLOCK).unwrap();
        let cases = [
            ("app", "core", None),
            ("app", "model", None),
            ("twin", "core", None),
            ("core", "twin", Some("one floor")),
            ("core", "app", Some("down only")),
            ("core", "kit", Some("dev-dependency")),
            ("core", "-kit", None),
            ("core", "-app", Some("down only")),
            ("kit", "model", Some("beside")),
        ];
        for (from, to, expected) in cases {
            let problems = floors.check(&packages(&[(from, to)]));
            match expected {
                None => assert!(problems.is_empty(), "{from} -> {to}: {problems:?}"),
                Some(why) => {
                    assert!(problems.len() == 1 && problems[0].contains(why), "{from} -> {to}: {problems:?}");
                }
            }
        }
    }

    #[test]
    fn the_names_must_be_the_packages() {
        let floors =
            Floors::parse("```floors\nfloor 2: app gone\nfloor 1: core twin\nfloor 0: model\n```").unwrap();
        let problems = floors.check(&packages(&[]));
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("names gone") && problems[1].contains("does not name the crate kit"));
    }

    #[test]
    fn purity_is_judged_by_the_whole_tree() {
        let floors = Floors::parse(BLOCK).unwrap();
        let tree = |package: &str| {
            let below = if package == "windlass-core" {
                "glue v1.0.0\ntokio v1.54.1 (*)\n"
            } else {
                "tokio-like v1.0.0\n"
            };
            Ok(format!("{package} v0.1.0 (/path)\n{below}"))
        };
        let problems = impure(&floors, &packages(&[]), tree).unwrap();
        assert_eq!(
            problems,
            [
                "core must stay pure, and reaches tokio; `cargo tree -e normal -p windlass-core -i tokio` shows how"
            ]
        );
    }

    #[test]
    fn a_block_that_cannot_be_read_says_where() {
        for (text, expected) in [
            ("no block", "no block"),
            ("```floors\nfloor 1: a\n", "no end"),
            ("```floors\n```", "names no crate"),
            ("```floors\nfloor x: a\n```", "floor x: a"),
            ("```floors\nfloor 1: a a\n```", "twice"),
            ("```floors\na b\n```", "neither"),
        ] {
            let error = format!("{:#}", Floors::parse(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
