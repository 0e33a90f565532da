//! Sprig's decimal arithmetic and random values (numeric.go, strings.go, crypto.go).
//!
//! Randomness is the kernel's, by way of `inclusions`: a page that is evaluated again sees the same.

use super::Failure;
use super::arguments::{float, int, text};
use super::evaluating::Evaluation;
use super::sprig::{Outcome, Table};
use super::values::Value;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rust_decimal::{Decimal, RoundingStrategy};
use std::str::FromStr;

/// Characters of one random text.
const RANDOM_CHARACTERS_MAX: i64 = 4096;

pub const FUNCTIONS: Table = &[
    ("add1f", |_, a| decimals(&[float(a, 0)?, 1.0], Decimal::checked_add, |x, y| x + y)),
    ("addf", |_, a| {
        let given = if a.is_empty() { Vec::new() } else { floats(a)? };
        decimals(&[vec![0.0], given].concat(), Decimal::checked_add, |x, y| x + y)
    }),
    ("divf", |_, a| {
        let numbers = floats(a)?;
        match numbers[1..].contains(&0.0) {
            true => Failure::new("decimal division by 0"),
            false => decimals(&numbers, divide, |x, y| x / y),
        }
    }),
    ("maxf", |_, a| Ok(Value::Float(floats(a)?.into_iter().fold(f64::NEG_INFINITY, f64::max)))),
    ("minf", |_, a| Ok(Value::Float(floats(a)?.into_iter().fold(f64::INFINITY, f64::min)))),
    ("mulf", |_, a| decimals(&floats(a)?, Decimal::checked_mul, |x, y| x * y)),
    ("randAlpha", |e, a| random_text(e, a, u8::is_ascii_alphabetic)),
    ("randAlphaNum", |e, a| random_text(e, a, u8::is_ascii_alphanumeric)),
    ("randAscii", |e, a| random_text(e, a, |byte| (32..127).contains(byte))),
    ("randBytes", |e, a| {
        let count = count(a)?;
        let mut bytes = Vec::with_capacity(count + 32);
        while bytes.len() < count {
            bytes.extend(e.inclusions.random::<32>()?);
        }
        Ok(STANDARD.encode(&bytes[..count]).into())
    }),
    ("randInt", |e, a| {
        let (least, end) = (int(a, 0)?, int(a, 1)?);
        let Some(span) = end.checked_sub(least).filter(|span| *span > 0) else {
            return Failure::new("invalid argument to Intn");
        };
        Ok(Value::Int(least + below(e, span as u64)? as i64))
    }),
    ("randNumeric", |e, a| random_text(e, a, u8::is_ascii_digit)),
    ("shuffle", |e, a| {
        let mut characters: Vec<char> = text(a, 0)?.chars().collect();
        for index in (1..characters.len()).rev() {
            e.step()?;
            characters.swap(index, below(e, index as u64 + 1)? as usize);
        }
        Ok(characters.into_iter().collect::<String>().into())
    }),
    ("subf", |_, a| decimals(&floats(a)?, Decimal::checked_sub, |x, y| x - y)),
    ("toDecimal", |_, a| {
        let shown = super::arguments::get(a, 0)?.text();
        Ok(Value::Int(i64::from_str_radix(&shown, 8).unwrap_or(0)))
    }),
    ("uuidv4", |e, _| {
        let mut bytes = e.inclusions.random::<16>()?;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let digits = crate::digests::hex(&bytes);
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        Ok(parts.join("-").into())
    }),
];

/// At least one.
fn floats(arguments: &[Value]) -> Result<Vec<f64>, Failure> {
    float(arguments, 0)?;
    (0..arguments.len()).map(|index| float(arguments, index)).collect()
}

/// By decimal arithmetic (0.1 + 0.2 is 0.3); beyond its range by that of floats.
fn decimals(
    numbers: &[f64],
    step: fn(Decimal, Decimal) -> Option<Decimal>,
    rough: fn(f64, f64) -> f64,
) -> Outcome {
    let exact = numbers.iter().map(|number| Decimal::from_str(&number.to_string()).ok());
    let total = exact.reduce(|total, number| step(total?, number?)).flatten();
    let result = total.and_then(|total| total.to_string().parse().ok());
    let rough = || numbers.iter().copied().reduce(rough).unwrap_or(0.0);
    Ok(Value::Float(result.unwrap_or_else(rough)))
}

/// To 16 places, as shopspring/decimal divides.
fn divide(total: Decimal, by: Decimal) -> Option<Decimal> {
    let quotient = total.checked_div(by)?;
    Some(quotient.round_dp_with_strategy(16, RoundingStrategy::MidpointAwayFromZero))
}

fn count(arguments: &[Value]) -> Result<usize, Failure> {
    match int(arguments, 0)? {
        count @ 0..=RANDOM_CHARACTERS_MAX => Ok(count as usize),
        count => Failure::new(format!("{count} is no length of a random value (at most 4096)")),
    }
}

/// Uniform, below `end`.
fn below(evaluation: &mut Evaluation, end: u64) -> Result<u64, Failure> {
    let fair_end = u64::MAX - u64::MAX % end;
    loop {
        let value = u64::from_le_bytes(evaluation.inclusions.random()?);
        if value < fair_end {
            return Ok(value % end);
        }
    }
}

fn random_text(evaluation: &mut Evaluation, arguments: &[Value], fits: fn(&u8) -> bool) -> Outcome {
    let count = count(arguments)?;
    let mut text = String::with_capacity(count);
    while text.len() < count {
        let block = evaluation.inclusions.random::<32>()?;
        let fitting = block.iter().map(|byte| byte & 0x7f).filter(fits);
        text.extend(fitting.take(count - text.len()).map(char::from));
    }
    Ok(text.into())
}
