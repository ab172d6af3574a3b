"""Items that a source shows and that cannot be read: they are in nobody's way, and nobody forgets them.

A scan stores what it can read, and the ledger keeps the rest until it is read: every collection asks for it again, and
no epoch that its events may belong to is complete meanwhile.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.errors import EpochNotReady, WindowError
from ledger_pipeline.core.events import ActivityEvent, SkippedActivity
from ledger_pipeline.core.json_text import nests_deeper
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.core.sources import streams_by_item_kind, streams_by_name
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.storable_text import is_storable
from ledger_pipeline.core.stored_json import MAX_STORED_DEPTH
from ledger_pipeline.core.unread import ItemKey, UnreadItem, item_name
from ledger_pipeline.core.windows import EpochCalendar, EpochWindow
from ledger_pipeline.pipeline.coverage import SCAN_OVERLAP
from ledger_pipeline.pipeline.owners import known_owners
from ledger_pipeline.sources.port import ScanPage
from ledger_pipeline.store.records import Exclusion, LeftOut, StoredUnread
from ledger_pipeline.store.scan_records import StreamCoverage

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

# Of one source_scope, by one scan.
ASKED_AT_ONCE = 50

REASON_CHARACTERS = 300

WHAT_TO_DO = (
    "every collection asks for them again, and goes on by itself once they are read; see whether they open there"
)
HOW_TO_CLOSE = (
    "where one never will be, `ledger-pipeline epoch close --without owner/repo#12 --reason ..` closes the epoch "
    "without it"
)
_ITEMS_NAMED = 5

_JSON = json.JSONEncoder(allow_nan=False)
_MAX_DEPTH = 1 + MAX_STORED_DEPTH  # an item is an object around each of its values
# `github:pr:owner/repo:12`, `github:review:owner/repo:12:345`.
_NUMBERED = re.compile(r"[^:]+:[^:]+:[^:]+:(\d{1,18})(?::|$)")


@dataclass(frozen=True)
class KnownUnread:
    """Items that nobody could read yet, of what a scope collects; longest untried first."""

    rows: tuple[StoredUnread, ...] = ()

    def to_ask(self, source: str, source_scope: str) -> tuple[ItemKey, ...]:
        """What the next scan of a source_scope asks for again, by number."""
        keys = [row.item.key for row in self._of(source, source_scope) if row.item.key.number]
        return tuple(keys[:ASKED_AT_ONCE])

    def keys(self, source: str, source_scope: str) -> frozenset[ItemKey]:
        """All of a source_scope."""
        return frozenset(row.item.key for row in self._of(source, source_scope))

    def back_to(self, source: str, source_scope: str) -> datetime | None:
        """From where the next scan of a source_scope has to cover, so that it meets all that have no number."""
        floors = [row.read_from for row in self._of(source, source_scope) if row.read_from is not None]
        return min(floors) + SCAN_OVERLAP if floors else None

    def touching(self, window: EpochWindow) -> tuple[StoredUnread, ...]:
        """Those whose events may belong to `window`."""
        return tuple(row for row in self.rows if row.item.may_touch(window))

    def _of(self, source: str, source_scope: str) -> list[StoredUnread]:
        return [row for row in self.rows if (row.source, row.source_scope) == (source, source_scope)]


def known_unread(store: "PostgresLedger", scope: Scope) -> KnownUnread:
    """What the ledger knows of; left out is what the scope does not collect any more."""
    collected = collected_kinds(known_owners(store, scope).scope)
    rows = store.unread.items(scope.scope_id)
    return KnownUnread(tuple(row for row in rows if (row.source, row.source_scope, row.item.key.kind) in collected))


def collected_kinds(scope: Scope) -> frozenset[tuple[str, str, str]]:
    """What the scope collects: each a source, a source_scope and a kind of item."""
    return frozenset(
        (spec.source, source_scope, streams_by_name()[stream].item_kind)
        for spec in scope.sources
        for source_scope in spec.source_scopes
        for stream in spec.streams
    )


def usable(page: ScanPage, calendar: EpochCalendar) -> ScanPage:
    """`page`, each item of it that the ledger cannot hold, or no epoch, among its unread ones."""
    unread: list[UnreadItem] = []

    def is_usable(item: ActivityEvent | SkippedActivity) -> bool:
        problem = _problem(item, calendar)
        if problem is not None:
            event_id = item.id if isinstance(item, ActivityEvent) else item.event_id
            numbered = _NUMBERED.match(event_id)
            key = ItemKey(streams_by_name()[item.stream].item_kind, int(numbered[1]) if numbered else 0)
            unread.append(UnreadItem(key, f"{event_id}: {problem}", None, page.retrieved_at))
        return problem is None

    events = tuple(event for event in page.events if is_usable(event))
    skipped = tuple(item for item in page.skipped if is_usable(item))
    return replace(page, events=events, skipped=skipped, unread=(*page.unread, *unread)) if unread else page


def noted_items(unread: Sequence[UnreadItem]) -> list[UnreadItem]:
    """`unread` as the ledger keeps them: each reason is plain text of bounded length."""
    return [replace(item, reason=plain_message(item.reason, REASON_CHARACTERS)) for item in unread]


def read_from(coverage: Sequence[StreamCoverage], tried_at: datetime) -> datetime:
    """The time from which a scan of `coverage` meets items without a number, which only a list holds."""
    return min((stream.floor for stream in coverage), default=tried_at)


def passed_floors(coverage: Sequence[StreamCoverage], streams: Sequence[str]) -> Mapping[str, datetime]:
    """By kind of item, from where on a scan of `coverage` has read all that a scope of `streams` collects of them."""
    floors = {stream_coverage.stream: stream_coverage.floor for stream_coverage in coverage}
    passed = {}
    for kind, of_kind in streams_by_item_kind().items():
        wanted = [stream.name for stream in of_kind if stream.name in streams]
        if wanted and all(stream in floors for stream in wanted):
            passed[kind] = max(floors[stream] for stream in wanted)
    return passed


def unread_text(row: StoredUnread) -> str:
    """One unread item for a person: where it is, since when, and why."""
    since = row.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")
    return f"{item_name(row.source_scope, row.item.key)} ({row.item.key}), unread since {since}: {row.item.reason}"


def unread_summary(rows: Sequence[StoredUnread]) -> str:
    """All of `rows` in one line, the first few by name."""
    named = "; ".join(unread_text(row) for row in rows[:_ITEMS_NAMED])
    more = f"; and {len(rows) - _ITEMS_NAMED} more" if len(rows) > _ITEMS_NAMED else ""
    return f"{counted(len(rows), 'item')} cannot be read: {named}{more}"


def exclusion_of(rows: Sequence[StoredUnread], names: Sequence[str], actor: str, reason: str) -> Exclusion:
    """The decision to close an epoch without all `rows`, which must be those that are named. Raises EpochNotReady."""
    wanted = {name.casefold() for name in names}
    unread_names = {item_name(row.source_scope, row.item.key).casefold() for row in rows}
    if wanted - unread_names:
        unknown, known_names = ", ".join(sorted(wanted - unread_names)), ", ".join(sorted(unread_names)) or "none"
        raise EpochNotReady(f"no unread item of the epoch is {unknown}; unread are: {known_names}")
    others = [row for row in rows if item_name(row.source_scope, row.item.key).casefold() not in wanted]
    if others:
        raise EpochNotReady(f"{unread_summary(others)}: {WHAT_TO_DO}; {HOW_TO_CLOSE}")
    return Exclusion(tuple(rows), actor, reason)


def left_out_text(item: LeftOut) -> str:
    """What an epoch was closed without, for a person: which item, who decided it and why, and why it is unread."""
    when = item.left_out_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")
    name = item_name(item.source_scope, item.key)
    return (
        f"closed without {name} by {item.actor} at {when}: {item.reason} (it could not be read: {item.unread_reason})"
    )


def _problem(item: ActivityEvent | SkippedActivity, calendar: EpochCalendar) -> str | None:
    """Why no epoch, or no database, can hold `item`; None where they can."""
    try:
        calendar.window_at(item.event_time)
        values = {name: value for name, value in vars(item).items() if name != "event_time"}
        written = _JSON.encode(values)
    except WindowError as error:
        return str(error)
    except (TypeError, ValueError, RecursionError) as error:
        return f"it cannot be written as JSON ({type(error).__name__})"
    if nests_deeper(written, _MAX_DEPTH):
        return f"it nests deeper than {MAX_STORED_DEPTH} levels"
    # What is not there as JSON escapes it is not there at all; looking at every value takes as long as storing them.
    may_be_unstorable = "\\u0000" in written or "\\ud" in written
    return "it holds NUL or half a surrogate pair" if may_be_unstorable and not is_storable(values) else None
