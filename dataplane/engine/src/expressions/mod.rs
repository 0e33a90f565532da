//! Expressions of CEL, checked and flattened by the operator, evaluated in bounded time.
//!
//! Nodes stand in postorder; evaluation starts at the last and follows operands, so that `&&`, `||` and `? :` leave
//! out what does not matter. Every visit is a step and long values cost more: past STEPS_MAX there is no value.

mod functions;
pub(crate) mod times;
mod values;

use crate::exchange::texts::Placeholder;
use crate::protocol;
use crate::searching::{Pattern, SearchBudget};
use std::rc::Rc;
use std::sync::Arc;
pub use values::{Fault, Value};
use values::{NO_KEY, NO_OVERLOAD, add, find, multiply, subtract};

/// Visits and sixteenths of bytes: some tens of microseconds.
const STEPS_MAX: usize = 1 << 14;
const TOO_MUCH: Fault = "too much work";
/// Deeper than the operator's parser lets through.
const DEPTH_MAX: usize = 512;
/// Compiled size of a pattern that is made per request.
const PATTERN_BYTES_MAX: usize = 64 << 10;

pub struct Expression {
    nodes: Box<[Node]>,
}

enum Node {
    Literal(Literal),
    Placeholder(Placeholder),
    Variable(Box<str>),
    Call { function: Box<str>, operands: Box<[u32]>, pattern: Option<Arc<Pattern>> },
    Match { helper: u32, row: u32 },
    Macro { kind: MacroKind, variable: Box<str>, range: u32, steps: Box<[u32]> },
}

/// Constants that may be shared between threads.
enum Literal {
    Null,
    Boolean(bool),
    Integer(i64),
    Unsigned(u64),
    Double(f64),
    Text(Box<str>),
    Bytes(Box<[u8]>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum MacroKind {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
    Bind,
}

/// What the evaluator asks of the request.
pub trait Request {
    fn value_of(&mut self, placeholder: &Placeholder) -> Value;
    fn matches(&mut self, helper: u32, row: u32) -> Result<bool, Fault>;
    /// What its searches by patterns may cost.
    fn searches(&mut self) -> &SearchBudget;
}

/// Compiles a constant pattern.
type Compile<'a> = &'a mut dyn FnMut(&str) -> Result<Arc<Pattern>, String>;

impl Expression {
    /// Refuses what the operator never makes: operands that do not stand before their user.
    pub fn compile(message: &protocol::Expression, compile: Compile) -> Result<Self, String> {
        let mut nodes = Vec::with_capacity(message.nodes.len());
        for (index, node) in message.nodes.iter().enumerate() {
            let before = |operands: &[u32]| operands.iter().all(|&operand| (operand as usize) < index);
            nodes.push(compile_node(node, &message.nodes, before, compile)?);
        }
        if nodes.is_empty() {
            return Err("an expression without nodes".into());
        }
        Ok(Self { nodes: nodes.into() })
    }

    /// The value of the expression as a boolean.
    pub fn holds(&self, request: &mut dyn Request) -> Result<bool, Fault> {
        let mut evaluation =
            Evaluation { expression: self, request, steps: STEPS_MAX, depth: 0, bound: Vec::new() };
        match evaluation.value(self.nodes.len() as u32 - 1)? {
            Value::Boolean(holds) => Ok(holds),
            _ => Err(NO_OVERLOAD),
        }
    }
}

fn compile_node(
    node: &protocol::ExpressionNode,
    all: &[protocol::ExpressionNode],
    before: impl Fn(&[u32]) -> bool,
    compile: Compile,
) -> Result<Node, String> {
    use protocol::expression_node::Node as Message;
    Ok(match node.node.as_ref().ok_or("an expression's node without content")? {
        Message::Null(_) => Node::Literal(Literal::Null),
        Message::Boolean(value) => Node::Literal(Literal::Boolean(*value)),
        Message::Integer(value) => Node::Literal(Literal::Integer(*value)),
        Message::Unsigned(value) => Node::Literal(Literal::Unsigned(*value)),
        Message::Double(value) => Node::Literal(Literal::Double(*value)),
        Message::Text(text) => Node::Literal(Literal::Text(text.as_str().into())),
        Message::Bytes(bytes) => Node::Literal(Literal::Bytes(bytes[..].into())),
        Message::Placeholder(name) => Node::Placeholder(Placeholder::compile(name)),
        Message::Variable(name) => Node::Variable(name.as_str().into()),
        Message::Match(found) => Node::Match { helper: found.helper, row: found.row },
        Message::Call(call) if before(&call.operands) => Node::Call {
            function: call.function.as_str().into(),
            operands: call.operands.as_slice().into(),
            pattern: compile_pattern(call, all, compile)?,
        },
        Message::Macro(found)
            if before(&found.steps) && before(&[found.range]) && !found.steps.is_empty() =>
        {
            let kind = match found.r#macro.as_str() {
                "all" => MacroKind::All,
                "exists" => MacroKind::Exists,
                "exists_one" => MacroKind::ExistsOne,
                "map" => MacroKind::Map,
                "filter" => MacroKind::Filter,
                "bind" => MacroKind::Bind,
                other => return Err(format!("no macro {other:?}")),
            };
            let variable = found.variable.as_str().into();
            Node::Macro { kind, variable, range: found.range, steps: found.steps.as_slice().into() }
        }
        Message::Call(_) | Message::Macro(_) => return Err("an expression's operands stand behind it".into()),
    })
}

/// The constant pattern of `matches`.
fn compile_pattern(
    call: &protocol::ExpressionCall,
    all: &[protocol::ExpressionNode],
    compile: Compile,
) -> Result<Option<Arc<Pattern>>, String> {
    use protocol::expression_node::Node as Message;
    if call.function != "matches" {
        return Ok(None);
    }
    let Some(Message::Text(text)) =
        call.operands.get(1).and_then(|&at| all.get(at as usize)).and_then(|node| node.node.as_ref())
    else {
        return Ok(None);
    };
    compile(text).map(Some)
}

struct Evaluation<'a> {
    expression: &'a Expression,
    request: &'a mut dyn Request,
    steps: usize,
    depth: usize,
    bound: Vec<(&'a str, Value)>,
}

impl<'a> Evaluation<'a> {
    fn charge(&mut self, steps: usize) -> Result<(), Fault> {
        self.steps = self.steps.checked_sub(steps).ok_or(TOO_MUCH)?;
        Ok(())
    }

