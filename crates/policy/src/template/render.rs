//! Rendering: Go's `text/template` execution, on checked programs.

use super::data::CommitData;
use super::functions::{Failure, Function, Meter, Run};
use super::print::{self, Buffer};
use super::syntax::{Branch, Command, Field, Node, Operand, Pipe, Program, Term};
use super::value::Value;
use super::{Fault, TemplateErrorKind};

/// Deepest nesting of branches and templates together, at run time.
const MAX_DEPTH: usize = 200;

/// Renders a program.
pub(super) fn render(program: &Program, data: &CommitData) -> Result<String, Fault> {
    let dot = data.value().map_err(|failure| fault(0, failure))?;
    let mut renderer = Renderer {
        program,
        out: Buffer::default(),
        meter: Meter::new(),
        variables: vec![("$", dot.clone())],
        depth: 0,
    };
    renderer.nodes(&program.body, &dot)?;
    Ok(renderer.out.finish())
}

fn fault(at: usize, failure: Failure) -> Fault {
    let kind = if failure.limit { TemplateErrorKind::Limit } else { TemplateErrorKind::Failed };
    Fault::new(at, kind, failure.message)
}

struct Renderer<'p> {
    program: &'p Program,
    out: Buffer,
    meter: Meter,
    /// Those in scope, innermost last.
    variables: Vec<(&'p str, Value)>,
    depth: usize,
}

/// What a list of nodes ended with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Through,
    Break,
    Continue,
}

