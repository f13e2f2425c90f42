//! Side-band demultiplexing (gitprotocol-common, "side-band"; gitprotocol-pack) and cleaning of the server's words.

use bytes::Bytes;

/// Most text that is kept of what a server says during one exchange: enough for a long hook message.
const MAX_TEXT: usize = 16 * 1024;

/// One packet of a multiplexed stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Channel 1: the payload.
    Data(Bytes),
    /// Channel 2: words for people, in arbitrary pieces.
    Progress(Bytes),
    /// Channel 3: the server gives up, with its reason.
    Fatal(Bytes),
}

impl Frame {
    /// Reads the channel from a packet's first byte; `None` for an unknown channel or an empty packet.
    pub(crate) fn parse(mut packet: Bytes) -> Option<Self> {
        let channel = *packet.first()?;
        let payload = packet.split_off(1);
        match channel {
            1 => Some(Self::Data(payload)),
            2 => Some(Self::Progress(payload)),
            3 => Some(Self::Fatal(payload)),
            _ => None,
        }
    }
}

/// Collects a server's words and hands them out as clean lines.
#[derive(Debug, Default)]
pub(crate) struct Words {
    bytes: Vec<u8>,
}

impl Words {
    /// Adds a piece, up to the limit; what exceeds it is dropped.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let room = MAX_TEXT.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    /// The lines that are not empty, without control characters.
    pub(crate) fn into_lines(self) -> Vec<String> {
        clean(&self.bytes).lines().map(str::to_owned).collect()
    }
}

/// Makes a server's bytes safe to show: valid UTF-8, carriage returns as line ends (progress meters use them), no
/// other control or bidirectional-override character, no empty line, no trailing space.
pub(crate) fn clean(bytes: &[u8]) -> String {
    let end = bytes.len().min(MAX_TEXT);
    let text = String::from_utf8_lossy(&bytes[..end]).replace('\r', "\n");
    let lines = text.lines().map(|line| line.chars().filter(|c| !is_unsafe(*c)).collect::<String>());
    let lines: Vec<String> =
        lines.map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn channels_are_told_apart() {
        for (packet, frame) in [
            (&b"\x01pack"[..], Some(Frame::Data(Bytes::from_static(b"pack")))),
            (b"\x02hi", Some(Frame::Progress(Bytes::from_static(b"hi")))),
            (b"\x03no", Some(Frame::Fatal(Bytes::from_static(b"no")))),
            (b"\x01", Some(Frame::Data(Bytes::new()))),
            (b"\x04x", None),
            (b"", None),
        ] {
            assert_eq!(Frame::parse(Bytes::copy_from_slice(packet)), frame, "{packet:?}");
        }
    }

    #[test]
    fn words_are_joined_across_pieces_and_cleaned() {
        let mut words = Words::default();
        words.push(b"policy: no direct pu");
        words.push(b"sh\n\x1b[31mred\x1b[0m\r50%\r\n\n\xff end \xe2\x80\xae\n");
        assert_eq!(words.into_lines(), ["policy: no direct push", "[31mred[0m", "50%", "\u{fffd} end"]);
    }

    #[test]
    fn a_flood_of_words_is_bounded() {
        let mut words = Words::default();
        (0..100).for_each(|_| words.push(&[b'x'; 1024]));
        assert_eq!(words.into_lines().concat().len(), MAX_TEXT);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_come_out_clean(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = Frame::parse(Bytes::copy_from_slice(&bytes));
            let text = clean(&bytes);
            prop_assert!(text.chars().all(|c| c == '\n' || !is_unsafe(c)));
        }
    }
}