    fn value(&mut self, at: u32) -> Result<Value, Fault> {
        self.charge(1)?;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("nested too deeply");
        }
        let expression: &'a Expression = self.expression;
        let value = match &expression.nodes[at as usize] {
            Node::Literal(literal) => Ok(literal.value()),
            Node::Placeholder(placeholder) => Ok(self.request.value_of(placeholder)),
            Node::Variable(name) => {
                let found = self.bound.iter().rev().find(|(known, _)| *known == &**name);
                found.map(|(_, value)| value.clone()).ok_or("no such variable")
            }
            Node::Match { helper, row } => self.request.matches(*helper, *row).map(Value::Boolean),
            Node::Macro { kind, variable, range, steps } => self.run_macro(*kind, variable, *range, steps),
            Node::Call { function, operands, pattern } => self.call(function, operands, pattern.as_deref()),
        };
        self.depth -= 1;
        let value = value?;
        self.charge(value.weight())?;
        Ok(value)
    }

    fn boolean(&mut self, at: u32) -> Result<bool, Fault> {
        match self.value(at)? {
            Value::Boolean(value) => Ok(value),
            _ => Err(NO_OVERLOAD),
        }
    }

    fn call(
        &mut self,
        function: &str,
        operands: &'a [u32],
        pattern: Option<&Pattern>,
    ) -> Result<Value, Fault> {
        match (function, operands) {
            ("&&", &[left, right]) => return self.both(left, right, false).map(Value::Boolean),
            ("||", &[left, right]) => return self.both(left, right, true).map(Value::Boolean),
            ("?:", &[condition, chosen, other]) => {
                let at = if self.boolean(condition)? { chosen } else { other };
                return self.value(at);
            }
            _ => {}
        }
        let mut values = Vec::with_capacity(operands.len());
        for &operand in operands {
            values.push(self.value(operand)?);
        }
        match (pattern, &values[..]) {
            (Some(pattern), [Value::Text(text), _]) => self.search(pattern, text),
            (None, [Value::Text(text), Value::Text(pattern)]) if function == "matches" => {
                if !self.request.searches().pay_for_pattern(pattern.as_bytes()) {
                    return Err(TOO_MUCH);
                }
                let made = Pattern::compile(pattern, PATTERN_BYTES_MAX);
                self.search(&made.map_err(|_| "no regular expression")?, text)
            }
            _ => apply(function, values),
        }
    }

    fn search(&mut self, pattern: &Pattern, text: &str) -> Result<Value, Fault> {
        let found = pattern.is_match(text.as_bytes(), self.request.searches());
        if self.request.searches().is_used_up() { Err(TOO_MUCH) } else { Ok(Value::Boolean(found)) }
    }

