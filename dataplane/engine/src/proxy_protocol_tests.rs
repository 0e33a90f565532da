//! PROXY headers, valid and not.

use super::*;
use proptest::prelude::*;

fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = V2_SIGNATURE.to_vec();
    bytes.extend([0x20 | command, family]);
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn whom(bytes: &[u8]) -> Option<String> {
    let header = parse(bytes).unwrap().unwrap();
    assert_eq!(header.length, bytes.len());
    header.addresses.map(|found| format!("{} {}", found.source, found.destination))
}

#[test]
fn valid_headers_name_the_client() {
    let cases: &[(Vec<u8>, Option<&str>)] = &[
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 5555 443\r\n".to_vec(), Some("203.0.113.7:5555 192.0.2.1:443")),
        (b"PROXY TCP6 2001:db8::7 ::1 5555 443\r\n".to_vec(), Some("[2001:db8::7]:5555 [::1]:443")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN whatever it says\r\n".to_vec(), None),
        (
            v2(1, 0x11, &[203, 0, 113, 7, 192, 0, 2, 1, 0x15, 0xb3, 1, 0xbb]),
            Some("203.0.113.7:5555 192.0.2.1:443"),
        ),
        (v2(1, 0x11, &[1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0, 2, 4, 0, 1, 0xff]), Some("1.2.3.4:1 5.6.7.8:2")),
        (v2(1, 0x12, &[1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0, 2]), Some("1.2.3.4:1 5.6.7.8:2")),
        (v2(1, 0x22, &[0; 36]), Some("[::]:0 [::]:0")),
        (v2(0, 0x11, &[0; 12]), None),
        (v2(1, 0, &[]), None),
    ];
    for (bytes, expected) in cases {
        assert_eq!(whom(bytes).as_deref(), *expected, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn what_is_no_whole_header_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(120));
    let cases: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 5555\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 5555 443 x\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 05555 443\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 +555 443\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 443\r\n",
        b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
        b"PROXY TCP6 203.0.113.7 192.0.2.1 1 2\r\n",
        b"PROXY TCP5 203.0.113.7 192.0.2.1 1 2\r\n",
        b"PROXY  TCP4 203.0.113.7 192.0.2.1 1 2\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        long.as_bytes(),
    ];
    for bytes in cases {
        assert!(parse(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
    }
    for bytes in [v2(1, 0x11, &[0; 11]), v2(1, 0x21, &[0; 35]), v2(2, 0x11, &[0; 12]), v2(1, 0x44, &[0; 12])]
    {
        assert!(parse(&bytes).is_err(), "{bytes:?}");
    }
    let mut wrong_version = v2(1, 0x11, &[0; 12]);
    wrong_version[12] = 0x11;
    assert!(parse(&wrong_version).is_err());
    assert!(parse(&v2(1, 0x11, &[0; PROXY_V2_PAYLOAD_BYTES_MAX + 1])).is_err());
}

#[test]
fn every_prefix_of_a_valid_header_waits_for_more() {
    let v1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 5555 443\r\n".to_vec();
    for whole in [v1, v2(1, 0x21, &[7; 40])] {
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), Ok(None), "{length} bytes");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_parse_or_are_refused(start in 0usize..3, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut input = [&b""[..], b"PROXY TCP4 ", V2_SIGNATURE][start].to_vec();
        input.extend(bytes);
        if let Ok(Some(header)) = parse(&input) {
            prop_assert!(header.length <= input.len());
        }
    }
}

#[test]
fn what_we_write_reads_back() {
    for (source, destination) in [
        ("203.0.113.7:5555", "192.0.2.1:443"),
        ("[2001:db8::7]:5555", "[2001:db8::1]:443"),
        ("203.0.113.7:0", "192.0.2.1:443"),
    ] {
        for binary in [false, true] {
            let mut header = Vec::new();
            write(binary, source.parse().unwrap(), destination.parse().unwrap(), &mut header);
            assert_eq!(whom(&header), Some(format!("{source} {destination}")));
        }
    }
}

#[test]
fn a_client_of_another_family_than_it_dialled_is_named_all_the_same() {
    for (source, dialled, destination) in [
        ("[2001:db8::7]:5555", "192.0.2.1:443", "[::]:443"),
        ("203.0.113.7:0", "[2001:db8::1]:443", "0.0.0.0:443"),
    ] {
        for binary in [false, true] {
            let mut header = Vec::new();
            write(binary, source.parse().unwrap(), dialled.parse().unwrap(), &mut header);
            assert_eq!(whom(&header), Some(format!("{source} {destination}")));
        }
    }
}
