//! ImagePolicy (image-reflector-controller 1.2, `api/v1/imagepolicy_types.go` with its CEL rules).

use super::duration::Units;
use super::fields::{Fields, Slot};
use super::object::{ORDER, Object, VARIANT_LOCK};
use crate::name::ObjectKey;
use crate::resource::{DigestReflection, ImagePolicy, LeadingOrder, Order, PolicyRule, TagFilter};

/// Fields of `spec`.
const SPEC: &[&str] =
    &["imageRepositoryRef", "policy", "filterTags", "digestReflectionPolicy", "interval", "suspend"];
/// The members of the `policy` union, in Flux's precedence.
const RULES: &[&str] = &["semver", "alphabetical", "numerical"];

pub(super) fn decode(object: &Object<'_>) -> Option<ImagePolicy> {
    let spec = object.spec(SPEC)?;
    let repository = spec.required("imageRepositoryRef").and_then(|slot| repository(&slot, object));
    let rule = spec.required("policy").and_then(|slot| rule(&slot, object));
    let filter = spec.slot("filterTags").and_then(|slot| filter(&slot, object));
    let leading = object.annotation(ORDER).and_then(|slot| leading_order(slot, object));
    let variant_lock = object.annotation(VARIANT_LOCK).and_then(variant_lock).unwrap_or_default();
    let digest = digest(&spec);
    let suspend = spec.flag("suspend");
    Some(ImagePolicy {
        meta: object.meta(),
        repository: repository?,
        rule: rule?,
        filter,
        order: leading,
        variant_lock,
        digest: digest?,
        suspend,
    })
}

fn repository(slot: &Slot<'_>, object: &Object<'_>) -> Option<ObjectKey> {
    let fields = slot.fields(&["name", "namespace"])?;
    let name = fields.required("name")?;
    name.remember_place();
    let namespace = fields.text("namespace").filter(|namespace| !namespace.is_empty());
    Some(ObjectKey::new(namespace.unwrap_or(object.namespace()), name.filled_text()?))
}

fn rule(slot: &Slot<'_>, object: &Object<'_>) -> Option<PolicyRule> {
    let policy = slot.fields(RULES)?;
    let mut present = RULES.iter().filter(|name| policy.has(name));
    let Some(chosen) = present.next() else {
        policy.error("needs one of `semver`, `alphabetical`, `numerical`");
        return None;
    };
    for other in present {
        if let Some(slot) = policy.slot(other) {
            slot.warning(format_args!(
                "has no effect beside `{chosen}`, which Flux prefers: remove one of the two"
            ));
        }
    }
    match *chosen {
        "semver" => semver(&policy.fields("semver", &["range"])?, object),
        "alphabetical" => order(&policy.fields("alphabetical", &["order"])?).map(PolicyRule::Alphabetical),
        _ => order(&policy.fields("numerical", &["order"])?).map(PolicyRule::Numerical),
    }
}

fn semver(fields: &Fields<'_>, object: &Object<'_>) -> Option<PolicyRule> {
    let slot = fields.required("range")?;
    let range = slot.text()?;
    slot.check(object.semantics.semver_range(range)).map(|()| PolicyRule::SemVer { range: range.to_owned() })
}

fn order(fields: &Fields<'_>) -> Option<Order> {
    match fields.slot("order") {
        Some(slot) => slot.choice(&[("asc", Order::Asc), ("desc", Order::Desc)]),
        None => Some(Order::default()),
    }
}

fn filter(slot: &Slot<'_>, object: &Object<'_>) -> Option<TagFilter> {
    let fields = slot.fields(&["pattern", "extract"])?;
    let pattern = fields.slot("pattern");
    let extract = fields.slot("extract");
    let pattern_text = pattern.as_ref().map_or(Some(""), Slot::text)?;
    let extract_text = extract.as_ref().map_or(Some(""), Slot::text)?;
    if let Some(slot) = pattern {
        slot.check(object.semantics.filter_pattern(pattern_text))?;
    }
    if let Some(slot) = extract
        && let Err(doubt) = object.semantics.filter_extract(pattern_text, extract_text)
    {
        slot.warning(doubt);
    }
    let filter = TagFilter { pattern: pattern_text.to_owned(), extract: extract_text.to_owned() };
    (!filter.pattern.is_empty() || !filter.extract.is_empty()).then_some(filter)
}

