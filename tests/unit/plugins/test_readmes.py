"""The examples' READMEs: what they say is built is, and what they say is served is valid and granted."""

import re
import shutil
from pathlib import Path

import pytest
from zeroserve_cli.main import main

EXAMPLES = Path(__file__).resolve().parents[3] / "examples/plugins"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in EXAMPLES.glob("*/plugin.toml")))
def test_the_first_lines_of_a_readme_lead_to_a_route(tmp_path, monkeypatch, capsys, name):
    shutil.copytree(EXAMPLES / name, tmp_path / "examples/plugins" / name)
    monkeypatch.chdir(tmp_path)
    text = (EXAMPLES / name / "README.md").read_text()
    (command,) = re.search(r"```sh\n(.*?)```", text, re.DOTALL)[1].splitlines()
    assert main(command.split()[1:]) == 0
    Path("Caddyfile").write_text(re.search(r"```caddyfile\n(.*?)```", text, re.DOTALL)[1])
    capsys.readouterr()
    assert main(["validate", "--config", "Caddyfile"]) == 0
    said = capsys.readouterr()
    assert "ZS0" not in said.out + said.err
