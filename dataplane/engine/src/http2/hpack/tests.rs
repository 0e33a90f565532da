//! Vectors of RFC 7541 appendix C, refusals, limits, and properties: what is encoded decodes, any bytes end in a list or
//! a refusal.

use super::decoder::{Decoder, FieldList, Malformed};
use super::{encoder, huffman};
use crate::limits::{HEADER_FIELDS_MAX, REQUEST_HEAD_BYTES_MAX};
use proptest::prelude::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn shown(fields: &FieldList) -> String {
    let texts = fields
        .iter()
        .map(|(name, value)| format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
    texts.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_table_that_rests_keeps_its_fields() {
    let (mut decoder, mut fields) = (Decoder::default(), FieldList::default());
    decoder
        .decode(&bytes("400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65"), &mut fields)
        .unwrap();
    decoder.rest();
    decoder.decode(&bytes("be"), &mut fields).unwrap();
    assert_eq!(shown(&fields), "custom-key=custom-value");
}

/// RFC 7541 C.3 (plain) and C.4 (Huffman): three requests on one connection.
#[test]
fn the_requests_of_the_rfc_decode() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for blocks in [plain, coded] {
        let (mut decoder, mut fields) = (Decoder::default(), FieldList::default());
        let mut seen = Vec::new();
        for block in blocks {
            decoder.decode(&bytes(block), &mut fields).unwrap();
            seen.push(shown(&fields));
        }
        let begin = ":method=GET :scheme=http :path=/ :authority=www.example.com";
        assert_eq!(seen[0], begin);
        assert_eq!(seen[1], format!("{begin} cache-control=no-cache"));
        assert_eq!(
            seen[2],
            ":method=GET :scheme=https :path=/index.html :authority=www.example.com custom-key=custom-value"
        );
    }
}

#[test]
fn what_breaks_the_format_is_refused() {
    for (block, rule) in [
        ("80", "index 0"),
        ("be", "index outside of the tables"),
        ("ff", "block ends within an integer"),
        ("ffffffffff7f", "integer too large"),
        ("3fe21f", "table size above the setting"),
        ("8220", "table size update after a field"),
        ("0003616263", "block ends within an integer"),
        ("00036162", "block ends within a string"),
        // Padding of eight ones, padding with a zero, the end-of-string symbol.
        ("008138ff00", "malformed Huffman code"),
        ("0081 1e 00", "malformed Huffman code"),
        ("0084 ffffffff 00", "malformed Huffman code"),
    ] {
        let mut decoder = Decoder::default();
        let result = decoder.decode(&bytes(block), &mut FieldList::default());
        assert!(result.is_err(), "{block}: {rule}");
        if !rule.contains("Huffman") {
            assert_eq!(result, Err(Malformed(rule)), "{block}");
        }
    }
}

#[test]
fn a_table_update_evicts() {
    let (mut decoder, mut fields) = (Decoder::default(), FieldList::default());
    let mut block = vec![0x40, 1, b'a', 1, b'b'];
    decoder.decode(&block, &mut fields).unwrap();
    decoder.decode(&[0xbe], &mut fields).unwrap();
    assert_eq!(shown(&fields), "a=b");
    block = vec![0x20, 0xbe];
    assert!(decoder.decode(&block, &mut fields).is_err());
}

#[test]
fn a_bomb_is_decoded_but_not_stored() {
    let (mut decoder, mut fields) = (Decoder::default(), FieldList::default());
    // One field of 4,000 bytes, then a reference of one byte to it, 16,000 times.
    let mut block = vec![0x40, 1, b'x', 0x7f, 0xa1, 0x1e];
    block.extend([b'v'; 4_000]);
    block.extend([0xbe; 16_000]);
    decoder.decode(&block, &mut fields).unwrap();
    assert!(fields.too_large);
    let stored: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(stored <= REQUEST_HEAD_BYTES_MAX, "{stored}");
    decoder.decode(&[0x82; HEADER_FIELDS_MAX + 6], &mut fields).unwrap();
    assert!(fields.too_large && fields.len() == HEADER_FIELDS_MAX + 5);
    decoder.decode(&[0x82; HEADER_FIELDS_MAX + 5], &mut fields).unwrap();
    assert!(!fields.too_large);
}

proptest! {
    #[test]
    fn any_text_survives_the_code(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (mut coded, mut plain) = (Vec::new(), Vec::new());
        huffman::encode(&text, &mut coded);
        prop_assert_eq!(coded.len(), huffman::coded_length(&text));
        prop_assert_eq!(huffman::decode(&coded, &mut plain), Ok(()));
        prop_assert_eq!(plain, text);
    }

    #[test]
    fn what_is_encoded_decodes_with_names_in_lower_case(
        list in proptest::collection::vec(("[A-Za-z:-]{1,20}|Content-Type|:path|ETag", ".{0,40}"), 0..20),
        status in 100u16..=999,
    ) {
        let mut block = Vec::new();
        encoder::status(status, &mut block);
        for (name, value) in &list {
            encoder::field(name.as_bytes(), value.as_bytes(), &mut block);
        }
        let mut fields = FieldList::default();
        Decoder::default().decode(&block, &mut fields).unwrap();
        let mut expected = vec![(b":status".to_vec(), status.to_string().into_bytes())];
        expected.extend(list.iter().map(|(name, value)| (name.to_ascii_lowercase().into_bytes(), value.clone().into_bytes())));
        let seen: Vec<_> = fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn any_bytes_end_in_a_list_or_a_refusal(blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6)) {
        let (mut decoder, mut fields) = (Decoder::default(), FieldList::default());
        for block in blocks {
            if decoder.decode(&block, &mut fields).is_err() {
                break;
            }
        }
    }
}
