"""Requests to a registry (OCI Distribution 1.1): bounded in time and size, to allowed hosts only.

In: a reference, credentials. Out: manifests and blobs whose digests are right, or ArtifactError. Synchronous:
callers are in threads. Rules: a redirect, or a token service, on a host that is not allowed ends the pull;
credentials go to the registry and its token service only, never on by a redirect.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode, urljoin, urlsplit

import certifi
import urllib3
import urllib3.exceptions

from zeroserve_operator.artifacts.answers import check_digest
from zeroserve_operator.artifacts.faults import ArtifactError, cannot_pull, not_allowed
from zeroserve_operator.artifacts.references import AllowedRegistry, Reference
from zeroserve_operator.artifacts.signatures import PublicKey
from zeroserve_operator.artifacts.timing import make_pool

CONNECT_S: Final = 5.0
READ_S: Final = 10.0
PULL_S: Final = 30.0
"""One pull, of some requests: a registry that drips bytes does not hold a thread for longer."""
MANIFEST_BYTES_MAX: Final = 256 << 10
TOKEN_BYTES_MAX: Final = 64 << 10
REDIRECTS_MAX: Final = 3
MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
# Only where a word begins: from each of its letters, a long one would cost its length squared.
_CHALLENGE: Final = re.compile(r'(?<![A-Za-z])([A-Za-z]+)="([^"\\]*)"')
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Credentials:
    """A registry's account."""

    user: str
    password: str = field(repr=False)

    @property
    def header(self) -> str:
        """RFC 7617."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class RegistryPolicy:
    """What the cluster's operator allows: without a registry nothing is pulled."""

    registries: tuple[AllowedRegistry, ...] = ()
    keys: tuple[PublicKey, ...] = ()
    """One of them must have signed every artefact; none: the object's own key alone counts."""
    authorities: str = ""
    """PEM of certificate authorities beside the usual ones."""

    def find(self, reference: Reference) -> AllowedRegistry:
        """Return the entry that covers a reference; raises ArtifactError."""
        for allowed in self.registries:
            if allowed.covers(reference):
                return allowed
        known = ", ".join(f"{each.host}/{each.prefix}".rstrip("/") for each in self.registries) or "none"
        cure = f"the chart's value plugins.registries allows them; it names {known}"
        message = f"registry {reference.host} is not allowed for {reference.repository}"
        raise not_allowed(message, cure)

    def may_ask(self, url: str, registry: AllowedRegistry) -> bool:
        """Whether a URL that a registry named may be asked."""
        parts = urlsplit(url)
        allowed = {(each.scheme, each.host) for each in (registry, *self.registries)}
        return (parts.scheme, parts.netloc) in allowed


