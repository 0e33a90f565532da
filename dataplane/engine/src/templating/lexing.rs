//! A template's bytes as text and actions (Go: text/template/parse/lex.go).
//!
//! In: bytes and the two delimiters. Out: `Piece`s; an action has its tokens and the line it begins at. Trim markers and
//! comments are gone. Rule: every loop consumes input.

use super::Failure;

/// A part of a template.
#[derive(Debug)]
pub enum Piece<'a> {
    Text(&'a [u8]),
    Action { line: usize, tokens: Vec<Token> },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// White space, which parts operands.
    Space,
    Identifier(String),
    /// `.Name`
    Field(String),
    /// `$name` or `$`
    Variable(String),
    Dot,
    Number(String),
    Character(char),
    Text(String),
    Open,
    Close,
    Pipe,
    Comma,
    Assign,
    Declare,
}

const BLANK: &[u8] = b" \t\r\n";

/// Cuts a template into pieces.
pub fn cut<'a>(source: &'a [u8], open: &[u8], close: &[u8]) -> Result<Vec<Piece<'a>>, Failure> {
    let (mut pieces, mut at) = (Vec::new(), 0);
    let mut trims_left = false;
    while at <= source.len() {
        let rest = &source[at..];
        let found = memchr::memmem::find(rest, open);
        let mut text = &rest[..found.unwrap_or(rest.len())];
        if trims_left {
            text = trim_start(text);
        }
        let Some(found) = found else {
            push_text(text, &mut pieces);
            return Ok(pieces);
        };
        let line = 1 + memchr::memchr_iter(b'\n', &source[..at + found]).count();
        let mut inside = at + found + open.len();
        if is_trim(&source[inside..]) {
            text = trim_end(text);
            inside += 2;
        }
        push_text(text, &mut pieces);
        let action = Action { source, close, line };
        (at, trims_left) = match source[inside..].starts_with(b"/*") {
            true => action.skip_comment(inside)?,
            false => {
                let mut tokens = Vec::new();
                let end = action.read(inside, &mut tokens)?;
                pieces.push(Piece::Action { line, tokens });
                end
            }
        };
    }
    Ok(pieces)
}

fn push_text<'a>(text: &'a [u8], pieces: &mut Vec<Piece<'a>>) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
}

/// `- ` after the opening delimiter.
fn is_trim(rest: &[u8]) -> bool {
    matches!(rest, [b'-', blank, ..] if BLANK.contains(blank))
}

fn trim_start(text: &[u8]) -> &[u8] {
    &text[text.iter().position(|byte| !BLANK.contains(byte)).unwrap_or(text.len())..]
}

fn trim_end(text: &[u8]) -> &[u8] {
    &text[..text.iter().rposition(|byte| !BLANK.contains(byte)).map_or(0, |last| last + 1)]
}

/// One action, while it is read.
struct Action<'a> {
    source: &'a [u8],
    close: &'a [u8],
    line: usize,
}

