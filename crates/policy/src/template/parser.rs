//! The parser: Go 1.26's `text/template` grammar.

use std::collections::BTreeMap;

use super::lexer::{Token, TokenKind, tokenise};
use super::syntax::{Branch, Node, Pipe, Program};
use super::{Fault, TemplateErrorKind};

/// Deepest nesting of actions and parentheses together.
const MAX_DEPTH: usize = 100;

/// Parses a template. Functions are looked up; fields are not.
pub(super) fn parse(source: &str) -> Result<Program, Fault> {
    let mut parser = Parser {
        tokens: tokenise(source)?,
        next: 0,
        variables: vec!["$".to_owned()],
        assigned: Vec::new(),
        templates: BTreeMap::new(),
        ranges: 0,
        depth: 0,
    };
    let (body, end) = parser.nodes()?;
    match end.word {
        Ending::Input => Ok(Program { body, templates: parser.templates, assigned: parser.assigned }),
        Ending::End => Err(Fault::syntax(end.at, "unexpected {{end}}")),
        Ending::Else => Err(Fault::syntax(end.at, "unexpected {{else}}")),
    }
}

pub(super) struct Parser<'s> {
    tokens: Vec<Token<'s>>,
    next: usize,
    /// Those in scope, innermost last.
    pub(super) variables: Vec<String>,
    pub(super) assigned: Vec<String>,
    templates: BTreeMap<String, Vec<Node>>,
    /// How many ranges enclose the next token.
    ranges: usize,
    pub(super) depth: usize,
}

/// What ended a list of nodes.
struct End {
    at: usize,
    word: Ending,
}

enum Ending {
    Input,
    End,
    /// The `{{else` is taken, what follows it is not.
    Else,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Control {
    If,
    With,
    Range,
}

impl<'s> Parser<'s> {
    pub(super) fn peek(&self) -> &Token<'s> {
        // The last token is `End`, and nothing moves beyond it.
        &self.tokens[self.next]
    }

