"""A host whose regular expressions could fill the engine's memory is closed and says so; others serve."""

from zeroserve_ir.codes import Code

REGEX = {"use-regex": "true"}


def write(ingress, name, host, patterns):
    paths = tuple(
        (f"/a{number}{pattern}", "ImplementationSpecific") for number, pattern in enumerate(patterns)
    )
    return ingress(name, host=host, paths=paths, annotations=REGEX)


def test_only_the_host_whose_patterns_are_too_large_is_closed(build, ingress):
    heavy = write(ingress, "heavy", "heavy.test", ["(.*)a.{1000}.{1000}"] * 40)
    loaded = build("---\n".join([heavy, write(ingress, "light", "light.test", ["(.*)a.{100}"] * 40)]))
    found = [item for item in loaded.diagnostics if item.code is Code.ZS0202]
    assert [item.origin.name for item in found] == ["heavy"]
    assert "spread the routes" in found[0].help
