//! `printf` (Go: fmt): verbs, flags, width and precision.

use super::Failure;
use super::escaping::quote;
use super::values::{Value, show_exponent};

/// Wider fields are no text that a page could mean.
const WIDTH_MAX: usize = 4096;

#[derive(Default)]
struct Flags {
    minus: bool,
    plus: bool,
    zero: bool,
    sharp: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

pub fn printf(format: &str, values: &[Value]) -> Result<String, Failure> {
    let mut out = String::new();
    let mut rest = format.chars().peekable();
    let mut next = 0;
    while let Some(character) = rest.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        let mut flags = Flags::default();
        while let Some(flag) = rest.next_if(|flag| "-+0# ".contains(*flag)) {
            match flag {
                '-' => flags.minus = true,
                '+' => flags.plus = true,
                '0' => flags.zero = true,
                '#' => flags.sharp = true,
                _ => flags.space = true,
            }
        }
        let number = |rest: &mut std::iter::Peekable<std::str::Chars>, next: &mut usize| {
            if rest.next_if_eq(&'*').is_some() {
                *next += 1;
                return match values.get(*next - 1) {
                    Some(Value::Int(count)) => usize::try_from(*count).ok(),
                    _ => None,
                };
            }
            let mut count = None;
            while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                let digit = digit as usize - '0' as usize;
                count = Some(count.unwrap_or(0usize).saturating_mul(10).saturating_add(digit));
            }
            count
        };
        flags.width = number(&mut rest, &mut next);
        if rest.next_if_eq(&'.').is_some() {
            flags.precision = Some(number(&mut rest, &mut next).unwrap_or(0));
        }
        if flags.width.max(flags.precision).is_some_and(|count| count > WIDTH_MAX) {
            return Failure::new(format!("width beyond {WIDTH_MAX}"));
        }
        let Some(verb) = rest.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        match values.get(next) {
            Some(value) => out.push_str(&show(value, verb, &flags)),
            None => out.push_str(&format!("%!{verb}(MISSING)")),
        }
        next += 1;
    }
    if next < values.len() {
        let extra = values[next..].iter().map(|value| match value {
            Value::Nil => "<nil>".to_owned(),
            _ => format!("{}={}", value.kind(), value.text()),
        });
        out.push_str(&format!("%!(EXTRA {})", extra.collect::<Vec<_>>().join(", ")));
    }
    Ok(out)
}

fn show(value: &Value, verb: char, flags: &Flags) -> String {
    let text = match (value, verb) {
        (_, 'T') => value.kind().to_owned(),
        (Value::List(values), 'd' | 's' | 'q' | 'x' | 'X' | 'f' | 't') => {
            let shown: Vec<String> = values.iter().map(|value| show(value, verb, flags)).collect();
            return format!("[{}]", shown.join(" "));
        }
        (Value::Text(text), 'v') if flags.sharp => quote(text),
        (Value::Text(text), 's' | 'v') => cut(text, flags.precision),
        (Value::Text(text), 'q') => quote(&cut(text, flags.precision)),
        (Value::Text(text), 'x' | 'X') => hex(text, verb),
        (Value::Int(number), 'v' | 'd' | 'b' | 'o' | 'O' | 'x' | 'X') => {
            return integer(*number, verb, flags);
        }
        (Value::Int(number), 'c') => character(*number).to_string(),
        (Value::Int(number), 'q') => format!("'{}'", character(*number)),
        (Value::Int(number), 'U') => format!("U+{number:04X}"),
        (Value::Float(number), 'v' | 'f' | 'F' | 'e' | 'E' | 'g' | 'G') => {
            return float(*number, verb, flags);
        }
        (Value::Bool(_), 't' | 'v') => value.text(),
        (Value::Nil, 'v') => "<nil>".to_owned(),
        (Value::Nil, _) => format!("%!{verb}(<nil>)"),
        (Value::List(_) | Value::Dict(_) | Value::Object(_) | Value::Time(_), 'v' | 's' | 'd') => {
            value.text()
        }
        _ => format!("%!{verb}({}={})", value.kind(), value.text()),
    };
    pad(text, flags)
}

