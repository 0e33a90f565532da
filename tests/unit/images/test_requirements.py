"""The images' locks against the two files that they follow: pyproject.toml and requirements/dev.txt."""

import re
import tomllib
from pathlib import Path

import pytest

from images.lock import EXTRAS, requirements
from images.wheels import REPOSITORY, REQUIREMENTS, version


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), re.MULTILINE))


def name_of(requirement: str) -> str:
    return re.split(r"[ <>=!~\[;]", requirement)[0]


@pytest.mark.parametrize("image", EXTRAS)
def test_pins_are_those_that_the_tests_ran_with(image: str) -> None:
    tested = pins(REPOSITORY / "requirements" / "dev.txt")
    assert {name: tested.get(name) for name in pins(REQUIREMENTS / f"{image}.txt")} == pins(
        REQUIREMENTS / f"{image}.txt"
    ), "run .venv/bin/python -m images.lock"


@pytest.mark.parametrize("image", EXTRAS)
def test_everything_that_the_package_asks_for_is_locked(image: str) -> None:
    wanted = {name_of(requirement) for requirement in requirements(image)}
    assert wanted <= pins(REQUIREMENTS / f"{image}.txt").keys(), "run .venv/bin/python -m images.lock"


EXPORTER = {"certifi", "urllib3"}
"""What OpenTelemetry's exporter over HTTP brings to the agent."""


def test_neither_image_carries_what_only_the_other_needs() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    operator, dataplane = ({name_of(one) for one in extras[extra]} for extra in ("operator", "dataplane"))
    assert not (operator - dataplane - EXPORTER) & pins(REQUIREMENTS / "agent.txt").keys()
    assert not (dataplane - operator) & pins(REQUIREMENTS / "operator.txt").keys()


@pytest.mark.parametrize("image", EXTRAS)
def test_locks_tell_no_address_to_download_from(image: str) -> None:
    assert not re.search(r"https?://|--index|--find-links", (REQUIREMENTS / f"{image}.txt").read_text())


def test_chart_and_package_have_one_version() -> None:
    chart = (REPOSITORY / "charts" / "zeroserve-ingress" / "Chart.yaml").read_text()
    assert set(re.findall(r"^(?:version|appVersion): (\S+)", chart, re.MULTILINE)) == {version()}
