"""Who asks: pools of tokens, and GitHub Apps whose installations and tokens are found, renewed and kept secret."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from ledger_pipeline.core.errors import SourceError, SourceRefused, SourceUnavailable
from ledger_pipeline.settings_credentials import GitHubApp, GitHubTokens
from ledger_pipeline.sources.github.client import GitHubClient
from ledger_pipeline.sources.github.credentials import REJECTIONS_IN_A_ROW
from ledger_pipeline.sources.github.source import GitHubSource
from ledger_pipeline.sources.simulator.apps import App
from ledger_pipeline.sources.simulator.faults import Damage, FailedAnswer, Fault, SecondaryLimit
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import World
from ledger_pipeline_tests.sources.github.patient_client import Time, ask, chain, client, key_pair
from ledger_pipeline_tests.sources.simulator.client import post
from ledger_pipeline_tests.sources.simulator.worlds import NAME, NOON, repository, world

POOL = GitHubTokens.of("one", "two", "three")


@pytest.fixture
def github() -> Iterator[Simulator]:
    with Simulator(world(), as_of=NOON, points_per_hour=10, bad_tokens=["revoked", "gone"]) as simulator:
        yield simulator


def tokens_used(github: Simulator) -> list[str]:
    return [request.token for request in github.requests if request.path == "/graphql"]


# A pool of tokens.


def test_the_token_with_most_points_left_is_used(github: Simulator) -> None:
    for token, times in (("one", 5), ("two", 1), ("three", 3)):
        for _ in range(times):
            post(github.url, token=token)
    github.clear_requests()
    with client(github.url, credentials=POOL) as asked:
        for _ in range(7):
            ask(asked, NAME)
    # Each once, as nothing is known of them; then two (8 left) until it has no more than three (6), in turns.
    assert tokens_used(github)[:5] == ["one", "two", "three", "two", "two"]
    assert "one" not in tokens_used(github)[3:]


def test_a_spent_token_is_passed_over_without_a_wait(github: Simulator) -> None:
    github.faults.next(FailedAnswer.RATE_LIMITED, FailedAnswer.PRIMARY_LIMIT_403)
    time = Time()
    with client(github.url, time, credentials=POOL, retries=0) as asked:
        ask(asked, NAME)
        ask(asked, NAME)
    assert tokens_used(github) == ["one", "two", "three", "three"]
    assert time.slept == []


def test_when_all_tokens_are_spent_the_first_reset_is_waited_for(github: Simulator) -> None:
    github.faults.next(*[FailedAnswer.RATE_LIMITED] * 3)
    time = Time()
    with client(github.url, time, credentials=POOL, retries=1) as asked:
        ask(asked, NAME)
    assert time.slept == [3601]


def test_a_rejected_token_is_passed_over_for_good(github: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    with client(github.url, credentials=GitHubTokens.of("revoked", "good")) as asked:
        ask(asked, NAME)
        ask(asked, NAME)
    assert tokens_used(github) == ["revoked", "good", "good"]
    assert "GitHub rejects token 1 of 2 (401)" in caplog.text


def test_one_rejection_ends_one_question_and_some_in_a_row_are_the_tokens(github: Simulator) -> None:
    def rejected(asked: GitHubClient) -> None:
        github.faults.next(FailedAnswer.BAD_CREDENTIALS)
        with pytest.raises(SourceRefused, match="renew GITHUB_TOKEN"):
            ask(asked, NAME)

    with client(github.url) as asked:
        for _ in range(2):
            rejected(asked)
            rejected(asked)
            assert ask(asked, NAME) == NAME
        for _ in range(REJECTIONS_IN_A_ROW):
            rejected(asked)
        github.clear_requests()
        rejected(asked)
    assert github.requests == ()


def test_when_all_tokens_are_rejected_it_is_said(github: Simulator) -> None:
    with (
        client(github.url, credentials=GitHubTokens.of("revoked", "gone")) as asked,
        pytest.raises(SourceRefused, match="renew the tokens of GITHUB_TOKENS"),
    ):
        ask(asked, NAME)


def test_a_secondary_limit_is_waited_for_and_not_evaded(github: Simulator) -> None:
    github.faults.next(SecondaryLimit(30))
    time = Time()
    with client(github.url, time, credentials=POOL) as asked:
        ask(asked, NAME)
    assert time.slept == [30]


def test_a_secondary_limit_that_one_repository_met_is_waited_for_by_the_others(github: Simulator) -> None:
    github.faults.next(SecondaryLimit(30))
    time = Time()
    with client(github.url, time, retries=0) as asked:
        with pytest.raises(SourceUnavailable, match="secondary rate limit"):
            ask(asked, "cogni-dao/other")
        assert ask(asked, NAME) == NAME
    assert time.slept == [30]
    assert len(github.requests) == 2


def test_a_secondary_limit_that_is_too_long_to_wait_for_ends_the_others_unasked(github: Simulator) -> None:
    github.faults.next(SecondaryLimit(300))
    with client(github.url, max_wait_seconds=60) as asked:
        for name in ("cogni-dao/other", NAME):
            with pytest.raises(SourceUnavailable, match=f"{name}: GitHub's secondary rate limit.*a wait of 300 s"):
                ask(asked, name)
    assert len(github.requests) == 1


# A GitHub App.

OTHER = "ana/notes"
WORLD = World((repository(), repository(name=OTHER, database_id=2), repository(name="x/y", database_id=3)))
APP_ID = 77
INSTALLATIONS = {"cogni-dao": 11, "Ana": 22}


def app(number: int = 1, installation_id: int | None = None) -> GitHubApp:
    return GitHubApp(str(APP_ID), SecretStr(key_pair(number)[0]), installation_id)


@pytest.fixture
def apps() -> Iterator[Simulator]:
    """Its time is ours, as PyGithub goes by ours to renew a token."""
    github_app = App(APP_ID, key_pair()[1], INSTALLATIONS, users=frozenset({"Ana"}))
    with Simulator(WORLD, apps=[github_app], as_of=datetime.now(UTC)) as simulator:
        yield simulator


def paths(github: Simulator) -> list[str]:
    return [request.path for request in github.requests if not request.path.endswith("/graphql")]


def test_each_owners_installation_is_found_once(apps: Simulator) -> None:
    with client(apps.url, credentials=app()) as asked:
        assert [ask(asked, name) for name in (NAME, OTHER, NAME, OTHER)] == [NAME, OTHER, NAME, OTHER]
        assert asked.group_key(NAME) == asked.group_key("Cogni-DAO/other") != asked.group_key(OTHER)
    assert paths(apps) == [
        f"/repos/{NAME}/installation",
        "/app/installations/11/access_tokens",
        f"/repos/{OTHER}/installation",
        "/app/installations/22/access_tokens",
    ]


def test_an_installation_is_found_by_owner_where_the_repository_is_not(apps: Simulator) -> None:
    with client(apps.url, credentials=app()) as asked:
        for owner in ("cogni-dao", "ana"):
            with pytest.raises(SourceRefused, match=f"'{owner}/gone'"):
                ask(asked, f"{owner}/gone")
    assert "/orgs/cogni-dao/installation" in paths(apps)
    assert "/users/ana/installation" in paths(apps)


def test_the_installation_of_all_that_an_owner_has_is_found_by_the_owner(apps: Simulator) -> None:
    with client(apps.url, credentials=app()) as asked:
        owned = GitHubSource(asked).list_owner("cogni-dao/*")
    assert [row.source_scope for row in owned.source_scopes] == [NAME]
    assert paths(apps) == ["/orgs/cogni-dao/installation", "/app/installations/11/access_tokens"]


def test_an_installation_that_is_given_is_not_sought(apps: Simulator) -> None:
    with client(apps.url, credentials=app(installation_id=11)) as asked:
        assert ask(asked, NAME) == NAME
        with pytest.raises(SourceRefused, match="does not find it"):
            ask(asked, OTHER)
    assert paths(apps) == ["/app/installations/11/access_tokens"]


def test_an_owner_without_an_installation_is_refused(apps: Simulator) -> None:
    with client(apps.url, credentials=app()) as asked:
        with pytest.raises(SourceRefused, match="x/y: GitHub App 77 is not installed for x: install it there"):
            ask(asked, "x/y")
        assert ask(asked, NAME) == NAME


@pytest.mark.parametrize("installation_id", [None, 11])
def test_a_key_that_is_not_the_apps_is_refused(apps: Simulator, installation_id: int | None) -> None:
    with (
        client(apps.url, credentials=app(2, installation_id)) as asked,
        pytest.raises(SourceRefused, match=r"GitHub App 77: GitHub rejects the credentials \(401\)"),
    ):
        ask(asked, NAME)


def test_an_installation_that_is_given_but_not_there_is_refused(apps: Simulator) -> None:
    with (
        client(apps.url, credentials=app(installation_id=33)) as asked,
        pytest.raises(SourceRefused, match=r"GitHub App 77: no such installation \(404\): check GITHUB_APP_INSTALL"),
    ):
        ask(asked, NAME)


def test_github_enterprises_address_serves_apps_too(apps: Simulator) -> None:
    with client(f"{apps.url}/api/v3", credentials=app()) as asked:
        assert ask(asked, NAME) == NAME
    assert paths(apps)[0] == f"/api/v3/repos/{NAME}/installation"


def test_a_token_is_renewed_before_it_expires(apps: Simulator) -> None:
    apps.set_clock(datetime.now(UTC) - timedelta(hours=1) + timedelta(seconds=15))
    with client(apps.url, credentials=app(installation_id=11)) as asked:
        ask(asked, NAME)
        apps.set_clock(datetime.now(UTC))
        ask(asked, NAME)
        ask(asked, NAME)
    assert len(paths(apps)) > 1
    first, *_, last = tokens_used(apps)
    assert first != last
    assert {request.status for request in apps.requests if request.path == "/graphql"} == {200}


def test_a_token_that_is_revoked_or_expired_by_githubs_clock_is_renewed(apps: Simulator) -> None:
    with client(apps.url, credentials=app(installation_id=11)) as asked:
        for spoil in (apps.revoke_installation_tokens, lambda: apps.set_clock(datetime.now(UTC) + timedelta(hours=2))):
            ask(asked, NAME)
            spoil()
            assert ask(asked, NAME) == NAME


def test_a_new_token_that_is_rejected_too_is_the_end(apps: Simulator) -> None:
    apps.faults.when(lambda _: True, FailedAnswer.BAD_CREDENTIALS)
    time = Time()
    with (
        client(apps.url, time, credentials=app()) as asked,
        pytest.raises(SourceRefused, match=r"check GITHUB_APP_ID \(77\) and its private key"),
    ):
        ask(asked, NAME)
    assert len(set(tokens_used(apps))) == 2
    assert time.slept == [1, 1, 2, 4, 2] * 2, "each has ten seconds to become known"


def test_a_token_that_github_does_not_know_in_its_first_seconds_is_used_again(apps: Simulator) -> None:
    apps.faults.next(FailedAnswer.BAD_CREDENTIALS, FailedAnswer.BAD_CREDENTIALS, FailedAnswer.BAD_CREDENTIALS)
    time = Time()
    with client(apps.url, time, credentials=app(), retries=0) as asked:
        assert ask(asked, NAME) == NAME
    assert time.slept == [1, 1, 2]
    assert len(tokens_used(apps)) == 4
    assert len(set(tokens_used(apps))) == 1


def test_a_token_that_github_does_not_know_yet_is_worth_retrying_where_nobody_may_wait(apps: Simulator) -> None:
    apps.faults.next(FailedAnswer.BAD_CREDENTIALS)
    with (
        client(apps.url, credentials=app(), max_wait_seconds=0) as asked,
        pytest.raises(SourceUnavailable, match=r"does not know yet the token that it handed out to installation 11"),
    ):
        ask(asked, NAME)


def test_threads_share_tokens_and_survive_a_renewal(apps: Simulator) -> None:
    names = [NAME, OTHER] * 20
    with client(apps.url, credentials=app()) as asked, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda name: ask(asked, name), names)) == names
        apps.revoke_installation_tokens()
        assert list(threads.map(lambda name: ask(asked, name), names)) == names


def test_github_out_of_reach_is_unavailable_and_waited_for() -> None:
    time = Time()
    with client("http://127.0.0.1:9", time, credentials=app()) as asked, pytest.raises(SourceUnavailable, match=NAME):
        ask(asked, NAME)
    assert time.slept == [1, 2]


@pytest.mark.parametrize("fault", [None, FailedAnswer.BAD_CREDENTIALS, Damage.TRUNCATED_JSON], ids=repr)
def test_neither_key_nor_jwt_nor_token_is_ever_shown(
    apps: Simulator, fault: Fault | None, caplog: pytest.LogCaptureFixture
) -> None:
    shown = ""
    with caplog.at_level(logging.DEBUG), client(apps.url, credentials=app(), retries=0) as asked:
        ask(asked, NAME)
        apps.faults.when(lambda _: True, fault or FailedAnswer.NOT_FOUND)
        with pytest.raises(SourceError) as raised:
            ask(asked, NAME)
        shown += chain(raised.value) + repr(asked) + repr(app())
    shown += caplog.text + "".join(repr(record.args) for record in caplog.records)
    assert "access_tokens" in shown
    for secret in {request.token for request in apps.requests} | set(key_pair()[0].splitlines()):
        assert secret not in shown
