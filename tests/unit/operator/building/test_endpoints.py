"""Endpoints: who is dialled behind a Service's port."""

import pytest
from zeroserve_ir.tree import ServiceReference
from zeroserve_operator.building.endpoints import find_endpoints
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.resources.services import parse_endpoint_slice, parse_service
from zeroserve_operator.settings import BuildSettings

CLUSTER, LOCAL = BuildSettings(), BuildSettings(local=True)


def service(ports=({"name": "http", "port": 80}, {"name": "admin", "port": 81}), kind="ClusterIP"):
    raw = {"metadata": {"name": "web"}, "spec": {"type": kind, "ports": list(ports)}}
    return parse_service(ObjectKey(Kind.SERVICE, "default", "web"), raw).view


def slice_of(*endpoints, name="web-1", ports=({"name": "http", "port": 8080},), owned=True):
    owner = [{"kind": "Service", "name": "web"}] if owned else []
    raw = {
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/service-name": "web"},
            "ownerReferences": owner,
        },
        "ports": list(ports),
        "endpoints": list(endpoints),
    }
    return parse_endpoint_slice(ObjectKey(Kind.ENDPOINT_SLICE, "default", name), raw).view


def find(slices, port="80", settings=CLUSTER, of=None):
    return find_endpoints(ServiceReference("default", "web", port), of or service(), slices, settings)


def addresses(found):
    return [(item.address, item.port, item.draining) for item in found.addresses]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, False),
        ({"ready": True}, False),
        ({"ready": None}, False),
        ({"ready": False}, None),
        ({"ready": False, "serving": True, "terminating": True}, True),
        ({"ready": False, "serving": False, "terminating": True}, None),
        ({"ready": False, "serving": True}, None),
    ],
)
def test_ready_ones_serve_and_ending_ones_that_serve_are_draining(conditions, expected):
    found = find([slice_of({"addresses": ["10.1.0.1"], "conditions": conditions})])
    assert [item[2] for item in addresses(found)] == ([] if expected is None else [expected])


def test_ports_are_found_by_number_or_name_and_mapped_by_the_slice():
    ports = ({"name": "http", "port": 8080}, {"name": "admin", "port": 9090})
    item = slice_of({"addresses": ["10.1.0.1"]}, ports=ports)
    assert addresses(find([item], "80")) == [("10.1.0.1", 8080, False)]
    assert addresses(find([item], "admin")) == [("10.1.0.1", 9090, False)]


def test_several_slices_of_both_families_add_up_once_each():
    four = slice_of({"addresses": ["10.1.0.2", "10.1.0.1"]})
    six = slice_of({"addresses": ["2001:db8:0::1"]}, {"addresses": ["10.1.0.1"]}, name="web-2")
    assert [item[0] for item in addresses(find([four, six]))] == ["10.1.0.1", "10.1.0.2", "2001:db8::1"]


def test_an_unnamed_port_has_the_empty_name():
    item = slice_of({"addresses": ["10.1.0.1"]}, ports=({"port": 8080},))
    assert addresses(find([item], of=service(({"port": 80},)))) == [("10.1.0.1", 8080, False)]


@pytest.mark.parametrize(
    ("of", "port", "code"),
    [(None, "80", "ZS0302"), (service(), "82", "ZS0303"), (service(kind="ExternalName"), "80", "ZS0307")],
)
def test_what_cannot_be_served_is_told(of, port, code):
    found = find_endpoints(ServiceReference("default", "web", port), of, [], CLUSTER)
    assert not found.addresses and [item.code.name for item in found.problems] == [code]


FORBIDDEN = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "169.254.169.254",
    "169.254.0.1",
    "100.100.100.200",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "ff02::1",
    "fd00:ec2::254",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_no_service_leads_to_the_node_or_to_metadata(address):
    found = find([slice_of({"addresses": [address, "10.1.0.1"]})])
    assert [item[0] for item in addresses(found)] == ["10.1.0.1"]
    assert [item.code.name for item in found.problems] == ["ZS0307"]


def test_without_a_cluster_loopback_is_dialled():
    assert addresses(find([slice_of({"addresses": ["127.0.0.1"]}, owned=False)], settings=LOCAL))


def test_a_slice_that_no_service_owns_is_not_used():
    found = find([slice_of({"addresses": ["10.1.0.1"]}, owned=False)])
    assert not found.addresses and [item.code.name for item in found.problems] == ["ZS0307"]


@pytest.mark.parametrize("address", ["example.com", "10.0.0.256", "", "fe80::1%eth0", "10.1.0.1/24"])
def test_what_is_no_address_is_left_out(address):
    assert not find([slice_of({"addresses": [address]})]).addresses


@pytest.mark.parametrize(
    ("hints", "zones"), [((["a"], ["b", "a"]), [("a",), ("a", "b")]), ((["a"], None), [(), ()])]
)
def test_hints_count_where_all_endpoints_have_them(hints, zones):
    entries = [
        {"addresses": [f"10.1.0.{index}"]}
        | ({} if names is None else {"hints": {"forZones": [{"name": name} for name in names]}})
        for index, names in enumerate(hints)
    ]
    assert [item.zones for item in find([slice_of(*entries)]).addresses] == zones
