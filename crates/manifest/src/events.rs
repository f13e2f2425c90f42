//! The parser, with the limits that this crate sets, reading on after a document that cannot be parsed.

use std::ops::Range;

use granit_parser::{Event, Parser, ScanError, Span, StrInput};

/// Collections nested deeper than this make a document unparsable. Real manifests stay below 30; the parser's own
/// default is 255 as well, stated here because the walk's stack rests on it.
const MAX_DEPTH: usize = 255;
/// Comment lines in a row that the parser may hold back. Licence headers and commented-out manifests run to thousands
/// of lines; the size cap on the file bounds the memory.
const MAX_COMMENTS: usize = 1 << 20;
/// After this many broken documents the rest of the file is not read: it is not a YAML file.
const MAX_BROKEN_DOCUMENTS: usize = 64;

/// The events of a YAML stream. An error ends the document in which it occurs, not the stream: the next item belongs
/// to the next document.
pub(crate) struct Events<'a> {
    parser: Parser<'a, StrInput<'a>>,
    failed: bool,
    broken: usize,
}

impl<'a> Events<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let options = granit_parser::options! {
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
            max_buffered_comment_events: MAX_COMMENTS,
        };
        Self { parser: Parser::new_from_str_with_options(text, options), failed: false, broken: 0 }
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<(Event<'a>, Span), ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            if self.broken >= MAX_BROKEN_DOCUMENTS {
                return None;
            }
            if let Err(error) = self.parser.proceed_next_document() {
                self.broken = MAX_BROKEN_DOCUMENTS;
                return Some(Err(error));
            }
            self.failed = false;
        }
        let item = self.parser.next()?;
        if item.is_err() {
            self.failed = true;
            self.broken += 1;
        }
        Some(item)
    }
}

/// The bytes that an event covers.
pub(crate) fn bytes_of(span: &Span) -> Range<usize> {
    span.byte_range().expect("a parser over &str gives byte offsets to every span")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_after_a_broken_one_are_read() {
        let items: Vec<_> = Events::new("a: [1\n---\nb: 2\n---\nc: {\n").collect();
        assert_eq!(items.iter().filter(|item| item.is_err()).count(), 2);
        assert!(items.iter().flatten().any(|(event, _)| event.scalar().is_some_and(|(text, _)| text == "2")));
    }

    #[test]
    fn a_stream_of_broken_documents_ends() {
        let text = "[\n---\n".repeat(1_000);
        assert_eq!(Events::new(&text).filter(Result::is_err).count(), MAX_BROKEN_DOCUMENTS);
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "[".repeat(100_000);
        assert!(Events::new(&deep).any(|item| item.is_err()));
        let deep = (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<Vec<_>>().concat();
        assert!(Events::new(&deep).any(|item| item.is_err()));
    }
}
