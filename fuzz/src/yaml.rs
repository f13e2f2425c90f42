//! Two versions of a YAML file, compared by a parser and not by the editor.

use std::ops::Range;

use granit_parser::{Event, Parser};

/// A node or a comment; an error ends its document and has its text.
type Item<'t> = Result<(Event<'t>, Range<usize>), String>;

/// Every event, those of documents after a broken one included.
fn events(text: &str) -> Vec<Item<'_>> {
    let mut parser = Parser::new_from_str(text);
    let mut events = Vec::new();
    while let Some(item) = parser.next() {
        let failed = item.is_err();
        let item = item.map_err(|error| format!("{:?}", error.kind()));
        events.push(item.map(|(event, span)| (event, span.byte_range().unwrap_or_default())));
        if failed && parser.proceed_next_document().is_err() {
            break;
        }
    }
    events
}

/// The values of the scalars that differ, old and new, in the order of the file. Everything else must be equal.
///
/// # Panics
/// Where something else differs.
pub fn changed_scalars(old: &str, new: &str) -> Vec<(String, String)> {
    // The parser may hand a comment out before or after the node that it stands at: each kind in its own order.
    let ((old_events, old_comments), (new_events, new_comments)) = (apart(events(old)), apart(events(new)));
    assert_eq!(old_comments, new_comments, "the comments changed:\n{old}\n--- became\n{new}");
    assert_eq!(old_events.len(), new_events.len(), "another number of events:\n{old}\n--- became\n{new}");
    let mut changed = Vec::new();
    for (before, after) in old_events.iter().zip(&new_events) {
        match (before, after) {
            (
                Ok((Event::Scalar(text, _, anchor, tag), _)),
                Ok((Event::Scalar(new_text, _, new_anchor, new_tag), _)),
            ) => {
                assert_eq!(
                    (anchor, tag),
                    (new_anchor, new_tag),
                    "an anchor or a tag changed:\n{old}\n--- became\n{new}"
                );
                if text != new_text {
                    changed.push((text.to_string(), new_text.to_string()));
                }
            }
            (Ok((before, _)), Ok((after, _))) => assert_eq!(before, after, "\n{old}\n--- became\n{new}"),
            (before, after) => {
                assert_eq!(before.as_ref().err(), after.as_ref().err(), "\n{old}\n--- became\n{new}");
            }
        }
    }
    changed
}

/// Nodes, and comments in the order of the text.
fn apart(events: Vec<Item<'_>>) -> (Vec<Item<'_>>, Vec<String>) {
    let mut comments = Vec::new();
    let mut nodes = Vec::new();
    for event in events {
        match event {
            Ok((Event::Comment(text, _), span)) => comments.push((span.start, text.into_owned())),
            node => nodes.push(node),
        }
    }
    comments.sort();
    (nodes, comments.into_iter().map(|(_, text)| text).collect())
}

/// Whether the text is parsed without an error.
pub fn is_sound(text: &str) -> bool {
    events(text).iter().all(Result::is_ok)
}
