"""Stores that ask for more than a connection: TLS, certificates, users with few rights."""

import asyncio
import contextlib
import logging

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from ports import free_port
from signing import Authority, key_pem, name_of, pem, write_client
from storing import RunningStore
from zeroserve_dataplane.agent.leasing import LeaseCounts, Store
from zeroserve_ir._pb import control_pb2 as control

PATIENCE_S = 60
pytestmark = pytest.mark.usefixtures("patient")
NEED = control.TokenNeed(bucket=b"bucket", zone="zone", interval_ns=10**12, burst=10, wanted=3)
RIGHTS = (
    "~zeroserve:limit:* +eval +evalsha +script|load +time +get +set +del +zadd +zrem +zcard +zremrangebyscore"
    " +expire"
)


@contextlib.asynccontextmanager
async def touching(address):
    """A store that is kept in touch with, and what failed."""
    counts = LeaseCounts()
    store = Store(address, lambda: None, counts)
    running = asyncio.create_task(store.run())
    try:
        yield store, counts
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def await_answer(store):
    async with asyncio.timeout(PATIENCE_S):
        while not store.up:
            await asyncio.sleep(0.01)


def lease(address):
    async def run():
        async with touching(address) as (store, _):
            await await_answer(store)
            return [lease.granted for lease in await store.lease([NEED])]

    return asyncio.run(run())


def refusals(address):
    """Return whether it was there after it refused three times."""

    async def run():
        async with touching(address) as (store, counts), asyncio.timeout(PATIENCE_S):
            while counts.failures < 3 and not store.up:
                await asyncio.sleep(0.01)
            return store.up

    return asyncio.run(run())


def write_server(folder, name, authority):
    """Write what a server of this name needs; clients believe ca.crt."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = ExtendedKeyUsageOID.SERVER_AUTH
    certificate = authority.sign(name_of("store"), key, [x509.DNSName(name)], usage)
    (folder / "server.crt").write_bytes(pem(certificate))
    (folder / "server.key").write_bytes(key_pem(key))
    (folder / "ca.crt").write_bytes(pem(authority.certificate))


@contextlib.contextmanager
def encrypted_store(folder, name, *, clients="no"):
    """A store that speaks TLS alone; yields it and its authority."""
    authority = Authority("store's own")
    write_server(folder, name, authority)
    port = free_port()
    options = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", clients]
    for option, file in [("cert", "server.crt"), ("key", "server.key"), ("ca-cert", "ca.crt")]:
        options += [f"--tls-{option}-file", str(folder / file)]
    store = RunningStore(folder, port, *options)
    try:
        yield store, authority
    finally:
        store.stop()


def test_a_store_is_believed_by_the_authority_and_the_name_that_its_address_gives(tmp_path):
    with encrypted_store(tmp_path, "store.example") as (store, _):
        told = f"?ssl_ca_certs={tmp_path}/ca.crt&ssl_server_name="
        assert lease(f"rediss://127.0.0.1:{store.port}/0{told}store.example") == [3]
        assert not refusals(f"rediss://127.0.0.1:{store.port}/0{told}other.example")


def test_the_host_of_the_address_is_the_name_where_nothing_else_is_said(tmp_path):
    with encrypted_store(tmp_path, "localhost") as (store, _):
        told = f"?ssl_ca_certs={tmp_path}/ca.crt"
        assert lease(f"rediss://localhost:{store.port}{told}") == [3]
        assert not refusals(f"rediss://127.0.0.1:{store.port}{told}")


def test_a_store_of_another_authority_gets_no_password_and_a_missing_file_is_told(tmp_path, caplog):
    (tmp_path / "others.crt").write_bytes(pem(Authority("others").certificate))
    with encrypted_store(tmp_path, "localhost") as (store, _), caplog.at_level(logging.ERROR):
        address = f"rediss://:secret@localhost:{store.port}"
        for told in ("", f"?ssl_ca_certs={tmp_path}/others.crt", f"?ssl_ca_certs={tmp_path}/none.crt"):
            assert not refusals(address + told)
    first, second, third = (record.getMessage() for record in caplog.records)
    assert "certificate verify failed" in first and "certificate verify failed" in second
    assert "No such file" in third
    assert "secret" not in caplog.text


def test_a_store_that_asks_for_our_certificate_gets_it(tmp_path):
    with encrypted_store(tmp_path, "localhost", clients="yes") as (store, authority):
        write_client(tmp_path / "client.pem", authority, "engine")
        told = f"rediss://localhost:{store.port}?ssl_ca_certs={tmp_path}/ca.crt"
        ours = f"{tmp_path}/client.pem"
        assert lease(f"{told}&ssl_certfile={ours}&ssl_keyfile={ours}") == [3]
        assert not refusals(told)


def test_files_that_were_rotated_hold_from_the_next_connection_on(tmp_path):
    async def run():
        with encrypted_store(tmp_path, "localhost") as (store, _):
            address = f"rediss://localhost:{store.port}?ssl_ca_certs={tmp_path}/ca.crt"
            async with touching(address) as (touched, _):
                await await_answer(touched)
                await asyncio.to_thread(store.stop)
                write_server(tmp_path, "localhost", Authority("the next one"))
                async with asyncio.timeout(PATIENCE_S):
                    while touched.up:
                        await asyncio.sleep(0.01)
                await asyncio.to_thread(store.start)
                await await_answer(touched)

    asyncio.run(run())


@pytest.fixture
def guarded(tmp_path):
    """A store whose only user besides the disabled default has the rights that the documentation names."""
    access = tmp_path / "users.acl"
    access.write_text(f"user default off\nuser limits on >p@ss:word/ resetchannels {RIGHTS}\n")
    running = RunningStore(tmp_path, free_port(), "--aclfile", str(access))
    yield running
    running.stop()


def test_a_user_with_the_rights_that_are_documented_is_enough(guarded, caplog):
    address = f"redis://limits:p%40ss%3Aword%2F@127.0.0.1:{guarded.port}"
    with caplog.at_level(logging.WARNING):
        assert lease(address) == [3]
    assert not caplog.records


def test_a_wrong_password_is_told_and_not_shown(guarded, caplog):
    with caplog.at_level(logging.ERROR):
        assert not refusals(f"redis://limits:wrong-one@127.0.0.1:{guarded.port}")
        assert not refusals(f"redis://127.0.0.1:{guarded.port}")
    first, second = (record.getMessage() for record in caplog.records)
    assert "invalid username-password pair" in first and "wrong-one" not in caplog.text
    assert "Authentication required" in second


def test_a_host_that_is_no_name_is_a_store_that_is_away():
    assert not refusals("redis://a..b:6379")
