"""Manifests: any bytes load; what is wrong is said with file and line."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from zeroserve_operator.manifests import find_files, load_directory, load_texts
from zeroserve_operator.pipeline import Pipeline, take_fingerprint
from zeroserve_operator.resources.objects import GROUP_VERSION_OF_KIND, Kind

INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
spec:
  rules:
  - host: shop.example
"""


def test_documents_and_lists_are_opened():
    items = "items:\n- kind: Service\n  apiVersion: v1\n  metadata: {name: a}\n"
    text = f"{INGRESS}---\napiVersion: v1\nkind: List\n{items}"
    found = load_texts({"x.yaml": text})
    assert [key.kind for key in found.objects] == [Kind.INGRESS, Kind.SERVICE]
    assert not found.diagnostics


def test_a_field_is_found_at_its_line():
    found = load_texts({"x.yaml": f"# head\n---\n{INGRESS}"})
    places = found.places[next(iter(found.objects))]
    span = places.find("spec.rules[0].host")
    assert (span.line, span.column, span.end) == (9, 11, 23)
    assert places.find("spec.rules[0].http.paths[3].path").line == 9


def test_a_broken_document_hides_no_other_one():
    found = load_texts({"x.yaml": f"a: [1\n---\n{INGRESS}---\nb: : c\n"})
    assert len(found.objects) == 1
    assert [(item.code.name, item.span.line) for item in found.diagnostics] == [
        ("ZS0301", 3),
        ("ZS0301", 11),
    ] or len(found.diagnostics) == 2


def test_a_template_is_named_as_one():
    text = "kind: Ingress\nmetadata:\n  name: {{ .Values.name }}-x\n"
    (found,) = load_texts({"x.yaml": text}).diagnostics
    assert "helm template" in found.help


@pytest.mark.parametrize("text", ["", "---\n---\n", "# only words\n", "null\n"])
def test_nothing_is_nothing(text):
    found = load_texts({"x.yaml": text})
    assert not found.objects and not found.diagnostics


@pytest.mark.parametrize(
    ("kind", "version", "said"),
    [
        ("Ingress", "v1", "apiVersion must be networking.k8s.io/v1, not v1"),
        ("Ingress", "networking.k8s.io", "apiVersion must be networking.k8s.io/v1, not networking.k8s.io"),
        ("Ingress", "network.k8s.io/v1", "apiVersion must be networking.k8s.io/v1, not network.k8s.io/v1"),
        ("ingress", "networking.k8s.io/v1", "kind must be Ingress, not ingress"),
        ("Service", "apps/v1", "apiVersion must be v1, not apps/v1"),
        ("ConfigMap", None, "apiVersion must be v1, not None"),
        (
            "ZeroserveRoute",
            "zeroserve.io/v1",
            "apiVersion must be zeroserve.dev/v1alpha1, not zeroserve.io/v1",
        ),
    ],
)
def test_an_object_that_is_almost_ours_is_named(kind, version, said):
    (found,) = load_texts(
        {"x.yaml": yaml.safe_dump({"kind": kind, "apiVersion": version, "metadata": {"name": "x"}})}
    ).diagnostics
    assert found.message == said and found.span.line > 0


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        ("Service", "serving.knative.dev/v1"),
        ("Ingress", "config.openshift.io/v1"),
        ("Ingress", "networking.internal.knative.dev/v1alpha1"),
    ],
)
def test_a_kind_of_the_same_name_in_another_group_is_passed_over(kind, version):
    found = load_texts({"x.yaml": f"kind: {kind}\napiVersion: {version}\nmetadata: {{name: x}}\n"})
    assert not found.objects and not found.diagnostics


def test_other_kinds_are_passed_over():
    assert not load_texts(
        {"x.yaml": "kind: Deployment\napiVersion: apps/v1\nmetadata: {name: x}\n"}
    ).diagnostics


def test_an_old_version_is_told():
    (found,) = load_texts(
        {"x.yaml": INGRESS.replace("networking.k8s.io/v1", "extensions/v1beta1")}
    ).diagnostics
    assert "networking.k8s.io/v1" in found.message and found.span.line == 1


def test_a_bomb_of_aliases_is_refused():
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (found,) = load_texts({"x.yaml": "\n".join(rows)}).diagnostics
    assert "more than" in found.message


def test_a_deep_document_is_refused():
    (found,) = load_texts({"x.yaml": "[" * 100 + "]" * 100}).diagnostics
    assert "nested" in found.message


def test_a_document_that_holds_itself_is_refused():
    assert load_texts({"x.yaml": "a: &a {b: *a}\n"}).diagnostics


