"""`layer4` with UDP over real sockets: sessions, balancing, access, bounds, changes under way.

Needs the engine's binary (`make setup`, or ZEROSERVE_ENGINE); without it these tests fail.
"""

import contextlib
import socket
import subprocess
import threading
import time
import urllib.request

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest
from ports import free_ports
from starting import ZEROSERVE, apart, serving, started

PATIENCE_S = 60
SILENCE_S = 0.5
"""How long nothing has to come where nothing may come: a wrong answer comes within a millisecond."""
DESCRIPTORS = 300
SESSIONS = (DESCRIPTORS - 128) * 20 // 100
"""limits.rs: DESCRIPTORS_RESERVED, DATAGRAM_SESSIONS_PERCENT."""
CADDYFILE = """\
{{
	auto_https off
	layer4 {{
		udp/127.0.0.1:{echo} {{
			route {{
				proxy udp/127.0.0.1:{first}
			}}
		}}
		udp/127.0.0.1:{balanced} {{
			route {{
				proxy udp/127.0.0.1:{first} udp/127.0.0.1:{second} {{
					lb_policy round_robin
				}}
			}}
		}}
		udp/127.0.0.1:{refusing} {{
			route {{
				proxy udp/127.0.0.1:{dead} udp/127.0.0.1:{second} {{
					lb_policy first
				}}
			}}
		}}
		udp/127.0.0.1:{guarded} {{
			@near remote_ip 127.0.0.1
			route @near {{
				proxy udp/127.0.0.1:{first}
			}}
		}}
	}}
}}

http://127.0.0.1:{ready} {{
	respond ready
}}
"""


