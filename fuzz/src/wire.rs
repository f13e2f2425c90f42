//! The Git wire protocol: pkt-lines, the report of a push, the side-band.

use bytes::Bytes;

use crate::fields;
use crate::pktline::{self, Decoder, Packet};
use crate::report::Report;
use crate::sideband::{self, Frame, Words};

/// Whether a character may reach a terminal or a log.
fn is_safe(c: char) -> bool {
    let overrides = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !overrides
}

/// What came out of a stream that arrived in pieces.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    packets: Vec<Packet>,
    /// The end of the stream is the end of a packet.
    whole: bool,
    /// What follows the packets is none.
    broken: bool,
}

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let mut decoder = Decoder::default();
    let mut packets = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next() {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(_) => return Decoded { packets, whole: false, broken: true },
            }
        }
    }
    Decoded { packets, whole: decoder.is_drained(), broken: false }
}

fn encode(packets: &[Packet]) -> Vec<u8> {
    let mut out = Vec::new();
    for packet in packets {
        match packet {
            Packet::Data(payload) => pktline::write(&mut out, payload),
            Packet::Flush => out.extend_from_slice(pktline::FLUSH),
            Packet::Delimiter => out.extend_from_slice(b"0001"),
            Packet::ResponseEnd => out.extend_from_slice(b"0002"),
        }
    }
    out
}

/// The first byte is the size of the pieces. In whatever pieces a stream arrives, it is the same packets; written
/// again they are the stream, but for the case of the length's digits; and nothing is read from half a packet.
pub fn pktline(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else { return };
    let at_once = decode([stream]);
    let in_pieces = decode(stream.chunks(usize::from(*size).max(1)));
    assert_eq!(at_once, in_pieces, "pieces of {size} bytes");

    let written = encode(&at_once.packets);
    assert!(written.eq_ignore_ascii_case(&stream[..written.len()]), "{:?}", at_once.packets);
    assert_eq!(at_once.whole, !at_once.broken && written.len() == stream.len());
    let again = decode([&written[..]]);
    assert!(again.whole && again.packets == at_once.packets, "{again:?}");
    if let Some(last) = written.len().checked_sub(1) {
        let cut = decode([&written[..last]]);
        assert!(!cut.whole && cut.packets == at_once.packets[..at_once.packets.len() - 1], "{cut:?}");
    }
}

/// The ref, and a report. Only a whole report gives a verdict, and a good one only where the server says `unpack ok`,
/// accepts this ref, and nowhere refuses it; other refs have verdicts of their own. What it says against it can be shown.
pub fn report(data: &[u8]) {
    let [name, bytes] = fields(data);
    let Ok(name) = std::str::from_utf8(name) else { return };
    let Some(report) = Report::parse(bytes) else { return };

    let stream = decode([bytes]);
    let end =
        stream.packets.iter().position(|packet| *packet == Packet::Flush).expect("a report ends in a flush");
    let lines: Vec<&[u8]> = stream.packets[..end]
        .iter()
        .map(|packet| match packet {
            Packet::Data(line) => line.strip_suffix(b"\n").unwrap_or(line),
            other => panic!("{other:?} in a report"),
        })
        .collect();
    let accepted = [b"ok ", name.as_bytes()].concat();
    let refuses = |line: &&[u8]| {
        let rest = line.strip_prefix(b"ng ");
        rest.is_some_and(|rest| rest.split(|b| *b == b' ').next() == Some(name.as_bytes()))
    };
    let refused = lines.iter().any(refuses);
    let good = lines.first() == Some(&&b"unpack ok"[..]) && lines.contains(&&accepted[..]) && !refused;
    match report.verdict(name) {
        Ok(()) => assert!(good, "success was read from {lines:?}"),
        Err(reason) => {
            assert!(!good, "a success was read as {reason:?}");
            assert!(reason.chars().all(|c| c == '\n' || is_safe(c)), "{reason:?}");
        }
    }
    let whole = encode(&stream.packets[..=end]).len();
    for cut in 0..whole {
        assert_eq!(Report::parse(&bytes[..cut]), None, "cut at {cut} of {whole}");
    }
}

/// The first byte is the size of the pieces. A frame's payload is the packet's; words can be shown, in whatever pieces
/// they arrive, and cleaning what is clean changes nothing.
pub fn sideband(data: &[u8]) {
    let Some((size, packet)) = data.split_first() else { return };
    match (Frame::parse(Bytes::copy_from_slice(packet)), packet) {
        (Some(Frame::Data(payload)), [1, rest @ ..])
        | (Some(Frame::Progress(payload)), [2, rest @ ..])
        | (Some(Frame::Fatal(payload)), [3, rest @ ..]) => assert_eq!(payload, rest),
        (None, []) => {}
        (None, [channel, ..]) => assert!(!(1..=3).contains(channel)),
        (frame, packet) => panic!("{frame:?} from {packet:?}"),
    }

    let text = sideband::clean(packet);
    assert!(text.chars().all(|c| c == '\n' || is_safe(c)), "{text:?}");
    assert!(text.lines().all(|line| !line.is_empty() && line.trim_end() == line), "{text:?}");
    assert_eq!(sideband::clean(text.as_bytes()), text);

    let mut words = Words::default();
    packet.chunks(usize::from(*size).max(1)).for_each(|piece| words.push(piece));
    assert_eq!(words.into_lines().join("\n"), text);
}
