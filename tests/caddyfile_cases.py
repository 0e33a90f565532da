"""A case for each name of the profile table: `every_directive.caddyfile` and `every_option.caddyfile`."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent / "differential" / "caddyfile"


def list_cases(name):
    """Return the lines of each case of a file: one directive or option with its block."""
    cases, case, depth = [], [], 0
    for line in (HERE / name).read_text().splitlines()[1:-1]:
        case.append(line[1:])
        depth += line.endswith(" {") - (line.strip() == "}")
        if depth == 0:
            cases.append(tuple(case))
            case = []
    return cases


CASES = {
    name: [
        pytest.param(number, case, id=f"{number}-{case[0].removesuffix(' {').replace('/', '_')}")
        for number, case in enumerate(list_cases(f"{name}.caddyfile"))
    ]
    for name in ("every_directive", "every_option")
}


def write_directive(lines):
    """Return a site with the lines; a matcher is used."""
    used = ("respond @m x",) if lines[0].startswith("@m") else ()
    return ":8080 {\n" + "".join(f"\t{line}\n" for line in (*lines, *used)) + "}\n"


def write_option(lines):
    """Return two sites under the lines as options."""
    return "{\n" + "".join(f"\t{line}\n" for line in lines) + "}\n:8080 {\n\trespond x\n}\nb.example\n"
