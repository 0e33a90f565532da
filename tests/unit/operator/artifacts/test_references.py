"""References name a registry's host and a digest; what is allowed is told by host and repository."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroserve_operator.artifacts.references import read_allowed, read_reference

DIGEST = "sha256:" + "ab" * 32
GOOD = {
    f"registry.example/hello@{DIGEST}": ("registry.example", "hello", "", DIGEST),
    f"registry.example:5000/team/hello:1.2@{DIGEST}": ("registry.example:5000", "team/hello", "1.2", DIGEST),
    "localhost/hello:v1": ("localhost", "hello", "v1", ""),
    "10.0.0.1:80/a__b/c-d.e": ("10.0.0.1:80", "a__b/c-d.e", "", ""),
}
BAD = [
    "",
    "hello",
    f"hello@{DIGEST}",
    f"library/hello@{DIGEST}",
    f"Registry.example/hello@{DIGEST}",
    f"registry.example/../hello@{DIGEST}",
    f"registry.example//hello@{DIGEST}",
    "registry.example/hello@sha256:" + "AB" * 32,
    "registry.example/hello@sha256:ab",
    "registry.example/hello@sha512:" + "ab" * 64,
    f"user@registry.example/hello@{DIGEST}",
    f"https://registry.example/hello@{DIGEST}",
    f"registry.example/hello@{DIGEST}\n",
    f"registry.example/hello?x@{DIGEST}",
    f"registry.example/{'a' * 600}@{DIGEST}",
]


@pytest.mark.parametrize("text", GOOD)
def test_read(text):
    found = read_reference(text)
    assert (found.host, found.repository, found.tag, found.digest) == GOOD[text]


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_refused(text):
    with pytest.raises(ValueError, match="HOST/REPOSITORY"):
        read_reference(text)


@given(st.text(max_size=60))
def test_whatever_is_read_prints_as_a_reference_of_the_same_place(text):
    try:
        found = read_reference(text)
    except ValueError:
        return
    again = read_reference(str(found))
    assert (again.host, again.repository, again.digest) == (found.host, found.repository, found.digest)


@pytest.mark.parametrize(
    ("allowed", "reference", "covered"),
    [
        ("registry.example", "registry.example/a/b", True),
        ("registry.example", "registry.example:5000/a", False),
        ("registry.example", "evil.registry.example/a", False),
        ("registry.example/team", "registry.example/team", True),
        ("registry.example/team", "registry.example/team/hello", True),
        ("registry.example/team", "registry.example/teams/hello", False),
        ("http://localhost:5000", "localhost:5000/hello", True),
    ],
)
def test_what_is_allowed(allowed, reference, covered):
    assert read_allowed(allowed).covers(read_reference(reference)) is covered


@pytest.mark.parametrize("text", ["", "hello", "ftp://registry.example", "a.example/Team", "*.example"])
def test_settings_that_name_no_registry_are_refused(text):
    with pytest.raises(ValueError, match="of a registry"):
        read_allowed(text)
