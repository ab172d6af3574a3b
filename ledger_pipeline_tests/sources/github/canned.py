"""A server that answers whatever it is told, byte for byte: what no well-behaved GitHub would send."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Asked(BaseHTTPRequestHandler):
    """One request; its body has been read."""

    asked: bytes


Headers = Sequence[tuple[str, str]]
Respond = Callable[[Asked], None]


def canned(status: int, headers: Headers, body: bytes) -> Respond:
    """One whole answer; it says how long it is."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response_only(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return respond


@contextmanager
def serving(next_answer: Callable[[], Respond]) -> Iterator[str]:
    """A server on this machine; yields its address. Each request gets `next_answer()`."""

    class Handler(Asked):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.asked = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                next_answer()(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client has had enough

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Clients hang up on what they will not read."""

    with Server(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
