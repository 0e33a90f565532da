"""Every text that `zeroserve compile --emit` prints is read back as the same thing."""

from pathlib import Path

import llvmlite.binding as llvm
import pytest
from zeroserve_cli.main import main
from zeroserve_dataplane.jit.targets import Target
from zeroserve_ir.caddyfile.invoking import expand_named_routes
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.printer import print_site
from zeroserve_ir.diagnostics import Severity
from zeroserve_ir.program.assembly import assemble
from zeroserve_ir.program.disassembling import disassemble
from zeroserve_ir.program.lowering import lower_site

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
CADDYFILE = """\
http://example.com {
	@api path /api/* /v2/*
	handle @api {
		header X-Kind api
		reverse_proxy 127.0.0.1:9001 127.0.0.1:9002
	}
	handle_path /static/* {
		rewrite /files{uri}
		respond "static" 200
	}
	@known path_regexp number ^/n/([0-9]+)$
	redir @known /numbers/{re.number.1} 308
	respond 404
}
"""


@pytest.fixture
def emit(tmp_path, capsys):
    """Runs `zeroserve compile` on the site; returns what it prints."""
    config = tmp_path / "Caddyfile"
    config.write_text(CADDYFILE)

    def run(stage, *more):
        assert main(["compile", "--config", str(config), "--emit", stage, *more]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def site():
    configuration, diagnostics = read_configuration(CADDYFILE)
    assert not diagnostics
    return configuration.sites[0]


def test_route_tree_is_a_caddyfile_that_lowers_to_the_same_program(emit, site):
    configuration, diagnostics = read_configuration(emit("ir"))
    assert not diagnostics
    again, before = lower_site(configuration.sites[0]), lower_site(site)
    assert (again.code, again.constants, again.tables) == (before.code, before.constants, before.tables)


def test_route_tree_is_behind_the_global_options(tmp_path, capsys):
    config = tmp_path / "Caddyfile"
    config.write_text(
        "{\n\thttp_port 8081\n\tgrace_period 5s\n}\nhttp://a.example, http://b.example {\n}\nc.example {\n}\n"
    )
    assert main(["compile", "--config", str(config), "--emit", "ir", "--site", "b.example"]) == 0
    again, findings = read_configuration(capsys.readouterr().out)
    written, _ = read_configuration(config.read_text())
    assert not findings
    assert (again.options, len(again.sites)) == (written.options, 1)
    assert again.sites[0].addresses == written.sites[0].addresses


def test_byte_code_assembles_to_what_was_disassembled(emit, site):
    text = emit("bpf")
    lowered = lower_site(site)
    assert lowered.constants
    assert (assemble(text).code, assemble(text).constants) == (lowered.code, lowered.constants)
    assert assemble(disassemble(assemble(text).code)).code == assemble(text).code


def test_byte_code_is_verified_as_it_is_printed(emit, tmp_path, capsys):
    file = tmp_path / "site.asm"
    file.write_text(emit("bpf"))
    assert main(["bpf", "verify", str(file)]) == 0
    assert capsys.readouterr().out.startswith("sound: ")


def test_llvm_reads_its_text(emit):
    module = llvm.parse_assembly(emit("llvm"))
    module.verify()
    assert not module.get_function("run").is_declaration
    assert str(llvm.parse_assembly(str(module))) == str(module)


@pytest.mark.parametrize("target", list(Target))
def test_machine_code_is_for_the_target_that_was_named(emit, target):
    assert ".text" in emit("asm", "--target", target.value)


def read_sites(path):
    """The sites of a golden Caddyfile that are lowered without anything of this machine."""
    configuration, diagnostics = read_configuration(path.read_text())
    if any(one.severity is Severity.ERROR for one in diagnostics):
        return []
    return expand_named_routes(configuration).sites


SITES = [
    (f"{path.stem} {number}", site)
    for path in sorted(
        [*(GOLDEN / "caddyfile").glob("*.caddyfile"), *(GOLDEN / "ingress").glob("*.out.caddyfile")]
    )
    for number, site in enumerate(read_sites(path))
]


def test_there_are_sites_enough():
    assert len(SITES) > 50


@pytest.mark.parametrize(("name", "site"), SITES, ids=[name for name, _ in SITES])
def test_every_golden_site_is_read_back_from_its_texts(name, site):
    lowered = lower_site(site)
    assert assemble(disassemble(lowered.code)).code == lowered.code
    configuration, diagnostics = read_configuration(print_site(site))
    assert not [one for one in diagnostics if one.severity is Severity.ERROR]
    (read,) = configuration.sites
    again = lower_site(read)
    assert (again.code, again.constants, again.tables) == (lowered.code, lowered.constants, lowered.tables)
