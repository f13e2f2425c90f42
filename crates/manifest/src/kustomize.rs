//! Entries of a kustomization's `images`, as `kustomize edit set image` (kustomize 5.8) changes them.

use windlass_model::ImageRef;
use windlass_model::place::{ObjectIdentifier, Part};

use crate::declared::{Standing, reference};
use crate::grow::{add_item, add_list, add_pair, fill_list, remove, start_document};
use crate::refusal::{Refusal, RefusalCause};
use crate::revise::{Edited, Revision, only_document, replace, revise, set};
use crate::spot::{Spot, identity};

/// The names of a kustomization's file, of which a folder has one.
pub const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The field with the entries, and its name before kustomize 2, which is still read.
const LISTS: [&str; 2] = ["images", "imageTags"];
/// The fields that name a version. One that comes takes the place of one that goes.
const VERSION: [&str; 3] = ["newTag", "digest", "tagSuffix"];

/// What an entry is to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// `newName`
    pub new_name: Setting,
    /// `newTag`
    pub new_tag: Setting,
    /// `digest`
    pub digest: Setting,
}

/// What a field of an entry is to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Setting {
    /// It goes: what `kustomize edit set image` does with a part that its argument does not have.
    #[default]
    Remove,
    /// It stays as it is, there or not: `*` in the argument.
    Keep,
    /// It has this text.
    Set(String),
}

impl Change {
    /// The change after which the entry `name` renders to this image: `kustomize edit set image NAME=IMAGE:TAG@DIGEST`,
    /// and without `NAME=` where the entry is of the image's own name.
    pub fn to_image(name: &str, image: &ImageRef) -> Self {
        let digest = image.digest.as_ref().map_or(Setting::Remove, |digest| Setting::Set(digest.to_string()));
        let new_name = if image.name == name { Setting::Remove } else { Setting::Set(image.name.clone()) };
        Self { new_name, new_tag: Setting::Set(image.tag.to_string()), digest }
    }

    /// The fields that are set, in the order in which a new entry has them.
    fn fields(&self, name: &str) -> Vec<(&'static str, String)> {
        let settings = [("newName", &self.new_name), ("newTag", &self.new_tag), ("digest", &self.digest)];
        let set = settings.into_iter().filter_map(|(key, setting)| match setting {
            Setting::Set(text) => Some((key, text.clone())),
            Setting::Remove | Setting::Keep => None,
        });
        std::iter::once(("name", name.to_owned())).chain(set).collect()
    }

    fn setting(&self, key: &str) -> &Setting {
        match key {
            "newName" => &self.new_name,
            "newTag" => &self.new_tag,
            "digest" => &self.digest,
            // kustomize reads it only where neither tag nor digest is set, and drops it when it sets an image.
            _ => &Setting::Remove,
        }
    }
}

/// Changes the entry of this name, or adds one.
///
/// The parsed result is that of `kustomize edit set image`, apart from the order of entries and from `apiVersion` and
/// `kind`, which are not added. A field that comes where another one goes (`digest` for `newTag`) takes its line; other
/// new fields, entries, and the list itself are appended in the file's own style. The comment at the end of a removed
/// line goes with it. A value that an alias repeats elsewhere is refused, since only this entry is meant.
pub fn edit(bytes: &[u8], name: &str, change: &Change) -> Result<Edited, Refusal> {
    revise(bytes, |text| next(text, name, change))
}

/// What the entry of this name says, as one reference; nothing where there is none yet.
pub(crate) fn read(text: &str, name: &str, own: &str) -> Result<Standing, Refusal> {
    let document = only_document(text)?;
    let absent =
        || Standing { line: 1, part: Part::Image, value: String::new(), object: ObjectIdentifier::default() };
    let Some(document) = document.as_ref().filter(|document| !document.root.is_null()) else {
        return Ok(absent());
    };
    let object = identity(&document.root);
    let Some(entry) = entry(&Spot::root(document), name)? else { return Ok(Standing { object, ..absent() }) };
    let says = |key: &str| -> Result<Option<String>, Refusal> {
        let spot = field(&entry, key)?.filter(|spot| !spot.node.is_null());
        Ok(spot.and_then(|spot| spot.node.text().map(str::to_owned)))
    };
    let (new_name, tag, digest) = (says("newName")?, says("newTag")?, says("digest")?);
    let value = reference(new_name.as_deref().unwrap_or(name), tag.as_deref(), digest.as_deref(), own);
    Ok(Standing { line: entry.node.line, value, object, ..absent() })
}

