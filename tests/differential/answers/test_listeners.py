"""Options of `servers` about connections, as stock Caddy has them: PROXY headers, redirects, sizes."""

import socket
import ssl

import pytest
from asking import Answer, read_answer
from ports import free_ports
from starting import side_by_side

NAMES = ("allowed", "denied", "required", "ignored", "skipped", "redirected", "secured", "small", "plain")
TEXT = """{
	admin off
	auto_https off
	servers :{$allowed} {
		listener_wrappers {
			proxy_protocol {
				allow 127.0.0.0/8
			}
			tls
		}
	}
	servers :{$denied} {
		listener_wrappers {
			proxy_protocol {
				allow 127.0.0.0/8
				deny 127.0.0.1/32
				fallback_policy use
			}
		}
	}
	servers :{$required} {
		listener_wrappers {
			proxy_protocol {
				timeout 20s
				fallback_policy require
			}
		}
		trusted_proxies static 192.0.2.0/24
	}
	servers :{$ignored} {
		listener_wrappers {
			proxy_protocol
		}
	}
	servers :{$skipped} {
		listener_wrappers {
			proxy_protocol {
				fallback_policy skip
			}
		}
	}
	servers :{$redirected} {
		listener_wrappers {
			http_redirect
		}
	}
	servers :{$secured} {
		listener_wrappers {
			proxy_protocol {
				allow 127.0.0.0/8
			}
			http_redirect
			tls
		}
	}
	servers :{$small} {
		max_header_size 1000
		enable_full_duplex
		keepalive_interval 30s
		timeouts {
			read_body 1h
			read_header 1h
			write 1h
			idle 1h
		}
	}
}
(answer) {
	respond "{remote_host} {http.request.local.port} {client_ip} {scheme}"
}
http://:{$allowed}, http://:{$denied}, http://:{$required}, http://:{$ignored}, http://:{$skipped} {
	import answer
}
http://:{$redirected}, http://:{$small}, http://:{$plain} {
	import answer
}
https://a.example:{$secured} {
	tls {$CERTIFICATE} {$KEY}
	import answer
}
"""
REQUEST = (
    b"GET /a?b=%20 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"
)
V1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes((192, 0, 2, 1, 192, 0, 2, 2, 4, 87, 8, 174))
PAYLOADS = {
    "nothing before it": REQUEST,
    "a header of version 1": V1 + REQUEST,
    "a header of version 2": V2 + REQUEST,
    "a header of version 1 for IPv6": b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n" + REQUEST,
    "a header without addresses": b"PROXY UNKNOWN\r\n" + REQUEST,
    "a header for a client of HTTP/3": V2[:13] + b"\x12" + V2[14:] + REQUEST,
    "a header with a certificate": V2[:14] + b"\x0f\xcc" + V2[16:] + b"\x04\x0f\xbd" + bytes(0xFBD) + REQUEST,
    "a header of the proxy itself": V2[:12] + b"\x20\0\0\0" + REQUEST,
    "a malformed header": b"PROXY TCP4 192.0.2.1\r\n" + REQUEST,
    "a method that begins as a header does": REQUEST.replace(b"GET", b"PATCH"),
    "another method": REQUEST.replace(b"GET", b"POST"),
    "a long head": REQUEST.replace(b"X-", b"X-Long: " + b"a" * 6000 + b"\r\nX-"),
    "a head of nearly the size": REQUEST.replace(b"X-", b"X-Long: " + b"a" * 4500 + b"\r\nX-"),
}


@pytest.fixture(scope="module")
def listening(tmp_path_factory, variables):
    """Return (stock Caddy's ports, ours)."""

    def make_values(_):
        return dict(zip(NAMES, free_ports(len(NAMES)), strict=True)) | variables

    with side_by_side(tmp_path_factory, TEXT, make_values, NAMES) as found:
        yield found


def exchange(port, before, payload, sni=None):
    """Send bytes, the rest of them inside TLS; returns what comes back up to an end or a whole answer."""
    data = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        plain.sendall(before)
        try:
            connection = plain
            if sni is not None:
                connection = ssl._create_unverified_context().wrap_socket(plain, server_hostname=sni)
            connection.sendall(payload)
            # Caddy leaves a connection open after its redirect.
            while not data.endswith(b"Content-Length: 0\r\n\r\n") and (part := connection.recv(65536)):
                data += part
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
            pass
    return data


def ask(ports, name, before, payload, sni=None):
    data = exchange(ports[name], before, payload, sni)
    answer = read_answer(data, payload) if data else Answer(0)
    # Each has ports of its own.
    lines = answer.lines()
    return [line.replace(str(ports[name]), "PORT") for line in lines]


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
@pytest.mark.parametrize("name", [name for name in NAMES if name != "secured"])
def test_a_connection_that_begins_with(listening, name, payload):
    caddy, ours = (ask(ports, name, b"", payload) for ports in listening)
    assert ours == caddy


@pytest.mark.parametrize(
    ("before", "sni"),
    [(b"", None), (V1, None), (b"", "a.example"), (V1, "a.example"), (V2, "a.example")],
    ids=["plain", "header then plain", "TLS", "header of version 1", "header of version 2"],
)
def test_in_front_of_tls(listening, before, sni):
    caddy, ours = (ask(ports, "secured", before, REQUEST, sni) for ports in listening)
    assert ours == caddy
