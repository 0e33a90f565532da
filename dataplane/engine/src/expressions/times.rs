//! Timestamps (RFC 3339) and durations (Go's `1h30m`) of expressions, in nanoseconds.

use super::values::{Fault, NO_OVERLOAD, Value};
use crate::calendar::{civil_from_days, days_from_civil};

const SECOND: i128 = 1_000_000_000;
const DAY_S: i128 = 86_400;

/// `getHours()` and the like; a time zone is UTC or an offset such as `+02:00`.
pub fn part(function: &str, values: &[Value]) -> Result<Value, Fault> {
    match values {
        [Value::Duration(nanoseconds)] => match function {
            "getHours" => Ok(Value::Integer(nanoseconds / 3_600_000_000_000)),
            "getMinutes" => Ok(Value::Integer(nanoseconds / 60_000_000_000)),
            "getSeconds" => Ok(Value::Integer(nanoseconds / 1_000_000_000)),
            "getMilliseconds" => Ok(Value::Integer(nanoseconds / 1_000_000)),
            _ => Err(NO_OVERLOAD),
        },
        [Value::Timestamp(time)] => part_of_time(function, *time),
        [Value::Timestamp(time), Value::Text(zone)] => {
            let offset = if &**zone == "UTC" { Some(0) } else { parse_offset(zone) };
            part_of_time(function, time + offset.ok_or("unknown time zone")? * SECOND)
        }
        _ => Err(NO_OVERLOAD),
    }
}

fn part_of_time(function: &str, time: i128) -> Result<Value, Fault> {
    let seconds = time.div_euclid(SECOND);
    let days = days_since_1970(seconds).ok_or("before 1970")?;
    let (year, month, day) = civil_from_days(days);
    let second = seconds.rem_euclid(DAY_S);
    let found = match function {
        "getFullYear" => i128::from(year),
        "getMonth" => i128::from(month) - 1,
        "getDate" => i128::from(day),
        "getDayOfMonth" => i128::from(day) - 1,
        "getDayOfYear" => i128::from(days - days_from_civil(year, 1, 1)),
        "getDayOfWeek" => (i128::from(days) + 4) % 7,
        "getHours" => second / 3600,
        "getMinutes" => second / 60 % 60,
        "getSeconds" => second % 60,
        "getMilliseconds" => time.rem_euclid(SECOND) / 1_000_000,
        _ => return Err(NO_OVERLOAD),
    };
    i64::try_from(found).map(Value::Integer).map_err(|_| NO_OVERLOAD)
}

/// None: before 1970.
fn days_since_1970(seconds: i128) -> Option<i64> {
    i64::try_from(seconds.div_euclid(DAY_S)).ok().filter(|days| *days >= 0)
}

/// RFC 3339, with a fraction of up to nine digits.
pub fn parse_timestamp(text: &str) -> Option<i128> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i128> {
        let digits = bytes.get(from..to)?;
        let plain = digits.iter().all(u8::is_ascii_digit);
        plain.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + i128::from(digit - b'0')))
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|&(at, mark)| bytes.get(at) != Some(&mark)) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let valid =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    if !valid {
        return None;
    }
    let mut at = 19;
    let mut nanoseconds = 0;
    if bytes.get(at) == Some(&b'.') {
        let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return None;
        }
        nanoseconds = number(at + 1, at + 1 + digits)? * 10_i128.pow(9 - digits as u32);
        at += 1 + digits;
    }
    let zone = text.get(at..)?;
    let offset = if zone == "Z" { 0 } else { parse_offset(zone)? };
    let days = i128::from(days_from_civil(year as i64, month as i64, day as i64));
    Some((days * DAY_S + hour * 3600 + minute * 60 + second - offset) * SECOND + nanoseconds)
}

/// `+02:00` in seconds.
fn parse_offset(text: &str) -> Option<i128> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => (1, text),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then(|| sign * (i128::from(hours) * 3600 + i128::from(minutes) * 60))
}

/// Go's time.ParseDuration.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 6e10,
            "h" => 3.6e12,
            _ => return None,
        };
        total += amount * unit;
        rest = &rest[end..];
    }
    (total < 9.2e18).then_some((sign * total) as i64)
}

/// RFC 3339 in UTC with as much of the second as there is.
pub fn show_timestamp(time: i128) -> String {
    let seconds = time.div_euclid(SECOND);
    let (year, month, day) = civil_from_days(days_since_1970(seconds).unwrap_or(0));
    let second = seconds.rem_euclid(DAY_S);
    let fraction = format!(".{:09}", time.rem_euclid(SECOND));
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown_as_go_does() {
        for text in ["1970-01-01T00:00:00Z", "2024-02-29T23:59:59.000000001Z", "2038-01-19T03:14:08.5Z"] {
            assert_eq!(show_timestamp(parse_timestamp(text).unwrap()), text);
        }
        assert_eq!(parse_timestamp("1970-01-01T02:00:00+02:00"), Some(0));
        for text in [
            "",
            "1970-13-01T00:00:00Z",
            "1970-01-01 00:00:00Z",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00é",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
        assert_eq!(parse_duration("1h30m"), Some(5_400_000_000_000));
        assert_eq!(parse_duration("-1.5s"), Some(-1_500_000_000));
        for text in ["", "1", "h", "1x", "-"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
