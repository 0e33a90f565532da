//! Content types by extension, as Go's mime package finds them: a table of its own, then the machine's.
//!
//! The machine's files are read once, before the engine gives up its right to open any. Content is never looked at.

use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

/// Types by extension without its dot; the exact spelling first, then in lower case.
#[derive(Default)]
pub struct Types {
    exact: HashMap<Box<[u8]>, Box<str>, ahash::RandomState>,
    lower: HashMap<Box<[u8]>, Box<str>, ahash::RandomState>,
}

/// The machine's types; the first call reads them.
pub fn types() -> &'static Types {
    static TYPES: OnceLock<Types> = OnceLock::new();
    TYPES.get_or_init(|| Types::load(|path| std::fs::read_to_string(Path::new(path)).ok()))
}

impl Types {
    /// Go: the first database of globs that is there, else every list of types.
    fn load(read: impl Fn(&str) -> Option<String>) -> Types {
        let mut types = Types::default();
        for (extension, kind) in BUILT_IN {
            types.set(extension, kind);
        }
        if let Some(globs) = GLOBS.iter().find_map(|path| read(path)) {
            types.take_globs(&globs);
            return types;
        }
        for list in LISTS.iter().filter_map(|path| read(path)) {
            types.take_list(&list);
        }
        types
    }

    /// The type of a file name's extension.
    pub fn find(&self, name: &[u8]) -> Option<&str> {
        let file = name.rsplit(|&byte| byte == b'/').next()?;
        let extension = &file[memchr::memrchr(b'.', file)? + 1..];
        let found = self.exact.get(extension);
        found.or_else(|| self.lower.get(extension.to_ascii_lowercase().as_slice())).map(|kind| &**kind)
    }

    fn set(&mut self, extension: &str, kind: &str) {
        let kind = match kind.starts_with("text/") && !kind.contains("charset=") {
            true => format!("{kind}; charset=utf-8"),
            false => kind.to_owned(),
        };
        self.lower.insert(extension.to_lowercase().into_bytes().into(), kind.as_str().into());
        self.exact.insert(extension.as_bytes().into(), kind.into());
    }

    /// `weight:type:*.extension`, heaviest first; what is known already stays.
    fn take_globs(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split(':');
            let (Some(_), Some(kind), Some(glob)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let Some(extension) = glob.strip_prefix("*.").filter(|rest| !rest.is_empty()) else { continue };
            if !extension.contains(['?', '*', '[']) && !self.exact.contains_key(extension.as_bytes()) {
                self.set(extension, kind);
            }
        }
    }

    /// `type extension ...`; the last line counts.
    fn take_list(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split_ascii_whitespace();
            let Some(kind) = fields.next() else { continue };
            for extension in fields.take_while(|field| !field.starts_with('#')) {
                self.set(extension, kind);
            }
        }
    }
}

const GLOBS: [&str; 2] = ["/usr/local/share/mime/globs2", "/usr/share/mime/globs2"];
const LISTS: [&str; 4] =
    ["/etc/mime.types", "/etc/apache2/mime.types", "/etc/apache/mime.types", "/etc/httpd/conf/mime.types"];

/// Go 1.26, as asked of it on a machine without any of the files above.
const BUILT_IN: &[(&str, &str)] = &[
    ("ai", "application/postscript"),
    ("apk", "application/vnd.android.package-archive"),
    ("apng", "image/apng"),
    ("avif", "image/avif"),
    ("bin", "application/octet-stream"),
    ("bmp", "image/bmp"),
    ("com", "application/octet-stream"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("ehtml", "text/html; charset=utf-8"),
    ("eml", "message/rfc822"),
    ("eps", "application/postscript"),
    ("exe", "application/octet-stream"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/vnd.microsoft.icon"),
    ("ics", "text/calendar; charset=utf-8"),
    ("jfif", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("m4a", "audio/mp4"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("pdf", "application/pdf"),
    ("pjp", "image/jpeg"),
    ("pjpeg", "image/jpeg"),
    ("png", "image/png"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("ps", "application/postscript"),
    ("rdf", "application/rdf+xml"),
    ("rtf", "application/rtf"),
    ("shtml", "text/html; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("text", "text/plain; charset=utf-8"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("txt", "text/plain; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("webm", "audio/webm"),
    ("webp", "image/webp"),
    ("xbl", "text/xml; charset=utf-8"),
    ("xbm", "image/x-xbitmap"),
    ("xht", "application/xhtml+xml"),
    ("xhtml", "application/xhtml+xml"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("xml", "text/xml; charset=utf-8"),
    ("xsl", "text/xml; charset=utf-8"),
    ("zip", "application/zip"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_table_wins_over_globs_and_loses_to_lists() {
        let globs = Types::load(|path| {
            path.ends_with("/usr/share/mime/globs2").then(|| {
                "# c\n50:text/x-mine:*.html\n50:text/x-new:*.new\n40:text/x-old:*.new\n50:a/b:x.y".into()
            })
        });
        assert_eq!(globs.find(b"/a/b.html"), Some("text/html; charset=utf-8"));
        assert_eq!(globs.find(b"b.new"), Some("text/x-new; charset=utf-8"));
        assert_eq!(globs.find(b"b.y"), None);
        let list =
            Types::load(|path| (path == "/etc/mime.types").then(|| "# c\nimage/x html HTM # x y".into()));
        assert_eq!(list.find(b"x.html"), Some("image/x"));
        assert_eq!(list.find(b"x.y"), None);
    }

    #[test]
    fn the_exact_spelling_comes_first_then_lower_case() {
        let types = Types::load(|path| (path == "/etc/mime.types").then(|| "a/one C\na/two c".into()));
        assert_eq!((types.find(b"x.C"), types.find(b"x.c")), (Some("a/one"), Some("a/two")));
        assert_eq!(types.find(b"x.PNG"), Some("image/png"));
        for none in [&b"README"[..], b"/dir.png/file", b"x.", b"", b"x.unknown"] {
            assert_eq!(types.find(none), None);
        }
        assert_eq!(types.find(b".png"), Some("image/png"));
    }
}
