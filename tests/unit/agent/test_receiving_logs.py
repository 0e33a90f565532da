"""Log lines arrive by frames of the engine and go to files and over the network."""

import io
import json
import socket
import struct
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroserve_dataplane.agent.receiving_logs import LogReceiver, NetSink, read_frame
from zeroserve_ir._pb import resources_pb2 as pb


def frame(name, lines):
    return struct.pack("<IH", 2 + len(name) + len(lines), len(name)) + name + lines


def logger(path, **writer):
    writer = {"output": "file", "filename": str(path), **writer}
    return pb.Logger(output=pb.LOG_AGENT, sink=f"file:{path}", writer=json.dumps(writer))


@pytest.fixture
def receiver(tmp_path):
    found = LogReceiver(tmp_path / "log.sock")
    yield found
    found.close()


def send(receiver, *frames):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(receiver.path))
        connection.sendall(b"".join(frames))


def wait_for(holds):
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


def test_lines_go_to_the_sink_that_they_name(tmp_path, receiver):
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    receiver.set_loggers([logger(one), logger(two), pb.Logger(output=pb.LOG_STDOUT)])
    send(receiver, frame(f"file:{one}".encode(), b"a\n"), frame(f"file:{two}".encode(), b"b\n"))
    wait_for(lambda: one.read_bytes() == b"a\n" and two.read_bytes() == b"b\n")


def test_what_was_sent_before_the_end_is_written(tmp_path):
    for at in range(100):
        path = tmp_path / f"{at}.log"
        receiver = LogReceiver(tmp_path / f"{at}.sock")
        receiver.set_loggers([logger(path)])
        send(receiver, frame(f"file:{path}".encode(), b"a\n"))
        receiver.close()
        assert path.read_bytes() == b"a\n"


class ClosedOnceAccepted:
    """A listener that `close` gives up on just as a connection comes."""

    def __init__(self, receiver):
        self.receiver, self.listener = receiver, receiver._listener

    def accept(self):
        accepted = self.listener.accept()
        self.receiver._closing = True
        self.listener.close()
        return accepted

    def setblocking(self, blocks):
        self.listener.setblocking(blocks)

    def close(self):
        self.listener.close()


def test_a_listener_closed_meanwhile_ends_its_thread_in_silence(tmp_path, monkeypatch):
    raised = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    receiver = LogReceiver(tmp_path / "log.sock")
    receiver._listener = ClosedOnceAccepted(receiver)
    send(receiver)
    send(receiver)
    receiver._thread.join()
    receiver.close()
    assert not raised


def test_a_sink_of_no_configuration_gets_nothing(tmp_path, receiver):
    known = tmp_path / "known.log"
    receiver.set_loggers([logger(known)])
    send(receiver, frame(b"file:/etc/passwd", b"x\n"), frame(f"file:{known}".encode(), b"a\n"))
    wait_for(lambda: known.read_bytes() == b"a\n")


def test_a_configuration_keeps_the_sinks_of_the_one_before(tmp_path, receiver):
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    receiver.set_loggers([logger(one)])
    receiver.set_loggers([logger(two)])
    send(receiver, frame(f"file:{one}".encode(), b"late\n"))
    wait_for(lambda: one.read_bytes() == b"late\n")


def test_a_file_that_cannot_be_opened_costs_its_lines_alone(tmp_path, receiver, caplog):
    (tmp_path / "no").write_text("a file, no directory")
    bad, good = tmp_path / "no" / "x.log", tmp_path / "good.log"
    receiver.set_loggers([logger(bad), logger(good)])
    assert "lines for the log" in caplog.text
    send(receiver, frame(f"file:{bad}".encode(), b"a\n"), frame(f"file:{good}".encode(), b"b\n"))
    wait_for(lambda: good.read_bytes() == b"b\n")


@pytest.mark.parametrize("network", ["", "tcp/"])
def test_lines_go_over_a_connection(network):
    with socket.create_server(("127.0.0.1", 0)) as server:
        sink = NetSink({"address": f"{network}127.0.0.1:{server.getsockname()[1]}"})
        sink.write(b"a\nb\n")
        sink.close()
        connection, _ = server.accept()
        with connection:
            assert connection.recv(10) == b"a\nb\n"


def test_each_line_is_a_datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(60)
        sink = NetSink({"address": f"udp/127.0.0.1:{server.getsockname()[1]}"})
        sink.write(b"a\nb\n")
        sink.close()
        assert [server.recv(10), server.recv(10)] == [b"a\n", b"b\n"]


def test_lines_for_nobody_are_shown_on_standard_error(capfdbinary):
    sink = NetSink({"address": "127.0.0.1:1"})
    sink.write(b"a line\n")
    assert b"a line\n" in capfdbinary.readouterr().err


@given(st.binary(max_size=64))
def test_any_bytes_are_frames_or_the_end(content):
    stream = io.BytesIO(content)
    read = 0
    while found := read_frame(stream):
        read += 6 + len(found[1])
    assert read <= len(content)