class Answering(threading.Thread):
    """A UDP server that answers `NAME PORT DATA` to DATA from PORT, and twice where DATA says so."""

    def __init__(self, name):
        super().__init__(daemon=True)
        self.told = name
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.start()

    def run(self):
        while True:
            with contextlib.suppress(ConnectionError):
                data, address = self.socket.recvfrom(65536)
                if data == b"end":
                    return self.socket.close()
                for _ in range(2 if data == b"twice" else 1):
                    self.socket.sendto(f"{self.told} {address[1]} ".encode() + data, address)

    def end(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            control.sendto(b"end", ("127.0.0.1", self.port))
        self.join(PATIENCE_S)


class Client:
    """One client: its datagrams come from one port."""

    def __init__(self, port, source="127.0.0.1"):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", port))

    def send(self, data):
        self.socket.send(data)

    def hear(self, timeout_s=PATIENCE_S):
        """Return (server, its client's port, data)."""
        self.socket.settimeout(timeout_s)
        name, port, data = self.socket.recv(65536).split(b" ", 2)
        return name.decode(), int(port), data

    def ask(self, data):
        self.send(data)
        return self.hear()

    def is_left_alone(self):
        try:
            self.hear(SILENCE_S)
        except TimeoutError:
            return True
        return False

    def ask_until_answered(self, data):
        """Datagrams may be lost where an upstream is: asks again."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            self.send(data)
            with contextlib.suppress(TimeoutError):
                return self.hear(SILENCE_S)
        pytest.fail("no answer")


@pytest.fixture(scope="module")
def servers():
    found = {name: Answering(name) for name in ("first", "second")}
    yield found
    for server in found.values():
        server.end()


@pytest.fixture(scope="module", params=["io_uring", "epoll"])
def ports(request, tmp_path_factory, servers):
    folder = tmp_path_factory.mktemp("zeroserve")
    names = ("echo", "balanced", "refusing", "guarded", "dead", "ready", "metrics")
    found = dict(zip(names, free_ports(len(names)), strict=True))
    found |= {name: server.port for name, server in servers.items()}
    (folder / "Caddyfile").write_text(CADDYFILE.format(**found))
    options = ("--io", request.param, "--metrics-port", str(found["metrics"]))
    with serving(folder, found["ready"], options=options, environment=apart(folder)):
        yield found


def count(port, name):
    """Return the sum of a metric's series."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
        lines = answer.read().decode().splitlines()
    found = [line.rpartition(" ")[2] for line in lines if line.startswith((name + "{", name + " "))]
    assert found, name
    return sum(map(float, found))


@pytest.mark.parametrize("size", [0, 1, 1400, 60_000])
def test_datagrams_pass_both_ways_whole(ports, size):
    data = b"x" * size
    assert Client(ports["echo"]).ask(data)[2] == data


def test_every_client_gets_its_own_answers(ports):
    clients = [Client(ports["echo"]) for _ in range(50)]
    for number, client in enumerate(clients):
        client.send(b"%d" % number)
    heard = [client.hear() for client in clients]
    assert [data for _, _, data in heard] == [b"%d" % number for number in range(50)]
    assert len({port for _, port, _ in heard}) == len(clients)


def test_a_client_keeps_its_upstream_and_an_upstream_may_answer_more_than_once(ports):
    client = Client(ports["balanced"])
    client.send(b"twice")
    heard = {client.hear()[:2] for _ in range(2)}
    heard |= {client.ask(b"again")[:2] for _ in range(10)}
    assert len(heard) == 1


def test_clients_are_balanced(ports):
    heard = [Client(ports["balanced"]).ask(b"")[0] for _ in range(10)]
    assert (heard.count("first"), heard.count("second")) == (5, 5)


def test_an_upstream_that_refuses_is_left_for_another(ports):
    assert Client(ports["refusing"]).ask_until_answered(b"anybody")[0] == "second"


def test_only_clients_that_a_route_takes_are_answered(ports):
    before = count(ports["metrics"], "zeroserve_engine_refused_total")
    stranger = Client(ports["guarded"], source="127.0.0.2")
    stranger.send(b"let me in")
    assert Client(ports["guarded"]).ask(b"a friend")[2] == b"a friend"
    assert stranger.is_left_alone()
    assert count(ports["metrics"], "zeroserve_engine_refused_total") > before


def test_what_passes_is_counted(ports):
    names = ["datagram_sessions_total", "datagrams_total", "downstream_bytes_sent_total"]
    before = [count(ports["metrics"], f"zeroserve_engine_{name}") for name in names]
    Client(ports["echo"]).ask(b"x" * 1000)
    deadline = time.monotonic() + PATIENCE_S
    # The client has its answer a moment before that is counted.
    while count(ports["metrics"], "zeroserve_engine_downstream_bytes_sent_total") < before[2] + 1000:
        assert time.monotonic() < deadline
    after = [count(ports["metrics"], f"zeroserve_engine_{name}") for name in names]
    assert after[0] == before[0] + 1
    # From the client, to the upstream, to the client.
    assert after[1] == before[1] + 3
    assert after[2] >= before[2] + 1000
    assert count(ports["metrics"], "zeroserve_engine_datagram_sessions_open") >= 1


@contextlib.contextmanager
def node(folder, layer4, *, options=(), limit=()):
    """Serve one server of layer4; yields a way to change it, by the command `zeroserve`."""
    (ready,) = free_ports(1)
    admin = folder / "admin.sock"

    def write(server):
        text = f"{{\n\tlayer4 {{\n\t\t{server}\n\t}}\n}}\n\nhttp://127.0.0.1:{ready} {{\n}}\n"
        (folder / "Caddyfile").write_text(text)

    def change(*arguments):
        command = [ZEROSERVE, *arguments, "--admin", admin]
        subprocess.run(command, cwd=folder, check=True, timeout=PATIENCE_S, env=apart(folder))

    write(layer4)
    command = [
        *limit,
        ZEROSERVE,
        "run",
        "--config",
        "Caddyfile",
        "--admin",
        admin,
        "--workers",
        "1",
        *options,
    ]
    with started(command, folder, ready, admin, environment=apart(folder)):
        yield write, change


def proxy(port, upstream, more=""):
    return f"udp/127.0.0.1:{port} {{\n{more}\nroute {{\nproxy udp/127.0.0.1:{upstream}\n}}\n}}"


def test_silent_clients_are_forgotten(tmp_path, servers):
    port, metrics = free_ports(2)
    layer4 = proxy(port, servers["first"].port, "idle_timeout 1s")
    with node(tmp_path, layer4, options=("--metrics-port", str(metrics))):
        client = Client(port)
        client.ask(b"")
        deadline = time.monotonic() + PATIENCE_S
        while count(metrics, "zeroserve_engine_datagram_sessions_open"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        # Where its session ends before the answer comes, that is lost.
        assert client.ask_until_answered(b"still")[2] == b"still"


def test_the_bound_of_sessions_holds_and_known_clients_go_on(tmp_path, servers):
    port, metrics = free_ports(2)
    options = ("--metrics-port", str(metrics))
    limit = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    with node(tmp_path, proxy(port, servers["first"].port), options=options, limit=limit):
        clients = [Client(port) for _ in range(SESSIONS + 20)]
        for client in clients[:SESSIONS]:
            client.ask(b"")
        for client in clients[SESSIONS:]:
            client.send(b"")
        for client in clients[:SESSIONS]:
            assert client.ask(b"known")[2] == b"known"
        assert all(client.is_left_alone() for client in clients[-2:])
        assert count(metrics, "zeroserve_engine_datagram_sessions_open") == SESSIONS


def test_a_new_configuration_keeps_sessions_moves_them_or_ends_them(tmp_path, servers):
    port, other = free_ports(2)
    with node(tmp_path, proxy(port, servers["first"].port)) as (write, change):
        client = Client(port)
        before = client.ask(b"before")
        write(proxy(port, servers["first"].port) + "\n" + proxy(other, servers["second"].port))
        change("reload")
        assert client.ask(b"after")[:2] == before[:2]
        write(proxy(port, servers["second"].port))
        change("reload")
        deadline = time.monotonic() + PATIENCE_S
        while client.ask_until_answered(b"moved")[0] != "second":
            assert time.monotonic() < deadline
        closed = proxy(port, servers["second"].port, "@no remote_ip 192.0.2.1").replace("route", "route @no")
        write(closed)
        change("reload")
        while not closed_to(client):
            assert time.monotonic() < deadline


def closed_to(client):
    client.send(b"still there?")
    return client.is_left_alone()


def test_a_replaced_engine_leaves_its_sockets_to_the_next(tmp_path, servers):
    (port,) = free_ports(1)
    with node(tmp_path, proxy(port, servers["first"].port)) as (_, change):
        client = Client(port)
        client.ask(b"before")
        for number in range(3):
            change("upgrade")
            # Nothing is lost: the socket that both engines have keeps what comes between.
            assert client.ask(b"%d" % number)[2] == b"%d" % number


def test_dns_passes(tmp_path):
    """Names are asked as resolvers ask: a query's answer has its id, and its question."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def answer():
        for _ in range(20):
            wire, address = server.recvfrom(65536)
            reply = dns.message.make_response(query := dns.message.from_wire(wire))
            name = query.question[0].name
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.7"))
            server.sendto(reply.to_wire(), address)

    threading.Thread(target=answer, daemon=True).start()
    (port,) = free_ports(1)
    with node(tmp_path, proxy(port, server.getsockname()[1])):
        for number in range(20):
            query = dns.message.make_query(f"host{number}.example", "A")
            reply = dns.query.udp(query, "127.0.0.1", port=port, timeout=PATIENCE_S)
            assert reply.answer[0][0].address == "192.0.2.7"
    server.close()
