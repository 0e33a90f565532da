"""Stock Caddy and `zeroserve run`, each serving cases from one Caddyfile."""

import contextlib

from ports import free_ports
from starting import STOCK_CADDY, apart, ours, started
from tables import CASES, case_names

HEAD = "{\n\tadmin off\n\tauto_https off\n}\n"


class Server:
    """A server of all cases; `port(case, tls)` is where a case answers.

    `head` is the file's beginning; `{$CASE}` in it is that case's plain port.
    """

    def __init__(self, name, folder, variables, *, head=HEAD, names=None):
        self.name = name
        self.folder = folder
        names = names or case_names()
        ports = free_ports(2 * len(names))
        self.ports = dict(zip(names, zip(ports[::2], ports[1::2], strict=True), strict=True))
        for case, (plain, _) in self.ports.items():
            head = head.replace(f"{{${case}}}", str(plain))
        texts = [head]
        for case, (plain, tls) in self.ports.items():
            text = (CASES / f"{case}.caddyfile").read_text()
            for variable, value in {**variables, "PORT": plain, "TLS_PORT": tls}.items():
                text = text.replace(f"{{${variable}}}", str(value))
            texts.append(text)
        (folder / "Caddyfile").write_text("\n".join(texts))
        self.environment = apart(
            folder,
            ZEROSERVE_TEST_WORD="a {method} b",
            ZEROSERVE_TEST_PORT=str(variables["ONE"]),
            ZEROSERVE_TEST_USER="alice",
            ZEROSERVE_TEST_HASH=variables["HASH"],
        )

    def port(self, case, tls):
        return self.ports[case][tls]


@contextlib.contextmanager
def serving(tmp_path_factory, variables, **options):
    """Start both servers, stock Caddy and ours, with the options of `Server`; end them."""
    servers = []
    with contextlib.ExitStack() as stack:
        for name, command in (("caddy", STOCK_CADDY), ("zeroserve", ours())):
            server = Server(name, tmp_path_factory.mktemp(name), variables, **options)
            # Not all cases have a site at their second port.
            text = (server.folder / "Caddyfile").read_text()
            ports = [port for pair in server.ports.values() for port in pair if f":{port}" in text]
            stack.enter_context(started(command, server.folder, *ports, environment=server.environment))
            servers.append(server)
        yield servers
