"""The first draft of a server: an address that is taken is asked for again, then the start fails."""

import asyncio

import pytest
from zeroserve_cli import embedding
from zeroserve_dataplane.agent.applying import Outcome
from zeroserve_dataplane.agent.planning import Refusal
from zeroserve_dataplane.settings import EmbeddedSettings
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.drafting import SnapshotDraft, make_resource

LISTENER = make_resource(pb.Listener(name="http-80"))
DRAFT = SnapshotDraft({(int(pb.LISTENER), "http-80"): LISTENER}, "version")


class Port:
    """A node of one listener, whose address is free after so many attempts."""

    def __init__(self, taken_for):
        self.attempts = 0
        self.taken_for = taken_for
        self.node = self

    async def set_limit_store(self, _address):
        pass

    async def retry_refused(self):
        self.attempts += 1

    async def apply(self, draft):
        if self.attempts >= self.taken_for:
            return Outcome(draft, ())
        why = Diagnostic(Code.ZS0702, "taken")
        return Outcome(draft, (Refusal((int(pb.LISTENER), "http-80"), "version", why),))


@pytest.fixture
def begin(monkeypatch):
    monkeypatch.setattr(embedding, "BIND_RETRY_S", 0)

    def begin(taken_for):
        async def run():
            server = embedding._Server(EmbeddedSettings(), embedding.Source(lambda _: None), None)
            server.node = Port(taken_for)
            return await server._begin(embedding.Loaded(DRAFT))

        return asyncio.run(run())

    return begin


@pytest.mark.parametrize("attempts", [0, 1, embedding.BIND_RETRIES])
def test_an_address_that_is_freed_meanwhile_is_served(begin, capsys, attempts):
    assert begin(attempts)
    assert capsys.readouterr().err == ""


def test_an_address_that_stays_taken_ends_the_start(begin, capsys):
    assert not begin(embedding.BIND_RETRIES + 1)
    assert "error[ZS0702]: taken" in capsys.readouterr().err
