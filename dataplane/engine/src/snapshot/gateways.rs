//! What proxy calls say about FastCGI.

use crate::exchange::texts::Text;
use crate::fastcgi::FastCgi;
use crate::protocol;

pub(super) fn compile_fastcgi(row: &protocol::FastCgi) -> FastCgi {
    let bytes = |text: &str| -> Box<[u8]> { text.as_bytes().into() };
    FastCgi {
        root: Text::compile(row.root.as_ref()),
        base: bytes(&row.base),
        split: row.split.iter().map(|end| bytes(end)).collect(),
        environment: row
            .environment
            .iter()
            .map(|variable| (bytes(&variable.name), Text::compile(variable.value.as_ref())))
            .collect(),
        capture_stderr: row.capture_stderr,
        resolved: row
            .resolved
            .iter()
            .filter_map(|entry| Some((bytes(&entry.key), bytes(entry.values.first()?))))
            .collect(),
    }
}
