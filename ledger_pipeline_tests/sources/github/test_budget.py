"""Points are left to others, the dearest query's too, and no thread spends what another has set aside."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from ledger_pipeline.core.errors import SourceUnavailable
from ledger_pipeline.sources.github.budget import Budget, Shortfall
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline_tests.sources.github.patient_client import Time, ask, client
from ledger_pipeline_tests.sources.simulator.worlds import NAME, NOON, world

RESET = NOON + timedelta(hours=1)


def budget(left: int, reserve: int = 200) -> Budget:
    made = Budget(reserve)
    made.learn(left, RESET, NOON, now=0)
    return made


def test_an_unknown_budget_is_trusted() -> None:
    assert Budget(200).take("q", now=0) == 1


@pytest.mark.parametrize(("left", "enough"), [(210, True), (209, False)])
def test_the_last_cost_of_the_same_query_counts(left: int, enough: bool) -> None:
    points = budget(left)
    points.learn_cost("q", 10)
    points.learn_cost("other", 1)
    assert isinstance(points.take("q", now=0), int) is enough


def test_a_shortfall_says_what_is_left_and_how_long_it_lasts() -> None:
    points = budget(200)
    short = points.take("q", now=600)
    assert isinstance(short, Shortfall)
    assert short.wait_seconds == 3601 - 600
    assert short.problem(points.reserve) == (
        "the budget's reserve of 200 points is reached; 200 left, resets at 2026-01-05T13:00:00Z"
    )


def test_after_the_reset_nothing_is_known() -> None:
    points = budget(0)
    assert isinstance(points.take("q", now=3600), Shortfall)
    assert points.take("q", now=3601) == 1
    assert points.left(now=3601) == float("inf")


def test_what_is_set_aside_is_not_spent_twice() -> None:
    points = budget(202)
    assert [points.take("q", now=0), points.take("q", now=0)] == [1, 1]
    assert isinstance(points.take("q", now=0), Shortfall)
    points.give_back(1)
    assert points.take("q", now=0) == 1


def test_answers_that_come_late_do_not_bring_points_back() -> None:
    points = budget(300)
    points.learn(400, RESET, NOON, now=1)
    assert points.left(now=1) == 300
    points.learn(5000, RESET - timedelta(hours=1), NOON, now=1)
    assert points.left(now=1) == 300
    points.learn(5000, RESET + timedelta(hours=1), NOON, now=1)
    assert points.left(now=1) == 5000


def test_threads_never_take_more_than_there_is() -> None:
    points = budget(250)
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda _: points.take("q", now=0), range(100)))
    assert sum(answer for answer in taken if isinstance(answer, int)) == 50


# The client keeps to it.


def test_the_client_waits_for_the_reset_before_it_touches_the_reserve() -> None:
    time = Time()
    with Simulator(world(), as_of=NOON, points_per_hour=3) as github:
        with client(github.url, time, points_reserve=1) as asked:
            ask(asked, NAME)
            ask(asked, NAME)
            assert time.slept == []
            github.set_clock(NOON + timedelta(hours=1, seconds=1))
            ask(asked, NAME)
        assert time.slept == [3601]
        assert [request.status for request in github.requests] == [200, 200, 200]


def test_the_client_gives_up_where_the_reset_is_too_far() -> None:
    says = f"{NAME}: the budget's reserve of 2 points is reached; 2 left, resets at 2026-01-05T13:00:00Z"
    with (
        Simulator(world(), as_of=NOON, points_per_hour=3) as github,
        client(github.url, points_reserve=2, max_wait_seconds=900) as asked,
    ):
        ask(asked, NAME)
        with pytest.raises(SourceUnavailable, match=says) as raised:
            ask(asked, NAME)
        assert raised.value.retryable
        assert len(github.requests) == 1
