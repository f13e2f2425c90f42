//! Variants: the part of a tag that says which build of a release it is, as `-alpine` or `-bookworm-slim`.
//!
//! A tag is cut at each `-`. Its variant is the longest run of parts at its end, never the first part, of which each
//! begins with a letter and is no pre-release word. `1.2.3-rc.1-alpine` has the variant `alpine`, `1.2.3-rc.1` and
//! `1.2.3` have none.

/// What begins a part that names a pre-release and no variant: these letters, and then no further letter.
const PRERELEASES: [&str; 9] = ["alpha", "beta", "dev", "m", "milestone", "pre", "preview", "rc", "snapshot"];

/// A tag without its variant, and its variant without the `-` before it; empty where it has none.
pub fn split(tag: &str) -> (&str, &str) {
    let mut release = tag;
    while let Some((before, part)) = release.rsplit_once('-') {
        if before.is_empty() || !is_variant(part) {
            break;
        }
        release = before;
    }
    (release, tag[release.len()..].trim_start_matches('-'))
}

fn is_variant(part: &str) -> bool {
    let letters = part.bytes().take_while(u8::is_ascii_alphabetic).count();
    let word = &part[..letters];
    letters > 0 && !PRERELEASES.iter().any(|prerelease| word.eq_ignore_ascii_case(prerelease))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_variant_is_what_stands_behind_the_release() {
        for (tag, release, variant) in [
            ("1.2.3", "1.2.3", ""),
            ("1.2.3-alpine", "1.2.3", "alpine"),
            ("v1.2.3-Alpine", "v1.2.3", "Alpine"),
            ("3.13.1-slim-bookworm", "3.13.1", "slim-bookworm"),
            ("3.13.1-alpine3.21", "3.13.1", "alpine3.21"),
            ("1.2.3-rc.1", "1.2.3-rc.1", ""),
            ("1.2.3-RC1", "1.2.3-RC1", ""),
            ("1.2.3-SNAPSHOT", "1.2.3-SNAPSHOT", ""),
            ("1.2.3-rc.1-alpine", "1.2.3-rc.1", "alpine"),
            ("1.2.3-alpine-rc.1", "1.2.3-alpine-rc.1", ""),
            ("1.2.3-master", "1.2.3", "master"),
            ("1.2.3-m4", "1.2.3-m4", ""),
            ("1.2.3-4", "1.2.3-4", ""),
            ("1.2.3-4-windows", "1.2.3-4", "windows"),
            ("1.2.3-slim-2", "1.2.3-slim-2", ""),
            ("latest-alpine", "latest", "alpine"),
            ("alpine", "alpine", ""),
            ("main-slim", "main", "slim"),
            ("20260115-slim", "20260115", "slim"),
            ("1.2.3-", "1.2.3-", ""),
            ("1.2.3--slim", "1.2.3-", "slim"),
            ("1.2.3_alpine", "1.2.3_alpine", ""),
            ("-alpine", "-alpine", ""),
            ("", "", ""),
        ] {
            assert_eq!(split(tag), (release, variant), "{tag}");
        }
    }

    proptest! {
        #[test]
        fn release_and_variant_make_the_tag_again(tag in "[a-z0-9._-]{0,12}(-(alpine|slim|rc\\.1|4)){0,3}") {
            let (release, variant) = split(&tag);
            let joined = if variant.is_empty() { release.to_owned() } else { format!("{release}-{variant}") };
            prop_assert_eq!(&joined, &tag);
            prop_assert_eq!(split(release).0, release, "nothing is left to take off");
        }
    }
}
