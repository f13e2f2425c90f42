//! Which scalar a marker means, or why it means none.
//!
//! A marker at the end of a line means the one value of that line. A marker on a line of its own means the value on
//! the next line, if that value has no key there and no comment of its own: the places where Flux finds it as a head
//! comment (kyaml's `fieldmeta`, over the comments that yaml.v3 attaches to the scalar).

use std::ops::Range;

use memchr::{memchr2, memrchr2};
use windlass_model::place::Marker;

use crate::marker;
use crate::outline::{Comment, Node, NodeKind, Outline, Shape};
use crate::problem::{Problem, ProblemCause};
use crate::scalar::{self, Style};
use crate::scan::{Place, Scan, Target};

/// Resolves every marker of `text`; `markers` are the offsets of the marker key, in rising order.
pub(crate) fn resolve(text: &str, markers: &[usize], outline: Outline<'_>) -> Scan {
    let problems = outline.broken.iter().map(|broken| unparsable(text, broken)).collect();
    let mut resolver = Resolver { text, outline, scan: Scan { problems, ..Scan::default() } };
    let mut lines = LineCounter { text, offset: 0, line: 1 };
    let mut last_comment = None;
    for &at in markers {
        let line = lines.line_of(at);
        if let Some(broken) = containing(&resolver.outline.broken, at, |broken| &broken.span) {
            if let ProblemCause::Unparsable { markers, .. } = &mut resolver.scan.problems[broken].cause {
                markers.push(line);
            }
            continue;
        }
        match containing(&resolver.outline.comments, at, |comment| &comment.span) {
            // A comment is one marker, however often it names the key.
            comment @ Some(_) if comment == last_comment => {}
            Some(comment) => {
                last_comment = Some(comment);
                resolver.comment(comment);
            }
            None => resolver.stray(at, line),
        }
    }
    resolver.scan.places.sort_by_key(|place| place.target.span.start);
    resolver.scan.problems.sort_by_key(|problem| problem.line);
    resolver.scan
}

struct Resolver<'a> {
    text: &'a str,
    outline: Outline<'a>,
    scan: Scan,
}

