//! Seconds since 1970 as text, UTC, by the few letters of strftime that protocols need.

use crate::calendar::{civil_from_days, days_from_civil, month_name, short, weekday_name};

/// 9999-12-31T23:59:59Z
const SECONDS_MAX: u64 = 253_402_300_799;

/// None: a letter that is not known, or a time past the year 9999.
pub fn format(seconds: u64, pattern: &[u8]) -> Option<Vec<u8>> {
    if seconds > SECONDS_MAX {
        return None;
    }
    let (days, second) = ((seconds / 86_400) as i64, seconds % 86_400);
    let (year, month, day) = civil_from_days(days);
    let mut out = Vec::with_capacity(pattern.len() + 16);
    let mut letters = pattern.iter();
    while let Some(&letter) = letters.next() {
        if letter != b'%' {
            out.push(letter);
            continue;
        }
        match letters.next()? {
            b'Y' => out.extend_from_slice(format!("{year:04}").as_bytes()),
            b'm' => out.extend_from_slice(format!("{month:02}").as_bytes()),
            b'd' => out.extend_from_slice(format!("{day:02}").as_bytes()),
            b'H' => out.extend_from_slice(format!("{:02}", second / 3600).as_bytes()),
            b'M' => out.extend_from_slice(format!("{:02}", second / 60 % 60).as_bytes()),
            b'S' => out.extend_from_slice(format!("{:02}", second % 60).as_bytes()),
            b'a' => out.extend_from_slice(short(weekday_name(days)).as_bytes()),
            b'b' => out.extend_from_slice(short(month_name(month)).as_bytes()),
            b'j' => {
                out.extend_from_slice(format!("{:03}", days - days_from_civil(year, 1, 1) + 1).as_bytes())
            }
            b'%' => out.push(b'%'),
            _ => return None,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_date() {
        // date -u -d @N '+%Y%m%dT%H%M%SZ %a %b %j'
        for (seconds, text) in [
            (0, "19700101T000000Z Thu Jan 001"),
            (951_782_399, "20000228T235959Z Mon Feb 059"),
            (951_868_800, "20000301T000000Z Wed Mar 061"),
            (1_440_938_160, "20150830T123600Z Sun Aug 242"),
            (1_798_761_599, "20261231T235959Z Thu Dec 365"),
            (SECONDS_MAX, "99991231T235959Z Fri Dec 365"),
        ] {
            let made = format(seconds, b"%Y%m%dT%H%M%SZ %a %b %j").unwrap();
            assert_eq!(String::from_utf8(made).unwrap(), text);
        }
        assert_eq!((format(0, b"%q"), format(0, b"%"), format(SECONDS_MAX + 1, b"")), (None, None, None));
        assert_eq!(format(0, b"100%%"), Some(b"100%".to_vec()));
        assert_eq!(format(0, b"\xc3\xa4%d\xff"), Some(b"\xc3\xa401\xff".to_vec()), "other bytes are kept");
    }
}
