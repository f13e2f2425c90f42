//! Parsing within an action: pipelines, commands, operands.

use super::functions;
use super::lexer::{Token, TokenKind};
use super::parser::{Parser, unexpected};
use super::syntax::{Command, Field, Operand, Pipe, Term};
use super::{Fault, TemplateErrorKind};

impl Parser<'_> {
    /// Parses a pipeline with its declarations, and takes the token that ends it.
    pub(super) fn pipeline(&mut self, end: &TokenKind<'_>, context: &str) -> Result<Pipe, Fault> {
        let at = self.peek().at;
        self.enter(at)?;
        let (variables, assigns) = self.declarations(context)?;
        let mut commands = Vec::new();
        while self.peek().kind != *end {
            commands.push(self.command(context)?);
        }
        self.take();
        self.depth -= 1;
        if commands.is_empty() {
            return Err(Fault::syntax(at, format!("missing value for {context}")));
        }
        // Declared after the pipeline was parsed in full: unlike in Go, `$x := $x` does not see itself.
        for name in &variables {
            if !assigns {
                self.variables.push(name.clone());
            } else if !self.variables.contains(name) {
                return Err(undefined(at, name));
            } else if !self.assigned.contains(name) {
                self.assigned.push(name.clone());
            }
        }
        Ok(Pipe { at, variables, assigns, commands })
    }

    /// `$x :=`, `$x =`, and in a range `$i, $x :=`.
    fn declarations(&mut self, context: &str) -> Result<(Vec<String>, bool), Fault> {
        let mut names = Vec::new();
        while let TokenKind::Variable(name) = self.peek().kind {
            match self.peek_second() {
                TokenKind::Declare | TokenKind::Assign => {
                    let assigns = *self.peek_second() == TokenKind::Assign;
                    self.take();
                    self.take();
                    names.push(name.to_owned());
                    return Ok((names, assigns));
                }
                TokenKind::Comma if context == "range" && names.is_empty() => {
                    self.take();
                    self.take();
                    names.push(name.to_owned());
                    if !matches!(self.peek().kind, TokenKind::Variable(_)) {
                        return Err(Fault::syntax(self.peek().at, "range can only initialize variables"));
                    }
                }
                TokenKind::Comma => {
                    return Err(Fault::syntax(self.peek().at, format!("too many declarations in {context}")));
                }
                _ => break,
            }
        }
        if names.is_empty() {
            Ok((names, false))
        } else {
            Err(Fault::syntax(self.peek().at, "range can only initialize variables"))
        }
    }

    /// Parses operands up to a pipe, which is taken, or the end of the pipeline, which is not.
    fn command(&mut self, context: &str) -> Result<Command, Fault> {
        let Some(first) = self.operand()? else { return Err(unexpected(self.peek(), context)) };
        let mut arguments = Vec::new();
        loop {
            match self.peek().kind {
                TokenKind::Close | TokenKind::RightParen => break,
                TokenKind::Pipe => {
                    self.take();
                    self.piped()?;
                    break;
                }
                _ if !self.peek().spaced => return Err(unexpected(self.peek(), "operand")),
                _ => match self.operand()? {
                    Some(operand) => arguments.push(operand),
                    None => return Err(unexpected(self.peek(), "operand")),
                },
            }
        }
        Ok(Command { first, arguments })
    }

    /// Only the first command of a pipeline may be a constant.
    fn piped(&mut self) -> Result<(), Fault> {
        let token = self.peek();
        match token.kind {
            TokenKind::Int(_)
            | TokenKind::String(_)
            | TokenKind::Dot
            | TokenKind::Identifier("true" | "false" | "nil") => {
                Err(Fault::syntax(token.at, "non executable command in pipeline"))
            }
            // As in Go, nothing may follow a pipe: it is ignored.
            _ => Ok(()),
        }
    }

    /// A term with the fields that follow it without space; none where no operand starts.
    fn operand(&mut self) -> Result<Option<Operand>, Fault> {
        let at = self.peek().at;
        let mut fields = Vec::new();
        let term = match self.peek().kind.clone() {
            TokenKind::Field(name) => {
                self.take();
                fields.push(Field { at, name: name.to_owned() });
                Term::Dot
            }
            _ => match self.term()? {
                Some(term) => term,
                None => return Ok(None),
            },
        };
        while let Token { at, kind: TokenKind::Field(name), spaced: false } = *self.peek() {
            let constant = matches!(term, Term::Nil | Term::Bool(_) | Term::Int(_) | Term::Text(_));
            if constant || (matches!(term, Term::Dot) && fields.is_empty()) {
                return Err(Fault::syntax(at, format!("unexpected .{name} after a term that has no fields")));
            }
            self.take();
            fields.push(Field { at, name: name.to_owned() });
        }
        Ok(Some(Operand { at, term, fields }))
    }

    fn term(&mut self) -> Result<Option<Term>, Fault> {
        let token = self.peek().clone();
        let term = match token.kind {
            TokenKind::Dot => Term::Dot,
            TokenKind::String(text) => Term::Text(text.into()),
            TokenKind::Int(value) => Term::Int(value),
            TokenKind::Identifier("true") => Term::Bool(true),
            TokenKind::Identifier("false") => Term::Bool(false),
            TokenKind::Identifier("nil") => Term::Nil,
            TokenKind::Identifier(name) => Term::Function(
                functions::lookup(name)
                    .map_err(|message| Fault::new(token.at, TemplateErrorKind::Unknown, message))?,
            ),
            TokenKind::Variable(name) if self.variables.iter().any(|known| known == name) => {
                Term::Variable(name.to_owned())
            }
            TokenKind::Variable(name) => return Err(undefined(token.at, name)),
            TokenKind::LeftParen => {
                self.take();
                return self
                    .pipeline(&TokenKind::RightParen, "parenthesized pipeline")
                    .map(|pipe| Some(Term::Pipe(pipe)));
            }
            _ => return Ok(None),
        };
        self.take();
        Ok(Some(term))
    }
}

fn undefined(at: usize, name: &str) -> Fault {
    Fault::new(at, TemplateErrorKind::Unknown, format!("undefined variable {name:?}"))
}
