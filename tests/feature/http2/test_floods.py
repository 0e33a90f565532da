"""Floods of every frame kind: each ends within 2,000 frames, and a client beside it is served."""

import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from framing import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WHOLE,
    WINDOW_UPDATE,
    Client,
    frame,
    get,
    post,
)
from sizing import memory_kib

STREAM_CLOSED, ENHANCE_YOUR_CALM = 5, 11
FRAMES_MAX = 2_000
# Streams that were taken up before the end, and requests that a backend saw of them.
STREAMS_MAX, BACKEND_REQUESTS_MAX = 400, 100


def rapid_reset(n: int) -> bytes:
    stream = 2 * n + 1
    return frame(HEADERS, WHOLE, stream, get("/size/1")) + frame(RST_STREAM, 0, stream, b"\0\0\0\x08")


def made_reset_by_window(n: int) -> bytes:
    stream = 2 * n + 1
    return frame(HEADERS, WHOLE, stream, get("/size/9")) + frame(WINDOW_UPDATE, 0, stream, b"\0\0\0\0")


def made_reset_by_overflow(n: int) -> bytes:
    stream = 2 * n + 1
    head = frame(HEADERS, WHOLE, stream, get("/size/9"))
    return head + frame(WINDOW_UPDATE, 0, stream, b"\x7f\xff\xff\xff")


def made_reset_by_priority(n: int) -> bytes:
    stream = 2 * n + 1
    head = frame(HEADERS, WHOLE, stream, get("/size/9"))
    return head + frame(PRIORITY, 0, stream, stream.to_bytes(4) + b"\0")


def made_reset_by_data(n: int) -> bytes:
    stream = 2 * n + 1
    return frame(HEADERS, WHOLE, stream, get("/size/9")) + frame(DATA, 0, stream, b"x")


def continuation(n: int) -> bytes:
    return frame(CONTINUATION, 0, 1) if n else frame(HEADERS, END_STREAM, 1, b"")


def padding_alone(n: int) -> bytes:
    return (
        frame(DATA, PADDED, 1, b"\xff" + bytes(255)) if n else frame(HEADERS, END_HEADERS, 1, post("/echo"))
    )


def empty_data(n: int) -> bytes:
    head = post("/echo")
    return frame(DATA, 0, 1) if n else frame(HEADERS, END_HEADERS, 1, head)


FLOODS: dict[str, Callable[[int], bytes]] = {
    "rapid reset": rapid_reset,
    "made you reset: window of 0": made_reset_by_window,
    "made you reset: window overflow": made_reset_by_overflow,
    "made you reset: own priority": made_reset_by_priority,
    "made you reset: DATA after the end": made_reset_by_data,
    "SETTINGS": lambda _: frame(SETTINGS, 0, 0, b"\0\4\0\0\xff\xff"),
    "PING": lambda _: frame(PING, 0, 0, b"12345678"),
    "answers to no SETTINGS": lambda _: frame(SETTINGS, ACK, 0),
    "answers to no PING": lambda _: frame(PING, ACK, 0, b"12345678"),
    "PRIORITY": lambda n: frame(PRIORITY, 0, 2 * n + 1, b"\0\0\0\0\0"),
    "WINDOW_UPDATE": lambda _: frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
    "empty CONTINUATION": continuation,
    "empty DATA": empty_data,
    "DATA of padding alone": padding_alone,
    "unknown frames": lambda _: frame(77, 0, 0),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_ended_and_a_neighbour_served(site, name: str) -> None:
    before, neighbour, client = site.backend.requests, Client(site.port), Client(site.port)
    flood = FLOODS[name]
    for number in range(FRAMES_MAX):
        if not client.send(flood(number)):
            break
    goaways = []
    while found := client.read():
        goaways += [struct.unpack(">II", found[3][:8])] if found[0] == GOAWAY else []
    # DATA after an answer that is complete is an error of its own. A reset may overtake GOAWAY.
    assert {code for _, code in goaways} <= {ENHANCE_YOUR_CALM, STREAM_CLOSED}
    assert all(last < 2 * STREAMS_MAX for last, _ in goaways)
    assert not client.send(b"\0" * 100_000) or client.read() is None
    assert site.backend.requests - before <= BACKEND_REQUESTS_MAX
    neighbour.send(frame(HEADERS, WHOLE, 1, get("/static")))
    assert neighbour.read_until(DATA, 1)[1] == b"hello"


def test_a_header_bomb_costs_no_memory(site) -> None:
    client = Client(site.port)
    bomb = b"\x40\x01x\x7f\xa1\x1e" + b"v" * 4_000
    before = memory_kib(site.session)
    client.send(frame(HEADERS, WHOLE, 1, get("/static") + bomb + b"\xbe" * 12_000))
    flags, head = client.read_until(HEADERS, 1)
    assert b"431" in head and flags & END_STREAM
    for stream in range(3, 63, 2):
        client.send(frame(HEADERS, WHOLE, stream, get("/static") + b"\xbe" * 12_000))
    client.read_until(HEADERS, 61)
    assert memory_kib(site.session) - before < 16 << 10


def test_stalled_windows_hold_little_and_others_go_on(site) -> None:
    """1,000 streams on 10 connections, window 0, 128 KiB each."""
    before = memory_kib(site.session)
    clients = [Client(site.port, b"\0\4\0\0\0\0") for _ in range(10)]
    for client in clients:
        client.send(*(frame(HEADERS, WHOLE, 2 * n + 1, get("/size/131072")) for n in range(100)))
    deadline = time.monotonic() + 120
    for client in clients:
        for _ in range(100):
            while (found := client.read()) and found[0] != HEADERS:
                assert time.monotonic() < deadline
    assert memory_kib(site.session) - before <= 33 << 10
    neighbour = Client(site.port)
    neighbour.send(frame(HEADERS, WHOLE, 1, get("/static")))
    assert neighbour.read_until(DATA, 1)[1] == b"hello"
    # The windows open: every byte comes.
    client = clients[0]
    client.send(frame(SETTINGS, 0, 0, b"\0\4\0\2\0\0"), frame(WINDOW_UPDATE, 0, 0, b"\1\0\0\0"))
    got = 0
    while got < 100 * 131072 and (found := client.read()):
        got += len(found[3]) if found[0] == DATA else 0
    assert got == 100 * 131072


def test_h2spec_passes_whole(site) -> None:
    """Every case of h2spec, on an answer of our own and on a proxied one."""
    h2spec = Path(__file__).parents[3] / ".make/bin/h2spec"
    for path in ("/static", "/size/5"):
        command = [str(h2spec), "-h", "127.0.0.1", "-p", str(site.port), "-t", "-k", "-P", path]
        run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert " 0 failed" in run.stdout and "145 passed" in run.stdout, run.stdout[-6000:]
