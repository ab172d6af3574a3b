"""What a source owes the pipeline: scans of one source_scope, page by page, that leave no hole.

A scan reads everything the source updated since a floor, whatever the time of the events it leads to, and states
the moment it began by the source's own clock (the watermark). When its last page is stored, everything updated
between the floor and the watermark is in the ledger; interrupted before, it is simply repeated: event ids make
that harmless.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ledger_pipeline.core.events import ActivityEvent


@dataclass(frozen=True)
class ScanRequest:
    """What to read of `source_scope`: for each stream, everything updated at or after its floor (aware, UTC)."""

    source_scope: str
    floors: Mapping[str, datetime]


@dataclass(frozen=True)
class SkippedItem:
    """An item that is activity but counts for nobody (a bot's pull request, a deleted account's review)."""

    stream: str
    reason: str
    event_time: datetime


@dataclass(frozen=True)
class RequestUsage:
    """What a page cost: HTTP requests, points of the source's budget, and what the source said is left of it."""

    requests: int
    points: int
    points_left: int | None


@dataclass(frozen=True)
class ScanPage:
    """One page of a scan. `watermark` is the same on every page: the source's time when the scan began.

    `retrieved_at` is the source's time when it answered this page; `reached` is the oldest update seen so far, for
    progress only.
    """

    events: tuple[ActivityEvent, ...]
    skipped: tuple[SkippedItem, ...]
    watermark: datetime
    retrieved_at: datetime
    reached: datetime | None
    usage: RequestUsage


class ActivitySource(Protocol):
    """A system that activity comes from."""

    name: str
    producer: str
    producer_version: str
    streams: tuple[str, ...]

    def scan(self, request: ScanRequest) -> Iterator[ScanPage]:
        """Read `request` to its end, newest first, one page in memory at a time; yields at least one page.

        Raises SourceUnavailable when the source may answer later, SourceRefused when it will not.
        """
        ...
