"""`zeroserve plugin new` and `build`: what they write, and what they say when something is wrong."""

from pathlib import Path

import pytest
from zeroserve_cli.main import main
from zeroserve_ir.plugins.loading import load

EXAMPLES = Path(__file__).resolve().parents[3] / "examples/plugins"


@pytest.fixture
def project(tmp_path):
    assert main(["plugin", "new", str(tmp_path / "hello")]) == 0
    return tmp_path / "hello"


def test_a_new_plugin_builds(project, capsys):
    assert main(["plugin", "build", str(project)]) == 0
    assert [each.name for each in load((project / "hello.o").read_bytes()).functions] == ["greet"]
    said = capsys.readouterr().out
    assert "response_write" in said
    assert "greet" in said


def test_an_object_for_standard_output_is_described_on_standard_error(project, capsysbinary, monkeypatch):
    monkeypatch.chdir(project)
    assert main(["plugin", "build", "-o", "-"]) == 0
    written, said = capsysbinary.readouterr()
    assert [each.name for each in load(written).functions] == ["greet"]
    assert b"response_write" in said
    assert not Path("-").exists()


def test_what_is_there_is_not_overwritten(project, capsys):
    assert main(["plugin", "new", str(project)]) == 1
    assert "there already" in capsys.readouterr().err


def test_an_empty_folder_becomes_a_plugin_of_its_own_name(tmp_path, monkeypatch):
    (tmp_path / "hello").mkdir()
    monkeypatch.chdir(tmp_path / "hello")
    assert main(["plugin", "new", "."]) == 0
    assert 'name = "hello"' in Path("plugin.toml").read_text()


@pytest.mark.parametrize("name", ["Hello", "-x", "a b"])
def test_names_that_no_plugin_has(tmp_path, capsys, name):
    assert main(["plugin", "new", "--", str(tmp_path / name)]) == 1
    assert "no name for a plugin" in capsys.readouterr().err


def build_with(project, capsys, source=None, manifest=None):
    if source is not None:
        (project / "plugin.c").write_text("#include <zeroserve.h>\n" + source)
    if manifest is not None:
        (project / "plugin.toml").write_text(manifest)
    assert main(["plugin", "build", str(project)]) == 1
    assert not (project / "hello.o").exists()
    return capsys.readouterr().err


def test_no_plugin_has_the_name_of_the_crate_that_it_uses(tmp_path, capsys):
    assert main(["plugin", "new", str(tmp_path / "zeroserve"), "--language", "rust"]) == 1
    assert "the SDK's own crate" in capsys.readouterr().err


def test_the_compilers_errors_reach_the_author(project, capsys):
    said = build_with(project, capsys, "ZS_FUNCTION u64 f(struct zs_context *c) { return d; }")
    assert "plugin.c:2" in said
    assert "undeclared identifier 'd'" in said


@pytest.mark.parametrize(
    ("body", "cure"),
    [
        ("#include <string.h>\n", "there is no libc: <zeroserve.h> has"),
        ("u64 g(void) { return (u64)malloc(8); }", "there is no libc, helpers are in docs/abi.md"),
        ("double g(double d) { return d * 1.5; }", "count in whole numbers"),
        ("u64 g(unsigned __int128 n) { return n / 7; }", "no 128-bit"),
        ("void h(void *); void g(void) { u8 b[600]; h(b); }", "make larger buffers static"),
        (
            "__attribute__((noinline)) u64 g(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) { return a ^ b * f; }",
            "five numbers at most",
        ),
        ("struct s { u64 a[8]; }; struct s g(void) { return (struct s){}; }", "pointer to fill"),
    ],
)
def test_what_ebpf_does_not_have_is_said_with_what_to_do_instead(project, capsys, body, cure):
    assert cure in build_with(project, capsys, body)


def test_a_function_takes_its_context_whether_or_not_it_looks_at_it(project, capsys):
    (project / "plugin.c").write_text(
        "#include <zeroserve.h>\nZS_FUNCTION u64 f(struct zs_context *context) { return ZS_CONTINUE; }\n"
    )
    assert main(["plugin", "build", str(project)]) == 0
    assert capsys.readouterr().err == ""


