use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn predicate() -> Json {
    json!({
        "n": 3, "big": 9_007_199_254_740_993_i64, "huge": u64::MAX, "f": 1.5, "t": "grün", "yes": true, "no": false,
        "none": null, "list": [1, 2, 3], "mixed": [1, "a", null, {"k": "v"}], "map": {"a": 1, "b": {"c": [true]}},
        "dotted.key": "x", "people": [{"name": "ann", "age": 40}, {"name": "bob", "age": 17}]
    })
}

fn run(text: &str) -> Result<bool, CelFault> {
    let predicate = predicate();
    Program::compile(text).unwrap_or_else(|error| panic!("{text}: {error}")).run(&predicate, &Json::Null)
}

/// The crate's form of JSON, in which whole numbers are signed, as they are for us.
fn oracles(json: &Json) -> ::cel::Value {
    match json {
        Json::Null => ::cel::Value::Null,
        Json::Bool(value) => ::cel::Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => ::cel::Value::Int(value),
            (None, Some(value)) => ::cel::Value::UInt(value),
            (None, None) => ::cel::Value::Float(number.as_f64().unwrap()),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => items.iter().map(oracles).collect::<Vec<_>>().into(),
        Json::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), oracles(value))).collect::<HashMap<_, _>>().into()
        }
    }
}

/// What the crate's own interpreter says: the oracle.
fn oracle(text: &str) -> Option<bool> {
    let mut context = ::cel::Context::default();
    context.add_variable_from_value("predicate", oracles(&predicate()));
    match context.resolve(&::cel::parser::Parser::new().parse(text).unwrap()) {
        Ok(::cel::Value::Bool(value)) => Some(value),
        _ => None,
    }
}

const TRUE: &[&str] = &[
    "true",
    "predicate.n == 3 && predicate.n != 4",
    "predicate.n == 3.0 && predicate.f < 2 && 2 > predicate.f",
    "predicate.n + 4 * 2 - 1 == 10 && 7 / 2 == 3 && -7 % 3 == -1 && -predicate.n == -3",
    "predicate.f * 2.0 == 3.0 && predicate.f / 0.5 == 3.0 && predicate.f - 0.5 == 1.0",
    "predicate.t == 'grün' && size(predicate.t) == 4 && predicate.t.size() == 4",
    "predicate.t.startsWith('gr') && predicate.t.endsWith('n') && predicate.t.contains('rü')",
    "predicate.t + '!' == 'grün!' && 'a' < 'b' && 'b' >= 'b'",
    "predicate.list[0] == 1 && predicate['dotted.key'] == 'x' && predicate.map.b.c[0]",
    "predicate.list == [1, 2, 3] && predicate.list + [4] == [1, 2, 3, 4] && [1] != [2] && [1] != [1, 1]",
    "2 in predicate.list && !(5 in predicate.list) && 'a' in predicate.map && !('z' in predicate.map)",
    "has(predicate.map.a) && !has(predicate.map.z) && has(predicate.none)",
    "predicate.none == null && predicate.n != null && predicate.t != 3",
    "predicate.list.all(x, x > 0) && predicate.list.exists(x, x == 2) && predicate.list.exists_one(x, x == 2)",
    "!predicate.list.exists_one(x, x > 1) && !predicate.list.all(x, x > 1) && !predicate.list.exists(x, x > 3)",
    "predicate.list.map(x, x * 2) == [2, 4, 6] && predicate.list.filter(x, x > 1) == [2, 3]",
    "predicate.list.map(x, x > 1, x * 2) == [4, 6] && size([]) == 0 && [].all(x, false)",
    "predicate.people.filter(p, p.age >= 18).map(p, p.name) == ['ann']",
    "predicate.people.all(p, predicate.list.exists(x, x < p.age))",
    "predicate.map.exists(k, k == 'a') && predicate.list.map(x, [x, x]).all(p, p[0] == p[1])",
    "predicate.n > 2 ? true : predicate.missing",
    "predicate.missing || true",
    "true || predicate.missing",
    "!(predicate.missing && false)",
    "predicate.mixed.exists(x, x > 0)",
    "predicate.map == predicate.map && predicate.map.b == predicate.map.b && predicate.map != predicate.map.b",
    "predicate.list.exists(x, predicate.list.all(x, x > 0) && x == 3)",
    "1 in predicate.mixed && null in predicate.mixed && !([] in predicate.mixed)",
];

