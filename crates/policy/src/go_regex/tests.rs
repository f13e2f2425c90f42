//! Each expectation was confirmed with Go 1.26's `regexp`.

use super::*;

/// Checks which texts an expression matches.
fn assert_matches(pattern: &str, matching: &[&str], others: &[&str]) {
    let regex = GoRegex::compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    for text in matching {
        assert!(regex.is_match(text), "`{pattern}` must match {text:?}");
    }
    for text in others {
        assert!(!regex.is_match(text), "`{pattern}` must not match {text:?}");
    }
}

fn groups(pattern: &str, text: &str) -> Vec<Option<String>> {
    let regex = GoRegex::compile(pattern).unwrap();
    let mut locations = regex.locations();
    assert!(regex.captures(&mut locations, text), "`{pattern}` must match {text:?}");
    (0..locations.len()).map(|i| locations.get(i).map(|(start, end)| text[start..end].to_owned())).collect()
}

#[test]
fn what_the_regex_crate_reads_otherwise_is_translated() {
    // Set operations and nested classes are literals in Go.
    assert_matches("^[a&&b]$", &["a", "&", "b"], &["a&&b", "c"]);
    assert_matches("^[!--b]$", &["!", "-", "b", "+"], &["a", "."]);
    assert_matches("^[a~~b]$", &["a", "~"], &["c"]);
    assert_matches("^[[a]$", &["[", "a"], &["b"]);
    assert_matches("^[[a]b]$", &["[b]", "ab]"], &["a", "b"]);
    assert_matches("^[]a]$", &["]", "a"], &["b"]);
    assert_matches("^[^]a]$", &["b"], &["]", "a"]);
    assert_matches(r"^[\d-x]$", &["1", "-", "x"], &["a"]);
    // Literal text.
    assert_matches(r"^\Qa.b\E$", &["a.b"], &["axb"]);
    assert_matches(r"^\Qa+*", &["a+*"], &["aa"]);
    assert_matches("^a{,2}$", &["a{,2}"], &["a", "aa", ""]);
    assert_matches("^a{$", &["a{"], &[]);
    assert_matches("^a{01}$", &["a{01}"], &["a"]);
    assert_matches("^]}$", &["]}"], &[]);
    assert_matches(r"^\_\-\/\@$", &["_-/@"], &[]);
    assert_matches("^# x$", &["# x"], &["x"]);
    // ASCII shorthands; `\s` has no vertical tab.
    assert_matches(r"^\d$", &["7"], &["٣"]);
    assert_matches(r"^\w$", &["a", "_"], &["é"]);
    assert_matches(r"^\s$", &[" ", "\t", "\x0c"], &["\x0b", "\u{a0}"]);
    assert_matches("^[[:space:]]$", &["\x0b"], &["\u{a0}"]);
    assert_matches(r"^é\b", &[], &["é", "é-"]);
    assert_matches(r"a\Bb", &["ab"], &["a b"]);
    // Escapes.
    assert_matches(r"^\x41\x{0000062}\103\07\a\v$", &["AbC\x07\x07\x0b"], &[]);
    assert_matches(r"^[\x{D800}-\x{E000}]$", &["\u{e000}"], &["\u{d7ff}"]);
    assert_matches(r"\x{D800}|[^\x00-\x{10FFFF}]", &[], &["", "a"]);
    assert_matches(r"^[^\x{D800}]$", &["a"], &[]);
    // Anchors and flags.
    assert_matches("a$", &["a"], &["a\n"]);
    assert_matches("(?m)^b$", &["a\nb\nc"], &["abc"]);
    assert_matches("a(?i)b|c", &["aB", "C"], &["AB"]);
    assert_matches("(?:a(?i)b)c", &["aBc"], &["aBC"]);
    assert_matches("(?i)^[^k]$", &["a"], &["k", "K", "\u{212a}"]);
    assert_matches("(?)a", &["a"], &[]);
    assert_matches("^a.c$", &["abc"], &["a\nc"]);
    assert_matches("(?s)^a.c$", &["a\nc"], &[]);
    // Unicode names are looked up loosely.
    assert_matches(r"^\P{Cs}$", &["a"], &[""]);
    assert_matches(r"^\p{greek}\pL\P{Lu}\p{^Nd}\p{Any}$", &["αaaa\n"], &["aaaaa"]);
    assert_matches(r"^\p{uppercase letter}\p{ASCII}\p{Thai}$", &["Aaก"], &["aaa"]);
}

