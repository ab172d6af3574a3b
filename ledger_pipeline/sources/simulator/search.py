"""GitHub's issue search, as far as counting needs it: qualifiers that narrow, no words to look for.

A qualifier that is not known here is refused: to ignore one would answer a number that is too large.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from ledger_pipeline.sources.simulator.errors import GitHubError
from ledger_pipeline.sources.simulator.view import RepositoryView, WorldView
from ledger_pipeline.sources.simulator.world import Issue, PullRequest

Found = tuple[RepositoryView, PullRequest | Issue]
Test = Callable[[PullRequest | Issue], bool]


def search(world: WorldView, query: str) -> list[Found]:
    """What matches every qualifier of the query, the newest first."""
    terms = [term.partition(":") for term in query.split()]
    names = [value for key, _, value in terms if key == "repo"]
    if not names:
        raise GitHubError("UNSUPPORTED_SEARCH", "The simulator searches only what repo:owner/name names.")
    tests = [_test(key, value) for key, _, value in terms if key not in ("repo", "sort")]
    repositories = [view for name in names if (view := world.named(name)) is not None]
    matches = [(view, item) for view in repositories for item in _items(view) if all(test(item) for test in tests)]
    return sorted(matches, key=lambda pair: (pair[1].created_at, pair[1].database_id), reverse=True)


def _items(view: RepositoryView) -> Iterator[PullRequest | Issue]:
    yield from view.repository.pull_requests
    yield from view.repository.issues


def _test(key: str, value: str) -> Test:
    if key in ("is", "type", "state") and value in _STATES:
        return _STATES[value]
    if key == "author":
        return lambda item: item.author is not None and item.author.login.lower() == value.lower()
    if key in _MOMENTS:
        start, end = _range(value)
        moment_of = _MOMENTS[key]
        return lambda item: (moment := moment_of(item)) is not None and start <= moment < end
    raise GitHubError("UNSUPPORTED_SEARCH", f"The simulator does not know the search qualifier '{key}:{value}'.")


_STATES: dict[str, Test] = {
    "pr": lambda item: isinstance(item, PullRequest),
    "issue": lambda item: isinstance(item, Issue),
    "open": lambda item: item.state == "OPEN",
    "closed": lambda item: item.state != "OPEN",
    "merged": lambda item: item.state == "MERGED",
    "unmerged": lambda item: isinstance(item, PullRequest) and item.state != "MERGED",
}

_MOMENTS: dict[str, Callable[[PullRequest | Issue], datetime | None]] = {
    "created": lambda item: item.created_at,
    "updated": lambda item: item.updated_at,
    "closed": lambda item: item.closed_at,
    "merged": lambda item: item.merged_at if isinstance(item, PullRequest) else None,
}

_ALWAYS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def _range(value: str) -> tuple[datetime, datetime]:
    """Half-open; GitHub's own ranges include their last second, or the whole of their last day."""
    if ".." in value:
        low, _, high = value.partition("..")
        return (
            _ALWAYS[0] if low == "*" else _span(low)[0],
            _ALWAYS[1] if high == "*" else _span(high)[1],
        )
    operator, bound = re.fullmatch(r"(>=|<=|>|<|)(.*)", value).groups()  # type: ignore[union-attr]
    start, end = _span(bound)
    return {
        "": (start, end),
        ">=": (start, _ALWAYS[1]),
        ">": (end, _ALWAYS[1]),
        "<": (_ALWAYS[0], start),
        "<=": (_ALWAYS[0], end),
    }[operator]


def _span(text: str) -> tuple[datetime, datetime]:
    """The day or the second that is meant."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise GitHubError("UNSUPPORTED_SEARCH", f"'{text}' is not a date in a search.") from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return moment, moment + (timedelta(days=1) if len(text) == len("2026-01-05") else timedelta(seconds=1))
