//! One file's edits: marked scalars first, by their bytes; then declared places, which are looked for in what came of
//! that. A place that cannot take its value is left alone and reported; the others are written.

use windlass_manifest::edit::{Edit, apply};
use windlass_manifest::{scan, scan_template};
use windlass_model::ImageRef;

use crate::markers::{DeclaredPlace, MarkedFile};

/// What is to be written into a file. Places are named by their number among the automation's.
#[derive(Debug, Default)]
pub(crate) struct FileEdits<'a> {
    pub(crate) markers: Vec<(usize, Edit)>,
    pub(crate) declared: Vec<(usize, &'a DeclaredPlace, &'a ImageRef)>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Edited {
    /// The file's bytes, changed or as they were.
    pub(crate) bytes: Vec<u8>,
    /// Places with a new value.
    pub(crate) written: Vec<usize>,
    /// Places that were right already.
    pub(crate) right: Vec<usize>,
    /// Places that hold what they held, each with a diagnostic.
    pub(crate) refused: Vec<usize>,
    pub(crate) diagnostics: Vec<String>,
}

impl FileEdits<'_> {
    /// Edits a file in memory.
    pub(crate) fn make(self, file: &MarkedFile, bytes: Vec<u8>) -> Edited {
        let mut edited = Edited { bytes, ..Edited::default() };
        edited.mark(file, self.markers);
        let mut done = Vec::new();
        for (place, declared, image) in self.declared {
            match edited.declare(file, declared, image, &done) {
                Ok(true) => edited.written.push(place),
                Ok(false) => edited.right.push(place),
                Err(why) => {
                    edited.refused.push(place);
                    edited.diagnostics.push(format!("{}{why}", declared.declared.field()));
                    continue;
                }
            }
            done.push(declared);
        }
        edited
    }
}

impl Edited {
    /// Writes marked scalars. One that is refused is left out, and the others are tried without it.
    fn mark(&mut self, file: &MarkedFile, mut edits: Vec<(usize, Edit)>) {
        while !edits.is_empty() {
            let wanted: Vec<Edit> = edits.iter().map(|(_, edit)| edit.clone()).collect();
            let error = match apply(&self.bytes, &file.scan, &wanted) {
                Ok(new) => {
                    self.bytes = new;
                    self.written.extend(edits.iter().map(|(place, _)| *place));
                    return;
                }
                Err(error) => error,
            };
            self.diagnostics.push(format!("{}: {error}", file.path));
            let line = |edit: &Edit| file.scan.places.get(edit.place).map(|place| place.line);
            let is_refused = |(_, edit): &(usize, Edit)| line(edit) == error.line();
            // An error of no edit's line is of them all.
            let all = !edits.iter().any(is_refused);
            self.refused.extend(edits.iter().filter(|edit| all || is_refused(edit)).map(|(place, _)| *place));
            edits.retain(|edit| !all && !is_refused(edit));
        }
    }

    /// Writes a declared place; says whether it changed. Refused where it would change what a marker or an earlier
    /// declaration governs.
    fn declare(
        &mut self,
        file: &MarkedFile,
        place: &DeclaredPlace,
        image: &ImageRef,
        done: &[&DeclaredPlace],
    ) -> Result<bool, String> {
        let declaration = &place.declared.declaration;
        let edited = declaration.edit(&self.bytes, image).map_err(|r| format!(":{}: {}", r.line, r.cause))?;
        if edited.changes.is_empty() {
            return Ok(false);
        }
        let marked = |bytes: &[u8]| -> Vec<String> {
            let scan = if file.template { scan_template(bytes) } else { scan(bytes) };
            scan.places.into_iter().map(|place| place.value).collect()
        };
        if !file.scan.places.is_empty() && marked(&self.bytes) != marked(&edited.bytes) {
            return Err(": a marker governs this place too: remove one of the two".to_owned());
        }
        for earlier in done {
            let value = |bytes: &[u8]| earlier.declared.declaration.read(bytes, &earlier.declared.image);
            let value = |bytes| value(bytes).map(|standing| standing.value);
            if value(&self.bytes) != value(&edited.bytes) {
                let number = earlier.declared.number;
                return Err(format!(": edit {number} governs this place too: remove one of the two"));
            }
        }
        self.bytes = edited.bytes;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use windlass_manifest::Declaration;
    use windlass_model::Tag;

    use super::*;
    use crate::markers::Content;
    use crate::testing::key;
    use crate::wanted::Declared;

    const TEXT: &str = "image: ghcr.io/org/app:1.0.0 # {\"$imagepolicy\": \"apps:app\"}\nvalues:\n  repository: \
                        ghcr.io/org/app\n  tag: 1.0.0\n";

    fn image(tag: &str) -> ImageRef {
        ImageRef { name: "ghcr.io/org/app".to_owned(), tag: Tag::parse(tag).unwrap(), digest: None }
    }

    fn declared(number: usize, declaration: Declaration) -> DeclaredPlace {
        let image = "ghcr.io/org/app".to_owned();
        let standing = declaration.read(TEXT.as_bytes(), &image).unwrap();
        let declared = Declared { number, path: "a.yaml".into(), policy: key("app"), declaration, image };
        DeclaredPlace { declared, standing }
    }

    fn helm(number: usize, key: &str) -> DeclaredPlace {
        declared(number, Declaration::Helm { key: key.parse().unwrap() })
    }

    /// Writes 1.1.0 to the marker (place 0), and what is declared, each with a tag of its own.
    fn edited(places: &[(&DeclaredPlace, &str)]) -> Edited {
        let content = Content::Drafted(Arc::from(TEXT.as_bytes()));
        let scan = Arc::new(scan(TEXT.as_bytes()));
        let file = MarkedFile { path: "a.yaml".into(), content, scan, template: false, declared: Vec::new() };
        let images: Vec<ImageRef> = places.iter().map(|(_, tag)| image(tag)).collect();
        let declared =
            places.iter().zip(&images).enumerate().map(|(n, ((place, _), image))| (n + 1, *place, image));
        let markers = vec![(0, Edit { place: 0, value: image("1.1.0").to_string() })];
        FileEdits { markers, declared: declared.collect() }.make(&file, TEXT.as_bytes().to_vec())
    }

    #[test]
    fn markers_and_declared_places_of_one_file_are_written_together() {
        let edited = edited(&[(&helm(0, "values"), "1.1.0"), (&helm(1, "values.tag"), "1.1.0")]);
        assert_eq!(String::from_utf8(edited.bytes).unwrap(), TEXT.replace("1.0.0", "1.1.0"));
        assert_eq!((edited.written, edited.right, edited.refused), (vec![0, 1], vec![2], vec![]));
    }

    #[test]
    fn of_two_that_disagree_about_a_place_the_first_is_obeyed() {
        let edited = edited(&[
            (&helm(0, "values.tag"), "1.1.0"),
            (&helm(1, "values"), "1.2.0"),
            (&helm(2, "image"), "1.3.0"),
        ]);
        assert_eq!(String::from_utf8(edited.bytes).unwrap(), TEXT.replace("1.0.0", "1.1.0"));
        assert_eq!((edited.written, edited.refused), (vec![0, 1], vec![2, 3]));
        assert_eq!(
            edited.diagnostics,
            [
                "windlass.dev/edits[1]: a.yaml: edit 0 governs this place too: remove one of the two",
                "windlass.dev/edits[2]: a.yaml: a marker governs this place too: remove one of the two",
            ]
        );
    }
}
