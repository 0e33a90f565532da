//! Times by Go's layouts, in UTC: written and read.

use crate::calendar::{MONTHS, WEEKDAYS, civil_from_days, days_from_civil, month_name, short, weekday_name};

/// Elements of a layout, longer ones first where one begins another.
const ELEMENTS: [&str; 29] = [
    "January", "Jan", "Monday", "Mon", "MST", "2006", "002", "-07:00", "-0700", "-07", "Z07:00", "Z0700",
    "01", "02", "03", "04", "05", "06", "15", "PM", "pm", "_2", "1", "2", "3", "4", "5", ".000", ".999",
];
pub const DAY_S: i64 = 86_400;

fn next_element(layout: &str) -> Option<&'static str> {
    ELEMENTS.into_iter().find(|element| layout.starts_with(element))
}

/// Seconds since 1970, by a layout, in UTC.
pub fn format(seconds: i64, layout: &str) -> String {
    format_at(seconds, layout, 0, "UTC")
}

/// Seconds since 1970, by a layout, where clocks are `offset_s` ahead of UTC.
pub fn format_at(seconds: i64, layout: &str, offset_s: i64, zone: &str) -> String {
    let seconds = seconds.saturating_add(offset_s);
    let days = seconds.div_euclid(DAY_S);
    let (year, month, day) = civil_from_days(days);
    let second = seconds.rem_euclid(DAY_S);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
    let (mut out, mut rest) = (String::new(), layout);
    while let Some(first) = rest.chars().next() {
        let Some(element) = next_element(rest) else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        rest = &rest[element.len()..];
        out.push_str(&match element {
            "January" => month_name(month).to_owned(),
            "Jan" => short(month_name(month)).to_owned(),
            "Monday" => weekday_name(days).to_owned(),
            "Mon" => short(weekday_name(days)).to_owned(),
            "MST" => zone.to_owned(),
            "2006" => format!("{year:04}"),
            "06" => format!("{:02}", year.rem_euclid(100)),
            "01" => format!("{month:02}"),
            "1" => month.to_string(),
            "02" => format!("{day:02}"),
            "_2" => format!("{day:2}"),
            "2" => day.to_string(),
            "002" => format!("{:03}", days - days_from_civil(year, 1, 1) + 1),
            "15" => format!("{hour:02}"),
            "03" => format!("{twelve:02}"),
            "3" => twelve.to_string(),
            "04" => format!("{minute:02}"),
            "4" => minute.to_string(),
            "05" => format!("{second:02}"),
            "5" => second.to_string(),
            "PM" => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            "pm" => if hour < 12 { "am" } else { "pm" }.to_owned(),
            "Z07:00" | "Z0700" if offset_s == 0 => "Z".to_owned(),
            "-07:00" | "Z07:00" => show_offset(offset_s, ":"),
            "-0700" | "Z0700" => show_offset(offset_s, ""),
            "-07" => show_offset(offset_s, "")[..3].to_owned(),
            ".000" => ".000".to_owned(),
            _ => String::new(),
        });
    }
    out
}

fn show_offset(offset_s: i64, between: &str) -> String {
    let (sign, minutes) = (if offset_s < 0 { '-' } else { '+' }, offset_s.abs() / 60);
    format!("{sign}{:02}{between}{:02}", minutes / 60, minutes % 60)
}

/// Reads a time, which begins with a year, by the first of the layouts that fits; fractions of a second are cut off.
pub fn parse_any(text: &str, layouts: &[&str]) -> Option<i64> {
    let year = text.as_bytes().get(..5)?;
    if year[4] != b'-' || !year[..4].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let whole = match text.split_once('.') {
        Some((before, after)) => {
            format!("{before}{}", after.trim_start_matches(|char: char| char.is_ascii_digit()))
        }
        None => text.to_owned(),
    };
    layouts.iter().find_map(|layout| parse(&whole, layout))
}

/// Reads a time by a layout; None where it does not fit.
pub fn parse(text: &str, layout: &str) -> Option<i64> {
    let (mut rest, mut layout) = (text, layout);
    let (mut year, mut month, mut day) = (1i64, 1i64, 1i64);
    let (mut hour, mut minute, mut second, mut offset_s) = (0i64, 0i64, 0i64, 0i64);
    let mut afternoon = None;
    while let Some(first) = layout.chars().next() {
        let Some(element) = next_element(layout) else {
            rest = rest.strip_prefix(first)?;
            layout = &layout[first.len_utf8()..];
            continue;
        };
        layout = &layout[element.len()..];
        match element {
            "2006" => year = digits(&mut rest, 4, 4)?,
            "06" => {
                let short = digits(&mut rest, 2, 2)?;
                year = if short >= 69 { 1900 + short } else { 2000 + short };
            }
            "01" => month = digits(&mut rest, 2, 2)?,
            "1" => month = digits(&mut rest, 1, 2)?,
            "January" | "Jan" => month = name(&mut rest, &MONTHS, element == "Jan")? as i64 + 1,
            "Monday" | "Mon" => drop(name(&mut rest, &WEEKDAYS, element == "Mon")?),
            "02" => day = digits(&mut rest, 2, 2)?,
            "_2" | "2" => {
                rest = rest.strip_prefix(' ').filter(|_| element == "_2").unwrap_or(rest);
                day = digits(&mut rest, 1, 2)?;
            }
            "15" => hour = digits(&mut rest, 2, 2)?,
            "03" => hour = digits(&mut rest, 2, 2)?,
            "3" => hour = digits(&mut rest, 1, 2)?,
            "04" => minute = digits(&mut rest, 2, 2)?,
            "4" => minute = digits(&mut rest, 1, 2)?,
            "05" => second = digits(&mut rest, 2, 2)?,
            "5" => second = digits(&mut rest, 1, 2)?,
            "PM" | "pm" => {
                let half = rest.get(..2)?;
                afternoon = Some(half.eq_ignore_ascii_case("pm"));
                rest = &rest[2..];
            }
            "MST" => rest = rest.strip_prefix("UTC").or_else(|| rest.strip_prefix("GMT"))?,
            _ if element.starts_with(['-', 'Z']) => offset_s = offset(&mut rest, element)?,
            _ => return None,
        }
    }
    if let Some(afternoon) = afternoon {
        hour = hour % 12 + if afternoon { 12 } else { 0 };
    }
    let valid =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    let seconds = days_from_civil(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second - offset_s;
    (rest.is_empty() && valid).then_some(seconds)
}

fn digits(rest: &mut &str, least: usize, most: usize) -> Option<i64> {
    let count = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (found, left) = rest.split_at(count);
    *rest = left;
    (count >= least).then(|| found.parse().ok()).flatten()
}

fn name(rest: &mut &str, names: &[&str], short: bool) -> Option<usize> {
    for (index, name) in names.iter().enumerate() {
        let wanted = if short { &name[..3] } else { name };
        if rest.get(..wanted.len()).is_some_and(|found| found.eq_ignore_ascii_case(wanted)) {
            *rest = &rest[wanted.len()..];
            return Some(index);
        }
    }
    None
}

fn offset(rest: &mut &str, element: &str) -> Option<i64> {
    if element.starts_with('Z')
        && let Some(left) = rest.strip_prefix('Z')
    {
        *rest = left;
        return Some(0);
    }
    let sign = match rest.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    *rest = &rest[1..];
    let hours = digits(rest, 2, 2)?;
    if element.ends_with("07") {
        return Some(sign * hours * 3600);
    }
    *rest = rest.strip_prefix(':').unwrap_or(rest);
    Some(sign * (hours * 3600 + digits(rest, 2, 2)? * 60))
}
