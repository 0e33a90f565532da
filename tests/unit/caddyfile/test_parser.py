"""Blocks, imports, recovery and bounds of the parser."""

from hypothesis import given
from hypothesis import strategies as st
from zeroserve_ir.caddyfile.limits import DEPTH_MAX
from zeroserve_ir.caddyfile.parser import parse
from zeroserve_ir.codes import Code


def outline(segment):
    words = [segment.name.text, *(token.text for token in segment.arguments)]
    return words if segment.block is None else [*words, [outline(inner) for inner in segment.block]]


def sites(text, file="Caddyfile"):
    tree, diagnostics = parse(text, file, {})
    assert diagnostics == []
    return [([key.text for key in site.keys], [outline(one) for one in site.segments]) for site in tree.sites]


def codes(text):
    return [one.code for one in parse(text, "Caddyfile", {})[1]]


def test_several_addresses_stand_on_several_lines():
    assert sites("a, b,\nc {\n\trespond x\n}") == [(["a", "b", "c"], [["respond", "x"]])]


def test_a_single_site_needs_no_braces():
    assert sites("localhost\nrespond x\nroute {\n}") == [(["localhost"], [["respond", "x"], ["route", []]])]


def test_options_named_routes_and_sites_are_kept_apart():
    tree, _ = parse("{\ndebug\n}\n&(r) {\nrespond x\n}\na {\ninvoke r\n}", "Caddyfile", {})
    assert [one.name.text for one in tree.options] == ["debug"]
    assert [route.name.text for route in tree.named_routes] == ["r"]
    assert len(tree.sites) == 1


def test_snippets_take_arguments_and_blocks():
    text = """(s) {
	respond {args[0]}-{args.1} {args[1:]}
	{block}
	{blocks.more}
	{args[9]}
}
a {
	import s x y z {
		one
		more {
			two
		}
	}
}"""
    assert sites(text) == [
        (["a"], [["respond", "x-y", "y", "z"], ["one"], ["more", [["two"]]], ["two"], ["{args[9]}"]])
    ]


def test_files_are_imported_by_glob_relative_to_the_importer(tmp_path):
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "b.conf").write_text("b.example {\n\timport ../common\n}\n")
    (tmp_path / "sites" / "a.conf").write_text("a.example {\n}\n")
    (tmp_path / "sites" / ".hidden.conf").write_text("hidden.example {\n}\n")
    (tmp_path / "common").write_text("respond common")
    main = tmp_path / "Caddyfile"
    found = sites("import sites/*.conf", str(main))
    assert found == [(["a.example"], []), (["b.example"], [["respond", "common"]])]


def test_an_imported_token_knows_its_import_chain(tmp_path):
    (tmp_path / "inner").write_text("respond\n")
    tree, _ = parse("a {\n\timport inner\n}", str(tmp_path / "Caddyfile"), {})
    span = tree.sites[0].segments[0].span
    assert span.file == str(tmp_path / "inner")
    assert span.imports == (f"{tmp_path / 'Caddyfile'}:2",)


def test_import_cycles_are_refused(tmp_path):
    assert codes("(a) {\nimport b\n}\n(b) {\nimport a\n}\nx {\nimport a\n}") == [Code.ZS0003]
    main = tmp_path / "Caddyfile"
    main.write_text("import Caddyfile")
    assert [one.code for one in parse(main.read_text(), str(main), {})[1]] == [Code.ZS0003]


def test_a_missing_file_is_refused_and_the_rest_is_read():
    tree, diagnostics = parse("a {\nimport nowhere\nrespond x\n}", "Caddyfile", {})
    assert [one.code for one in diagnostics] == [Code.ZS0003]
    assert [one.name.text for one in tree.sites[0].segments] == ["respond"]


def test_all_errors_of_a_file_are_reported():
    text = "a {\nrespond x }\n}\nb{\n}\n@m path /\nc,d {\nrespond {\n}\n}"
    assert len(parse(text, "Caddyfile", {})[1]) == 3


def test_a_block_that_is_not_closed_names_its_brace():
    diagnostics = parse("a {\n\thandle {\n\t\trespond x\n", "Caddyfile", {})[1]
    assert [(one.code, one.span.line) for one in diagnostics] == [(Code.ZS0002, 2)]


def nested(depth):
    return "a {\n" + "handle {\n" * depth + "}\n" * depth + "}"


def test_depth_is_bounded():
    assert codes(nested(DEPTH_MAX - 1)) == []
    assert codes(nested(DEPTH_MAX + 1)) == [Code.ZS0202]


def test_snippets_that_double_each_other_end():
    lines = ["(s0) {\nrespond x\n}"]
    lines += [f"(s{n}) {{\nimport s{n - 1}\nimport s{n - 1}\n}}" for n in range(1, 40)]
    found = codes("\n".join(lines) + "\na {\nimport s39\n}")
    assert set(found) == {Code.ZS0202}


PIECES = st.sampled_from(
    ["a ", "{\n", "}\n", "{", "}", "import s ", "(s) ", "\n", ", ", "@m ", "handle ", '"q" ', "{block}", "{}"]
)


@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_text_is_parsed_without_exception(text):
    parse(text, "Caddyfile", {})
