//! Reason phrases (RFC 9110 15) and dates (RFC 9110 5.6.7).

use crate::calendar;
use std::cell::Cell;

/// Phrase of a status as Go knows it (net/http.StatusText); "" for unknown ones.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Entity",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        _ => "",
    }
}

thread_local! {
    static DATE: Cell<(u64, [u8; 29])> = const { Cell::new((u64::MAX, [0; 29])) };
    static OLD_DATE: Cell<(u64, [u8; 29])> = const { Cell::new((u64::MAX, [0; 29])) };
}

/// Appends an IMF-fixdate; formatted once a second and thread.
pub fn push_date(unix_ms: u64, out: &mut Vec<u8>) {
    let seconds = unix_ms / 1000;
    let (cached, mut date) = DATE.get();
    if cached != seconds {
        date = format_date(seconds);
        DATE.set((seconds, date));
    }
    out.extend_from_slice(&date);
}

/// Appends an IMF-fixdate of the past, with a memory of its own: the clock's must not be lost for it.
pub fn push_old_date(seconds: u64, out: &mut Vec<u8>) {
    let (cached, mut date) = OLD_DATE.get();
    if cached != seconds {
        date = format_date(seconds);
        OLD_DATE.set((seconds, date));
    }
    out.extend_from_slice(&date);
}

fn format_date(seconds: u64) -> [u8; 29] {
    let days = (seconds / 86_400) as i64;
    let (year, month, day) = calendar::civil_from_days(days);
    let time = seconds % 86_400;
    let text = format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        calendar::short(calendar::weekday_name(days)),
        calendar::short(calendar::month_name(month)),
        time / 3600,
        time / 60 % 60,
        time % 60
    );
    let mut date = [b' '; 29];
    let length = text.len().min(29);
    date[..length].copy_from_slice(&text.as_bytes()[..length]);
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_imf_fixdate() {
        for (seconds, expected) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        ] {
            let mut out = Vec::new();
            push_date(seconds * 1000, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
