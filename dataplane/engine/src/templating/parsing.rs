//! Actions as a tree (Go: text/template/parse/parse.go).
//!
//! In: pieces of `lexing`. Out: a tree, and those of `define` and `block`. Names of functions and variables are checked
//! here, as Go does: a misspelt one fails where it stands, whether it would run or not. Rule: depth is bounded.

use super::Failure;
use super::lexing::{Piece, Token, cut};
use crate::limits::TEMPLATE_NESTING_MAX;
use std::collections::HashMap;
use std::rc::Rc;

pub type Tree = Rc<[Node]>;
pub type Trees = HashMap<String, Tree>;

#[derive(Debug)]
pub struct Node {
    pub line: usize,
    pub kind: NodeKind,
}

#[derive(Debug)]
pub enum NodeKind {
    Text(Box<[u8]>),
    Print(Pipe),
    If { pipe: Pipe, then: Tree, otherwise: Tree },
    With { pipe: Pipe, then: Tree, otherwise: Tree },
    Range { pipe: Pipe, then: Tree, otherwise: Tree },
    Template { name: String, pipe: Option<Pipe> },
    Break,
    Continue,
}

/// `$a, $b := command | command`
#[derive(Debug)]
pub struct Pipe {
    pub variables: Vec<String>,
    pub assigns: bool,
    pub commands: Vec<Vec<Operand>>,
}

#[derive(Debug)]
pub enum Operand {
    Dot,
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    Function(String),
    /// `.A.B`
    Fields(Vec<String>),
    Variable(String, Vec<String>),
    /// `(pipe).A.B`
    Group(Box<Pipe>, Vec<String>),
}

/// How a list of nodes ended.
enum Ending {
    Input,
    End,
    Else(Vec<Token>),
}

/// Reads one source; its own tree is the result, the named ones go to `trees`.
pub fn parse(
    source: &[u8],
    delimiters: (&str, &str),
    knows: fn(&str) -> bool,
    trees: &mut Trees,
) -> Result<Tree, Failure> {
    let pieces = cut(source, delimiters.0.as_bytes(), delimiters.1.as_bytes())?;
    let mut parser = Parser {
        pieces: pieces.into_iter(),
        trees,
        knows,
        variables: vec!["$".to_owned()],
        nesting: 0,
        loops: 0,
        line: 1,
    };
    let (tree, ending) = parser.list()?;
    match ending {
        Ending::Input => Ok(tree),
        Ending::End => parser.fail("unexpected {{end}}"),
        Ending::Else(_) => parser.fail("unexpected {{else}}"),
    }
}

/// White space alone: a definition that does not replace another.
pub fn is_empty(tree: &Tree) -> bool {
    tree.iter().all(|node| matches!(&node.kind, NodeKind::Text(text) if text.trim_ascii().is_empty()))
}

struct Parser<'a, 't> {
    pieces: std::vec::IntoIter<Piece<'a>>,
    trees: &'t mut Trees,
    knows: fn(&str) -> bool,
    variables: Vec<String>,
    nesting: usize,
    loops: usize,
    line: usize,
}

impl Parser<'_, '_> {
    fn fail<T>(&self, what: impl Into<String>) -> Result<T, Failure> {
        Err(Failure::at(self.line, what))
    }

