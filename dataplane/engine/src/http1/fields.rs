//! Field values that decide framing, shared by requests and responses.

use super::Violation;

/// True where the comma-separated list holds `token`, ignoring case (RFC 9110 5.6.1).
pub fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

/// Content-Length = 1*DIGIT (RFC 9112 6.2). A list, a sign, spaces inside or an overflow are refused.
pub fn content_length(value: &[u8]) -> Result<u64, Violation> {
    let bad = Violation::bad("content-length is not a number");
    if value.is_empty() || value.len() > 19 {
        return Err(bad);
    }
    let digits = value.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    });
    digits.ok_or(bad)
}

/// tchar of RFC 9110 5.6.2.
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What Connection, Content-Length and Transfer-Encoding of one head said together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Framing {
    pub close: bool,
    pub keep_alive: bool,
    pub connection_upgrade: bool,
    pub length: Option<u64>,
    pub chunked: bool,
}

impl Framing {
    /// Takes one field; true where it was one of the three.
    pub fn take(&mut self, name: &[u8], value: &[u8]) -> Result<bool, Violation> {
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.close |= has_token(value, b"close");
                self.keep_alive |= has_token(value, b"keep-alive");
                self.connection_upgrade |= has_token(value, b"upgrade");
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                // Two equal lengths are one reading only to those who read them so (RFC 9112 6.3 allows refusal).
                if self.length.is_some() {
                    return Err(Violation::bad("more than one content-length"));
                }
                self.length = Some(content_length(value)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked {
                    return Err(Violation::bad("more than one transfer-encoding"));
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Violation::bad("transfer-encoding other than chunked"));
                }
                self.chunked = true;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Contradictions that no single field shows (RFC 9112 6.1, 6.3).
    pub fn check(&self, minor: u8) -> Result<(), Violation> {
        if self.chunked && self.length.is_some() {
            return Err(Violation::bad("content-length with transfer-encoding"));
        }
        if self.chunked && minor == 0 {
            return Err(Violation::bad("transfer-encoding in HTTP/1.0"));
        }
        Ok(())
    }

    /// Whether the sender wants the connection kept (RFC 9112 9.3).
    pub fn persistent(&self, minor: u8) -> bool {
        !self.close && (minor >= 1 || self.keep_alive)
    }
}
