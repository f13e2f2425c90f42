//! Which objects a reload must look at: a pure comparison of two configurations.

use std::collections::BTreeSet;
use std::sync::Arc;

use windlass_model::resource::{
    GitRepository, ImagePolicy, ImageRepository, ImageUpdateAutomation, Meta, Resource,
};
use windlass_model::{ObjectRef, Spec};

/// The ImageRepositories and ImageUpdateAutomations that are new, or whose own fields, Secrets, policies,
/// Guards or GitRepository differ. Suspended ones are left out: resuming one is a difference. A moved line is not.
pub(super) fn changed(old: &Spec, new: &Spec) -> BTreeSet<ObjectRef> {
    let repositories = new
        .image_repositories
        .values()
        .filter(|repository| !repository.suspend && !same_repository(old, new, repository))
        .map(|repository| repository.object_ref());
    let policies = new
        .image_policies
        .values()
        .filter(|policy| !policy.suspend)
        .filter(|policy| !same_policy(old, new, policy) || !same_guards(old, new, policy))
        .filter_map(|policy| new.image_repositories.get(&policy.repository))
        .filter(|repository| !repository.suspend)
        .map(|repository| repository.object_ref());
    let automations = new
        .automations
        .values()
        .filter(|automation| !automation.suspend && !same_automation(old, new, automation))
        .map(|automation| automation.object_ref());
    repositories.chain(policies).chain(automations).collect()
}

fn same_repository(old: &Spec, new: &Spec, repository: &Arc<ImageRepository>) -> bool {
    let before = old.image_repositories.get(&repository.meta.key);
    let secrets = [&repository.secret, &repository.proxy_secret, &repository.cert_secret];
    same(before, Some(repository), |repository| &mut repository.meta)
        && same_secrets(old, new, &repository.meta.key.namespace, secrets)
}

/// The labels of a policy's namespace decide whether `accessFrom` lets it use a repository.
fn same_policy(old: &Spec, new: &Spec, policy: &Arc<ImagePolicy>) -> bool {
    let before = old.image_policies.get(&policy.meta.key);
    let namespace = &policy.meta.key.namespace;
    same(before, Some(policy), |policy| &mut policy.meta)
        && old.namespaces.get(namespace) == new.namespaces.get(namespace)
}

/// The Guards that concern what a policy chooses, and the Secrets that hold their keys and trust roots.
fn same_guards(old: &Spec, new: &Spec, policy: &ImagePolicy) -> bool {
    let guards = |spec: &Spec| {
        let image =
            spec.image_repositories.get(&policy.repository).map(|repository| repository.image.clone());
        let stated =
            image.iter().flat_map(|image| spec.guards_of(image, &policy.meta.key.namespace)).map(|guard| {
                let secrets =
                    guard.secrets().map(|key| spec.secrets.get(key).map(|secret| secret.values.clone()));
                (guard.meta.key.clone(), guard.rules.clone(), secrets.collect::<Vec<_>>())
            });
        stated.collect::<Vec<_>>()
    };
    guards(old) == guards(new)
}

fn same_automation(old: &Spec, new: &Spec, automation: &Arc<ImageUpdateAutomation>) -> bool {
    let before = old.automations.get(&automation.meta.key);
    same(before, Some(automation), |automation| &mut automation.meta) && same_source(old, new, automation)
}

fn same_source(old: &Spec, new: &Spec, automation: &ImageUpdateAutomation) -> bool {
    let before = old.git_repositories.get(&automation.source);
    let after = new.git_repositories.get(&automation.source);
    same(before, after, |source: &mut GitRepository| &mut source.meta)
        && after.is_none_or(|source| {
            let secrets = [&source.secret, &source.proxy_secret];
            same_secrets(old, new, &source.meta.key.namespace, secrets)
        })
}

fn same_secrets<const N: usize>(
    old: &Spec,
    new: &Spec,
    namespace: &str,
    names: [&Option<String>; N],
) -> bool {
    names.into_iter().flatten().all(|name| {
        let values = |spec: &Spec| spec.secret(namespace, name).map(|secret| secret.values.clone());
        values(old) == values(new)
    })
}

/// Equal but for the place in the file.
fn same<R: Resource + Clone + PartialEq>(
    old: Option<&Arc<R>>,
    new: Option<&Arc<R>>,
    meta: fn(&mut R) -> &mut Meta,
) -> bool {
    match (old, new) {
        (None, None) => true,
        (Some(old), Some(new)) => {
            Arc::ptr_eq(old, new) || {
                let mut old = R::clone(old);
                meta(&mut old).origin = new.meta().origin.clone();
                old == **new
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