    fn list(&mut self) -> Result<(Tree, Ending), Failure> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let (line, tokens) = match piece {
                Piece::Text(text) => {
                    nodes.push(Node { line: self.line, kind: NodeKind::Text(text.into()) });
                    continue;
                }
                Piece::Action { line, tokens } => (line, tokens),
            };
            self.line = line;
            let words: Vec<Token> = trimmed(tokens);
            let keyword = match words.first() {
                Some(Token::Identifier(word)) => word.clone(),
                _ => String::new(),
            };
            let rest = || trimmed(words[1..].to_vec());
            let kind = match keyword.as_str() {
                "end" => return Ok((nodes.into(), Ending::End)),
                "else" => return Ok((nodes.into(), Ending::Else(rest()))),
                "define" => {
                    self.definition(rest())?;
                    continue;
                }
                "if" | "with" | "range" => self.branch(&keyword, rest())?,
                "template" => self.call(rest())?,
                "block" => self.block(rest())?,
                "break" | "continue" if self.loops == 0 => {
                    return self.fail(format!("{{{{{keyword}}}}} outside {{{{range}}}}"));
                }
                "break" => NodeKind::Break,
                "continue" => NodeKind::Continue,
                _ => NodeKind::Print(self.pipe(words)?),
            };
            nodes.push(Node { line, kind });
        }
        Ok((nodes.into(), Ending::Input))
    }

    fn nested(&mut self) -> Result<(Tree, Ending), Failure> {
        self.nesting += 1;
        if self.nesting > TEMPLATE_NESTING_MAX {
            return self.fail("blocks are nested too deep");
        }
        let found = self.list();
        self.nesting -= 1;
        found
    }

    /// `if`, `with` and `range` with their `else`.
    fn branch(&mut self, keyword: &str, tokens: Vec<Token>) -> Result<NodeKind, Failure> {
        let known = self.variables.len();
        let line = self.line;
        let pipe = self.pipe_of(tokens, keyword == "range")?;
        self.loops += usize::from(keyword == "range");
        let (then, ending) = self.nested()?;
        self.loops -= usize::from(keyword == "range");
        let otherwise = match ending {
            Ending::End => Tree::from([]),
            Ending::Input => return self.fail(format!("{{{{{keyword}}}}} of line {line} has no end")),
            Ending::Else(tokens) => match tokens.first() {
                None => match self.nested()? {
                    (tree, Ending::End) => tree,
                    _ => return self.fail(format!("{{{{{keyword}}}}} of line {line} has no end")),
                },
                Some(Token::Identifier(word)) if word == keyword && keyword != "range" => {
                    self.nesting += 1;
                    if self.nesting > TEMPLATE_NESTING_MAX {
                        return self.fail("blocks are nested too deep");
                    }
                    let kind = self.branch(keyword, trimmed(tokens[1..].to_vec()))?;
                    self.nesting -= 1;
                    Tree::from([Node { line: self.line, kind }])
                }
                Some(_) => return self.fail("unexpected words after {{else}}"),
            },
        };
        self.variables.truncate(known);
        Ok(match keyword {
            "if" => NodeKind::If { pipe, then, otherwise },
            "with" => NodeKind::With { pipe, then, otherwise },
            _ => NodeKind::Range { pipe, then, otherwise },
        })
    }

    fn definition(&mut self, tokens: Vec<Token>) -> Result<(), Failure> {
        if self.nesting > 0 {
            return self.fail("{{define}} inside of a block");
        }
        let [Token::Text(name)] = &tokens[..] else { return self.fail("{{define}} takes one quoted name") };
        self.define(name.clone())
    }

    /// Reads up to the end of a definition.
    fn define(&mut self, name: String) -> Result<(), Failure> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let loops = std::mem::take(&mut self.loops);
        let (tree, ending) = self.nested()?;
        self.variables = variables;
        self.loops = loops;
        let Ending::End = ending else { return self.fail(format!("definition of {name:?} has no end")) };
        if !is_empty(&tree) || !self.trees.contains_key(&name) {
            self.trees.insert(name, tree);
        }
        Ok(())
    }

    fn call(&mut self, tokens: Vec<Token>) -> Result<NodeKind, Failure> {
        let Some(Token::Text(name)) = tokens.first() else {
            return self.fail("{{template}} takes a quoted name");
        };
        let rest = trimmed(tokens[1..].to_vec());
        let pipe = if rest.is_empty() { None } else { Some(self.pipe(rest)?) };
        Ok(NodeKind::Template { name: name.clone(), pipe })
    }

    fn block(&mut self, tokens: Vec<Token>) -> Result<NodeKind, Failure> {
        let Some(Token::Text(name)) = tokens.first() else {
            return self.fail("{{block}} takes a quoted name");
        };
        let pipe = self.pipe(trimmed(tokens[1..].to_vec()))?;
        self.define(name.clone())?;
        Ok(NodeKind::Template { name: name.clone(), pipe: Some(pipe) })
    }

    fn pipe(&mut self, tokens: Vec<Token>) -> Result<Pipe, Failure> {
        self.pipe_of(tokens, false)
    }

    fn pipe_of(&mut self, tokens: Vec<Token>, ranges: bool) -> Result<Pipe, Failure> {
        let mut reader = Reader { tokens: &tokens, at: 0 };
        let pipe = self.read_pipe(&mut reader, ranges)?;
        match reader.next() {
            None => Ok(pipe),
            Some(_) => self.fail("unexpected words at the end of an action"),
        }
    }

    fn read_pipe(&mut self, reader: &mut Reader, ranges: bool) -> Result<Pipe, Failure> {
        let (variables, assigns) = self.read_variables(reader, ranges)?;
        let mut commands = Vec::new();
        loop {
            let command = self.read_command(reader)?;
            if command.is_empty() {
                return self.fail("missing value for a command");
            }
            let invokes = matches!(
                command[0],
                Operand::Function(_) | Operand::Fields(_) | Operand::Variable(..) | Operand::Group(..)
            );
            if !commands.is_empty() && !invokes {
                return self.fail("not a function in a later stage of a pipeline");
            }
            commands.push(command);
            if reader.peek() != Some(&Token::Pipe) {
                break;
            }
            reader.next();
        }
        if !assigns {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipe { variables, assigns, commands })
    }

    /// `$a :=`, `$a =`, and for `range` `$a, $b :=`.
    fn read_variables(&mut self, reader: &mut Reader, ranges: bool) -> Result<(Vec<String>, bool), Failure> {
        let start = reader.at;
        let mut names = Vec::new();
        loop {
            reader.skip_space();
            let Some(Token::Variable(name)) = reader.next() else { break };
            names.push(name.clone());
            reader.skip_space();
            match reader.next() {
                Some(Token::Comma) if ranges && names.len() == 1 => {}
                Some(Token::Comma) => return self.fail("too many declarations in an action"),
                Some(Token::Declare) => return Ok((names, false)),
                Some(Token::Assign) => {
                    if let Some(name) = names.iter().find(|name| !self.variables.contains(name)) {
                        return self.fail(format!("undefined variable {name:?}"));
                    }
                    return Ok((names, true));
                }
                _ => break,
            }
        }
        reader.at = start;
        Ok((Vec::new(), false))
    }

    fn read_command(&mut self, reader: &mut Reader) -> Result<Vec<Operand>, Failure> {
        let mut operands = Vec::new();
        loop {
            reader.skip_space();
            match reader.peek() {
                None | Some(Token::Pipe | Token::Close) => return Ok(operands),
                Some(_) => operands.push(self.read_operand(reader)?),
            }
            match reader.peek() {
                None | Some(Token::Pipe | Token::Close | Token::Space) => {}
                Some(_) => return self.fail("unexpected word in an operand"),
            }
        }
    }

    fn read_operand(&mut self, reader: &mut Reader) -> Result<Operand, Failure> {
        Ok(match reader.next().cloned() {
            Some(Token::Dot) => Operand::Dot,
            Some(Token::Text(text)) => Operand::Text(text.into()),
            Some(Token::Character(character)) => Operand::Int(character as i64),
            Some(Token::Number(text)) => match number(&text) {
                Some(operand) => operand,
                None => return self.fail(format!("bad number {text:?}")),
            },
            Some(Token::Field(name)) => {
                let mut fields = vec![name];
                reader.fields(&mut fields);
                Operand::Fields(fields)
            }
            Some(Token::Variable(name)) => {
                if !self.variables.contains(&name) {
                    return self.fail(format!("undefined variable {name:?}"));
                }
                let mut fields = Vec::new();
                reader.fields(&mut fields);
                Operand::Variable(name, fields)
            }
            Some(Token::Open) => {
                self.nesting += 1;
                if self.nesting > TEMPLATE_NESTING_MAX {
                    return self.fail("parentheses are nested too deep");
                }
                let pipe = self.read_pipe(reader, false)?;
                self.nesting -= 1;
                let Some(Token::Close) = reader.next() else { return self.fail("unclosed left parenthesis") };
                let mut fields = Vec::new();
                reader.fields(&mut fields);
                Operand::Group(Box::new(pipe), fields)
            }
            Some(Token::Identifier(name)) => match name.as_str() {
                "true" => Operand::Bool(true),
                "false" => Operand::Bool(false),
                "nil" => Operand::Nil,
                _ if (self.knows)(&name) => {
                    let mut fields = Vec::new();
                    reader.fields(&mut fields);
                    if fields.is_empty() {
                        return Ok(Operand::Function(name));
                    }
                    let commands = vec![vec![Operand::Function(name)]];
                    Operand::Group(Box::new(Pipe { variables: Vec::new(), assigns: false, commands }), fields)
                }
                _ => return self.fail(format!("function {name:?} not defined")),
            },
            _ => return self.fail("unexpected word in an action"),
        })
    }
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Token> {
        let token = self.tokens.get(self.at);
        self.at += usize::from(token.is_some());
        token
    }

    fn skip_space(&mut self) {
        while self.peek() == Some(&Token::Space) {
            self.at += 1;
        }
    }

    fn fields(&mut self, fields: &mut Vec<String>) {
        while let Some(Token::Field(name)) = self.peek() {
            fields.push(name.clone());
            self.at += 1;
        }
    }
}

fn trimmed(mut tokens: Vec<Token>) -> Vec<Token> {
    while tokens.last() == Some(&Token::Space) {
        tokens.pop();
    }
    let blanks = tokens.iter().take_while(|token| **token == Token::Space).count();
    tokens.drain(..blanks);
    tokens
}

/// Go's integer and floating-point constants.
fn number(text: &str) -> Option<Operand> {
    if let Some(value) = integer(text) {
        return Some(Operand::Int(value));
    }
    let text = text.replace('_', "");
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite())?;
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        .then_some(Operand::Float(value))
}

/// An integer with Go's prefixes.
pub fn integer(text: &str) -> Option<i64> {
    let digits = text.replace('_', "");
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    let value = i128::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with(['+', '-']))?;
    i64::try_from(if negative { -value } else { value }).ok()
}