    /// `&&` (decided by false) and `||` (by true): what decides wins over a fault on the other side.
    fn both(&mut self, left: u32, right: u32, deciding: bool) -> Result<bool, Fault> {
        let depth = self.depth;
        let first = self.boolean(left);
        self.depth = depth;
        if first == Ok(deciding) {
            return Ok(deciding);
        }
        let second = self.boolean(right);
        self.depth = depth;
        match (first, second) {
            (_, Ok(second)) if second == deciding => Ok(deciding),
            (Err(fault), _) | (_, Err(fault)) => Err(fault),
            _ => Ok(!deciding),
        }
    }

    fn run_macro(
        &mut self,
        kind: MacroKind,
        variable: &'a str,
        range: u32,
        steps: &'a [u32],
    ) -> Result<Value, Fault> {
        let range = self.value(range)?;
        if kind == MacroKind::Bind {
            return self.with(variable, range, |evaluation| evaluation.value(steps[0]));
        }
        let items: Vec<Value> = match range {
            Value::List(items) => items.to_vec(),
            Value::Map(entries) => entries.iter().map(|(key, _)| key.clone()).collect(),
            _ => return Err(NO_OVERLOAD),
        };
        let mut collected = Vec::new();
        let (mut holding, mut fault) = (0, None);
        for item in items {
            let kept = item.clone();
            let depth = self.depth;
            let outcome = self.with(variable, item, |evaluation| evaluation.step(kind, steps));
            self.depth = depth;
            match (outcome, kind) {
                (Ok(Some(value)), MacroKind::Map) => collected.push(value),
                (Ok(Some(_)), MacroKind::Filter) => collected.push(kept),
                (Ok(Some(_)), MacroKind::Exists) => return Ok(Value::Boolean(true)),
                (Ok(None), MacroKind::All) => return Ok(Value::Boolean(false)),
                (Ok(found), _) => holding += usize::from(found.is_some()),
                (Err(found), MacroKind::All | MacroKind::Exists) if self.steps > 0 => fault = Some(found),
                (Err(found), _) => return Err(found),
            }
        }
        match (fault, kind) {
            (Some(fault), _) => Err(fault),
            (None, MacroKind::All) => Ok(Value::Boolean(true)),
            (None, MacroKind::Exists) => Ok(Value::Boolean(false)),
            (None, MacroKind::ExistsOne) => Ok(Value::Boolean(holding == 1)),
            (None, _) => Ok(Value::List(collected.into())),
        }
    }

    /// What one element gives: None where its condition does not hold.
    fn step(&mut self, kind: MacroKind, steps: &[u32]) -> Result<Option<Value>, Fault> {
        match (kind, steps) {
            (MacroKind::Map, &[transform]) => self.value(transform).map(Some),
            (MacroKind::Map, &[condition, transform]) => {
                if self.boolean(condition)? {
                    self.value(transform).map(Some)
                } else {
                    Ok(None)
                }
            }
            _ => Ok(self.boolean(steps[0])?.then_some(Value::Boolean(true))),
        }
    }

    fn with<T>(&mut self, variable: &'a str, value: Value, run: impl FnOnce(&mut Self) -> T) -> T {
        self.bound.push((variable, value));
        let outcome = run(self);
        self.bound.pop();
        outcome
    }
}

impl Literal {
    fn value(&self) -> Value {
        match self {
            Literal::Null => Value::Null,
            Literal::Boolean(value) => Value::Boolean(*value),
            Literal::Integer(value) => Value::Integer(*value),
            Literal::Unsigned(value) => Value::Unsigned(*value),
            Literal::Double(value) => Value::Double(*value),
            Literal::Text(text) => Value::text(text),
            Literal::Bytes(bytes) => Value::Bytes(Rc::from(&bytes[..])),
        }
    }
}

