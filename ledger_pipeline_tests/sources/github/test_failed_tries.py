"""What each way of GitHub failing means: worth retrying or not, in one clear message, without secrets."""

from collections.abc import Iterator

import pytest

from ledger_pipeline.core.errors import SourceError, SourceRefused, SourceUnavailable
from ledger_pipeline.settings_credentials import GitHubTokens
from ledger_pipeline.sources.github.client import GitHubClient
from ledger_pipeline.sources.port import ScanRequest
from ledger_pipeline.sources.simulator.faults import (
    Damage,
    FailedAnswer,
    Fault,
    PartialErrors,
    SecondaryLimit,
)
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline_tests.sources.github.github_source import event_ids, github_source, scan
from ledger_pipeline_tests.sources.github.patient_client import chain
from ledger_pipeline_tests.sources.simulator.worlds import LATER, MONDAY, NAME, merged, review, world

TOKEN = "ghp_marked_secret"


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator(world(merged(1, reviews=(review(1),)), merged(2)), as_of=LATER, bad_tokens=[TOKEN]) as simulator:
        yield simulator


@pytest.fixture
def github(running: Simulator) -> Simulator:
    running.faults.clear()
    running.clear_requests()
    return running


@pytest.mark.parametrize(
    "fault",
    [
        FailedAnswer.BAD_GATEWAY,
        FailedAnswer.MAINTENANCE,
        FailedAnswer.GATEWAY_TIMEOUT,
        FailedAnswer.QUERY_TIMEOUT,
        FailedAnswer.QUERY_TIMEOUT_502,
        FailedAnswer.RATE_LIMIT,
        FailedAnswer.RATE_LIMITED,
        FailedAnswer.PRIMARY_LIMIT_403,
        FailedAnswer.PRIMARY_LIMIT_429,
        SecondaryLimit(),
        SecondaryLimit(status=429),
        Damage.CUT_SHORT,
        Damage.DROPPED,
        Damage.TRUNCATED_JSON,
        PartialErrors("Something went wrong"),
    ],
    ids=repr,
)
def test_a_passing_failure_is_worth_retrying(github: Simulator, fault: Fault) -> None:
    github.faults.when(lambda _asked: True, fault)  # as long as it lasts: a heavy query is also made lighter
    with pytest.raises(SourceUnavailable, match=NAME) as raised:
        scan(github.url, MONDAY)
    assert raised.value.retryable
    github.faults.clear()
    assert len(event_ids(scan(github.url, MONDAY))) == 3


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (FailedAnswer.BAD_CREDENTIALS, "renew GITHUB_TOKEN"),
        (FailedAnswer.NOT_FOUND, "check source_refs"),
        (FailedAnswer.BLOCKED, "451"),
        (PartialErrors("Resource not accessible", "FORBIDDEN"), "Resource not accessible"),
    ],
    ids=repr,
)
def test_a_lasting_failure_is_refused_and_says_what_to_do(github: Simulator, fault: Fault, says: str) -> None:
    github.faults.next(fault)
    with pytest.raises(SourceRefused, match=says) as raised:
        scan(github.url, MONDAY)
    assert not raised.value.retryable
    assert NAME in str(raised.value)


def test_a_repository_that_is_not_there_is_refused_by_name(github: Simulator) -> None:
    with pytest.raises(SourceRefused, match=r"cogni-dao/gone.*check source_refs"):
        scan(github.url, MONDAY, source_scope="cogni-dao/gone")


def test_a_server_error_is_retried_and_then_goes_unnoticed(github: Simulator) -> None:
    github.faults.next(FailedAnswer.MAINTENANCE)
    with github_source(github.url, retries=1) as source:
        pages = list(source.scan(ScanRequest(NAME, {"pull_requests": MONDAY})))
    assert len(event_ids(pages)) == 2
    assert [record.status for record in github.requests] == [503, 200]


def test_an_error_never_holds_the_token(github: Simulator) -> None:
    client = GitHubClient(
        api_url=github.url,
        credentials=GitHubTokens.of(TOKEN),
        timeout_seconds=5,
        max_wait_seconds=0,
        retries=0,
    )
    with pytest.raises(SourceError) as raised:
        client.query(NAME, "{ viewer { login } }", {})
    client.close()
    assert TOKEN not in chain(raised.value)
