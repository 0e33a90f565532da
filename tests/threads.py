"""Servers that serve beside a test, in a thread, and end with it."""

import contextlib
import socket
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


class Listener:
    """Takes connections to a port of 127.0.0.1 and hands each to a function, until it is closed."""

    def __init__(self, take):
        self._take = take
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                self._take(connection)

    def close(self):
        """End the thread first.

        A socket that is closed while a thread waits in accept(2) goes on listening; and where the process is
        stopped and goes on, the call begins anew, at whatever socket has the descriptor's number by then.
        """
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
