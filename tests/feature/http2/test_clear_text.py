"""HTTP/2 without TLS (h2c, prior knowledge): where `servers { protocols … h2c }` asks for it alone."""

import http.client
import socket

import grpc
import pytest

TIMEOUT_S = 60
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"


def call(port, request):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        unary = channel.unary_unary("/grpc.Test/Unary")
        return unary.with_call(request, timeout=TIMEOUT_S)


def test_grpc_goes_through_with_its_trailers(site):
    answer, done = call(site.clear, b"abc")
    assert answer == b"cba"
    assert ("x-trailer", "yes") in done.trailing_metadata()


def test_an_error_of_grpc_goes_through(site):
    with pytest.raises(grpc.RpcError) as caught:
        call(site.clear, b"fail")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_a_preface_may_come_a_byte_at_a_time(site):
    with socket.create_connection(("127.0.0.1", site.clear), timeout=TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in PREFACE + SETTINGS:
            connection.sendall(bytes([byte]))
        # The server's own SETTINGS come first (RFC 9113 3.4).
        assert connection.recv(9)[3:4] == b"\x04"


def test_http1_goes_on_beside_it(site):
    connection = http.client.HTTPConnection("127.0.0.1", site.clear, timeout=TIMEOUT_S)
    for method in ("POST", "PUT", "PRI"):
        connection.request(method, "/", b"hello")
        assert connection.getresponse().read() == b"hello"


def test_a_port_that_nobody_asked_it_for_refuses(site):
    with socket.create_connection(("127.0.0.1", site.closed), timeout=TIMEOUT_S) as connection:
        connection.sendall(PREFACE + SETTINGS)
        assert connection.recv(9) == b"HTTP/1.1 "
