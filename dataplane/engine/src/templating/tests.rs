//! Bounds, and what only a property can tell; answers beside stock Caddy are in tests/differential/answers (templates).

use super::evaluating::Evaluation;
use super::{Failure, TemplateRow};
use crate::exchange::Exchange;
use crate::exchange::texts::Text;
use crate::files::testing::Tree;
use proptest::prelude::*;

fn evaluate_below(root: &[u8], source: &[u8]) -> Result<String, Failure> {
    let mut exchange = Exchange::new();
    let mut evaluation = Evaluation::new(&mut exchange, root, ("{{", "}}"));
    evaluation.steps_left = evaluation.steps_left.min(20_000);
    let made = evaluation.execute("/page", source, Vec::new())?;
    Ok(String::from_utf8_lossy(&made).into_owned())
}

fn evaluate(source: &str) -> Result<String, Failure> {
    evaluate_below(b"/nowhere", source.as_bytes())
}

fn failure(source: &str) -> String {
    match evaluate(source) {
        Err(Failure::Broken { line, what }) => format!("{line}: {what}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn failures_name_their_line_and_function() {
    assert_eq!(failure("a\n{{ genPrivateKey }}"), "2: function \"genPrivateKey\" not defined");
    assert_eq!(failure("\n\n{{ upper 1 }}"), "3: upper: wrong type for value; expected string; got int");
    assert_eq!(failure("{{ if 1 }}\n"), "1: {{if}} of line 1 has no end");
    assert_eq!(evaluate("{{ httpError 404 }}"), Err(Failure::Status(404)));
}

#[test]
fn evaluations_end_within_their_bounds() {
    let steps = "the template takes too many steps";
    let loops =
        "{{ range until 1000 }}{{ range until 1000 }}{{ range until 1000 }}{{ end }}{{ end }}{{ end }}";
    assert_eq!(failure(loops), format!("1: {steps}"));
    assert!(failure("{{ repeat 1000000000 \"abc\" }}").ends_with("the template makes too many bytes"));
    let doubling = format!("{{{{ $x := \"abcdefgh\" }}}}{}", "{{ $x = print $x $x }}".repeat(40));
    assert!(failure(&doubling).ends_with("the template makes too many bytes"));
    assert!(failure("{{ until 100000000 }}").ends_with("too many items"));
    assert!(failure("{{ printf \"%99999d\" 1 }}").ends_with("width beyond 4096"));
    assert!(failure(&"{{ if 1 }}".repeat(1000)).ends_with("blocks are nested too deep"));
    let parentheses = format!("{{{{ {}1{} }}}}", "(".repeat(1000), ")".repeat(1000));
    assert!(failure(&parentheses).ends_with("parentheses are nested too deep"));
    let calls = "{{ define \"a\" }}{{ template \"a\" }}{{ end }}{{ template \"a\" }}";
    assert!(failure(calls).ends_with("templates call each other too deep"));
    assert!(
        failure("{{ $d := dict }}{{ set $d \"d\" $d }}{{ toJson $d }}").ends_with("a value holds itself")
    );
}

#[test]
fn includes_end_and_stay_beneath_the_root() {
    let tree = Tree::new();
    tree.write("site/loop.html", b"{{ include \"loop.html\" }}");
    tree.write("site/in.html", b"in");
    tree.write("secret.txt", b"secret");
    let root = tree.path("site");
    let ended = evaluate_below(&root, b"{{ include \"loop.html\" }}");
    assert!(
        matches!(ended, Err(Failure::Broken { what, .. }) if what.contains("include each other too deep"))
    );
    assert_eq!(evaluate_below(&root, b"{{ include \"/../../in.html\" }}").unwrap(), "in");
    assert!(evaluate_below(&root, b"{{ readFile \"../secret.txt\" }}").is_err());
    assert_eq!(evaluate_below(&root, b"{{ fileExists \"../secret.txt\" }}").unwrap(), "false");
}

#[test]
fn media_types_are_parts_of_the_field() {
    let row = TemplateRow {
        root: Text::Literal(Box::default()),
        mime_types: Box::new([b"text/html"[..].into()]),
        delimiters: ("{{".into(), "}}".into()),
    };
    assert!(row.fits(b"text/html; charset=utf-8") && !row.fits(b"text/css") && !row.fits(b""));
}

/// Words that templates are made of, in any order.
fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        "if",
        "else",
        "end",
        "range",
        "with",
        "define",
        "template",
        "block",
        "break",
        "continue",
        "\"a\"",
        "`b`",
        "'c'",
        "(",
        ")",
        "|",
        ",",
        ":=",
        "=",
        "$x",
        "$",
        ".",
        ".Req",
        ".A",
        "1",
        "-2",
        "1.5",
        "0x",
        "nil",
        "true",
        "list",
        "dict",
        "print",
        "printf",
        "\"%d%s%v%5.2f%*d\"",
        "index",
        "len",
        "until",
        "seq",
        "repeat",
        "join",
        "splitList",
        "substr",
        "trunc",
        "slice",
        "set",
        "toJson",
        "markdown",
        "splitFrontMatter",
        "\"---\\na: [\\n---\"",
        "humanize",
        "date",
        "9223372036854775807",
        "div",
        "mod",
        "round",
        "/*",
        "*/",
        "text",
        "\n",
        "import",
        "include",
        "regexMatch",
        "abbrev",
        "indent",
        "and",
        "or",
        "not",
        "eq",
    ]);
    prop::collection::vec(word, 0..40).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_words_crash_an_evaluation(source in words()) {
        let _ = evaluate(&source);
        let _ = evaluate(&format!("{{{{ {source} }}}}"));
    }

    #[test]
    fn no_bytes_crash_an_evaluation(source in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = evaluate_below(b"/nowhere", &[b"{{", &source[..], b"}}"].concat());
        let _ = evaluate_below(b"/nowhere", &source);
    }

    #[test]
    fn text_without_delimiters_stays(source in "[^{]*") {
        prop_assert_eq!(evaluate(&source).unwrap(), source);
    }
}