const FALSE: &[&str] =
    &["false", "predicate.n < 3", "predicate.list.all(x, x.foo && false)", "'3' == predicate.n"];

/// Expressions without a value.
const FAULTS: &[&str] = &[
    "predicate.missing",
    "predicate.n.x == 1",
    "predicate.list[3] == 1",
    "predicate.list[-1] == 1",
    "predicate.list['a'] == 1",
    "predicate.n",
    "predicate.t && true",
    "!predicate.n",
    "predicate.n + predicate.t == 3",
    "predicate.n + predicate.f == 4.5",
    "predicate.n / 0 == 1",
    "predicate.n % 0 == 1",
    "9223372036854775807 + 1 > 0",
    "predicate.n > 'a'",
    "1 in predicate.n",
    "size(predicate.n) == 1",
    "predicate.n.all(x, true)",
    "predicate.mixed.all(x, x > 0)",
    "predicate.list.all(x, x)",
    "predicate.missing || false",
    "predicate.missing && true",
    "predicate.n ? true : false",
    "has(predicate.n.x)",
];

#[test]
fn expressions_have_the_value_that_an_independent_interpreter_gives() {
    for (texts, wanted) in [(TRUE, Some(true)), (FALSE, Some(false)), (FAULTS, None)] {
        for text in texts {
            assert_eq!(run(text).ok(), wanted, "{text}: {:?}", run(text));
            assert_eq!(oracle(text), wanted, "the oracle: {text}");
        }
    }
}

#[test]
fn patterns_match_any_part_as_re2_does() {
    assert_eq!(
        run("predicate.t.matches('r') && !predicate.t.matches('^r') && matches('ab', '^a.$')"),
        Ok(true)
    );
    assert!(matches!(Program::compile("'a'.matches('(')"), Err(CelError::Pattern { .. })));
    assert!(matches!(Program::compile("'a'.matches('(a{1000}){1000}')"), Err(CelError::Pattern { .. })));
    assert!(matches!(Program::compile("'a'.matches(predicate.t)"), Err(CelError::Unsupported(_))));
}

#[test]
fn numbers_compare_by_their_exact_value() {
    for text in [
        "predicate.big > 9007199254740992.0",
        "predicate.huge > predicate.big && predicate.huge == 18446744073709551615u",
        "predicate.huge < 1e300 && predicate.huge > -1e300 && -1 < predicate.huge",
        "-1.5 < -1 && -1 > -1.5 && !(1 == 1.5) && 1 < 1.5 && !(2 < 1.5)",
        "!(0.0/0.0 == 0.0/0.0) && !(0.0/0.0 < 1) && !(1 < 0.0/0.0)",
    ] {
        assert_eq!(run(text), Ok(true), "{text}");
    }
}

#[test]
fn what_is_not_evaluated_is_refused_when_it_is_read() {
    for (text, part) in [
        ("", "cannot be read"),
        ("1 +", "cannot be read: line 1"),
        ("predicate.a ==", "cannot be read"),
        ("predicat.a", "`predicat` is not known"),
        ("x.all(y, z)", "`x` is not known"),
        ("predicate.all(y, z)", "`z` is not known"),
        ("predicate.all(y, y) && y", "`y` is not known"),
        ("@result", "cannot be read"),
        ("__result__", "is not known"),
        ("duration('1h') > duration('2h')", "`duration` is not known"),
        ("predicate.a.lowerAscii()", "`lowerAscii` is not known"),
        ("startsWith('a', 'b')", "`startsWith` is not known"),
        ("size()", "`size` is not known"),
        ("size(1, 2)", "`size` is not known"),
        ("_+_(1, 2)", "`_` is not known"),
        ("{'a': 1}.a == 1", "maps that are written out are not supported"),
        ("Foo{a: 1}", "messages that are written out are not supported"),
        ("b'a' == b'a'", "bytes are not supported"),
        ("predicate.all(1, true)", "cannot be read"),
        ("predicate.?a", "cannot be read"),
    ] {
        let told = Program::compile(text).map(drop).unwrap_err().to_string();
        assert!(told.contains(part), "{text}: {told}");
    }
}

