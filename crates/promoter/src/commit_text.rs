//! The text of a commit: the rendered template, and trailers that tell a machine where it came from.

use std::collections::BTreeSet;

use windlass_model::ObjectKey;
use windlass_model::resource::{DEFAULT_COMMIT_MESSAGE, ImageUpdateAutomation};
use windlass_policy::template::{Change, CommitData, Template};

/// The trailer that every commit of ours has.
pub(crate) const AUTOMATION: &str = "Windlass-Automation: ";
/// At most this many event ids are named in one commit; a commit that gathers a thousand events names a few.
const MAX_EVENT_TRAILERS: usize = 20;

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

/// Appends the trailers: one `Windlass-Image` for each image, one `Windlass-Event` for each event.
pub(crate) fn with_trailers(
    message: &str,
    automation: &ObjectKey,
    images: impl Iterator<Item = String>,
    events: &BTreeSet<String>,
) -> String {
    let mut text = message.trim_end().to_owned();
    text.push_str("\n\n");
    let images: BTreeSet<_> = images.map(|image| format!("Windlass-Image: {image}\n")).collect();
    text.extend(images);
    text.extend([format!("{AUTOMATION}{automation}\n")]);
    text.extend(events.iter().take(MAX_EVENT_TRAILERS).map(|event| format!("Windlass-Event: {event}\n")));
    text
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
        let text = with_trailers("Update a\n\n", &ObjectKey::new("apps", "fleet"), images, &events);
        let wanted = "Update a\n\nWindlass-Image: ghcr.io/org/a:1.2.0\nWindlass-Automation: apps/fleet\nWindlass-Event: e-1\n";
        assert_eq!(text, wanted);
    }
}
