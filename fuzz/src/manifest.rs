//! Edits of YAML files.

use windlass_manifest::path::{DocumentSelector, KeyPath};
use windlass_manifest::{
    Edit, EditError, Edited, Refusal, Scan, apply, helm, kustomize, path, scan, scan_template,
};
use windlass_model::ImageRef;
use windlass_model::image::{Digest, Tag};

use crate::texts;
use crate::yaml;

/// Paths up to this length are shown whole, in whatever they are escaped.
const SHOWN_WHOLE: usize = 200;

/// A value and a file. Every marker is accounted for; only the marked scalars' bytes change, and each then has the
/// value; the parser finds everything else as it was; a second edit changes nothing.
pub fn markers(data: &[u8]) {
    let [value, file] = crate::fields(data);
    let Ok(value) = std::str::from_utf8(value) else { return };
    // A value that is a marker itself is reported as one by the next scan.
    if value.contains("$imagepolicy") {
        return;
    }
    let found = scan(file);
    edited(file, &found, value, |new| scan(new)).inspect(|new| {
        let old = std::str::from_utf8(file).expect("a file with places is text");
        let wanted = found.places.iter().filter(|place| place.value != value).count();
        let changed = yaml::changed_scalars(old, new);
        assert_eq!(changed.len(), wanted, "{changed:?}");
        assert!(changed.iter().all(|(_, new)| new == value), "{changed:?}");
    });
    let found = scan_template(file);
    edited(file, &found, value, |new| scan_template(new));
}

/// The file with the value in all its places; absent where that is refused.
fn edited(file: &[u8], found: &Scan, value: &str, scan: impl Fn(&[u8]) -> Scan) -> Option<String> {
    let lines = file.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
    assert!(found.problems.iter().all(|problem| (1..=lines).contains(&problem.line)), "{:?}", found.problems);
    let edits: Vec<Edit> =
        (0..found.places.len()).map(|place| Edit { place, value: value.to_owned() }).collect();
    let new = match apply(file, found, &edits) {
        Ok(new) => new,
        Err(EditError::Unwritable { character, .. }) => {
            assert!(value.contains(character));
            return None;
        }
        Err(EditError::Template { .. }) => {
            assert!(value.contains("{{"));
            return None;
        }
        // A value in flow context or in a template can be one that its place cannot take.
        Err(EditError::Altered { line }) => {
            assert!((1..=lines).contains(&line));
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    if edits.is_empty() {
        assert_eq!(new, file);
        return None;
    }
    let again = scan(&new);
    assert_eq!(again.problems, found.problems);
    assert_eq!(again.places.len(), found.places.len());
    let (mut old_at, mut new_at) = (0, 0);
    for (old_place, new_place) in found.places.iter().zip(&again.places) {
        // The object may be another one: its `kind` can be marked.
        assert_eq!(new_place.value, value);
        assert_eq!(
            (&old_place.marker, &old_place.key_path, old_place.line),
            (&new_place.marker, &new_place.key_path, new_place.line)
        );
        let (old_span, new_span) = (old_place.span(), new_place.span());
        assert_eq!(file[old_at..old_span.start], new[new_at..new_span.start], "bytes outside a place");
        (old_at, new_at) = (old_span.end, new_span.end);
    }
    assert_eq!(file[old_at..], new[new_at..], "bytes outside a place");
    assert_eq!(apply(&new, &again, &edits).as_deref(), Ok(&new[..]), "a second edit");
    Some(String::from_utf8(new).expect("text in, text out"))
}

/// `helm`, `kustomize` or `path`; a key, a name, or a path with `@document` before it; a value; a file. A file that is
/// parsed is parsed afterwards too; what is reported is what changed; a second edit changes nothing; a refusal names a
/// line of the file.
pub fn paths(data: &[u8]) {
    let Some([kind, key, value, file]) = texts(data) else { return };
    let edit: Box<dyn Fn(&[u8]) -> Result<Edited, Refusal>> = match kind.bytes().next() {
        Some(b'h') => {
            let (Ok(key), Some(image)) = (key.parse::<KeyPath>(), image(value)) else { return };
            Box::new(move |bytes| helm::edit(bytes, &key, &image))
        }
        Some(b'k') => {
            let Some(image) = image(value) else { return };
            let change = kustomize::Change::to_image(key, &image);
            Box::new(move |bytes| kustomize::edit(bytes, key, &change))
        }
        _ => {
            let (document, path) = match key.split_once('@') {
                Some((path, document)) => (document.parse::<DocumentSelector>().ok(), path),
                None => (None, key),
            };
            let Ok(path) = path.parse::<KeyPath>() else { return };
            // A longer one is shown in part.
            if key.len() <= SHOWN_WHOLE {
                assert_eq!(path.to_string().parse(), Ok(path.clone()), "{path} is not read as it is shown");
            }
            Box::new(move |bytes| path::edit(bytes, document.as_ref(), &path, value))
        }
    };
    let lines = file.bytes().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
    let edited = match edit(file.as_bytes()) {
        Ok(edited) => edited,
        Err(refusal) => {
            assert!((1..=lines).contains(&refusal.line), "{refusal:?}");
            return;
        }
    };
    let new = std::str::from_utf8(&edited.bytes).expect("text in, text out");
    assert_eq!(edited.changes.is_empty(), new == file, "{:?}", edited.changes);
    assert!(yaml::is_sound(new) || !yaml::is_sound(file), "broken:\n{new}");
    let again = edit(&edited.bytes).expect("what was edited can be edited");
    assert!(again.changes.is_empty() && again.bytes == edited.bytes, "a second edit: {:?}", again.changes);
    if !matches!(kind.bytes().next(), Some(b'h' | b'k')) {
        let changed = yaml::changed_scalars(file, new);
        assert!(changed.len() <= 1 && changed.iter().all(|(_, new)| new == value), "{changed:?}");
    }
}

/// `name:tag@digest`, as far as it is there.
fn image(text: &str) -> Option<ImageRef> {
    let (text, digest) = match text.split_once('@') {
        Some((text, digest)) => (text, Some(Digest::parse(digest).ok()?)),
        None => (text, None),
    };
    let (name, tag) = text.rsplit_once(':')?;
    Some(ImageRef { name: name.to_owned(), tag: Tag::parse(tag).ok()?, digest })
}
