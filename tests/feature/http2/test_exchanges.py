"""Requests over HTTP/2 whole: bodies, gRPC with trailers, WebSocket by extended CONNECT."""

import threading

import grpc
import pytest
from framing import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    RST_STREAM,
    WHOLE,
    WINDOW_UPDATE,
    Client,
    block,
    frame,
    get,
    post,
)


def read_body(client: Client, stream: int) -> bytes:
    body = b""
    while True:
        flags, payload = client.read_until(DATA, stream)
        body += payload
        if flags & END_STREAM:
            return body


@pytest.mark.parametrize("fields", [{}, {"content_length": "300000"}])
def test_a_body_goes_up_and_comes_back_through_windows(site, fields: dict[str, str]) -> None:
    client, body = Client(site.port), bytes(range(250)) * 1200
    client.send(frame(HEADERS, END_HEADERS, 1, post("/echo", **fields)))
    client.send(frame(WINDOW_UPDATE, 0, 0, b"\1\0\0\0"), frame(WINDOW_UPDATE, 0, 1, b"\1\0\0\0"))
    window, at = 65_535, 0
    while at < len(body):
        size = min(16_384, window, len(body) - at)
        if size:
            end = END_STREAM if at + size == len(body) else 0
            client.send(frame(DATA, end, 1, body[at : at + size]))
            at, window = at + size, window - size
        else:
            window += int.from_bytes(client.read_until(WINDOW_UPDATE, 1)[1])
    assert read_body(client, 1) == body


def test_a_body_that_is_longer_than_announced_never_reaches_the_backend_whole(site) -> None:
    client, before = Client(site.port), site.backend.requests
    client.send(frame(HEADERS, END_HEADERS, 1, post("/echo", content_length="3")))
    client.send(frame(DATA, 0, 1, b"abc"), frame(DATA, END_STREAM, 1, b"GET / HTTP/1.1\r\n\r\n"))
    assert client.read_until(RST_STREAM, 1)[1] == b"\0\0\0\1"
    client.send(frame(HEADERS, WHOLE, 3, get("/size/2")))
    assert read_body(client, 3) == b"xx"
    assert site.backend.requests - before <= 2


def test_many_streams_of_one_connection_are_all_answered(site) -> None:
    client = Client(site.port)
    client.send(frame(WINDOW_UPDATE, 0, 0, b"\1\0\0\0"))
    client.send(*(frame(HEADERS, WHOLE, 2 * n + 1, get(f"/size/{1000 + n}")) for n in range(100)))
    sizes: dict[int, int] = {}
    ended = 0
    while ended < 100 and (found := client.read()):
        if found[0] == DATA:
            sizes[found[2]] = sizes.get(found[2], 0) + len(found[3])
            ended += found[1] & END_STREAM
    assert sizes == {2 * n + 1: 1000 + n for n in range(100)}


def test_websocket_by_extended_connect(site) -> None:
    client = Client(site.port)
    fields = block(
        method="CONNECT", scheme="https", path="/chat", authority="localhost", protocol="websocket"
    )
    client.send(frame(HEADERS, END_HEADERS, 1, fields + block(sec_websocket_version="13")))
    assert client.read_until(HEADERS, 1)[1][:1] == b"\x88", "status 200"
    for text in (b"one", b"two"):
        client.send(frame(DATA, 0, 1, text))
        assert client.read_until(DATA, 1)[1] == text
    client.send(frame(DATA, END_STREAM, 1))
    assert client.read_until(DATA, 1) == (END_STREAM, b"")


def test_grpc_unary_with_trailers(channel: grpc.Channel) -> None:
    call = channel.unary_unary("/grpc.Test/Unary")
    for size in (3, 100_000, 3):
        answer, made = call.with_call(b"abc" * size, timeout=60)
        assert answer == b"cba" * size
        assert ("x-trailer", "yes") in tuple((pair.key, pair.value) for pair in made.trailing_metadata())


def test_grpc_errors_come_in_trailers(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary("/grpc.Test/Unary")(b"fail", timeout=60)
    assert raised.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert raised.value.details() == "asked to fail"


def test_grpc_streams_both_ways_as_messages_come(channel: grpc.Channel) -> None:
    answers: list[bytes] = []

    seen = threading.Semaphore(0)

    def paced():
        for number in range(20):
            yield f"message {number}".encode()
            assert seen.acquire(timeout=60)

    stream = channel.stream_stream("/grpc.Test/Both")(paced(), timeout=60)
    for answer in stream:
        answers.append(answer)
        seen.release()
    assert answers == [f"MESSAGE {number}".encode() for number in range(20)]


def test_grpc_streams_from_the_server_whole(channel: grpc.Channel) -> None:
    numbers = channel.unary_stream("/grpc.Test/Count")(b"3000", timeout=60)
    assert list(numbers) == [str(number).encode() for number in range(3000)]


def test_grpc_messages_of_megabytes_pass_both_ways(channel: grpc.Channel) -> None:
    message = bytes(range(256)) * (8 << 12)
    assert channel.unary_unary("/grpc.Test/Unary")(message, timeout=60) == message[::-1]


def test_grpc_calls_of_many_streams_share_one_connection_to_the_backend(channel: grpc.Channel) -> None:
    peer = channel.unary_unary("/grpc.Test/Peer")
    calls = [peer.future(b"", timeout=60) for _ in range(100)]
    assert len({call.result() for call in calls}) == 1


def test_a_cancelled_grpc_call_ends_at_its_backend_and_the_others_go_on(channel, cancelled) -> None:
    stream = channel.unary_stream("/grpc.Test/Wait")
    left, stays = stream(b"", timeout=60), stream(b"", timeout=60)
    assert (next(left), next(stays)) == (b"begun", b"begun")
    left.cancel()
    assert cancelled.acquire(timeout=60)
    assert channel.unary_unary("/grpc.Test/Unary")(b"abc", timeout=60) == b"cba"
    assert stays.is_active()
    stays.cancel()
    assert cancelled.acquire(timeout=60)


def test_a_grpc_deadline_ends_the_call_at_its_backend(channel, cancelled) -> None:
    # The deadline is the call's alone: the connection is there before.
    assert channel.unary_unary("/grpc.Test/Unary")(b"abc", timeout=60) == b"cba"
    with pytest.raises(grpc.RpcError) as raised:
        list(channel.unary_stream("/grpc.Test/Wait")(b"", timeout=2))
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert cancelled.acquire(timeout=60)
