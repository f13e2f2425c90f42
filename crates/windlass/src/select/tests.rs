use clap::Parser as _;

use super::*;

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    select: SelectArgs,
}

fn arguments(line: &[&str]) -> Result<SelectArgs, String> {
    let parsed = Line::try_parse_from(std::iter::once(&"select").chain(line));
    parsed.map(|line| line.select).map_err(|error| error.to_string())
}

/// What is printed for these arguments and tags.
fn printed(line: &[&str], tags: &str) -> String {
    let args = arguments(line).unwrap();
    let chooser = Chooser::new(&args.rule).unwrap();
    let seen = TagsSeen::parse(tags).unwrap();
    let explanation = explain::explain(&chooser.selector, &chooser.exclusions, seen.candidates());
    rendered(&args, &chooser, &explanation).unwrap()
}

fn refusal(line: &[&str]) -> String {
    match arguments(line) {
        Ok(args) => format!("{:#}", Chooser::new(&args.rule).err().unwrap()),
        Err(usage) => usage,
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

const POLICIES: &str = "\
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: app, namespace: apps}
spec: {image: ghcr.io/org/app, interval: 5m, exclusionList: ['^1\\.9']}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: app, namespace: apps}
spec: {imageRepositoryRef: {name: app}, policy: {semver: {range: 1.x}}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata:
  name: locked
  namespace: other
  annotations:
    windlass.dev/variant-lock: 'true'
    windlass.dev/order: newest-pushed
spec: {imageRepositoryRef: {name: app}, policy: {semver: {range: '*'}}}
";

#[test]
fn each_order_prints_the_tag_alone() {
    let tags = "1.0.0\n1.10.0\r\n\n1.9.0\n  2.0.0-rc.1 \n";
    for (line, wanted) in [
        (vec!["--semver", "1.x"], "1.10.0\n"),
        (vec!["--semver", ">3"], ""),
        (vec!["--alphabetical", "asc"], "2.0.0-rc.1\n"),
        (vec!["--alphabetical", "desc"], "1.0.0\n"),
        (vec!["--numerical", "asc", "--pattern", r"^1\.(\d+)\.", "--extract", "$1"], "1.10.0\n"),
        (vec!["--numerical", "desc", "--pattern", r"^1\.(\d+)\.", "--extract", "$1"], "1.0.0\n"),
    ] {
        assert_eq!(printed(&line, tags), wanted, "{line:?}");
    }
    let dates = "26.1\n26.04\n25.12\n";
    assert_eq!(printed(&["--alphabetical", "asc", "--order", "calver:YY.0M"], dates), "26.04\n");
    let times = "b 2026-01-15T10:00:00Z\na\t2026-01-15T11:00:00+00:00\nc\n";
    assert_eq!(printed(&["--alphabetical", "asc", "--order", "newest-pushed"], times), "a\n");
    let variants = "1.2.4-slim\n1.2.3-alpine\n1.2.2\n";
    let lock = ["--semver", "*", "--variant-lock"];
    assert_eq!(printed(&lock, variants), "1.2.2\n");
    assert_eq!(printed(&[&lock[..], &["--current", "1.0.0-alpine"]].concat(), variants), "1.2.3-alpine\n");
}

#[test]
fn an_explanation_is_a_table_or_a_document() {
    let line = ["--numerical", "asc", "--pattern", "^b(.*)$", "--extract", "$1", "--explain"];
    assert_eq!(
        printed(&line, "b1\nc\nb2\n"),
        "TAG  COMPARED  VERDICT\n\
         b2   2         chosen\n\
         b1   1         place 2, beaten by b2\n\
         c    -         dropped: the filter `^b(.*)$` does not match\n"
    );
    let line = ["--alphabetical", "asc", "--order", "newest-pushed", "--explain"];
    assert_eq!(
        printed(&line, "a 2026-01-15T10:00:00Z\nb\n"),
        "TAG  COMPARED  FIRST SEEN            VERDICT\n\
         a    -         2026-01-15T10:00:00Z  chosen\n\
         b    -         unknown               place 2, beaten by a\n"
    );
    let json = |line: &[&str], tags| serde_json::from_str::<serde_json::Value>(&printed(line, tags)).unwrap();
    let line = ["--semver", "1.x", "--output", "json"];
    assert_eq!(json(&line, "1.0.0\n"), serde_json::json!({"chosen": "1.0.0", "reason": null}));
    let explained = json(&[&line[..], &["--explain"]].concat(), "2.0.0\n");
    assert_eq!(
        explained,
        serde_json::json!({
            "chosen": null,
            "reason": "unable to determine latest version from provided list",
            "tags": [{"tag": "2.0.0", "verdict": "dropped", "by": {"cause": "outOfRange"}}],
        })
    );
}

#[test]
fn a_file_brings_the_policy_and_the_exclusions_of_its_repository() {
    let file = file(POLICIES);
    let path = file.path().to_str().unwrap();
    let tags = "1.9.0 2026-02-01T00:00:00Z\n1.8.0 2026-01-01T00:00:00Z\n1.8.0-slim\n";
    for name in ["app", "apps/app"] {
        assert_eq!(printed(&["--policy", path, "--name", name], tags), "1.8.0\n", "1.9.0 is excluded");
    }
    let locked = ["--policy", path, "--name", "locked"];
    assert_eq!(printed(&locked, tags), "1.9.0\n", "another namespace's repository excludes nothing");
    assert_eq!(printed(&[&locked[..], &["--current", "1.0.0-slim"]].concat(), tags), "1.8.0-slim\n");
    let several = refusal(&["--policy", path]);
    assert!(several.contains("choose one by --name (apps/app, other/locked)"), "{several}");
    let unknown = refusal(&["--policy", path, "--name", "web"]);
    assert!(unknown.contains("holds no ImagePolicy web"), "{unknown}");
}

#[test]
fn wrong_arguments_are_told_before_any_tag_is_read() {
    let broken = file(&POLICIES.replace("1.x", "what"));
    let none = file("kind: Deployment\napiVersion: apps/v1\nmetadata: {name: x}\n");
    let (broken, none) = (broken.path().to_str().unwrap(), none.path().to_str().unwrap());
    for (line, words) in [
        (vec![], "--policy <FILE>|--semver <RANGE>"),
        (vec!["--semver", ">>1"], "policy.semver.range: improper constraint"),
        (vec!["--semver", "1.x", "--numerical", "asc"], "cannot be used with"),
        (vec!["--numerical", "up"], "write `asc` or `desc`"),
        (vec!["--semver", "*", "--pattern", "("], "filterTags.pattern: error parsing regexp"),
        (vec!["--semver", "*", "--extract", "$1"], "--pattern <RE>"),
        (vec!["--semver", "*", "--order", "newest"], "is not an order: write `newest-pushed`"),
        (vec!["--semver", "*", "--order", "calver:DD"], "windlass.dev/order: a calendar format needs a year"),
        (vec!["--semver", "*", "--current", "1.0.0"], "only with a variant lock"),
        (vec!["--semver", "*", "--variant-lock", "--current", "a/b:1"], "`a/b:1` is not a valid tag"),
        (vec!["--semver", "*", "--tags", "x", "--image", "y"], "cannot be used with"),
        (vec!["--semver", "*", "--docker-config", "x"], "--image <REPO>"),
        (vec!["--policy", "x", "--pattern", "x"], "cannot be used with"),
        (vec!["--policy", "/nonexistent/file"], "/nonexistent/file cannot be read"),
        (vec!["--policy", broken], ":9: error: ImagePolicy/apps/app: spec.policy.semver.range"),
        (vec!["--policy", none], "holds no ImagePolicy"),
    ] {
        let told = refusal(&line);
        assert!(told.contains(words), "{line:?}: {told}");
    }
}

#[test]
fn wrong_lines_are_told_with_their_number() {
    for (text, words) in [
        ("a\nb:c\n", "line 2: `b:c` is not a valid tag"),
        ("a today\n", "line 1: `today` is not a time: write 2026-01-15T10:00:00Z"),
        ("a 2026-01-15T10:00:00Z b\n", "line 1: has more than a tag and a time"),
    ] {
        let told = format!("{:#}", TagsSeen::parse(text).unwrap_err());
        assert!(told.contains(words), "{told}");
    }
    assert!(TagsSeen::parse("\n \r\n").unwrap().is_empty());
}

#[test]
fn times_are_asked_for_where_they_are_compared() {
    let args = arguments(&["--alphabetical", "asc", "--order", "newest-pushed"]).unwrap();
    let chooser = Chooser::new(&args.rule).unwrap();
    let error = chooser.check_times(&TagsSeen::parse("a\n").unwrap()).unwrap_err().to_string();
    assert!(error.contains("each with its time"), "{error}");
    chooser.check_times(&TagsSeen::parse("a\nb 2026-01-15T10:00:00Z\n").unwrap()).unwrap();
    chooser.check_times(&TagsSeen::parse("").unwrap()).unwrap();
}
