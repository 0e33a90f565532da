//! Ways to write bytes as text, by the numbers of `abi.Codec`.

use crate::digests::hex;
use crate::exchange::paths;
use crate::program::abi;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};

/// None: no such codec.
pub fn encode(codec: u64, bytes: &[u8]) -> Option<Vec<u8>> {
    Some(match codec {
        abi::CODEC_BASE64 => STANDARD.encode(bytes).into_bytes(),
        abi::CODEC_BASE64_URL => URL_SAFE_NO_PAD.encode(bytes).into_bytes(),
        abi::CODEC_HEX => hex(bytes).into_bytes(),
        abi::CODEC_PERCENT => encode_percent(bytes, |_| None),
        abi::CODEC_PERCENT_PATH => encode_percent(bytes, |byte| (byte == b'/').then_some(b'/')),
        abi::CODEC_FORM => encode_percent(bytes, |byte| (byte == b' ').then_some(b'+')),
        _ => return None,
    })
}

/// None: no such codec, or no such text.
pub fn decode(codec: u64, text: &[u8]) -> Option<Vec<u8>> {
    match codec {
        abi::CODEC_BASE64 => STANDARD.decode(text).ok(),
        abi::CODEC_BASE64_URL if text.ends_with(b"=") => URL_SAFE.decode(text).ok(),
        abi::CODEC_BASE64_URL => URL_SAFE_NO_PAD.decode(text).ok(),
        abi::CODEC_HEX => decode_hex(text),
        abi::CODEC_PERCENT | abi::CODEC_PERCENT_PATH => decode_percent(text.to_vec()),
        abi::CODEC_FORM => {
            decode_percent(text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect())
        }
        _ => None,
    }
}

fn decode_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

fn encode_percent(bytes: &[u8], keep: impl Fn(u8) -> Option<u8>) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        match keep(byte) {
            Some(kept) => out.push(kept),
            None if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => out.push(byte),
            None => paths::push_escape(byte, &mut out),
        }
    }
    out
}

fn decode_percent(text: Vec<u8>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    paths::decode(&text, &mut out).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_codec_writes_its_own_form() {
        let written = |codec| String::from_utf8(encode(codec, b"a b/\xff~").unwrap()).unwrap();
        assert_eq!(written(abi::CODEC_BASE64), "YSBiL/9+");
        assert_eq!(written(abi::CODEC_BASE64_URL), "YSBiL_9-");
        assert_eq!(written(abi::CODEC_HEX), "6120622fff7e");
        assert_eq!(written(abi::CODEC_PERCENT), "a%20b%2F%FF~");
        assert_eq!(written(abi::CODEC_PERCENT_PATH), "a%20b/%FF~");
        assert_eq!(written(abi::CODEC_FORM), "a+b%2F%FF~");
        assert_eq!((encode(99, b""), decode(99, b"")), (None, None));
        assert_eq!((decode(abi::CODEC_HEX, b"0"), decode(abi::CODEC_HEX, b"0g")), (None, None));
        assert_eq!(decode(abi::CODEC_BASE64_URL, b"YQ=="), Some(b"a".to_vec()));
        assert_eq!(decode(abi::CODEC_PERCENT, b"%zz"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bytes: Vec<u8>, codec in 0u64..6) {
            prop_assert_eq!(decode(codec, &encode(codec, &bytes).unwrap()), Some(bytes));
        }

        #[test]
        fn no_text_does_harm(text: Vec<u8>, codec in 0u64..7) {
            let _ = decode(codec, &text);
        }
    }
}
