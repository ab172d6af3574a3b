"""GitHub as an ActivitySource: one scan serves pull requests, reviews and issues of a repository.

Pages come newest update first. An item that changes while we read moves to the front, behind us: its update is
later than the watermark, so the next scan finds it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from ledger_pipeline.core.errors import EventError, SourceRefused, SourceUnavailable
from ledger_pipeline.core.events import (
    GITHUB,
    GITHUB_STREAMS,
    ISSUES,
    PULL_REQUESTS,
    REVIEWS,
    ActivityEvent,
    parse_instant,
)
from ledger_pipeline.sources.github.client import Answer, GitHubClient
from ledger_pipeline.sources.github.mapping import issue_item, pull_request_item, review_item
from ledger_pipeline.sources.github.queries import ACTIVITY, MORE_REVIEWS
from ledger_pipeline.sources.port import RequestUsage, ScanPage, ScanRequest, SkippedItem


class GitHubSource:
    """Reads repositories through `client`, `page_size` items a page (1 to 100)."""

    name = GITHUB
    producer = "ledger-pipeline/github"
    producer_version = version("ledger-pipeline")
    streams: tuple[str, ...] = GITHUB_STREAMS

    def __init__(self, client: GitHubClient, page_size: int = 100) -> None:
        self._client = client
        self._page_size = page_size

    def scan(self, request: ScanRequest) -> Iterator[ScanPage]:
        """Every update of the repository since the request's floors, as `ActivitySource.scan` promises."""
        return _Scan(self._client, request, self._page_size).pages()


@dataclass
class _Connection:
    """How far one connection has been read; nothing is asked of it once it is done."""

    floor: datetime | None
    after: str | None = None
    reached: datetime | None = None
    done: bool = field(init=False)

    def __post_init__(self) -> None:
        self.done = self.floor is None

    def move_behind(self, nodes: list[dict[str, Any]], connection: Mapping[str, Any]) -> None:
        """Having read a page: done when the connection ends, or reaches below the floor."""
        if nodes:
            self.reached = parse_instant(nodes[-1]["updatedAt"])
        self.after = connection["pageInfo"]["endCursor"]
        below_floor = self.floor is not None and self.reached is not None and self.reached < self.floor
        self.done = below_floor or not connection["pageInfo"]["hasNextPage"]


class _Scan:
    """One scan of one repository."""

    def __init__(self, client: GitHubClient, request: ScanRequest, page_size: int) -> None:
        self._client = client
        self._source_scope = request.source_scope
        owner, _, name = request.source_scope.partition("/")
        self._repository = {"owner": owner, "name": name}
        self._page_size = page_size
        self._streams = frozenset(request.floors)
        pull_request_floors = [floor for stream, floor in request.floors.items() if stream in (PULL_REQUESTS, REVIEWS)]
        # Reviews come inside their pull request, whose updatedAt a review moves: one floor serves both.
        self._pull_requests = _Connection(min(pull_request_floors, default=None))
        self._issues = _Connection(request.floors.get(ISSUES))
        self._requests = self._points = 0
        self._points_left: int | None = None

    def pages(self) -> Iterator[ScanPage]:
        watermark: datetime | None = None
        while not (self._pull_requests.done and self._issues.done):
            answer = self._ask(ACTIVITY, self._variables())
            watermark = watermark or answer.server_time
            try:
                items = list(self._items(answer.data["repository"]))
            except (EventError, KeyError, TypeError) as error:
                # Malformed now and, as far as we can tell, on every further try: a person has to look.
                raise SourceRefused(GITHUB, self._source_scope, str(error)) from error
            yield ScanPage(
                events=tuple(item for item in items if isinstance(item, ActivityEvent)),
                skipped=tuple(item for item in items if isinstance(item, SkippedItem)),
                watermark=watermark,
                retrieved_at=answer.server_time,
                reached=self._reached(),
                usage=self._take_usage(),
            )

    def _variables(self) -> dict[str, Any]:
        since = self._issues.floor
        return {
            **self._repository,
            "withPullRequests": not self._pull_requests.done,
            "withReviews": REVIEWS in self._streams,
            "pullRequestsFirst": self._page_size,
            "pullRequestsAfter": self._pull_requests.after,
            "withIssues": not self._issues.done,
            "issuesFirst": self._page_size,
            "issuesAfter": self._issues.after,
            "issuesSince": since and since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def _items(self, repository: Mapping[str, Any] | None) -> Iterator[ActivityEvent | SkippedItem | None]:
        if repository is None:
            raise SourceRefused(GITHUB, self._source_scope, "GitHub answers null for the repository")
        repo = repository["nameWithOwner"]
        if not self._pull_requests.done:
            nodes = self._nodes(repository["pullRequests"])
            self._pull_requests.move_behind(nodes, repository["pullRequests"])
            for node in nodes:
                if PULL_REQUESTS in self._streams:
                    yield pull_request_item(repo, node)
                if REVIEWS in self._streams:
                    for review in self._reviews(node):
                        yield review_item(repo, node["number"], review)
        if not self._issues.done:
            nodes = self._nodes(repository["issues"])
            self._issues.move_behind(nodes, repository["issues"])
            for node in nodes:
                yield issue_item(repo, node)

    def _reviews(self, pull_request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """All reviews of a pull request, following the nested connection past its first page."""
        reviews = pull_request["reviews"]
        while True:
            yield from self._nodes(reviews)
            if not reviews["pageInfo"]["hasNextPage"]:
                return
            variables = {"number": pull_request["number"], "after": reviews["pageInfo"]["endCursor"]}
            answer = self._ask(MORE_REVIEWS, {**self._repository, **variables})
            reviews = answer.data["repository"]["pullRequest"]["reviews"]

    def _nodes(self, connection: Mapping[str, Any]) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = connection["nodes"]
        if any(node is None for node in nodes):
            # GitHub does so when it could not load an item in time: what it hides may be an event.
            raise SourceUnavailable(GITHUB, self._source_scope, "a page holds a null where an item should be")
        return nodes

    def _ask(self, query: str, variables: Mapping[str, Any]) -> Answer:
        answer = self._client.query(self._source_scope, query, variables)
        self._requests += 1
        self._points += answer.points
        self._points_left = answer.points_left
        return answer

    def _take_usage(self) -> RequestUsage:
        usage = RequestUsage(self._requests, self._points, self._points_left)
        self._requests = self._points = 0
        return usage

    def _reached(self) -> datetime | None:
        """The newest of what the unfinished connections have reached: everything above it has been read."""
        open_ones = [c for c in (self._pull_requests, self._issues) if not c.done]
        reached = [c.reached for c in open_ones if c.reached is not None]
        return max(reached, default=None)
