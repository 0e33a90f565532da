"""Files that the TLS of upstreams names: authorities and a client's certificate.

In: the policy as written, a reader of files. Out: the policy with their content. Called by `drafting_sites`.
"""

from __future__ import annotations

from dataclasses import replace

from zeroserve_ir import tree
from zeroserve_ir.site_certificates import ReadFile


def read_upstream_tls(tls: tree.UpstreamTls, read_file: ReadFile) -> tree.UpstreamTls:
    """Return the policy with the content of its files. OSError, UnicodeDecodeError where one is not PEM."""
    pool = tls.trust_pool.files if tls.trust_pool is not None else ()
    pem = tls.trusted_ca_pem + "".join(_read_pem(path, read_file) for path in (*tls.trusted_ca_files, *pool))
    if not tls.client_certificate_file:
        return replace(tls, trusted_ca_pem=pem)
    return replace(
        tls,
        trusted_ca_pem=pem,
        client_certificate_pem=_read_pem(tls.client_certificate_file, read_file),
        client_key_pem=_read_pem(tls.client_key_file, read_file),
    )


def _read_pem(path: str, read_file: ReadFile) -> str:
    try:
        return read_file(path).decode("ascii")
    except OSError as error:
        error.filename = path
        raise
