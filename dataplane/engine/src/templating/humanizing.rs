//! `humanize`: sizes and times for people (github.com/dustin/go-humanize).

use super::{Failure, times};

pub fn humanize(kind: &str, text: &str, now_s: i64) -> Result<String, Failure> {
    let (kind, layout) = match kind.split_once(':') {
        // Caddy cuts at every colon and takes the second part.
        Some((kind, rest)) => (kind, rest.split(':').next().unwrap_or("")),
        None => (kind, "Mon, 02 Jan 2006 15:04:05 -0700"),
    };
    match kind {
        "size" => match text.parse() {
            Ok(size) => Ok(show_size(size)),
            Err(_) => Failure::new("size cannot be parsed"),
        },
        "time" => match times::parse(text, layout) {
            Some(then_s) => Ok(show_time(then_s, now_s)),
            None => Failure::new("time cannot be parsed"),
        },
        _ => Failure::new("no know function was given"),
    }
}

fn show_size(size: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if size < 10 {
        return format!("{size} B");
    }
    let power = (size as f64).log(1000.0).floor().clamp(0.0, 6.0);
    let value = size as f64 / 1000f64.powf(power);
    let tenths = (value * 10.0 + 0.5).floor() / 10.0;
    match tenths < 10.0 {
        true => format!("{tenths:.1} {}", UNITS[power as usize]),
        false => format!("{} {}", (value + 0.5).floor(), UNITS[power as usize]),
    }
}

fn show_time(then_s: i64, now_s: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const WEEK: i64 = 7 * DAY;
    const MONTH: i64 = 30 * DAY;
    const YEAR: i64 = 12 * MONTH;
    const LONG: i64 = 37 * YEAR;
    /// Below these seconds: how it is said, and by what the number is divided.
    const STEPS: [(i64, &str, i64); 18] = [
        (1, "now", 1),
        (2, "1 second", 1),
        (MINUTE, "% seconds", 1),
        (2 * MINUTE, "1 minute", 1),
        (HOUR, "% minutes", MINUTE),
        (2 * HOUR, "1 hour", 1),
        (DAY, "% hours", HOUR),
        (2 * DAY, "1 day", 1),
        (WEEK, "% days", DAY),
        (2 * WEEK, "1 week", 1),
        (MONTH, "% weeks", WEEK),
        (2 * MONTH, "1 month", 1),
        (YEAR, "% months", MONTH),
        (18 * MONTH, "1 year", 1),
        (2 * YEAR, "2 years", 1),
        (LONG, "% years", YEAR),
        (i64::MAX, "a long while", 1),
        (i64::MAX, "a long while", 1),
    ];
    let difference = now_s.saturating_sub(then_s);
    let label = if difference >= 0 { "ago" } else { "from now" };
    let size = difference.saturating_abs();
    let (_, shape, unit) = STEPS.into_iter().find(|(below, ..)| size < *below).unwrap_or(STEPS[16]);
    match shape {
        "now" => shape.to_owned(),
        _ => format!("{} {label}", shape.replace('%', &(size / unit).to_string())),
    }
}