def test_a_refusal_of_the_verifier_names_the_line(project, capsys, monkeypatch):
    monkeypatch.chdir(project.parent)
    source = "ZS_FUNCTION u64 f(struct zs_context *c) {\n  return *(u64 *)4096;\n}\n"
    said = build_with(project, capsys, source)
    assert "ZS0601" in said
    assert "--> hello/plugin.c:3:1" in said
    assert "not mapped" in said


def test_recursion_is_refused(project, capsys):
    source = """
    static __attribute__((noinline)) u64 g(u64 n) { return n < 2 ? 1 : g(n - 1) + g(n - 2); }
    ZS_FUNCTION u64 f(struct zs_context *c) { return g(c->status); }
    """
    assert "circle" in build_with(project, capsys, source)


def test_what_the_linker_refuses_has_its_cure(project, capsys):
    said = build_with(
        project, capsys, "extern u64 g(void); ZS_FUNCTION u64 f(struct zs_context *c) { return g(); }"
    )
    assert "ZS0603" in said
    assert "'g' in 'f'" in said
    assert "help:" in said


def test_a_capability_that_is_not_declared(project, capsys, monkeypatch):
    monkeypatch.chdir(project)
    source = """static u8 b[9];
ZS_FUNCTION u64 f(struct zs_context *c) {
    zs_write_value(ZS("a"), ZS("b"), 1);
    zs_read_value(ZS("a"), ZS_ROOM(b));
    zs_write_response_header(ZS("A"), b, 1);
    return ZS_CONTINUE;
}
"""
    said = build_with(Path(), capsys, source, 'name = "hello"\n')
    assert said.count("ZS0310") == 2, "each once"
    assert "write_value needs key_value, which the plugin does not ask for\n  --> plugin.c:4:1" in said
    assert 'add "key_value" to `capabilities` in plugin.toml' in said
    assert "--> plugin.c:6:1" in said


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("name = ", "plugin.toml"),
        ("name = 3", "`name`"),
        ('name = "x"\nlanguage = "cobol"', "`language`"),
        ('name = "x"\ncapabilities = ["root"]', "'root'"),
        ('name = "x"\nsource = []', "'source'"),
        ('name = "x"\nsources = "plugin.c"', "`sources`"),
        ('name = "x"\nsources = ["other.c"]', "other.c"),
    ],
)
def test_a_manifest_that_is_wrong(project, capsys, manifest, said):
    assert said in build_with(project, capsys, manifest=manifest)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ('name = "x"\ncapabilites = []', "plugin.toml:2: unknown key 'capabilites'; write 'capabilities'"),
        ('name = "x"\n\ncapabilities = ["root"]', "plugin.toml:3: unknown capability 'root'"),
        ('name = "x"\nupstreams = ["idp"]', "plugin.toml:2: unknown key 'upstreams'; known are capab"),
    ],
)
def test_what_is_wrong_in_a_manifest_has_its_line(project, capsys, manifest, said):
    assert said in build_with(project, capsys, manifest=manifest)


def test_a_directory_without_a_plugin(tmp_path, capsys):
    assert main(["plugin", "build", str(tmp_path)]) == 1
    assert "zeroserve plugin new" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(path.parent.name for path in EXAMPLES.glob("*/plugin.toml")))
def test_examples_build(name, tmp_path):
    assert main(["plugin", "build", str(EXAMPLES / name), "-o", str(tmp_path / "plugin.o")]) == 0


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("for (;;) {}", "trapped: fuel"),
        ("return *(volatile u64 *)(u64)(context->path * 77777);", "trapped: memory at 0x"),
        ("return 12345;", "returned 0x3039, which is no verdict"),
        ("return ZS_RESPOND(200);", "is not granted response_write"),
    ],
)
def test_a_failed_case_says_why_its_call_failed(project, capsys, body, why):
    source = f"ZS_FUNCTION u64 greet(struct zs_context *context) {{ {body} }}\n"
    (project / "plugin.c").write_text("#include <zeroserve.h>\n" + source)
    (project / "plugin.toml").write_text('name = "hello"\nlanguage = "c"\nsources = ["plugin.c"]\n')
    assert main(["plugin", "build", str(project)]) == 0
    assert main(["plugin", "test", str(project)]) == 1
    assert f"the call of greet failed: {why}" in capsys.readouterr().out
