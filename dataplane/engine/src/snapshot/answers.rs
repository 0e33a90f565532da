//! Rows about answers: which ones a handler is for, and which of their fields are copied.

use super::tables::Alternatives;
use crate::exchange::fields::Fields;
use crate::program::matches_value;
use crate::protocol;

/// Caddy's ResponseMatcher (responsematchers.go): one of the statuses (one digit is a class), all of the fields.
#[derive(Default)]
pub struct ResponseMatch {
    statuses: Box<[u32]>,
    headers: Box<[FieldMatch]>,
}

struct FieldMatch {
    field: Box<[u8]>,
    /// `*` at either end; none: any value.
    values: Alternatives,
    absent: bool,
}

impl ResponseMatch {
    pub(super) fn compile(row: &protocol::ResponseMatch) -> Self {
        let headers = row.headers.iter().map(FieldMatch::compile).collect();
        Self { statuses: row.statuses.as_slice().into(), headers }
    }

    /// True where the status is among those asked for and every field fits.
    pub fn fits(&self, status: u16, fields: &Fields) -> bool {
        let status = u32::from(status);
        let same = |wanted: u32| status == wanted || (wanted < 100 && status / 100 == wanted);
        (self.statuses.is_empty() || self.statuses.iter().any(|&wanted| same(wanted)))
            && self.headers.iter().all(|header| header.fits(fields.all(&header.field)))
    }
}

impl FieldMatch {
    fn compile(row: &protocol::HeaderMatch) -> Self {
        let values = row.values.iter().map(|value| value.as_bytes().into()).collect();
        Self { field: row.field.as_bytes().into(), values, absent: row.absent }
    }

    /// True where one of the field's values fits, or there is none and none is asked for.
    fn fits<'a>(&self, values: impl Iterator<Item = &'a [u8]>) -> bool {
        let mut values = values.peekable();
        if self.absent {
            return values.peek().is_none();
        }
        if self.values.is_empty() {
            return values.peek().is_some();
        }
        values.any(|value| self.values.iter().any(|wanted| matches_value(wanted, value)))
    }
}

/// What `copy_response_headers` copies.
pub struct FieldSelection {
    include: Box<[Box<[u8]>]>,
    exclude: Box<[Box<[u8]>]>,
}

impl FieldSelection {
    pub(super) fn compile(row: &protocol::FieldSelection) -> Self {
        let names = |names: &[String]| names.iter().map(|name| name.as_bytes().into()).collect();
        Self { include: names(&row.include), exclude: names(&row.exclude) }
    }

    pub fn selects(&self, name: &[u8]) -> bool {
        let among = |names: &[Box<[u8]>]| names.iter().any(|one| one.eq_ignore_ascii_case(name));
        (self.include.is_empty() || among(&self.include)) && !among(&self.exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_exact_or_classes_and_every_field_must_fit() {
        let header = |field: &str, values: &[&str], absent| protocol::HeaderMatch {
            field: field.to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            absent,
            ..Default::default()
        };
        let mut fields = Fields::default();
        fields.push_checked(b"Content-Type", b"text/html; charset=utf-8");
        for (statuses, headers, status, expected) in [
            (vec![], vec![], 500, true),
            (vec![4], vec![], 404, true),
            (vec![4], vec![], 500, false),
            (vec![200, 404], vec![], 404, true),
            (vec![200], vec![], 404, false),
            (vec![], vec![header("content-type", &["text/html*"], false)], 200, true),
            (vec![], vec![header("Content-Type", &["text/html"], false)], 200, false),
            (vec![], vec![header("Content-Type", &[], false), header("ETag", &[], true)], 200, true),
            (vec![], vec![header("Content-Type", &[], true)], 200, false),
        ] {
            let row = protocol::ResponseMatch { statuses, headers };
            assert_eq!(ResponseMatch::compile(&row).fits(status, &fields), expected, "{row:?}");
        }
    }

    #[test]
    fn selections_compare_names_without_case() {
        let select = |include: &[&str], exclude: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let row = protocol::FieldSelection { include: names(include), exclude: names(exclude) };
            FieldSelection::compile(&row)
        };
        assert!(select(&[], &[]).selects(b"ETag"));
        assert!(select(&["Etag"], &[]).selects(b"ETag") && !select(&["Etag"], &[]).selects(b"Age"));
        assert!(!select(&[], &["etag"]).selects(b"ETag") && select(&[], &["etag"]).selects(b"Age"));
    }
}
