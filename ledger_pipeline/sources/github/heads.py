"""What changed last in many repositories, a hundred to a request."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from ledger_pipeline.core.errors import SourceError, SourceRefused
from ledger_pipeline.core.sources import ISSUES, PULL_REQUESTS, REVIEWS
from ledger_pipeline.sources.github.answer import QueryTooHeavyError
from ledger_pipeline.sources.github.client import GitHubClient
from ledger_pipeline.sources.github.envelope import GraphQLError
from ledger_pipeline.sources.github.failed_tries import is_limit
from ledger_pipeline.sources.github.meter import Meter
from ledger_pipeline.sources.github.payloads import RepositoryHead, UnusablePayload, read
from ledger_pipeline.sources.github.queries import heads_query
from ledger_pipeline.sources.port import Head, Heads

# 100 repositories are two points, 400 nodes and nine kilobytes: far from what GitHub refuses.
REPOSITORIES_PER_QUERY = 100

# After so many single repositories in a row that got no answer, it is not the repositories.
FAILURES_IN_A_ROW = 3


def read_heads(client: GitHubClient, source_scopes: Sequence[str]) -> Heads:
    """Heads of all `source_scopes` that GitHub has and could tell of.

    One it left out may be missing, forbidden or only slow: a scan of it says which. Raises the first SourceError if
    nobody could be asked at all.
    """
    return _Reading(client).read(list(dict.fromkeys(source_scopes)))


class _Reading:
    """One round of questions, in one thread."""

    def __init__(self, client: GitHubClient) -> None:
        self._client = client
        self._meter = Meter()
        self._heads: dict[str, Head] = {}
        self._began_at: datetime | None = None
        self._first_error: SourceError | None = None
        self._too_heavy = 0

    def read(self, source_scopes: list[str]) -> Heads:
        for group in self._groups(source_scopes):
            self._read_group(group)
        if self._began_at is None and self._first_error is not None:
            raise self._first_error
        # Of no source_scopes at all nothing is asked, so GitHub told no time; nor does any head depend on it.
        return Heads(self._heads, self._began_at or datetime.now(UTC), self._meter.take())

    def _groups(self, source_scopes: list[str]) -> list[list[str]]:
        """Those that the same credentials may ask for, together."""
        groups: dict[str, list[str]] = {}
        for source_scope in source_scopes:
            try:
                groups.setdefault(self._client.group_key(source_scope), []).append(source_scope)
            except SourceError as error:
                self._first_error = self._first_error or error
        return list(groups.values())

    def _read_group(self, source_scopes: list[str]) -> None:
        size, failures, start = REPOSITORIES_PER_QUERY, 0, 0
        while start < len(source_scopes) and failures < FAILURES_IN_A_ROW:
            asked = source_scopes[start : start + size]
            try:
                self._ask(asked)
            except (QueryTooHeavyError, SourceRefused) as error:
                # Of many, one alone may be the cause (an organization that wants SSO refuses all): find it.
                self._first_error = self._first_error or error
                self._back_off(error)
                if len(asked) > 1:
                    size = len(asked) // 2
                else:
                    failures += 1
                    start += 1
            except SourceError as error:
                self._first_error = self._first_error or error
                return
            else:
                failures = self._too_heavy = 0
                start += len(asked)
                size = min(size * 2, REPOSITORIES_PER_QUERY)

    def _back_off(self, error: SourceError) -> None:
        """Wait from the second time in a row on that GitHub gave up: an outage looks just like too much at once."""
        self._too_heavy = self._too_heavy + 1 if isinstance(error, QueryTooHeavyError) else 0
        if self._too_heavy > 1:
            self._client.pause(self._too_heavy - 2)

    def _ask(self, source_scopes: list[str]) -> None:
        variables: dict[str, str] = {}
        for n, source_scope in enumerate(source_scopes):
            variables[f"o{n}"], _, variables[f"n{n}"] = source_scope.partition("/")
        query = heads_query(len(source_scopes))
        question = partial(self._client.query_partially, allowed=_is_of_one_repository, is_optional=True)
        answer = self._meter.ask(question, source_scopes[0], query, variables)
        self._began_at = self._began_at or answer.server_time
        failed = {error.path[0] for error in answer.errors}
        for n, source_scope in enumerate(source_scopes):
            if f"r{n}" in failed:
                continue
            head = _head(answer.data.get(f"r{n}"), answer.date)
            if head is not None:
                self._heads[source_scope] = head


def _is_of_one_repository(error: GraphQLError) -> bool:
    """Whether it is about one repository alone: it is not there, or something of it is forbidden."""
    return error.type in ("NOT_FOUND", "FORBIDDEN") and bool(error.path) and not is_limit(error)


def _head(repository: object, answered_at: datetime) -> Head | None:
    """The head in an answer; None also where the answer has holes: a scan of that repository will show what it is."""
    try:
        head = read(RepositoryHead, repository, answered_at)
    except UnusablePayload:
        return None
    # A review moves its pull request's updatedAt: the newest of these is never older than the newest review.
    moved = head.pull_requests.newest
    totals = {PULL_REQUESTS: head.pull_requests.total_count, ISSUES: head.issues.total_count}
    return Head({PULL_REQUESTS: moved, REVIEWS: moved, ISSUES: head.issues.newest}, totals, head.database_id)