fn leading_order(slot: &Slot<'_>, object: &Object<'_>) -> Option<LeadingOrder> {
    let order = slot.check(slot.text()?.parse::<LeadingOrder>())?;
    if let LeadingOrder::CalVer { format } = &order {
        slot.check(object.semantics.calendar_format(format))?;
    }
    Some(order)
}

fn variant_lock(slot: &Slot<'_>) -> Option<bool> {
    slot.choice(&[("true", true), ("false", false)])
}

/// `digestReflectionPolicy` with `interval`, and the two CEL rules that tie them.
fn digest(spec: &Fields<'_>) -> Option<DigestReflection> {
    const WORDS: [(&str, u8); 3] = [("Never", 0), ("IfNotPresent", 1), ("Always", 2)];
    let policy = spec.slot("digestReflectionPolicy").map_or(Some(0), |slot| slot.choice(&WORDS))?;
    let interval = spec.slot("interval");
    if policy != 2 {
        if let Some(slot) = interval {
            slot.error("is only accepted when spec.digestReflectionPolicy is `Always`: remove it");
            return None;
        }
        return Some(if policy == 1 { DigestReflection::IfNotPresent } else { DigestReflection::Never });
    }
    let Some(slot) = interval else {
        spec.slot("digestReflectionPolicy")?.error("needs spec.interval when it is `Always`");
        return None;
    };
    slot.duration(Units::WithHours).map(DigestReflection::Always)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{found, only, problems};
    use super::*;

    fn with(spec: &str) -> String {
        format!(
            "apiVersion: image.toolkit.fluxcd.io/v1beta2\nkind: ImagePolicy\nmetadata: {{name: app}}\nspec:\n  \
             imageRepositoryRef: {{name: app}}\n{spec}"
        )
    }

    fn policy(spec: &str) -> ImagePolicy {
        only(&with(spec)).image_policies.values().next().unwrap().as_ref().clone()
    }

    #[test]
    fn rules_filters_and_digests_are_read_with_their_defaults() {
        let semver = policy("  policy: {semver: {range: '>=1.0.0'}}\n");
        assert_eq!(semver.rule, PolicyRule::SemVer { range: ">=1.0.0".into() });
        assert_eq!(semver.repository, ObjectKey::new("default", "app"));
        assert_eq!((semver.digest, semver.filter), (DigestReflection::Never, None));

        let text = "  policy: {numerical: {order: desc}}\n  filterTags: {pattern: '^b-(?P<n>\\d+)$', \
                    extract: $n}\n  digestReflectionPolicy: Always\n  interval: 10m\n  suspend: true\n";
        let numerical = policy(text);
        assert_eq!(numerical.rule, PolicyRule::Numerical(Order::Desc));
        let filter = TagFilter { pattern: "^b-(?P<n>\\d+)$".into(), extract: "$n".into() };
        assert_eq!(numerical.filter, Some(filter));
        assert_eq!(numerical.digest, DigestReflection::Always(Duration::from_mins(10)));
        assert!(numerical.suspend);

        let alphabetical = policy("  policy: {alphabetical: {}}\n  digestReflectionPolicy: IfNotPresent\n");
        assert_eq!(alphabetical.rule, PolicyRule::Alphabetical(Order::Asc));
        assert_eq!(alphabetical.digest, DigestReflection::IfNotPresent);
        assert_eq!(policy("  policy: {alphabetical: {}}\n  filterTags: {}\n").filter, None);
    }

    fn annotated(annotation: &str) -> String {
        with("  policy: {alphabetical: {}}\n")
            .replace("{name: app}\nspec", &format!("\n  name: app\n  annotations:\n    {annotation}\nspec"))
    }

    #[test]
    fn annotations_lead_the_order_and_lock_the_variant() {
        let read = |annotation: &str| {
            let text = annotated(annotation);
            let policy = only(&text).image_policies.values().next().unwrap().as_ref().clone();
            assert_eq!(policy.meta.unsupported, []);
            (policy.order, policy.variant_lock)
        };
        assert_eq!(read("other/order: x"), (None, false));
        assert_eq!(read("windlass.dev/order: newest-pushed"), (Some(LeadingOrder::NewestPushed), false));
        let format = "YYYY.0M.DD[-MICRO]".to_owned();
        let calver = Some(LeadingOrder::CalVer { format });
        assert_eq!(read("windlass.dev/order: calver:YYYY.0M.DD[-MICRO]"), (calver, false));
        assert_eq!(read("windlass.dev/variant-lock: 'true'"), (None, true));
        assert_eq!(read("windlass.dev/variant-lock: 'false'"), (None, false));
    }

    #[test]
    fn wrong_annotations_are_named_with_their_line() {
        for (annotation, message) in [
            (
                "windlass.dev/order: newest",
                "is not an order: write `newest-pushed`, or `calver:` with a format",
            ),
            ("windlass.dev/order: calver", "for example `calver:YYYY.0M.0D[-MICRO]`"),
            ("windlass.dev/order: semver:1", "is not an order"),
            ("windlass.dev/order: calver:0M.0D", "has no year"),
            ("windlass.dev/order:", "must be a string and is empty"),
            ("windlass.dev/variant-lock: true", "must be a string and is a boolean: put it in quotes"),
            ("windlass.dev/variant-lock: alpine", "`alpine` is not one of `true`, `false`"),
            ("windlass.dev/variant-look: 'true'", "did you mean `windlass.dev/variant-lock`?"),
        ] {
            let text = annotated(annotation);
            let field = format!("metadata.annotations.{}", annotation.split(':').next().unwrap());
            assert!(found(&text, 6, &field, message), "{text}\n{:#?}", problems(&text));
        }
    }

    #[test]
    fn a_union_with_several_members_follows_flux_and_warns() {
        let text = with("  policy:\n    numerical: {}\n    semver: {range: 1.x}\n");
        assert!(
            found(&text, 7, "spec.policy.numerical", "has no effect beside `semver`"),
            "{:?}",
            problems(&text)
        );
        let rule = policy("  policy:\n    numerical: {}\n    semver: {range: 1.x}\n").rule;
        assert_eq!(rule, PolicyRule::SemVer { range: "1.x".into() });
    }

    #[test]
    fn every_wrong_field_is_named_with_its_line() {
        const SEMVER: &str = "  policy: {semver: {range: 1.x}}\n";
        let after = |rest: &str| format!("{SEMVER}{rest}");
        for (spec, line, field, message) in [
            (String::new(), 4, "spec.policy", "is required"),
            ("  policy: {}\n".into(), 6, "spec.policy", "needs one of"),
            ("  policy: {semvar: {}}\n".into(), 6, "spec.policy.semvar", "did you mean `semver`?"),
            ("  policy:\n    semver: {}\n".into(), 7, "spec.policy.semver.range", "is required"),
            ("  policy:\n    semver:\n      range: 1.0\n".into(), 8, "spec.policy.semver.range", "quotes"),
            (
                "  policy:\n    semver:\n      range: what\n".into(),
                8,
                "spec.policy.semver.range",
                "constraint",
            ),
            (
                "  policy: {numerical: {order: up}}\n".into(),
                6,
                "spec.policy.numerical.order",
                "`asc`, `desc`",
            ),
            (after("  filterTags:\n    pattern: '('\n"), 8, "spec.filterTags.pattern", "regex"),
            (
                after("  filterTags:\n    pattern: a\n    extract: $n\n"),
                9,
                "spec.filterTags.extract",
                "group",
            ),
            (after("  interval: 5m\n"), 7, "spec.interval", "only accepted when"),
            (
                after("  digestReflectionPolicy: Always\n"),
                7,
                "spec.digestReflectionPolicy",
                "needs spec.interval",
            ),
            (after("  digestReflectionPolicy: always\n"), 7, "spec.digestReflectionPolicy", "is not one of"),
            (
                after("  digestReflectionPolicy: Always\n  interval: soon\n"),
                8,
                "spec.interval",
                "is not a duration",
            ),
        ] {
            let text = with(&spec);
            assert!(found(&text, line, field, message), "{text}\n{:#?}", problems(&text));
        }
    }
}