def test_dates_stay_text():
    text = INGRESS.replace("  name: shop\n", "  name: shop\n  creationTimestamp: 2026-01-01T00:00:00Z\n")
    (raw,) = load_texts({"x.yaml": text}).objects.values()
    assert raw["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"


def test_a_key_written_twice_is_told():
    (found,) = load_texts({"x.yaml": INGRESS + "spec: {}\n"}).diagnostics
    assert "twice" in found.message and found.severity.value == "warning"


def test_directories_are_read_in_order_and_hidden_ones_are_not(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "sub" / "a.yaml").write_text(INGRESS)
    (tmp_path / ".git" / "b.yaml").write_text("{")
    (tmp_path / "c.json").write_text('{"kind": "Service", "apiVersion": "v1", "metadata": {"name": "web"}}')
    (tmp_path / "d.txt").write_text("{")
    (tmp_path / "e.yaml").write_bytes(b"\xff\xfe\x00")
    found = load_directory(tmp_path)
    assert len(found.objects) == 2
    assert [item.code.name for item in found.diagnostics] == ["ZS0111"]


def test_a_change_of_a_file_is_seen(tmp_path: Path):
    file = tmp_path / "a.yaml"
    file.write_text(INGRESS)
    before = take_fingerprint(find_files(tmp_path))
    assert take_fingerprint(find_files(tmp_path)) == before
    file.write_text(INGRESS.replace("shop.example", "other.example.org"))
    assert take_fingerprint(find_files(tmp_path)) != before


KEYS = st.sampled_from(
    [
        *(
            "spec",
            "rules",
            "http",
            "paths",
            "path",
            "pathType",
            "backend",
            "service",
            "name",
            "port",
            "number",
        ),
        *("tls", "hosts", "secretName", "defaultBackend", "host", "ports", "endpoints", "addresses", "data"),
        *("conditions", "caddyfile", "ingressClassName", "controller", "annotations", "labels", "type"),
    ]
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


KINDS = st.sampled_from(list(GROUP_VERSION_OF_KIND))


@given(KINDS, st.dictionaries(KEYS, VALUES, max_size=5), VALUES, VALUES)
def test_any_object_of_any_shape_builds(kind, top, spec, annotations):
    from zeroserve_operator.manifests import Manifests
    from zeroserve_operator.resources.objects import ObjectKey

    raw = {**top, "metadata": {"name": "x", "annotations": annotations}, "spec": spec}
    Pipeline().load(Manifests({ObjectKey(kind, "default", "x"): raw}, (), {}))


@given(st.text(max_size=200))
def test_any_text_loads(text):
    Pipeline().load(load_texts({"x.yaml": text}))


@pytest.mark.parametrize("head", ["", "# head\n---\n"])
def test_a_finding_inside_a_block_of_text_is_at_its_own_line(head, tmp_path):
    text = "kind: ZeroserveRoute\napiVersion: zeroserve.dev/v1alpha1\nmetadata: {name: r}\nspec:\n"
    text += "  hosts: [r.example]\n  caddyfile: |\n\n    handle {\n      respnd hi\n    }\n"
    (tmp_path / "x.yaml").write_text(head + text)
    (found,) = Pipeline().load_directory(tmp_path).diagnostics
    line = (head + text).splitlines()[found.span.line - 1]
    assert line[found.span.column - 1 : found.span.end - 1] == "respnd"


def test_a_template_in_a_place_of_text_is_named_as_one(tmp_path):
    (tmp_path / "x.yaml").write_text(INGRESS.replace("shop.example", "{{ .Values.host }}"))
    (found,) = Pipeline().load_directory(tmp_path).diagnostics
    assert "helm template" in found.help and "Node" not in found.render_short()


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("host: *.example.com\n", 'write it in quotes: "*.example.com"'),
        ("spec:\n\trules: []\n", "indent with spaces"),
        ("title: shop: staging\n", "holds `: ` in quotes"),
    ],
)
def test_common_mistakes_of_yaml_are_told_with_their_cure(text, cure):
    (found,) = load_texts({"x.yaml": text}).diagnostics
    assert found.code.name == "ZS0301" and cure in found.help


def test_directives_before_a_document_are_no_document():
    found = load_texts({"x.yaml": f"%YAML 1.2\n# head\n---\n{INGRESS}...\n"})
    assert len(found.objects) == 1 and not found.diagnostics


def test_a_merged_key_may_be_written_again():
    text = INGRESS.replace("name: shop", "name: shop\n  annotations: {<<: {a/b: c, d/e: f}, a/b: g}")
    found = load_texts({"x.yaml": text})
    ((_, raw),) = found.objects.items()
    assert raw["metadata"]["annotations"] == {"a/b": "g", "d/e": "f"}
    assert not found.diagnostics


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("name: shop", "name: shop\n  annotations: {5: a, true: b, null: c, 1.5: d}"),
        ("- host: shop.example", "- host: [a.example, b.example]"),
        ("rules:\n  - host: shop.example", "{}"),
    ],
)
def test_what_the_api_server_would_refuse_is_a_diagnostic(before, after):
    loaded = Pipeline().load(load_texts({"x.yaml": INGRESS.replace(before, after)}))
    assert {item.code.name for item in loaded.diagnostics} == {"ZS0301"}
    assert not loaded.sites
