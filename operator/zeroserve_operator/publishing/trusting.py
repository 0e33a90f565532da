"""The operator's own certificate authority: what agents trust, and how it changes without a dropped stream.

In: the state that replicas share (a Secret in the operator's namespace), the time. Out: the bundle for the
ConfigMap that agents mount, and the leaf of this replica. Rule: a new root is in the bundle for OVERLAP
before anything is signed by it, and an old one stays until it has expired, so all agents
trust every leaf in use.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from zeroserve_ir.authorities import Authority, IssuedCertificate

ROOT_LIFETIME = datetime.timedelta(days=365)
ROOT_RENEWAL = datetime.timedelta(days=120)
"""Remaining life at which the successor is made: time for any agent that was away."""
OVERLAP = datetime.timedelta(days=2)
"""A kubelet refreshes mounted ConfigMaps within two minutes; two days cover a node that is not ready."""
LEAF_LIFETIME = datetime.timedelta(days=14)
LEAF_RENEWAL = datetime.timedelta(days=7)
SERVER_NAME = "zeroserve-operator"
"""The name that agents expect, whatever address they dial."""


@dataclass(frozen=True, slots=True)
class TrustState:
    """Roots: the one that signs, its successor where one is announced, and former ones still valid."""

    active: Authority
    successor: Authority | None = None
    former: tuple[x509.Certificate, ...] = ()

    @staticmethod
    def create(now: datetime.datetime) -> TrustState:
        """Make the first root."""
        return TrustState(_create_root(now))

    @property
    def bundle_pem(self) -> bytes:
        """All roots that agents shall trust."""
        roots = [self.active.certificate_pem]
        if self.successor is not None:
            roots.append(self.successor.certificate_pem)
        return b"".join([*roots, *(root.public_bytes(Encoding.PEM) for root in self.former)])

    def rotate(self, now: datetime.datetime) -> TrustState:
        """Return the state that holds at `now`: announce a successor, promote it, forget expired roots."""
        former = tuple(root for root in self.former if root.not_valid_after_utc > now)
        active, successor = self.active, self.successor
        if successor is None and active.certificate.not_valid_after_utc - now < ROOT_RENEWAL:
            successor = _create_root(now)
        elif successor is not None and now - successor.certificate.not_valid_before_utc > OVERLAP:
            former = (active.certificate, *former)
            active, successor = successor, None
        return TrustState(active, successor, former)

    def issue_leaf(self, now: datetime.datetime) -> IssuedCertificate:
        """Sign this replica's server certificate."""
        return self.active.issue([SERVER_NAME], now, LEAF_LIFETIME)

    def dump(self) -> bytes:
        """Return the state for the shared Secret."""
        state = {
            "active": self.active.dump().decode(),
            "successor": self.successor.dump().decode() if self.successor else "",
            "former": [root.public_bytes(Encoding.PEM).decode() for root in self.former],
        }
        return json.dumps(state, sort_keys=True).encode()

    @staticmethod
    def load(content: bytes) -> TrustState:
        """Return what `dump` wrote. ValueError when it is something else."""
        try:
            state = json.loads(content)
            successor = Authority.load(state["successor"].encode()) if state["successor"] else None
            former = tuple(x509.load_pem_x509_certificate(root.encode()) for root in state["former"])
            return TrustState(Authority.load(state["active"].encode()), successor, former)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not a trust state") from error


def _create_root(now: datetime.datetime) -> Authority:
    return Authority.create("zeroserve operator", now, ROOT_LIFETIME)
