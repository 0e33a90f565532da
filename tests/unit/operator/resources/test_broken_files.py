"""A manifest file that is broken while `zeroserve dev` runs: what it held before stays, as in a cluster."""

import pytest
from zeroserve_operator.pipeline import Pipeline

SERVICE = """\
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{ports: [{{port: 80}}]}}
"""
INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: shop}
spec:
  rules:
    - host: shop.example
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
"""


@pytest.fixture
def loads(tmp_path):
    pipeline = Pipeline()
    (tmp_path / "services.yaml").write_text(SERVICE.format(name="web"))

    def load(content):
        file = tmp_path / "ingress.yaml"
        if content is None:
            file.unlink()
        elif isinstance(content, bytes):
            file.write_bytes(content)
        else:
            file.write_text(content)
        return pipeline.load_directory(tmp_path)

    return load


def names(loaded):
    return {(key.kind.value, key.name) for key in loaded.manifests.objects}


def messages(loaded):
    return [one.message for one in loaded.diagnostics]


BOTH = {("Service", "web"), ("Ingress", "shop")}


@pytest.mark.parametrize(
    "broken",
    [INGRESS.replace("spec:", "spec: ["), INGRESS[:-20], b"\xff\xfe\x00", "{{ template }}: ["],
    ids=["not YAML", "cut off", "not UTF-8", "a template"],
)
def test_a_broken_file_leaves_what_it_held(loads, broken):
    before = loads(INGRESS)
    after = loads(broken)
    assert names(before) == names(after) == BOTH
    assert after.draft.version == before.draft.version
    assert "what this file held before goes on being served" in messages(after)


def test_it_stays_while_the_file_is_broken_in_other_ways(loads):
    loads(INGRESS)
    loads("a: [")
    assert names(loads("b: {")) == BOTH


def test_a_document_beside_the_broken_one_is_read(loads):
    loads(INGRESS)
    found = loads("a: [\n---\n" + SERVICE.format(name="api"))
    assert names(found) == {*BOTH, ("Service", "api")}


def test_a_mended_file_is_taken_as_it_is(loads):
    loads(INGRESS)
    loads("a: [")
    assert names(loads(SERVICE.format(name="api"))) == {("Service", "web"), ("Service", "api")}


@pytest.mark.parametrize("content", [None, "", "# nothing\n"], ids=["gone", "empty", "a comment"])
def test_what_is_taken_out_is_gone(loads, content):
    loads(INGRESS)
    found = loads(content)
    assert names(found) == {("Service", "web")}
    assert "what this file held before goes on being served" not in messages(found)