/// Operators and functions of values.
fn apply(function: &str, values: Vec<Value>) -> Result<Value, Fault> {
    use std::cmp::Ordering;
    match (function, &values[..]) {
        ("list", _) => Ok(Value::List(values.into())),
        ("map", _) => construct_map(&values),
        ("==", [a, b]) => Ok(Value::Boolean(a.equals(b))),
        ("!=", [a, b]) => Ok(Value::Boolean(!a.equals(b))),
        ("<", [a, b]) => Ok(Value::Boolean(a.compare(b)? == Some(Ordering::Less))),
        (">", [a, b]) => Ok(Value::Boolean(a.compare(b)? == Some(Ordering::Greater))),
        ("<=", [a, b]) => Ok(Value::Boolean(a.compare(b)?.is_some_and(Ordering::is_le))),
        (">=", [a, b]) => Ok(Value::Boolean(a.compare(b)?.is_some_and(Ordering::is_ge))),
        ("+", [a, b]) => add(a, b),
        ("-", [a, b]) => subtract(a, b),
        ("*" | "/" | "%", [a, b]) => multiply(function, a, b),
        ("!", [Value::Boolean(value)]) => Ok(Value::Boolean(!value)),
        ("neg", [Value::Integer(value)]) => value.checked_neg().map(Value::Integer).ok_or(values::OVERFLOW),
        ("neg", [Value::Double(value)]) => Ok(Value::Double(-value)),
        ("in", [item, Value::List(items)]) => Ok(Value::Boolean(items.iter().any(|one| one.equals(item)))),
        ("in", [key, Value::Map(entries)]) => Ok(Value::Boolean(find(entries, key).is_some())),
        ("has", [Value::Map(entries), key]) => Ok(Value::Boolean(find(entries, key).is_some())),
        ("select" | "index", [Value::Map(entries), key]) => find(entries, key).cloned().ok_or(NO_KEY),
        ("index", [Value::List(items), Value::Integer(at)]) => {
            usize::try_from(*at).ok().and_then(|at| items.get(at)).cloned().ok_or("index out of bounds")
        }
        _ => functions::apply(function, &values),
    }
}

fn construct_map(values: &[Value]) -> Result<Value, Fault> {
    let mut entries: Vec<(Value, Value)> = Vec::with_capacity(values.len() / 2);
    for pair in values.chunks_exact(2) {
        if find(&entries, &pair[0]).is_some() {
            return Err("a key stands twice");
        }
        entries.push((pair[0].clone(), pair[1].clone()));
    }
    Ok(Value::Map(entries.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::expression_node::Node as Message;
    use proptest::prelude::*;

    #[derive(Default)]
    struct NoRequest(SearchBudget);

    impl Request for NoRequest {
        fn value_of(&mut self, _: &Placeholder) -> Value {
            Value::Null
        }
        fn matches(&mut self, _: u32, _: u32) -> Result<bool, Fault> {
            Ok(false)
        }
        fn searches(&mut self) -> &SearchBudget {
            &self.0
        }
    }

    fn expression(nodes: Vec<Message>) -> protocol::Expression {
        let nodes = nodes.into_iter().map(|node| protocol::ExpressionNode { node: Some(node) }).collect();
        protocol::Expression { nodes }
    }

    fn compile(nodes: Vec<Message>) -> Result<Expression, String> {
        Expression::compile(&expression(nodes), &mut |text| Pattern::compile(text, 1 << 20).map(Arc::new))
    }

    fn call(function: &str, operands: &[u32]) -> Message {
        Message::Call(protocol::ExpressionCall {
            function: function.into(),
            operands: operands.into(),
            name: String::new(),
        })
    }

    #[test]
    fn operands_stand_before_their_user() {
        assert!(compile(vec![call("!", &[0])]).is_err());
        assert!(compile(vec![]).is_err());
    }

    #[test]
    fn doubling_a_text_ends_without_a_value() {
        let mut nodes = vec![Message::Text("x".repeat(64))];
        for at in 0..60 {
            nodes.push(call("+", &[at, at]));
        }
        nodes.push(call("==", &[60, 60]));
        let compiled = compile(nodes).unwrap();
        assert_eq!(compiled.holds(&mut NoRequest::default()), Err("too much work"));
    }

    fn nodes() -> impl Strategy<Value = Vec<Message>> {
        let functions = prop::sample::select(vec![
            "&&",
            "||",
            "?:",
            "==",
            "<",
            "+",
            "-",
            "*",
            "/",
            "%",
            "!",
            "neg",
            "in",
            "index",
            "list",
            "map",
            "size",
            "split",
            "replace",
            "substring",
            "indexOf",
            "lastIndexOf",
            "string",
            "int",
            "duration",
            "timestamp",
            "getHours",
            "join",
            "slice",
            "sort",
            "matches",
            "math.greatest",
            "lists.range",
            "no such",
        ]);
        let leaf = prop_oneof![
            any::<i64>().prop_map(Message::Integer),
            any::<bool>().prop_map(Message::Boolean),
            any::<f64>().prop_map(Message::Double),
            ".{0,8}".prop_map(Message::Text),
            Just(Message::Null(true)),
        ];
        let inner = (functions, prop::collection::vec(0u32..24, 0..4))
            .prop_map(|(name, operands)| call(name, &operands));
        prop::collection::vec(prop_oneof![leaf, inner], 1..24)
    }

    proptest! {
        #[test]
        fn whatever_is_sent_ends_with_a_value_or_a_fault(nodes in nodes()) {
            if let Ok(compiled) = compile(nodes) {
                let _ = compiled.holds(&mut NoRequest::default());
            }
        }
    }
}
