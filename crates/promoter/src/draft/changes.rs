//! What a draft writes, as it is told: to the template of the commit's message, and to people.

use std::collections::{BTreeMap, BTreeSet};

use windlass_model::ObjectKey;
use windlass_model::message::ChangeNotice;
use windlass_policy::lock::Track;
use windlass_policy::plan::{Facts, PlaceFacts};
use windlass_policy::template::Change;

use super::{Draft, DraftError};
use crate::commit_text;
use crate::lanes::Target;

/// Message, changes and images of what was written.
pub(super) fn describe(
    target: &Target,
    facts: &Facts,
    written: &[usize],
    draft: &mut Draft,
) -> Result<(), DraftError> {
    if written.is_empty() {
        return Ok(());
    }
    let mut changes = Vec::new();
    let mut moved: BTreeMap<(Track, String, String), BTreeSet<String>> = BTreeMap::new();
    for place in written.iter().map(|place| &facts.places[*place]) {
        let (Some(choice), Some(track)) = (facts.choice(place), place.track()) else { continue };
        let value = place.marker.part.render(&choice.image).unwrap_or_default();
        draft.images.insert(track.clone(), choice.image.clone());
        moved.entry((track, place.value.clone(), value.clone())).or_default().insert(place.file.to_string());
        changes.push(change(target, place, value));
    }
    draft.message = commit_text::message(&target.automation, &changes).map_err(DraftError::Automation)?;
    draft.changes = moved
        .into_iter()
        .map(|((track, from, to), files)| {
            let image = draft.images.get(&track);
            ChangeNotice {
                policy: track.policy.to_string(),
                image: image.map(|image| image.name.clone()).unwrap_or_default(),
                from,
                to,
                digest: image.and_then(|image| image.digest.as_ref()).map(ToString::to_string),
                files: files.into_iter().collect(),
            }
        })
        .collect();
    Ok(())
}

/// What Flux's templates see of a change (image-automation-controller 1.2: files relative to `update.path`, the setter
/// as the marker names it).
fn change(target: &Target, place: &PlaceFacts, new_value: String) -> Change {
    let prefix = &target.automation.update_path;
    let relative =
        place.file.strip_prefix(prefix.as_str()).map_or(&*place.file, |rest| rest.trim_start_matches('/'));
    let ObjectKey { namespace, name } = &place.marker.policy;
    Change {
        file: if relative.is_empty() { place.file.to_string() } else { relative.to_owned() },
        object: place.object.clone(),
        old_value: place.value.clone(),
        new_value,
        setter: format!("{namespace}:{name}{}", place.marker.part),
    }
}