#[test]
fn groups_are_those_of_go() {
    let texts = |pattern, text| {
        groups(pattern, text).into_iter().map(|g| g.unwrap_or("-".into())).collect::<Vec<_>>()
    };
    assert_eq!(texts("(?P<a>x)|(?<b>y)", "y"), ["y", "-", "y"]);
    assert_eq!(texts("(?U)a+", "aaa"), ["a"]);
    assert_eq!(texts("(?U)(a+?)", "aaa"), ["aaa", "aaa"]);
    assert_eq!(texts("(a|ab)(c|bcd)?", "abcd"), ["abcd", "a", "bcd"]);
    assert_eq!(texts("a(?i)*", "aa"), ["aa"], "the repetition is of the `a`");
    assert_eq!(texts(r"a*\Q\E*", "aa"), ["aa"]);
    let regex = GoRegex::compile("(?P<n>a)(?:b)(c)(?<n>d)(?P<1x>e)").unwrap();
    let names: Vec<_> = regex.group_names().iter().map(|name| name.as_deref().unwrap_or("-")).collect();
    assert_eq!(names, ["-", "n", "-", "n", "1x"]);
}

#[test]
fn what_go_refuses_is_refused_in_its_words() {
    for (pattern, message) in [
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
        ("(?x)a b", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?P=n)", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?-)", "invalid or unsupported Perl syntax: `(?-)`"),
        ("(?P<é>a)", "invalid named capture: `(?P<é>`"),
        ("(?<=a)b", "invalid named capture: `(?<=a)b`"),
        (r"(a)\1", r"invalid escape sequence: `\1`"),
        (r"\Z", r"invalid escape sequence: `\Z`"),
        (r"\h", r"invalid escape sequence: `\h`"),
        (r"[\b]", r"invalid escape sequence: `\b`"),
        (r"\xg1", r"invalid escape sequence: `\xg1`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000}`"),
        (r"\p{Alphabetic}", r"invalid character class range: `\p{Alphabetic}`"),
        (r"\p{Grek}", r"invalid character class range: `\p{Grek}`"),
        (r"\pX", r"invalid character class range: `\pX`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        ("[a--b]", "invalid character class range: `a--`"),
        ("[c-a]", "invalid character class range: `c-a`"),
        ("[a", "missing closing ]: `[a`"),
        ("(a", "missing closing ): `(a`"),
        ("a)", "unexpected ): `a)`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("*", "missing argument to repetition operator: `*`"),
        ("a|+?", "missing argument to repetition operator: `+?`"),
        ("(?i)*", "missing argument to repetition operator: `*`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
        ("a*+", "invalid nested repetition operator: `*+`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("(?:a{100}){11}", "invalid repeat count: `{11}`"),
    ] {
        let error = GoRegex::compile(pattern).expect_err(pattern);
        assert_eq!(error.to_string(), format!("error parsing regexp: {message}"), "{pattern}");
    }
    assert!(GoRegex::compile("(?:(?:a{1000}){0}){1000}").is_ok(), "what never repeats is not counted");
}

#[test]
fn size_is_bounded() {
    let kind = |pattern: &str| GoRegex::compile(pattern).unwrap_err().kind;
    assert_eq!(kind(&"a".repeat(MAX_PATTERN + 1)), GoRegexErrorKind::TooLarge);
    assert_eq!(kind(r"(?:\pL\pN){500}"), GoRegexErrorKind::TooLarge);
    assert_eq!(kind(&format!("{}a{}", "(".repeat(300), ")".repeat(300))), GoRegexErrorKind::NestingDepth);
    let deep = "(".repeat(MAX_DEPTH as usize) + "a|b" + &")+".repeat(MAX_DEPTH as usize);
    assert!(GoRegex::compile(&deep).is_ok());
    assert!(GoRegex::compile(r"^\w{1,128}(-.{0,1000})?$").is_ok());
}

/// Expressions, most of them random, with what Go 1.26 made of them: for each text of the first line, `-` or the
/// expanded template in brackets; or the error.
#[test]
fn recorded_expressions_match_as_in_go() {
    let mut lines = include_str!("../../testdata/regexes.jsonl").lines();
    let texts: Vec<String> = serde_json::from_str(lines.next().unwrap()).unwrap();
    for line in lines {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let result = match GoRegex::compile(case["pattern"].as_str().unwrap()) {
            Ok(regex) => matched(&regex, case["extract"].as_str().unwrap(), &texts),
            Err(error) => error.to_string(),
        };
        assert_eq!(result, case["result"].as_str().unwrap(), "{} {}", case["pattern"], case["extract"]);
    }
}

fn matched(regex: &GoRegex, extract: &str, texts: &[String]) -> String {
    let expansion = crate::expand::Expansion::new(extract, regex);
    let mut locations = regex.locations();
    let mut out = String::new();
    for text in texts {
        if regex.captures(&mut locations, text) {
            out.push('[');
            expansion.append(text, &locations, &mut out);
            out.push(']');
        } else {
            out.push('-');
        }
    }
    out
}

proptest::proptest! {
    #[test]
    fn any_text_is_an_expression_or_an_error(text in r"(\PC|[\\\[\](){}?*+|^$.:<>=!&~PQEpxdws0-9,-]){0,24}") {
        match GoRegex::compile(&text) {
            Ok(regex) => drop(regex.is_match("v1.2.3-rc.1")),
            Err(error) => proptest::prop_assert_ne!(error.kind, GoRegexErrorKind::TooLarge),
        }
    }
}
