//! Sprig's texts, patterns, encodings, digests, paths and URLs (strings.go, regex.go, crypto.go, url.go).

use super::arguments::{dict, get, int, text};
use super::evaluating::Evaluation;
use super::sprig::{Outcome, Table};
use super::values::Value;
use super::{Failure, urls};
use crate::digests;
use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::{NoExpand, Regex, RegexBuilder};

pub const FUNCTIONS: Table = &[
    ("abbrevboth", |_, a| Ok(abbreviate(int(a, 0)?, int(a, 1)?, &text(a, 2)?).into())),
    ("adler32sum", |_, a| {
        let (mut first, mut second) = (1u32, 0u32);
        for byte in text(a, 0)?.bytes() {
            first = (first + u32::from(byte)) % 65_521;
            second = (second + first) % 65_521;
        }
        Ok((second << 16 | first).to_string().into())
    }),
    ("b32dec", |_, a| Ok(decode_base32(&text(a, 0)?).map_or_else(Value::from, |bytes| bytes[..].into()))),
    ("b32enc", |_, a| Ok(encode_base32(text(a, 0)?.as_bytes()).into())),
    ("b64dec", |_, a| {
        let decoded = STANDARD.decode(text(a, 0)?);
        Ok(decoded.map_or_else(|error| error.to_string().into(), |bytes| bytes[..].into()))
    }),
    ("b64enc", |_, a| Ok(STANDARD.encode(text(a, 0)?).into())),
    ("clean", |_, a| Ok(urls::clean(&text(a, 0)?).into())),
    ("expandenv", |e, a| expand_environment(e, &text(a, 0)?)),
    ("hello", |_, _| Ok("Hello!".into())),
    ("isAbs", |_, a| Ok(Value::Bool(text(a, 0)?.starts_with('/')))),
    ("mustRegexMatch", |_, a| Ok(Value::Bool(pattern(a)?.is_match(&text(a, 1)?)))),
    ("regexFind", |_, a| {
        let (pattern, text) = (pattern(a)?, text(a, 1)?);
        Ok(pattern.find(&text).map_or("", |found| found.as_str()).into())
    }),
    ("regexFindAll", |_, a| {
        let (pattern, text) = (pattern(a)?, text(a, 1)?);
        let count = usize::try_from(int(a, 2)?).unwrap_or(usize::MAX);
        Ok(Value::list(pattern.find_iter(&text).take(count).map(|found| found.as_str().into())))
    }),
    ("regexMatch", |_, a| {
        let text = text(a, 1)?;
        Ok(Value::Bool(pattern(a).is_ok_and(|pattern| pattern.is_match(&text))))
    }),
    ("regexQuoteMeta", |_, a| {
        let mut quoted = String::new();
        for character in text(a, 0)?.chars() {
            if r"\.+*?()|[]{}^$".contains(character) {
                quoted.push('\\');
            }
            quoted.push(character);
        }
        Ok(quoted.into())
    }),
    ("regexReplaceAll", |e, a| {
        let (pattern, text, with) = (pattern(a)?, text(a, 1)?, text(a, 2)?);
        e.spend_bytes((text.len() + 1).saturating_mul(with.len() + 1))?;
        Ok(pattern.replace_all(&text, with.as_str()).as_ref().into())
    }),
    ("regexReplaceAllLiteral", |e, a| {
        let (pattern, text, with) = (pattern(a)?, text(a, 1)?, text(a, 2)?);
        e.spend_bytes((text.len() + 1).saturating_mul(with.len() + 1))?;
        Ok(pattern.replace_all(&text, NoExpand(&with)).as_ref().into())
    }),
    ("regexSplit", |_, a| {
        let (pattern, text) = (pattern(a)?, text(a, 1)?);
        Ok(Value::list(split(&pattern, &text, int(a, 2)?).into_iter().map(Value::from)))
    }),
    ("sha1sum", |_, a| Ok(hex(&SHA1_FOR_LEGACY_USE_ONLY, &text(a, 0)?))),
    ("sha256sum", |_, a| Ok(hex(&SHA256, &text(a, 0)?))),
    ("sha512sum", |_, a| Ok(hex(&SHA512, &text(a, 0)?))),
    ("splitn", |_, a| {
        let (by, count, text) = (text(a, 0)?, int(a, 1)?, text(a, 2)?);
        let parts: Vec<&str> = match usize::try_from(count) {
            Ok(0) => Vec::new(),
            Ok(count) => text.splitn(count, by.as_str()).collect(),
            Err(_) => text.split(by.as_str()).collect(),
        };
        Ok(Value::dict(parts.into_iter().enumerate().map(|(at, part)| (format!("_{at}"), part.into()))))
    }),
    ("swapcase", |_, a| Ok(text(a, 0)?.chars().map(swap_case).collect::<String>().into())),
    ("urlJoin", |_, a| urls::join(&dict(a, 0)?.borrow())),
    ("urlParse", |_, a| urls::parse(&text(a, 0)?)),
    ("wrap", |e, a| wrap(e, int(a, 0)?, "\n", &text(a, 1)?, false)),
    ("wrapWith", |e, a| {
        let between = text(a, 1)?;
        let between = if between.is_empty() { "\n" } else { &between };
        wrap(e, int(a, 0)?, between, &text(a, 2)?, true)
    }),
];

