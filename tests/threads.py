"""Servers of the standard library that serve beside a test, in a thread, and end with it."""

import contextlib
import threading

POLL_S = 0.05


@contextlib.contextmanager
def served(server):
    """Serve, and yield the server; it is closed after the last request of it ended."""
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(POLL_S,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
