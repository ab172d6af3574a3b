"""One scan of one repository: pull requests with their reviews, and issues, newest update first.

An item that changes while we read moves to the front, behind us: its update is later than the watermark, so the
next scan finds it.

What one bad item costs beside the pages: where GitHub gives up, a page of 100 is asked for as one of 25, 6 and 1, and
each connection then as a light page, which only lists items (1, LIGHT_TRIES where that fails too: an outage). Then
each item that is listed and was not read is asked for by number (`items`). Where a page holds a null, only the light
page and the items it was not read from are asked for. A later scan asks for an item that could not be read by number
alone, and meets it in a page only once it is updated. An item that GitHub cannot even list is passed by its cursor,
and has no number then.

A list that ends has to hold as many items as GitHub counts. Where it lacks some, its last page is asked for once more,
and those are looked for at its front that may have moved there meanwhile. Where some are lacking then, the
list is read from its front if another call read its first pages; else what it lacks is an unread item without a number,
for which the next scan reads the list again: GitHub may count for good what it shows nobody.

A page in the middle of a list may be short, for GitHub leaves out what it shows nobody, or because it was in trouble.
It is asked for once more, unless that brought nothing for an earlier page. What both leave out is lacking at the list's
end; a scan that stops at its floor does not come there, and believes them. No count tells then: what was left out is
found once it is updated, or by a later scan that reads back over it, as the closing scan of its epoch does.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import Any

from ledger_pipeline.core.errors import SourceRefused, SourceUnavailable
from ledger_pipeline.core.events import ActivityEvent, SkippedActivity
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.core.sources import (
    GITHUB,
    GITHUB_STREAMS,
    ISSUE,
    ISSUES,
    PULL_REQUEST,
    PULL_REQUESTS,
    REVIEWS,
    streams_by_item_kind,
)
from ledger_pipeline.core.unread import ItemKey, UnreadItem
from ledger_pipeline.sources.github.asking import Asker, RepositoryPart, is_of_a_node, without_failed_nodes
from ledger_pipeline.sources.github.capabilities import ServerSchema
from ledger_pipeline.sources.github.client import Answer, GitHubClient, QueryTooHeavyError
from ledger_pipeline.sources.github.endless import LeadsNowhere
from ledger_pipeline.sources.github.envelope import GraphQLError
from ledger_pipeline.sources.github.forbidden import forbidden_connections, is_of_a_part, refusal
from ledger_pipeline.sources.github.gathering import Gathered
from ledger_pipeline.sources.github.items import ItemReader
from ledger_pipeline.sources.github.page_size import PageSizes
from ledger_pipeline.sources.github.payloads import REASON_CHARACTERS, Listed, Page, UnusablePayload, listed, read
from ledger_pipeline.sources.github.position import ConnectionProgress, position_of, reached, resume
from ledger_pipeline.sources.github.queries import ACTIVITY, PLACE
from ledger_pipeline.sources.port import SCAN_OVERLAP, ScanPage, ScanRequest

# How often even the lightest page is asked for: where that gets no answer, it is not an item's doing.
LIGHT_TRIES = 2

# So many items in a row that no scan met before may be unread for GitHub's giving up. More are an outage of a part of
# GitHub; the next scan goes on behind them.
MOST_IN_A_ROW = 10

# What GitHub says of a cursor it does not know, or no more.
_REFUSED_CURSOR = "not appear to be a valid cursor"


class _CannotList(SourceUnavailable):
    """GitHub gives up even on the lightest page."""


class RepositoryScan:
    """Reads what `request` asks for, in pages of up to `page_size` items. One thread uses it.

    A position that is not of this scan, or that GitHub no longer accepts, begins the scan again from the front: more
    is read then than need be, and nothing is missed.
    """

    def __init__(
        self, client: GitHubClient, request: ScanRequest, page_size: int, schema: ServerSchema | None = None
    ) -> None:
        self._request = request
        self._streams = frozenset(request.floors)
        self._sizes = PageSizes(page_size)
        again = frozenset(request.streams or GITHUB_STREAMS)
        self._wanted = frozenset(
            key for key in request.unread if again.intersection(_streams_of(key.kind)) <= self._streams
        )
        self._known = request.known.union(request.unread)
        self._asker = Asker(client, request.source_scope, schema or ServerSchema(), is_patient=not self._known)
        self._items = ItemReader(self._asker, self._streams, self._sizes)
        self._unread_items = ItemReader(self._asker, again, self._sizes)
        self._refused: dict[str, str] = {}
        self._forbidden: dict[str, str] = {}
        self._given_up_in_a_row = 0
        self._tried: dict[ItemKey, UnreadItem] = {}
        self._begin()
        self._is_resumed = request.position is not None and resume(self._connections, request.position)

    def pages(self) -> Iterator[ScanPage]:
        """Page after page, each asked for when it is taken."""
        began_at: datetime | None = None
        while began_at is None or position_of(self._connections) is not None:
            gathered = Gathered(self._wanted)
            try:
                part = self._read_page(gathered)
            except SourceRefused as error:
                raise self._with_refused(error) from None
            if began_at is None:
                self._read_again(part, gathered)
                began_at = self._asker.began_at or part.answer.server_time
            yield self._page(part, gathered, began_at)

    def _with_refused(self, error: SourceRefused) -> SourceRefused:
        """`error`, and before it what was refused earlier: whoever mends the one has to mend the other."""
        if not self._refused or self._refused.keys() == self._streams:
            return error
        return self._asker.refused("; ".join([*dict.fromkeys(self._refused.values()), error.problem]))

    def _begin(self) -> None:
        floors = self._request.floors
        # Reviews come inside their pull request, whose updatedAt a review moves: one floor serves both.
        both = [floors[stream] for stream in (PULL_REQUESTS, REVIEWS) if stream in floors]
        self._pull_requests = ConnectionProgress("pullRequests", min(both, default=None))
        self._issues = ConnectionProgress("issues", floors.get(ISSUES))
        self._connections = (self._pull_requests, self._issues)

    def _read_page(self, gathered: Gathered) -> RepositoryPart:
        """Read the next page of each connection that has one, and move behind it; the answer to go by."""
        try:
            part = self._ask_for_page()
        except QueryTooHeavyError:
            return self._read_apart(gathered)
        self._given_up_in_a_row = 0
        if self._sizes.is_whole:
            self._asker.went_well()
        self._sizes.went_well(pull_requests=not self._pull_requests.done)
        self._read_connections(part, self._open(), gathered)
        return part

    def _read_apart(self, gathered: Gathered) -> RepositoryPart:
        """Read a page that cannot be made smaller: what its light pages list, each item by its number."""
        connections = self._open()
        if not connections:
            raise self._asker.unavailable("GitHub gives up even on a query for the repository's name")
        known = set(gathered.unread)
        for connection in connections:
            try:
                part, page = self._unless_short(connection, *self._light_page(connection), self._light_page)
                self._read_listed(part, connection, page, set(), gathered)
            except _CannotList as error:
                part, page = self._place(connection, error)
                if page.nodes:
                    self._note_unlisted(connection, part, error, gathered)
            self._move(part, connection, page, [], gathered)
        unread = gathered.unread.keys() - known
        if unread:
            self._sizes.restore()
        self._count_given_up(unread)
        return part

    def _count_given_up(self, unread: Set[ItemKey]) -> None:
        """Count what one page could not read. Raises SourceUnavailable where that has become too much in a row."""
        new = sum(key.number == 0 or key not in self._known for key in unread)
        self._given_up_in_a_row = self._given_up_in_a_row + new if unread else 0
        if self._given_up_in_a_row > MOST_IN_A_ROW:
            raise self._asker.unavailable(f"GitHub gives up on more than {MOST_IN_A_ROW} items in a row")

    def _light_page(self, connection: ConnectionProgress) -> tuple[RepositoryPart, Page]:
        """The page of a connection with hardly anything of its items. Raises _CannotList if there is none."""
        for _ in range(LIGHT_TRIES):
            try:
                return self._page_alone(connection, whole=False)
            except QueryTooHeavyError as error:
                last = error
        problem = f"GitHub gives up even on the lightest page, {LIGHT_TRIES} times: {last.problem}"
        raise _CannotList(GITHUB, self._request.source_scope, problem, retry_after_seconds=last.retry_after_seconds)

    def _place(self, connection: ConnectionProgress, error: _CannotList) -> tuple[RepositoryPart, Page]:
        """The place of the next item as a page that holds null, or nothing at the end. Raises `error` without one."""
        try:
            part = self._part(self._asker.ask(PLACE, self._places([connection])))
        except QueryTooHeavyError:
            raise error from None
        page = self._page_of(part, connection, nodes=[])
        return part, page if page.page_info.is_empty else page.model_copy(update={"nodes": [None]})

    def _note_unlisted(
        self, connection: ConnectionProgress, part: RepositoryPart, error: _CannotList, gathered: Gathered
    ) -> None:
        key = ItemKey(_kind_of(connection), 0)
        gathered.cannot_read(UnreadItem(key, plain_message(error.problem, REASON_CHARACTERS), None, part.answer.date))

    def _page_alone(self, connection: ConnectionProgress, *, whole: bool = True) -> tuple[RepositoryPart, Page]:
        """The page of one connection. Raises QueryTooHeavyError."""
        part = self._part(self._ask_once([connection], whole=whole))
        return part, self._page_of(part, connection)

    def _unless_short(
        self,
        connection: ConnectionProgress,
        part: RepositoryPart,
        page: Page,
        ask: Callable[[ConnectionProgress], tuple[RepositoryPart, Page]],
    ) -> tuple[RepositoryPart, Page]:
        """The page, or what `ask` gives in its place where it ends the list too early: GitHub may be behind itself.

        One that is short although the list goes on is asked for again too, until that brings no more: GitHub has such
        pages for good where it hides items. The longer one counts.
        """
        is_short = connection.is_short(page)
        if not is_short and _lacking(connection, page, _listed(part, page)) is None:
            return part, page
        try:
            part_again, again = ask(connection)
        except QueryTooHeavyError:
            return part, page
        connection.is_often_short |= is_short and len(again.nodes) <= len(page.nodes)
        return (part, page) if is_short and len(again.nodes) < len(page.nodes) else (part_again, again)

    def _missed(self, connection: ConnectionProgress) -> int:
        """How many items the scan has not come by that have been updated since it began, and stand at the front.

        As far as GitHub lists them: who stands behind one that it cannot list is none of them.
        """
        front, missed = ConnectionProgress(connection.name, connection.floor), set[int]()
        while not front.done:
            try:
                part, page = self._light_page(front)
            except _CannotList:
                break
            items = _listed(part, page)
            missed |= connection.missed(items)
            if not all(map(connection.is_for_the_next, items)):
                break
            self._move_behind(front, page, items)
        return len(missed)

    def _read_listed(
        self, part: RepositoryPart, connection: ConnectionProgress, page: Page, known: set[int], gathered: Gathered
    ) -> list[Listed]:
        """Read by number what a light page lists, but for the numbers that are `known`; what it tells of them."""
        kind, answered_at, read_here = _kind_of(connection), part.answer.date, []
        for node in page.nodes:
            item = listed(node, answered_at)
            if item.number is None:
                problem = "GitHub answers null for it" if node is None else "its number cannot be used"
                gathered.cannot_read(UnreadItem(ItemKey(kind, 0), problem, item.created, answered_at))
            elif ItemKey(kind, item.number) in self._tried:
                gathered.cannot_read(self._tried[ItemKey(kind, item.number)])
                read_here.append(item)
            elif item.number not in known:
                reading = self._items.by_number(part, ItemKey(kind, item.number), item.created)
                if reading.is_gone:
                    reading.fail("GitHub lists it, and does not find it by its number")
                gathered.take(reading, answered_at)
                read_here.append(item)
        return read_here

    def _read_connections(
        self, part: RepositoryPart, connections: Sequence[ConnectionProgress], gathered: Gathered
    ) -> None:
        """Read the page that an answer holds of each of these, and move behind it."""
        for connection in connections:
            of, page = self._unless_short(connection, part, self._page_of(part, connection), self._page_alone)
            kind = _kind_of(connection)
            readings = [self._items.of_page(of, kind, node) for node in page.nodes]
            for reading in readings:
                if reading.lacks_nodes and reading.key.number:
                    reading.read_again(self._items.by_number(of, reading.key, reading.created))
                if not reading.lacks_nodes or reading.key.number:
                    gathered.take(reading, of.answer.date)
            beside: list[Listed] = []
            nulls = sum(reading.lacks_nodes and not reading.key.number for reading in readings)
            if nulls:
                beside = self._read_beside(
                    of, connection, {reading.key.number for reading in readings}, nulls, gathered
                )
            self._move(of, connection, page, beside, gathered)

    def _read_beside(
        self, of: RepositoryPart, connection: ConnectionProgress, known: set[int], nulls: int, gathered: Gathered
    ) -> list[Listed]:
        """Read what the light page lists in the place of so many `nulls`; what it tells of them."""
        try:
            part, page = self._light_page(connection)
        except _CannotList as error:
            self._note_unlisted(connection, of, error, gathered)
            return []
        beside = self._read_listed(part, connection, page, known, gathered)
        if len(beside) + sum(item.number is None for item in _listed(part, page)) < nulls:
            problem = "GitHub answers null for it, and then does not list it"
            gathered.cannot_read(UnreadItem(ItemKey(_kind_of(connection), 0), problem, None, part.answer.date))
        return beside

    def _move(
        self,
        part: RepositoryPart,
        connection: ConnectionProgress,
        page: Page,
        beside: Sequence[Listed],
        gathered: Gathered,
    ) -> None:
        """Move behind a page that has been read, with items that were read `beside` it, noting what a list lacks."""
        items = _listed(part, page)
        connection.counted = page.total_count if connection.counted is None else connection.counted
        connection.since = connection.since or (self._asker.began_at or part.answer.server_time) - SCAN_OVERLAP
        lacking = _lacking(connection, page, items)
        if lacking is not None and connection.after is not None:
            lacking = _lacking(connection, page, items, self._missed(connection))
        if lacking is not None and connection.is_continued and not connection.has_begun_again:
            connection.begin_again()  # nobody knows which page was wrong, and one may be another call's
        else:
            if lacking is not None:
                gathered.cannot_read(UnreadItem(ItemKey(_kind_of(connection), 0), lacking, None, part.answer.date))
            self._move_behind(connection, page, items, beside)
        gathered.note_updates(connection, [*items, *beside], page, part, self._streams)

    def _move_behind(
        self, connection: ConnectionProgress, page: Page, items: Sequence[Listed], beside: Sequence[Listed] = ()
    ) -> None:
        try:
            connection.move_behind(page.page_info, items, beside)
        except LeadsNowhere as error:
            raise self._asker.refused(str(error)) from None

    def _read_again(self, part: RepositoryPart, gathered: Gathered) -> None:
        """Ask by number for what an earlier scan could not read, and the first page did not hold."""
        met = {*gathered.settled, *(gathered.unread.keys() & self._wanted)}
        for key in self._request.unread:
            if key.number == 0 or key in met:
                continue
            reading = self._unread_items.by_number(part, key)
            if not reading.is_gone:
                gathered.take(reading, part.answer.date)
                if reading.problem is not None:
                    self._tried[key] = reading.unread(part.answer.date)
            if reading.is_gone or reading.problem is None:
                gathered.settle(key)

    def _ask_for_page(self) -> RepositoryPart:
        """The next page, ever smaller until GitHub gives it. Raises QueryTooHeavyError at the smallest."""
        while True:
            try:
                return self._part(self._ask_for_position())
            except QueryTooHeavyError:
                if not self._sizes.shrink(
                    pull_requests=not self._pull_requests.done,
                    reviews=not self._pull_requests.done and REVIEWS in self._streams,
                    issues=not self._issues.done,
                ):
                    raise

    def _ask_for_position(self) -> Answer:
        """The page where the scan stands, of the connections that the credentials may read."""
        while True:
            try:
                answer = self._ask_once(self._open(), whole=True, allowed=is_of_a_part)
            except SourceRefused as error:
                if not self._is_resumed or _REFUSED_CURSOR not in str(error):
                    raise
                self._begin()
                self._is_resumed = False
                continue
            if not self._note_refused(answer):
                self._is_resumed = False
                return answer

    def _note_refused(self, answer: Answer) -> bool:
        """Note which connections the credentials may not read. Raises SourceRefused where these are all there are.

        False where there are none of those that were asked for: asking again would bring the same.
        """
        forbidden, scope = forbidden_connections(answer), self._request.source_scope
        refused = [connection for connection in self._open() if connection.name in forbidden]
        for connection in refused:
            connection.done = True
            self._forbidden[connection.name] = forbidden[connection.name]
            for stream in self._streams.intersection(_streams_of(_kind_of(connection))):
                self._refused[stream] = refusal([connection.name], scope, forbidden[connection.name])
        if refused and self._refused.keys() == self._streams:
            raise self._asker.refused(refusal([*self._forbidden], scope, forbidden[refused[-1].name]))
        return bool(refused)

    def _ask_once(
        self,
        connections: Sequence[ConnectionProgress],
        *,
        whole: bool,
        allowed: Callable[[GraphQLError], bool] = is_of_a_node,
    ) -> Answer:
        self._pull_requests.asked, self._issues.asked = self._sizes.pull_requests, self._sizes.issues
        variables: Mapping[str, Any] = {
            **self._places(connections),
            "whole": whole,
            "pullRequestsFirst": self._sizes.pull_requests,
            "withReviews": whole and REVIEWS in self._streams,
            "reviewsFirst": self._sizes.reviews,
            "issuesFirst": self._sizes.issues,
        }
        return self._asker.ask(ACTIVITY, variables, allowed)

    def _places(self, connections: Sequence[ConnectionProgress]) -> dict[str, Any]:
        """What a query needs to know of these, and that it is not to ask for others."""
        pull_requests, issues = (
            next((connection for connection in connections if connection.name == of.name), None)
            for of in self._connections
        )
        return {
            "withPullRequests": pull_requests is not None,
            "pullRequestsAfter": pull_requests and pull_requests.after,
            "withIssues": issues is not None,
            "issuesAfter": issues and issues.after,
            "issuesSince": _github_time(self._issues.floor),
        }

    def _part(self, answer: Answer) -> RepositoryPart:
        without_failed_nodes(answer)
        return self._asker.part(answer)

    def _page_of(self, part: RepositoryPart, connection: ConnectionProgress, **also: object) -> Page:
        payload: object = (
            part.repository.issues if connection.name == self._issues.name else part.repository.pull_requests
        )
        try:
            return read(Page, {**payload, **also} if isinstance(payload, dict) else payload, part.answer.date)
        except UnusablePayload as error:
            # Malformed now and, as far as we can tell, on every further try: a person has to look.
            raise self._asker.refused(f"a page of {connection.name} is malformed: {error}") from None

    def _open(self) -> list[ConnectionProgress]:
        return [connection for connection in self._connections if not connection.done]

    def _page(self, part: RepositoryPart, gathered: Gathered, began_at: datetime) -> ScanPage:
        return ScanPage(
            source_scope_name=part.repository.name_with_owner,
            events=tuple(item for item in gathered.items if isinstance(item, ActivityEvent)),
            skipped=tuple(item for item in gathered.items if isinstance(item, SkippedActivity)),
            began_at=began_at,
            retrieved_at=part.answer.server_time,
            updates=gathered.updates,
            reached=reached(self._connections),
            usage=self._asker.usage(),
            position=position_of(self._connections),
            source_scope_id=part.repository.database_id,
            totals=gathered.totals,
            newer=gathered.newer,
            unread=tuple(gathered.unread.values()),
            settled=tuple(gathered.settled),
            refused=dict(self._refused),
            facts=tuple({observed.event_id: observed for observed in gathered.facts}.values()),
        )


def _listed(part: RepositoryPart, page: Page) -> list[Listed]:
    return [listed(node, part.answer.date) for node in page.nodes]


def _lacking(connection: ConnectionProgress, page: Page, items: Sequence[Listed], missed: int = 0) -> str | None:
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


def _kind_of(connection: ConnectionProgress) -> str:
    return ISSUE if connection.name == "issues" else PULL_REQUEST


def _github_time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _streams_of(item_kind: str) -> list[str]:
    return [stream.name for stream in streams_by_item_kind()[item_kind]]
