//! Names of Git branches, and the `ref` that a repository is checked out at. Owns these checks alone.

use super::Semantics;
use super::fields::{Fields, Slot, shown};
use crate::checkout::Checkout;

/// Longest name; file systems and forges stop at 255.
const MAX_BRANCH: usize = 250;
/// The fields of a `ref`. Where several are given the first of these counts, as in Flux.
const BY_PRECEDENCE: [&str; 5] = ["commit", "name", "tag", "semver", "branch"];

/// Reads a `ref`. Every field is checked; one that another makes meaningless is pointed out.
pub(super) fn checkout(slot: &Slot<'_>, semantics: &dyn Semantics) -> Option<Checkout> {
    let fields = slot.fields(&BY_PRECEDENCE)?;
    let given = BY_PRECEDENCE.iter().filter_map(|field| {
        let slot = fields.slot(field)?;
        let text = slot.text().filter(|text| !text.is_empty())?;
        Some((*field, slot, text))
    });
    let mut counts = None;
    for (field, slot, text) in given {
        let checkout = checked(field, &slot, text, semantics);
        match counts {
            None => counts = Some((field, checkout)),
            // A branch beside a commit is how Flux finds the commit.
            Some(("commit", _)) if field == "branch" => {}
            Some((first, _)) => slot.warning(format_args!("has no effect beside `{first}`, as in Flux")),
        }
    }
    counts?.1
}

fn checked(field: &str, slot: &Slot<'_>, text: &str, semantics: &dyn Semantics) -> Option<Checkout> {
    let owned = text.to_owned();
    match field {
        "commit" => {
            let is_id = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
            if !is_id {
                slot.error("must be a whole commit id: 40 hexadecimal digits, or 64 in a SHA-256 repository");
                return None;
            }
            Some(Checkout::Commit(text.to_ascii_lowercase()))
        }
        "name" if text == "HEAD" || text.starts_with("refs/") => {
            slot.check(check_ref(text)).map(|()| Checkout::Name(owned))
        }
        "name" => {
            slot.error(format_args!(
                "`{}` is not the full name of a ref: write for example `refs/pull/7/head`",
                shown(text)
            ));
            None
        }
        "tag" => slot.check(check_ref(text)).map(|()| Checkout::Tag(owned)),
        "semver" => slot.check(semantics.semver_range(text)).map(|()| Checkout::Semver(owned)),
        _ => slot.check(check_branch(text)).map(|()| Checkout::Branch(owned)),
    }
}

/// A branch's name in a field of its own.
pub(super) fn branch(fields: &Fields<'_>) -> Option<String> {
    let slot = fields.slot("branch")?;
    let text = slot.text().filter(|text| !text.is_empty())?;
    slot.check(check_branch(text)).map(|()| text.to_owned())
}

/// Checks what `git check-ref-format --branch` checks, except `@{-n}`, which names no branch of a remote.
pub(super) fn check_branch(name: &str) -> Result<(), InvalidBranch> {
    let valid = is_ref(name) && !name.starts_with('-') && !matches!(name, "@" | "HEAD");
    if valid { Ok(()) } else { Err(InvalidBranch(shown(name))) }
}

fn check_ref(name: &str) -> Result<(), InvalidRef> {
    if is_ref(name) && name != "@" { Ok(()) } else { Err(InvalidRef(shown(name))) }
}

/// What `git check-ref-format --allow-onelevel` checks.
fn is_ref(name: &str) -> bool {
    let component =
        |part: &str| !part.is_empty() && !part.starts_with('.') && part.strip_suffix(".lock").is_none();
    let character = |c: char| !c.is_control() && !matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    name.len() <= MAX_BRANCH
        && name.split('/').all(component)
        && name.chars().all(character)
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
}

/// A text that cannot name a branch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be the name of a branch: write it without `refs/heads/`, as `git branch` shows it")]
pub(super) struct InvalidBranch(String);

