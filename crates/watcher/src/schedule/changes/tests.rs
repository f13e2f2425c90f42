use windlass_model::resource::DigestReflection;

use super::*;
use crate::fixture::{
    automation, automation_ref, git_repository, key, policy, repository, repository_ref, secret, spec,
};

/// A repository with a Secret and a policy, and an automation with a GitRepository and its Secret.
fn fleet() -> Spec {
    let mut app = repository("app", "ghcr.io/org/app");
    app.secret = Some("pull".to_owned());
    let mut spec = spec(vec![app, repository("other", "ghcr.io/org/other")], vec![]);
    spec.image_policies.insert(key("app"), Arc::new(policy("app", "app", DigestReflection::Never)));
    spec.automations.insert(key("fleet"), Arc::new(automation("fleet", "fleet")));
    spec.git_repositories.insert(key("fleet"), Arc::new(git_repository("fleet")));
    spec.secrets.insert(key("pull"), Arc::new(secret("pull", &[(".dockerconfigjson", "{}")])));
    spec.secrets.insert(key("git"), Arc::new(secret("git", &[("username", "bot")])));
    spec
}

type Edit = fn(&mut Spec);

fn app(spec: &mut Spec) -> &mut ImageRepository {
    Arc::make_mut(spec.image_repositories.get_mut(&key("app")).unwrap())
}

fn source(spec: &mut Spec) -> &mut GitRepository {
    Arc::make_mut(spec.git_repositories.get_mut(&key("fleet")).unwrap())
}

fn app_policy(spec: &mut Spec) -> &mut ImagePolicy {
    Arc::make_mut(spec.image_policies.get_mut(&key("app")).unwrap())
}

fn fleet_automation(spec: &mut Spec) -> &mut ImageUpdateAutomation {
    Arc::make_mut(spec.automations.get_mut(&key("fleet")).unwrap())
}

#[test]
fn at_start_everything_is_new() {
    let all = changed(&Spec::default(), &fleet());
    let expected = [repository_ref("app"), repository_ref("other"), automation_ref("fleet")];
    assert_eq!(all, BTreeSet::from(expected));
}

#[test]
fn a_reload_finds_what_differs_and_what_depends_on_it() {
    let (app_ref, fleet_ref) = (repository_ref("app"), automation_ref("fleet"));
    let cases: [(&str, Edit, Vec<&ObjectRef>); 16] = [
        ("nothing", |_| {}, vec![]),
        ("a line moved", |spec| app(spec).meta.origin.line = 99, vec![]),
        ("interval", |spec| app(spec).interval *= 2, vec![&app_ref]),
        ("suspended", |spec| app(spec).suspend = true, vec![]),
        ("removed", |spec| drop(spec.image_repositories.remove(&key("app"))), vec![]),
        (
            "pull secret",
            |spec| drop(spec.secrets.insert(key("pull"), Arc::new(secret("pull", &[("a", "b")])))),
            vec![&app_ref],
        ),
        ("pull secret removed", |spec| drop(spec.secrets.remove(&key("pull"))), vec![&app_ref]),
        ("policy", |spec| app_policy(spec).digest = DigestReflection::IfNotPresent, vec![&app_ref]),
        ("policy suspended", |spec| app_policy(spec).suspend = true, vec![]),
        ("policy astray", |spec| app_policy(spec).repository = key("missing"), vec![]),
        (
            "namespace labels",
            |spec| drop(spec.namespaces.insert("apps".into(), [("a".into(), "b".into())].into())),
            vec![&app_ref],
        ),
        ("automation", |spec| fleet_automation(spec).update_path = "deploy".into(), vec![&fleet_ref]),
        ("source", |spec| source(spec).url = "https://git.example/new.git".into(), vec![&fleet_ref]),
        ("source removed", |spec| drop(spec.git_repositories.remove(&key("fleet"))), vec![&fleet_ref]),
        (
            "git secret",
            |spec| drop(spec.secrets.insert(key("git"), Arc::new(secret("git", &[("username", "other")])))),
            vec![&fleet_ref],
        ),
        (
            "an unrelated secret",
            |spec| drop(spec.secrets.insert(key("x"), Arc::new(secret("x", &[])))),
            vec![],
        ),
    ];
    for (name, edit, expected) in cases {
        let old = fleet();
        let mut new = old.clone();
        edit(&mut new);
        let expected: BTreeSet<ObjectRef> = expected.into_iter().cloned().collect();
        assert_eq!(changed(&old, &new), expected, "{name}");
    }
}

#[test]
fn resuming_is_a_change() {
    let new = fleet();
    let mut old = new.clone();
    app(&mut old).suspend = true;
    assert_eq!(changed(&old, &new), BTreeSet::from([repository_ref("app")]));
}
