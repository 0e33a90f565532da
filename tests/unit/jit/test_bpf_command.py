"""`zeroserve bpf`: what outsiders check us with."""

import io

import pytest
from zeroserve_cli.main import main
from zeroserve_ir.program import abi

EXECUTIONS = ("reference", "engine", "native")
SUM = "mov %r0, 0\nldxb %r3, [%r1]\nloop:\nadd %r0, %r3\nsub %r3, 1\njne %r3, 0, loop\nexit\n"


@pytest.fixture
def bpf(tmp_path, capsys):
    """Runs an action on a program; returns exit code, standard output and standard error."""

    def run(action, source, *more):
        file = tmp_path / "program.asm"
        file.write_text(source)
        code = main(["bpf", action, *more, str(file)])
        return (code, *capsys.readouterr())

    return run


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_r0_is_printed_in_hex(bpf, execution):
    assert bpf("run", SUM, "--on", execution, "--mem", "05") == (0, "f\n", "")
    assert bpf("run", "mov %r0, -1\nexit", "--on", execution)[1] == "f" * 16 + "\n"


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_constants_stand_in_the_text_or_are_given(bpf, execution):
    source = ".constants 00 01\nlddw %r1, constants+1\nldxh %r0, [%r1]\nexit\n.constants 02 # more\n"
    assert bpf("run", source, "--on", execution) == (0, "201\n", "")
    assert bpf("run", source, "--on", execution, "--constants", "000304") == (0, "403\n", "")


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_trap_is_an_error(bpf, execution):
    code, printed, said = bpf("run", "l:\nmov %r0, 0\nja l\nexit", "--on", execution, "--fuel", "100")
    assert (code, printed) == (1, "")
    assert "trapped" in said
    assert "fuel" in said


@pytest.mark.parametrize("helper", ["match_path", "fold_path", "limit_request_body"])
@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_helper_of_routes_finds_nothing(bpf, execution, helper):
    assert bpf("run", f"mov %r1, 7\ncall {helper}\nexit", "--on", execution) == (0, "f" * 16 + "\n", "")


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_helper_of_plugins_traps(bpf, execution):
    code, printed, said = bpf("run", "mov %r1, 0\ncall read_time\nexit", "--on", execution)
    assert (code, printed) == (1, "")
    assert "only plugins may call it" in said


def test_a_refusal_names_instruction_line_and_cure(bpf):
    code, _, said = bpf("verify", "mov %r0, 0\nldxb %r0, [%r10]\nexit")
    assert code == 1
    assert "instruction 1" in said
    assert "program.asm:2" in said
    assert "help: stay in" in said


def test_calls_through_a_register_are_refused(bpf):
    code, _, said = bpf("verify", "mov %r2, 1\nmov %r0, 0\ncall %r2\nexit")
    assert code == 1
    assert "call a helper or a subprogram directly" in said


def test_bytes_are_read_back(bpf, tmp_path, capsys):
    file = tmp_path / "program.bin"
    assert bpf("asm", SUM, "-o", str(file))[0] == 0
    assert main(["bpf", "dis", str(file)]) == 0
    again = capsys.readouterr().out
    assert bpf("asm", again)[1] == file.read_bytes().hex() + "\n"


@pytest.mark.parametrize(
    ("content", "printed", "said"),
    [
        (
            bytes.fromhex("b7000000070000009500"),
            "    mov %r0, 7\n",
            "2 bytes at offset 8 are no whole instruction",
        ),
        (b"\x95", "", "1 bytes at offset 0 are no whole instruction"),
        (b"", "", "no instruction"),
    ],
)
def test_bytes_that_are_no_whole_instruction_are_an_error_after_the_rest(
    tmp_path, capsys, content, printed, said
):
    file = tmp_path / "program.bin"
    file.write_bytes(content)
    assert main(["bpf", "dis", str(file)]) == 1
    out, err = capsys.readouterr()
    assert out == printed
    assert said in err and str(file) in err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--mem", "zz"), "'zz' is no hex"),
        (("--mem", "0"), "'0' is no hex"),
        (("--mem", "00" * (abi.CONTEXT_BYTES + 1)), f"at most {abi.CONTEXT_BYTES}"),
        (("--constants", "0x00"), "'0x00' is no hex"),
        (("--fuel", "-1"), "'-1' must be a number"),
        (("--fuel", "0"), "'0' must be a number"),
        (("--fuel", "9" * 30), "must be a number from 1 to"),
    ],
)
def test_arguments_that_make_no_sense_are_named(bpf, capsys, more, said):
    with pytest.raises(SystemExit):
        bpf("run", SUM, *more)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("action", ["asm", "dis", "verify", "run"])
def test_bytes_that_are_no_text_want_another_name(tmp_path, capsys, action):
    file = tmp_path / "program.asm"
    file.write_bytes(b"\xff\xfe")
    assert main(["bpf", action, str(file)]) == 1
    assert "bytes need a name in .bin" in capsys.readouterr().err


def give(monkeypatch, content):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize("text", [b"mov %r0, 7\nexit\n", b"mov %r0, 7\r\nexit\r\n"], ids=["lf", "crlf"])
def test_a_bare_dash_is_standard_input(capsys, monkeypatch, text):
    give(monkeypatch, text)
    assert main(["bpf", "run", "--on", "reference", "-"]) == 0
    assert capsys.readouterr().out == "7\n"


def test_a_bare_dash_after_o_is_standard_output_and_bytes_are_read_from_standard_input(
    capsysbinary, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    give(monkeypatch, SUM.encode())
    assert main(["bpf", "asm", "-", "-o", "-"]) == 0
    code = capsysbinary.readouterr().out
    assert len(code) == 48
    assert not list(tmp_path.iterdir())
    for action, printed in [(["dis"], b"exit"), (["verify"], b"sound"), (["run", "--mem", "05"], b"f\n")]:
        give(monkeypatch, code)
        assert main(["bpf", *action, "-"]) == 0
        assert printed in capsysbinary.readouterr().out


@pytest.mark.parametrize("action", ["asm", "dis", "verify", "run"])
def test_standard_input_that_is_neither_text_nor_a_program_is_an_error(capsys, monkeypatch, action):
    give(monkeypatch, b"\xff\xfe")
    assert main(["bpf", action, "-"]) == 1
    assert "neither text nor a program" in capsys.readouterr().err