    pub(super) fn peek_second(&self) -> &TokenKind<'s> {
        self.tokens.get(self.next + 1).map_or(&TokenKind::End, |token| &token.kind)
    }

    pub(super) fn take(&mut self) -> Token<'s> {
        let token = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn expect(&mut self, kind: &TokenKind<'_>, context: &str) -> Result<(), Fault> {
        let token = self.take();
        if token.kind == *kind { Ok(()) } else { Err(unexpected(&token, context)) }
    }

    /// Parses nodes up to `{{end}}`, `{{else` or the end of the template.
    fn nodes(&mut self) -> Result<(Vec<Node>, End), Fault> {
        let mut nodes = Vec::new();
        loop {
            let token = self.take();
            match token.kind {
                TokenKind::Text(text) => nodes.push(Node::Text(text.to_owned())),
                TokenKind::End => return Ok((nodes, End { at: token.at, word: Ending::Input })),
                _ => match self.peek().kind {
                    TokenKind::Identifier("end") => {
                        self.take();
                        self.expect(&TokenKind::Close, "end")?;
                        return Ok((nodes, End { at: token.at, word: Ending::End }));
                    }
                    TokenKind::Identifier("else") => {
                        self.take();
                        return Ok((nodes, End { at: token.at, word: Ending::Else }));
                    }
                    _ => nodes.extend(self.action(token.at)?),
                },
            }
        }
    }

    /// Parses an action whose `{{` is taken, with its body; a definition gives no node.
    fn action(&mut self, open: usize) -> Result<Option<Node>, Fault> {
        let TokenKind::Identifier(word) = self.peek().kind else {
            return Ok(Some(Node::Output(self.pipeline(&TokenKind::Close, "command")?)));
        };
        match word {
            "if" => self.control(open, Control::If).map(Some),
            "with" => self.control(open, Control::With).map(Some),
            "range" => self.control(open, Control::Range).map(Some),
            "template" => self.template().map(Some),
            "block" => self.block(open).map(Some),
            "define" => self.define(open).map(|()| None),
            "break" | "continue" => {
                self.take();
                self.expect(&TokenKind::Close, word)?;
                match (self.ranges, word) {
                    (0, _) => Err(Fault::syntax(open, format!("{{{{{word}}}}} outside {{{{range}}}}"))),
                    (_, "break") => Ok(Some(Node::Break)),
                    _ => Ok(Some(Node::Continue)),
                }
            }
            _ => Ok(Some(Node::Output(self.pipeline(&TokenKind::Close, "command")?))),
        }
    }

    pub(super) fn enter(&mut self, at: usize) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::new(
                at,
                TemplateErrorKind::Limit,
                format!("nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        Ok(())
    }

    /// Parses `if`, `with` or `range` from its keyword to its `{{end}}`.
    fn control(&mut self, open: usize, control: Control) -> Result<Node, Fault> {
        self.enter(open)?;
        let scope = self.variables.len();
        let word = self.take().kind.describe();
        let context = word.trim_matches('`');
        let pipe = self.pipeline(&TokenKind::Close, context)?;
        let outside = self.variables.len();
        self.ranges += usize::from(control == Control::Range);
        let (body, end) = self.nodes()?;
        self.variables.truncate(outside);
        self.ranges -= usize::from(control == Control::Range);
        let otherwise = match end.word {
            Ending::End => Vec::new(),
            Ending::Else => self.otherwise(open, control)?,
            Ending::Input => {
                return Err(Fault::syntax(open, format!("{{{{{context}}}}} has no {{{{end}}}}")));
            }
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        let branch = Branch { pipe, body, otherwise };
        Ok(match control {
            Control::If => Node::If(branch),
            Control::With => Node::With(branch),
            Control::Range => Node::Range(branch),
        })
    }

    /// Parses what follows `{{else`, up to the `{{end}}` that closes the whole.
    fn otherwise(&mut self, open: usize, control: Control) -> Result<Vec<Node>, Fault> {
        match (&self.peek().kind, control) {
            // `{{else if}}` shares the `{{end}}`.
            (TokenKind::Identifier("if"), Control::If) => Ok(vec![self.control(open, Control::If)?]),
            (TokenKind::Identifier("with"), Control::With) => Ok(vec![self.control(open, Control::With)?]),
            _ => {
                self.expect(&TokenKind::Close, "else")?;
                let (nodes, end) = self.nodes()?;
                match end.word {
                    Ending::End => Ok(nodes),
                    Ending::Else => Err(Fault::syntax(end.at, "expected {{end}}, found {{else}}")),
                    Ending::Input => Err(Fault::syntax(open, "the action has no {{end}}")),
                }
            }
        }
    }

    fn template_name(&mut self, context: &str) -> Result<(usize, String), Fault> {
        let token = self.take();
        match token.kind {
            TokenKind::String(name) => Ok((token.at, name)),
            _ => Err(unexpected(&token, context)),
        }
    }

    fn template(&mut self) -> Result<Node, Fault> {
        self.take();
        let (at, name) = self.template_name("template clause")?;
        let argument = self.optional_argument("template clause")?;
        Ok(Node::Template { at, name, argument })
    }

    fn optional_argument(&mut self, context: &str) -> Result<Option<Pipe>, Fault> {
        if self.peek().kind == TokenKind::Close {
            self.take();
            return Ok(None);
        }
        self.pipeline(&TokenKind::Close, context).map(Some)
    }

    fn define(&mut self, open: usize) -> Result<(), Fault> {
        self.take();
        if self.depth > 0 {
            return Err(Fault::syntax(open, "{{define}} stands at the top level alone"));
        }
        let (_, name) = self.template_name("define clause")?;
        self.expect(&TokenKind::Close, "define clause")?;
        self.definition(open, name)
    }

    /// A definition and its use in one.
    fn block(&mut self, open: usize) -> Result<Node, Fault> {
        self.take();
        let (at, name) = self.template_name("block clause")?;
        let argument = self.pipeline(&TokenKind::Close, "block clause")?;
        self.definition(open, name.clone())?;
        Ok(Node::Template { at, name, argument: Some(argument) })
    }

    fn definition(&mut self, open: usize, name: String) -> Result<(), Fault> {
        self.enter(open)?;
        let outer =
            (std::mem::replace(&mut self.variables, vec!["$".to_owned()]), std::mem::take(&mut self.ranges));
        let (body, end) = self.nodes()?;
        (self.variables, self.ranges) = outer;
        self.depth -= 1;
        if !matches!(end.word, Ending::End) {
            return Err(Fault::syntax(end.at, format!("expected {{{{end}}}} of the template {name:?}")));
        }
        // As in Go, a definition without content does not replace one with content.
        let blank =
            |nodes: &[Node]| nodes.iter().all(|node| matches!(node, Node::Text(t) if t.trim().is_empty()));
        match self.templates.get(&name) {
            Some(_) if blank(&body) => {}
            Some(first) if !blank(first) => {
                return Err(Fault::syntax(open, format!("multiple definition of template {name:?}")));
            }
            _ => drop(self.templates.insert(name, body)),
        }
        Ok(())
    }
}

pub(super) fn unexpected(token: &Token<'_>, context: &str) -> Fault {
    Fault::syntax(token.at, format!("unexpected {} in {context}", token.kind.describe()))
}
