"""A registry that answers by table, and keeps what it was asked: for what no sound registry does."""

import contextlib
import hashlib
import http.server
import json

import threads
from ports import free_port

from .signing import make_bundle, make_payload, sign

PLUGIN_TYPE = "application/vnd.zeroserve.plugin.v1.elf"
PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"


def digest_of(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def layer(content, media_type, **annotations):
    found = {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}
    return {**found, "annotations": annotations} if annotations else found


def make_manifest(*layers):
    return json.dumps({"schemaVersion": 2, "layers": list(layers)}).encode()


def make_pages(content, *keys, repository="team/hello", media_type=PLUGIN_TYPE):
    """Return the pages of an artefact that the keys signed, and its digest."""
    manifest = make_manifest(layer(content, media_type))
    digest = digest_of(manifest)
    payload = make_payload(digest)
    signed = [
        layer(payload, PAYLOAD_TYPE, **{"dev.cosignproject.cosign/signature": sign(key, payload)})
        for key in keys
    ]
    base = f"/v2/{repository}"
    pages = {
        f"{base}/manifests/{digest}": manifest,
        f"{base}/blobs/{digest_of(content)}": content,
        f"{base}/blobs/{digest_of(payload)}": payload,
    }
    if signed:
        pages[f"{base}/manifests/{digest.replace(':', '-')}.sig"] = make_manifest(*signed)
    return pages, digest


BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def add_bundle(pages, digest, key, *, by_tag=False, repository="team/hello"):
    """Add a signature as cosign 3 attaches it: an artefact that refers to the signed one."""
    bundle = make_bundle(key, digest)
    manifest = make_manifest(layer(bundle, BUNDLE_TYPE))
    entry = {"digest": digest_of(manifest), "size": len(manifest), "artifactType": BUNDLE_TYPE}
    other = {"digest": f"sha256:{'0' * 64}", "size": 1, "artifactType": "application/spdx+json"}
    index = json.dumps({"schemaVersion": 2, "manifests": [other, entry]}).encode()
    base = f"/v2/{repository}"
    place = f"manifests/{digest.replace(':', '-')}" if by_tag else f"referrers/{digest}"
    pages |= {
        f"{base}/{place}": index,
        f"{base}/manifests/{digest_of(manifest)}": manifest,
        f"{base}/blobs/{digest_of(bundle)}": bundle,
    }
    return f"{base}/{place}"


class Pages:
    """Answers by path: bytes, or a function from the request's handler to (status, fields, bytes)."""

    def __init__(self, pages):
        self.pages = pages
        self.asked = []
        self.port = free_port()

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"


@contextlib.contextmanager
def serve_pages(pages):
    """Serve until the block ends."""
    served = Pages(pages)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            served.asked.append((self.path, self.headers.get("Authorization", "")))
            found = served.pages.get(self.path.partition("?")[0])
            status, fields, body = (404, {}, b"") if found is None else (200, {}, found)
            if callable(found):
                status, fields, body = found(self)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **fields}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    with threads.served(http.server.ThreadingHTTPServer(("127.0.0.1", served.port), Handler)):
        yield served