/// The next step, if one is left.
fn next(text: &str, name: &str, change: &Change) -> Result<Option<Revision>, Refusal> {
    let fields = change.fields(name);
    let is_anything_set = fields.len() > 1;
    let document = only_document(text)?;
    let Some(document) = document.as_ref().filter(|document| !document.root.is_null()) else {
        let root = document.as_ref().map(|document| &document.root);
        return is_anything_set.then(|| start_document(text, root, LISTS[0], &fields)).transpose();
    };
    let root = Spot::root(document);
    if let Some(entry) = entry(&root, name)? {
        return next_of_entry(text, &entry, change);
    }
    if !is_anything_set {
        return Ok(None);
    }
    let list = field(&root, LISTS[0])?;
    match list {
        None => add_list(text, &root, LISTS[0], &fields),
        Some(list) if list.node.is_null() => fill_list(text, &root, &list, &fields),
        Some(list) => add_item(text, &list, &fields),
    }
    .map(Some)
}

/// The entry of this name.
fn entry<'t, 'a>(root: &Spot<'t, 'a>, name: &str) -> Result<Option<Spot<'t, 'a>>, Refusal> {
    let mut found: Option<Spot<'t, 'a>> = None;
    for list in LISTS {
        let Some(list) = field(root, list)?.filter(|list| !list.node.is_null()) else { continue };
        for item in list.items()? {
            let is_named = field(&item, "name")?.is_some_and(|text| text.node.text() == Some(name));
            if is_named && found.is_some() {
                let item = format!("[name={name}]");
                let cause = RefusalCause::AmbiguousItem { parent: list.name(), item, items: 2 };
                return Err(cause.at(list.node.line));
            }
            found = found.or(is_named.then_some(item));
        }
    }
    Ok(found)
}

fn next_of_entry(text: &str, entry: &Spot<'_, '_>, change: &Change) -> Result<Option<Revision>, Refusal> {
    let mut going = Vec::new();
    let mut coming = Vec::new();
    for key in ["newName"].into_iter().chain(VERSION) {
        match (change.setting(key), field(entry, key)?) {
            (Setting::Set(wanted), Some(spot)) if spot.node.text() != Some(wanted) || !spot.is_text() => {
                alone(&spot)?;
                return set(text, &spot, wanted).map(Some);
            }
            (Setting::Set(wanted), None) => coming.push((key, wanted)),
            (Setting::Remove, Some(spot)) => going.push((key, spot)),
            (Setting::Set(_), Some(_)) | (Setting::Keep, _) | (Setting::Remove, None) => {}
        }
    }
    let is_version = |key: &str| VERSION.contains(&key);
    let touched = going.iter().map(|(_, spot)| spot).chain((!coming.is_empty()).then_some(entry));
    touched.into_iter().try_for_each(alone)?;
    let newcomer = coming.iter().find(|(key, _)| is_version(key));
    let leaver = going.iter().find(|(key, _)| is_version(key));
    match (newcomer, leaver) {
        (Some((key, value)), Some((_, spot))) => replace(text, entry, spot, key, value).map(Some),
        _ => match (going.first(), coming.first()) {
            (Some((_, spot)), _) => remove(text, entry, spot).map(Some),
            (None, Some((key, value))) => add_pair(text, entry, key, value).map(Some),
            (None, None) => Ok(None),
        },
    }
}

/// kustomize would change this entry alone.
fn alone(spot: &Spot<'_, '_>) -> Result<(), Refusal> {
    if spot.shared { Err(RefusalCause::Shared { path: spot.name() }.at(spot.node.line)) } else { Ok(()) }
}

/// A field by its name: kustomize does not mind case.
fn field<'t, 'a>(mapping: &Spot<'t, 'a>, name: &str) -> Result<Option<Spot<'t, 'a>>, Refusal> {
    mapping.child_by(name, str::eq_ignore_ascii_case)
}
