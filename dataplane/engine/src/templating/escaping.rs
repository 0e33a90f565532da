//! Text made safe for HTML, JavaScript and URLs (Go: text/template/funcs.go, net/url).

/// Go's template.HTMLEscapeString.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            other => out.push(other),
        }
    }
    out
}

/// Go's template.JSEscapeString.
pub fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '\'' | '"' => {
                out.push('\\');
                out.push(character);
            }
            '<' | '>' | '&' | '=' | '\0'..='\x1f' | '\x7f' => {
                out.push_str(&format!("\\u{:04X}", character as u32));
            }
            other => out.push(other),
        }
    }
    out
}

/// Go's url.QueryEscape.
pub fn query(text: &str) -> String {
    escape(text, true, |byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))
}

/// Go's url.PathEscape.
pub fn path(text: &str) -> String {
    escape(text, false, |byte| byte.is_ascii_alphanumeric() || b"-_.~$&+=:@".contains(&byte))
}

/// The path of Go's URL.String.
pub fn path_of_url(text: &str) -> String {
    escape(text, false, |byte| byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte))
}

fn escape(text: &str, plus: bool, is_safe: fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        match byte {
            b' ' if plus => out.push('+'),
            _ if is_safe(byte) => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Text without tags (Caddy: stripHTML).
pub fn strip_html(text: &str) -> String {
    let (mut out, mut depth, mut quote) = (String::with_capacity(text.len()), 0u32, None);
    for character in text.chars() {
        match character {
            '"' | '\'' if depth > 0 && quote.is_none() => quote = Some(character),
            _ if depth > 0 && quote == Some(character) => quote = None,
            '<' if quote.is_none() => depth += 1,
            '>' if quote.is_none() && depth > 0 => depth -= 1,
            _ if depth == 0 => out.push(character),
            _ => {}
        }
    }
    out
}

/// Go's strconv.Quote.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            '\0'..='\x1f' | '\x7f' => out.push_str(&format!("\\x{:02x}", character as u32)),
            '\u{80}'..='\u{9f}' | '\u{ad}' => out.push_str(&format!("\\u{:04x}", character as u32)),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
