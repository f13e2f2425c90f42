//! Compiled rules, each distinct one once. Thousands of policies state the same few, and every compiled regular
//! expression takes tens of kilobytes as soon as it is used.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

use windlass_model::resource::{ImagePolicy, LeadingOrder, PolicyRule, TagFilter};
use windlass_policy::exclusion::{Exclusions, InvalidExclusions};
use windlass_policy::selection::{InvalidPolicy, Selector};

/// What a policy states of its choice, with the variant that it is locked to.
type Stated = (PolicyRule, Option<TagFilter>, Option<LeadingOrder>, Option<Box<str>>);

/// The compiled rules that are in use.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    selectors: HashMap<Stated, Weak<Selector>>,
    exclusions: HashMap<Vec<String>, Weak<Exclusions>>,
}

impl Rules {
    /// The compiled form of a policy; of one with a variant lock, that of this variant.
    pub(crate) fn selector(
        &mut self,
        policy: &ImagePolicy,
        variant: &str,
    ) -> Result<Arc<Selector>, InvalidPolicy> {
        let ImagePolicy { rule, filter, order, variant_lock, .. } = policy;
        let locked = variant_lock.then_some(variant);
        let key = (rule.clone(), filter.clone(), order.clone(), locked.map(Box::from));
        let lock = |selector: Selector| locked.map(|variant| selector.locked_to(variant)).unwrap_or(selector);
        shared(&mut self.selectors, key, || Selector::of(policy).map(lock))
    }

    /// The compiled form of an exclusion list.
    pub(crate) fn exclusions(&mut self, patterns: &[String]) -> Result<Arc<Exclusions>, InvalidExclusions> {
        shared(&mut self.exclusions, patterns.to_vec(), || Exclusions::compile(patterns))
    }

    /// Forgets what nobody uses any more.
    pub(crate) fn forget_unused(&mut self) {
        self.selectors.retain(|_, rule| rule.strong_count() > 0);
        self.exclusions.retain(|_, rule| rule.strong_count() > 0);
    }
}

fn shared<K: Eq + Hash, T, E>(
    known: &mut HashMap<K, Weak<T>>,
    key: K,
    compile: impl FnOnce() -> Result<T, E>,
) -> Result<Arc<T>, E> {
    if let Some(rule) = known.get(&key).and_then(Weak::upgrade) {
        return Ok(rule);
    }
    let rule = Arc::new(compile()?);
    known.insert(key, Arc::downgrade(&rule));
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{key, policy, spec};

    #[test]
    fn equal_rules_are_compiled_once_and_forgotten_with_their_last_user() {
        let mut rules = Rules::default();
        let policies = ["1.x", "2.x"].map(|range| {
            let spec = spec(&[&policy("app", range, "")]);
            ImagePolicy::clone(&spec.image_policies[&key("app")])
        });
        let newest = ImagePolicy { order: Some(LeadingOrder::NewestPushed), ..policies[0].clone() };
        let first = rules.selector(&policies[0], "").unwrap();
        assert!(Arc::ptr_eq(&first, &rules.selector(&policies[0].clone(), "").unwrap()));
        assert!(!Arc::ptr_eq(&first, &rules.selector(&policies[1], "").unwrap()));
        assert!(!Arc::ptr_eq(&first, &rules.selector(&newest, "").unwrap()));
        let locked = ImagePolicy { variant_lock: true, ..policies[0].clone() };
        let of = |rules: &mut Rules, variant| rules.selector(&locked, variant).unwrap();
        let alpine = of(&mut rules, "alpine");
        assert!(Arc::ptr_eq(&alpine, &of(&mut rules, "alpine")) && !Arc::ptr_eq(&alpine, &first));
        assert!(!Arc::ptr_eq(&alpine, &of(&mut rules, "slim")));
        drop(alpine);
        let list = ["^.*\\.sig$".to_owned()];
        let excluded = rules.exclusions(&list).unwrap();
        assert!(Arc::ptr_eq(&excluded, &rules.exclusions(&list).unwrap()));
        rules.forget_unused();
        assert_eq!((rules.selectors.len(), rules.exclusions.len()), (1, 1), "2.x has no user");
        drop((first, excluded));
        rules.forget_unused();
        assert!(rules.selectors.is_empty() && rules.exclusions.is_empty());
    }

    #[test]
    fn a_rule_that_cannot_be_compiled_is_not_remembered() {
        let mut rules = Rules::default();
        assert!(rules.exclusions(&["(".to_owned()]).is_err());
        assert!(rules.exclusions.is_empty());
    }
}
