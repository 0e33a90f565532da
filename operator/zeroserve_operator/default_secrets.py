"""The Secret with the default certificate, made once by the leader in the operator's own namespace.

In: a client and the Secret's name. Out: whether it is there. Users may put a certificate of theirs in its
place; it is never overwritten.
"""

from __future__ import annotations

import base64
import logging
from datetime import UTC, datetime

from zeroserve_operator.building.certificates import CHAIN_KEY, PRIVATE_KEY
from zeroserve_operator.cluster_client import ClusterError, Requests
from zeroserve_operator.default_certificates import make_default_certificate
from zeroserve_operator.resources.secrets import TLS_TYPE

logger = logging.getLogger(__name__)


def ensure_default_certificate(client: Requests, name: str) -> bool:
    """Make the Secret `namespace/name` where it is missing; True when it is there."""
    namespace, _, secret = name.partition("/")
    if not secret:
        return True
    pair = make_default_certificate(datetime.now(UTC))
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": secret},
        "type": TLS_TYPE,
        "data": {
            CHAIN_KEY: base64.b64encode(pair.certificate).decode(),
            PRIVATE_KEY: base64.b64encode(pair.key).decode(),
        },
    }
    try:
        client.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body)
    except ClusterError as error:
        if error.status == 409:
            return True
        logger.warning("Secret %s with the default certificate cannot be made: %s", name, error)
        return False
    logger.info("made Secret %s with a self-signed default certificate", name)
    return True
