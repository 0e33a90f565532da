"""Numbers that nobody means: whatever a configuration says is read, drafted or refused, never a traceback."""

import datetime
import re

import pytest
from caddyfile_cases import CASES, each_case
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.diagnostics import Severity
from zeroserve_ir.drafting_sites import draft_sites
from zeroserve_ir.site_certificates import LocalCertificates

NOW = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)
NUMBER = re.compile(r"(?<![\w.{/:-])\d[\w.]*(?![\w./:])")
EXTREMES = (
    *("-1", "0", "1.5", "1e400", "NaN", str(2**40), str(2**63 - 1), str(2**64)),
    *("-1h", "9999999h", "-5MB", "\N{ARABIC-INDIC DIGIT THREE}"),
)


@pytest.fixture(scope="module")
def certificates():
    return LocalCertificates.create(NOW)


def refuse_files(path):
    raise FileNotFoundError(2, "No such file or directory")


def list_extremes(lines):
    """Yield the lines with one number of them in place of another."""
    for at, line in enumerate(lines):
        for found in NUMBER.finditer(line):
            for extreme in EXTREMES:
                changed = line[: found.start()] + extreme + line[found.end() :]
                yield (*lines[:at], changed, *lines[at + 1 :])


@each_case
def test_every_extreme_is_drafted_or_refused(lines, write, certificates):
    for changed in list_extremes(lines):
        configuration, findings = read_configuration(write(changed), environment={})
        if not any(one.severity is Severity.ERROR for one in findings):
            draft_sites(configuration, refuse_files, certificates, NOW)


def test_extremes_are_found():
    assert sum(len(list(list_extremes(case.values[0]))) for case in CASES) > 1_000
