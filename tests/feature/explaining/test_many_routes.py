"""Of thousands of paths, found at once, the one that fits is told, and the others in a line."""

import pytest
from zeroserve_cli.main import main

ROUTES = 3_000
PAGES = "".join(
    f"\thandle_path /page{number}/* {{\n\t\trespond {200 + number % 300}\n\t}}\n" for number in range(ROUTES)
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "/page5/x",
            [
                "path /page5/* applies",
                "uri strip_prefix /page5 goes on",
                "respond 205 decides",
                "answer: 205",
            ],
        ),
        ("/other", ["3,000 routes, to line 8999 not tried: their paths do not fit", "answer: 200"]),
    ],
)
def test_one_of_many_paths_is_told(tmp_path, capsys, path, expected):
    config = tmp_path / "Caddyfile"
    config.write_text(f"http://shop.example {{\n{PAGES}}}\n")
    assert main(["explain", str(config), f"http://shop.example{path}"]) == 0
    told = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert len(told) < 20
    for one in expected:
        assert any(one in line for line in told), one