fn cut(text: &str, precision: Option<usize>) -> String {
    text.chars().take(precision.unwrap_or(usize::MAX)).collect()
}

fn hex(text: &str, verb: char) -> String {
    text.bytes().map(|byte| if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") }).collect()
}

fn character(number: i64) -> char {
    u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}')
}

fn sign(negative: bool, flags: &Flags) -> &'static str {
    match (negative, flags.plus, flags.space) {
        (true, _, _) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        (false, false, false) => "",
    }
}

fn integer(number: i64, verb: char, flags: &Flags) -> String {
    let size = number.unsigned_abs();
    let (digits, prefix) = match verb {
        'b' => (format!("{size:b}"), "0b"),
        'o' => (format!("{size:o}"), "0"),
        'O' => (format!("{size:o}"), "0o"),
        'x' => (format!("{size:x}"), "0x"),
        'X' => (format!("{size:X}"), "0X"),
        _ => (size.to_string(), ""),
    };
    let prefix = if flags.sharp || verb == 'O' { prefix } else { "" };
    let digits = format!("{digits:0>width$}", width = flags.precision.unwrap_or(0));
    let head = format!("{}{prefix}", sign(number < 0, flags));
    numeric(head, digits, flags, flags.precision.is_none())
}

fn float(number: f64, verb: char, flags: &Flags) -> String {
    if !number.is_finite() {
        let text = if number.is_nan() { "NaN" } else { "Inf" };
        let plus = Flags { plus: flags.plus || verb == 'v', ..Flags::default() };
        let head = if number.is_nan() { "" } else { sign(number < 0.0, &plus) };
        return pad(format!("{head}{text}"), flags);
    }
    let size = number.abs();
    let digits = match verb {
        'f' | 'F' => format!("{size:.precision$}", precision = flags.precision.unwrap_or(6)),
        'e' | 'E' => show_exponent(&format!("{size:.precision$e}", precision = flags.precision.unwrap_or(6))),
        _ => match flags.precision {
            Some(precision) => significant(size, precision.max(1)),
            None => super::values::show_float(size),
        },
    };
    let digits = if verb.is_ascii_uppercase() { digits.to_ascii_uppercase() } else { digits };
    numeric(sign(number.is_sign_negative(), flags).to_owned(), digits, flags, true)
}

/// `%.3g`
fn significant(size: f64, precision: usize) -> String {
    let shown = format!("{size:.places$e}", places = precision - 1);
    let exponent: i32 = shown.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= precision as i32 {
        let (mantissa, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
        return show_exponent(&format!("{}e{exponent}", trim(mantissa)));
    }
    let places = (precision as i32 - 1 - exponent).max(0) as usize;
    trim(&format!("{size:.places$}"))
}

fn numeric(head: String, digits: String, flags: &Flags, zeros: bool) -> String {
    let length = head.len() + digits.len();
    match flags.width {
        Some(width) if flags.zero && zeros && !flags.minus && width > length => {
            format!("{head}{}{digits}", "0".repeat(width - length))
        }
        _ => pad(head + &digits, flags),
    }
}

fn pad(text: String, flags: &Flags) -> String {
    let missing = flags.width.unwrap_or(0).saturating_sub(text.chars().count());
    match flags.minus {
        true => text + &" ".repeat(missing),
        false => " ".repeat(missing) + &text,
    }
}

/// Go's fmt.Sprint: blanks between operands when neither is a string.
pub fn print(values: &[Value]) -> String {
    let mut out = String::new();
    let mut after_text = true;
    for (index, value) in values.iter().enumerate() {
        let is_text = matches!(value, Value::Text(_));
        if index > 0 && !is_text && !after_text {
            out.push(' ');
        }
        after_text = is_text;
        value.write(&mut out, 0);
    }
    out
}

pub fn println(values: &[Value]) -> String {
    let shown: Vec<String> = values
        .iter()
        .map(|value| {
            let mut out = String::new();
            value.write(&mut out, 0);
            out
        })
        .collect();
    shown.join(" ") + "\n"
}
