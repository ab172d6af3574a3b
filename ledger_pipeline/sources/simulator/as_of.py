"""What of a world has happened at an instant: the same world with every later fact taken out.

The clock meets the facts only here. Everything after this step serves what it is given, so advancing the clock is
activity arriving.
"""

from bisect import bisect_right
from dataclasses import replace
from datetime import datetime

from ledger_pipeline.sources.simulator.world import Issue, PullRequest, Repository, Review, World


def seen_at(world: World, instant: datetime) -> World:
    """The world as GitHub shows it at that instant to somebody other than its authors."""
    made = (repo for repo in world.repositories if repo.created_at is None or repo.created_at <= instant)
    return replace(world, repositories=tuple(_repository_at(repository, instant) for repository in made))


def changes_of(world: World) -> list[datetime]:
    """Every instant at which what is seen of this world changes, in order."""
    moments: set[datetime] = set()
    for repository in world.repositories:
        if repository.created_at is not None:
            moments.add(repository.created_at)
        for issue in repository.issues:
            moments.update(issue.changes)
        for pull_request in repository.pull_requests:
            moments.update(pull_request.changes)
            moments.update(review.edited_at for review in pull_request.reviews if review.edited_at is not None)
    return sorted(moments)


def _repository_at(repository: Repository, instant: datetime) -> Repository:
    return replace(
        repository,
        pull_requests=tuple(
            _pull_request_at(pull_request, instant)
            for pull_request in repository.pull_requests
            if pull_request.created_at <= instant
        ),
        issues=tuple(_issue_at(issue, instant) for issue in repository.issues if issue.created_at <= instant),
    )


def _pull_request_at(pull_request: PullRequest, instant: datetime) -> PullRequest:
    reviews = tuple(
        _review_at(review, instant)
        for review in pull_request.reviews
        if review.submitted_at is not None and review.submitted_at <= instant
    )
    if pull_request.updated_at <= instant:
        # Most of a long history is past: sharing it keeps a step of the clock cheap.
        return pull_request if reviews == pull_request.reviews else replace(pull_request, reviews=reviews)
    merged_at = _past(pull_request.merged_at, instant)
    return replace(
        pull_request,
        closed_at=_past(pull_request.closed_at, instant),
        merged_at=merged_at,
        merged_by=pull_request.merged_by if merged_at is not None else None,
        merge_commit=pull_request.merge_commit if merged_at is not None else None,
        touched_at=_until(pull_request.touched_at, instant),
        reviews=reviews,
    )


def _review_at(review: Review, instant: datetime) -> Review:
    if review.edited_at is None or review.edited_at <= instant:
        return review
    return replace(review, edited_at=None)


def _issue_at(issue: Issue, instant: datetime) -> Issue:
    if issue.updated_at <= instant:
        return issue
    closures = tuple(
        replace(closure, reopened_at=_past(closure.reopened_at, instant))
        for closure in issue.closures
        if closure.closed_at <= instant
    )
    return replace(issue, closures=closures, touched_at=_until(issue.touched_at, instant))


def _past(moment: datetime | None, instant: datetime) -> datetime | None:
    return moment if moment is not None and moment <= instant else None


def _until(moments: tuple[datetime, ...], instant: datetime) -> tuple[datetime, ...]:
    ordered = sorted(moments)
    return tuple(ordered[: bisect_right(ordered, instant)])
