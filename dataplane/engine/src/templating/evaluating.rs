//! A tree executed (Go: text/template/exec.go).
//!
//! In: a tree, the exchange whose answer it makes, the site's directory. Out: bytes. Rule: every node, operand and byte made
//! is charged; depth of calls is bounded; so an evaluation ends, in bounded memory, whatever a template says.

use super::inclusions::Inclusions;
use super::objects::{Object, object, time_member};
use super::parsing::{Node, NodeKind, Operand, Pipe, Tree, Trees, is_empty, parse};
use super::values::Value;
use super::{Failure, builtins, knows};
use crate::exchange::Exchange;
use crate::limits::*;
use std::rc::Rc;

/// What a template may use.
pub struct Evaluation<'a> {
    /// The fields of the answer are in its `scratch`.
    pub exchange: &'a mut Exchange,
    /// Directory of the site's files.
    pub root: &'a [u8],
    pub delimiters: (&'a str, &'a str),
    pub steps_left: u64,
    pub bytes_left: usize,
    /// Templates in each other: includes and calls.
    pub depth: usize,
    /// Named trees of the template that runs.
    pub trees: Trees,
    /// Its own name.
    pub name: String,
    /// Answers of `httpInclude`, and the randomness that evaluations of one page share.
    pub inclusions: Inclusions,
}

/// Variables and dot of one tree.
struct Frame {
    variables: Vec<(String, Value)>,
}

