//! ImageUpdateAutomation (image-automation-controller 1.2, `api/v1/{imageupdateautomation_types,git,reference}.go`).

use std::collections::BTreeMap;

use super::branch;
use super::declared;
use super::duration::Units;
use super::fields::Slot;
use super::object::{EDITS, Object, TEMPLATES};
use super::{push, selector};
use crate::checkout::Checkout;
use crate::git::{PushRefspec, SigningKey};
use crate::name::ObjectKey;
use crate::resource::ImageUpdateAutomation;

/// Fields of `spec`.
const SPEC: &[&str] = &["sourceRef", "git", "interval", "policySelector", "update", "suspend"];

pub(super) fn decode(object: &Object<'_>) -> Option<ImageUpdateAutomation> {
    let spec = object.spec(SPEC)?;
    let source = spec.required("sourceRef").and_then(|slot| source(&slot, object));
    let git = spec.required("git").and_then(|slot| git(&slot, object));
    let interval = spec.required("interval").and_then(|slot| slot.duration(Units::WithHours));
    let policy_selector = spec.slot("policySelector").map(|slot| selector::decode(&slot));
    let update_path = spec.slot("update").and_then(|slot| update(&slot)).unwrap_or_default();
    let edits = object.annotation(EDITS).map(|slot| declared::edits(slot, object, &update_path));
    let templates = object.annotation(TEMPLATES).map(|slot| declared::templates(slot, object.semantics));
    let suspend = spec.flag("suspend");
    let git = git?;
    Some(ImageUpdateAutomation {
        meta: object.meta(),
        source: source?,
        checkout: git.checkout,
        push_branch: git.push.branch,
        push_refspec: git.push.refspec,
        push_options: git.push.options,
        author_name: git.commit.author_name,
        author_email: git.commit.author_email,
        signing_key: git.commit.signing_key,
        message_template: git.commit.message_template,
        message_values: git.commit.message_values,
        interval: interval?,
        policy_selector: policy_selector.flatten(),
        update_path,
        edits: edits.unwrap_or_default(),
        templates: templates.unwrap_or_default(),
        suspend,
    })
}

/// Another namespace is allowed where the GitRepository's annotation `windlass.dev/access-from` admits it.
fn source(slot: &Slot<'_>, object: &Object<'_>) -> Option<ObjectKey> {
    let fields = slot.fields(&["apiVersion", "kind", "name", "namespace"])?;
    if let Some(version) = fields.slot("apiVersion")
        && let Some(text) = version.text()
        && !text.starts_with("source.toolkit.fluxcd.io/")
    {
        version.error("must be `source.toolkit.fluxcd.io/v1`");
    }
    if let Some(kind) = fields.slot("kind") {
        kind.choice(&[("GitRepository", ())]);
    }
    let namespace = fields.text("namespace").filter(|namespace| !namespace.is_empty());
    let name = fields.required("name")?;
    name.remember_place();
    Some(ObjectKey::new(namespace.unwrap_or(object.namespace()), name.filled_text()?))
}

/// `spec.git`
struct Git {
    checkout: Option<Checkout>,
    push: Push,
    commit: Commit,
}

/// `spec.git.push`
#[derive(Default)]
struct Push {
    branch: Option<String>,
    refspec: Option<PushRefspec>,
    options: Vec<String>,
}

/// `spec.git.commit`
struct Commit {
    author_name: Option<String>,
    author_email: String,
    signing_key: Option<SigningKey>,
    message_template: Option<String>,
    message_values: BTreeMap<String, String>,
}

fn git(slot: &Slot<'_>, object: &Object<'_>) -> Option<Git> {
    let git = slot.fields(&["checkout", "commit", "push"])?;
    let checkout = git.slot("checkout").and_then(|slot| checkout(&slot, object));
    let push = git.slot("push").map(|slot| push_to(&slot)).unwrap_or_default();
    let commit = git.required("commit").and_then(|slot| commit(&slot, object));
    Some(Git { checkout, push, commit: commit? })
}

fn checkout(slot: &Slot<'_>, object: &Object<'_>) -> Option<Checkout> {
    branch::checkout(&slot.fields(&["ref"])?.required("ref")?, object.semantics)
}

fn push_to(slot: &Slot<'_>) -> Push {
    let Some(fields) = slot.fields(&["branch", "refspec", "options"]) else { return Push::default() };
    Push {
        branch: branch::branch(&fields),
        refspec: fields.slot("refspec").and_then(|slot| push::refspec(&slot)),
        options: fields.slot("options").map(|slot| push::options(&slot)).unwrap_or_default(),
    }
}

