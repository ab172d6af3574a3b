"""Pages of one repository's lists: how each is asked for, ever smaller where GitHub gives up, and which of them counts.

A page in the middle of a list may be short, for GitHub leaves out what it shows nobody, or because it was in trouble.
It is asked for once more, unless that brought nothing for an earlier page. What both leave out is lacking at the list's
end; a scan that stops at its floor does not come there, and believes them. No count tells then: what was left out is
found once it is updated, or by a later scan that reads back over it, as the closing scan of its epoch does.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ledger_pipeline.core.errors import SourceRefused, SourceUnavailable
from ledger_pipeline.core.sources import (
    GITHUB,
    ISSUE,
    ISSUES,
    PULL_REQUEST,
    PULL_REQUESTS,
    REVIEWS,
    streams_by_item_kind,
)
from ledger_pipeline.sources.github.answer import Answer, QueryTooHeavyError
from ledger_pipeline.sources.github.asking import Asker, RepositoryPart, is_of_a_node, without_failed_nodes
from ledger_pipeline.sources.github.endless import LeadsNowhere
from ledger_pipeline.sources.github.envelope import GraphQLError
from ledger_pipeline.sources.github.forbidden import forbidden_connections, is_of_a_part, refusal
from ledger_pipeline.sources.github.page_size import PageSizes
from ledger_pipeline.sources.github.payloads import Listed, Page, UnusablePayload, listed, read
from ledger_pipeline.sources.github.position import ConnectionProgress, resume
from ledger_pipeline.sources.github.queries import ACTIVITY, PLACE
from ledger_pipeline.sources.port import ScanRequest

# How often even the lightest page is asked for: where that gets no answer, it is not an item's doing.
LIGHT_TRIES = 2

# What GitHub says of a cursor it does not know, or no more.
_REFUSED_CURSOR = "not appear to be a valid cursor"


class CannotListError(SourceUnavailable):
    """GitHub gives up even on the lightest page."""


class RepositoryPages:
    """The pages of `request`'s two lists, asked for through `asker` in `sizes`. One thread uses it.

    `connections` say where each list is read to; `refused` are the streams that the credentials may not read.
    """

    def __init__(self, asker: Asker, request: ScanRequest, sizes: PageSizes) -> None:
        self.sizes = sizes
        self.refused: dict[str, str] = {}
        self._asker = asker
        self._request = request
        self._streams = frozenset(request.floors)
        self._forbidden: dict[str, str] = {}
        self._begin()
        self._is_resumed = request.position is not None and resume(self.connections, request.position)
        self._has_begun_again = request.position is not None and not self._is_resumed

    def next_part(self) -> RepositoryPart:
        """The next page, ever smaller until GitHub gives it. Raises QueryTooHeavyError at the smallest."""
        while True:
            try:
                return self._part(self._ask_for_position())
            except QueryTooHeavyError:
                if not self.sizes.shrink(
                    pull_requests=not self.pull_requests.done,
                    reviews=not self.pull_requests.done and REVIEWS in self._streams,
                    issues=not self.issues.done,
                ):
                    raise

    def begun_again(self, connection: ConnectionProgress) -> frozenset[str]:
        """The streams that the next page of a connection reads again from the front: what was read before comes again.

        None where it goes on behind the page before, or is read for the first time.
        """
        if connection.after is not None or not (self._has_begun_again or connection.has_begun_again):
            return frozenset()
        return self._streams.intersection(streams_of(item_kind_of(connection)))

    def light_page(self, connection: ConnectionProgress) -> tuple[RepositoryPart, Page]:
        """The page of a connection with hardly anything of its items. Raises CannotListError if there is none."""
        for _ in range(LIGHT_TRIES):
            try:
                return self.page_alone(connection, whole=False)
            except QueryTooHeavyError as error:
                last = error
        problem = f"GitHub gives up even on the lightest page, {LIGHT_TRIES} times: {last.problem}"
        raise CannotListError(GITHUB, self._request.source_scope, problem, retry_after_seconds=last.retry_after_seconds)

    def place(self, connection: ConnectionProgress, error: CannotListError) -> tuple[RepositoryPart, Page]:
        """The place of the next item as a page that holds null, or nothing at the end. Raises `error` without one."""
        try:
            answer_part = self._part(self._asker.ask(PLACE, self._places([connection])))
        except QueryTooHeavyError:
            raise error from None
        page = self.page_of(answer_part, connection, nodes=[])
        return answer_part, page if page.page_info.is_empty else page.model_copy(update={"nodes": [None]})

    def page_alone(self, connection: ConnectionProgress, *, whole: bool = True) -> tuple[RepositoryPart, Page]:
        """The page of one connection. Raises QueryTooHeavyError."""
        answer_part = self._part(self._ask_once([connection], whole=whole))
        return answer_part, self.page_of(answer_part, connection)

    def unless_short(
        self,
        connection: ConnectionProgress,
        answer_part: RepositoryPart,
        page: Page,
        ask: Callable[[ConnectionProgress], tuple[RepositoryPart, Page]],
    ) -> tuple[RepositoryPart, Page]:
        """The page, or what `ask` gives in its place where it ends the list too early: GitHub may be behind itself.

        One that is short although the list goes on is asked for again too, until that brings no more: GitHub has such
        pages for good where it hides items. The longer one counts.
        """
        is_short = connection.is_short(page)
        if not is_short and lacking_of(connection, page, listed_items(answer_part, page)) is None:
            return answer_part, page
        try:
            part_again, again = ask(connection)
        except QueryTooHeavyError:
            return answer_part, page
        connection.is_often_short |= is_short and len(again.nodes) <= len(page.nodes)
        return (answer_part, page) if is_short and len(again.nodes) < len(page.nodes) else (part_again, again)

    def missed(self, connection: ConnectionProgress) -> int:
        """How many items the scan has not come by that have been updated since it began, and stand at the front.

        As far as GitHub lists them: who stands behind one that it cannot list is none of them.
        """
        front, missed = ConnectionProgress(connection.name, connection.floor), set[int]()
        while not front.done:
            try:
                answer_part, page = self.light_page(front)
            except CannotListError:
                break
            items = listed_items(answer_part, page)
            missed |= connection.missed(items)
            if not all(map(connection.is_for_the_next, items)):
                break
            self.move_behind(front, page, items)
        return len(missed)

    def move_behind(
        self, connection: ConnectionProgress, page: Page, items: Sequence[Listed], beside: Sequence[Listed] = ()
    ) -> None:
        """Go on behind `page`. Raises SourceRefused where its cursor leads nowhere."""
        try:
            connection.move_behind(page.page_info, items, beside)
        except LeadsNowhere as error:
            raise self._asker.refused(str(error)) from None

    def open(self) -> list[ConnectionProgress]:
        """The lists that are not read to their end."""
        return [connection for connection in self.connections if not connection.done]

    def _begin(self) -> None:
        floors = self._request.floors
        # Reviews come inside their pull request, whose updatedAt a review moves: one floor serves both.
        both = [floors[stream] for stream in (PULL_REQUESTS, REVIEWS) if stream in floors]
        self.pull_requests = ConnectionProgress("pullRequests", min(both, default=None))
        self.issues = ConnectionProgress("issues", floors.get(ISSUES))
        self.connections = (self.pull_requests, self.issues)

    def _ask_for_position(self) -> Answer:
        """The page where the scan stands, of the connections that the credentials may read."""
        while True:
            try:
                answer = self._ask_once(self.open(), whole=True, allowed=is_of_a_part)
            except SourceRefused as error:
                if not self._is_resumed or _REFUSED_CURSOR not in str(error):
                    raise
                self._begin()
                self._is_resumed, self._has_begun_again = False, True
                continue
            if not self._note_refused(answer):
                self._is_resumed = False
                return answer

    def _note_refused(self, answer: Answer) -> bool:
        """Note which connections the credentials may not read. Raises SourceRefused where these are all there are.

        False where there are none of those that were asked for: asking again would bring the same.
        """
        forbidden, scope = forbidden_connections(answer), self._request.source_scope
        refused = [connection for connection in self.open() if connection.name in forbidden]
        for connection in refused:
            connection.done = True
            self._forbidden[connection.name] = forbidden[connection.name]
            for stream in self._streams.intersection(streams_of(item_kind_of(connection))):
                self.refused[stream] = refusal([connection.name], scope, forbidden[connection.name])
        if refused and self.refused.keys() == self._streams:
            raise self._asker.refused(refusal([*self._forbidden], scope, forbidden[refused[-1].name]))
        return bool(refused)

    def _ask_once(
        self,
        connections: Sequence[ConnectionProgress],
        *,
        whole: bool,
        allowed: Callable[[GraphQLError], bool] = is_of_a_node,
    ) -> Answer:
        self.pull_requests.asked, self.issues.asked = self.sizes.pull_requests, self.sizes.issues
        variables: Mapping[str, Any] = {
            **self._places(connections),
            "whole": whole,
            "pullRequestsFirst": self.sizes.pull_requests,
            "withReviews": whole and REVIEWS in self._streams,
            "reviewsFirst": self.sizes.reviews,
            "issuesFirst": self.sizes.issues,
        }
        return self._asker.ask(ACTIVITY, variables, allowed)

    def _places(self, connections: Sequence[ConnectionProgress]) -> dict[str, Any]:
        """What a query needs to know of these, and that it is not to ask for others."""
        pull_requests, issues = (
            next((connection for connection in connections if connection.name == of.name), None)
            for of in self.connections
        )
        return {
            "withPullRequests": pull_requests is not None,
            "pullRequestsAfter": pull_requests and pull_requests.after,
            "withIssues": issues is not None,
            "issuesAfter": issues and issues.after,
            "issuesSince": _github_time(self.issues.floor),
        }

    def _part(self, answer: Answer) -> RepositoryPart:
        without_failed_nodes(answer)
        return self._asker.part(answer)

    def page_of(self, answer_part: RepositoryPart, connection: ConnectionProgress, **also: object) -> Page:
        """The page that an answer holds of a list. Raises SourceRefused where it is malformed."""
        payload: object = (
            answer_part.repository.issues
            if connection.name == self.issues.name
            else answer_part.repository.pull_requests
        )
        try:
            return read(Page, {**payload, **also} if isinstance(payload, dict) else payload, answer_part.answer.date)
        except UnusablePayload as error:
            # Malformed now and, as far as we can tell, on every further try: a person has to look.
            raise self._asker.refused(f"a page of {connection.name} is malformed: {error}") from None


def listed_items(answer_part: RepositoryPart, page: Page) -> list[Listed]:
    """What each node of a page tells of its item."""
    return [listed(node, answer_part.answer.date) for node in page.nodes]


def lacking_of(connection: ConnectionProgress, page: Page, items: Sequence[Listed], missed: int = 0) -> str | None:
    """What a list lacks that a page of `items` ends, with so many that were `missed`; None: nothing, or it goes on."""
    if page.page_info.has_next_page:
        return None
    if page.total_count is None:
        return f"a page ends the {connection.name} and does not say how many there are"
    count = connection.read_with(items) + missed
    total = min(page.total_count, page.total_count if connection.counted is None else connection.counted)
    if count >= total:
        return None
    return f"GitHub counts {total} {connection.name} and lists {count} of them, asked twice"


def item_kind_of(connection: ConnectionProgress) -> str:
    """The kind of the items that a list holds."""
    return ISSUE if connection.name == "issues" else PULL_REQUEST


def _github_time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def streams_of(item_kind: str) -> list[str]:
    """The streams whose events come from items of a kind."""
    return [stream.name for stream in streams_by_item_kind()[item_kind]]