impl<'p> Renderer<'p> {
    fn nodes(&mut self, nodes: &'p [Node], dot: &Value) -> Result<Flow, Fault> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::Through {
                return Ok(flow);
            }
        }
        Ok(Flow::Through)
    }

    fn node(&mut self, node: &'p Node, dot: &Value) -> Result<Flow, Fault> {
        match node {
            Node::Text(text) => self.out.push(text).map_err(|failure| fault(0, failure))?,
            Node::Output(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.variables.is_empty() {
                    print::print(&value, &mut self.out).map_err(|failure| fault(pipe.at, failure))?;
                }
            }
            Node::If(branch) => return self.scoped(branch.pipe.at, |this| this.choose(branch, dot, false)),
            Node::With(branch) => return self.scoped(branch.pipe.at, |this| this.choose(branch, dot, true)),
            Node::Range(branch) => return self.scoped(branch.pipe.at, |this| this.range(branch, dot)),
            Node::Template { at, name, argument } => self.template(*at, name, argument.as_ref(), dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Through)
    }

    /// Runs with a scope of its own for variables, and counts the depth.
    fn scoped<T>(&mut self, at: usize, run: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(Fault::new(at, TemplateErrorKind::Limit, "templates call each other too deeply"));
        }
        let scope = self.variables.len();
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        self.variables.truncate(scope);
        result
    }

    fn choose(&mut self, branch: &'p Branch, dot: &Value, with: bool) -> Result<Flow, Fault> {
        let value = self.pipe(&branch.pipe, dot)?;
        if !value.truth() {
            return self.nodes(&branch.otherwise, dot);
        }
        self.nodes(&branch.body, if with { &value } else { dot })
    }

    fn range(&mut self, branch: &'p Branch, dot: &Value) -> Result<Flow, Fault> {
        let at = branch.pipe.at;
        // As in Go, the variables hold the whole value until the first turn, and in the else branch.
        let value = self.pipe(&branch.pipe, dot)?;
        let failed = |message: String| Fault::new(at, TemplateErrorKind::Failed, message);
        let mut turns: Box<dyn Iterator<Item = (Value, Value)>> = match &value {
            Value::Nil => Box::new(std::iter::empty()),
            Value::Int(_) if branch.pipe.variables.len() > 1 => {
                return Err(failed("can't use an int to iterate over more than one variable".to_owned()));
            }
            Value::Int(count) => Box::new((0..*count).map(|i| (Value::Nil, Value::Int(i)))),
            Value::List(list) => Box::new((0_i64..).map(Value::Int).zip(list.items.iter().cloned())),
            Value::Map(map) => Box::new(map.entries.iter().map(|(key, value)| (key.value(), value.clone()))),
            other => return Err(failed(format!("range can't iterate over {}", other.type_name()))),
        };
        let mut empty = true;
        for (key, element) in &mut turns {
            empty = false;
            self.meter.charge(1).map_err(|failure| fault(at, failure))?;
            let turn = |this: &mut Self| {
                match branch.pipe.variables.as_slice() {
                    [] => {}
                    [only] => this.bind(&branch.pipe, only, element.clone()),
                    [first, second, ..] => {
                        this.bind(&branch.pipe, first, key);
                        this.bind(&branch.pipe, second, element.clone());
                    }
                }
                this.nodes(&branch.body, &element)
            };
            if self.scoped(at, turn)? == Flow::Break {
                break;
            }
        }
        if empty { self.nodes(&branch.otherwise, dot) } else { Ok(Flow::Through) }
    }

    fn template(
        &mut self,
        at: usize,
        name: &str,
        argument: Option<&'p Pipe>,
        dot: &Value,
    ) -> Result<(), Fault> {
        let argument = argument.map_or(Ok(Value::Nil), |pipe| self.pipe(pipe, dot))?;
        let program = self.program;
        let Some(body) = program.templates.get(name) else {
            return Err(Fault::new(at, TemplateErrorKind::Unknown, format!("template {name:?} not defined")));
        };
        // A template sees no variable but its own `$`.
        let outer = std::mem::replace(&mut self.variables, vec![("$", argument.clone())]);
        let result = self.scoped(at, |this| this.nodes(body, &argument));
        self.variables = outer;
        result.map(|_| ())
    }

    fn bind(&mut self, pipe: &Pipe, name: &'p str, value: Value) {
        let known = if pipe.assigns {
            self.variables.iter_mut().rev().find(|(known, _)| *known == name)
        } else {
            None
        };
        match known {
            Some((_, variable)) => *variable = value,
            None => self.variables.push((name, value)),
        }
    }

    /// Evaluates a pipeline and binds its variable.
    fn pipe(&mut self, pipe: &'p Pipe, dot: &Value) -> Result<Value, Fault> {
        let value = self.pipe_value(pipe, dot)?;
        for name in &pipe.variables {
            self.bind(pipe, name, value.clone());
        }
        Ok(value)
    }

    fn variable(&self, at: usize, name: &str) -> Result<Value, Fault> {
        let known = self.variables.iter().rev().find(|(known, _)| *known == name);
        let undefined = || Fault::new(at, TemplateErrorKind::Unknown, format!("undefined variable {name:?}"));
        known.map(|(_, value)| value.clone()).ok_or_else(undefined)
    }

    fn pipe_value(&mut self, pipe: &'p Pipe, dot: &Value) -> Result<Value, Fault> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.unwrap_or(Value::Nil))
    }

    fn command(&mut self, command: &'p Command, dot: &Value, last: Option<Value>) -> Result<Value, Fault> {
        match &command.first.term {
            Term::Function(function) if command.first.fields.is_empty() => {
                self.call(command.first.at, function, &command.arguments, dot, last)
            }
            // The check has refused arguments to anything else.
            _ => self.operand(&command.first, dot),
        }
    }

    fn call(
        &mut self,
        at: usize,
        function: &Function,
        arguments: &'p [Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value, Fault> {
        let run = match function.run {
            Run::Call(run) => run,
            Run::Until(truth) => return self.until(truth, arguments, dot, last),
        };
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for argument in arguments {
            values.push(self.operand(argument, dot)?);
        }
        values.extend(last);
        let checked =
            values.iter().enumerate().try_for_each(|(index, value)| function.check_value(index, value));
        // Long texts cost as much as the small steps that could build them. Functions charge for lists themselves.
        let cost = |value: &Value| if let Value::Text(_) = value { value.size() } else { 1 };
        let result = checked.and_then(|()| {
            self.meter.charge(values.iter().map(cost).sum())?;
            let value = run(&mut self.meter, &values)?;
            self.meter.charge(cost(&value))?;
            Ok(value)
        });
        result.map_err(|failure| {
            let message = format!("error calling {}: {}", function.name(), failure.message);
            fault(at, Failure { message, ..failure })
        })
    }

    fn until(
        &mut self,
        truth: bool,
        arguments: &'p [Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value, Fault> {
        let mut value = Value::Nil;
        for argument in arguments {
            value = self.operand(argument, dot)?;
            if value.truth() == truth {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    fn operand(&mut self, operand: &'p Operand, dot: &Value) -> Result<Value, Fault> {
        self.meter.charge(1).map_err(|failure| fault(operand.at, failure))?;
        let value = match &operand.term {
            Term::Dot => dot.clone(),
            Term::Nil => Value::Nil,
            Term::Bool(value) => Value::Bool(*value),
            Term::Int(value) => Value::Int(*value),
            Term::Text(text) => Value::Text(text.clone()),
            Term::Variable(name) => self.variable(operand.at, name)?,
            Term::Function(function) => self.call(operand.at, function, &[], dot, None)?,
            Term::Pipe(pipe) => self.pipe(pipe, dot)?,
        };
        operand.fields.iter().try_fold(value, |value, name| field(&value, name))
    }
}

fn field(value: &Value, field: &Field) -> Result<Value, Fault> {
    let found = match value {
        // As in Go, nothing has every field, and each is nothing.
        Value::Nil => Some(Value::Nil),
        Value::Record(record) => record.member(&field.name),
        Value::Map(map) => match Value::text(field.name.as_str()).as_key() {
            Some(key) if map.has_text_keys() => Some(map.entries.get(&key).cloned().unwrap_or(Value::Nil)),
            _ => None,
        },
        _ => None,
    };
    found.ok_or_else(|| {
        let message = format!("can't evaluate field {} in type {}", field.name, value.type_name());
        Fault::new(field.at, TemplateErrorKind::Failed, message)
    })
}