fn commit(slot: &Slot<'_>, object: &Object<'_>) -> Option<Commit> {
    let fields = slot.fields(&["author", "signingKey", "messageTemplate", "messageTemplateValues"])?;
    let signing_key = fields.slot("signingKey").and_then(|slot| push::signing_key(&slot));
    let template = fields.slot("messageTemplate").and_then(|slot| {
        let text = slot.text().filter(|text| !text.is_empty())?;
        slot.check(object.semantics.message_template(text)).map(|()| text.to_owned())
    });
    let message_values = fields.text_map("messageTemplateValues");
    let author = fields.required("author")?.fields(&["name", "email"])?;
    let name = author.slot("name").and_then(|slot| identity(&slot)).filter(|name| !name.is_empty());
    let email = author.required("email").and_then(|slot| {
        slot.filled_text()?;
        identity(&slot)
    });
    Some(Commit {
        author_name: name,
        author_email: email?,
        signing_key,
        message_template: template,
        message_values,
    })
}

/// A name or an address in a commit's header, which cannot hold the characters that delimit it.
fn identity(slot: &Slot<'_>) -> Option<String> {
    let text = slot.text()?;
    if text.contains(['<', '>', '\n', '\r', '\0']) {
        slot.error("must not contain `<`, `>` or line breaks");
        return None;
    }
    Some(text.to_owned())
}

