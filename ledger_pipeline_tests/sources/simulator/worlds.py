"""Small worlds for tests, in one line each."""

from datetime import UTC, datetime, timedelta
from typing import Any

from ledger_pipeline.sources.simulator.world import Actor, Issue, PullRequest, Repository, Review, World

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
NOON = MONDAY + timedelta(hours=12)
LATER = datetime(2030, 1, 1, tzinfo=UTC)
ANA = Actor("ana", 7)

NAME = "cogni-dao/ledger"


def pull_request(number: int, created_at: datetime = MONDAY, **facts: Any) -> PullRequest:
    return PullRequest(number, 3_000_000_000 + number, f"Change {number}", ANA, created_at, **facts)


def merged(number: int, merged_at: datetime = NOON, **facts: Any) -> PullRequest:
    return pull_request(number, closed_at=merged_at, merged_at=merged_at, merged_by=ANA, **facts)


def review(number: int, submitted_at: datetime | None = NOON, **facts: Any) -> Review:
    return Review(4_000_000_000 + number, ANA, submitted_at, **facts)


def issue(number: int, created_at: datetime = MONDAY, **facts: Any) -> Issue:
    return Issue(number, 5_000_000_000 + number, f"Problem {number}", ANA, created_at, **facts)


def repository(*items: PullRequest | Issue, name: str = NAME, **facts: Any) -> Repository:
    pull_requests = tuple(item for item in items if isinstance(item, PullRequest))
    issues = tuple(item for item in items if isinstance(item, Issue))
    return Repository(name, facts.pop("database_id", 1), pull_requests, issues, **facts)


def world(*items: PullRequest | Issue, **facts: Any) -> World:
    return World((repository(*items, **facts),))
