"""The generated world: the same every time, grown only at its end, and with the hard cases in it."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_pipeline.sources.simulator.as_of import seen_at
from ledger_pipeline.sources.simulator.generated import FIRST_MONDAY, WEEK, generate_world
from ledger_pipeline.sources.simulator.world import Actor, ActorKind, Issue, PullRequest, Review, World

UNTIL = datetime(2025, 1, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def year() -> World:
    return generate_world(1, UNTIL)


def pull_requests(world: World) -> list[PullRequest]:
    return [each for repository in world.repositories for each in repository.pull_requests]


def issues(world: World) -> list[Issue]:
    return [each for repository in world.repositories for each in repository.issues]


def reviews(world: World) -> list[Review]:
    return [review for each in pull_requests(world) for review in each.reviews]


def test_a_seed_gives_one_world(year: World) -> None:
    assert generate_world(1, UNTIL) == year
    assert generate_world(2, UNTIL) != year


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    hours=st.integers(0, 40 * 7 * 24),
    more_hours=st.integers(0, 20 * 7 * 24),
)
def test_a_world_generated_further_is_the_same_until_then(seed: int, hours: int, more_hours: int) -> None:
    then = FIRST_MONDAY + timedelta(hours=hours)
    shorter, longer = generate_world(seed, then), generate_world(seed, then + timedelta(hours=more_hours))
    assert seen_at(shorter, then) == seen_at(longer, then)


def test_ids_and_numbers_are_unique(year: World) -> None:
    for ids in (
        [each.database_id for each in pull_requests(year)],
        [each.database_id for each in issues(year)],
        [each.database_id for each in reviews(year)],
    ):
        assert len(ids) == len(set(ids))
    for repository in year.repositories:
        numbers = [each.number for each in repository.pull_requests] + [each.number for each in repository.issues]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_review_ids_leave_31_bits_in_2024(year: World) -> None:
    ids = [each.database_id for each in reviews(year)]
    assert min(ids) < 2**31 < max(ids)


def test_weeks_are_busy_as_promised(year: World) -> None:
    moments = [each.merged_at for each in pull_requests(year)]
    moments += [each.submitted_at for each in reviews(year)]
    moments += [closure.closed_at for each in issues(year) for closure in each.closures]
    weeks = Counter((moment - FIRST_MONDAY) // WEEK for moment in moments if moment is not None)
    usual = sorted(weeks[week] for week in range(3, 50))
    assert 15 <= usual[len(usual) // 2] <= 40
    assert usual[0] >= 10


def test_every_kind_of_author_takes_part(year: World) -> None:
    authors: set[Actor | None] = {each.author for each in pull_requests(year)}
    authors |= {each.author for each in issues(year)} | {each.author for each in reviews(year)}
    assert None in authors
    known = [author for author in authors if author is not None]
    kinds = Counter(author.kind for author in known)
    assert kinds[ActorKind.BOT] == 2
    assert kinds[ActorKind.MANNEQUIN] == kinds[ActorKind.ORGANIZATION] == 1
    assert kinds[ActorKind.USER] == 12


def test_the_hard_cases_are_there(year: World) -> None:
    all_pull_requests, week_ends = pull_requests(year), {FIRST_MONDAY + week * WEEK for week in range(60)}
    last_seconds = {end - timedelta(seconds=1) for end in week_ends}
    assert sum(each.merged_at in week_ends for each in all_pull_requests) >= 30
    assert any(each.submitted_at in last_seconds for each in reviews(year))
    assert any(each.closed_at in last_seconds for each in issues(year))
    assert sum(len(each.reviews) == 250 for each in all_pull_requests) == 2
    assert any(each.state == "CLOSED" and each.reviews for each in all_pull_requests)
    assert any(
        each.merged_at is not None and review.submitted_at is not None and review.submitted_at > each.merged_at
        for each in all_pull_requests
        for review in each.reviews
    )
    assert any(len(each.closures) == 2 for each in issues(year))


def test_label_sweeps_give_dozens_of_items_one_updated_at(year: World) -> None:
    for repository in year.repositories:
        moments = Counter(each.updated_at for each in repository.pull_requests)
        moments += Counter(each.updated_at for each in repository.issues)
        assert moments.most_common(1)[0][1] >= 12


def test_too_many_repositories_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 64 repositories, not 65"):
        generate_world(1, UNTIL, tuple(f"o/{each}" for each in range(65)))
