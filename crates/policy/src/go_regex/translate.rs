//! The translation: a transcript of the grammar in Go's `regexp/syntax` documentation, with the flags that
//! `regexp.Compile` sets (`syntax.Perl`).

use super::class;
use super::{GoRegexError, GoRegexErrorKind as Kind, MAX_DEPTH};

/// Largest repetition count, and largest product of nested ones (Go, `repeatIsValid`).
const MAX_REPEAT: u32 = 1000;

pub(super) struct Translation {
    pub(super) pattern: String,
    pub(super) names: Vec<Option<String>>,
}

/// Translates an expression, or says why Go refuses it.
pub(super) fn translate(source: &str) -> Result<Translation, GoRegexError> {
    let mut translator = Translator {
        source,
        rest: source,
        out: String::with_capacity(source.len() * 8),
        flags: Flags::default(),
        groups: vec![Group::new(Flags::default(), 0)],
        names: vec![None],
        last_repeat: None,
    };
    while let Some(c) = translator.rest.chars().next() {
        let repeat = translator.step(c)?;
        translator.last_repeat = repeat;
    }
    if translator.groups.len() > 1 {
        return Err(error(Kind::MissingParen, source));
    }
    Ok(Translation { pattern: translator.out, names: translator.names })
}

pub(super) fn error(kind: Kind, fragment: &str) -> GoRegexError {
    GoRegexError { kind, fragment: fragment.to_owned() }
}

/// `(?imsU)`. They hold from where they are set to the end of the enclosing group.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "Go has four independent flags")]
pub(super) struct Flags {
    pub(super) fold_case: bool,
    multi_line: bool,
    dot_newline: bool,
    non_greedy: bool,
}

/// An open group; the first one is the whole expression.
struct Group {
    /// The flags to restore when it closes.
    flags: Flags,
    /// Where it starts in the output.
    start: usize,
    /// What a repetition operator would apply to.
    atom: Option<Atom>,
    /// The largest repeat product among the atoms before `atom`.
    repeats: u32,
}

impl Group {
    fn new(flags: Flags, start: usize) -> Self {
        Self { flags, start, atom: None, repeats: 1 }
    }

    /// Moves on to the next atom, if there is one; no repetition can reach the last one any more.
    fn next_atom(&mut self, atom: Option<Atom>) {
        let last = std::mem::replace(&mut self.atom, atom);
        self.repeats = self.repeats.max(last.map_or(1, |last| last.repeats));
    }
}

#[derive(Clone, Copy)]
struct Atom {
    start: usize,
    repeats: u32,
    /// It ends in a repetition operator, and a further one needs a group.
    repeated: bool,
}

struct Translator<'s> {
    source: &'s str,
    rest: &'s str,
    out: String,
    flags: Flags,
    groups: Vec<Group>,
    names: Vec<Option<String>>,
    /// The source from the repetition operator that was the previous token.
    last_repeat: Option<&'s str>,
}

