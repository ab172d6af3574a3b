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
    return [pull_request for repository in world.repositories for pull_request in repository.pull_requests]


def issues(world: World) -> list[Issue]:
    return [issue for repository in world.repositories for issue in repository.issues]


def reviews(world: World) -> list[Review]:
    return [review for pull_request in pull_requests(world) for review in pull_request.reviews]


def test_a_seed_gives_one_world(year: World) -> None:
    assert generate_world(1, UNTIL) == year
    assert generate_world(2, UNTIL) != year


def test_an_owner_has_two_repositories() -> None:
    world = generate_world(1, FIRST_MONDAY, ("acme/*", "other/site"))
    assert [repository.name_with_owner for repository in world.repositories] == ["acme/app", "acme/docs", "other/site"]


@settings(max_examples=10)
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
        [pull_request.database_id for pull_request in pull_requests(year)],
        [issue.database_id for issue in issues(year)],
        [review.database_id for review in reviews(year)],
    ):
        assert len(ids) == len(set(ids))
    for repository in year.repositories:
        numbers = [pull_request.number for pull_request in repository.pull_requests] + [
            issue.number for issue in repository.issues
        ]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_review_ids_leave_31_bits_in_2024(year: World) -> None:
    ids = [review.database_id for review in reviews(year)]
    assert min(ids) < 2**31 < max(ids)


def test_weeks_are_busy_as_promised(year: World) -> None:
    moments = [pull_request.merged_at for pull_request in pull_requests(year)]
    moments += [review.submitted_at for review in reviews(year)]
    moments += [closure.closed_at for issue in issues(year) for closure in issue.closures]
    weeks = Counter((moment - FIRST_MONDAY) // WEEK for moment in moments if moment is not None)
    usual = sorted(weeks[week] for week in range(3, 50))
    assert 15 <= usual[len(usual) // 2] <= 40
    assert usual[0] >= 10


def test_every_kind_of_author_takes_part(year: World) -> None:
    authors: set[Actor | None] = {pull_request.author for pull_request in pull_requests(year)}
    authors |= {issue.author for issue in issues(year)} | {review.author for review in reviews(year)}
    assert None in authors
    named = [author for author in authors if author is not None]
    kinds = Counter(author.kind for author in named)
    assert kinds[ActorKind.BOT] == 2
    assert kinds[ActorKind.MANNEQUIN] == kinds[ActorKind.ORGANIZATION] == 1
    assert kinds[ActorKind.USER] == 12


def test_the_hard_cases_are_there(year: World) -> None:
    all_pull_requests, week_ends = pull_requests(year), {FIRST_MONDAY + week * WEEK for week in range(60)}
    last_seconds = {end - timedelta(seconds=1) for end in week_ends}
    assert sum(pull_request.merged_at in week_ends for pull_request in all_pull_requests) >= 30
    assert any(review.submitted_at in last_seconds for review in reviews(year))
    assert any(issue.closed_at in last_seconds for issue in issues(year))
    assert sum(len(pull_request.reviews) == 250 for pull_request in all_pull_requests) == 2
    assert any(pull_request.state == "CLOSED" and pull_request.reviews for pull_request in all_pull_requests)
    assert any(
        pull_request.merged_at is not None
        and review.submitted_at is not None
        and review.submitted_at > pull_request.merged_at
        for pull_request in all_pull_requests
        for review in pull_request.reviews
    )
    assert any(len(issue.closures) == 2 for issue in issues(year))


def test_label_sweeps_give_dozens_of_items_one_updated_at(year: World) -> None:
    for repository in year.repositories:
        moments = Counter(pull_request.updated_at for pull_request in repository.pull_requests)
        moments += Counter(issue.updated_at for issue in repository.issues)
        assert moments.most_common(1)[0][1] >= 12


def test_too_many_repositories_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 64 repositories, not 65"):
        generate_world(1, UNTIL, tuple(f"o/{number}" for number in range(65)))
