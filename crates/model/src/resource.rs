//! The resources that Windlass acts on, after validation. Defaults are Flux's (image-reflector-controller 1.2,
//! image-automation-controller 1.2, notification-controller 1.9, source-controller 1.9).
//!
//! A value of these types is valid in itself: durations are positive, names parse. Whether the objects that it refers
//! to exist is decided where it is used, and makes it not ready.

mod guarded;
mod notifier;
mod origin;
mod receiver;
mod secret;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::checkout::Checkout;
use crate::git::{PushRefspec, SigningKey};
use crate::guard::Guard;
use crate::image::ImageName;
use crate::name::{Kind, ObjectKey, ObjectRef};
use crate::place::Part;
use crate::share::Division;
pub use notifier::{NoticeKind, Notifier, NotifierTarget};
pub use origin::Origin;
pub use receiver::{Receiver, ReceiverResource, ReceiverSelect, SenderType};
pub use secret::{Secret, SecretValue};

/// The label by which a Namespace lets another one's Notifiers hear of its automations.
pub const NOTIFIERS_FROM: &str = "windlass.dev/notifiers-from";

/// Everything that is configured, at one instant. Cheap to clone; a reload makes a new one.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    /// By namespace and name.
    pub image_repositories: BTreeMap<ObjectKey, Arc<ImageRepository>>,
    /// By namespace and name.
    pub image_policies: BTreeMap<ObjectKey, Arc<ImagePolicy>>,
    /// By namespace and name.
    pub automations: BTreeMap<ObjectKey, Arc<ImageUpdateAutomation>>,
    /// By namespace and name.
    pub git_repositories: BTreeMap<ObjectKey, Arc<GitRepository>>,
    /// By namespace and name.
    pub receivers: BTreeMap<ObjectKey, Arc<Receiver>>,
    /// By namespace and name.
    pub notifiers: BTreeMap<ObjectKey, Arc<Notifier>>,
    /// By name, which is both parts of the key. Those that could not be loaded are here too.
    pub guards: BTreeMap<ObjectKey, Arc<Guard>>,
    /// By namespace and name.
    pub secrets: BTreeMap<ObjectKey, Arc<Secret>>,
    /// Labels of the namespaces that are stated, by namespace. A namespace that is not stated has no labels but
    /// `kubernetes.io/metadata.name`.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Whether an image that no Guard concerns is refused (`--require-guard`).
    pub require_guard: bool,
    /// Which part of an installation's work this is: all of it, but for one of several processes.
    pub division: Division,
}

impl Spec {
    /// The labels of a namespace, with `kubernetes.io/metadata.name`, which Kubernetes always sets.
    pub fn namespace_labels(&self, namespace: &str) -> BTreeMap<String, String> {
        let mut labels = self.namespaces.get(namespace).cloned().unwrap_or_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), namespace.to_owned());
        labels
    }

    /// Whether a namespace lets Notifiers of another one hear of its automations: by the label
    /// [`NOTIFIERS_FROM`] on the Namespace, which names the other namespace, or `all`.
    pub fn admits_notifiers(&self, namespace: &str, from: &str) -> bool {
        let admitted = || self.namespaces.get(namespace)?.get(NOTIFIERS_FROM);
        namespace == from || admitted().is_some_and(|admitted| admitted == from || admitted == "all")
    }

    /// A Secret by namespace and name.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<&Arc<Secret>> {
        self.secrets.get(&ObjectKey::new(namespace, name))
    }
}

