//! Questions that are meant to take for ever: patterns, expressions and texts that grow.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use windlass_testkit::ca::Subject;
use windlass_testkit::cosign::{Layout, Line, Signing};
use windlass_testkit::evidence::{put_layers, signature_tag};
use windlass_testkit::forge::Forger;
use windlass_testkit::referrers_registry::AnyRegistry;

use super::{ALLOWED, DENIED, ISSUER, REPOSITORY, Setting, attested_by, by_key, keyless, push, with};

const KIND: &str = "https://example.org/approval/v1";
/// Items of a predicate that has nearly the size of the largest statement.
const ITEMS: usize = 90_000;

fn pattern(expression: &str) -> Value {
    keyless(&json!({"issuer": ISSUER, "subjectRegExp": expression}))
}

#[tokio::test]
async fn patterns_that_explode_elsewhere_are_matched_in_the_deadline_or_refused() -> Result<()> {
    let (setting, [registry, _]) = (Setting::new().await?, AnyRegistry::both().await?);
    let (forger, image) = (Forger::new()?, push(&registry, "patterns").await?);
    let subject = format!("https://ci.example.org/{}!", "a".repeat(20_000));
    let by = forger.certified(&setting.sigstore.authority, &Subject::new(subject, ISSUER))?;
    let layer = forger.sign(&image.digest, &by, Some(&setting.sigstore.rekor)).await?;
    put_layers(registry.images(), REPOSITORY, &signature_tag(&image.digest), &[layer]).await?;
    for (expression, wanted) in [
        (r"https://ci\.example\.org/(a+)+", DENIED),
        (r"https://ci\.example\.org/(a|a)*", DENIED),
        (r"https://ci\.example\.org/(a|aa)+b", DENIED),
        (r"(.*a){30}.*b", DENIED),
        (r"https://ci\.example\.org/(a+)+!", ALLOWED),
    ] {
        setting.ask(&image.name, pattern(expression)).await?.is(wanted, expression)?;
    }
    for expression in [r"((a{1000}){1000}){1000}", r"(\pL{500}){500}.*"] {
        setting.ask(&image.name, pattern(expression)).await?.is_not_allowed(expression)?;
    }
    Ok(())
}

#[tokio::test]
async fn expressions_that_take_for_ever_are_not_met() -> Result<()> {
    let (setting, [_, registry]) = (Setting::new().await?, AnyRegistry::both().await?);
    let image = push(&registry, "expressions").await?;
    let predicate = json!({"items": (0..ITEMS).collect::<Vec<usize>>()}).to_string();
    ensure!(predicate.len() > 500_000, "{} bytes", predicate.len());
    let how = Signing::with_key(&setting.key, Layout::Bundle);
    setting.cosign(Line::Three).attest(&image.name, KIND, &predicate, &how).await?;
    let authority = with(by_key(&setting.key)?, "insecureIgnoreTlog", true);
    let asked = |expression: &str| {
        let mut spec = attested_by(KIND, &authority);
        spec["require"]["attestations"][0]["cel"] = json!(expression);
        spec
    };
    let items = "predicate.items";
    for (expression, wanted) in [
        (format!("size({items}) > 1000"), ALLOWED),
        (format!("{items}.all(a, {items}.all(b, {items}.all(c, a + b + c >= 0)))"), DENIED),
        (format!("size({items}.map(a, {items}.map(b, {items}))) > 0"), DENIED),
        (
            format!(
                "size({items} + {items} + {items}) > 0 && {items}.exists(a, {items}.exists(b, a < b && b < a))"
            ),
            DENIED,
        ),
    ] {
        let answer = setting.ask_for(&image.name, &asked(&expression)).await?;
        answer.is(wanted, &expression)?;
        if wanted == DENIED {
            let reasons = answer.document["reasons"].to_string();
            ensure!(reasons.contains("steps"), "{expression}: {reasons}");
        }
    }
    for expression in ["(".repeat(4_000), "!".repeat(4_096), format!("'{}' == ''", "a".repeat(10_000))] {
        let answer = setting.ask_for(&image.name, &asked(&expression)).await?;
        answer.in_bounds("an expression that is none")?;
        ensure!(answer.status != ALLOWED, "{answer:?}");
    }
    // More than is read: what the statement says does not matter any more.
    let huge = json!({"items": vec!["x".repeat(1_000); 1_200]}).to_string();
    let image = push(&registry, "huge").await?;
    setting.cosign(Line::Three).attest(&image.name, KIND, &huge, &how).await?;
    let answer = setting.ask_for(&image.name, &attested_by(KIND, &authority)).await?;
    answer.is(DENIED, "a statement of more than 1 MiB")?;
    let reasons = answer.document["reasons"].as_array().context("reasons")?;
    ensure!(reasons.iter().any(|reason| reason.to_string().contains("bytes")), "{reasons:?}");
    Ok(())
}
