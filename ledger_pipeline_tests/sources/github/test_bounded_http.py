"""An answer of any size, shape or slowness ends within bounds of memory and time, and says what was wrong."""

import gzip
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate

import pytest

from ledger_pipeline.core.errors import SourceUnavailable
from ledger_pipeline.sources.github.answer import QueryTooHeavyError
from ledger_pipeline.sources.github.bounded_http import MAX_ANSWER_BYTES, MAX_DETOURS
from ledger_pipeline_tests.sources.github.patient_client import ask, client

REPOSITORY = "cogni-dao/ledger"
TIMEOUT_SECONDS = 1
# A machine that is busy is late, but never as late as an answer that goes on for ever.
LATEST_SECONDS = 10

Answer = Callable[[socket.socket], None]


@contextmanager
def server(answer: Answer) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives every request to `answer`, which writes what it likes; its URL and the requests it got."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(connection: socket.socket) -> None:
            with connection:
                try:
                    while request := connection.recv(65536):
                        if request.startswith(b"POST"):  # else the body of the one before
                            requests.append(request)
                            answer(connection)
                except OSError:
                    pass  # the client hung up, as it should

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
        listener.shutdown(socket.SHUT_RDWR)


def head(*headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Date: {formatdate(usegmt=True)}", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def drip(connection: socket.socket, drops: Iterator[bytes]) -> None:
    """One drop now and again, for far longer than anybody waits."""
    pause = threading.Event()
    for drop in drops:
        connection.sendall(drop)
        pause.wait(0.2)


def slow_body(connection: socket.socket) -> None:
    connection.sendall(head("Content-Length: 1000"))
    drip(connection, (b" " for _ in range(1000)))


def slow_body_of_unknown_length(connection: socket.socket) -> None:
    connection.sendall(head())
    drip(connection, (b" " for _ in range(1000)))


def slow_headers(connection: socket.socket) -> None:
    connection.sendall(head()[:-2])
    drip(connection, (f"X-{number}: 1\r\n".encode() for number in range(90)))


@pytest.mark.parametrize("answer", [slow_body, slow_body_of_unknown_length, slow_headers])
def test_an_answer_that_trickles_is_cut_off_at_the_time_out(answer: Answer) -> None:
    with server(answer) as (url, requests), client(url, timeout_seconds=TIMEOUT_SECONDS, retries=0) as github:
        began = time.monotonic()
        with pytest.raises(SourceUnavailable, match="no whole answer"):
            ask(github, REPOSITORY)
        assert time.monotonic() - began < LATEST_SECONDS
        assert len(requests) == 1


def large_body(connection: socket.socket) -> None:
    connection.sendall(head(f"Content-Length: {800 * 2**20}"))
    chunk = b" " * 2**20
    for _ in range(800):
        connection.sendall(chunk)


def gzip_bomb(connection: socket.socket) -> None:
    packed = gzip.compress(b" " * 2**20) * 800
    connection.sendall(head("Content-Encoding: gzip", f"Content-Length: {len(packed)}") + packed)


@pytest.mark.parametrize("answer", [large_body, gzip_bomb])
def test_a_body_too_large_to_hold_is_left_where_it_is(answer: Answer) -> None:
    with server(answer) as (url, requests), client(url, timeout_seconds=60) as github:
        tracemalloc.start()
        try:
            with pytest.raises(QueryTooHeavyError, match="more than 16 MiB"):
                ask(github, REPOSITORY)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak_bytes < 3 * MAX_ANSWER_BYTES
        assert len(requests) == 1


def test_redirections_end() -> None:
    turns = iter(range(1000))

    def elsewhere(connection: socket.socket) -> None:
        location = f"Location: {url}/{next(turns)}"
        connection.sendall(head(location, "Content-Length: 2", status="301 Moved Permanently") + b"{}")

    with server(elsewhere) as (url, requests), client(url, retries=0) as github:
        with pytest.raises(SourceUnavailable, match="elsewhere"):
            ask(github, REPOSITORY)
        assert len(requests) == MAX_DETOURS + 1


def test_whole_answers_come_over_one_connection() -> None:
    body = json.dumps({"data": {"repository": {"nameWithOwner": "cogni-dao/lédger"}}}).encode()
    peers: set[object] = set()

    def whole(connection: socket.socket) -> None:
        peers.add(connection.getpeername())
        packed = gzip.compress(body)
        connection.sendall(head("Content-Encoding: gzip", f"Content-Length: {len(packed)}") + packed)

    with server(whole) as (url, requests), client(url) as github:
        assert [ask(github, REPOSITORY) for _ in range(3)] == ["cogni-dao/lédger"] * 3
        assert len(requests) == 3
        assert len(peers) == 1