fn pattern(arguments: &[Value]) -> Result<Regex, Failure> {
    const PATTERN_BYTES_MAX: usize = 1 << 20;
    get(arguments, 1)?;
    let built = RegexBuilder::new(&crate::patterns::translate(&text(arguments, 0)?))
        .size_limit(PATTERN_BYTES_MAX)
        .build();
    built.map_err(|error| Failure::at(0, error.to_string()))
}

/// Go's os.ExpandEnv: `$NAME` and `${NAME}`.
fn expand_environment(evaluation: &mut Evaluation, text: &str) -> Outcome {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once('$') {
        out += before;
        let (name, left) = match behind.strip_prefix('{').map(|braced| braced.split_once('}')) {
            Some(Some((name, left))) => (name, left),
            // Go drops a brace that nothing closes.
            Some(None) => ("", &behind[1..]),
            None => {
                let end = behind.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                match behind.split_at(end.unwrap_or(behind.len())) {
                    ("", left) => {
                        out.push('$');
                        ("", left)
                    }
                    found => found,
                }
            }
        };
        if let Some(value) =
            std::env::var_os(name).filter(|_| !name.is_empty() && !name.contains(['=', '\0']))
        {
            let value = value.to_string_lossy();
            evaluation.spend_bytes(value.len())?;
            out += &value;
        }
        rest = left;
    }
    Ok((out + rest).into())
}

/// Go's Regexp.Split.
fn split(pattern: &Regex, text: &str, count: i64) -> Vec<String> {
    if count == 0 {
        return Vec::new();
    }
    if !pattern.as_str().is_empty() && text.is_empty() {
        return vec![String::new()];
    }
    let limit = usize::try_from(count).unwrap_or(usize::MAX);
    let (mut parts, mut begin, mut end) = (Vec::new(), 0, 0);
    for found in pattern.find_iter(text).take(limit) {
        if parts.len() + 1 == limit {
            break;
        }
        end = found.start();
        if found.end() != 0 {
            parts.push(text[begin..end].to_owned());
        }
        begin = found.end();
    }
    if end != text.len() {
        parts.push(text[begin..].to_owned());
    }
    parts
}

fn hex(algorithm: &'static Algorithm, text: &str) -> Value {
    digests::hex(digest(algorithm, text.as_bytes()).as_ref()).into()
}