impl Action<'_> {
    fn fail<T>(&self, what: impl Into<String>) -> Result<T, Failure> {
        Err(Failure::at(self.line, what))
    }

    /// Where the text goes on after the closing delimiter at `at`, and whether it is trimmed.
    fn end_at(&self, at: usize) -> Option<(usize, bool)> {
        let rest = &self.source[at..];
        if rest.starts_with(self.close) {
            return Some((at + self.close.len(), false));
        }
        match rest {
            [blank, b'-', end @ ..] if BLANK.contains(blank) && end.starts_with(self.close) => {
                Some((at + 2 + self.close.len(), true))
            }
            _ => None,
        }
    }

    fn skip_comment(&self, at: usize) -> Result<(usize, bool), Failure> {
        let Some(length) = memchr::memmem::find(&self.source[at..], b"*/") else {
            return self.fail("unclosed comment");
        };
        match self.end_at(at + length + 2) {
            Some(end) => Ok(end),
            None => self.fail("comment ends before closing delimiter"),
        }
    }

    fn read(&self, mut at: usize, tokens: &mut Vec<Token>) -> Result<(usize, bool), Failure> {
        loop {
            if let Some(end) = self.end_at(at) {
                return Ok(end);
            }
            let Some(&byte) = self.source.get(at) else { return self.fail("unclosed action") };
            let next = self.source.get(at + 1).copied().unwrap_or(b' ');
            let (token, length) = match byte {
                _ if BLANK.contains(&byte) => (Token::Space, 1),
                b'(' => (Token::Open, 1),
                b')' => (Token::Close, 1),
                b'|' => (Token::Pipe, 1),
                b',' => (Token::Comma, 1),
                b':' if next == b'=' => (Token::Declare, 2),
                b'=' => (Token::Assign, 1),
                b'"' | b'`' | b'\'' => self.read_quoted(at)?,
                b'.' if next.is_ascii_digit() => self.read_number(at),
                b'.' => match word_length(&self.source[at + 1..]) {
                    0 => (Token::Dot, 1),
                    length => (Token::Field(self.text(at + 1, length)), length + 1),
                },
                b'$' => {
                    let length = 1 + word_length(&self.source[at + 1..]);
                    (Token::Variable(self.text(at, length)), length)
                }
                b'0'..=b'9' => self.read_number(at),
                b'+' | b'-' if next.is_ascii_digit() || next == b'.' => self.read_number(at),
                _ => match word_length(&self.source[at..]) {
                    0 => return self.fail(format!("unexpected {:?} in an action", char::from(byte))),
                    length => (Token::Identifier(self.text(at, length)), length),
                },
            };
            at += length;
            if token != Token::Space || tokens.last() != Some(&Token::Space) {
                tokens.push(token);
            }
        }
    }

    fn text(&self, at: usize, length: usize) -> String {
        String::from_utf8_lossy(&self.source[at..at + length]).into_owned()
    }

    fn read_number(&self, at: usize) -> (Token, usize) {
        let rest = &self.source[at..];
        let hex = rest.len() > 1 && rest[0] == b'0' && matches!(rest[1], b'x' | b'X');
        let mut length = 1;
        while let Some(&byte) = rest.get(length) {
            let exponent = !hex && matches!(rest[length - 1], b'e' | b'E') && matches!(byte, b'+' | b'-');
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || exponent) {
                break;
            }
            length += 1;
        }
        (Token::Number(self.text(at, length)), length)
    }

    fn read_quoted(&self, at: usize) -> Result<(Token, usize), Failure> {
        let quote = self.source[at];
        let mut end = at + 1;
        loop {
            match self.source.get(end) {
                None => return self.fail("unterminated quoted string"),
                Some(b'\n') if quote != b'`' => return self.fail("unterminated quoted string"),
                Some(b'\\') if quote != b'`' => end += 2,
                Some(&byte) if byte == quote => break,
                Some(_) => end += 1,
            }
        }
        let inner = String::from_utf8_lossy(&self.source[at + 1..end]);
        let length = end + 1 - at;
        if quote == b'`' {
            return Ok((Token::Text(inner.replace('\r', "")), length));
        }
        let Some(text) = unquote(&inner) else { return self.fail("invalid escape in a string") };
        if quote == b'"' {
            return Ok((Token::Text(text), length));
        }
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => Ok((Token::Character(character), length)),
            _ => self.fail("malformed character constant"),
        }
    }
}

/// Bytes of a word: letters, digits, `_`, and all that is not ASCII.
fn word_length(rest: &[u8]) -> usize {
    rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_' || **byte >= 0x80).count()
}

/// Go's escapes of interpreted strings.
pub fn unquote(text: &str) -> Option<String> {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = rest.next()?;
        let mut digits = |count: usize, radix: u32, first: &str| {
            let mut digits = first.to_owned();
            while digits.len() < count {
                digits.push(rest.next()?);
            }
            u32::from_str_radix(&digits, radix).ok()
        };
        match escape {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            '\\' | '\'' | '"' => out.push(escape as u8),
            'x' => out.push(u8::try_from(digits(2, 16, "")?).ok()?),
            '0'..='7' => out.push(u8::try_from(digits(3, 8, &escape.to_string())?).ok()?),
            'u' | 'U' => {
                let count = if escape == 'u' { 4 } else { 8 };
                let character = char::from_u32(digits(count, 16, "")?)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}