impl<'s> Translator<'s> {
    /// Takes one token. Gives back the source from a repetition operator, if the token was one.
    fn step(&mut self, c: char) -> Result<Option<&'s str>, GoRegexError> {
        let before = self.rest;
        match c {
            '(' if self.rest.starts_with("(?") => self.perl_group()?,
            '(' => {
                self.skip(1);
                self.open_group(Some(None))?;
            }
            '|' => {
                self.skip(1);
                self.out.push('|');
                self.group().next_atom(None);
            }
            ')' => self.close_group()?,
            '^' => self.emit(1, if self.flags.multi_line { "(?m:^)" } else { r"\A" }),
            '$' => self.emit(1, if self.flags.multi_line { "(?m:$)" } else { r"\z" }),
            '.' => self.emit(1, if self.flags.dot_newline { "(?s:.)" } else { r"[^\n]" }),
            '[' => {
                let (class, rest) = class::bracket(self.rest, self.flags)?;
                self.rest = rest;
                self.push_atom(&class);
            }
            '*' | '+' | '?' => {
                let most = if c == '?' { Some(1) } else { None };
                let count = Count { min: 0, max: most, counted: false };
                self.repeat(before, &before[1..], &c.to_string(), count)?;
                return Ok(Some(before));
            }
            '{' => match parse_count(self.rest)? {
                Some((count, after)) => {
                    let operator = count.to_string();
                    self.repeat(before, after, &operator, count)?;
                    return Ok(Some(before));
                }
                None => self.literal_token('{'),
            },
            '\\' => self.escape()?,
            other => self.literal_token(other),
        }
        Ok(None)
    }

    fn group(&mut self) -> &mut Group {
        self.groups.last_mut().expect("the whole expression's group is never closed")
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn emit(&mut self, skip: usize, text: &str) {
        self.skip(skip);
        self.push_atom(text);
    }

    fn push_atom(&mut self, text: &str) {
        let start = self.out.len();
        self.out.push_str(text);
        self.group().next_atom(Some(Atom { start, repeats: 1, repeated: false }));
    }

    fn literal_token(&mut self, c: char) {
        self.skip(c.len_utf8());
        self.literal(c as u32);
    }

    fn literal(&mut self, code: u32) {
        let text = class::literal(code, self.flags);
        self.push_atom(&text);
    }

    /// `name` is absent for a group that captures nothing.
    #[expect(clippy::option_option, reason = "capturing or not, named or not")]
    fn open_group(&mut self, name: Option<Option<&str>>) -> Result<(), GoRegexError> {
        if self.groups.len() > MAX_DEPTH as usize {
            return Err(error(Kind::NestingDepth, self.source));
        }
        self.groups.push(Group::new(self.flags, self.out.len()));
        match name {
            Some(name) => {
                self.names.push(name.map(str::to_owned));
                self.out.push('(');
            }
            None => self.out.push_str("(?:"),
        }
        Ok(())
    }

    fn close_group(&mut self) -> Result<(), GoRegexError> {
        if self.groups.len() == 1 {
            return Err(error(Kind::UnexpectedParen, self.source));
        }
        let mut closed = self.groups.pop().expect("there are at least two");
        closed.next_atom(None);
        self.skip(1);
        self.out.push(')');
        self.flags = closed.flags;
        self.group().next_atom(Some(Atom { start: closed.start, repeats: closed.repeats, repeated: false }));
        Ok(())
    }

    /// `(?P<name>`, `(?<name>`, `(?flags)` and `(?flags:`.
    fn perl_group(&mut self) -> Result<(), GoRegexError> {
        let text = self.rest;
        let name_start = match text {
            _ if text.starts_with("(?P<") && text.len() > 4 => 4,
            _ if text.starts_with("(?<") && text.len() > 3 => 3,
            _ => return self.flags(),
        };
        let end = text.find('>').ok_or_else(|| error(Kind::InvalidNamedCapture, text))?;
        let name = text.get(name_start..end).unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(error(Kind::InvalidNamedCapture, &text[..=end]));
        }
        self.skip(end + 1);
        self.open_group(Some(Some(name)))
    }

    fn flags(&mut self) -> Result<(), GoRegexError> {
        let text = self.rest;
        let mut flags = self.flags;
        let (mut set, mut seen) = (true, false);
        for (offset, c) in text.char_indices().skip(2) {
            match c {
                'i' => flags.fold_case = set,
                'm' => flags.multi_line = set,
                's' => flags.dot_newline = set,
                'U' => flags.non_greedy = set,
                '-' if set => {
                    set = false;
                    seen = false;
                    continue;
                }
                ':' | ')' if set || seen => {
                    self.skip(offset + 1);
                    if c == ':' {
                        self.open_group(None)?;
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => return Err(error(Kind::InvalidPerlOp, &text[..offset + c.len_utf8()])),
            }
            seen = true;
        }
        Err(error(Kind::InvalidPerlOp, text))
    }

    fn repeat(
        &mut self,
        before: &'s str,
        after: &'s str,
        operator: &str,
        count: Count,
    ) -> Result<(), GoRegexError> {
        let (after, lazy) = match after.strip_prefix('?') {
            Some(after) => (after, !self.flags.non_greedy),
            None => (after, self.flags.non_greedy),
        };
        let upto = |from: &'s str| &from[..from.len() - after.len()];
        if let Some(last) = self.last_repeat {
            return Err(error(Kind::InvalidRepeatOp, upto(last)));
        }
        let Some(atom) = self.group().atom else {
            return Err(error(Kind::MissingRepeatArgument, upto(before)));
        };
        let repeats = count.times(atom.repeats);
        if repeats > MAX_REPEAT {
            return Err(error(Kind::InvalidRepeatSize, upto(before)));
        }
        if atom.repeated {
            self.out.insert_str(atom.start, "(?:");
            self.out.push(')');
        }
        self.out.push_str(operator);
        if lazy {
            self.out.push('?');
        }
        self.rest = after;
        self.group().atom = Some(Atom { start: atom.start, repeats, repeated: true });
        Ok(())
    }

    fn escape(&mut self) -> Result<(), GoRegexError> {
        match self.rest.as_bytes().get(1) {
            Some(b'A') => self.emit(2, r"\A"),
            Some(b'z') => self.emit(2, r"\z"),
            Some(b'b') => self.emit(2, r"(?-u:\b)"),
            Some(b'B') => self.emit(2, r"(?-u:\B)"),
            Some(b'Q') => {
                let quoted = &self.rest[2..];
                let (literal, rest) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
                self.rest = rest;
                literal.chars().for_each(|c| self.literal(c as u32));
            }
            _ => {
                if let Some((class, rest)) = class::shorthand(self.rest)? {
                    self.rest = rest;
                    self.push_atom(&class::folded(&class, self.flags));
                } else {
                    let (code, rest) = class::escape(self.rest)?;
                    self.rest = rest;
                    self.literal(code);
                }
            }
        }
        Ok(())
    }
}

/// How often; without `max`, any number from `min`.
#[derive(Clone, Copy)]
struct Count {
    min: u32,
    max: Option<u32>,
    /// Written in braces: only such counts take part in Go's limit.
    counted: bool,
}

impl Count {
    /// The product of nested counts. What is repeated zero times does not count.
    fn times(self, inner: u32) -> u32 {
        match self.max {
            _ if !self.counted => inner,
            Some(0) => 0,
            Some(max) => max.saturating_mul(inner.max(1)),
            None => self.min.max(1).saturating_mul(inner.max(1)),
        }
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.max {
            Some(max) => write!(f, "{{{},{max}}}", self.min),
            None => write!(f, "{{{},}}", self.min),
        }
    }
}

/// `{n}`, `{n,}` or `{n,m}`; absent where the brace is a literal.
fn parse_count(text: &str) -> Result<Option<(Count, &str)>, GoRegexError> {
    let Some((min, rest)) = parse_number(&text[1..]) else { return Ok(None) };
    let (max, rest) = match rest.strip_prefix(',') {
        None => (Some(min), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => match parse_number(rest) {
            Some((max, rest)) => (Some(max), rest),
            None => return Ok(None),
        },
    };
    let Some(rest) = rest.strip_prefix('}') else { return Ok(None) };
    if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || min > max) {
        return Err(error(Kind::InvalidRepeatSize, &text[..text.len() - rest.len()]));
    }
    Ok(Some((Count { min, max, counted: true }, rest)))
}

/// A number without leading zeros; too large a one is `u32::MAX`.
fn parse_number(text: &str) -> Option<(u32, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().unwrap_or(u32::MAX), rest))
}
