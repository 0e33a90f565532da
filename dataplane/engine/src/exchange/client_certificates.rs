//! `{http.request.tls.client.*}`: what a client's certificate says, as Go prints it (Caddy: caddyhttp/replacer.go
//! getReqTLSReplacement; crypto/x509/pkix Name.String).
//!
//! Rule: the certificate is a stranger's; what cannot be read is empty.

use super::Exchange;
use super::logging::LogValue;
use super::paths::push_escape;
use crate::digests::hex;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::net::IpAddr;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

/// Characters of a line of PEM.
const PEM_LINE: usize = 64;

/// Lists of subject alternative names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    Dns,
    Emails,
    Addresses,
    Uris,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientField {
    Fingerprint,
    PublicKey,
    PublicKeyDigest,
    Issuer,
    Serial,
    Subject,
    Pem,
    EscapedPem,
    Base64,
    List(Names),
    Element(Names, u32),
}

impl ClientField {
    /// The part of a name after `http.request.tls.client.`, in lower case.
    pub fn compile(name: &str) -> Option<Self> {
        Some(match name {
            "fingerprint" => Self::Fingerprint,
            "public_key" => Self::PublicKey,
            "public_key_sha256" => Self::PublicKeyDigest,
            "issuer" => Self::Issuer,
            "serial" => Self::Serial,
            "subject" => Self::Subject,
            "certificate_pem" => Self::Pem,
            "certificate_pem_escaped" => Self::EscapedPem,
            "certificate_der_base64" => Self::Base64,
            _ => {
                let list = name.strip_prefix("san.")?;
                let (list, index) = list.split_once('.').map_or((list, None), |(list, at)| (list, Some(at)));
                let names = match list {
                    "dns_names" => Names::Dns,
                    "emails" => Names::Emails,
                    "ips" => Names::Addresses,
                    "uris" => Names::Uris,
                    _ => return None,
                };
                match index {
                    None => Self::List(names),
                    Some(index) => Self::Element(names, index.parse().ok()?),
                }
            }
        })
    }

    /// What Caddy logs otherwise than as the text that it shows: bytes in Base64, lists, what is not in a list.
    fn log(self, der: &[u8]) -> Option<LogValue> {
        let certificate = X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate);
        let found = |names| certificate.as_ref().map_or_else(Vec::new, |one| find_names(one, names));
        match self {
            Self::Pem => {
                let mut pem = Vec::new();
                push_pem(der, &mut pem);
                Some(LogValue::Text(STANDARD.encode(pem).into_bytes()))
            }
            Self::List(Names::Uris) => None,
            Self::List(names) => Some(LogValue::Texts(found(names))),
            Self::Element(names, index) if found(names).len() <= index as usize => Some(LogValue::Null),
            _ => None,
        }
    }

    /// Appends the value; `der` is empty where the client showed no certificate, which Go takes for an empty one.
    pub fn write(self, der: &[u8], out: &mut Vec<u8>) {
        let certificate = X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate);
        match (self, certificate) {
            (Self::Fingerprint, _) => push_digest(der, out),
            (Self::Pem, _) => push_pem(der, out),
            (Self::EscapedPem, _) => push_escaped_pem(der, out),
            (Self::Base64, _) => out.extend_from_slice(STANDARD.encode(der).as_bytes()),
            (Self::Serial, None) => out.extend_from_slice(b"<nil>"),
            (Self::List(_), None) => out.extend_from_slice(b"[]"),
            (_, None) => {}
            (Self::PublicKey, Some(one)) => push_hex(&one.public_key().subject_public_key.data, out),
            (Self::PublicKeyDigest, Some(one)) => push_digest(&one.public_key().subject_public_key.data, out),
            (Self::Issuer, Some(one)) => push_name(one.issuer(), out),
            (Self::Subject, Some(one)) => push_name(one.subject(), out),
            (Self::Serial, Some(one)) => out.extend_from_slice(one.serial.to_string().as_bytes()),
            (Self::List(names), Some(one)) => {
                out.extend_from_slice(format!("[{}]", find_names(&one, names).join(" ")).as_bytes());
            }
            (Self::Element(names, index), Some(one)) => {
                if let Some(name) = find_names(&one, names).get(index as usize) {
                    out.extend_from_slice(name.as_bytes());
                }
            }
        }
    }
}

impl Exchange {
    /// The value of a client's certificate as a log has it, where that is not its text.
    pub(super) fn client_value(&self, field: ClientField) -> Option<LogValue> {
        let client = self.tls.as_ref()?.handshake.as_ref().and_then(|handshake| handshake.client.as_ref());
        field.log(client.map_or(&[], |client| &client.leaf))
    }
}

fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(hex(bytes).as_bytes());
}

fn push_digest(bytes: &[u8], out: &mut Vec<u8>) {
    push_hex(digest::digest(&digest::SHA256, bytes).as_ref(), out);
}

fn push_pem(der: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"-----BEGIN CERTIFICATE-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(PEM_LINE) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend_from_slice(b"-----END CERTIFICATE-----\n");
}

/// PEM as a part of a URI, which fits into a header field (nginx: $ssl_client_escaped_cert); nothing for none.
fn push_escaped_pem(der: &[u8], out: &mut Vec<u8>) {
    if der.is_empty() {
        return;
    }
    let mut pem = Vec::new();
    push_pem(der, &mut pem);
    for byte in pem {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte),
            _ => push_escape(byte, out),
        }
    }
}

