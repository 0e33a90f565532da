//! Days since 1970 to dates and back: the Gregorian calendar in UTC, with the names that dates in English have.

pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Year, month (1 to 12) and day of a day since 1970 (Howard Hinnant, chrono-compatible low-level date algorithms).
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The counterpart, by years that begin in March, so that leap days come last.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The whole name of a month from 1 to 12.
pub fn month_name(month: i64) -> &'static str {
    MONTHS[(month - 1) as usize]
}

/// The whole name of the weekday of a day since 1970.
pub fn weekday_name(days: i64) -> &'static str {
    WEEKDAYS[(days + 4).rem_euclid(7) as usize]
}

/// The three letters of a month or weekday in dates of protocols.
pub fn short(name: &'static str) -> &'static str {
    &name[..3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_days_are_each_other_s_counterparts_before_and_after_1970() {
        for (days, date, weekday) in [
            (0, (1970, 1, 1), "Thursday"),
            (-1, (1969, 12, 31), "Wednesday"),
            (11_016, (2000, 2, 29), "Tuesday"),
            (-719_468, (0, 3, 1), "Wednesday"),
            (2_932_896, (9999, 12, 31), "Friday"),
        ] {
            assert_eq!((civil_from_days(days), weekday_name(days)), (date, weekday));
            assert_eq!(days_from_civil(date.0, date.1, date.2), days);
        }
    }
}