/// What every resource has: its name, its labels, and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Namespace and name.
    pub key: ObjectKey,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`
    pub annotations: BTreeMap<String, String>,
    /// Where the document starts.
    pub origin: Origin,
    /// Valid fields that this version does not act on: each makes the resource not ready.
    pub unsupported: Vec<Unsupported>,
}

impl Meta {
    /// Why the resource cannot be acted on by this version, if it cannot.
    pub fn not_supported(&self) -> Option<String> {
        let fields: Vec<String> = self.unsupported.iter().map(ToString::to_string).collect();
        (!fields.is_empty()).then(|| fields.join("; "))
    }
}

/// A field of Flux's schema that this version does not act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// The field's path: `spec.provider`.
    pub field: String,
    /// Why, and what to do instead.
    pub why: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// `image.toolkit.fluxcd.io` ImageRepository: a repository to scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRepository {
    /// Name, labels, origin.
    pub meta: Meta,
    /// `spec.image`, parsed.
    pub image: ImageName,
    /// `spec.image` verbatim: what is written into manifests.
    pub spec_image: String,
    /// `spec.interval`
    pub interval: Duration,
    /// `spec.timeout`, by default the interval, at least one second; spans authentication and scan.
    pub timeout: Duration,
    /// `spec.secretRef.name`: a `kubernetes.io/dockerconfigjson` Secret.
    pub secret: Option<String>,
    /// `spec.proxySecretRef.name`: `address`, `username`, `password`.
    pub proxy_secret: Option<String>,
    /// `spec.certSecretRef.name`: `tls.crt`, `tls.key`, `ca.crt`.
    pub cert_secret: Option<String>,
    /// `spec.suspend`
    pub suspend: bool,
    /// `spec.accessFrom.namespaceSelectors[].matchLabels`: selectors are alternatives, the labels of one all apply.
    /// Absent means the repository's own namespace alone.
    pub access_from: Option<Vec<BTreeMap<String, String>>>,
    /// `spec.exclusionList`: unanchored regular expressions; by default `^.*\.sig$`.
    pub exclusion_list: Vec<String>,
    /// `spec.insecure`: plain HTTP is allowed.
    pub insecure: bool,
    /// Annotation `windlass.dev/registry-hosts`: other hosts under which senders name this registry
    /// (comma-separated `host[:port]`, canonical spelling).
    pub registry_hosts: Vec<String>,
    /// Annotation `windlass.dev/registry-auth-hosts`: token servers (comma-separated `host[:port]`) that may see the
    /// credentials although they are not on the registry's own host.
    pub auth_hosts: Vec<String>,
}

/// `image.toolkit.fluxcd.io` ImagePolicy: how to choose among a repository's tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePolicy {
    /// Name, labels, origin.
    pub meta: Meta,
    /// `spec.imageRepositoryRef`; the namespace defaults to the policy's own.
    pub repository: ObjectKey,
    /// `spec.policy`
    pub rule: PolicyRule,
    /// `spec.filterTags`
    pub filter: Option<TagFilter>,
    /// Annotation `windlass.dev/order`: an order that goes before the rule's own.
    pub order: Option<LeadingOrder>,
    /// Annotation `windlass.dev/variant-lock`: a place in Git takes only tags of the variant that it has (`-alpine`).
    pub variant_lock: bool,
    /// `spec.digestReflectionPolicy` with `spec.interval`
    pub digest: DigestReflection,
    /// `spec.suspend`
    pub suspend: bool,
}

/// `spec.policy`: exactly one order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PolicyRule {
    /// `semver.range`: a Masterminds constraint.
    SemVer {
        /// The constraint as written.
        range: String,
    },
    /// `alphabetical.order`: bytewise.
    Alphabetical(Order),
    /// `numerical.order`: exact decimal.
    Numerical(Order),
}

/// `order`: `asc` chooses the largest, `desc` the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// The default.
    #[default]
    Asc,
    /// Chooses the smallest.
    Desc,
}

/// Annotation `windlass.dev/order`: what is compared before `spec.policy`, which still says what is a candidate and
/// decides where the leading order finds two tags equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LeadingOrder {
    /// `newest-pushed`: the tag that was first seen last.
    NewestPushed,
    /// `calver:FORMAT`: the latest calendar version.
    CalVer {
        /// The format as written: `YYYY.0M.DD[-MICRO]`.
        format: String,
    },
}

impl FromStr for LeadingOrder {
    type Err = UnknownOrder;

    /// Whether a calendar format means something is not decided here: `windlass-policy` owns its grammar.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "newest-pushed" => Ok(Self::NewestPushed),
            Some(("calver", format)) => Ok(Self::CalVer { format: format.to_owned() }),
            _ => Err(UnknownOrder),
        }
    }
}

/// A text that names no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not an order: write `newest-pushed`, or `calver:` with a format, for example `calver:YYYY.0M.0D[-MICRO]`"
)]
pub struct UnknownOrder;

/// `spec.filterTags`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TagFilter {
    /// Go RE2 syntax, unanchored; empty matches all.
    pub pattern: String,
    /// A replacement template; empty means the tag itself.
    pub extract: String,
}

/// `spec.digestReflectionPolicy`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestReflection {
    /// The default: no digest.
    Never,
    /// Resolved when the chosen tag changes, then kept.
    IfNotPresent,
    /// Resolved on every reconcile and at this interval.
    Always(Duration),
}

/// `image.toolkit.fluxcd.io` ImageUpdateAutomation: where to write what the policies choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUpdateAutomation {
    /// Name, labels, origin.
    pub meta: Meta,
    /// `spec.sourceRef`: a GitRepository; the namespace defaults to the automation's own.
    pub source: ObjectKey,
    /// `spec.git.checkout.ref`; absent means the GitRepository's. See [`Self::checkout_of`].
    pub checkout: Option<Checkout>,
    /// `spec.git.push.branch`; absent means the branch that is checked out.
    pub push_branch: Option<String>,
    /// `spec.git.push.refspec`: pushed in addition to the branch.
    pub push_refspec: Option<PushRefspec>,
    /// `spec.git.push.options`, as Git passes them on: `key=value`, or `key` alone where the value is empty.
    pub push_options: Vec<String>,
    /// `spec.git.commit.author.name`
    pub author_name: Option<String>,
    /// `spec.git.commit.author.email`
    pub author_email: String,
    /// `spec.git.commit.signingKey`
    pub signing_key: Option<SigningKey>,
    /// `spec.git.commit.messageTemplate`; absent means [`DEFAULT_COMMIT_MESSAGE`].
    pub message_template: Option<String>,
    /// `spec.git.commit.messageTemplateValues`
    pub message_values: BTreeMap<String, String>,
    /// `spec.interval`
    pub interval: Duration,
    /// `spec.policySelector`; absent means every policy of the namespace.
    pub policy_selector: Option<LabelSelector>,
    /// `spec.update.path`, relative to the repository's root, without leading or trailing slash; empty is the root.
    pub update_path: String,
    /// Annotation `windlass.dev/edits`: places without a marker.
    pub edits: Vec<DeclaredEdit>,
    /// Annotation `windlass.dev/templates`: patterns of the paths of Helm templates, from the repository's root.
    pub templates: Vec<String>,
    /// `spec.suspend`
    pub suspend: bool,
}

/// A place without a marker that an automation writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredEdit {
    /// The file, relative to the repository's root, at or below [`ImageUpdateAutomation::update_path`].
    pub path: String,
    /// Whose choice is written: a policy of the automation's namespace.
    pub policy: ObjectKey,
    /// What is looked for in the file.
    pub kind: EditKind,
}

/// What is looked for in a file, as by `windlass edit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditKind {
    /// An entry of a kustomization's `images`.
    Kustomize {
        /// The entry's name; absent for the image's own.
        name: Option<String>,
    },
    /// The image of Helm values.
    Helm {
        /// The way to it.
        key: String,
    },
    /// One scalar.
    YamlPath {
        /// The way to it.
        key: String,
        /// Which part of the image it holds.
        part: Part,
        /// Which document of the file is meant.
        document: Option<String>,
    },
}

