"""Secrets that are referred to by name are followed, and others are not read."""

import asyncio
import queue

import pytest
from zeroserve_operator import named_secrets
from zeroserve_operator.cluster_client import ClusterError
from zeroserve_operator.named_secrets import NamedSecrets
from zeroserve_operator.resources.objects import Kind, ObjectKey

USERS, CERTIFICATE = (ObjectKey(Kind.SECRET, "web", name) for name in ("users", "certificate"))
SELECTOR = "fieldSelector"


def secret(key, version):
    return {"metadata": {"name": key.name, "namespace": key.namespace, "resourceVersion": version}}


class ApiServer:
    """Holds Secrets; watches are queues of events, of which "end" ends one."""

    def __init__(self):
        self.secrets = {}
        self.events = {}
        self.read = []

    def put(self, key, version, *, told=True):
        self.secrets[key.name] = secret(key, version)
        if told:
            self.queue(key).put({"type": "MODIFIED", "object": self.secrets[key.name]})

    def queue(self, key):
        return self.events.setdefault(key.name, queue.Queue())

    def request(self, _method, path, _body=None, *, query=None):
        self.read.append(path.rpartition("/")[2])
        if query is None:
            name = path.rpartition("/")[2]
            if name not in self.secrets:
                raise ClusterError(404, "not found")
            return self.secrets[name]
        found = self.secrets.get(query[SELECTOR].removeprefix("metadata.name="))
        return {"metadata": {"resourceVersion": "1"}, "items": [found] if found else []}

    def watch(self, path, query, timeout_s):
        assert path.endswith("/namespaces/web/secrets") and query["resourceVersion"] == "1"
        events = self.events.setdefault(query[SELECTOR].removeprefix("metadata.name="), queue.Queue())
        while (event := events.get(timeout=60)) != "end":
            if isinstance(event, Exception):
                raise event
            yield event


class Rig:
    def __init__(self):
        self.api = ApiServer()
        self.named = set()
        self.accounts = set()
        self.seen = {}
        self.secrets = NamedSecrets(self.api, lambda: self.named, lambda: self.accounts, self.take)

    def take(self, key, raw):
        self.seen[key] = raw and raw["metadata"]["resourceVersion"]

    async def until(self, key, version):
        async with asyncio.timeout(60):
            while self.seen.get(key, "nothing") != version:
                await asyncio.sleep(0.005)


def run(scenario):
    async def main():
        rig = Rig()
        task = asyncio.create_task(rig.secrets.run(3600, 0))
        try:
            await scenario(rig)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for events in rig.api.events.values():
                events.put("end")

    asyncio.run(main())


def test_a_named_secret_is_read_and_each_change_follows():
    async def scenario(rig):
        rig.api.put(USERS, "1", told=False)
        rig.named = rig.accounts = {USERS}
        rig.secrets.want()
        for version in ("1", "2", "3"):
            await rig.until(USERS, version)
            rig.api.put(USERS, str(int(version) + 1))
        await rig.until(USERS, "4")

    run(scenario)


def test_accounts_that_are_made_later_are_seen():
    async def scenario(rig):
        rig.named = rig.accounts = {USERS}
        rig.secrets.want()
        await asyncio.sleep(0.05)
        rig.api.put(USERS, "1")
        await rig.until(USERS, "1")

    run(scenario)


def test_a_deleted_secret_is_gone():
    async def scenario(rig):
        rig.api.put(USERS, "1", told=False)
        rig.named = rig.accounts = {USERS}
        rig.secrets.want()
        await rig.until(USERS, "1")
        rig.api.queue(USERS).put({"type": "DELETED", "object": secret(USERS, "2")})
        await rig.until(USERS, None)

    run(scenario)


@pytest.mark.parametrize("ending", ["end", ClusterError(0, "broken off"), {"type": "ERROR", "object": {}}])
def test_a_watch_that_ends_begins_with_a_listing(monkeypatch, ending):
    monkeypatch.setattr(named_secrets, "RETRY_S", 0.01)

    async def scenario(rig):
        rig.api.put(USERS, "1", told=False)
        rig.named = rig.accounts = {USERS}
        rig.secrets.want()
        await rig.until(USERS, "1")
        rig.api.put(USERS, "2", told=False)
        rig.api.queue(USERS).put(ending)
        await rig.until(USERS, "2")

    run(scenario)


def test_a_secret_that_is_named_no_more_is_forgotten():
    async def scenario(rig):
        rig.api.put(USERS, "1", told=False)
        rig.named = rig.accounts = {USERS}
        rig.secrets.want()
        await rig.until(USERS, "1")
        rig.named = rig.accounts = set()
        rig.secrets.want()
        await rig.until(USERS, None)
        rig.api.put(USERS, "2")
        await asyncio.sleep(0.05)
        assert rig.seen[USERS] is None

    run(scenario)


def test_a_missing_certificate_costs_no_watch():
    async def scenario(rig):
        rig.named = {CERTIFICATE}
        rig.secrets.want()
        async with asyncio.timeout(60):
            while not rig.api.read:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        assert rig.api.read == ["certificate"] and rig.api.events == {}

    run(scenario)


def test_a_certificate_of_another_type_is_followed_once_it_is_there():
    async def scenario(rig):
        rig.api.put(CERTIFICATE, "1", told=False)
        rig.named = {CERTIFICATE}
        rig.secrets.want()
        await rig.until(CERTIFICATE, "1")
        rig.api.put(CERTIFICATE, "2")
        await rig.until(CERTIFICATE, "2")

    run(scenario)


def test_beyond_the_limit_secrets_are_read_from_time_to_time(monkeypatch):
    monkeypatch.setattr(named_secrets, "WATCHES_MAX", 1)

    async def scenario(rig):
        other = ObjectKey(Kind.SECRET, "web", "z-others")
        rig.api.put(USERS, "1", told=False)
        rig.api.put(other, "1", told=False)
        rig.named = rig.accounts = {USERS, other}
        rig.secrets.want()
        await rig.until(other, "1")
        assert list(rig.api.events) in ([], ["users"])
        rig.api.put(other, "2", told=False)
        rig.secrets.want()
        await rig.until(other, "2")

    run(scenario)