/// A text that cannot name a tag or another ref.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be the name of a ref (git-check-ref-format)")]
pub(super) struct InvalidRef(String);

#[cfg(test)]
mod tests {
    use super::super::testing::{found, only, problems};
    use super::*;

    fn repository(reference: &str) -> String {
        format!(
            "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {{name: fleet}}\nspec:\n  \
             interval: 5m\n  url: https://x.y/z\n  ref: {{{reference}}}\n"
        )
    }

    fn read(reference: &str) -> Option<Checkout> {
        let text = repository(reference);
        only(&text).git_repositories.values().next().unwrap().reference.clone()
    }

    #[test]
    fn each_kind_of_ref_is_read_and_the_one_that_flux_takes_counts() {
        let id = "AB".repeat(20);
        let commit = Checkout::Commit("ab".repeat(20));
        for (reference, expected) in [
            ("branch: main".to_owned(), Some(Checkout::Branch("main".into()))),
            ("tag: v1.0.0+b".into(), Some(Checkout::Tag("v1.0.0+b".into()))),
            ("semver: '>=1.0'".into(), Some(Checkout::Semver(">=1.0".into()))),
            ("name: refs/pull/7/head".into(), Some(Checkout::Name("refs/pull/7/head".into()))),
            ("name: HEAD".into(), Some(Checkout::Name("HEAD".into()))),
            (format!("commit: {id}"), Some(commit.clone())),
            (format!("commit: '{}'", "1".repeat(64)), Some(Checkout::Commit("1".repeat(64)))),
            (String::new(), None),
            ("branch: '', tag: ''".into(), None),
            (format!("branch: main, commit: {id}"), Some(commit)),
        ] {
            assert_eq!(problems(&repository(&reference)), [""; 0], "{reference}");
            assert_eq!(read(&reference), expected, "{reference}");
        }
        let all = ["branch: main", "semver: '*'", "tag: v1", "name: refs/x", &format!("commit: {id}")];
        let kinds: [fn(&Checkout) -> bool; 5] = [
            |c| matches!(c, Checkout::Branch(_)),
            |c| matches!(c, Checkout::Semver(_)),
            |c| matches!(c, Checkout::Tag(_)),
            |c| matches!(c, Checkout::Name(_)),
            |c| matches!(c, Checkout::Commit(_)),
        ];
        for (given, is_expected) in kinds.iter().enumerate() {
            let reference = all[..=given].join(", ");
            assert!(read(&reference).as_ref().is_some_and(is_expected), "{reference}");
        }
        let both = repository("semver: '*', tag: v1");
        assert!(found(&both, 7, "spec.ref.semver", "has no effect beside `tag`"), "{:?}", problems(&both));
    }

    #[test]
    fn refs_that_cannot_be_are_named() {
        for (reference, field, message) in [
            ("commit: abc1234", "spec.ref.commit", "40 hexadecimal digits"),
            ("name: main", "spec.ref.name", "not the full name"),
            ("name: refs/heads/a..b", "spec.ref.name", "cannot be the name of a ref"),
            ("tag: 'a b'", "spec.ref.tag", "cannot be the name of a ref"),
            ("semver: nonsense", "spec.ref.semver", "not a constraint"),
        ] {
            let text = repository(reference);
            assert!(found(&text, 7, field, message), "{reference}: {:?}", problems(&text));
        }
    }

    #[test]
    fn branches_follow_git() {
        for good in ["main", "flux/image-updates", "a.b", "ü", "v1@x", "a-b_c"] {
            assert_eq!(check_branch(good), Ok(()), "{good}");
        }
        let long = "x".repeat(251);
        for bad in [
            "", "/", "a/", "/a", "a//b", ".a", "a/.b", "a.lock", "a.lock/b", "a b", "a~1", "a^", "a:b", "a?",
            "a*", "a[", "a\\b", "-a", "a.", "a..b", "a@{1}", "@", "HEAD", "a\nb", &long,
        ] {
            assert!(check_branch(bad).is_err(), "{bad}");
        }
    }
}
