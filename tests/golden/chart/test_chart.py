"""The chart as Helm renders it: values in NAME.in.yaml, manifests in NAME.out.yaml (`make golden` rewrites).

Values in refused/ must be refused by the schema, with NAME.out.txt as the reason.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster import building

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
CHART = REPOSITORY / "charts" / "zeroserve-ingress"
WRITE = os.environ.get("GOLDEN") == "write"

pytestmark = [
    pytest.mark.skipif(os.environ.get("E2E") == "0", reason="E2E=0: Helm is not built"),
    pytest.mark.timeout(900),  # the first run on a machine builds Helm
]


@pytest.fixture(scope="session")
def helm() -> Path:
    return building.build(building.HELM)["helm"]


def render(helm: Path, values: Path) -> subprocess.CompletedProcess[str]:
    command = [helm, "template", "zeroserve", CHART, "-n", "zeroserve-system", "-f", values]
    # The API versions a chart may ask for are those of this Kubernetes, not of Helm's own libraries.
    command += ["--kube-version", "1.36.0"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def compare(golden: Path, text: str) -> None:
    if WRITE:
        golden.write_text(text)
    assert golden.exists(), f"no {golden.name}: write it with `make golden`"
    assert text == golden.read_text()


@pytest.mark.parametrize(
    "values", sorted(HERE.glob("*.in.yaml")), ids=lambda path: path.name[: -len(".in.yaml")]
)
def test_values_render_as_recorded(helm: Path, values: Path) -> None:
    done = render(helm, values)
    assert done.returncode == 0, done.stderr
    compare(values.with_name(values.name.replace(".in.", ".out.")), done.stdout)


@pytest.mark.parametrize(
    "values", sorted(HERE.glob("refused/*.in.yaml")), ids=lambda path: path.name[: -len(".in.yaml")]
)
def test_wrong_values_are_refused_with_the_place(helm: Path, values: Path) -> None:
    done = render(helm, values)
    assert done.returncode != 0
    compare(values.with_name(values.name.replace(".in.yaml", ".out.txt")), done.stderr)


def test_the_defaults_are_what_no_values_mean(helm: Path) -> None:
    """Every key of values.yaml has a place in the schema: `helm lint --strict` refuses one that has not."""
    done = subprocess.run([helm, "lint", "--strict", CHART], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_value_has_a_type_and_each_type_a_default_that_is_shown() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    typed = set(paths_of_schema(schema, schema)) - {".global"}  # Helm's own
    assert typed == set(paths_of_values(values, schema, schema))


def paths_of_schema(node: dict[str, Any], root: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the paths of all leaves; an object whose properties are Kubernetes' own is one."""
    node = resolve(node, root)
    if (
        path.endswith(".resources")
        or not node.get("properties")
        or node.get("additionalProperties") is not False
    ):
        yield path
        return
    for key, child in node["properties"].items():
        yield from paths_of_schema(child, root, f"{path}.{key}")


def paths_of_values(values: Any, node: dict[str, Any], root: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the paths of all leaves, as the schema divides them."""
    node = resolve(node, root)
    if (
        path.endswith(".resources")
        or not node.get("properties")
        or node.get("additionalProperties") is not False
    ):
        yield path
        return
    for key, child in values.items():
        yield from paths_of_values(child, node["properties"][key], root, f"{path}.{key}")


def resolve(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        found: Any = root
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def test_the_chart_carries_the_definitions_of_crds() -> None:
    source, copy = (
        {path.name: path.read_text() for path in folder.glob("*")}
        for folder in (REPOSITORY / "crds", CHART / "files" / "crds")
    )
    assert copy == source, "run python charts/sync_crds.py"
    assert source


def test_rendered_definitions_survive_an_uninstall(helm: Path) -> None:
    done = render(helm, HERE / "defaults.in.yaml")
    documents = [document for document in yaml.safe_load_all(done.stdout) if document]
    kept = {
        document["metadata"]["name"]: document["metadata"]
        .get("annotations", {})
        .get("helm.sh/resource-policy")
        for document in documents
        if document["kind"] == "CustomResourceDefinition"
    }
    assert kept and set(kept.values()) == {"keep"}


def test_no_pod_gets_a_token_for_the_api_server_but_the_operator(helm: Path) -> None:
    done = render(helm, HERE / "defaults.in.yaml")
    workloads = [
        document
        for document in yaml.safe_load_all(done.stdout)
        if document and "template" in document.get("spec", {})
    ]
    automounted = {
        document["metadata"]["name"]
        for document in workloads
        if document["spec"]["template"]["spec"].get("automountServiceAccountToken", True)
    }
    assert automounted == {"zeroserve-operator"}
