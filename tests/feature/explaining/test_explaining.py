"""`zeroserve explain`: the deciding route with its line, and what kept the others, as the engine decides."""

import re

import pytest
from zeroserve_cli.main import main

CADDYFILE = """shop.example {
	handle_path /api/* {
		reverse_proxy 10.0.0.1:80
	}
	@post {
		method POST
		path /form*
	}
	handle @post {
		respond "posted" 201
	}
	@banned remote_ip 192.0.2.0/24
	handle @banned {
		abort
	}
	handle {
		respond "hello"
	}
}
"""
FITS = "applies"
NOT_TRIED = "not tried: another route decided"


@pytest.fixture
def explain(tmp_path, capsys):
    def run(*request):
        config = tmp_path / "Caddyfile"
        config.write_text(CADDYFILE)
        code = main(["explain", str(config), *request])
        output = capsys.readouterr()
        assert not output.err or code
        return code, output.out + output.err

    return run


def verdicts(output):
    """By line of the Caddyfile: what became of the route that begins there."""
    found = re.findall(r"^  line (\d+) +\S.*?  +(\S.*)$", output, re.MULTILINE)
    verdicts = {}
    for line, verdict in found:
        verdicts.setdefault(int(line), verdict)
    return verdicts


@pytest.mark.parametrize(
    ("request_words", "deciding", "answer"),
    [
        (
            ["https://shop.example/api/x?y=1"],
            {2: FITS, 9: NOT_TRIED, 13: NOT_TRIED, 16: NOT_TRIED},
            "answer: from an upstream of static:10.0.0.1:80, asked for GET /x?y=1",
        ),
        (
            ["POST", "https://shop.example/form/a"],
            {2: "does not apply: path /api/*", 9: FITS, 13: NOT_TRIED, 16: NOT_TRIED},
            "answer: 201, 6 bytes of body",
        ),
        (
            ["https://shop.example/form/a"],
            {
                2: "does not apply: path /api/*",
                9: "does not apply: method POST",
                13: "does not apply: remote_ip 192.0.2.0/24",
                16: FITS,
            },
            "answer: 200, 5 bytes of body",
        ),
        (
            ["https://shop.example/", "--peer", "192.0.2.9:1234"],
            {
                2: "does not apply: path /api/*",
                9: "does not apply: method POST",
                13: FITS,
                16: NOT_TRIED,
            },
            "answer: none, the connection is closed",
        ),
    ],
)
def test_each_route_is_told_with_its_line_and_the_matcher_that_failed(
    explain, request_words, deciding, answer
):
    code, output = explain(*request_words)
    assert code == 0
    told = verdicts(output)
    assert {line: told[line] for line in deciding} == deciding
    assert output.rstrip().endswith(answer)


def test_the_redirect_to_https_is_explained_too(explain):
    code, output = explain("http://shop.example/")
    assert (code, output.rstrip().splitlines()[-1]) == (0, "answer: 308")


def test_a_host_without_a_site_is_told_with_the_sites_there_are(explain):
    code, output = explain("https://other.example/")
    assert code == 0
    assert "no site takes other.example by https on port 443: answered with 404" in output
    assert "https://shop.example:443" in output


@pytest.mark.parametrize("words", [["nonsense"], ["GET", "ftp://a/"], ["https://a/", "-H", "broken"]])
def test_what_is_no_request_is_refused_with_the_way_to_write_it(explain, words):
    code, output = explain(*words)
    assert code == 1
    assert "write" in output


PLUGIN = """
.ascii name "X-Gate"
.function gate
    mov %r1, $name
    mov %r2, $name.length
    mov %r3, $name
    mov %r4, $name.length
    call write_request_header
    mov %r0, 0
    exit

.function deny
    lddw %r0, 0x19305
    exit
"""


def test_plugins_run_as_nodes_run_them(tmp_path, monkeypatch, capsys):
    from zeroserve_cli.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "gate.s").write_text(PLUGIN)
    for function, answer in (("gate", "answer: 200"), ("deny", "answer: 403")):
        options = "{\nplugins {\ngate gate.s {\nallow request_write\n}\n}\n}\n"
        site = f"http://x {{\nzeroserve_call gate {function}\nrespond hello\n}}\n"
        (tmp_path / "Caddyfile").write_text(options + site)
        assert main(["explain", "Caddyfile", "http://x/"]) == 0
        assert answer in capsys.readouterr().out
