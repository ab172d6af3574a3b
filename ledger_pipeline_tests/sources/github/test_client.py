"""What the client waits for and how long, what it tries again, and what it gives up at once. Nothing here sleeps."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from ledger_pipeline.core.errors import SourceError, SourceRefused, SourceUnavailable
from ledger_pipeline.settings_credentials import GitHubTokens
from ledger_pipeline.sources.github.answer import QueryTooHeavyError
from ledger_pipeline.sources.github.envelope import GraphQLError
from ledger_pipeline.sources.github.failed_tries import Kind, understood_errors
from ledger_pipeline.sources.github.headers import read_headers
from ledger_pipeline.sources.simulator.faults import Damage, FailedAnswer, Fault, PartialErrors, SecondaryLimit, Slow
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import World
from ledger_pipeline_tests.sources.github.patient_client import QUERY, Time, ask, chain, client
from ledger_pipeline_tests.sources.simulator.worlds import NAME, NOON, repository

WEBSITE = "cogni-dao/website"
SECRET = "ghp_marked_secret"
HOUR = 3601.0  # and a second, as the reset comes somewhere within its second


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator(
        World((repository(), repository(name=WEBSITE, database_id=2))), as_of=NOON, bad_tokens=[SECRET]
    ) as simulator:
        yield simulator


@pytest.fixture
def github(running: Simulator) -> Simulator:
    running.faults.clear()
    running.clear_requests()
    running.set_clock(NOON)
    return running


PRIMARY = [
    FailedAnswer.PRIMARY_LIMIT_403,
    FailedAnswer.PRIMARY_LIMIT_429,
    FailedAnswer.RATE_LIMITED,
    FailedAnswer.RATE_LIMIT,
]
PASSING: list[Fault] = [
    FailedAnswer.MAINTENANCE,
    Damage.DROPPED,
    Damage.CUT_SHORT,
    Damage.TRUNCATED_JSON,
    PartialErrors("Loading", "LOADING"),
]
WAITS: list[tuple[Fault, list[float]]] = [
    *((fault, [HOUR]) for fault in PRIMARY),
    (SecondaryLimit(), [60.0]),
    (SecondaryLimit(status=429), [60.0]),
    (SecondaryLimit(30), [30.0]),
    (SecondaryLimit(30, status=429), [30.0]),
    *((fault, [1.0]) for fault in PASSING),
]


@pytest.mark.parametrize(("fault", "slept"), WAITS, ids=repr)
def test_what_passes_is_waited_for_and_asked_again(github: Simulator, fault: Fault, slept: list[float]) -> None:
    github.faults.next(fault)
    time = Time()
    with client(github.url, time) as asked:
        assert ask(asked, NAME) == NAME
    assert time.slept == slept
    assert len(github.requests) == 2


@pytest.mark.parametrize("fault", [*PASSING, SecondaryLimit(), SecondaryLimit(30), *PRIMARY], ids=repr)
def test_tries_are_counted_and_the_last_failure_is_named(github: Simulator, fault: Fault) -> None:
    github.faults.next(fault, fault, fault, fault)
    time = Time()
    with client(github.url, time) as asked, pytest.raises(SourceUnavailable, match=rf"{NAME}: .*after 3 tries"):
        ask(asked, NAME)
    assert len(github.requests) == 3
    assert len(time.slept) == 2


def test_the_pause_doubles_with_every_try(github: Simulator) -> None:
    github.faults.next(*[FailedAnswer.MAINTENANCE] * 5)
    time = Time()
    with client(github.url, time, retries=5, max_wait_seconds=5) as asked:
        ask(asked, NAME)
    assert time.slept == [1, 2, 4, 5, 5], "no wait is longer than the longest"


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        *((fault, r"rate limit is spent, until 2026-01-05T13:00:00Z: a wait of 3601 s") for fault in PRIMARY),
        (SecondaryLimit(), r"secondary rate limit.*: a wait of 60 s, GITHUB_MAX_WAIT_SECONDS is 59"),
        (SecondaryLimit(1000), r"secondary rate limit.*: a wait of 1000 s"),
    ],
    ids=repr,
)
def test_a_limit_that_lasts_too_long_is_given_up_and_named(github: Simulator, fault: Fault, says: str) -> None:
    github.faults.next(fault)
    time = Time()
    with client(github.url, time, max_wait_seconds=59) as asked, pytest.raises(SourceUnavailable, match=says) as raised:
        ask(asked, NAME)
    assert raised.value.retryable
    assert time.slept == []


@pytest.mark.parametrize(
    "fault",
    [
        FailedAnswer.BAD_GATEWAY,
        FailedAnswer.GATEWAY_TIMEOUT,
        FailedAnswer.QUERY_TIMEOUT,
        FailedAnswer.QUERY_TIMEOUT_502,
        PartialErrors(),
        PartialErrors("Timeout on validation"),
        PartialErrors("Too much", "RESOURCE_LIMITS_EXCEEDED"),
    ],
    ids=repr,
)
def test_a_heavy_query_comes_back_at_once_to_be_made_lighter(github: Simulator, fault: Fault) -> None:
    github.faults.next(fault)
    time = Time()
    with client(github.url, time) as asked, pytest.raises(QueryTooHeavyError, match=NAME):
        ask(asked, NAME)
    assert (len(github.requests), time.slept) == (1, [])


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (FailedAnswer.BAD_CREDENTIALS, "renew GITHUB_TOKEN"),
        (FailedAnswer.NOT_FOUND, "check source_refs"),
        (FailedAnswer.BLOCKED, "451: Repository access blocked"),
        (PartialErrors("Resource not accessible", "FORBIDDEN"), "Resource not accessible"),
    ],
    ids=repr,
)
def test_a_refusal_is_final_at_once(github: Simulator, fault: Fault, says: str) -> None:
    github.faults.next(fault)
    time = Time()
    with client(github.url, time) as asked, pytest.raises(SourceRefused, match=f"{NAME}: .*{says}"):
        ask(asked, NAME)
    assert (len(github.requests), time.slept) == (1, [])


def test_a_wrong_query_is_refused(github: Simulator) -> None:
    with client(github.url) as asked, pytest.raises(SourceRefused, match=r"refuses the query: .*nonsense"):
        asked.query(NAME, "{ nonsense }", {})


def test_nobody_there_is_unavailable() -> None:
    with client("http://127.0.0.1:9") as asked, pytest.raises(SourceUnavailable, match="Connection refused"):
        ask(asked, NAME)


def test_an_answer_tells_time_and_budget(github: Simulator) -> None:
    with client(github.url) as asked:
        answer = asked.query(NAME, QUERY, {"owner": "cogni-dao", "name": "ledger"})
        without = asked.query(NAME, "{ viewer { login } }", {})
    assert (answer.server_time, answer.points) == (NOON, 1)
    assert answer.points_left is not None
    assert without.points_left == answer.points_left - 1, "from the headers, where the query does not ask"


def test_github_enterprises_address_works(github: Simulator) -> None:
    for url in (f"{github.url}/api/v3", f"{github.url}/api/v3/"):
        with client(url) as asked:
            assert ask(asked, NAME) == NAME
    assert {request.path for request in github.requests} == {"/api/graphql"}


# Many repositories in one query.

BOTH = '{ a: repository(owner: "cogni-dao", name: "ledger") { name } b: repository(owner: "x", name: "y") { name } }'


def test_a_repository_that_is_not_found_is_null_among_others(github: Simulator) -> None:
    with client(github.url) as asked:
        assert asked.query_partially(NAME, BOTH, {}).data == {"a": {"name": "ledger"}, "b": None}
        with pytest.raises(SourceRefused, match="'x/y'"):
            asked.query(NAME, BOTH, {})


def test_other_errors_fail_the_whole_query_even_so(github: Simulator) -> None:
    github.faults.next(PartialErrors("No", "FORBIDDEN"), PartialErrors())
    with client(github.url) as asked:
        with pytest.raises(SourceRefused, match="No"):
            asked.query_partially(NAME, BOTH, {})
        with pytest.raises(QueryTooHeavyError):
            asked.query_partially(NAME, BOTH, {})


def test_source_scopes_may_share_a_query_when_tokens_ask(github: Simulator) -> None:
    with client(github.url) as asked:
        assert asked.group_key(NAME) == asked.group_key("x/y")


# Several threads.


def test_answers_of_threads_are_not_mixed_up(github: Simulator) -> None:
    github.faults.when(lambda _: True, Slow(0.01))
    names = [NAME, WEBSITE] * 30
    with client(github.url) as asked, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda name: ask(asked, name), names)) == names


# GraphQL's errors.


@pytest.mark.parametrize(
    ("types", "kind"),
    [
        (["LOADING"], Kind.PASSING),
        (["INTERNAL", None], Kind.PASSING),
        (["TIMEOUT"], Kind.TOO_HEAVY),
        (["LOADING", "FORBIDDEN"], Kind.REFUSED),
        (["NOT_FOUND"], Kind.REFUSED),
        (["FORBIDDEN", "RATE_LIMITED"], Kind.SPENT),
    ],
)
def test_of_several_errors_the_one_that_decides(types: list[str | None], kind: Kind) -> None:
    errors = [GraphQLError(type=type_, message="x") for type_ in types]
    headers = read_headers({"x-ratelimit-remaining": "0"})
    assert understood_errors(errors, headers, has_data=True).kind is kind


# Secrets.


@pytest.mark.parametrize(
    "fault",
    [None, FailedAnswer.MAINTENANCE, Damage.DROPPED, Damage.TRUNCATED_JSON, FailedAnswer.RATE_LIMITED],
    ids=repr,
)
def test_neither_errors_nor_logs_show_the_token(
    github: Simulator, fault: Fault | None, caplog: pytest.LogCaptureFixture
) -> None:
    github.faults.next(fault)
    with (
        caplog.at_level(logging.DEBUG),
        client(github.url, retries=0, credentials=GitHubTokens.of(SECRET)) as asked,
    ):
        assert SECRET not in repr(asked)
        with pytest.raises(SourceError) as raised:
            ask(asked, NAME)
    assert SECRET not in chain(raised.value)
    assert caplog.records
    assert SECRET not in caplog.text


def test_the_clock_of_github_decides_how_long(github: Simulator) -> None:
    github.faults.next(FailedAnswer.RATE_LIMITED)
    time = Time(seconds=0)  # ours is far behind
    with client(github.url, time) as asked:
        ask(asked, NAME)
        github.set_clock(NOON + timedelta(hours=2))
        ask(asked, NAME)
    assert time.slept == [HOUR]
