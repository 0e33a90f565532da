"""Accounts for basic authentication, from a Secret.

In: a Secret and how it holds accounts (`auth-file`: key `auth` in htpasswd's form; `auth-map`: a key for each
name). Out: (name, hash) pairs, or the reason why there are none. Hash forms that the engine does not know are
left out with a diagnostic: such an account cannot log in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.sources import Origin

from zeroserve_operator.annotations.policies import AccountsFormat
from zeroserve_operator.resources.secrets import Secret

ACCOUNTS_MAX = 10_000
_HASH = re.compile(
    r"\$2[abxy]\$\d{2}\$[./A-Za-z0-9]{53}"
    r"|\$argon2id\$v=\d+\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+"
    r"|\$apr1\$[./A-Za-z0-9]{0,8}\$[./A-Za-z0-9]{22}"
    r"|\{SHA\}[A-Za-z0-9+/]{27}="
)


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts of a Secret; none means that nobody can be let in."""

    pairs: tuple[tuple[str, str], ...]
    diagnostics: tuple[Diagnostic, ...]


def read_accounts(secret: Secret, form: AccountsFormat, origin: Origin) -> Accounts:
    """Read accounts; `origin` is the annotation that asks for them."""
    if form is AccountsFormat.FILE:
        content = secret.get("auth")
        if content is None:
            return Accounts((), (_find(secret, origin, "has no key `auth`", Severity.ERROR),))
        rows = content.decode("utf-8", "replace").splitlines()
    else:
        rows = [f"{name}:{value.value.decode('utf-8', 'replace')}" for name, value in secret.data]
    pairs: dict[str, str] = {}
    refused: list[str] = []
    for number, row in enumerate(rows[:ACCOUNTS_MAX], 1):
        line = row.strip()
        if not line or line.startswith("#"):
            continue
        name, _, hashed = line.partition(":")
        # nginx takes what follows a second colon as a comment (auth_basic_user_file).
        hashed = hashed.split(":", 1)[0].strip()
        if name and _HASH.fullmatch(hashed):
            pairs.setdefault(name, hashed)
        else:
            refused.append(f"{number}")
    findings = []
    if refused:
        where = "line" if form is AccountsFormat.FILE else "account"
        message = f"holds no hash that is known on {where} {', '.join(refused[:5])}"
        findings.append(_find(secret, origin, message, Severity.WARNING if pairs else Severity.ERROR))
    elif not pairs:
        findings.append(_find(secret, origin, "holds no account", Severity.ERROR))
    return Accounts(tuple(sorted(pairs.items())), tuple(findings))


def _find(secret: Secret, origin: Origin, message: str, severity: Severity) -> Diagnostic:
    key = secret.meta.key
    return Diagnostic(
        Code.ZS0502,
        f"Secret {key.namespace}/{key.name} {message}",
        origin=origin,
        help="write accounts with `htpasswd -B` (bcrypt); apr1, {SHA} and argon2id are known too",
        severity=severity,
    )
