//! Tokens, by the rules of Go's `text/template/parse`.

use super::Fault;
use super::number;

/// What trim markers remove.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

#[derive(Debug, Clone)]
pub(super) struct Token<'s> {
    /// Byte offset in the source.
    pub(super) at: usize,
    pub(super) kind: TokenKind<'s>,
    /// White space stands before it, in the same action.
    pub(super) spaced: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind<'s> {
    /// Outside actions.
    Text(&'s str),
    Open,
    Close,
    /// A function or a keyword.
    Identifier(&'s str),
    /// Without its dot.
    Field(&'s str),
    /// With its `$`.
    Variable(&'s str),
    Dot,
    String(String),
    Int(i64),
    Pipe,
    LeftParen,
    RightParen,
    Comma,
    Assign,
    Declare,
    End,
}

impl TokenKind<'_> {
    /// As it is named in an error.
    pub(super) fn describe(&self) -> String {
        match self {
            TokenKind::Text(_) => "text".to_owned(),
            TokenKind::Open => "`{{`".to_owned(),
            TokenKind::Close => "`}}`".to_owned(),
            TokenKind::Identifier(name) | TokenKind::Variable(name) => format!("`{name}`"),
            TokenKind::Field(name) => format!("`.{name}`"),
            TokenKind::Dot => "`.`".to_owned(),
            TokenKind::String(_) => "a string".to_owned(),
            TokenKind::Int(value) => format!("`{value}`"),
            TokenKind::Pipe => "`|`".to_owned(),
            TokenKind::LeftParen => "`(`".to_owned(),
            TokenKind::RightParen => "`)`".to_owned(),
            TokenKind::Comma => "`,`".to_owned(),
            TokenKind::Assign => "`=`".to_owned(),
            TokenKind::Declare => "`:=`".to_owned(),
            TokenKind::End => "the end of the template".to_owned(),
        }
    }
}

/// Splits a template into tokens; the last one is `End`.
pub(super) fn tokenise(source: &str) -> Result<Vec<Token<'_>>, Fault> {
    let mut lexer = Lexer { source, position: 0, tokens: Vec::new(), trim_next: false };
    while lexer.text() {
        lexer.action()?;
    }
    let at = source.len();
    lexer.tokens.push(Token { at, kind: TokenKind::End, spaced: false });
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    position: usize,
    tokens: Vec<Token<'s>>,
    /// The last action ended in ` -}}`.
    trim_next: bool,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.position..]
    }

    fn push(&mut self, length: usize, kind: TokenKind<'s>, spaced: bool) {
        self.tokens.push(Token { at: self.position, kind, spaced });
        self.position += length;
    }

    /// Takes the text up to the next action; false at the end of the template.
    fn text(&mut self) -> bool {
        let rest = self.rest();
        let end = rest.find("{{").unwrap_or(rest.len());
        let trim_end = starts_with_left_marker(rest.get(end + 2..).unwrap_or_default());
        let mut text = &rest[..end];
        if self.trim_next {
            text = text.trim_start_matches(SPACE);
        }
        if trim_end {
            text = text.trim_end_matches(SPACE);
        }
        if !text.is_empty() {
            self.push(0, TokenKind::Text(text), false);
        }
        self.trim_next = false;
        self.position += end;
        end < rest.len()
    }

    /// Takes one action with its delimiters; a comment gives no token.
    fn action(&mut self) -> Result<(), Fault> {
        let open = self.position;
        let marker = if starts_with_left_marker(&self.rest()[2..]) { 2 } else { 0 };
        if self.rest()[2 + marker..].starts_with("/*") {
            self.position += 2 + marker;
            return self.comment(open);
        }
        self.push(2, TokenKind::Open, false);
        self.position += marker;
        loop {
            let skipped = self.rest().len() - self.rest().trim_start_matches(SPACE).len();
            self.position += skipped;
            // The marker's own space is among those skipped.
            if skipped > 0 && self.rest().starts_with("-}}") {
                self.position += 1;
                self.trim_next = true;
            }
            if self.rest().starts_with("}}") {
                self.push(2, TokenKind::Close, skipped > 0);
                return Ok(());
            }
            if self.rest().is_empty() {
                return Err(Fault::syntax(open, "unclosed action"));
            }
            self.token(skipped > 0)?;
        }
    }

    fn comment(&mut self, open: usize) -> Result<(), Fault> {
        let rest = self.rest();
        let end = rest.find("*/").ok_or_else(|| Fault::syntax(open, "unclosed comment"))? + 2;
        let after = &rest[end..];
        let marked = after.strip_prefix(SPACE).is_some_and(|after| after.starts_with("-}}"));
        if !marked && !after.starts_with("}}") {
            return Err(Fault::syntax(open, "comment ends before closing delimiter"));
        }
        self.position += end + if marked { 4 } else { 2 };
        self.trim_next = marked;
        Ok(())
    }

    fn token(&mut self, spaced: bool) -> Result<(), Fault> {
        let rest = self.rest();
        let first = rest.chars().next().unwrap_or_default();
        match first {
            '|' => self.push(1, TokenKind::Pipe, spaced),
            '(' => self.push(1, TokenKind::LeftParen, spaced),
            ')' => self.push(1, TokenKind::RightParen, spaced),
            ',' => self.push(1, TokenKind::Comma, spaced),
            '=' => self.push(1, TokenKind::Assign, spaced),
            ':' if rest.starts_with(":=") => self.push(2, TokenKind::Declare, spaced),
            ':' => return Err(Fault::syntax(self.position, "expected `:=`")),
            '"' | '`' | '\'' => return self.quoted(first, spaced),
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => return self.number(spaced),
            '.' | '$' => return self.name(1, spaced),
            '+' | '-' | '0'..='9' => return self.number(spaced),
            c if is_name(c) => return self.name(0, spaced),
            c => {
                return Err(Fault::syntax(self.position, format!("unrecognized character in action: {c:?}")));
            }
        }
        Ok(())
    }

    /// An identifier, or after one character of prefix a field or a variable.
    fn name(&mut self, prefix: usize, spaced: bool) -> Result<(), Fault> {
        let rest = self.rest();
        let end = rest[prefix..].find(|c| !is_name(c)).map_or(rest.len(), |end| prefix + end);
        let text = &rest[..end];
        let kind = match (rest.as_bytes()[0], end - prefix) {
            (b'.', 0) => TokenKind::Dot,
            (b'.', _) => TokenKind::Field(&text[1..]),
            (b'$', _) => TokenKind::Variable(text),
            _ => TokenKind::Identifier(text),
        };
        self.push(end, kind, spaced);
        self.terminated()
    }

    /// A name must be followed by something that cannot be part of it.
    fn terminated(&self) -> Result<(), Fault> {
        let rest = self.rest();
        let ends = rest.starts_with("}}")
            || rest.chars().next().is_none_or(|c| SPACE.contains(&c) || ".,|:()".contains(c));
        if ends {
            Ok(())
        } else {
            Err(Fault::syntax(self.position, format!("bad character {:?}", rest.chars().next())))
        }
    }

    fn number(&mut self, spaced: bool) -> Result<(), Fault> {
        let rest = self.rest();
        let sign = usize::from(rest.starts_with(['+', '-']));
        let end = rest[sign..].find(|c| !is_name(c) && c != '.').map_or(rest.len(), |end| sign + end);
        let value = number::parse(&rest[..end]).map_err(|message| Fault::syntax(self.position, message))?;
        self.push(end, TokenKind::Int(value), spaced);
        Ok(())
    }

    fn quoted(&mut self, quote: char, spaced: bool) -> Result<(), Fault> {
        let rest = self.rest();
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find_map(|(index, c)| match c {
            _ if escaped => {
                escaped = false;
                None
            }
            '\\' if quote != '`' => {
                escaped = true;
                None
            }
            '\n' if quote != '`' => Some(None),
            c if c == quote => Some(Some(index)),
            _ => None,
        });
        let Some(Some(end)) = end else {
            let what = if quote == '\'' { "character constant" } else { "quoted string" };
            return Err(Fault::syntax(self.position, format!("unterminated {what}")));
        };
        let body = &rest[1..end];
        let kind = match quote {
            // Go drops carriage returns from raw strings.
            '`' => TokenKind::String(body.replace('\r', "")),
            '\'' => TokenKind::Int(
                number::character(body).map_err(|message| Fault::syntax(self.position, message))?,
            ),
            _ => TokenKind::String(
                number::unquote(body).map_err(|message| Fault::syntax(self.position, message))?,
            ),
        };
        self.push(end + 1, kind, spaced);
        Ok(())
    }
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// `- ` after `{{`.
fn starts_with_left_marker(after: &str) -> bool {
    after.strip_prefix('-').is_some_and(|after| after.starts_with(SPACE))
}
