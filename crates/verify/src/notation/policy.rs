//! Trust policy documents, version 1.0 (Notary Project, "Trust Store and Trust Policy Specification"): which policy is
//! for a repository, and what it enforces. Read strictly: an unknown field is an error, and so is whatever this version
//! cannot do.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use windlass_model::image::{ImageName, canonical_registry};

use super::NotationError;
use super::subject::Identities;
use crate::bounds;

/// A document whose rules were all checked.
#[derive(Debug, Clone)]
pub(super) struct Document {
    policies: Vec<Policy>,
}

/// One policy.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) name: String,
    scopes: Scopes,
    /// Nothing for `skip`.
    pub(super) rules: Option<Rules>,
}

#[derive(Debug, Clone)]
enum Scopes {
    Global,
    Repositories(Vec<String>),
}

/// What a policy asks for.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) actions: Actions,
    /// `ca:` and `signingAuthority:`, as written.
    pub(super) stores: Vec<String>,
    pub(super) identities: Identities,
}

/// What happens where a validation fails. Integrity is always enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Actions {
    pub(super) authenticity: Action,
    pub(super) timestamp: Action,
    pub(super) expiry: Action,
    pub(super) revocation: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    Enforce,
    Log,
    Skip,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    version: String,
    trust_policies: Vec<WrittenPolicy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WrittenPolicy {
    name: String,
    registry_scopes: Vec<String>,
    signature_verification: WrittenVerification,
    #[serde(default)]
    trust_stores: Vec<String>,
    #[serde(default)]
    trusted_identities: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WrittenVerification {
    level: Level,
    #[serde(default, rename = "override")]
    overrides: BTreeMap<Validation, Action>,
    verify_timestamp: Option<VerifyTimestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Strict,
    Permissive,
    Audit,
    Skip,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Validation {
    Authenticity,
    AuthenticTimestamp,
    Expiry,
    Revocation,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum VerifyTimestamp {
    Always,
    AfterCertExpiry,
}

impl Document {
    pub(super) fn read(json: &[u8]) -> Result<Self, NotationError> {
        if json.len() > bounds::TRUST_POLICY_BYTES {
            return Err(NotationError::TooLarge);
        }
        // A list of the fields' values would be read as well.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(NotationError::Malformed("it is not an object".to_owned()));
        }
        let written: Written =
            serde_json::from_slice(json).map_err(|error| NotationError::Malformed(error.to_string()))?;
        if written.version != "1.0" {
            return Err(NotationError::Version(written.version));
        }
        let policies: Vec<Policy> =
            written.trust_policies.into_iter().map(Policy::check).collect::<Result<_, _>>()?;
        let document = Self { policies };
        document.check_names_and_scopes()?;
        Ok(document)
    }

    fn check_names_and_scopes(&self) -> Result<(), NotationError> {
        if self.policies.is_empty() {
            return Err(NotationError::Malformed("it has no trust policy".to_owned()));
        }
        let mut names = BTreeSet::new();
        let mut scopes = BTreeSet::new();
        for policy in &self.policies {
            if !names.insert(&policy.name) {
                return Err(policy.wrong("its name is taken by another policy".to_owned()));
            }
            let own: Vec<&str> = match &policy.scopes {
                Scopes::Global => vec!["*"],
                Scopes::Repositories(repositories) => repositories.iter().map(String::as_str).collect(),
            };
            if let Some(scope) = own.into_iter().find(|scope| !scopes.insert(*scope)) {
                return Err(policy.wrong(format!("the scope `{scope}` is taken")));
            }
        }
        Ok(())
    }

    /// The one policy for a repository, as [`ImageName`] prints it: an exact scope before the global one.
    pub(super) fn policy_for(&self, repository: &str) -> Option<&Policy> {
        let exact = |policy: &&Policy| match &policy.scopes {
            Scopes::Global => false,
            Scopes::Repositories(repositories) => repositories.iter().any(|scope| scope == repository),
        };
        let global = || self.policies.iter().find(|policy| matches!(policy.scopes, Scopes::Global));
        self.policies.iter().find(exact).or_else(global)
    }

    /// Every store that a policy names.
    pub(super) fn stores(&self) -> BTreeSet<&str> {
        let rules = self.policies.iter().filter_map(|policy| policy.rules.as_ref());
        rules.flat_map(|rules| rules.stores.iter().map(String::as_str)).collect()
    }
}

impl Policy {
    fn check(written: WrittenPolicy) -> Result<Self, NotationError> {
        let WrittenPolicy { name, registry_scopes, signature_verification, trust_stores, trusted_identities } =
            written;
        let wrong = |why: &str| NotationError::Policy { name: name.clone(), why: why.to_owned() };
        if name.is_empty() {
            return Err(wrong("its name is empty"));
        }
        let scopes = Scopes::read(&registry_scopes).map_err(|why| wrong(&why))?;
        if signature_verification.level == Level::Skip {
            if matches!(scopes, Scopes::Global) {
                return Err(wrong("`skip` cannot be for every repository"));
            }
            let plain = signature_verification.overrides.is_empty()
                && signature_verification.verify_timestamp.is_none()
                && trust_stores.is_empty()
                && trusted_identities.is_empty();
            if !plain {
                return Err(wrong("`skip` has no `override`, no `trustStores` and no `trustedIdentities`"));
            }
            return Ok(Self { name, scopes, rules: None });
        }
        let actions = signature_verification.actions().map_err(wrong)?;
        let stores =
            stores(trust_stores, signature_verification.verify_timestamp).map_err(|why| wrong(&why))?;
        let identities = Identities::read(&trusted_identities)?;
        Ok(Self { name, scopes, rules: Some(Rules { actions, stores, identities }) })
    }

    fn wrong(&self, why: String) -> NotationError {
        NotationError::Policy { name: self.name.clone(), why }
    }
}

impl Scopes {
    fn read(texts: &[String]) -> Result<Self, String> {
        if texts == ["*"] {
            return Ok(Self::Global);
        }
        if texts.is_empty() {
            return Err("`registryScopes` is empty".to_owned());
        }
        let named = |text: &String| {
            // Fully qualified: nothing of the name is supplied here. Docker Hub's names are one.
            let (registry, repository) = text.split_once('/').unwrap_or_default();
            let name = ImageName::parse(text).ok();
            let whole = |name: &ImageName| {
                name.registry() == canonical_registry(registry) && name.repository() == repository
            };
            name.filter(whole).map(|name| name.to_string()).ok_or_else(|| {
                format!(
                    "the scope `{text}` is not a repository with its registry, as in `docker.io/library/nginx`"
                )
            })
        };
        texts.iter().map(named).collect::<Result<_, _>>().map(Self::Repositories)
    }
}

impl WrittenVerification {
    /// The level's actions ("Signature Verification details"), with what is overridden.
    fn actions(&self) -> Result<Actions, &'static str> {
        use Action::{Enforce, Log, Skip};
        let (authenticity, rest) = match self.level {
            Level::Strict => (Enforce, Enforce),
            Level::Permissive => (Enforce, Log),
            Level::Audit | Level::Skip => (Log, Log),
        };
        let mut actions = Actions { authenticity, timestamp: rest, expiry: rest, revocation: rest };
        for (validation, action) in &self.overrides {
            if *action == Skip && *validation != Validation::Revocation {
                return Err("only `revocation` can be overridden with `skip`");
            }
            *match validation {
                Validation::Authenticity => &mut actions.authenticity,
                Validation::AuthenticTimestamp => &mut actions.timestamp,
                Validation::Expiry => &mut actions.expiry,
                Validation::Revocation => &mut actions.revocation,
            } = *action;
        }
        Ok(actions)
    }
}

/// The stores of signers. Those of timestamp authorities are named only: countersignatures are not verified here, so a
/// policy that cannot do without them is refused.
fn stores(texts: Vec<String>, verify: Option<VerifyTimestamp>) -> Result<Vec<String>, String> {
    let mut signers = Vec::new();
    let mut timestamps = verify == Some(VerifyTimestamp::Always);
    for text in texts {
        match text.split_once(':') {
            Some((_, "")) | None => return Err(format!("the store `{text}` has no type or no name")),
            Some(("ca" | "signingAuthority", _)) if !signers.contains(&text) => signers.push(text),
            Some(("ca" | "signingAuthority", _)) => return Err(format!("the store `{text}` is named twice")),
            Some(("tsa", _)) => timestamps |= verify.is_none(),
            Some(_) => {
                return Err(format!("the store `{text}` is neither of `ca`, `signingAuthority` nor `tsa`"));
            }
        }
    }
    if timestamps {
        return Err("countersignatures of timestamp authorities are not verified by this version, and \
                    `verifyTimestamp` asks for them (`always`, which is the default with a `tsa` store): write \
                    `afterCertExpiry`, and expired certificates are refused"
            .to_owned());
    }
    if signers.is_empty() {
        return Err("`trustStores` names no store of `ca` or `signingAuthority`".to_owned());
    }
    Ok(signers)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policy(scopes: &Value, verification: &Value) -> Value {
        json!({
            "name": "a", "registryScopes": scopes, "signatureVerification": verification, "trustStores": ["ca:acme"],
            "trustedIdentities": ["*"]
        })
    }

    fn read(policies: &[Value]) -> Result<Document, NotationError> {
        Document::read(json!({"version": "1.0", "trustPolicies": policies}).to_string().as_bytes())
    }

    fn actions(verification: &Value) -> Actions {
        read(&[policy(&json!(["*"]), verification)]).unwrap().policies[0].rules.as_ref().unwrap().actions
    }

    #[test]
    fn levels_enforce_what_the_specification_says() {
        use Action::{Enforce, Log, Skip};
        for (verification, wanted) in [
            (json!({"level": "strict"}), [Enforce, Enforce, Enforce, Enforce]),
            (json!({"level": "permissive"}), [Enforce, Log, Log, Log]),
            (json!({"level": "audit"}), [Log, Log, Log, Log]),
            (
                json!({"level": "strict", "override": {"revocation": "skip", "expiry": "log"}}),
                [Enforce, Enforce, Log, Skip],
            ),
            (
                json!({"level": "audit", "override": {"authenticity": "enforce", "authenticTimestamp": "enforce"}}),
                [Enforce, Enforce, Log, Log],
            ),
        ] {
            let Actions { authenticity, timestamp, expiry, revocation } = actions(&verification);
            assert_eq!([authenticity, timestamp, expiry, revocation], wanted);
        }
    }

    #[test]
    fn an_exact_scope_goes_before_the_global_one() {
        let mut global = policy(&json!(["*"]), &json!({"level": "strict"}));
        let exact = policy(&json!(["ghcr.io/acme/app"]), &json!({"level": "audit"}));
        let name =
            |document: &Document, repository| document.policy_for(repository).map(|found| found.name.clone());
        let only = read(std::slice::from_ref(&exact)).unwrap();
        assert_eq!(name(&only, "ghcr.io/acme/application"), None);
        global["name"] = json!("global");
        let both = read(&[global, exact]).unwrap();
        assert_eq!(name(&both, "ghcr.io/acme/app").as_deref(), Some("a"));
        assert_eq!(name(&both, "ghcr.io/acme/app/more").as_deref(), Some("global"));
    }

    #[test]
    fn wrong_documents_are_refused_and_say_why() {
        let good = || policy(&json!(["*"]), &json!({"level": "strict"}));
        let with = |field: &str, value: Value| {
            let mut policy = good();
            policy[field] = value;
            policy
        };
        let skip = |scopes: Value| json!({"name": "s", "registryScopes": scopes, "signatureVerification": {"level": "skip"}});
        assert!(read(&[good()]).is_ok() && read(&[skip(json!(["ghcr.io/a/b"]))]).is_ok());
        let level = |rest: Value| with("signatureVerification", rest);
        for (policies, part) in [
            (vec![], "no trust policy"),
            (vec![good(), good()], "name is taken"),
            (vec![good(), with("name", json!("b"))], "the scope `*` is taken"),
            (vec![with("name", json!(""))], "name is empty"),
            (vec![with("registryScopes", json!([]))], "`registryScopes` is empty"),
            (vec![with("registryScopes", json!(["*", "ghcr.io/a/b"]))], "the scope `*` is not"),
            (vec![with("registryScopes", json!(["ghcr.io/a/*"]))], "is not a repository"),
            (vec![with("registryScopes", json!(["nginx"]))], "is not a repository with its registry"),
            (vec![with("registryScopes", json!(["ghcr.io/a/b:1"]))], "is not a repository"),
            (vec![with("trustStores", json!([]))], "names no store"),
            (vec![with("trustStores", json!(["acme"]))], "has no type"),
            (vec![with("trustStores", json!(["ca:"]))], "has no type or no name"),
            (vec![with("trustStores", json!(["ca:a", "ca:a"]))], "named twice"),
            (vec![with("trustStores", json!(["pgp:a"]))], "neither"),
            (vec![with("trustStores", json!(["ca:a", "tsa:b"]))], "countersignatures"),
            (vec![level(json!({"level": "strict", "verifyTimestamp": "always"}))], "countersignatures"),
            (vec![with("trustedIdentities", json!([]))], "there is none"),
            (vec![with("trustedIdentitys", json!([]))], "unknown field"),
            (vec![level(json!({"level": "Strict"}))], "unknown variant"),
            (vec![level(json!({}))], "missing field `level`"),
            (vec![level(json!({"level": "strict", "override": {"integrity": "log"}}))], "unknown variant"),
            (vec![level(json!({"level": "strict", "override": {"expiry": "skip"}}))], "only `revocation`"),
            (vec![skip(json!(["*"]))], "cannot be for every repository"),
            (vec![level(json!({"level": "skip"}))], "cannot be for every repository"),
        ] {
            let told = read(&policies).unwrap_err().to_string();
            assert!(told.contains(part), "wanted `{part}`: {told}");
        }
        let mut scoped = with("registryScopes", json!(["ghcr.io/a/b"]));
        scoped["signatureVerification"] = json!({"level": "skip"});
        assert!(read(&[scoped]).unwrap_err().to_string().contains("`skip` has no"));
        for (text, part) in [
            ("{}", "missing field"),
            ("[\"1.0\", []]", "not an object"),
            (r#"{"version":"1.1","trustPolicies":[]}"#, "version `1.1`"),
            (r#"{"version":"1.0","version":"1.0","trustPolicies":[]}"#, "duplicate field"),
            ("", "not an object"),
            ("{", "EOF"),
        ] {
            let told = Document::read(text.as_bytes()).unwrap_err().to_string();
            assert!(told.contains(part), "{text}: {told}");
        }
        let afterwards = json!({"level": "strict", "verifyTimestamp": "afterCertExpiry"});
        let mut policy = level(afterwards);
        policy["trustStores"] = json!(["ca:a", "tsa:b"]);
        assert_eq!(read(&[policy]).unwrap().stores().into_iter().collect::<Vec<_>>(), ["ca:a"]);
    }

    fn scoped(scopes: &[&str]) -> Result<Document, NotationError> {
        let named = |(number, scope): (usize, &&str)| {
            let mut policy = policy(&json!([scope]), &json!({"level": "strict"}));
            policy["name"] = format!("p{number}").into();
            policy
        };
        read(&scopes.iter().enumerate().map(named).collect::<Vec<_>>())
    }

    #[test]
    fn docker_hubs_names_are_one_scope_and_no_name_is_completed() {
        let hub = ImageName::parse("nginx").unwrap().to_string();
        for scope in ["docker.io/library/nginx", "index.docker.io/library/nginx"] {
            assert_eq!(scoped(&[scope]).unwrap().policy_for(&hub).unwrap().name, "p0", "{scope}");
        }
        assert!(scoped(&["docker.io/library/nginx", "docker.io/library/redis"]).is_ok());
        assert!(scoped(&["docker.io/library/nginx", "index.docker.io/library/nginx"]).is_err(), "taken");
        for scope in ["nginx", "library/nginx", "docker.io/nginx", "ghcr.io", "ghcr.io/a:1", "ghcr.io/*"] {
            assert!(scoped(&[scope]).is_err(), "{scope}");
        }
    }
}