/// What a list of nodes did at its end.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl<'a> Evaluation<'a> {
    pub fn new(exchange: &'a mut Exchange, root: &'a [u8], delimiters: (&'a str, &'a str)) -> Self {
        Evaluation {
            exchange,
            root,
            delimiters,
            steps_left: TEMPLATE_STEPS_MAX,
            bytes_left: TEMPLATE_BYTES_MAX,
            depth: 0,
            trees: Trees::new(),
            name: String::new(),
            inclusions: Inclusions::default(),
        }
    }

    /// Parses and executes a source with its own set of trees.
    pub fn execute(&mut self, name: &str, source: &[u8], arguments: Vec<Value>) -> Result<Vec<u8>, Failure> {
        if self.depth >= TEMPLATE_INCLUDES_MAX {
            return Failure::new("templates include each other too deep");
        }
        self.spend_bytes(source.len())?;
        let mut trees = Trees::new();
        let tree = parse(source, self.delimiters, knows, &mut trees)?;
        trees.entry(name.to_owned()).or_insert_with(|| tree.clone());
        let outer_trees = std::mem::replace(&mut self.trees, trees);
        let outer_name = std::mem::replace(&mut self.name, name.to_owned());
        self.depth += 1;
        let mut out = Vec::new();
        let result = self.execute_tree(&tree, object(Object::Context(arguments)), &mut out);
        self.depth -= 1;
        self.trees = outer_trees;
        self.name = outer_name;
        result.map(|()| out)
    }

    /// `import`: definitions of another source.
    pub fn import(&mut self, source: &[u8]) -> Result<(), Failure> {
        self.spend_bytes(source.len())?;
        let mut trees = std::mem::take(&mut self.trees);
        let tree = parse(source, self.delimiters, knows, &mut trees);
        self.trees = trees;
        let tree = tree?;
        if !is_empty(&tree) {
            self.trees.insert(self.name.clone(), tree);
        }
        Ok(())
    }

    fn execute_tree(&mut self, tree: &Tree, dot: Value, out: &mut Vec<u8>) -> Result<(), Failure> {
        let mut frame = Frame { variables: vec![("$".to_owned(), dot.clone())] };
        self.walk(tree, &dot, &mut frame, out).map(drop)
    }

    pub fn step(&mut self) -> Result<(), Failure> {
        match self.steps_left.checked_sub(1) {
            Some(left) => {
                self.steps_left = left;
                Ok(())
            }
            None => Failure::new("the template takes too many steps"),
        }
    }

    /// Charges bytes that an evaluation makes, whether it keeps them or not.
    pub fn spend_bytes(&mut self, count: usize) -> Result<(), Failure> {
        match self.bytes_left.checked_sub(count) {
            Some(left) => {
                self.bytes_left = left;
                Ok(())
            }
            None => Failure::new("the template makes too many bytes"),
        }
    }

    fn walk(
        &mut self,
        tree: &Tree,
        dot: &Value,
        frame: &mut Frame,
        out: &mut Vec<u8>,
    ) -> Result<Flow, Failure> {
        for node in tree.iter() {
            self.step()?;
            let flow = self.walk_node(node, dot, frame, out).map_err(|failure| failure.of_line(node.line))?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn walk_node(
        &mut self,
        node: &Node,
        dot: &Value,
        frame: &mut Frame,
        out: &mut Vec<u8>,
    ) -> Result<Flow, Failure> {
        match &node.kind {
            NodeKind::Text(text) => {
                self.spend_bytes(text.len())?;
                out.extend_from_slice(text);
            }
            NodeKind::Print(pipe) => {
                let value = self.pipe(pipe, dot, frame)?;
                if pipe.variables.is_empty() {
                    let text = value.print();
                    self.spend_bytes(text.len())?;
                    out.extend_from_slice(text.as_bytes());
                }
            }
            NodeKind::If { pipe, then, otherwise } | NodeKind::With { pipe, then, otherwise } => {
                let known = frame.variables.len();
                let value = self.pipe(pipe, dot, frame)?;
                let with = matches!(node.kind, NodeKind::With { .. });
                let flow = match value.is_true() {
                    true => self.walk(then, if with { &value } else { dot }, frame, out)?,
                    false => self.walk(otherwise, dot, frame, out)?,
                };
                frame.variables.truncate(known);
                return Ok(flow);
            }
            NodeKind::Range { pipe, then, otherwise } => {
                return self.walk_range(pipe, (then, otherwise), dot, frame, out);
            }
            NodeKind::Template { name, pipe } => {
                let value = match pipe {
                    Some(pipe) => self.pipe(pipe, dot, frame)?,
                    None => Value::Nil,
                };
                let Some(tree) = self.trees.get(name).cloned() else {
                    return Failure::new(format!("template {name:?} not defined"));
                };
                if self.depth >= TEMPLATE_INCLUDES_MAX {
                    return Failure::new("templates call each other too deep");
                }
                self.depth += 1;
                self.execute_tree(&tree, value, out)?;
                self.depth -= 1;
            }
            NodeKind::Break => return Ok(Flow::Break),
            NodeKind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn walk_range(
        &mut self,
        pipe: &Pipe,
        (then, otherwise): (&Tree, &Tree),
        dot: &Value,
        frame: &mut Frame,
        out: &mut Vec<u8>,
    ) -> Result<Flow, Failure> {
        let known = frame.variables.len();
        let value = self.pipe_value(pipe, dot, frame)?;
        let length = match &value {
            Value::Nil => 0,
            Value::Int(count) => usize::try_from(*count).unwrap_or(0),
            Value::List(values) => values.len(),
            Value::Dict(entries) => entries.borrow().len(),
            Value::Object(object) if object.length().is_some() => object.length().unwrap_or(0),
            other => return Failure::new(format!("range can't iterate over {}", other.kind())),
        };
        if length == 0 {
            return self.walk(otherwise, dot, frame, out);
        }
        let entries = match &value {
            Value::Int(_) => None,
            other => Some(entries_of(other)),
        };
        for index in 0..length {
            self.step()?;
            let (key, element) = match &entries {
                Some(entries) => entries[index].clone(),
                None => (Value::Int(index as i64), Value::Int(index as i64)),
            };
            let values = match &pipe.variables[..] {
                [] => vec![],
                [one] => vec![(one.clone(), element.clone())],
                [first, second, ..] => vec![(first.clone(), key), (second.clone(), element.clone())],
            };
            for (name, value) in values {
                match pipe.assigns {
                    true => frame.assign(&name, value),
                    false => frame.variables.push((name, value)),
                }
            }
            let flow = self.walk(then, &element, frame, out)?;
            frame.variables.truncate(known);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    /// The value of a pipe, kept in its variables.
    fn pipe(&mut self, pipe: &Pipe, dot: &Value, frame: &mut Frame) -> Result<Value, Failure> {
        let value = self.pipe_value(pipe, dot, frame)?;
        for name in &pipe.variables {
            match pipe.assigns {
                true => frame.assign(name, value.clone()),
                false => frame.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    fn pipe_value(&mut self, pipe: &Pipe, dot: &Value, frame: &mut Frame) -> Result<Value, Failure> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, value, dot, frame)?);
        }
        Ok(value.unwrap_or(Value::Nil))
    }

    /// `piped` is the last argument.
    fn command(
        &mut self,
        words: &[Operand],
        piped: Option<Value>,
        dot: &Value,
        frame: &mut Frame,
    ) -> Result<Value, Failure> {
        self.step()?;
        let (first, rest) = words.split_first().ok_or_else(|| Failure::at(0, "empty command"))?;
        let has_arguments = !rest.is_empty() || piped.is_some();
        match first {
            Operand::Function(name) if matches!(name.as_str(), "and" | "or") => {
                self.lazy(name == "or", rest, piped, dot, frame)
            }
            Operand::Function(name) => {
                let arguments = self.arguments(rest, piped, dot, frame)?;
                let value =
                    builtins::call(self, name, &arguments).map_err(|failure| failure.of_function(name))?;
                self.spend_bytes(value.weight())?;
                Ok(value)
            }
            Operand::Fields(fields) => {
                let arguments = self.arguments(rest, piped, dot, frame)?;
                self.chain(dot.clone(), fields, &arguments, has_arguments)
            }
            Operand::Variable(name, fields) if !fields.is_empty() => {
                let arguments = self.arguments(rest, piped, dot, frame)?;
                let base = frame.find(name);
                self.chain(base, fields, &arguments, has_arguments)
            }
            Operand::Group(pipe, fields) if !fields.is_empty() => {
                let base = self.pipe_value(pipe, dot, frame)?;
                let arguments = self.arguments(rest, piped, dot, frame)?;
                self.chain(base, fields, &arguments, has_arguments)
            }
            _ if has_arguments => Failure::new("can't give argument to non-function"),
            Operand::Nil => Failure::new("nil is not a command"),
            operand => self.operand(operand, dot, frame),
        }
    }

    fn arguments(
        &mut self,
        words: &[Operand],
        piped: Option<Value>,
        dot: &Value,
        frame: &mut Frame,
    ) -> Result<Vec<Value>, Failure> {
        let mut values = Vec::with_capacity(words.len() + 1);
        for word in words {
            values.push(self.operand(word, dot, frame)?);
        }
        values.extend(piped);
        Ok(values)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value, frame: &mut Frame) -> Result<Value, Failure> {
        self.step()?;
        match operand {
            Operand::Dot => Ok(dot.clone()),
            Operand::Nil => Ok(Value::Nil),
            Operand::Bool(value) => Ok(Value::Bool(*value)),
            Operand::Int(value) => Ok(Value::Int(*value)),
            Operand::Float(value) => Ok(Value::Float(*value)),
            Operand::Text(text) => Ok(Value::Text(text.clone())),
            Operand::Function(name) => match name.as_str() {
                "and" | "or" => Failure::new(format!("{name} takes arguments")),
                _ => builtins::call(self, name, &[]).map_err(|failure| failure.of_function(name)),
            },
            Operand::Fields(fields) => self.chain(dot.clone(), fields, &[], false),
            Operand::Variable(name, fields) => {
                let base = frame.find(name);
                self.chain(base, fields, &[], false)
            }
            Operand::Group(pipe, fields) => {
                let base = self.pipe_value(pipe, dot, frame)?;
                self.chain(base, fields, &[], false)
            }
        }
    }

    /// `and` and `or` end with the first argument that decides.
    fn lazy(
        &mut self,
        decides: bool,
        words: &[Operand],
        piped: Option<Value>,
        dot: &Value,
        frame: &mut Frame,
    ) -> Result<Value, Failure> {
        let mut value = None;
        for word in words {
            let found = self.operand(word, dot, frame)?;
            if found.is_true() == decides {
                return Ok(found);
            }
            value = Some(found);
        }
        piped.or(value).ok_or_else(|| Failure::at(0, "wrong number of arguments"))
    }

    /// Fields one after the other; arguments are the last one's.
    fn chain(
        &mut self,
        base: Value,
        fields: &[String],
        arguments: &[Value],
        has_arguments: bool,
    ) -> Result<Value, Failure> {
        let mut value = base;
        for (index, name) in fields.iter().enumerate() {
            self.step()?;
            let last = index + 1 == fields.len();
            let given = if last { arguments } else { &[] };
            value = match &value {
                Value::Nil if index == 0 => Value::Nil,
                Value::Nil => return Failure::new(format!("nil pointer evaluating interface {{}}.{name}")),
                Value::Dict(_) if last && has_arguments => {
                    return Failure::new(format!("{name} is not a method but has arguments"));
                }
                Value::Dict(entries) => entries.borrow().get(name).cloned().unwrap_or(Value::Nil),
                Value::Object(object) => {
                    let object = Rc::clone(object);
                    self.member(&object, name, given)?
                }
                Value::Time(seconds) => time_member(*seconds, name, given)?,
                other => {
                    return Failure::new(format!("can't evaluate field {name} in type {}", other.kind()));
                }
            };
        }
        Ok(value)
    }
}

impl Frame {
    fn find(&self, name: &str) -> Value {
        let found = self.variables.iter().rev().find(|(known, _)| known == name);
        found.map_or(Value::Nil, |(_, value)| value.clone())
    }

    fn assign(&mut self, name: &str, value: Value) {
        if let Some(found) = self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            found.1 = value;
        }
    }
}

/// Keys and elements of what `range` goes over.
fn entries_of(value: &Value) -> Vec<(Value, Value)> {
    match value {
        Value::List(values) => values
            .iter()
            .enumerate()
            .map(|(index, value)| (Value::Int(index as i64), value.clone()))
            .collect(),
        Value::Dict(entries) => {
            entries.borrow().iter().map(|(key, value)| (key.as_str().into(), value.clone())).collect()
        }
        Value::Object(object) => match &**object {
            Object::Values { entries, .. } => entries
                .iter()
                .map(|(key, values)| (key.as_str().into(), super::objects::texts(values)))
                .collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}
