"""`default-backend` and `custom-http-errors`: what they ask for, and what is wrong with them."""

import pytest
from zeroserve_ir.tree import ServiceReference
from zeroserve_operator.annotations.names import PREFIX
from zeroserve_operator.annotations.policies import read_policy
from zeroserve_operator.resources.objects import Kind, Meta, ObjectKey


def read(**annotations):
    pairs = tuple((PREFIX + name.replace("_", "-"), text) for name, text in annotations.items())
    return read_policy(Meta(ObjectKey(Kind.INGRESS, "team", "shop"), "", annotations=pairs))


@pytest.mark.parametrize(
    ("text", "statuses"), [("404", (404,)), ("503, 404,", (404, 503)), ("", ()), ("404,404", (404,))]
)
def test_errors_are_answered_by_the_first_port_of_a_service_of_the_namespace(text, statuses):
    policy = read(default_backend="pages", custom_http_errors=text)
    assert policy.error_pages.service == ServiceReference("team", "pages", "")
    assert (policy.error_pages.statuses, policy.diagnostics) == (statuses, ())


@pytest.mark.parametrize("text", ["200", "600", "4xx", "404;503", "404 503", "٤٠٤", "{x}"])
def test_a_list_that_holds_no_error_has_no_effect_and_is_named(text):
    policy = read(default_backend="pages", custom_http_errors=text)
    assert policy.error_pages.statuses == ()
    assert [item.code.name for item in policy.diagnostics] == ["ZS0403"]


@pytest.mark.parametrize("name", ["other/pages", "Pages", "pages:80", "-", "{x}", ""])
def test_a_name_that_is_no_service_has_no_effect_and_is_named(name):
    policy = read(default_backend=name, custom_http_errors="404")
    assert policy.error_pages is None and policy.denial is None
    assert [item.code.name for item in policy.diagnostics] == ["ZS0403"]


def test_errors_without_a_service_are_named():
    policy = read(custom_http_errors="404")
    assert policy.error_pages is None
    assert [(item.code.name, item.severity.value) for item in policy.diagnostics] == [("ZS0404", "warning")]
