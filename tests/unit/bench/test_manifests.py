from collections import Counter

import pytest
import yaml

from bench.manifests import PROBE_PATH, SHAPES, TLS_SHARE_PERCENT, plan_sites, write_manifests


def answers_probe(rules):
    """The role that the Ingress rules choose for the probe: Exact, then the longest Prefix by elements."""
    probe = PROBE_PATH.strip("/").split("/")
    found = []
    for path_type, path, role in rules:
        elements = [element for element in path.strip("/").split("/") if element]
        if path_type == "Exact" and path == PROBE_PATH:
            found.append((len(path) + 1, role))
        elif path_type != "Exact" and probe[: len(elements)] == elements:
            found.append((len(path), role))
    return max(found)[1] if found else None


def test_shares_add_up():
    assert sum(share for share, _ in SHAPES) == 100


@pytest.mark.parametrize("rules", [rules for _, rules in SHAPES])
def test_every_shape_answers_the_probe_from_its_first_service(rules):
    assert answers_probe(rules) == "first"


def test_hundred_sites_have_every_shape_and_tls_in_its_share():
    sites = plan_sites(100)
    assert Counter(site.rules for site in sites) == {rules: share for share, rules in SHAPES}
    assert sum(site.tls for site in sites) == TLS_SHARE_PERCENT
    assert {site.tls for site in sites if site.rules == SHAPES[0][1]} == {True, False}


def test_hosts_of_a_kind_are_numbered_without_a_gap():
    sites = plan_sites(250)
    tls = [site.host for site in sites if site.tls]
    plain = [site.host for site in sites if not site.tls]
    assert tls == [f"t{number}.bench.test" for number in range(len(tls))]
    assert plain == [f"p{number}.bench.test" for number in range(len(plain))]


def test_files_hold_every_object_once(tmp_path, certificate):
    sites = plan_sites(300)
    written = write_manifests(tmp_path / "manifests", sites, (7001, 7002), certificate)
    objects = [
        one
        for file in sorted((tmp_path / "manifests").iterdir())
        for one in yaml.safe_load_all(file.read_text())
    ]
    assert len(objects) == written
    keys = {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects}
    assert len(keys) == written
    kinds = Counter(one["kind"] for one in objects)
    assert (kinds["Ingress"], kinds["IngressClass"], kinds["Secret"]) == (300, 1, 2)
    assert kinds["Service"] == kinds["EndpointSlice"] >= 300


def test_every_backend_of_an_ingress_has_a_service_with_endpoints(tmp_path, certificate):
    write_manifests(tmp_path / "m", plan_sites(100), (7001, 7002), certificate)
    objects = [one for file in (tmp_path / "m").iterdir() for one in yaml.safe_load_all(file.read_text())]
    services = {one["metadata"]["name"] for one in objects if one["kind"] == "Service"}
    slices = {
        one["metadata"]["labels"]["kubernetes.io/service-name"]
        for one in objects
        if one["kind"] == "EndpointSlice"
    }
    named = {
        path["backend"]["service"]["name"]
        for one in objects
        if one["kind"] == "Ingress"
        for path in one["spec"]["rules"][0]["http"]["paths"]
    }
    assert named == services == slices