impl ImageUpdateAutomation {
    /// What is checked out: the automation's own ref, else the GitRepository's, else the branch `master`.
    pub fn checkout_of(&self, source: &GitRepository) -> Checkout {
        self.checkout.as_ref().or(source.reference.as_ref()).cloned().unwrap_or_default()
    }

    /// The branch that is pushed to. `None` where none is named and what is checked out is no branch.
    pub fn push_branch_of(&self, source: &GitRepository) -> Option<String> {
        self.push_branch.clone().or_else(|| self.checkout_of(source).branch().map(str::to_owned))
    }
}

/// The message of a commit whose automation has no template (image-automation-controller 1.2).
pub const DEFAULT_COMMIT_MESSAGE: &str = "Update from image update automation";

/// A Kubernetes label selector.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    /// Labels that must be equal.
    pub match_labels: BTreeMap<String, String>,
    /// Requirements that must all hold.
    pub match_expressions: Vec<LabelRequirement>,
}

/// One entry of `matchExpressions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelRequirement {
    /// The label exists and has one of these values.
    In(String, Vec<String>),
    /// The label is absent or has none of these values.
    NotIn(String, Vec<String>),
    /// The label exists.
    Exists(String),
    /// The label is absent.
    DoesNotExist(String),
}

impl LabelSelector {
    /// Whether these labels satisfy every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        contains_all(labels, &self.match_labels)
            && self.match_expressions.iter().all(|requirement| match requirement {
                LabelRequirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
                LabelRequirement::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
                LabelRequirement::Exists(key) => labels.contains_key(key),
                LabelRequirement::DoesNotExist(key) => !labels.contains_key(key),
            })
    }
}

