"""Serves the manifests beside this file on loopback, with two demo backends of its own (`make serve`).

Argument: the echo binary (tools/echo). Prints the URLs and a curl line once the site answers; the manifests
may be edited meanwhile. Ctrl-C ends everything it started.
"""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
HTTP_PORT = int(os.environ.get("HTTP_PORT", "8080"))
HTTPS_PORT = int(os.environ.get("HTTPS_PORT", "8443"))
BACKENDS = {"storefront": 18081, "catalogue": 18082}
HOST = "shop.localhost"
ENDING = (signal.SIGINT, signal.SIGTERM)
READY_SECONDS_MAX = 60


def main(echo: str) -> int:
    """Start the backends and the server, tell how to reach it, and wait."""
    for port in (HTTP_PORT, HTTPS_PORT, *BACKENDS.values()):
        if is_taken(port):
            print(f"port {port} of 127.0.0.1 is taken; {cure(port)}", file=sys.stderr)
            return 1
    for number in ENDING:
        signal.signal(number, end)
    children: list[subprocess.Popen[bytes]] = []
    try:
        for name, port in BACKENDS.items():
            children.append(start_backend(echo, name, port))
        server = start_server()
        children.append(server)
        began = time.monotonic()
        print("==> waiting for the first answer", flush=True)
        while not answers():
            if server.poll() is not None or time.monotonic() - began > READY_SECONDS_MAX:
                print("the server did not come up; its messages are above", file=sys.stderr)
                return 1
            time.sleep(0.02)
        tell(time.monotonic() - began)
        return server.wait()
    except KeyboardInterrupt:
        print("\n==> stopping", flush=True)
        return 0
    finally:
        stop(children)


def end(*_: object) -> None:
    """Leave by the first signal; another (`timeout` sends two) does not interrupt the cleaning up."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def cure(port: int) -> str:
    """Return what helps where a port is taken: the manifests name those of the backends."""
    if port in BACKENDS.values():
        return "free it: it is a demo backend's, named in examples/quickstart/manifests"
    variable = "HTTP_PORT" if port == HTTP_PORT else "HTTPS_PORT"
    return f"free it, or choose another: make serve {variable}={port + 10_000}"


def start_backend(echo: str, name: str, port: int) -> subprocess.Popen[bytes]:
    """Start one demo backend; it says its name in every answer."""
    command = [echo, "-listen", f"127.0.0.1:{port}", "-name", name, "-drain", "0s"]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


def start_server() -> subprocess.Popen[bytes]:
    """Start `zeroserve dev` on the manifests."""
    zeroserve = Path(sys.executable).with_name("zeroserve")
    ports = ["--http-port", str(HTTP_PORT), "--https-port", str(HTTPS_PORT)]
    command = [str(zeroserve), "dev", str(HERE / "manifests"), "--bind", "127.0.0.1", *ports]
    return subprocess.Popen(command, start_new_session=True)


def is_taken(port: int) -> bool:
    """Tell whether something listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers() -> bool:
    """Tell whether the site answers over HTTPS with the certificate of the manifests."""
    context = ssl.create_default_context(cafile=str(HERE / "ca.pem"))
    request = f"GET / HTTP/1.1\r\nHost: {HOST}:{HTTPS_PORT}\r\nConnection: close\r\n\r\n"
    try:
        with (
            socket.create_connection(("127.0.0.1", HTTPS_PORT), timeout=1) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as secure,
        ):
            secure.sendall(request.encode())
            return secure.recv(64).startswith(b"HTTP/1.1 200")
    except (OSError, ssl.SSLError):
        return False


def tell(seconds: float) -> None:
    """Print where the site is and how to ask it."""
    ca = os.path.relpath(HERE / "ca.pem")
    resolve = f"--resolve {HOST}:{HTTPS_PORT}:127.0.0.1"
    print(
        f"\n==> serving after {seconds:.1f} s; changes of {os.path.relpath(HERE)}/manifests are served\n"
        f"    https://{HOST}:{HTTPS_PORT}/          to storefront\n"
        f"    https://{HOST}:{HTTPS_PORT}/api/...   to catalogue\n"
        f"    http://{HOST}:{HTTP_PORT}/            308 to HTTPS\n\n"
        f"    curl --cacert {ca} {resolve} https://{HOST}:{HTTPS_PORT}/api/items\n\n"
        "    Ctrl-C stops it",
        flush=True,
    )


def stop(children: list[subprocess.Popen[bytes]]) -> None:
    """End the children, the last started first."""
    for child in reversed(children):
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    if len(sys.argv) != 2 or shutil.which(sys.argv[1]) is None:
        sys.exit("usage: serve.py ECHO_BINARY")
    sys.exit(main(sys.argv[1]))
