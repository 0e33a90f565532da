//! Seconds since 1970 as text, UTC, by the few letters of strftime that protocols need.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// 9999-12-31T23:59:59Z
const SECONDS_MAX: u64 = 253_402_300_799;

/// None: a letter that is not known, or a time past the year 9999.
pub fn format(seconds: u64, pattern: &[u8]) -> Option<Vec<u8>> {
    if seconds > SECONDS_MAX {
        return None;
    }
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = split_days(days);
    let first = days - (day_of_year(year, month, day) - 1);
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut letters = pattern.iter();
    while let Some(&letter) = letters.next() {
        if letter != b'%' {
            out.push(char::from(letter));
            continue;
        }
        match letters.next()? {
            b'Y' => out += &format!("{year:04}"),
            b'm' => out += &format!("{month:02}"),
            b'd' => out += &format!("{day:02}"),
            b'H' => out += &format!("{:02}", second / 3600),
            b'M' => out += &format!("{:02}", second / 60 % 60),
            b'S' => out += &format!("{:02}", second % 60),
            b'a' => out += DAYS[(days % 7) as usize],
            b'b' => out += MONTHS[(month - 1) as usize],
            b'j' => out += &format!("{:03}", days - first + 1),
            b'%' => out.push('%'),
            _ => return None,
        }
    }
    Some(out.into_bytes())
}

/// Year, month and day of a day since 1970 (the proleptic Gregorian calendar: H. Hinnant, civil_from_days).
fn split_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

fn day_of_year(year: u64, month: u64, day: u64) -> u64 {
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    BEFORE[(month - 1) as usize] + day + u64::from(leap && month > 2)
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
    }
}
