//! `spec.git.push` and `spec.git.commit.signingKey` of an ImageUpdateAutomation. Owns which refspecs and push options are
//! accepted.

use super::branch::check_branch;
use super::fields::Slot;
use crate::git::{PushRefspec, SigningFormat, SigningKey};
use crate::resource::{GitRepository, ImageUpdateAutomation};

/// Longest push option and most of them; forges define about a dozen, and a title fits easily.
const MAX_OPTION: usize = 4_000;
const MAX_OPTIONS: usize = 100;
const HEADS: &str = "refs/heads/";
/// Code review: Gerrit, and Gitea's and Forgejo's AGit flow.
const REVIEW: &str = "refs/for/";

/// `options`, as Git passes them on: `key=value`, or `key` alone where the value is empty.
pub(super) fn options(slot: &Slot<'_>) -> Vec<String> {
    let pairs = slot.pairs();
    if pairs.len() > MAX_OPTIONS {
        slot.error(format_args!("has more than {MAX_OPTIONS} options"));
        return Vec::new();
    }
    pairs.iter().filter_map(|(key, value)| option(key, value)).collect()
}

fn option(key: &str, slot: &Slot<'_>) -> Option<String> {
    let value = if slot.is_null() { "" } else { slot.text()? };
    let bad = |c: char| c.is_control();
    if key.is_empty() || key.contains(|c: char| bad(c) || c == '=' || c.is_whitespace()) {
        slot.error("is not the name of a push option: write it without `=`, blanks and line breaks");
    } else if value.contains(bad) {
        slot.error("must be one line: Git's push options hold no line breaks or other control characters");
    } else if key.len() + value.len() > MAX_OPTION {
        slot.error(format_args!("is longer than {MAX_OPTION} bytes"));
    } else if value.is_empty() {
        return Some(key.to_owned());
    } else {
        return Some(format!("{key}={value}"));
    }
    None
}

/// `refspec`. What Flux's go-git would take beyond this either never moves a ref with the commits in it, or overwrites
/// others' commits.
pub(super) fn refspec(slot: &Slot<'_>) -> Option<PushRefspec> {
    let text = slot.text().filter(|text| !text.is_empty())?;
    slot.remember_place();
    slot.check(parse(text))
}

fn parse(text: &str) -> Result<PushRefspec, &'static str> {
    if text.starts_with('+') {
        return Err("must not start with `+`: only spec.git.push.branch is ever overwritten");
    }
    if text.contains('*') {
        return Err("must not have `*`: name one source and one destination");
    }
    let Some((source, destination)) = text.split_once(':') else {
        return Err("must be a source and a destination, such as `refs/heads/main:refs/heads/auto`");
    };
    if source.is_empty() {
        return Err("has no source, which would delete the destination: write `HEAD:` or the pushed branch");
    }
    let branch = match source.strip_prefix(HEADS) {
        Some(branch) if check_branch(branch).is_ok() => Some(branch.to_owned()),
        None if source == "HEAD" => None,
        _ => return Err("must start with `HEAD:` or with the pushed branch, such as `refs/heads/main:`"),
    };
    let named = [HEADS, REVIEW].iter().find_map(|prefix| destination.strip_prefix(prefix));
    if named.is_none_or(|name| check_branch(name).is_err()) {
        return Err("must end with a destination such as `refs/heads/auto` or `refs/for/main`");
    }
    Ok(PushRefspec { branch, destination: destination.to_owned() })
}

/// Why the refspec makes no sense beside the branch that is pushed, which the GitRepository may name.
pub(super) fn contradiction(automation: &ImageUpdateAutomation, source: &GitRepository) -> Option<String> {
    let PushRefspec { branch, destination } = automation.push_refspec.as_ref()?;
    let pushed = automation.push_branch_of(source)?;
    if branch.as_ref().is_some_and(|branch| *branch != pushed) {
        return Some(format!(
            "must start with `HEAD:` or `{HEADS}{pushed}:`: the commits are on that branch"
        ));
    }
    if destination.strip_prefix(HEADS) == Some(&pushed) {
        return Some(format!("must not end with `:{destination}`: that branch is pushed anyway"));
    }
    None
}

/// `signingKey`
pub(super) fn signing_key(slot: &Slot<'_>) -> Option<SigningKey> {
    let fields = slot.fields(&["secretRef", "type"])?;
    let secret = fields.required("secretRef").and_then(|secret| secret.local_reference());
    let formats = [("gpg", SigningFormat::OpenPgp), ("ssh", SigningFormat::Ssh)];
    let format = match fields.slot("type") {
        Some(slot) => slot.choice(&formats)?,
        None => SigningFormat::default(),
    };
    Some(SigningKey { format, secret: secret? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refspecs_name_the_pushed_branch_and_one_destination() {
        for (text, branch, destination) in [
            ("refs/heads/main:refs/heads/auto", Some("main"), "refs/heads/auto"),
            ("refs/heads/x/y:refs/for/main", Some("x/y"), "refs/for/main"),
            ("HEAD:refs/for/main%topic=images,r=ops", None, "refs/for/main%topic=images,r=ops"),
        ] {
            let branch = branch.map(str::to_owned);
            assert_eq!(parse(text), Ok(PushRefspec { branch, destination: destination.into() }), "{text}");
        }
        for (text, why) in [
            ("+refs/heads/a:refs/heads/b", "`+`"),
            ("refs/heads/*:refs/heads/*", "`*`"),
            ("refs/heads/main", "a source and a destination"),
            (":refs/heads/main", "delete"),
            ("main:refs/heads/auto", "must start with"),
            ("refs/tags/v1:refs/heads/auto", "must start with"),
            ("4b825dc642cb6eb9a060e54bf8d69288fbee4904:refs/heads/auto", "must start with"),
            ("refs/heads/a b:refs/heads/auto", "must start with"),
            ("refs/heads/main:auto", "must end with"),
            ("refs/heads/main:refs/tags/v1", "must end with"),
            ("refs/heads/main:refs/heads/a..b", "must end with"),
            ("refs/heads/main:refs/heads/a:b", "must end with"),
        ] {
            assert!(parse(text).unwrap_err().contains(why), "{text}: {:?}", parse(text));
        }
    }
}
