"""One scan of one repository: pull requests with their reviews, and issues, newest update first.

An item that changes while we read moves to the front, behind us: its update is later than the watermark, so the
next scan finds it.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ledger_pipeline.core.errors import EventError, SourceRefused, SourceUnavailable
from ledger_pipeline.core.events import (
    GITHUB,
    ISSUES,
    PULL_REQUESTS,
    REVIEWS,
    ActivityEvent,
    SkippedActivity,
    parse_instant,
)
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.sources.github.client import Answer, GitHubClient, QueryTooHeavyError
from ledger_pipeline.sources.github.heads import repository_id
from ledger_pipeline.sources.github.mapping import issue_item, pull_request_item, review_item
from ledger_pipeline.sources.github.meter import Meter
from ledger_pipeline.sources.github.page_size import PageSizes
from ledger_pipeline.sources.github.position import Connection, position_of, reached, resume
from ledger_pipeline.sources.github.queries import ACTIVITY, MORE_REVIEWS
from ledger_pipeline.sources.port import ScanPage, ScanRequest, UpdateSpan

# How often a query that cannot be made lighter is tried before the scan is given up.
TRIES_AT_SMALLEST = 3

# What GitHub says of a cursor it does not know, or no more.
_REFUSED_CURSOR = "not appear to be a valid cursor"

Item = ActivityEvent | SkippedActivity | None


class Scan:
    """Reads what `request` asks for, in pages of up to `page_size` items. Of one thread.

    A position that is not of this scan, or that GitHub no longer accepts, begins the scan again from the front: more
    is read then than need be, and nothing is missed.
    """

    def __init__(self, client: GitHubClient, request: ScanRequest, page_size: int) -> None:
        self._client = client
        self._request = request
        owner, _, name = request.source_scope.partition("/")
        self._repository = {"owner": owner, "name": name}
        self._streams = frozenset(request.floors)
        self._sizes = PageSizes(page_size)
        self._meter = Meter()
        self._begin()
        self._is_resumed = request.position is not None and resume(self._connections, request.position)

    def pages(self) -> Iterator[ScanPage]:
        """Page after page, each asked for when it is taken."""
        began_at: datetime | None = None
        while position_of(self._connections) is not None:
            answer = self._next_page()
            began_at = began_at or answer.server_time
            yield self._page(answer, began_at)

    def _begin(self) -> None:
        floors = self._request.floors
        # Reviews come inside their pull request, whose updatedAt a review moves: one floor serves both.
        both = [floors[stream] for stream in (PULL_REQUESTS, REVIEWS) if stream in floors]
        self._pull_requests = Connection("pullRequests", min(both, default=None))
        self._issues = Connection("issues", floors.get(ISSUES))
        self._connections = (self._pull_requests, self._issues)

    def _next_page(self) -> Answer:
        try:
            answer = self._ask_for_page()
        except SourceRefused as error:
            if not self._is_resumed or _REFUSED_CURSOR not in str(error):
                raise
            self._begin()
            answer = self._ask_for_page()
        self._is_resumed = False
        self._sizes.went_well(pull_requests=not self._pull_requests.done)
        return answer

    def _ask_for_page(self) -> Answer:
        with_pull_requests, with_issues = not self._pull_requests.done, not self._issues.done
        return self._ask(
            ACTIVITY,
            lambda: {
                "withPullRequests": with_pull_requests,
                "pullRequestsFirst": self._sizes.pull_requests,
                "pullRequestsAfter": self._pull_requests.after,
                "withReviews": REVIEWS in self._streams,
                "reviewsFirst": self._sizes.reviews,
                "withIssues": with_issues,
                "issuesFirst": self._sizes.issues,
                "issuesAfter": self._issues.after,
                "issuesSince": _github_time(self._issues.floor),
            },
            pull_requests=with_pull_requests,
            reviews=with_pull_requests and REVIEWS in self._streams,
            issues=with_issues,
        )

    def _ask(self, query: str, variables: Callable[[], Mapping[str, Any]], **holds: bool) -> Answer:
        """The answer to a query that holds these connections, asked ever more lightly until GitHub can give it.

        `variables` says how it is asked with the page sizes of the moment.
        """
        source_scope, tries_at_smallest, too_heavy = self._request.source_scope, 0, 0
        while True:
            try:
                return self._meter.ask(self._client.query, source_scope, query, {**self._repository, **variables()})
            except QueryTooHeavyError as error:
                if not self._sizes.shrink(**holds):
                    tries_at_smallest += 1
                if tries_at_smallest == TRIES_AT_SMALLEST:
                    problem = f"GitHub gives up even on the smallest page, {TRIES_AT_SMALLEST} times: {error.problem}"
                    raise self._unavailable(problem) from error
                too_heavy += 1
                if too_heavy > 1:  # an outage looks just like a page that is too heavy
                    self._client.pause(too_heavy - 2)

    def _page(self, answer: Answer, began_at: datetime) -> ScanPage:
        updates: dict[str, UpdateSpan] = {}
        totals: dict[str, int] = {}
        newer: dict[str, int] = {}
        try:
            repository = answer.data["repository"]
            if repository is None:
                raise SourceRefused(GITHUB, self._request.source_scope, "GitHub answers null for the repository")
            items = list(self._items(repository, updates, totals, newer))
            name = repository["nameWithOwner"]
        except (EventError, AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            # Malformed now and, as far as we can tell, on every further try: a person has to look.
            said = f"GitHub's answer has no field {error}" if isinstance(error, KeyError) else str(error)
            raise SourceRefused(GITHUB, self._request.source_scope, plain_message(said, 300)) from error
        return ScanPage(
            source_scope_name=name,
            events=tuple(item for item in items if isinstance(item, ActivityEvent)),
            skipped=tuple(item for item in items if isinstance(item, SkippedActivity)),
            began_at=began_at,
            retrieved_at=answer.server_time,
            updates=updates,
            reached=reached(self._connections),
            usage=self._meter.take(),
            position=position_of(self._connections),
            source_scope_id=repository_id(repository),
            totals=totals,
            newer=newer,
        )

    def _items(
        self,
        repository: Mapping[str, Any],
        updates: dict[str, UpdateSpan],
        totals: dict[str, int],
        newer: dict[str, int],
    ) -> Iterator[Item]:
        """What the page holds, its connections moved behind it.

        `updates` gets the span of each stream, `totals` what GitHub counts, `newer` how many are as new as the floor.
        """
        source_scope, repo = self._request.source_scope, repository["nameWithOwner"]
        if not self._pull_requests.done:
            page = repository["pullRequests"]
            nodes = self._nodes(page)
            totals[PULL_REQUESTS] = page["totalCount"]
            newer[PULL_REQUESTS] = _updated_since(nodes, self._pull_requests.floor)
            self._pull_requests.move_behind(page)
            for stream, total in ((PULL_REQUESTS, page["totalCount"]), (REVIEWS, None)):
                if nodes and stream in self._streams:
                    updates[stream] = _span(nodes, total)
            for node in nodes:
                if PULL_REQUESTS in self._streams:
                    yield pull_request_item(source_scope, repo, node)
                if REVIEWS in self._streams:
                    for review in self._reviews(node):
                        yield review_item(source_scope, repo, node["number"], review)
        if not self._issues.done:
            page = repository["issues"]
            nodes = self._nodes(page)
            totals[ISSUES] = repository["allIssues"]["totalCount"]
            newer[ISSUES] = _updated_since(nodes, self._issues.floor)
            self._issues.move_behind(page)
            if nodes:
                updates[ISSUES] = _span(nodes, page["totalCount"])
            for node in nodes:
                yield issue_item(source_scope, repo, node)

    def _reviews(self, pull_request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """All reviews of a pull request, following the nested connection past its first page."""
        reviews = pull_request["reviews"]
        while True:
            yield from self._nodes(reviews)
            if not reviews["pageInfo"]["hasNextPage"]:
                return
            reviews = self._more_reviews(pull_request["number"], reviews["pageInfo"]["endCursor"])

    def _more_reviews(self, number: int, after: str) -> dict[str, Any]:
        answer = self._ask(
            MORE_REVIEWS,
            lambda: {"number": number, "reviewsFirst": self._sizes.reviews, "after": after},
            reviews=True,
        )
        reviews: dict[str, Any] = answer.data["repository"]["pullRequest"]["reviews"]
        return reviews

    def _nodes(self, page: Mapping[str, Any]) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = page["nodes"]
        if any(node is None for node in nodes):
            # GitHub does so when it could not load an item in time: what it hides may be an event.
            raise self._unavailable("a page holds a null where an item should be")
        return nodes

    def _unavailable(self, problem: str) -> SourceUnavailable:
        return SourceUnavailable(GITHUB, self._request.source_scope, problem)


def _span(nodes: list[dict[str, Any]], total: int | None) -> UpdateSpan:
    times = [parse_instant(node["updatedAt"]) for node in nodes]
    return UpdateSpan(min(times), max(times), total)


def _updated_since(nodes: list[dict[str, Any]], floor: datetime | None) -> int:
    return sum(floor is not None and parse_instant(node["updatedAt"]) >= floor for node in nodes)


def _github_time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
