//! Resources for the tests of this crate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use windlass_model::resource::{
    DigestReflection, GitRepository, ImagePolicy, ImageRepository, ImageUpdateAutomation, Meta, Order,
    Origin, PolicyRule, Receiver, ReceiverResource, ReceiverSelect, Secret, SecretValue, SenderType,
};
use windlass_model::{Clock, ImageName, Kind, ObjectKey, ObjectRef, Spec};

pub(crate) const TOKEN: &str = "a-long-random-token";

/// A clock that stands still.
pub(crate) struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }
}

pub(crate) fn meta(name: &str) -> Meta {
    Meta {
        key: key(name),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        origin: Origin { file: "all.yaml".into(), line: 1 },
        unsupported: Vec::new(),
    }
}

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::new("apps", name)
}

pub(crate) fn repository_ref(name: &str) -> ObjectRef {
    ObjectRef::new(Kind::ImageRepository, key(name))
}

pub(crate) fn automation_ref(name: &str) -> ObjectRef {
    ObjectRef::new(Kind::ImageUpdateAutomation, key(name))
}

pub(crate) fn repository(name: &str, image: &str) -> ImageRepository {
    ImageRepository {
        meta: meta(name),
        image: ImageName::parse(image).unwrap(),
        spec_image: image.to_owned(),
        interval: Duration::from_mins(5),
        timeout: Duration::from_mins(5),
        secret: None,
        proxy_secret: None,
        cert_secret: None,
        suspend: false,
        access_from: None,
        exclusion_list: Vec::new(),
        insecure: false,
        registry_hosts: Vec::new(),
        auth_hosts: Vec::new(),
    }
}

pub(crate) fn policy(name: &str, repository: &str, digest: DigestReflection) -> ImagePolicy {
    ImagePolicy {
        meta: meta(name),
        repository: key(repository),
        rule: PolicyRule::Alphabetical(Order::Asc),
        filter: None,
        order: None,
        variant_lock: false,
        digest,
        suspend: false,
    }
}

pub(crate) fn automation(name: &str, source: &str) -> ImageUpdateAutomation {
    ImageUpdateAutomation {
        meta: meta(name),
        source: key(source),
        checkout: None,
        push_branch: None,
        push_refspec: None,
        push_options: Vec::new(),
        author_name: None,
        author_email: "bot@example.com".to_owned(),
        signing_key: None,
        message_template: None,
        message_values: BTreeMap::new(),
        interval: Duration::from_mins(30),
        policy_selector: None,
        edits: Vec::new(),
        templates: Vec::new(),
        update_path: String::new(),
        suspend: false,
    }
}

pub(crate) fn git_repository(name: &str) -> GitRepository {
    GitRepository {
        meta: meta(name),
        url: "https://git.example/fleet.git".to_owned(),
        provider: windlass_model::resource::GitProvider::default(),
        reference: None,
        secret: Some("git".to_owned()),
        proxy_secret: None,
        timeout: Duration::from_mins(1),
        suspend: false,
        access_from: Vec::new(),
        implementation: windlass_model::resource::GitImplementation::default(),
    }
}

pub(crate) fn secret(name: &str, values: &[(&str, &str)]) -> Secret {
    let values = values.iter().map(|(key, value)| ((*key).to_owned(), SecretValue::new((*value).into())));
    Secret { meta: meta(name), values: values.collect() }
}

/// A Receiver of these ImageRepositories, with the Secret `token`.
pub(crate) fn receiver(name: &str, sender: SenderType, repositories: &[&str]) -> Receiver {
    let resource = |name: &&str| ReceiverResource {
        namespace: "apps".to_owned(),
        select: ReceiverSelect::Name((*name).to_owned()),
    };
    Receiver {
        meta: meta(name),
        sender,
        secret: "token".to_owned(),
        resources: repositories.iter().map(resource).collect(),
        suspend: false,
    }
}

/// A configuration with the Secret `token`.
pub(crate) fn spec(repositories: Vec<ImageRepository>, receivers: Vec<Receiver>) -> Spec {
    let mut spec = Spec::default();
    for repository in repositories {
        spec.image_repositories.insert(repository.meta.key.clone(), Arc::new(repository));
    }
    for receiver in receivers {
        spec.receivers.insert(receiver.meta.key.clone(), Arc::new(receiver));
    }
    spec.secrets.insert(key("token"), Arc::new(secret("token", &[("token", TOKEN)])));
    spec
}
