//! pkt-line framing (gitprotocol-common, "pkt-line Format"). It frames bytes and knows nothing of their meaning.

use bytes::{Bytes, BytesMut};

/// Longest packet including its four length digits (gitprotocol-common: 65520).
const MAX_PACKET: usize = 65_520;
/// Longest payload that one packet can carry.
const MAX_DATA: usize = MAX_PACKET - LENGTH_DIGITS;
const LENGTH_DIGITS: usize = 4;

/// `0000`: the end of a message or section.
pub(crate) const FLUSH: &[u8] = b"0000";
/// `0001`: separates the parts of a protocol v2 message.
const DELIMITER: &[u8] = b"0001";

/// One unit of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packet {
    /// A payload, possibly empty, with its newline where the sender put one.
    Data(Bytes),
    /// `0000`
    Flush,
    /// `0001`
    Delimiter,
    /// `0002`
    ResponseEnd,
}

/// A stream that is not pkt-lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PktLineError {
    #[error("a packet's length is not four hexadecimal digits")]
    Length,
    #[error("a packet states a length that the format does not allow")]
    Size,
}

/// Splits bytes that arrive in pieces of any size into packets.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Appends bytes from the stream.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole packet, or `None` until more bytes were fed.
    pub(crate) fn next(&mut self) -> Result<Option<Packet>, PktLineError> {
        let Some(digits) = self.buffer.first_chunk::<LENGTH_DIGITS>() else { return Ok(None) };
        let length = parse_length(*digits)?;
        if length > LENGTH_DIGITS && self.buffer.len() < length {
            return Ok(None);
        }
        let packet = match length {
            0 => Packet::Flush,
            1 => Packet::Delimiter,
            2 => Packet::ResponseEnd,
            _ => {
                let mut whole = self.buffer.split_to(length);
                return Ok(Some(Packet::Data(whole.split_off(LENGTH_DIGITS).freeze())));
            }
        };
        let _ = self.buffer.split_to(LENGTH_DIGITS);
        Ok(Some(packet))
    }

    /// Whether every fed byte was part of a packet that was taken.
    pub(crate) fn is_drained(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// Appends one packet with `payload`, which must not exceed [`MAX_DATA`].
pub(crate) fn write(out: &mut Vec<u8>, payload: &[u8]) {
    debug_assert!(payload.len() <= MAX_DATA, "callers bound what they send");
    out.extend_from_slice(format!("{:04x}", payload.len() + LENGTH_DIGITS).as_bytes());
    out.extend_from_slice(payload);
}

/// The start of a protocol v2 request (gitprotocol-v2, "Command Request"), up to and with the delimiter.
pub(crate) fn command(name: &str, capabilities: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, format!("command={name}\n").as_bytes());
    for capability in capabilities.split_whitespace() {
        write(&mut out, format!("{capability}\n").as_bytes());
    }
    out.extend_from_slice(DELIMITER);
    out
}

/// A payload without the newline that senders of text may add.
pub(crate) fn trim(payload: &[u8]) -> &[u8] {
    payload.strip_suffix(b"\n").unwrap_or(payload)
}

fn parse_length(digits: [u8; LENGTH_DIGITS]) -> Result<usize, PktLineError> {
    let mut length = 0;
    for digit in digits {
        let value = char::from(digit).to_digit(16).ok_or(PktLineError::Length)?;
        length = length * 16 + value as usize;
    }
    if length == 3 || length > MAX_PACKET { Err(PktLineError::Size) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8]) -> Result<Vec<Packet>, PktLineError> {
        let mut decoder = Decoder::default();
        decoder.feed(bytes);
        std::iter::from_fn(|| decoder.next().transpose()).collect()
    }

    #[test]
    fn special_packets_and_limits_follow_the_format() {
        assert_eq!(decode(b"0000"), Ok(vec![Packet::Flush]));
        assert_eq!(decode(b"00010002"), Ok(vec![Packet::Delimiter, Packet::ResponseEnd]));
        assert_eq!(decode(b"0004"), Ok(vec![Packet::Data(Bytes::new())]));
        assert_eq!(decode(b"0006a\n"), Ok(vec![Packet::Data(Bytes::from_static(b"a\n"))]));
        assert_eq!(decode(b"0006a"), Ok(vec![]));
        assert_eq!(decode(b"0003"), Err(PktLineError::Size));
        assert_eq!(decode(b"fff1"), Err(PktLineError::Size));
        assert_eq!(decode(b"00g0"), Err(PktLineError::Length));
        assert_eq!(decode(b"+004"), Err(PktLineError::Length));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn payloads_survive_any_split(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            size in 1_usize..50,
        ) {
            let mut wire = Vec::new();
            for payload in &payloads {
                write(&mut wire, payload);
            }
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for piece in wire.chunks(size) {
                decoder.feed(piece);
                while let Some(packet) = decoder.next().unwrap() {
                    seen.push(packet);
                }
            }
            prop_assert!(decoder.is_drained());
            let expected: Vec<_> = payloads.into_iter().map(|p| Packet::Data(p.into())).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