/// Whether `labels` has every pair of `wanted`; an empty `wanted` matches everything.
pub fn contains_all(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// `source.toolkit.fluxcd.io` GitRepository: a repository to write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitRepository {
    /// Name, labels, origin.
    pub meta: Meta,
    /// `spec.url`: `http://`, `https://` or `ssh://`, without credentials, or Git's short form `user@host:path`.
    pub url: String,
    /// `spec.ref`
    pub reference: Option<Checkout>,
    /// `spec.provider`: what the Secret holds.
    pub provider: GitProvider,
    /// `spec.secretRef.name`: `username` and `password`, or `bearerToken`, or what a GitHub App needs; `ca.crt` (legacy
    /// `caFile`). For SSH: `identity` with its passphrase in `password`, and `known_hosts`.
    pub secret: Option<String>,
    /// `spec.proxySecretRef.name`: `address`, `username`, `password`.
    pub proxy_secret: Option<String>,
    /// `spec.timeout`, 60 s by default: one Git operation.
    pub timeout: Duration,
    /// `spec.suspend`: no operation is made.
    pub suspend: bool,
    /// Annotation `windlass.dev/access-from`: the other namespaces whose automations may write here, with this
    /// repository's credentials; `*` is every namespace. Flux has no such limit; a tenant must not get another's
    /// write access by naming its GitRepository.
    pub access_from: Vec<String>,
    /// Annotation `windlass.dev/git-implementation`: what speaks with the server.
    pub implementation: GitImplementation,
}

/// What speaks Git's protocol with a GitRepository's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GitImplementation {
    /// `built-in`: Windlass' own code.
    #[default]
    BuiltIn,
    /// `program`: the `git` program, for servers that the built-in code cannot talk to.
    Program,
}

/// `spec.provider` of a GitRepository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GitProvider {
    /// The credentials are in the Secret as they are.
    #[default]
    Generic,
    /// The Secret holds a GitHub App's id, installation and key, which give short-lived tokens.
    GitHub,
}

impl GitRepository {
    /// Whether it is reached over SSH.
    pub fn is_ssh(&self) -> bool {
        self.url.starts_with("ssh://") || !self.url.contains("://")
    }

    /// Whether automations of a namespace may write to it.
    pub fn admits(&self, namespace: &str) -> bool {
        self.meta.key.namespace == namespace
            || self.access_from.iter().any(|admitted| admitted == "*" || admitted == namespace)
    }
}

/// Gives each resource type its kind, so that lists and statuses need no table.
pub trait Resource {
    /// The kind.
    const KIND: Kind;
    /// Name, labels, origin.
    fn meta(&self) -> &Meta;
    /// Kind, namespace and name.
    fn object_ref(&self) -> ObjectRef {
        ObjectRef::new(Self::KIND, self.meta().key.clone())
    }
}

macro_rules! resource {
    ($($kind:ident),*) => {$(
        impl Resource for $kind {
            const KIND: Kind = Kind::$kind;
            fn meta(&self) -> &Meta {
                &self.meta
            }
        }
    )*};
}
resource!(ImageRepository, ImagePolicy, ImageUpdateAutomation, GitRepository, Receiver, Notifier, Secret);
