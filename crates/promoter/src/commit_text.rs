//! The text of a commit: the rendered template, and trailers that tell a machine where it came from.

use std::collections::BTreeSet;

use windlass_model::resource::{DEFAULT_COMMIT_MESSAGE, ImageUpdateAutomation};
use windlass_model::{ImageRef, ObjectKey};
use windlass_policy::template::{Change, CommitData, Template};
use windlass_verify::Verdict;

/// The trailer that every commit of ours has.
pub(crate) const AUTOMATION: &str = "Windlass-Automation: ";
/// An image that a commit sets, as `name:tag[@digest]`.
pub(crate) const IMAGE: &str = "Windlass-Image: ";
/// At most this many event ids are named in one commit; a commit that gathers a thousand events names a few.
const MAX_EVENT_TRAILERS: usize = 20;

/// Signers that one trailer names.
const MAX_SIGNERS: usize = 4;
/// Longest signer in a trailer, in characters.
const MAX_SIGNER: usize = 300;

/// Renders the automation's message template. One that renders to nothing stands for the default message: Git's tools
/// refuse to work with commits that have none.
///
/// # Errors
/// A sentence that names the template's line and column.
pub(crate) fn message(automation: &ImageUpdateAutomation, changes: &[Change]) -> Result<String, String> {
    let Some(text) = &automation.message_template else { return Ok(DEFAULT_COMMIT_MESSAGE.to_owned()) };
    let template =
        Template::parse(text).map_err(|error| format!("spec.git.commit.messageTemplate: {error}"))?;
    let data = CommitData {
        automation: automation.meta.key.clone(),
        changes: changes.to_vec(),
        values: automation.message_values.clone(),
    };
    let text = template.render(&data).map_err(|error| format!("spec.git.commit.messageTemplate: {error}"))?;
    Ok(if text.trim().is_empty() { DEFAULT_COMMIT_MESSAGE.to_owned() } else { text })
}

/// Appends the trailers: one `Windlass-Image` for each image, one `Windlass-Verified` for each that Guards allow, one
/// `Windlass-Event` for each event.
pub(crate) fn with_trailers<'v>(
    message: &str,
    automation: &ObjectKey,
    images: impl Iterator<Item = String>,
    verified: impl Iterator<Item = (&'v ImageRef, &'v Verdict)>,
    events: &BTreeSet<String>,
) -> String {
    let mut text = message.trim_end().to_owned();
    text.push_str("\n\n");
    let images: BTreeSet<_> = images.map(|image| format!("{IMAGE}{image}\n")).collect();
    text.extend(images);
    let verified: BTreeSet<_> = verified.map(|(image, verdict)| verified_line(image, verdict)).collect();
    text.extend(verified);
    text.extend([format!("{AUTOMATION}{automation}\n")]);
    text.extend(events.iter().take(MAX_EVENT_TRAILERS).map(|event| format!("Windlass-Event: {event}\n")));
    text
}

/// What was verified, by which Guards, and who had signed it: `name:tag@digest by SIGNER, … (GUARD, …)`.
fn verified_line(image: &ImageRef, verdict: &Verdict) -> String {
    let guards: Vec<&str> = verdict.guards.iter().map(|guard| guard.guard.as_str()).collect();
    let evidence = verdict.guards.iter().flat_map(|guard| &guard.evidence);
    let signers: BTreeSet<&str> = evidence.map(|proof| proof.signer.as_str()).collect();
    let signers: Vec<String> = signers.into_iter().take(MAX_SIGNERS).map(one_line).collect();
    let by = if signers.is_empty() { String::new() } else { format!(" by {}", signers.join(", ")) };
    let (name, tag, digest) = (&image.name, &image.tag, &verdict.digest);
    format!("Windlass-Verified: {name}:{tag}@{digest}{by} ({})\n", guards.join(", "))
}

/// A certificate's subject is whatever its owner could make somebody certify.
fn one_line(text: &str) -> String {
    text.chars().take(MAX_SIGNER).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{automation, key, spec};

    #[test]
    fn a_template_that_renders_to_nothing_stands_for_the_default_message() {
        for (template, wanted) in [
            ("{{ range .Changed.Changes }}{{ .NewValue }}{{ end }}", DEFAULT_COMMIT_MESSAGE),
            ("  ", DEFAULT_COMMIT_MESSAGE),
            ("of {{ .AutomationObject }}", "of apps/fleet"),
        ] {
            let document = automation("fleet", "").replace(
                "git: {",
                &format!(
                    "git: {{commit: {{author: {{email: a@b.c}}, messageTemplate: '{template}'}}}}, x: {{"
                ),
            );
            let document = document.replace(", x: {commit: {author: {email: a@b.c}}}", "");
            let spec = spec(&[&document]);
            assert_eq!(message(&spec.automations[&key("fleet")], &[]).unwrap(), wanted);
        }
    }

    #[test]
    fn trailers_follow_the_message_after_one_empty_line() {
        let images = ["ghcr.io/org/a:1.2.0".to_owned()].into_iter();
        let events = BTreeSet::from(["e-1".to_owned()]);
        let text = with_trailers(
            "Update a\n\n",
            &ObjectKey::new("apps", "fleet"),
            images,
            std::iter::empty(),
            &events,
        );
        let wanted = "Update a\n\nWindlass-Image: ghcr.io/org/a:1.2.0\nWindlass-Automation: apps/fleet\nWindlass-Event: e-1\n";
        assert_eq!(text, wanted);
    }
}
