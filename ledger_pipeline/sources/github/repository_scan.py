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
"""

from collections.abc import Iterator, Sequence, Set
from datetime import datetime

from ledger_pipeline.core.errors import SourceRefused
from ledger_pipeline.core.events import ActivityEvent, SkippedActivity
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.core.sources import (
    GITHUB_STREAMS,
)
from ledger_pipeline.core.unread import ItemKey, UnreadItem
from ledger_pipeline.sources.github.answer import QueryTooHeavyError
from ledger_pipeline.sources.github.asking import Asker, RepositoryPart
from ledger_pipeline.sources.github.capabilities import ServerSchema
from ledger_pipeline.sources.github.client import GitHubClient
from ledger_pipeline.sources.github.gathering import Gathered
from ledger_pipeline.sources.github.items import ItemReader
from ledger_pipeline.sources.github.page_size import PageSizes
from ledger_pipeline.sources.github.payloads import REASON_CHARACTERS, Listed, Page, listed
from ledger_pipeline.sources.github.position import ConnectionProgress, position_of, reached
from ledger_pipeline.sources.github.repository_pages import (
    CannotListError,
    RepositoryPages,
    item_kind_of,
    lacking_of,
    listed_items,
    streams_of,
)
from ledger_pipeline.sources.port import SCAN_OVERLAP, ScanPage, ScanRequest

# So many items in a row that no scan met before may be unread for GitHub's giving up. More are an outage of a part of
# GitHub; the next scan goes on behind them.
MOST_IN_A_ROW = 10
# And so many that it cannot even list, where an earlier scan met such already: they are the repository's.
MOST_UNLISTED_IN_A_ROW = 100


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
        again = frozenset(request.streams or GITHUB_STREAMS)
        self._wanted = frozenset(
            key for key in request.unread if again.intersection(streams_of(key.kind)) <= self._streams
        )
        self._known = request.known.union(request.unread)
        self._asker = Asker(
            client,
            request.source_scope,
            schema or ServerSchema(),
            is_patient=not self._known,
            tells_facts=request.tells_facts,
            tells_paths=request.tells_paths,
        )
        self._pages = RepositoryPages(self._asker, request, PageSizes(page_size))
        self._items = ItemReader(self._asker, self._streams, self._pages.sizes)
        self._unread_items = ItemReader(self._asker, again, self._pages.sizes)
        self._given_up_in_a_row = self._unlisted_in_a_row = 0
        self._tried: dict[ItemKey, UnreadItem] = {}

    def pages(self) -> Iterator[ScanPage]:
        """Page after page, each asked for when it is taken."""
        began_at: datetime | None = None
        while began_at is None or position_of(self._pages.connections) is not None:
            gathered = Gathered(self._wanted)
            try:
                answer_part = self._read_page(gathered)
            except SourceRefused as error:
                raise self._with_refused(error) from None
            if began_at is None:
                self._read_again(answer_part, gathered)
                began_at = self._asker.began_at or answer_part.answer.server_time
            yield self._page(answer_part, gathered, began_at)

    def _with_refused(self, error: SourceRefused) -> SourceRefused:
        """`error`, and before it what was refused earlier: whoever mends the one has to mend the other."""
        if not self._pages.refused or self._pages.refused.keys() == self._streams:
            return error
        return self._asker.refused("; ".join([*dict.fromkeys(self._pages.refused.values()), error.problem]))

    def _read_page(self, gathered: Gathered) -> RepositoryPart:
        """Read the next page of each connection that has one, and move behind it; the answer to go by."""
        try:
            answer_part = self._pages.next_part()
        except QueryTooHeavyError:
            return self._read_apart(gathered)
        self._given_up_in_a_row = self._unlisted_in_a_row = 0
        if self._pages.sizes.is_whole:
            self._asker.went_well()
        self._pages.sizes.went_well(pull_requests=not self._pages.pull_requests.done)
        self._read_connections(answer_part, self._pages.open(), gathered)
        return answer_part

    def _read_apart(self, gathered: Gathered) -> RepositoryPart:
        """Read a page that cannot be made smaller: what its light pages list, each item by its number."""
        connections = self._pages.open()
        if not connections:
            raise self._asker.unavailable("GitHub gives up even on a query for the repository's name")
        unread_before = set(gathered.unread)
        for connection in connections:
            try:
                answer_part, page = self._pages.unless_short(
                    connection, *self._pages.light_page(connection), self._pages.light_page
                )
                self._read_listed(answer_part, connection, page, set(), gathered)
            except CannotListError as error:
                answer_part, page = self._pages.place(connection, error)
                if page.nodes:
                    self._note_unlisted(connection, answer_part, error, gathered)
            self._move(answer_part, connection, page, [], gathered)
        unread = gathered.unread.keys() - unread_before
        if unread:
            self._pages.sizes.restore()
        self._count_given_up(unread)
        return answer_part

    def _count_given_up(self, unread: Set[ItemKey]) -> None:
        """Count what one page could not read. Raises SourceUnavailable where that has become too much in a row."""
        new, unlisted = sum(key not in self._known for key in unread), sum(key.number == 0 for key in unread)
        self._given_up_in_a_row = self._given_up_in_a_row + new if unread else 0
        self._unlisted_in_a_row = self._unlisted_in_a_row + unlisted if unread else 0
        for count, most in (
            (self._given_up_in_a_row, MOST_IN_A_ROW),
            (self._unlisted_in_a_row, MOST_UNLISTED_IN_A_ROW),
        ):
            if count > most:
                raise self._asker.unavailable(f"GitHub gives up on more than {most} items in a row")

    def _note_unlisted(
        self, connection: ConnectionProgress, answer_part: RepositoryPart, error: CannotListError, gathered: Gathered
    ) -> None:
        key = ItemKey(item_kind_of(connection), 0)
        gathered.cannot_read(
            UnreadItem(key, plain_message(error.problem, REASON_CHARACTERS), None, answer_part.answer.date)
        )

    def _read_listed(
        self,
        answer_part: RepositoryPart,
        connection: ConnectionProgress,
        page: Page,
        read_numbers: set[int],
        gathered: Gathered,
    ) -> list[Listed]:
        """Read by number what a light page lists, except for `read_numbers`; what it tells of them."""
        kind, answered_at, read_here = item_kind_of(connection), answer_part.answer.date, []
        for node in page.nodes:
            item = listed(node, answered_at)
            if item.number is None:
                problem = "GitHub answers null for it" if node is None else "its number cannot be used"
                gathered.cannot_read(UnreadItem(ItemKey(kind, 0), problem, item.created, answered_at))
            elif ItemKey(kind, item.number) in self._tried:
                gathered.cannot_read(self._tried[ItemKey(kind, item.number)])
                read_here.append(item)
            elif item.number not in read_numbers:
                reading = self._items.by_number(answer_part, ItemKey(kind, item.number), item.created)
                if reading.is_gone:
                    reading.fail("GitHub lists it, and does not find it by its number")
                gathered.take(reading, answered_at)
                read_here.append(item)
        return read_here

    def _read_connections(
        self, answer_part: RepositoryPart, connections: Sequence[ConnectionProgress], gathered: Gathered
    ) -> None:
        """Read the page that an answer holds of each of these, and move behind it."""
        for connection in connections:
            of, page = self._pages.unless_short(
                connection, answer_part, self._pages.page_of(answer_part, connection), self._pages.page_alone
            )
            kind = item_kind_of(connection)
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
        self, of: RepositoryPart, connection: ConnectionProgress, read_numbers: set[int], nulls: int, gathered: Gathered
    ) -> list[Listed]:
        """Read what the light page lists in the place of so many `nulls`; what it tells of them."""
        try:
            answer_part, page = self._pages.light_page(connection)
        except CannotListError as error:
            self._note_unlisted(connection, of, error, gathered)
            return []
        beside = self._read_listed(answer_part, connection, page, read_numbers, gathered)
        if len(beside) + sum(item.number is None for item in listed_items(answer_part, page)) < nulls:
            problem = "GitHub answers null for it, and then does not list it"
            gathered.cannot_read(
                UnreadItem(ItemKey(item_kind_of(connection), 0), problem, None, answer_part.answer.date)
            )
        return beside

    def _move(
        self,
        answer_part: RepositoryPart,
        connection: ConnectionProgress,
        page: Page,
        beside: Sequence[Listed],
        gathered: Gathered,
    ) -> None:
        """Move behind a page that has been read, with items that were read `beside` it, noting what a list lacks."""
        items = listed_items(answer_part, page)
        gathered.read_again |= self._pages.begun_again(connection)
        connection.counted = page.total_count if connection.counted is None else connection.counted
        connection.since = connection.since or (self._asker.began_at or answer_part.answer.server_time) - SCAN_OVERLAP
        lacking = lacking_of(connection, page, items)
        if lacking is not None and connection.after is not None:
            lacking = lacking_of(connection, page, items, self._pages.missed(connection))
        if lacking is not None and connection.is_continued and not connection.has_begun_again:
            connection.begin_again()  # nobody knows which page was wrong, and one may be another call's
        else:
            if lacking is not None:
                gathered.cannot_read(
                    UnreadItem(ItemKey(item_kind_of(connection), 0), lacking, None, answer_part.answer.date)
                )
            self._pages.move_behind(connection, page, items, beside)
        gathered.note_updates(connection, [*items, *beside], page, answer_part, self._streams)

    def _read_again(self, answer_part: RepositoryPart, gathered: Gathered) -> None:
        """Ask by number for what an earlier scan could not read, and the first page did not hold."""
        settled_keys = {*gathered.settled, *(gathered.unread.keys() & self._wanted)}
        for key in self._request.unread:
            if key.number == 0 or key in settled_keys:
                continue
            reading = self._unread_items.by_number(answer_part, key)
            if not reading.is_gone:
                gathered.take(reading, answer_part.answer.date)
                if reading.problem is not None:
                    self._tried[key] = reading.unread(answer_part.answer.date)
            if reading.is_gone or reading.problem is None:
                gathered.settle(key)

    def _page(self, answer_part: RepositoryPart, gathered: Gathered, began_at: datetime) -> ScanPage:
        return ScanPage(
            source_scope_name=answer_part.repository.name_with_owner,
            events=tuple(item for item in gathered.items if isinstance(item, ActivityEvent)),
            skipped=tuple(item for item in gathered.items if isinstance(item, SkippedActivity)),
            began_at=began_at,
            retrieved_at=answer_part.answer.server_time,
            updates=gathered.updates,
            reached=reached(self._pages.connections),
            usage=self._asker.usage(),
            position=position_of(self._pages.connections),
            source_scope_id=answer_part.repository.database_id,
            totals=gathered.totals,
            newer=gathered.newer,
            unread=tuple(gathered.unread.values()),
            settled=tuple(gathered.settled),
            refused=dict(self._pages.refused),
            facts=tuple({observed.event_id: observed for observed in gathered.facts}.values()),
            read_again=frozenset(gathered.read_again),
        )