#[test]
fn expressions_are_bounded_in_length_and_depth() {
    assert_eq!(Program::compile(&" ".repeat(LENGTH + 1)).unwrap_err(), CelError::TooLong);
    let many = |part: &str, joint: &str, times: usize| vec![part; times].join(joint);
    assert_eq!(Program::compile(&many("1", "+", 2_000)).unwrap_err(), CelError::TooDeep);
    assert_eq!(Program::compile(&many("predicate", ".a", 300)).unwrap_err(), CelError::TooDeep);
    for open in ["(", "[", "!(", "size(", "-(", "predicate["] {
        assert!(Program::compile(&many(open, "", LENGTH / open.len())).is_err(), "{open}");
    }
    let nested = format!("{}1{} == 1", "(".repeat(1_000), ")".repeat(1_000));
    assert!(Program::compile(&nested).is_err());
    // Chains of `&&` are balanced by the parser.
    assert_eq!(run(&many("true", "&&", 500)), Ok(true));
}

/// A predicate of about the largest size, and expressions that would take hours over it.
#[test]
fn an_evaluation_ends_whatever_the_predicate_is() {
    let list = json!({"l": vec![0; 400_000], "t": "a".repeat(1 << 20)});
    let fault = |text: &str| Program::compile(text).unwrap().run(&list, &Json::Null);
    for text in [
        "predicate.l.all(a, predicate.l.all(b, predicate.l.all(c, true)))",
        "predicate.l.all(a, predicate.l == predicate.l)",
        "predicate.l.all(a, size(predicate.l + predicate.l) > 0)",
        "predicate.l.all(a, predicate.t + predicate.t != 'a')",
        "predicate.l.all(a, predicate.t.contains('b') || true)",
        "predicate.l.all(a, predicate.t.matches('b') || true)",
        "predicate.l.all(a, 1 in predicate.l || true)",
        "predicate.l.map(a, predicate.l.map(b, a)) == []",
        "predicate.l.all(a, predicate.l.all(b, predicate.missing) || true) || true",
        "predicate.l.exists(a, predicate.l.exists(b, b)) || true",
    ] {
        assert_eq!(fault(text), Err(CelFault::Steps), "{text}");
    }
    assert_eq!(fault("predicate.l.all(a, a == 0)"), Err(CelFault::Steps));
    assert_eq!(fault("size(predicate.l) == 400000 && predicate.t.startsWith('a')"), Ok(true));
}

proptest! {
    /// Small expressions over a small predicate: where both interpreters have a value, it is one.
    #[test]
    fn random_expressions_agree_with_an_independent_interpreter(text in expression()) {
        if let (Ok(ours), Some(theirs)) = (run(&text), oracle(&text)) {
            prop_assert_eq!(ours, theirs, "{}", text);
        }
        prop_assert_eq!(run(&text).is_ok(), oracle(&text).is_some(), "{}: {:?}", text, run(&text));
    }

    #[test]
    fn whatever_a_text_is_it_is_read_or_refused(text in "[a-z0-9_.()\\[\\]'\"+*/%<>=!&|?:, @{}\\\\-]{0,40}") {
        let _ = Program::compile(&text);
    }
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1",
        "2",
        "(-3)",
        "1.5",
        "'a'",
        "''",
        "true",
        "false",
        "null",
        "predicate.n",
        "predicate.f",
        "predicate.t",
        "predicate.list",
        "predicate.mixed",
        "predicate.map",
        "predicate.yes",
        "predicate.none",
        "predicate.missing",
        "predicate.people",
        "[]",
        "[1, 'a']",
    ])
    .prop_map(str::to_owned);
    let value = leaf.prop_recursive(3, 24, 3, |inner| {
        let binary = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "in", "&&", "||",
        ]);
        let loops = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter"]);
        prop_oneof![
            (inner.clone(), binary, inner.clone()).prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
            (inner.clone(), loops, inner.clone()).prop_map(|(a, name, b)| format!("{a}.{name}(x, {b} == x)")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}[{b}]")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            inner.clone().prop_map(|a| format!("(!{a})")),
            inner.clone().prop_map(|a| format!("size({a})")),
            inner.clone().prop_map(|a| format!("has({a}.name)")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("{a}.contains({b})")),
        ]
    });
    (value.clone(), prop::sample::select(vec!["==", "<", ">=", "!="]), value)
        .prop_map(|(a, sign, b)| format!("{a} {sign} {b}"))
}
