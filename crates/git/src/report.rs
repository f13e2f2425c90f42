//! Parsing of receive-pack's report (gitprotocol-pack, "Report Status"; `report-status-v2` adds `option` lines).

use crate::pktline::{self, Decoder, Packet};
use crate::sideband;

/// What the server says it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// `unpack ok`, or the server's words.
    pub(crate) unpack: Result<(), String>,
    /// Per ref, in the server's order: `ok`, or the reason after `ng`.
    pub(crate) refs: Vec<(String, Result<(), String>)>,
}

impl Report {
    /// Parses the whole report; `None` when it is missing, cut short or not a report.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::default();
        decoder.feed(bytes);
        let Packet::Data(first) = decoder.next().ok()?? else { return None };
        let status = pktline::trim(&first).strip_prefix(b"unpack ")?;
        let unpack = if status == b"ok" { Ok(()) } else { Err(sideband::clean(status)) };
        let mut refs = Vec::new();
        loop {
            match decoder.next().ok()?? {
                Packet::Data(line) => refs.extend(parse_line(pktline::trim(&line))?),
                Packet::Flush => return Some(Self { unpack, refs }),
                Packet::Delimiter | Packet::ResponseEnd => return None,
            }
        }
    }

    /// `Ok` only when the pack was unpacked and this ref was accepted; else the reason.
    pub(crate) fn verdict(&self, name: &str) -> Result<(), String> {
        self.unpack.clone()?;
        let mut seen = false;
        for (_, result) in self.refs.iter().filter(|(reported, _)| reported == name) {
            result.clone()?;
            seen = true;
        }
        if seen { Ok(()) } else { Err("the server's report does not mention it".to_owned()) }
    }
}

/// One line after `unpack`: a ref's result, nothing for an `option`, and `None` for anything else.
#[expect(clippy::option_option, reason = "outer: is this a report line; inner: does it state a result")]
fn parse_line(line: &[u8]) -> Option<Option<(String, Result<(), String>)>> {
    if line.starts_with(b"option ") {
        return Some(None);
    }
    if let Some(name) = line.strip_prefix(b"ok ") {
        return Some(Some((String::from_utf8(name.to_vec()).ok()?, Ok(()))));
    }
    let rest = line.strip_prefix(b"ng ")?;
    let (name, reason) = match rest.iter().position(|b| *b == b' ') {
        Some(space) => (&rest[..space], &rest[space + 1..]),
        None => (rest, &b"no reason given"[..]),
    };
    Some(Some((String::from_utf8(name.to_vec()).ok()?, Err(sideband::clean(reason)))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wire(lines: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines {
            pktline::write(&mut out, line.as_bytes());
        }
        out.extend_from_slice(pktline::FLUSH);
        out
    }

    #[test]
    fn a_push_succeeds_only_when_unpacked_and_the_branch_is_named_ok() {
        let main = "refs/heads/main";
        for (lines, verdict) in [
            (&["unpack ok\n", "ok refs/heads/main\n"][..], Ok(())),
            (&["unpack ok", "ok refs/heads/main", "option refname refs/heads/x"], Ok(())),
            (&["unpack ok\n", "ng refs/heads/main hook declined\n"], Err("hook declined")),
            (&["unpack ok\n", "ng refs/heads/main\n"], Err("no reason given")),
            (&["unpack disk\x07full\n", "ok refs/heads/main\n"], Err("diskfull")),
            (&["unpack ok\n", "ok refs/heads/other\n"], Err("the server's report does not mention it")),
            (&["unpack ok\n", "ok refs/heads/main\n", "ng refs/heads/main no\n"], Err("no")),
            (&["unpack ok\n", "ok refs/heads/main\n", "ng refs/heads/x no\n"], Ok(())),
        ] {
            let report = Report::parse(&wire(lines)).unwrap();
            assert_eq!(report.verdict(main), verdict.map_err(str::to_owned), "{lines:?}");
        }
    }

    #[test]
    fn a_report_that_is_cut_short_or_strange_is_no_report() {
        let whole = wire(&["unpack ok\n", "ok refs/heads/main\n"]);
        for end in 0..whole.len() {
            assert_eq!(Report::parse(&whole[..end]), None, "{end}");
        }
        assert_eq!(Report::parse(&wire(&["ok refs/heads/main\n"])), None);
        assert_eq!(Report::parse(&wire(&["unpack ok\n", "hello\n"])), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = Report::parse(&bytes);
        }

        #[test]
        fn arbitrary_lines_never_panic(lines in prop::collection::vec("[ -~]{0,40}", 0..6)) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            if let Some(report) = Report::parse(&wire(&lines)) {
                let _ = report.verdict("refs/heads/main");
            }
        }
    }
}
