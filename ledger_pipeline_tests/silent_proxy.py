"""A TCP proxy in front of a test's Postgres that can go silent: open connections, nothing that passes any more."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import make_url


class SilentProxy:
    """Passes bytes both ways until it goes silent; from then on it accepts, reads, and drops everything."""

    def __init__(self, url: str) -> None:
        self._upstream = f"{make_url(url).query['host']}/.s.PGSQL.{make_url(url).port or 5432}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        there = make_url(url).set(host="127.0.0.1", port=port).difference_update_query(["host"])
        self.url = there.render_as_string(hide_password=False)
        self._silent = threading.Event()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def go_silent(self) -> None:
        """From now on nobody hears anything."""
        self._silent.set()

    def close(self) -> None:
        """End the proxy and all that runs through it."""
        for sock in (self._listener, *self._sockets):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._upstream)
                self._sockets += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):  # closed
            while data := source.recv(65536):
                if not self._silent.is_set():
                    target.sendall(data)
            if not self._silent.is_set():
                target.shutdown(socket.SHUT_WR)


@contextmanager
def silent_proxy(url: str) -> Iterator[SilentProxy]:
    """A proxy in front of the database at `url`, which must name a Unix socket's folder."""
    proxy = SilentProxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