fn swap_case(character: char) -> char {
    let mut swapped: Vec<char> = match character.is_uppercase() {
        true => character.to_lowercase().collect(),
        false => character.to_uppercase().collect(),
    };
    match swapped.len() {
        1 => swapped.remove(0),
        _ => character,
    }
}

/// goutils.AbbreviateFull; what it refuses stays.
fn abbreviate(left: i64, right: i64, text: &str) -> String {
    let length = text.len() as i64;
    if right < 4 || (left > 0 && right < 7) || length <= right {
        return text.to_owned();
    }
    let kept = right - 3;
    let left = left.min(length).min(if length - left.min(length) < kept { length - kept } else { i64::MAX });
    if left <= 4 {
        return bytes(text, 0, kept) + "...";
    }
    if left + kept < length {
        // It abbreviates the rest to what the first dots left.
        let rest = bytes(text, left, length);
        return match rest.len() as i64 <= kept {
            true => format!("...{rest}"),
            false => format!("...{}...", bytes(&rest, 0, kept - 3)),
        };
    }
    format!("...{}", bytes(text, length - kept, length))
}

/// Bytes of a text, as Go slices it.
fn bytes(text: &str, start: i64, end: i64) -> String {
    let place = |at: i64| usize::try_from(at).unwrap_or(0).min(text.len());
    let (start, end) = (place(start), place(end));
    String::from_utf8_lossy(&text.as_bytes()[start.min(end)..end]).into_owned()
}

/// goutils.WrapCustom: lines of `width` bytes, cut at blanks; a longer word is cut where `cuts_words`.
fn wrap(evaluation: &mut Evaluation, width: i64, between: &str, text: &str, cuts_words: bool) -> Outcome {
    let width = usize::try_from(width).unwrap_or(1).max(1);
    evaluation
        .spend_bytes((text.len() / width + 1).saturating_mul(between.len()).saturating_add(text.len()))?;
    let text = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while text.len() - at > width {
        if text[at] == b' ' {
            at += 1;
            continue;
        }
        let blank = text[at..=at + width].iter().rposition(|byte| *byte == b' ');
        let end = match blank {
            Some(blank) => Some((at + blank, 1)),
            None if cuts_words => Some((at + width, 0)),
            None => {
                text[at + width..].iter().position(|byte| *byte == b' ').map(|more| (at + width + more, 1))
            }
        };
        let Some((end, skipped)) = end else { break };
        out.extend_from_slice(&text[at..end]);
        out.extend_from_slice(between.as_bytes());
        at = end + skipped;
    }
    out.extend_from_slice(&text[at..]);
    Ok(out[..].into())
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// RFC 4648, section 6, with padding.
fn encode_base32(data: &[u8]) -> String {
    let mut out = String::with_capacity(data.len().div_ceil(5) * 8);
    for group in data.chunks(5) {
        let mut bits = [0u8; 8];
        bits[3..3 + group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(bits);
        let used = (group.len() * 8).div_ceil(5);
        for index in 0..8 {
            let digit = BASE32[(bits >> (35 - 5 * index) & 31) as usize];
            out.push(if index < used { digit.into() } else { '=' });
        }
    }
    out
}

/// Err: Go's message, which Sprig gives as the text.
fn decode_base32(text: &str) -> Result<Vec<u8>, String> {
    let text: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let digits = text.len() - text.iter().rev().take_while(|byte| **byte == b'=').count();
    let fault = |at: usize| format!("illegal base32 data at input byte {at}");
    if !text.len().is_multiple_of(8) || !matches!(digits % 8, 0 | 2 | 4 | 5 | 7) || text.len() - digits > 6 {
        return Err(fault(digits));
    }
    let (mut out, mut bits, mut count) = (Vec::with_capacity(digits * 5 / 8), 0u32, 0);
    for (at, byte) in text[..digits].iter().enumerate() {
        let value = BASE32.iter().position(|known| known == byte).ok_or_else(|| fault(at))?;
        bits = bits << 5 | value as u32;
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Ok(out)
}
