"""Manifests as strangers write them: each odd one is served, each malformed one is told where and why."""

import pytest
import yaml
from zeroserve_ir import tree
from zeroserve_operator.manifests import load_texts
from zeroserve_operator.pipeline import Pipeline

SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {name: metrics, port: 9090}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.1.2.3], conditions: {ready: true}}]
ports: [{name: http, port: 8080, protocol: TCP}, {name: metrics, port: 9090, protocol: TCP}]
---
"""
INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  namespace: shop
  annotations: {}
spec:
  rules:
  - host: shop.example
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {service: {name: web, port: {number: 80}}}
"""
N = "nginx.ingress.kubernetes.io"
HOST, PATH, PORT = "shop.example", "path: /", "number: 80"

ODD = {
    "port by name": (PORT, "name: http"),
    "no host": ("host: shop.example\n    http", "http"),
    "empty host": (HOST, '""'),
    "wildcard": (HOST, '"*.shop.example"'),
    "a name of 240 letters": (HOST, ".".join(["a" * 59] * 4)),
    "punycode": (HOST, "xn--bcher-kva.example"),
    "fields of null": ("rules:", "ingressClassName: null\n  tls: null\n  defaultBackend: null\n  rules:"),
    "empty list of TLS": ("rules:", "tls: []\n  rules:"),
    "empty entry of TLS": ("rules:", "tls: [{}]\n  rules:"),
    "Windows lines": ("\n", "\r\n"),
    "marked as UTF-8": ("apiVersion", "\ufeffapiVersion"),
    "a slash at the end": (PATH, "path: /x/"),
    "a path in capitals": (PATH, "path: /API/V1"),
    "a path with a space": (PATH, 'path: "/a b"'),
    "an escaped path": (PATH, 'path: "/a%20b"'),
    "a path beyond ASCII": (PATH, 'path: "/café"'),
    "an empty document before": ("apiVersion", "---\n---\napiVersion"),
    "a time without quotes": ("name: web\n", "name: web\n  creationTimestamp: 2020-01-01T00:00:00Z\n"),
    "a number without quotes": ("{}", f"{{{N}/proxy-read-timeout: 3600}}"),
    "a truth without quotes": ("{}", f"{{{N}/ssl-redirect: false}}"),
    "a list of addresses in lines": (
        "{}",
        f"\n    {N}/whitelist-source-range: |\n      10.0.0.0/8,\n      192.168.0.0/16",
    ),
    "a regular expression": (
        PATH,
        "path: /api(/|$)(.*)",
        "{}",
        f'{{{N}/rewrite-target: "/$2", {N}/use-regex: "true"}}',
    ),
}

MALFORMED = {
    "metadata is a list": (
        "metadata:\n  name: web\n  namespace: shop\n  annotations: {}",
        "metadata: [a]",
        "ZS0301",
    ),
    "name in capitals": ("name: web\n  n", "name: Web_App\n  n", "ZS0301"),
    "name is a number": ("name: web\n  n", "name: 12\n  n", "ZS0301"),
    "rules are a mapping": ("rules:\n  -", "rules:\n   ", "ZS0301"),
    "an old API": ("networking.k8s.io/v1", "extensions/v1beta1", "ZS0301"),
    "path without slash": (PATH, "path: api", "ZS0306"),
    "path is a number": (PATH, "path: 12", "ZS0301"),
    "path with two slashes": (PATH, "path: //x", "ZS0306"),
    "no pathType": ("        pathType: Prefix\n", "", "ZS0301"),
    "pathType in small letters": ("Prefix", "prefix", "ZS0301"),
    "no such Service": ("{name: web, port", "{name: gone, port", "ZS0302"),
    "no such port": (PORT, "number: 81", "ZS0303"),
    "port as text": (PORT, 'number: "80"', "ZS0301"),
    "port too large": (PORT, "number: 99999", "ZS0301"),
    "port by number and name": (PORT, "number: 80, name: http", "ZS0301"),
    "host is an address": (HOST, "10.0.0.1", "ZS0305"),
    "host with a port": (HOST, "shop.example:8080", "ZS0305"),
    "host is an address of the web": (HOST, "https://shop.example/", "ZS0305"),
    "star in the middle": (HOST, '"a.*.example"', "ZS0305"),
    "host is a number": (HOST, "8080", "ZS0301"),
    "host is a template": (HOST, "{{ .Values.host }}", "ZS0301"),
    "annotations are a list": ("{}", "[a]", "ZS0301"),
    "an annotation is a mapping": ("{}", f"{{{N}/rewrite-target: {{a: b}}}}", "ZS0301"),
    "an unknown annotation": ("{}", f"{{{N}/proxy-buffering: 'off'}}", "ZS0401"),
    "a snippet": ("{}", f"{{{N}/configuration-snippet: 'deny all;'}}", "ZS0402"),
    "a network too long": ("{}", f"{{{N}/whitelist-source-range: 10.0.0.0/33}}", "ZS0403"),
    "a time with a unit": ("{}", f"{{{N}/proxy-read-timeout: 60s}}", "ZS0403"),
    "accounts that are missing": (
        "{}",
        f"{{{N}/auth-type: basic, {N}/auth-secret: nope}}",
        "ZS0501",
    ),
    "a certificate that is missing": ("rules:", "tls: [{secretName: gone}]\n  rules:", "ZS0501"),
    "a broken expression": (PATH, "path: /a(b", "ZS0306", "{}", f'{{{N}/use-regex: "true"}}'),
    "a bucket as backend": (
        "{service: {name: web, port: {number: 80}}}",
        "{resource: {apiGroup: k8s.example, kind: Bucket, name: b}}",
        "ZS0301",
    ),
    "a list that is not closed": ("annotations: {}", "annotations: [", "ZS0301"),
}


def load(*edits):
    text = INGRESS
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        assert old in text
        text = text.replace(old, new) if old == "\n" else text.replace(old, new, 1)
    return Pipeline().load(load_texts({"service.yaml": SERVICE, "web.yaml": text}))


def proxies(routes):
    for route in routes:
        for handler in route.handlers:
            if isinstance(handler, tree.Subroute):
                yield from proxies(handler.routes)
            elif isinstance(handler, tree.ReverseProxy):
                yield handler


@pytest.mark.parametrize("case", ODD)
def test_what_is_odd_is_served(case):
    loaded = load(*ODD[case])
    assert any(list(proxies(site.routes)) for site in loaded.sites)
    assert {item.code.name for item in loaded.diagnostics} <= {"ZS0301"}
    assert all(item.help for item in loaded.diagnostics)


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_malformed_is_told_with_its_place(case):
    old, new, code, *more = MALFORMED[case]
    loaded = load(old, new, *more)
    assert code in {item.code.name for item in loaded.diagnostics}
    for item in loaded.diagnostics:
        assert item.span.file == "web.yaml" and item.span.line > 0
        assert "Node" not in item.render_short() and "object at 0x" not in item.render_short()


def test_an_ingress_beside_a_malformed_one_is_served():
    for old, new, _, *more in MALFORMED.values():
        other = yaml.safe_load(INGRESS)
        other["metadata"]["name"], other["spec"]["rules"][0]["host"] = "other", "other.example"
        text = INGRESS
        for before, after in [(old, new), *zip(more[::2], more[1::2], strict=True)]:
            text = text.replace(before, after, 1)
        texts = {"service.yaml": SERVICE, "web.yaml": text, "other.yaml": yaml.safe_dump(other)}
        sites = Pipeline().load(load_texts(texts)).sites
        (served,) = (site for site in sites if "other.example" in repr(site.addresses))
        assert list(proxies(served.routes))
