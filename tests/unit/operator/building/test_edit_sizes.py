"""A host whose program is too large for the header fields that snippets set: whose paths close."""

import pytest
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Severity
from zeroserve_ir.program.lowering import lower_site

FIELDS_MAX = 128
ONE, MANY = "$http_x_a", "".join(f"$http_x_{number}" for number in range(16))
KINDS = {
    "added": "add_header X-A a;",
    "added-where-given": f"add_header X-%s {ONE};",
    "set": f'more_set_headers "X-%s: {ONE}";',
    "set-to-many": f'more_set_headers "X-%s: {MANY}";',
    "taken": f'more_set_input_headers "Y-%s: {ONE}";',
    "taken-of-many": f'more_set_input_headers "Y-%s: {MANY}";',
    "sent": f"proxy_set_header Y-%s {ONE};",
    "sent-of-many": f"proxy_set_header Y-%s {MANY};",
    "sent-long": f"proxy_set_header Y-%s {'a' * 1500};",
    "hidden": "proxy_hide_header Y-%s;",
}


def make_snippet(kind, fields):
    return " ".join(KINDS[kind].replace("%s", str(number)) for number in range(fields))


def write(ingress, name, snippet="", *, paths=1, created="2026-01-01T00:00:00Z"):
    """An Ingress whose paths have Services of their own."""
    annotations = {"configuration-snippet": snippet} if snippet else None
    named = tuple((f"/{name}/{number}", "Prefix") for number in range(paths))
    given = ingress(name, annotations=annotations, paths=named, created=created)
    first, *rest = given.split(f"{{service: {{name: {name},")
    return first + "".join(f"{{service: {{name: {name}-{number},{text}" for number, text in enumerate(rest))


def list_served(loaded):
    """The Ingresses whose Services are asked; raises where the host itself is too large."""
    found = [lower_site(site) for site in loaded.sites]
    names = {
        upstream.service.name for one in found for source in one.endpoints for upstream in source.upstreams
    }
    return {name.partition("-")[0] for name in names}


def list_too_large(loaded):
    return [item.origin.name for item in loaded.diagnostics if item.code is Code.ZS0602]


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_fields_as_a_snippet_may_have_fit_beside_a_typical_host(build, ingress, kind):
    snippet = make_snippet(kind, FIELDS_MAX // 16 if MANY in KINDS[kind] else FIELDS_MAX)
    loaded = build(f"{write(ingress, 'a', snippet)}---\n{write(ingress, 'b', paths=20)}")
    assert list_served(loaded) == {"a", "b"}
    assert list_too_large(loaded) == []


@pytest.mark.parametrize("paths", [40, 500])
@pytest.mark.parametrize("created", ["2025-01-01T00:00:00Z", "2026-11-01T00:00:00Z"])
def test_paths_times_fields_close_the_paths_of_their_own_ingress_alone(build, ingress, paths, created):
    large = write(ingress, "large", make_snippet("added", FIELDS_MAX), paths=paths, created=created)
    small = write(ingress, "a", make_snippet("set", 2))
    loaded = build("---\n".join([large, small, write(ingress, "b", paths=20)]))
    assert list_served(loaded) == {"a", "b"}
    assert list_too_large(loaded) == ["large"]
    (found,) = [item for item in loaded.diagnostics if item.code is Code.ZS0602]
    assert found.severity is Severity.ERROR and found.span.line


def test_of_equals_the_youngest_closes(build, ingress):
    snippet = make_snippet("set", 16)
    young = write(ingress, "young", snippet, paths=12, created="2026-11-01T00:00:00Z")
    loaded = build(f"{young}---\n{write(ingress, 'old', snippet, paths=12)}")
    assert list_served(loaded) == {"old"}
    assert list_too_large(loaded) == ["young"]


def test_paths_of_one_service_have_their_fields_once(build, ingress):
    paths = tuple((f"/{number}", "Prefix") for number in range(500))
    annotations = {"configuration-snippet": make_snippet("added", FIELDS_MAX)}
    loaded = build(ingress("a", annotations=annotations, paths=paths))
    assert list_served(loaded) == {"a"}
    assert list_too_large(loaded) == []