impl Resolver<'_> {
    fn comment(&mut self, index: usize) {
        let comment = &self.outline.comments[index];
        let own_line = self.is_alone(comment);
        let found = marker::parse(&comment.text, own_line).and_then(|marker| {
            let node = if own_line { self.below(index)? } else { self.before(comment)? };
            self.place(marker, node)
        });
        match found {
            Ok(place) => self.scan.places.push(place),
            Err(cause) => {
                let line = comment.line;
                self.scan.problems.push(Problem { line, cause });
            }
        }
    }

    /// The value that a marker at the end of its line means.
    fn before(&self, comment: &Comment<'_>) -> Result<&Node<'_>, ProblemCause> {
        if self.line_before(comment.span.start).contains("{{") {
            return Err(ProblemCause::Template);
        }
        let Some(line) = self.line(comment.line) else {
            return Err(if self.starts_block(comment.line) {
                ProblemCause::BlockScalar
            } else {
                ProblemCause::NoValue
            });
        };
        match &line.last.kind {
            NodeKind::Key(shape) => Err(match shape {
                Some(Shape::Empty) => ProblemCause::EmptyValue,
                Some(Shape::Block) => ProblemCause::BlockScalar,
                Some(Shape::Collection) => ProblemCause::NotAScalar,
                Some(Shape::Scalar | Shape::Alias) | None => ProblemCause::OnKey,
            }),
            _ => line.only_value(),
        }
    }

    /// The value that a marker on a line of its own means.
    fn below(&self, index: usize) -> Result<&Node<'_>, ProblemCause> {
        let comments = &self.outline.comments;
        let line = comments[index].line;
        let above = index.checked_sub(1).map(|above| &comments[above]);
        if above.is_some_and(|above| above.line + 1 == line && self.is_alone(above)) {
            return Err(ProblemCause::InCommentBlock);
        }
        if let Some(next) = comments.get(index + 1).filter(|next| next.line == line + 1) {
            return Err(if self.is_alone(next) {
                ProblemCause::InCommentBlock
            } else {
                ProblemCause::Shadowed
            });
        }
        let line = self.line(line + 1).ok_or(ProblemCause::Detached)?;
        let before = self.line_before(line.last.span.start);
        if before.starts_with("---") {
            Err(ProblemCause::Detached)
        } else if before.contains("{{") {
            Err(ProblemCause::Template)
        } else if line.keys > 0 {
            Err(ProblemCause::AboveKey)
        } else {
            line.only_value()
        }
    }

    /// The place, if the node can be changed safely.
    fn place(&self, marker: Marker, node: &Node<'_>) -> Result<Place, ProblemCause> {
        let NodeKind::Scalar(scalar) = &node.kind else {
            return Err(ProblemCause::NotAScalar);
        };
        let style = Style::of(scalar.style).ok_or(ProblemCause::BlockScalar)?;
        if node.first_line != node.last_line {
            return Err(ProblemCause::MultiLine);
        }
        if let Some(tag) = scalar::other_type(scalar.tag.as_deref()) {
            return Err(ProblemCause::TypedTag { tag });
        }
        let document = self.outline.documents.get(node.document);
        let shared = containing(&self.outline.repeated, node.span.start, |extent| extent).is_some();
        Ok(Place {
            marker,
            line: node.first_line,
            value: scalar.text.clone().into_owned(),
            object: document.map(|document| document.object(scalar.item).clone()).unwrap_or_default(),
            key_path: scalar.key_path.clone(),
            shared_by_alias: shared,
            target: Target {
                span: node.span.clone(),
                style,
                in_flow: scalar.in_flow,
                tagged: scalar.tag.is_some(),
            },
        })
    }

    /// The marker's key outside any comment: a problem if it looks like a marker, else text like any other.
    fn stray(&mut self, at: usize, line: usize) {
        let before = self.text[..at].trim_end_matches(['"', '\'', '\\', ' ', '\t']);
        if !before.ends_with('{') {
            return;
        }
        let nodes = &self.outline.nodes;
        let block = containing(nodes, at, |node| &node.span).is_some_and(|node| nodes[node].is_block());
        let cause = if block { ProblemCause::BlockScalar } else { ProblemCause::NotInComment };
        self.scan.problems.push(Problem { line, cause });
    }

    /// The nodes of a line; absent if there is none.
    fn line(&self, line: usize) -> Option<Line<'_>> {
        let nodes = &self.outline.nodes;
        let next = nodes.partition_point(|node| node.first_line < line);
        let starting = nodes.get(next).filter(|node| node.first_line == line);
        // A block scalar's extent reaches into the line after it, where it has no text.
        let reaching = next.checked_sub(1).map(|before| &nodes[before]);
        let reaching = reaching.filter(|node| node.last_line == line && !node.is_block());
        let is_key = reaching.map(|node| matches!(node.kind, NodeKind::Key(_)));
        Some(Line {
            last: starting.or(reaching)?,
            keys: starting.map_or(0, |node| node.keys) + usize::from(is_key == Some(true)),
            values: starting.map_or(0, |node| node.values) + usize::from(is_key == Some(false)),
        })
    }

    /// Whether the text of a block scalar starts right below a line that has no node: that line is its header.
    fn starts_block(&self, line: usize) -> bool {
        let nodes = &self.outline.nodes;
        let next = nodes.get(nodes.partition_point(|node| node.first_line <= line));
        next.is_some_and(|node| node.first_line == line + 1 && node.is_block())
    }

    /// Whether nothing but white space precedes the comment on its line.
    fn is_alone(&self, comment: &Comment<'_>) -> bool {
        self.line_before(comment.span.start).trim_matches(['\u{feff}', ' ', '\t']).is_empty()
    }

    /// The text from the start of the line to this byte.
    fn line_before(&self, at: usize) -> &str {
        let start = memrchr2(b'\n', b'\r', &self.text.as_bytes()[..at]).map_or(0, |found| found + 1);
        &self.text[start..at]
    }
}

/// What is on a line.
struct Line<'n> {
    last: &'n Node<'n>,
    keys: usize,
    values: usize,
}

impl<'n> Line<'n> {
    /// The last node, if it is a scalar and the only value.
    fn only_value(self) -> Result<&'n Node<'n>, ProblemCause> {
        match self.last.kind {
            NodeKind::Alias => Err(ProblemCause::Alias),
            _ if self.values > 1 => Err(ProblemCause::Ambiguous { values: self.values }),
            _ => Ok(self.last),
        }
    }
}

fn unparsable(text: &str, broken: &crate::outline::Broken) -> Problem {
    let template = text.get(broken.span.clone()).is_some_and(|document| document.contains("{{"));
    let cause = ProblemCause::Unparsable { message: broken.message.clone(), template, markers: Vec::new() };
    Problem { line: broken.line, cause }
}

/// The index of the span that contains `at`, among spans in rising order that do not overlap.
fn containing<T>(spans: &[T], at: usize, span: impl Fn(&T) -> &Range<usize>) -> Option<usize> {
    let next = spans.partition_point(|candidate| span(candidate).end <= at);
    spans.get(next).filter(|candidate| span(candidate).contains(&at)).map(|_| next)
}

/// Counts lines as the parser does: `\n`, `\r\n` and a lone `\r` end one.
struct LineCounter<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
}

impl LineCounter<'_> {
    /// The line of an offset that is no smaller than the one before.
    fn line_of(&mut self, at: usize) -> usize {
        let bytes = self.text.as_bytes();
        while let Some(found) = memchr2(b'\n', b'\r', &bytes[self.offset..at]) {
            let end = self.offset + found;
            let pair = bytes[end] == b'\r' && bytes.get(end + 1) == Some(&b'\n');
            self.offset = end + if pair { 2 } else { 1 };
            self.line += 1;
        }
        self.offset = at;
        self.line
    }
}