@dataclass(frozen=True, slots=True)
class Answer:
    """A registry's answer, its body read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Registry:
    """One registry, for the time of one pull or push."""

    def __init__(self, policy: RegistryPolicy, reference: Reference, credentials: Credentials | None) -> None:
        self.reference = reference
        self._policy = policy
        self._allowed = policy.find(reference)
        self._credentials = credentials
        self._authorization = ""
        self._ends_s = time.monotonic() + PULL_S
        context = ssl.create_default_context(cafile=certifi.where())
        if policy.authorities:
            context.load_verify_locations(cadata=policy.authorities)
        self._pool = make_pool(context, self._ends_s, READ_S)

    def read_manifest(self, name: str) -> bytes | None:
        """Return a manifest by tag or digest; None where there is none."""
        answer = self.ask("GET", f"manifests/{name}", {"Accept": MANIFEST_TYPE}, size_max=MANIFEST_BYTES_MAX)
        if answer.status == 404:
            return None
        _expect(answer, 200, f"manifest {name}")
        if name.startswith("sha256:"):
            check_digest(answer.body, name)
        return answer.body

    def read_blob(self, digest: str, size_max: int) -> bytes:
        """Return a blob; raises ArtifactError where it is not what its digest says."""
        answer = self.ask("GET", f"blobs/{digest}", {}, size_max=size_max)
        _expect(answer, 200, f"blob {digest}")
        check_digest(answer.body, digest)
        return answer.body

    def read_referrers(self, digest: str, kind: str) -> bytes | None:
        """Return the index of what refers to a manifest, or of the tag that stands for it (OCI Distribution
        1.1, "Listing Referrers"); None where there is none."""
        fields = {"Accept": INDEX_TYPE}
        query = urlencode({"artifactType": kind})
        answer = self.ask("GET", f"referrers/{digest}?{query}", fields, size_max=MANIFEST_BYTES_MAX)
        if answer.status == 404:
            tag = digest.replace(":", "-")
            answer = self.ask("GET", f"manifests/{tag}", fields, size_max=MANIFEST_BYTES_MAX)
        if answer.status == 404:
            return None
        _expect(answer, 200, f"referrers of {digest}")
        return answer.body

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        body: bytes = b"",
        size_max: int = TOKEN_BYTES_MAX,
    ) -> Answer:
        """Send a request about the repository, with a token where one is asked for."""
        base = f"{self._allowed.scheme}://{self._allowed.host}/v2/{self.reference.repository}/"
        url = urljoin(base, path)
        answer = self._follow(method, url, headers, body, size_max)
        if answer.status == 401 and not self._authorization:
            self._authorization = self._log_in(answer.headers.get("www-authenticate", ""))
            answer = self._follow(method, url, headers, body, size_max)
        return answer

    def _follow(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, size_max: int
    ) -> Answer:
        authorized = dict(headers)
        if self._authorization:
            authorized["Authorization"] = self._authorization
        for _ in range(REDIRECTS_MAX + 1):
            self._require_allowed(url, "sends on to")
            answer = self._send(method, url, authorized, body, size_max)
            if answer.status not in _REDIRECTS or method != "GET":
                return answer
            following = urljoin(url, answer.headers.get("location", ""))
            if urlsplit(following)[:2] != urlsplit(url)[:2]:
                authorized.pop("Authorization", None)
            url = following
        raise cannot_pull(f"{self._allowed.host} redirects without end")

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes, size_max: int) -> Answer:
        left_s = self._ends_s - time.monotonic()
        if left_s <= 0:
            raise self._late()
        timeout = urllib3.Timeout(connect=min(CONNECT_S, left_s), read=min(READ_S, left_s))
        try:
            response = self._pool.request(
                method,
                url,
                body=body or None,
                headers={"Accept-Encoding": "identity", "User-Agent": "zeroserve", **headers},
                redirect=False,
                preload_content=False,
                timeout=timeout,
            )
            try:
                content = self._read_body(response, size_max)
            finally:
                response.close()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if time.monotonic() > self._ends_s:
                raise self._late() from error
            raise cannot_pull(f"{urlsplit(url).netloc} cannot be reached: {error}") from error
        return Answer(
            response.status, {name.lower(): value for name, value in response.headers.items()}, content
        )

    def _read_body(self, response: urllib3.BaseHTTPResponse, size_max: int) -> bytes:
        content = bytearray()
        for chunk in response.stream(16 << 10, decode_content=False):
            content += chunk
            if len(content) > size_max:
                raise cannot_pull(f"{self._allowed.host} sends more than {size_max} bytes")
        return bytes(content)

    def _log_in(self, challenge: str) -> str:
        """Return the Authorization that a challenge asks for (RFC 9110, 11; Docker's token service)."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self._credentials is not None:
            return self._credentials.header
        found = {name.lower(): value for name, value in _CHALLENGE.findall(rest)}
        if scheme.lower() != "bearer" or "realm" not in found:
            raise self._refused()
        asked = {name: found[name] for name in ("service", "scope") if name in found}
        headers = {"Authorization": self._credentials.header} if self._credentials else {}
        realm = found["realm"]
        self._require_allowed(realm, "asks for a token of")
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}"
        answer = self._send("GET", url, headers, b"", TOKEN_BYTES_MAX)
        if answer.status != 200:
            raise self._refused()
        document = read_object(answer.body, "token")
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise self._refused()
        return f"Bearer {token}"

    def _require_allowed(self, url: str, verb: str) -> None:
        """Raise ArtifactError where the registry leads to a host that may not be asked."""
        if not self._policy.may_ask(url, self._allowed):
            raise not_allowed(
                f"{self._allowed.host} {verb} {urlsplit(url).netloc}, which is not allowed",
                "add that host to the chart's value plugins.registries, if you trust it",
            )

    def _late(self) -> ArtifactError:
        return cannot_pull(f"{self._allowed.host} took longer than {PULL_S:g} s")

    def _refused(self) -> ArtifactError:
        cure = "name a Secret of type kubernetes.io/dockerconfigjson in spec.source.oci.pullSecretRef"
        which = "these credentials" if self._credentials else "a pull without credentials"
        return cannot_pull(f"{self._allowed.host} refuses {which}", cure)


def read_object(content: bytes, what: str) -> dict[str, Any]:
    """Read a JSON object; raises ArtifactError."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise cannot_pull(f"the registry's {what} is no JSON") from error
    if not isinstance(found, dict):
        raise cannot_pull(f"the registry's {what} is no JSON object")
    return found


def _expect(answer: Answer, status: int, what: str) -> None:
    if answer.status == status:
        return
    if answer.status in (401, 403):
        cure = "spec.source.oci.pullSecretRef names the Secret with the registry's account"
        raise cannot_pull(f"{what}: the registry refuses it ({answer.status})", cure)
    raise cannot_pull(f"{what}: the registry answers {answer.status}")
