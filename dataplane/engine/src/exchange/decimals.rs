//! Numbers and addresses as text, for heads and log lines: what `write!` does, without its formatter.

use std::io::Write;
use std::net::IpAddr;

/// Digits of the greatest number.
const DIGITS_MAX: usize = 20;

/// Appends a number in decimal.
pub fn push_decimal(number: impl Into<u64>, out: &mut Vec<u8>) {
    let mut number: u64 = number.into();
    let mut digits = [0; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

/// Appends an address, without brackets.
pub fn push_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            let [first, rest @ ..] = address.octets();
            push_decimal(first, out);
            for octet in rest {
                out.push(b'.');
                push_decimal(octet, out);
            }
        }
        // RFC 5952's shortening is the standard library's; writing to a Vec cannot fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"> ".to_vec();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn numbers_are_those_of_the_formatter(number: u64) {
            for number in [number, number >> 40, number % 10, 0, u64::MAX] {
                prop_assert_eq!(text(|out| push_decimal(number, out)), format!("> {number}"));
            }
        }

        #[test]
        fn addresses_are_those_of_the_formatter(four: [u8; 4], six: [u8; 16]) {
            for address in [IpAddr::from(four), IpAddr::from(six)] {
                prop_assert_eq!(text(|out| push_address(address, out)), format!("> {address}"));
            }
        }
    }
}
