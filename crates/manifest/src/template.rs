//! Markers in Helm templates, which are text until they are rendered: each marked line is read alone, as YAML of one
//! line, and the lines above it only for where template actions and block scalars are open.

use memchr::memmem;

use crate::outline::{self, Near};
use crate::problem::{Problem, ProblemCause};
use crate::resolve;
use crate::scan::Scan;
use crate::screen::MARKER_KEY;
use crate::splice::{Refused, Rewrite};

/// Finds the markers; `markers` are the offsets of the marker key, in rising order.
pub(crate) fn resolve(text: &str, markers: &[usize]) -> Scan {
    let mut scan = Scan::default();
    let mut markers = markers.iter().copied().peekable();
    let mut state = State::default();
    let mut start = 0;
    for (index, whole) in text.split_inclusive('\n').enumerate() {
        let line = whole.trim_end_matches(['\n', '\r']);
        let mut marked = false;
        while markers.next_if(|at| (start..start + whole.len()).contains(at)).is_some() {
            marked = true;
        }
        if marked {
            match state.problem(line, index + 1) {
                Some(cause) => scan.problems.push(Problem { line: index + 1, cause }),
                None => read_line(line, start, index, &mut scan),
            }
        }
        state.pass(line);
        start += whole.len();
    }
    scan
}

/// Splices the new values in. The result must have the same markers in the same lines, each with its value.
pub(crate) fn apply(old: &str, scan: &Scan, rewrite: &Rewrite) -> Result<String, Refused> {
    if crate::scan::scan_template(old.as_bytes()) != *scan {
        return Err(Refused::Stale);
    }
    let new = rewrite.splice(old)?;
    let found = crate::scan::scan_template(new.as_bytes());
    let mut sets = rewrite.sets.iter().peekable();
    for (index, old) in scan.places.iter().enumerate() {
        let value = match sets.next_if(|set| set.span == old.target.span) {
            Some(set) => &set.new,
            None => &old.value,
        };
        let same = found
            .places
            .get(index)
            .is_some_and(|new| (&new.marker, new.line, &new.value) == (&old.marker, old.line, value));
        if !same {
            return Err(Refused::Altered { line: old.line });
        }
    }
    let same = found.places.len() == scan.places.len() && found.problems == scan.problems;
    if same { Ok(new) } else { Err(Refused::Altered { line: 1 }) }
}

/// What the lines so far leave open.
#[derive(Debug, Default)]
struct State {
    /// Within `{{` and `}}`.
    action: Option<Action>,
    /// Within a block scalar: the column of its parent. Its text is indented more than that.
    block: Option<usize>,
}

/// What ends the action that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// `{{ … }}`
    Code,
    /// `{{/* … */}}`
    Comment,
}

impl State {
    /// Why a marker on the line that comes cannot be used.
    fn problem(&self, line: &str, number: usize) -> Option<ProblemCause> {
        if line.trim_start_matches(' ').starts_with('\t') {
            // Alone it would be YAML, within a document it is not.
            let message = "a tab cannot indent a line".to_owned();
            return Some(ProblemCause::Unparsable { message, template: false, markers: vec![number] });
        }
        if self.action.is_some() || before_marker(line).contains("{{") {
            return Some(ProblemCause::Template);
        }
        self.block.is_some_and(|indent| indentation(line) > indent).then_some(ProblemCause::BlockScalar)
    }

    /// Goes past a line.
    fn pass(&mut self, line: &str) {
        let is_action = self.action.is_some() || line.trim_start().starts_with("{{");
        self.action = after(line, self.action);
        // Neither an empty line nor one that renders to something else ends a block scalar.
        if is_action || line.trim().is_empty() {
            return;
        }
        if self.block.is_some_and(|indent| indentation(line) > indent) {
            return;
        }
        self.block = block_parent(line);
    }
}

/// Which action is open after a line.
fn after(line: &str, mut action: Option<Action>) -> Option<Action> {
    let mut rest = line;
    loop {
        let end = match action {
            None => "{{",
            Some(Action::Code) => "}}",
            Some(Action::Comment) => "*/",
        };
        let Some(at) = rest.find(end) else { return action };
        rest = &rest[at + end.len()..];
        action = match action {
            None => {
                let inner = rest.strip_prefix('-').unwrap_or(rest).trim_start();
                Some(if inner.starts_with("/*") { Action::Comment } else { Action::Code })
            }
            Some(Action::Comment) => Some(Action::Code),
            Some(Action::Code) => None,
        };
    }
}

/// If the line ends with the header of a block scalar (`|`, `>-` and the like), the column of its key, or of its dash
/// where it has no key.
fn block_parent(line: &str) -> Option<usize> {
    let code = line.split_once(" #").map_or(line, |(code, _)| code).trim_end();
    let header = code.rsplit([' ', '\t']).next()?;
    let (first, rest) = header.split_at_checked(1)?;
    if !matches!(first, "|" | ">") || !rest.bytes().all(|b| matches!(b, b'+' | b'-' | b'1'..=b'9')) {
        return None;
    }
    let start = line.len() - line.trim_start_matches([' ', '-']).len();
    let dash = line[..start].rfind('-');
    Some(if line[start..].starts_with(['|', '>']) { dash.unwrap_or(0) } else { start })
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The line without its marker, if it has one at its end.
fn before_marker(line: &str) -> &str {
    let key = memmem::find(line.as_bytes(), MARKER_KEY).unwrap_or(line.len());
    line[..key].rfind('#').map_or(line, |hash| &line[..hash])
}

/// Reads one line as a document of its own.
fn read_line(line: &str, start: usize, above: usize, scan: &mut Scan) {
    let markers: Vec<usize> = memmem::find_iter(line.as_bytes(), MARKER_KEY).collect();
    let found = resolve::resolve(line, &markers, outline::read(line, &Near::around(line, &markers)));
    scan.places.extend(found.places.into_iter().map(|mut place| {
        place.line += above;
        place.target.span = place.target.span.start + start..place.target.span.end + start;
        // The line does not say which item of its list it is.
        let path = place.key_path.replace("[0]", "");
        path.trim_start_matches('.').clone_into(&mut place.key_path);
        place.object = windlass_model::place::ObjectIdentifier::default();
        place
    }));
    scan.problems.extend(found.problems.into_iter().map(|mut problem| {
        problem.line += above;
        if let ProblemCause::Unparsable { markers, .. } = &mut problem.cause {
            for line in markers {
                *line += above;
            }
        }
        problem
    }));
}
