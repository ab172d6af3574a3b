"""What strangers try on the public pages, over real HTTP: each attack fails, and none keeps others from reading."""

import asyncio
import html
import socket
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest
import requests

from ledger_pipeline.core.known_secrets import keep_secret
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.core.web_links import is_linkable
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.web.public.serving import BoundedProtocol
from ledger_pipeline.web.public.site import POLICY
from ledger_pipeline_tests.builders import NODE_ID, weeks
from ledger_pipeline_tests.hostile import HOSTILE, acts, hostile_books
from ledger_pipeline_tests.waiting import eventually
from ledger_pipeline_tests.web.crawling import API, Page, asked, crawled
from ledger_pipeline_tests.web.publishing import finalized_weeks, serving, shown

SLOW = 200


def spoken(site: str, request: bytes) -> bytes:
    """What is answered to these very bytes, up to the end of the connection."""
    place = urlsplit(site)
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("path", ["/", "/epochs/1", "/nowhere", "/contributors", API, f"{API}/9/claimants", "/livez"])
def test_every_answer_tells_the_browser_to_keep_it_what_it_is(site: str, path: str) -> None:
    headers = asked(site + path).headers
    assert headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert "frame-ancestors 'none'" in POLICY
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    assert "set-cookie" not in headers
    assert "strict-transport-security" not in headers


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.", "", "[::1", "127.0.0.1@evil"])
def test_it_answers_under_its_own_names_alone(site: str, host: str) -> None:
    answer = requests.get(site, headers={"Host": host}, timeout=30)
    assert answer.status_code == 400
    assert "Epochs" not in answer.text


def test_a_request_without_a_host_is_refused(site: str) -> None:
    assert status_of(spoken(site, b"GET / HTTP/1.0\r\n\r\n")) == 400


def test_a_forwarded_name_is_believed_of_nobody(site: str) -> None:
    answer = asked(f"{site}/", **{"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"})
    assert "evil.example" not in answer.text


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", 413),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 413),
        (b"GET /?" + b"a" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 9000 + b"\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    ],
    ids=["a body", "a large body", "a body in pieces", "a query", "a path", "a header", "headers", "TLS"],
)
def test_what_is_too_much_is_refused_and_the_connection_ends(site: str, request_bytes: bytes, status: int) -> None:
    assert status_of(spoken(site, request_bytes)) == status


@pytest.mark.parametrize(
    "path", ["/epochs/1%00", "/contributors/user:%00", "/contributors/user:%ff", "/?page=%00", "/%2e%2e/x"]
)
def test_odd_addresses_are_not_there_and_nothing_breaks(site: str, path: str) -> None:
    assert asked(site + path).status_code in {400, 404}


class Impatient(BoundedProtocol):
    head_seconds = 1.0
    answer_seconds = 1.0
    broken_off: ClassVar[list[int]] = []

    def _close(self) -> None:
        self.broken_off.append(self.transport.get_write_buffer_size())
        super()._close()


def test_two_hundred_slow_connections_keep_nobody_from_reading_and_end(published_url: str, archives: Path) -> None:
    with shown(published_url, archives) as app, serving(app, Impatient) as site:
        asked(site)  # signatures are recovered once
        place = urlsplit(site)

        async def slow(number: int) -> None:
            """Silent from the start, or a byte of a question now and then, as long as the server bears it."""
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            started.append(number)
            if number % 2:
                writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
            while not reader.at_eof():
                if number % 2:
                    writer.write(b"a")
                try:
                    async with asyncio.timeout(0.2):
                        if not await reader.read(1000):
                            break
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
            writer.close()

        async def all_of_them() -> int:
            async with asyncio.timeout(60):
                tasks = [asyncio.create_task(slow(number)) for number in range(SLOW)]
                while len(started) < SLOW:
                    await asyncio.sleep(0)
                answer = await asyncio.to_thread(asked, f"{site}/epochs/1")
                await asyncio.gather(*tasks)
            return answer.status_code

        started: list[int] = []
        assert asyncio.run(all_of_them()) == 200


def test_who_does_not_read_the_answer_is_let_go(published_url: str, archives: Path) -> None:
    with shown(published_url, archives) as app, serving(app, Impatient) as site:
        app.state.style = b"x" * 50_000_000
        place = urlsplit(site)
        Impatient.broken_off.clear()
        with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
            connection.sendall(b"GET /static/x.css HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(8) == b"HTTP/1.1"
            [unread_bytes] = eventually(lambda: Impatient.broken_off)
            assert unread_bytes > 0


def test_nothing_that_outsiders_write_is_markup_or_a_link_that_acts(
    ledger: PostgresLedger, ledger_url: str, archives: Path
) -> None:
    books = hostile_books(ledger)
    books.materialize()
    books.close()
    books.finalize(books.signature())
    with shown(ledger_url, archives, RepoSpec(NODE_ID, (books.scope,), "x.yaml")) as app, serving(app) as site:
        answers = crawled(site)
        pages = {path: answer for path, answer in answers.items() if "text/html" in answer.headers["content-type"]}
        assert {answer.status_code for answer in answers.values()} == {200}
        assert len(pages) > 2 * len(HOSTILE)
        for path, answer in pages.items():
            page = Page(answer.text)
            assert acts(answer.text) == set(), path
            assert not page.elements & {"script", "img", "style", "iframe"}, path
            assert not any(name.startswith("on") for name in page.attributes), path
            for link in page.links:
                place = urlsplit(link["href"])
                assert place.scheme in {"", "http", "https"}, link
                assert not place.scheme or (is_linkable(link["href"]) and link["rel"] == "noopener noreferrer nofollow")
        everything = html.unescape("".join(answer.text for answer in pages.values()))
        assert "note <script>alert(1)</script>" in everything
        assert "reason {{ 7 * 7 }} {x} %s" in everything


def test_a_secret_of_ours_is_withheld_whoever_wrote_it_into_the_ledger(site: str) -> None:
    keep_secret("the migration was hers too")
    assert "the migration was hers too" not in asked(f"{site}/epochs/3").text


def test_where_the_database_is_down_the_answer_says_to_try_again(
    published_url: str, archives: Path, postgres_server: str
) -> None:
    with shown(published_url, archives) as app, serving(app) as site:
        assert asked(site).ok
        app.state.shelf.ledger = PostgresLedger(make_engine("postgresql://127.0.0.1:1/none"), NODE_ID)
        answer = asked(site)
        assert (answer.status_code, answer.headers["retry-after"], answer.headers["cache-control"]) == (
            503,
            "5",
            "no-store",
        )
        assert "127.0.0.1" not in answer.text
        assert asked(f"{site}{API}").json() == {
            "error": "The ledger does not answer at the moment: try again in a few seconds."
        }
        assert (asked(f"{site}/readyz").status_code, asked(f"{site}/livez").status_code) == (503, 200)


def test_a_new_statement_is_shown_once_it_is_in_force(ledger: PostgresLedger, ledger_url: str, archives: Path) -> None:
    first, second = weeks(2, "2026-02-23")
    finalized_weeks(ledger, [first], events=6)
    with shown(ledger_url, archives) as app, serving(app) as site:
        before = asked(site).headers["etag"]
        assert asked(f"{site}{API}").json()["total"] == 1
        finalized_weeks(ledger, [second], events=6)
        assert asked(f"{site}{API}").json()["total"] == 2
        assert asked(site).headers["etag"] != before
