"""What findings tell to do about annotations that are not honoured."""

import pytest
from zeroserve_operator.annotations.cures import CURES, find_cure
from zeroserve_operator.annotations.names import NEEDLESS, SUPPORTED


def test_what_is_honoured_needs_no_cure():
    assert not set(CURES) & {*SUPPORTED, *NEEDLESS}


@pytest.mark.parametrize("name", sorted(CURES))
def test_a_name_of_ingress_nginx_is_never_taken_for_another_one(name):
    assert "did you mean" not in find_cure(name)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("proxy-body-sise", "did you mean nginx.ingress.kubernetes.io/proxy-body-size?"),
        ("client-max-body-size", "proxy-body-size"),
        ("rate-limit", "limit-rps"),
        ("health-check-path", "readinessProbe"),
        ("secure-backends", "backend-protocol"),
        ("session-cookie-samesite", "SameSite=None"),
        ("custom-headers", "ZeroserveRoute"),
        ("use-forwarded-headers", "--trusted-proxy"),
        ("proxy-buffering", "the same without it"),
        ("of-no-controller", "no annotation of this name"),
    ],
)
def test_each_name_has_a_cure(name, part):
    assert part in find_cure(name)
