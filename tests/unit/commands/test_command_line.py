"""The command line as a stranger meets it: help, standard input, closed and full outputs, exit codes."""

import os
import subprocess

import pytest
from starting import ZEROSERVE
from zeroserve_cli.main import COMMANDS

PATIENCE_S = 120
UNFORMATTED = ":80 {\n respond hi\n}\n"
ACTIONS = {
    "bpf": ("asm", "dis", "verify", "run"),
    "plugin": ("new", "build", "test", "bench", "push"),
}


def zeroserve(*arguments, text="", cwd=None, columns=80, **more):
    return subprocess.run(
        [ZEROSERVE, *arguments],
        cwd=cwd,
        input=text,
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, "COLUMNS": str(columns)},
        **more,
    )


def shell(line, cwd):
    return subprocess.run(
        ["bash", "-c", line.replace("zeroserve", str(ZEROSERVE))],
        cwd=cwd,
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE_S,
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Caddyfile").write_text(":80 {\n\trespond hi\n}\n")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_shows_an_example_on_one_line(command):
    helped = zeroserve(command.name, "--help", columns=60)
    assert helped.returncode == 0
    assert f"\nexample: {command.example}\n" in helped.stdout


@pytest.mark.parametrize(
    ("command", "action"), [(name, action) for name, actions in ACTIONS.items() for action in actions]
)
def test_every_action_shows_an_example_on_one_line(command, action):
    helped = zeroserve(command, action, "--help", columns=40)
    assert f"\nexample: zeroserve {command} {action} " in helped.stdout
    assert helped.stdout.rstrip().splitlines()[-1].startswith("example: ")


def test_help_names_no_default_that_says_nothing():
    shown = zeroserve("run", "--help").stdout + zeroserve("operator", "--help").stdout
    for nothing in ("(default: )", "(default: None)", "(default: [])", "(default: False)"):
        assert nothing not in shown


def test_help_tells_no_password(monkeypatch):
    monkeypatch.setenv("ZEROSERVE_LIMIT_STORE", "redis://user:hunter2@127.0.0.1:6379")
    for command in ("run", "dev", "agent"):
        assert "hunter2" not in zeroserve(command, "--help").stdout


def test_without_a_command_all_are_listed():
    told = zeroserve()
    assert told.returncode == 2
    assert all(f"\n    {command.name} " in told.stderr for command in COMMANDS)


def test_a_dash_is_standard_input():
    assert zeroserve("fmt", "-", text=UNFORMATTED).stdout == ":80 {\n\trespond hi\n}\n"
    assert zeroserve("adapt", "--config", "-", text=UNFORMATTED).stdout.startswith('{\n\t"apps"')
    judged = zeroserve("validate", "--config", "-", text=":80 {\n\trespnd hi\n}\n")
    assert judged.returncode == 1
    assert "--> -:2:2" in judged.stderr


GATE = ".function f\n    mov %r0, 0\n    exit\n"
PLUGIN = (
    "{{\n\tplugins {{\n\t\tgate gate.s\n\t}}\n}}\n:80 {{\n\troute {{\n\t\tzeroserve_call {} {}\n\t}}\n}}\n"
)


@pytest.mark.parametrize(
    ("content", "called", "told"),
    [
        (None, "gate f", "error[ZS0111]: plugin gate: gate.s: No such file or directory"),
        ("", "gate f", "error[ZS0603]: gate.s is neither ELF nor assembly: "),
        ("\x7fELF", "gate f", "error[ZS06"),
        (GATE, "gate g", "error[ZS0103]: plugin gate exports no function g"),
        (GATE, "door f", "error[ZS0102]: plugin door is not in the global option plugins"),
        (GATE, "gate f", ""),
    ],
)
def test_validate_reads_plugins_and_judges_calls(folder, content, called, told):
    (folder / "Caddyfile").write_text(PLUGIN.format(*called.split()))
    if content is not None:
        (folder / "gate.s").write_text(content)
    judged = zeroserve("validate", cwd=folder)
    assert (judged.returncode, told in judged.stderr) == (1 if told else 0, True)


def test_validate_refuses_what_no_program_can_be_made_of():
    routes = "".join(f"\trespond /*/{number} {number}\n" for number in range(2_000))
    judged = zeroserve("validate", "--config", "-", text=f":80 {{\n{routes}}}\n")
    assert (judged.returncode, "error[ZS0602]" in judged.stderr) == (1, True)


def test_validate_tells_of_patterns_that_are_too_large_together():
    lines = "".join(f"\t\t~(.*)a{number}.{{1000}}.{{1000}} b\n" for number in range(40))
    judged = zeroserve(
        "validate", "--config", "-", text=f"a.test {{\n\tmap {{path}} {{v}} {{\n{lines}\t}}\n}}\n"
    )
    assert judged.returncode == 1
    assert "error[ZS0202]: the site's 40 regular expressions need" in judged.stderr
    assert "--> -:1:1" in judged.stderr


def test_formatted_standard_input_is_no_failure():
    assert zeroserve("fmt", "-", text=UNFORMATTED).returncode == 0


@pytest.mark.parametrize("command", ["adapt", "validate", "version", "compile --emit ir"])
def test_a_closed_output_is_no_traceback(folder, command):
    ended = shell(f"zeroserve {command} >&-", folder)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("command", ["adapt", "version", "compile --emit bpf"])
def test_a_full_disk_is_said_once(folder, command):
    ended = shell(f"zeroserve {command} >/dev/full", folder)
    assert (ended.returncode, ended.stderr) == (1, "zeroserve: No space left on device\n")


def test_a_reader_that_leaves_is_no_traceback(folder):
    ended = shell("zeroserve adapt | true; exit ${PIPESTATUS[0]}", folder)
    assert ended.stderr == ""


def test_a_missing_file_is_named(folder):
    ended = zeroserve("bpf", "verify", "none.asm", cwd=folder)
    assert (ended.returncode, ended.stderr) == (1, "zeroserve: none.asm: No such file or directory\n")


def test_nothing_is_explained_by_a_caddyfile_with_errors(folder):
    (folder / "Caddyfile").write_text(":80 {\n\trespnd hi\n}\n")
    ended = zeroserve("explain", "Caddyfile", "http://localhost/", cwd=folder)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "1 error, 0 warnings" in ended.stderr


def test_json_is_explained_too(folder):
    (folder / "caddy.json").write_text(zeroserve("adapt", cwd=folder).stdout)
    explained = zeroserve("explain", "caddy.json", "http://localhost/", cwd=folder)
    assert explained.returncode == 0
    assert "answer: 200" in explained.stdout


@pytest.mark.parametrize("url", ["http://a:99999/", "http://[a/"])
def test_a_url_that_is_none_is_said(folder, url):
    ended = zeroserve("explain", "Caddyfile", url, cwd=folder)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"zeroserve: {url!r} is no URL: ")
