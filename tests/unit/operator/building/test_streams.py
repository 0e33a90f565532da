"""Ports of TCP and UDP that lead to Services: how they are written, what is drafted, who is dialled."""

import pytest
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.tree import ServiceReference
from zeroserve_operator.building.endpoints import find_endpoints
from zeroserve_operator.building.streams import draft_stream, read_stream
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.resources.services import parse_endpoint_slice, parse_service
from zeroserve_operator.settings import BuildSettings, StreamSettings

DNS = ServiceReference("kube-system", "dns", "dns/UDP")
BOTH = (
    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    {"name": "dns", "port": 53, "protocol": "UDP"},
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9000=default/game:9000", (9000, "9000", 9000, False, False)),
        ("25=mail/smtp:smtp:PROXY", (25, "smtp", 20_025, True, False)),
        ("25=mail/smtp:smtp::PROXY", (25, "smtp", 20_025, False, True)),
        ("1024=mail/smtp:smtp:PROXY:PROXY", (1024, "smtp", 1024, True, True)),
    ],
)
def test_ports_are_written_as_in_ingress_nginx(text, expected):
    found = read_stream(text, datagrams=False)
    assert expected == (
        found.port,
        found.service.port,
        found.bound_port,
        found.reads_header,
        found.writes_header,
    )


def test_datagrams_ask_for_a_port_of_udp():
    assert read_stream("53=kube-system/dns:dns", datagrams=True) == StreamSettings(53, DNS, 20_053, True)
    assert read_stream("53=kube-system/dns:dns", datagrams=True, local=True).bound_port == 53


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9000",
        "0=a/b:1",
        "65536=a/b:1",
        "x=a/b:1",
        "1=b:1",
        "1=a/b",
        "1=a/b:1:proxy",
        "1=a/b:1:PROXY:PROXY:",
    ],
)
def test_what_names_no_service_is_refused(text):
    with pytest.raises(ValueError, match="is not PORT=NAMESPACE/SERVICE:PORT"):
        read_stream(text, datagrams=False)


def test_datagrams_have_no_header():
    with pytest.raises(ValueError, match="no PROXY header"):
        read_stream("53=a/b:1:PROXY", datagrams=True)


def drafted(text, *, datagrams):
    found = draft_stream(read_stream(text, datagrams=datagrams))
    listener, host, cluster = None, None, None
    for resource in found.resources:
        match resource.type:
            case pb.LISTENER:
                listener = pb.Listener.FromString(resource.payload)
            case pb.VIRTUAL_HOST:
                host = pb.VirtualHost.FromString(resource.payload)
            case pb.CLUSTER:
                cluster = pb.Cluster.FromString(resource.payload)
    return listener, host, cluster, [source.name for source in found.endpoints]


def test_a_port_has_a_listener_and_a_host_for_all_clients():
    listener, host, cluster, sources = drafted("53=kube-system/dns:dns", datagrams=True)
    assert (listener.name, listener.port, listener.external_port) == ("udp-53", 20_053, 53)
    assert listener.transport == pb.UDP
    assert (host.stream, host.judges_streams) == (pb.PASS_THROUGH, True)
    assert (list(host.hosts), list(host.listeners)) == ([""], ["udp-53"])
    assert (cluster.balancing, cluster.endpoints) == (pb.ROUND_ROBIN, "kube-system/dns:dns/UDP")
    assert sources == ["kube-system/dns:dns/UDP"]


def test_headers_of_the_proxy_protocol_are_taken_and_sent_where_that_is_written():
    listener, _, cluster, _ = drafted("25=mail/smtp:smtp:PROXY:PROXY", datagrams=False)
    assert (listener.transport, listener.proxy_protocol, cluster.proxy_protocol) == (pb.TCP, True, 1)
    listener, _, cluster, _ = drafted("25=mail/smtp:smtp", datagrams=False)
    assert (listener.proxy_protocol, cluster.proxy_protocol) == (False, 0)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("53", 5301),
        ("dns-tcp", 5301),
        ("53/UDP", 5302),
        ("dns/UDP", 5302),
        ("dns", None),
        ("dns-tcp/UDP", None),
    ],
)
def test_a_port_is_found_among_those_of_its_protocol(wanted, expected):
    service = {"metadata": {"name": "dns"}, "spec": {"ports": list(BOTH)}}
    slices = {
        "metadata": {
            "name": "dns-1",
            "labels": {"kubernetes.io/service-name": "dns"},
            "ownerReferences": [{"kind": "Service", "name": "dns"}],
        },
        "ports": [{**BOTH[0], "port": 5301}, {**BOTH[1], "port": 5302}],
        "endpoints": [{"addresses": ["10.1.0.1"]}],
    }
    found = find_endpoints(
        ServiceReference("kube-system", "dns", wanted),
        parse_service(ObjectKey(Kind.SERVICE, "kube-system", "dns"), service).view,
        [parse_endpoint_slice(ObjectKey(Kind.ENDPOINT_SLICE, "kube-system", "dns-1"), slices).view],
        BuildSettings(),
    )
    assert [item.port for item in found.addresses] == ([expected] if expected else [])
