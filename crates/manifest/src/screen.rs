//! Which files are worth reading, and which contents are worth parsing.

use memchr::memmem;

/// What every marker contains.
pub(crate) const MARKER_KEY: &[u8] = b"$imagepolicy";

/// Whether a file of this name may hold markers: extension `.yaml` or `.yml`, or the name `Kustomization`.
///
/// The rule is Flux's (image-automation-controller 1.2, `ScreeningLocalReader`): exact case, and a Kustomization
/// without an extension is taken only where its name is spelt exactly so. `path` uses forward slashes, as Git does.
pub fn is_candidate(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    // Go's filepath.Ext: what follows the last dot, even where nothing precedes it.
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    matches!(extension, Some("yaml" | "yml")) || name == "Kustomization"
}

/// Whether these bytes can hold a marker at all, at the speed of a memory search.
///
/// Flux looks for the key in double quotes. This looks for the bare key, so that a marker with the wrong quotes is
/// reported by [`crate::scan()`] instead of being skipped.
pub fn may_have_marker(bytes: &[u8]) -> bool {
    memmem::find(bytes, MARKER_KEY).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_those_of_flux() {
        for path in [
            "a.yaml",
            "x/y.yml",
            "Kustomization",
            "apps/Kustomization",
            "kustomization.yaml",
            ".yaml",
            "a.b.yml",
        ] {
            assert!(is_candidate(path), "{path}");
        }
        for path in [
            "",
            "README.md",
            "a.YAML",
            "kustomization",
            "Kustomization.txt",
            "x.yaml/data",
            "yaml",
            "a.yaml.tpl",
            "Kustomization/",
        ] {
            assert!(!is_candidate(path), "{path}");
        }
    }

    #[test]
    fn contents_are_screened_by_the_bare_key() {
        assert!(may_have_marker(b"a: b # {\"$imagepolicy\": \"a:b\"}"));
        assert!(may_have_marker(b"a: b # {'$imagepolicy': 'a:b'}"));
        assert!(!may_have_marker(b"a: b # {\"imagepolicy\": \"a:b\"}"));
        assert!(!may_have_marker(b""));
    }
}
