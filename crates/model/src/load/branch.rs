//! Names of Git branches. Owns the check alone.

use super::fields::shown;

/// Longest name; file systems and forges stop at 255.
const MAX_BRANCH: usize = 250;

/// Checks what `git check-ref-format --branch` checks, except `@{-n}`, which names no branch of a remote.
pub(super) fn check_branch(name: &str) -> Result<(), InvalidBranch> {
    let component =
        |part: &str| !part.is_empty() && !part.starts_with('.') && part.strip_suffix(".lock").is_none();
    let character = |c: char| !c.is_control() && !matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    let valid = name.len() <= MAX_BRANCH
        && name.split('/').all(component)
        && name.chars().all(character)
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && !matches!(name, "@" | "HEAD");
    if valid { Ok(()) } else { Err(InvalidBranch(shown(name))) }
}

/// A text that cannot name a branch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be the name of a branch: write it without `refs/heads/`, as `git branch` shows it")]
pub(super) struct InvalidBranch(String);

#[cfg(test)]
mod tests {
    use super::*;

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
