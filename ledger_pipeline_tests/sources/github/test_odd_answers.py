"""Answers that GitHub should not give: each is typed at one boundary, and ends in an answer or in one short error."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from random import Random
from typing import Any

import pytest

from ledger_pipeline.core.errors import SourceError, SourceRefused, SourceUnavailable
from ledger_pipeline.sources.github.answer import Answer, QueryRefusedError
from ledger_pipeline.sources.github.envelope import GraphQLError
from ledger_pipeline.sources.github.headers import read_headers
from ledger_pipeline_tests.sources.github.canned import Asked, Headers, Respond, canned, serving
from ledger_pipeline_tests.sources.github.patient_client import QUERY, Time, client
from ledger_pipeline_tests.sources.simulator.worlds import NAME

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
DATE = ("Date", format_datetime(NOW, usegmt=True))
GOOD: dict[str, Any] = {"data": {"rateLimit": {"cost": 1, "remaining": 4999}, "repository": {"nameWithOwner": NAME}}}
BUDGET = [("X-RateLimit-Remaining", "4999"), ("X-RateLimit-Limit", "5000"), ("X-RateLimit-Reset", "1767616000")]


class Answers:
    """What is answered next; the last one again and again."""

    def __init__(self) -> None:
        self.queue: list[Respond] = []
        self.asked = 0

    def set(self, *answers: Respond) -> None:
        self.queue, self.asked = list(answers), 0

    def json(self, body: object, *headers: tuple[str, str], status: int = 200) -> None:
        self.set(answer(body, *headers, status=status), answer(GOOD))

    def next(self) -> Respond:
        self.asked += 1
        return self.queue.pop(0) if len(self.queue) > 1 else self.queue[0]


def answer(body: object, *headers: tuple[str, str], status: int = 200) -> Respond:
    return canned(status, [DATE, *headers], json.dumps(body).encode())


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[str, Answers]]:
    answers = Answers()
    with serving(answers.next) as url:
        yield url, answers


def ask(url: str, time: Time | None = None, **options: Any) -> Answer:
    with client(url, time, **options) as asked:
        return asked.query(NAME, QUERY, {"owner": "o", "name": "n"})


@pytest.mark.parametrize("value", ["-3", "nan", "inf", "1e400", "soon", ""])
def test_a_retry_after_that_says_nothing_is_a_short_wait_or_the_usual_one(
    running: tuple[str, Answers], value: str
) -> None:
    url, answers = running
    time = Time()
    answers.json({"message": "You have exceeded a secondary rate limit"}, ("Retry-After", value), status=403)
    assert ask(url, time).data == GOOD["data"]
    assert time.slept in ([1.0], [60.0])


def test_a_retry_after_may_be_a_date_and_one_that_has_passed_is_a_short_wait(running: tuple[str, Answers]) -> None:
    url, answers = running
    for seconds, slept in ((90, 90.0), (-90, 1.0)):
        time = Time()
        until = format_datetime(datetime.fromtimestamp(NOW.timestamp() + seconds, UTC), usegmt=True)
        answers.json({}, ("Retry-After", until), status=429)
        ask(url, time)
        assert time.slept == [slept]


def test_a_retry_after_of_decades_is_given_up_and_named(running: tuple[str, Answers]) -> None:
    url, answers = running
    for value in ("1000000000", "1e300", "Fri, 31 Dec 9999 23:59:59 GMT"):
        answers.json({}, ("Retry-After", value), status=429)
        with pytest.raises(SourceUnavailable, match="a wait of 1000000000 s, GITHUB_MAX_WAIT_SECONDS is 4000"):
            ask(url)


@pytest.mark.parametrize("value", ["nan", "inf", "", "soon", "later today", "-nan"])
def test_a_refusal_that_asks_for_a_wait_is_a_limit_whatever_it_says_of_the_time(
    running: tuple[str, Answers], value: str
) -> None:
    url, answers = running
    time = Time()
    answers.json({"message": "Forbidden"}, ("Retry-After", value), status=403)
    assert ask(url, time).data == GOOD["data"]
    assert time.slept == [60.0]


@pytest.mark.parametrize("age", ["1e30", "9" * 400, "3601"], ids=["1e30", "400 digits", "an hour"])
def test_an_answer_of_an_age_that_no_cache_has_fails_the_source_scope_and_names_the_header(
    running: tuple[str, Answers], age: str
) -> None:
    url, answers = running
    answers.set(answer(GOOD, ("Age", age)))
    with pytest.raises(SourceUnavailable, match=f"{NAME}: the answer's Age is [0-9]+ s"):
        ask(url, retries=0)


SECONDARY = [
    {"errors": [{"message": "You have exceeded a secondary rate limit"}]},
    {"data": None, "errors": [{"message": "You have exceeded a secondary rate limit. Please wait a few minutes"}]},
    {"errors": [{"type": "FORBIDDEN", "message": "You have triggered an abuse detection mechanism."}]},
    {"errors": ["You have exceeded a secondary rate limit"]},
    {"errors": "You have exceeded a secondary rate limit"},
    {"errors": [{"message": "Slow down"}]},
    {"message": "You have exceeded a secondary rate limit", "documentation_url": "https://docs.github.com"},
]


@pytest.mark.parametrize("body", SECONDARY, ids=repr)
def test_a_secondary_limit_behind_status_200_is_waited_for(running: tuple[str, Answers], body: object) -> None:
    url, answers = running
    time = Time()
    answers.json(body, ("Retry-After", "6"), *BUDGET)
    assert ask(url, time).data == GOOD["data"]
    assert time.slept == [6.0]


@pytest.mark.parametrize("status", [200, 400, 403, 429, 503])
def test_a_primary_limit_is_known_by_its_words_whatever_the_status(running: tuple[str, Answers], status: int) -> None:
    url, answers = running
    time = Time()
    message = "API rate limit exceeded for user ID 1."
    answers.json({"errors": [{"message": message}]} if status == 200 else {"message": message}, status=status)
    ask(url, time)
    assert time.slept == [60.0]


def test_a_forbidden_part_is_told_with_its_path(running: tuple[str, Answers]) -> None:
    url, answers = running
    error = {"type": "FORBIDDEN", "path": ["repository", "issues"], "message": "Resource not accessible"}
    forbidden = answer({"data": {"repository": None}, "errors": [error]})
    answers.set(forbidden)
    refusal = GraphQLError(type="FORBIDDEN", path=("repository", "issues"), message="Resource not accessible")
    with pytest.raises(QueryRefusedError, match="Resource not accessible") as raised:
        ask(url)
    assert raised.value.errors == (refusal,)
    with client(url) as asked:
        partial = asked.query_partially(NAME, QUERY, {}, lambda error: error.type == "FORBIDDEN")
    assert (partial.data, partial.errors) == ({"repository": None}, (refusal,))


def test_a_message_of_megabytes_with_escape_sequences_is_cut_and_plain(running: tuple[str, Answers]) -> None:
    url, answers = running
    answers.json({"errors": [{"type": "FORBIDDEN", "message": "\x1b[2J\u202e" + "x" * 5_000_000 + "\ud83d"}]})
    with pytest.raises(SourceRefused) as raised:
        ask(url)
    assert len(raised.value.problem) <= 300
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("value", ["1e30", "-1e18", "inf", "nan", "", "x"])
def test_an_answer_is_read_whatever_its_headers_say_of_the_budget(running: tuple[str, Answers], value: str) -> None:
    url, answers = running
    answers.set(answer(GOOD, *((name, value) for name, _ in BUDGET), ("Retry-After", value)))
    assert ask(url, retries=0).data == GOOD["data"]
    assert answers.asked == 1


@pytest.mark.parametrize("status", [204, 304, 404, 502])
def test_an_answer_that_is_no_success_leaves_nothing_on_the_connection(
    running: tuple[str, Answers], status: int
) -> None:
    url, answers = running
    connections = []

    def noting(respond: Respond) -> Respond:
        def answered(request: Asked) -> None:
            connections.append(request.client_address)
            respond(request)

        return answered

    answers.set(noting(answer(GOOD)), noting(answer("left behind", status=status)), *[noting(answer(GOOD))] * 2)
    with client(url, retries=0) as asked:
        asked.query(NAME, QUERY, {})
        with pytest.raises(SourceError):
            asked.query(NAME, QUERY, {})
        for _ in range(2):
            assert asked.query(NAME, QUERY, {}).data == GOOD["data"]
    first, odd, after, last = connections
    assert first == odd != after == last


def test_headers_that_say_nonsense_count_as_absent() -> None:
    for value in ("1e30", "-1e18", "inf", "nan", "", "x"):
        assert read_headers({"x-ratelimit-reset": value}).resets_at is None
    for value in ("inf", "-1", "nan"):
        assert read_headers({"x-ratelimit-remaining": value}).points_left is None
    far = read_headers({"date": DATE[1], "x-ratelimit-reset": "99999999999"})
    assert far.window_ends_at is None, "a budget of an hour is not whole again in 3,000 years"


def test_an_answer_that_a_cache_kept_is_as_old_as_it_says() -> None:
    assert read_headers({"date": DATE[1], "age": "60"}).answered_at == datetime(2026, 1, 5, 11, 59, tzinfo=UTC)
    assert read_headers({"date": DATE[1], "age": "-60"}).answered_at == NOW
    assert read_headers({"date": DATE[1], "age": "1e99"}).answered_at == datetime(1994, 4, 29, 10, 13, 20, tzinfo=UTC)


ODD: list[Any] = [None, True, -1, 0, 1e308, 2**70, "", "x", "\ud83d", "a\u0000b", [], {}, ["x"], [None], {"type": []}]
ODD += [[{"type": 3, "message": None, "path": "x"}], [[[]]], {"message": 5}, [{"message": {}, "path": [None, {}, 1]}]]
ODD_HEADERS = ["-3", "nan", "inf", "-inf", "1e30", "-1e18", "", "x", "9" * 400, "\xff\xfe", "0", "1e-400"]
NAMES = ["Date", "Age", "Retry-After", "X-RateLimit-Remaining", "X-RateLimit-Limit", "X-RateLimit-Reset"]
NAMES += ["X-RateLimit-Resource", "Content-Type", "Content-Encoding", "X-OAuth-Scopes", "Location"]
BODIES = [b"", b"{", b"[" * 100_000, b"\xff\xfe", b"null", b"[]", b'"x"', b"<html>", b"9" * 5000, b'{"data":NaN}']


def _mutated(random: Random) -> tuple[int, Headers, bytes]:
    body: Any = json.loads(json.dumps(GOOD))
    for _ in range(random.randint(0, 2)):
        place, key = random.choice(
            [(body, "data"), (body, "errors"), (body, "message"), (body.get("data"), "rateLimit")]
        )
        if isinstance(place, dict):
            place[key] = random.choice(ODD)
    raw = random.choice(BODIES) if random.random() < 0.2 else json.dumps(body).encode()
    headers = dict([DATE, *BUDGET])
    for name in random.sample(NAMES, random.randint(0, 3)):
        headers[name] = random.choice(ODD_HEADERS)
    return (
        random.choice([200] * 8 + [201, 204, 301, 302, 400, 401, 403, 404, 429, 500, 502, 503]),
        [*headers.items()],
        raw,
    )


def test_no_answer_ends_in_anything_but_an_answer_or_a_source_error(running: tuple[str, Answers]) -> None:
    url, answers = running
    random, answered, problems = Random(11), 0, []
    for _ in range(200):
        case = _mutated(random)
        answers.set(canned(*case))
        try:
            answered += isinstance(ask(url, retries=1), Answer)
        except SourceError as error:
            problems.append(error.problem)
    assert [problem for problem in problems if len(problem) > 300 or not problem.isprintable()] == []
    assert 20 < answered < 180, "the mutations are neither all harmless nor all fatal"
