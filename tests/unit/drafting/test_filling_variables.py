"""`{env.*}` where a value counts before any request: what is filled in, what is refused."""

import json

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.loading import load_adapted, load_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Severity
from zeroserve_ir.drafting import TYPE_OF_MESSAGE
from zeroserve_ir.drafting_sites import draft_sites

MESSAGES = {int(kind): message for message, kind in TYPE_OF_MESSAGE.items()}
VARIABLES = {"NAME": "Shop.example", "ADDRESS": "127.0.0.1", "RANGE": "10.0.0.0/8", "PORT": "8080"}
NO_PORT = ":{env.NOT_SET}"


def messages(drafted, kind):
    found = (resource for key, resource in drafted.draft.resources.items() if key[0] == kind)
    return [MESSAGES[int(kind)].FromString(resource.payload) for resource in found]


def draft(text):
    configuration, diagnostics = read_configuration(text, environment={})
    assert not diagnostics
    return draft_sites(configuration, environment=VARIABLES)


def test_names_and_addresses_have_the_values_of_variables():
    drafted = draft("http://{env.NAME}:8080 {\n bind {env.ADDRESS}\n respond x\n}")
    assert drafted.diagnostics == ()
    assert [list(host.hosts) for host in messages(drafted, pb.VIRTUAL_HOST)] == [["shop.example"]]
    assert [one.address for one in messages(drafted, pb.LISTENER)] == ["127.0.0.1"]


def test_ranges_have_the_values_of_variables_also_inside_of_not():
    drafted = draft(
        "http://a {\n @m {\n not remote_ip {env.RANGE}\n client_ip {env.RANGE}\n }\n respond @m x\n}"
    )
    assert drafted.diagnostics == ()
    ranges = [list(row.values) for tables in messages(drafted, pb.TABLES) for row in tables.addresses]
    assert ranges and all(one == ["10.0.0.0/8"] for one in ranges)


def test_a_name_without_a_value_is_refused():
    (finding,) = draft("http://{env.NOT_SET}:8080 {\n respond x\n}").diagnostics
    assert (finding.code, finding.severity) == (Code.ZS0107, Severity.ERROR)


def write_json(folder, listen):
    server = {"listen": [listen], "routes": [{"handle": [{"handler": "static_response"}]}]}
    path = folder / "caddy.json"
    path.write_text(json.dumps({"apps": {"http": {"servers": {"a": server}}}}))
    return path


def test_a_port_of_json_has_the_value_of_a_variable(tmp_path):
    path = write_json(tmp_path, "{env.ADDRESS}:{env.PORT}")
    read = load_configuration(path, VARIABLES)
    assert [(site.bind, site.addresses[0].port) for site in read.configuration.sites] == [
        (("127.0.0.1",), 8080)
    ]
    printed, _, _ = load_adapted(path, VARIABLES)
    assert printed["apps"]["http"]["servers"]["a"]["listen"] == ["{env.ADDRESS}:{env.PORT}"]


def test_a_port_of_json_without_a_value_is_refused(tmp_path):
    read = load_configuration(write_json(tmp_path, NO_PORT), VARIABLES)
    assert [one.code for one in read.diagnostics] == [Code.ZS0110]


def test_a_range_without_a_value_or_with_a_wrong_one_is_refused_at_its_line():
    for name, told in (("NOT_SET", "not set"), ("NAME", "neither an address nor a range")):
        text = f"http://a {{\n @m not client_ip {{env.{name}}}\n respond @m x\n}}"
        (finding,) = draft(text).diagnostics
        assert (finding.code, finding.severity, finding.span.line) == (Code.ZS0103, Severity.ERROR, 3)
        assert told in finding.message and finding.help