fn find_names(certificate: &X509Certificate<'_>, names: Names) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let text = |name: &GeneralName<'_>| match (names, name) {
        (Names::Dns, GeneralName::DNSName(name)) => Some((*name).to_owned()),
        (Names::Emails, GeneralName::RFC822Name(name)) => Some((*name).to_owned()),
        (Names::Uris, GeneralName::URI(name)) => Some((*name).to_owned()),
        (Names::Addresses, GeneralName::IPAddress(bytes)) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            16 => {
                <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_canonical().to_string())
            }
            _ => None,
        },
        _ => None,
    };
    extension.value.general_names.iter().filter_map(text).collect()
}

/// What Go has fields for, in the order in which it prints them (the reverse of ToRDNSequence).
const KNOWN: [(&str, &str); 9] = [
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.3", "CN"),
    ("2.5.4.17", "POSTALCODE"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.8", "ST"),
    ("2.5.4.7", "L"),
    ("2.5.4.11", "OU"),
    ("2.5.4.10", "O"),
    ("2.5.4.6", "C"),
];

fn push_name(name: &X509Name<'_>, out: &mut Vec<u8>) {
    let attributes: Vec<(String, &str)> = name
        .iter_attributes()
        .filter_map(|one| Some((one.attr_type().to_id_string(), one.as_str().ok()?)))
        .collect();
    let mut parts = Vec::new();
    for (identifier, short) in KNOWN {
        let mut values: Vec<&str> =
            attributes.iter().filter(|(found, _)| found == identifier).map(|(_, value)| *value).collect();
        if matches!(short, "CN" | "SERIALNUMBER") {
            // Of these Go keeps the last.
            values.drain(..values.len().saturating_sub(1));
        }
        if !values.is_empty() {
            let shown: Vec<String> =
                values.iter().map(|value| format!("{short}={}", escape(value))).collect();
            parts.push(shown.join("+"));
        }
    }
    let others = attributes.iter().filter(|(found, _)| KNOWN.iter().all(|(known, _)| known != found));
    parts.extend(others.rev().map(|(identifier, value)| format!("{identifier}=#{}", encode(value))));
    out.extend_from_slice(parts.join(",").as_bytes());
}

fn escape(value: &str) -> String {
    let mut out = String::new();
    for (at, character) in value.char_indices() {
        let escaped = match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => at == 0 || at + 1 == value.len(),
            '#' => at == 0,
            _ => false,
        };
        if escaped {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// DER of a string as Go's asn1.Marshal writes it, in hexadecimal.
fn encode(value: &str) -> String {
    let printable = |byte: u8| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte);
    let tag = if value.bytes().all(printable) { 0x13u8 } else { 0x0c };
    let length = value.len().to_be_bytes();
    let short = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut der = vec![tag];
    if value.len() >= 128 {
        der.push(0x80 | short.len() as u8);
    }
    der.extend_from_slice(short);
    der.extend_from_slice(value.as_bytes());
    hex(&der)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(name: &str, der: &[u8]) -> String {
        let mut out = Vec::new();
        ClientField::compile(name).unwrap().write(der, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_are_found_and_printed_as_go_prints_them() {
        let names = ["a.test", "b.test", "10.0.0.1"].map(str::to_owned);
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        let mut subject = rcgen::DistinguishedName::new();
        subject.push(rcgen::DnType::CountryName, "DE");
        subject.push(rcgen::DnType::CommonName, "a, b");
        subject.push(rcgen::DnType::from_oid(&[1, 2, 3, 4]), "x y");
        params.distinguished_name = subject;
        params.serial_number = Some(rcgen::SerialNumber::from(vec![1, 0, 0]));
        let key = rcgen::KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        for (name, value) in [
            ("subject", "CN=a\\, b,C=DE,1.2.3.4=#1303782079"),
            ("issuer", "CN=a\\, b,C=DE,1.2.3.4=#1303782079"),
            ("serial", "65536"),
            ("san.dns_names", "[a.test b.test]"),
            ("san.dns_names.1", "b.test"),
            ("san.dns_names.2", ""),
            ("san.ips", "[10.0.0.1]"),
            ("san.emails", "[]"),
        ] {
            assert_eq!(shown(name, &der), value, "{name}");
        }
        assert_eq!(shown("public_key", &der).len(), 2 * 65);
        assert!(shown("certificate_pem", &der).lines().all(|line| line.len() <= PEM_LINE));
        let escaped = shown("certificate_pem_escaped", &der);
        let signs = [("%20", " "), ("%0A", "\n"), ("%2B", "+"), ("%2F", "/"), ("%3D", "=")];
        let plain = signs.iter().fold(escaped.clone(), |text, (code, sign)| text.replace(code, sign));
        assert_eq!(plain, shown("certificate_pem", &der));
        assert!(escaped.starts_with("-----BEGIN%20CERTIFICATE-----%0A"));
        assert_eq!(shown("certificate_pem_escaped", &[]), "");
    }

    proptest! {
        #[test]
        fn no_bytes_surprise_the_reader(der in proptest::collection::vec(any::<u8>(), 0..200)) {
            for name in ["subject", "serial", "public_key", "san.uris", "fingerprint"] {
                shown(name, &der);
            }
        }

        #[test]
        fn a_changed_certificate_is_read_or_empty(at in 0usize..400, byte in any::<u8>()) {
            let made = rcgen::generate_simple_self_signed(vec!["a.test".into()]).unwrap();
            let mut der = made.cert.der().to_vec();
            let at = at % der.len();
            der[at] = byte;
            for name in ["subject", "issuer", "serial", "san.dns_names", "public_key_sha256"] {
                shown(name, &der);
            }
        }
    }
}
