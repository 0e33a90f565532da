//! `markdown`: CommonMark with the extensions of GFM and footnotes, as Caddy sets goldmark up; raw HTML passes.

use super::Failure;
use crate::locks::lock;
use comrak::adapters::{HeadingAdapter, HeadingMeta};
use comrak::nodes::{NodeValue, Sourcepos};
use comrak::options::Plugins;
use comrak::{Arena, Options, create_formatter, parse_document};
use std::collections::HashSet;
use std::fmt::{self, Write};
use std::sync::Mutex;

create_formatter!(Page, {
    NodeValue::LineBreak => |context, entering| {
        if entering {
            context.write_str("<br>\n")?;
        }
    },
    NodeValue::ThematicBreak => |context, entering| {
        if entering {
            context.cr()?;
            context.write_str("<hr>\n")?;
        }
    },
});

pub fn render(text: &str) -> Result<String, Failure> {
    let mut options = Options::default();
    options.extension.strikethrough = true;
    options.extension.table = true;
    options.extension.autolink = true;
    options.extension.tasklist = true;
    options.extension.footnotes = true;
    options.render.r#unsafe = true;
    let headings = Headings::default();
    let mut plugins = Plugins::default();
    plugins.render.heading_adapter = Some(&headings);
    let arena = Arena::new();
    let document = parse_document(&arena, text, &options);
    let mut out = String::new();
    match Page::format_document_with_plugins(document, &options, &mut out, &plugins) {
        Ok(()) => Ok(out),
        Err(_) => Failure::new("markdown cannot be written"),
    }
}

/// Headings with an id of their text; the second of a text gets a number (goldmark: WithAutoHeadingID).
#[derive(Default)]
struct Headings {
    known: Mutex<HashSet<String>>,
}

impl HeadingAdapter for Headings {
    fn enter(&self, out: &mut dyn Write, heading: &HeadingMeta, _: Option<Sourcepos>) -> fmt::Result {
        let mut known = lock(&self.known);
        let base = slug(&heading.content);
        let mut id = base.clone();
        let mut count = 0;
        while !known.insert(id.clone()) {
            count += 1;
            id = format!("{base}-{count}");
        }
        write!(out, "<h{} id=\"{id}\">", heading.level)
    }

    fn exit(&self, out: &mut dyn Write, heading: &HeadingMeta) -> fmt::Result {
        write!(out, "</h{}>", heading.level)
    }
}

fn slug(text: &str) -> String {
    let slug: String = text
        .trim()
        .chars()
        .filter_map(|character| match character {
            'a'..='z' | '0'..='9' => Some(character),
            'A'..='Z' => Some(character.to_ascii_lowercase()),
            ' ' | '\t' | '\n' | '-' | '_' => Some('-'),
            _ => None,
        })
        .collect();
    if slug.is_empty() { "heading".to_owned() } else { slug }
}
