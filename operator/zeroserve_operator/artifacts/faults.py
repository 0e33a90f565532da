"""Why an artefact is not there: as a typed error that becomes a finding of the object which names it."""

from __future__ import annotations

from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.sources import Origin


class ArtifactError(Exception):
    """An artefact that cannot be had, or must not be used."""

    def __init__(self, code: Code, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.cure = cure

    def diagnose(self, origin: Origin) -> Diagnostic:
        """Return the finding about the field that names the artefact."""
        return Diagnostic(self.code, self.message, origin=origin, help=self.cure)


def cannot_pull(message: str, cure: str = "") -> ArtifactError:
    """The registry did not give what was asked for."""
    return ArtifactError(Code.ZS0312, message[:300], cure)


def bad_signature(message: str, cure: str = "") -> ArtifactError:
    """Nobody whose key is known signed it."""
    return ArtifactError(Code.ZS0313, message[:300], cure)


def not_allowed(message: str, cure: str = "") -> ArtifactError:
    """The operator's settings do not name its registry."""
    return ArtifactError(Code.ZS0314, message[:300], cure)
