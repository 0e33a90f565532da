"""The store's script: tokens taken and given back at one moment, by its clock; and the socket of engines."""

import asyncio
import contextlib
import random

import pytest
import redis
from zeroserve_dataplane.agent.granting import TokenServer
from zeroserve_dataplane.agent.leasing import Lease, LeaseCounts, Store, find_key
from zeroserve_dataplane.enginelink.frames import FrameDecoder, encode_frame
from zeroserve_ir._pb import control_pb2 as control

HOUR_NS = 3_600_000_000_000
PATIENCE_S = 60
pytestmark = pytest.mark.usefixtures("patient")


def need(
    wanted=0, *, returned=0, bucket=b"bucket", interval_ns=HOUR_NS // 10, burst=10, zone="a.example zone"
):
    return control.TokenNeed(
        bucket=bucket, zone=zone, interval_ns=interval_ns, burst=burst, wanted=wanted, returned=returned
    )


def lease(address, *steps):
    """Return the answers to steps, each a list of needs; the store knows nothing at first."""

    async def run():
        store = Store(address, lambda: None, LeaseCounts())
        running = asyncio.create_task(store.run())
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not store.up:
                    await asyncio.sleep(0.01)
            return [await store.lease(step) for step in steps]
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    return asyncio.run(run())


def test_a_bucket_gives_its_burst_and_then_says_when_the_next_token_comes(store):
    (first,), (second,), (other,) = lease(store.address, [need(7)], [need(7)], [need(7, bucket=b"other")])
    assert first == other == Lease(7, 0)
    assert second.granted == 3
    # Ten in an hour.
    assert 300e6 < second.wait_us <= 360e6


def test_tokens_given_back_can_be_had_again_and_no_more_than_the_burst(store):
    answers = lease(
        store.address, [need(10)], [need(returned=4)], [need(9)], [need(0, returned=99)], [need(99)]
    )
    assert [answer[0].granted for answer in answers] == [10, 0, 4, 0, 10]


def test_one_bucket_may_stand_in_a_request_more_than_once(store):
    (answers,) = lease(store.address, [need(6), need(6), need(returned=2), need(6)])
    assert [answer.granted for answer in answers] == [6, 4, 0, 2]


def test_a_rate_of_a_million_a_second_is_counted(store):
    fast = {"interval_ns": 1000, "burst": 1_000_000}
    ((first,), (second,)) = lease(store.address, [need(1_000_000, **fast)], [need(4_000_000_000, **fast)])
    assert first == Lease(1_000_000, 0)
    assert second.granted > 0 and second.wait_us == 1


def test_a_clock_that_was_set_back_holds_nobody_longer_than_an_empty_bucket(store):
    with contextlib.closing(redis.Redis(port=store.port)) as client:
        client.set(find_key(need()), "99999999999999999")
    ((answer,),) = lease(store.address, [need(1)])
    assert answer.granted == 0
    assert answer.wait_us <= 360e6


def test_buckets_end_when_they_are_whole_and_keys_are_short_and_plain(store):
    hostile = "\r\n$\xff" * 1000
    lease(store.address, [need(5, zone=hostile)])
    with contextlib.closing(redis.Redis(port=store.port)) as client:
        (key,) = client.keys("*bucket*")
        assert len(key) < 200
        assert key == find_key(need(zone=hostile)).encode()
        assert key.isascii() and key.split(b":")[-1] == b"bucket".hex().encode()
        assert 0 < client.pttl(key) <= 1_801_000


def test_bytes_that_are_no_requests_end_their_connection_and_no_other(tmp_path):
    async def run():
        source = random.Random(7)
        async with TokenServer(tmp_path / "token.sock") as server:
            good_reader, good = await asyncio.open_unix_connection(server.path)
            for _ in range(200):
                reader, writer = await asyncio.open_unix_connection(server.path)
                writer.write(source.randbytes(source.randrange(1, 400)))
                writer.write_eof()
                with contextlib.suppress(ConnectionError):
                    await reader.read()
                writer.close()
            request = control.TokenRequest(sequence=5, needs=[need(1)])
            good.write(encode_frame(control.Frame(request=request)))
            decoder, frames = FrameDecoder(), []
            async with asyncio.timeout(PATIENCE_S):
                while len(frames) < 2:
                    frames += decoder.feed(await good_reader.read(1 << 16))
            good.close()
            return frames

    state, grant = asyncio.run(run())
    assert state == control.Frame(store=control.TokenStore(up=False))
    assert grant == control.Frame(grant=control.TokenGrant(sequence=5, unavailable=True))


def test_the_store_is_asked_by_nobody_but_engines_of_this_user(tmp_path):
    async def run():
        async with TokenServer(tmp_path / "token.sock") as server:
            return server.path.stat().st_mode & 0o777, server.path.is_socket()

    assert asyncio.run(run()) == (0o600, True)