fn update(slot: &Slot<'_>) -> Option<String> {
    let fields = slot.fields(&["strategy", "path"])?;
    if let Some(strategy) = fields.slot("strategy") {
        strategy.choice(&[("Setters", ())]);
    }
    let path = fields.slot("path")?;
    let segments: Vec<&str> = path.text()?.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if segments.contains(&"..") {
        path.error("must stay inside the repository: write a path without `..`");
        return None;
    }
    Some(segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{found, only, problems};
    use super::*;
    use crate::git::SigningFormat;
    use crate::resource::{LabelRequirement, LabelSelector};

    const COMMIT: &str = "    commit: {author: {email: bot@example.com}}\n";

    fn with(git: &str, rest: &str) -> String {
        format!(
            "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageUpdateAutomation\nmetadata: {{name: app}}\nspec:\n  \
             sourceRef: {{kind: GitRepository, name: fleet}}\n  interval: 30m\n  git:\n{git}{rest}"
        )
    }

    fn automation(git: &str, rest: &str) -> ImageUpdateAutomation {
        only(&with(git, rest)).automations.values().next().unwrap().as_ref().clone()
    }

    #[test]
    fn the_smallest_automation_has_the_defaults_of_flux() {
        let automation = automation(COMMIT, "");
        assert_eq!(automation.source, ObjectKey::new("default", "fleet"));
        assert_eq!((automation.checkout, automation.push_branch), (None, None));
        assert_eq!((automation.author_name, automation.author_email.as_str()), (None, "bot@example.com"));
        assert_eq!((automation.message_template, automation.policy_selector), (None, None));
        assert_eq!(automation.update_path, "");
    }

    #[test]
    fn every_field_is_read() {
        let git = "    checkout: {ref: {branch: main}}\n    push: {branch: flux/updates, refspec: \
                   'HEAD:refs/for/main', options: {ci.skip: '', merge_request.target: main}}\n    commit:\n      \
                   signingKey: {secretRef: {name: key}, type: ssh}\n      author: {name: Bot, email: b@x}\n      messageTemplate: '{{ .AutomationObject }}'\n      \
                   messageTemplateValues: {team: a}\n";
        let rest = "  update: {strategy: Setters, path: ./clusters//prod/}\n  suspend: true\n  policySelector:\n    \
                    matchLabels: {a: b}\n    matchExpressions:\n    - {key: k, operator: In, values: [v]}\n    - \
                    {key: e, operator: DoesNotExist}\n";
        let automation = automation(git, rest);
        assert_eq!(automation.checkout, Some(Checkout::Branch("main".to_owned())));
        assert_eq!(automation.push_branch.as_deref(), Some("flux/updates"));
        assert_eq!(automation.push_refspec.unwrap().destination, "refs/for/main");
        assert_eq!(automation.push_options, ["ci.skip", "merge_request.target=main"]);
        let signing_key = SigningKey { format: SigningFormat::Ssh, secret: "key".to_owned() };
        assert_eq!(automation.signing_key, Some(signing_key));
        assert_eq!(automation.author_name.as_deref(), Some("Bot"));
        assert_eq!(automation.message_template.as_deref(), Some("{{ .AutomationObject }}"));
        assert_eq!(automation.message_values, BTreeMap::from([("team".into(), "a".into())]));
        assert_eq!(automation.update_path, "clusters/prod");
        assert!(automation.suspend);
        let selector = LabelSelector {
            match_labels: BTreeMap::from([("a".into(), "b".into())]),
            match_expressions: vec![
                LabelRequirement::In("k".into(), vec!["v".into()]),
                LabelRequirement::DoesNotExist("e".into()),
            ],
        };
        assert_eq!(automation.policy_selector, Some(selector));
    }

    #[test]
    fn every_wrong_field_is_named_with_its_line() {
        let commit = |line: &str| format!("    commit:\n      author: {{email: a}}\n      {line}\n");
        for (git, rest, line, field, message) in [
            ("    push: {}\n".to_owned(), "", 7, "spec.git.commit", "is required"),
            ("    commit: {}\n".into(), "", 8, "spec.git.commit.author", "is required"),
            (
                "    commit: {author: {name: x}}\n".into(),
                "",
                8,
                "spec.git.commit.author.email",
                "is required",
            ),
            (
                "    commit: {author: {email: ''}}\n".into(),
                "",
                8,
                "spec.git.commit.author.email",
                "not be empty",
            ),
            ("    commit: {author: {email: 'a<b'}}\n".into(), "", 8, "spec.git.commit.author.email", "`<`"),
            (commit("messageTemplate: '{{'"), "", 10, "spec.git.commit.messageTemplate", "template"),
            (
                commit("messageTemplateValues: {a: 1}"),
                "",
                10,
                "spec.git.commit.messageTemplateValues.a",
                "quotes",
            ),
            (commit("signingKey: {type: pgp}"), "", 10, "spec.git.commit.signingKey.type", "`gpg`, `ssh`"),
            (commit("signingKey: {}"), "", 10, "spec.git.commit.signingKey.secretRef", "is required"),
            (format!("{COMMIT}    checkout: {{}}\n"), "", 9, "spec.git.checkout.ref", "is required"),
            (format!("{COMMIT}    push: {{branch: 'a b'}}\n"), "", 9, "spec.git.push.branch", "branch"),
            (format!("{COMMIT}    push: {{refspec: a}}\n"), "", 9, "spec.git.push.refspec", "a destination"),
            (
                format!("{COMMIT}    push: {{options: {{a: 1}}}}\n"),
                "",
                9,
                "spec.git.push.options.a",
                "quotes",
            ),
            (
                format!("{COMMIT}    push: {{options: {{'a=b': x}}}}\n"),
                "",
                9,
                "spec.git.push.options.a=b",
                "not the name of a push option",
            ),
            (
                format!("{COMMIT}    push:\n      options:\n        a: \"x\\ny\"\n"),
                "",
                11,
                "spec.git.push.options.a",
                "one line",
            ),
            (format!("{COMMIT}    push: {{branches: x}}\n"), "", 9, "spec.git.push.branches", "did you mean"),
            (COMMIT.into(), "  update: {strategy: Merge}\n", 9, "spec.update.strategy", "`Setters`"),
            (COMMIT.into(), "  update: {path: ../x}\n", 9, "spec.update.path", "inside the repository"),
            (
                COMMIT.into(),
                "  policySelector:\n    matchExpressions:\n    - {key: a, operator: In}\n",
                11,
                "spec.policySelector.matchExpressions[0].values",
                "is required",
            ),
            (
                COMMIT.into(),
                "  policySelector:\n    matchExpressions:\n    - {key: a, operator: Exists, values: [x]}\n",
                11,
                "spec.policySelector.matchExpressions[0].values",
                "must be absent",
            ),
            (
                COMMIT.into(),
                "  policySelector:\n    matchExpressions:\n    - {key: a, operator: Like}\n",
                11,
                "spec.policySelector.matchExpressions[0].operator",
                "is not one of",
            ),
        ] {
            let text = with(&git, rest);
            assert!(found(&text, line, field, message), "{text}\n{:#?}", problems(&text));
        }
        let other = with(COMMIT, "").replace("GitRepository", "OCIRepository");
        assert!(found(&other, 5, "spec.sourceRef.kind", "is not one of `GitRepository`"));
        let other = with(COMMIT, "").replace("kind: GitRepository", "apiVersion: apps/v1");
        assert!(found(&other, 5, "spec.sourceRef.apiVersion", "must be"));
    }
}
