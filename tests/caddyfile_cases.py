"""A case for each name of the profile table: `every_directive.caddyfile` and `every_option.caddyfile`.

`@each_case` runs a test with the lines of each, and with what writes lines of its kind as a Caddyfile.
"""

from pathlib import Path

import pytest
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.diagnostics import Severity

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


def write_directive(lines):
    """Return a site with the lines; a matcher is used."""
    used = ("respond @m x",) if lines[0].startswith("@m") else ()
    return ":8080 {\n" + "".join(f"\t{line}\n" for line in (*lines, *used)) + "}\n"


def write_option(lines):
    """Return two sites under the lines as options."""
    return "{\n" + "".join(f"\t{line}\n" for line in lines) + "}\n:8080 {\n\trespond x\n}\nb.example\n"


def adapt_here(text):
    """Return what ours adapts a text to; None where it refuses."""
    configuration, findings = read_configuration(text, environment={})
    refused = any(one.severity is Severity.ERROR for one in findings)
    return None if refused else adapt_configuration(configuration)


WRITERS = {"every_directive": write_directive, "every_option": write_option}
CASES = [
    pytest.param(case, write, id=f"{name}-{number}-{case[0].removesuffix(' {').replace('/', '_')}")
    for name, write in WRITERS.items()
    for number, case in enumerate(list_cases(f"{name}.caddyfile"))
]
each_case = pytest.mark.parametrize(("lines", "write"), CASES)
