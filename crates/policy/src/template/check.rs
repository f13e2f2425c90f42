//! The static check: every field, call and template name, with what is known of the types.
//!
//! It has no false alarms but one: a mistake is reported also where no commit would ever reach it.

use super::functions::Function;
use super::syntax::{Branch, Command, Field, Node, Operand, Pipe, Program, Term};
use super::types::{Place, Shape, Type};
use super::{Fault, TemplateErrorKind as Kind};

/// Most pairs of a template and an argument type that are checked.
const MAX_CALLS: usize = 200;

/// Checks a program.
pub(super) fn check(program: &Program) -> Result<(), Fault> {
    let dot = Type::Record(Shape::TemplateData);
    let mut checker = Checker { program, variables: vec![("$", dot.clone())], called: Vec::new() };
    checker.nodes(&program.body, &dot)?;
    // What is defined and never called must be right as well, as far as that shows.
    for (name, body) in &program.templates {
        if !checker.called.iter().any(|(called, _)| called == name) {
            checker.variables = vec![("$", Type::Any)];
            checker.nodes(body, &Type::Any)?;
        }
    }
    Ok(())
}

struct Checker<'p> {
    program: &'p Program,
    variables: Vec<(&'p str, Type)>,
    /// Templates with the types of argument for which they were checked.
    called: Vec<(&'p str, Type)>,
}

impl<'p> Checker<'p> {
    fn nodes(&mut self, nodes: &'p [Node], dot: &Type) -> Result<(), Fault> {
        nodes.iter().try_for_each(|node| self.node(node, dot))
    }

    fn node(&mut self, node: &'p Node, dot: &Type) -> Result<(), Fault> {
        match node {
            Node::Text(_) | Node::Break | Node::Continue => Ok(()),
            Node::Output(pipe) => self.pipe(pipe, dot).map(|_| ()),
            Node::If(branch) => self.branch(branch, dot, |_, dot| Ok(dot.clone())),
            Node::With(branch) => self.branch(branch, dot, |value, _| Ok(value)),
            Node::Range(branch) => self.range(branch, dot),
            Node::Template { at, name, argument } => self.template(*at, name, argument.as_ref(), dot),
        }
    }

    fn branch(
        &mut self,
        branch: &'p Branch,
        dot: &Type,
        inner: impl FnOnce(Type, &Type) -> Result<Type, Fault>,
    ) -> Result<(), Fault> {
        let scope = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let inner = inner(value, dot)?;
        let outside = self.variables.len();
        self.nodes(&branch.body, &inner)?;
        self.variables.truncate(outside);
        self.nodes(&branch.otherwise, dot)?;
        self.variables.truncate(scope);
        Ok(())
    }

    fn range(&mut self, branch: &'p Branch, dot: &Type) -> Result<(), Fault> {
        let scope = self.variables.len();
        let pipe = &branch.pipe;
        let (key, element) = match self.pipe(pipe, dot)? {
            Type::Any => (Type::Any, Type::Any),
            Type::Int if pipe.variables.len() > 1 => {
                let message = "can't use an int to iterate over more than one variable";
                return Err(Fault::new(pipe.at, Kind::Type, message));
            }
            Type::Int => (Type::Int, Type::Int),
            Type::List(element) => (Type::Int, *element),
            Type::Map(key, element) => (*key, *element),
            other => {
                return Err(Fault::new(pipe.at, Kind::Type, format!("range can't iterate over {other}")));
            }
        };
        // In the else branch, the variables hold the whole value.
        let outside = self.variables.len();
        match pipe.variables.as_slice() {
            [] => {}
            [only] => self.bind(pipe, only, element.clone()),
            [first, second, ..] => {
                self.bind(pipe, first, key);
                self.bind(pipe, second, element.clone());
            }
        }
        self.nodes(&branch.body, &element)?;
        self.variables.truncate(outside);
        self.nodes(&branch.otherwise, dot)?;
        self.variables.truncate(scope);
        Ok(())
    }

    fn template(
        &mut self,
        at: usize,
        name: &'p str,
        argument: Option<&'p Pipe>,
        dot: &Type,
    ) -> Result<(), Fault> {
        let argument = argument.map_or(Ok(Type::Any), |pipe| self.pipe(pipe, dot))?;
        let program = self.program;
        let Some(body) = program.templates.get(name) else {
            return Err(Fault::new(at, Kind::Unknown, format!("template {name:?} not defined")));
        };
        let call = (name, argument.clone());
        if self.called.contains(&call) {
            return Ok(());
        }
        if self.called.len() == MAX_CALLS {
            return Err(Fault::new(at, Kind::Limit, "too many templates call each other"));
        }
        self.called.push(call);
        let outer = std::mem::replace(&mut self.variables, vec![("$", argument.clone())]);
        let result = self.nodes(body, &argument);
        self.variables = outer;
        result
    }

    fn bind(&mut self, pipe: &Pipe, name: &'p str, ty: Type) {
        if !pipe.assigns {
            // The type of a variable that is assigned to may change between any two uses.
            let changes = self.program.assigned.iter().any(|assigned| assigned == name);
            self.variables.push((name, if changes { Type::Any } else { ty }));
        }
    }

    fn pipe(&mut self, pipe: &'p Pipe, dot: &Type) -> Result<Type, Fault> {
        let ty = self.pipe_type(pipe, dot)?;
        for name in &pipe.variables {
            self.bind(pipe, name, ty.clone());
        }
        Ok(ty)
    }

    fn pipe_type(&mut self, pipe: &'p Pipe, dot: &Type) -> Result<Type, Fault> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.unwrap_or(Type::Any))
    }

    fn command(&mut self, command: &'p Command, dot: &Type, last: Option<Type>) -> Result<Type, Fault> {
        let first = &command.first;
        match &first.term {
            Term::Function(function) if first.fields.is_empty() => {
                return self.call(first.at, function, &command.arguments, dot, last);
            }
            Term::Nil => return Err(Fault::new(first.at, Kind::Type, "nil is not a command")),
            _ => {}
        }
        if !command.arguments.is_empty() || last.is_some() {
            let what = match first.fields.last() {
                Some(field) => format!("{} has arguments but cannot be invoked as function", field.name),
                None => "can't give argument to non-function".to_owned(),
            };
            return Err(Fault::new(first.at, Kind::Type, what));
        }
        self.operand(first, dot)
    }

    fn call(
        &mut self,
        at: usize,
        function: &Function,
        arguments: &'p [Operand],
        dot: &Type,
        last: Option<Type>,
    ) -> Result<Type, Fault> {
        let mut types = Vec::with_capacity(arguments.len() + 1);
        for argument in arguments {
            types.push(self.operand(argument, dot)?);
        }
        types.extend(last);
        let wrong = |message| Fault::new(at, Kind::Type, message);
        function.check_count(types.len()).map_err(wrong)?;
        types.iter().enumerate().try_for_each(|(index, ty)| function.check_type(index, ty)).map_err(wrong)?;
        Ok(function.result(&types))
    }

    fn operand(&mut self, operand: &'p Operand, dot: &Type) -> Result<Type, Fault> {
        let ty = match &operand.term {
            Term::Dot => dot.clone(),
            Term::Nil => Type::Any,
            Term::Bool(_) => Type::Bool,
            Term::Int(_) => Type::Int,
            Term::Text(_) => Type::Text,
            Term::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known.map_or(Type::Any, |(_, ty)| ty.clone())
            }
            Term::Function(function) => self.call(operand.at, function, &[], dot, None)?,
            Term::Pipe(pipe) => self.pipe(pipe, dot)?,
        };
        operand.fields.iter().try_fold(ty, field)
    }
}

fn field(ty: Type, field: &Field) -> Result<Type, Fault> {
    let name = field.name.as_str();
    let unknown = |ty: &dyn std::fmt::Display| {
        Fault::new(field.at, Kind::Unknown, format!("can't evaluate field {name} in type {ty}"))
    };
    match ty {
        Type::Any => Ok(Type::Any),
        Type::Map(key, element) if *key == Type::Text => Ok(*element),
        Type::Record(shape) => match (shape.member(name), shape.removed(name)) {
            (Some((Place::Field(_) | Place::Embedded(_) | Place::Method(_), ty)), _) => Ok(ty),
            (None, Some(message)) => Err(Fault::new(field.at, Kind::RemovedField, message)),
            (None, None) => Err(unknown(&shape.name())),
        },
        other => Err(unknown(&other)),
    }
}
