//! Reading what `git push --porcelain` says of each ref (git-push, "Output"). The words between the parentheses are for
//! people; nothing is concluded from them.

use crate::push::Command;
use crate::report::Report;
use crate::sideband;

/// What is in front of a reason where the ref certainly did not move. The third one, `[remote failure]`, says that the
/// server did not tell.
const REFUSALS: [&str; 2] = ["[rejected]", "[remote rejected]"];

/// What one ref's line says.
enum Verdict {
    Moved,
    Refused(String),
    Untold,
}

/// The server's report; `None` where it does not tell of every ref what became of it.
pub(super) fn report(output: &[u8], commands: &[Command]) -> Option<Report> {
    let lines: Vec<(String, Verdict)> = lines(output).collect();
    let mut refs = Vec::with_capacity(commands.len());
    for Command { name, .. } in commands {
        let mut verdicts = lines.iter().filter(|(told, _)| told == name).map(|(_, verdict)| verdict);
        let result = match (verdicts.next()?, verdicts.next()) {
            (Verdict::Moved, None) => Ok(()),
            (Verdict::Refused(reason), None) => Err(reason.clone()),
            _ => return None,
        };
        refs.push((name.clone(), result));
    }
    Some(Report { unpack: Ok(()), refs })
}

/// Whether anything is said of any ref.
pub(super) fn is_any(output: &[u8]) -> bool {
    lines(output).next().is_some()
}

/// `<flag> TAB <from>:<to> TAB <summary> [(<reason>)]`
fn lines(output: &[u8]) -> impl Iterator<Item = (String, Verdict)> {
    output.split(|b| *b == b'\n').filter_map(|line| {
        let line = String::from_utf8_lossy(line);
        let mut fields = line.splitn(3, '\t');
        let (flag, update, summary) = (fields.next()?, fields.next()?, fields.next()?);
        let (_, name) = update.rsplit_once(':')?;
        let verdict = match flag {
            " " | "+" | "*" | "=" => Verdict::Moved,
            "!" => match REFUSALS.iter().find_map(|refusal| summary.strip_prefix(refusal)) {
                Some(reason) => Verdict::Refused(shown(reason)),
                None => Verdict::Untold,
            },
            _ => return None,
        };
        Some((name.to_owned(), verdict))
    })
}

/// A reason without its parentheses.
fn shown(reason: &str) -> String {
    let reason = reason.trim();
    let inner = reason.strip_prefix('(').and_then(|reason| reason.strip_suffix(')')).unwrap_or(reason);
    let reason = sideband::clean(inner.as_bytes());
    if reason.is_empty() { "no reason given".to_owned() } else { reason }
}

#[cfg(test)]
mod tests {
    use gix::ObjectId;
    use gix::hash::Kind;
    use proptest::prelude::*;

    use super::*;

    fn command(name: &str) -> Command {
        Command { name: name.to_owned(), old: None, new: ObjectId::empty_tree(Kind::Sha1) }
    }

    fn verdicts(lines: &[&str]) -> Option<Vec<Result<(), String>>> {
        let output = format!("To http://h/r\n{}\nDone\n", lines.join("\n"));
        let report = report(output.as_bytes(), &[command("refs/heads/main"), command("refs/for/main")]);
        report.map(|report| report.refs.into_iter().map(|(_, result)| result).collect())
    }

    #[test]
    fn each_ref_must_be_told_of_and_a_lost_report_is_none() {
        let main = " \tabc:refs/heads/main\t1..2";
        let new = "*\tabc:refs/for/main\t[new reference]";
        let refused = "!\tabc:refs/for/main\t[remote rejected] (hook (mine) declined)";
        let stale = "!\tabc:refs/heads/main\t[rejected] (stale info)";
        let lost = "!\tabc:refs/heads/main\t[remote failure] (remote failed to report status)";
        let no = |reason: &str| Err(reason.to_owned());
        assert_eq!(verdicts(&[main, new]), Some(vec![Ok(()), Ok(())]));
        assert_eq!(verdicts(&[main, refused]), Some(vec![Ok(()), no("hook (mine) declined")]));
        assert_eq!(verdicts(&[stale, new]), Some(vec![no("stale info"), Ok(())]));
        assert_eq!(
            verdicts(&["!\tabc:refs/heads/main\t[rejected]", new]),
            Some(vec![no("no reason given"), Ok(())])
        );
        assert_eq!(verdicts(&[lost, new]), None);
        assert_eq!(verdicts(&[main]), None);
        assert_eq!(verdicts(&[main, main, new]), None);
        assert_eq!(verdicts(&["?\tabc:refs/heads/main\tx", new]), None);
        assert!(is_any(main.as_bytes()) && !is_any(b"To http://h/r\nDone\n"));
    }

    proptest! {
        #[test]
        fn arbitrary_output_never_panics(output in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = report(&output, &[command("refs/heads/main")]);
        }
    }
}
