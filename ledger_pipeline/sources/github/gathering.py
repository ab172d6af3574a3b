"""What one page of a scan is made of, gathered from connections and from single items."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ledger_pipeline.core.events import ActivityEvent, SkippedActivity
from ledger_pipeline.core.facts import Observation
from ledger_pipeline.core.sources import ISSUES, PULL_REQUESTS, REVIEWS
from ledger_pipeline.core.unread import ItemKey, UnreadItem, earliest_of
from ledger_pipeline.sources.github.asking import RepositoryPart
from ledger_pipeline.sources.github.payloads import Counted, Listed, Page, UnusablePayload, read
from ledger_pipeline.sources.github.position import ConnectionProgress
from ledger_pipeline.sources.github.reading import Reading
from ledger_pipeline.sources.port import UpdateSpan


@dataclass
class Gathered:
    """What has been read so far. `wanted` are items that an earlier scan could not read: they are settled once read.

    `read_again` are streams whose list has been begun again at its front with this page.
    """

    wanted: frozenset[ItemKey] = frozenset()
    items: list[ActivityEvent | SkippedActivity] = field(default_factory=list)
    facts: list[Observation] = field(default_factory=list)
    unread: dict[ItemKey, UnreadItem] = field(default_factory=dict)
    settled: list[ItemKey] = field(default_factory=list)
    updates: dict[str, UpdateSpan] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    newer: dict[str, int] = field(default_factory=dict)
    read_again: set[str] = field(default_factory=set)

    def take(self, reading: Reading, latest: datetime) -> None:
        """Take over what was read of an item, and whether it was all."""
        self.items += reading.items
        self.facts += reading.facts
        if reading.problem is not None:
            self.cannot_read(reading.unread(latest))
        elif reading.key in self.wanted:
            self.settle(reading.key)

    def cannot_read(self, item: UnreadItem) -> None:
        """Note an item; several that tell no number count as one, of the time that holds them all."""
        noted = self.unread.get(item.key, item)
        self.unread[item.key] = replace(noted, earliest=earliest_of(noted, item), latest=max(noted.latest, item.latest))

    def settle(self, key: ItemKey) -> None:
        """The item is read, or gone."""
        if key not in self.settled:
            self.settled.append(key)

    def note_updates(
        self,
        connection: ConnectionProgress,
        items: Sequence[Listed],
        page: Page,
        answer_part: RepositoryPart,
        streams: frozenset[str],
    ) -> None:
        """Note what a page of `streams` tells of when its items were updated, and how many there are."""
        of_issues = connection.name == "issues"
        counted = ISSUES if of_issues else PULL_REQUESTS
        total = _total_of_issues(answer_part) if of_issues else page.total_count
        if total is not None:
            self.totals[counted] = total
        updates = [item.updated for item in items if item.updated is not None]
        created = [item.created for item in items if item.created is not None]
        self.newer[counted] = sum(connection.floor is not None and moment >= connection.floor for moment in created)
        if updates:
            span = UpdateSpan(min(updates), max(updates), page.total_count)
            spans = {ISSUES: span} if of_issues else {PULL_REQUESTS: span, REVIEWS: replace(span, source_total=None)}
            self.updates |= {stream: span for stream, span in spans.items() if stream in streams}


def _total_of_issues(answer_part: RepositoryPart) -> int | None:
    try:
        return read(Counted, answer_part.repository.all_issues, answer_part.answer.date).total_count
    except UnusablePayload:
        return None
