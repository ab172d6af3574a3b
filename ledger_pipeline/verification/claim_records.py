"""Rows that say for whom an event counts: its co-authors, and what a person decided instead."""

from collections.abc import Iterator, Mapping
from typing import Any

from ledger_pipeline.verification.row_model import Record
from ledger_pipeline.verification.row_values import Digits, Instant, Whole


class CoAuthorRecord(Record):
    """An account that has a part of an event beside whoever did it, and its user where it is linked."""

    event_id: str
    provider: str
    external_id: str
    user_id: str | None


class OverrideRecord(Record):
    """A person's decision about one event: its milli-units, and parts in millionths by claimants' keys.

    With neither they took the earlier ones back. Of an event the last place holds; `replaced` is what it was worth.
    """

    event_id: str
    place: Whole
    units: Digits | None
    shares: Mapping[str, Whole] | None
    replaced: Mapping[str, Any]
    reason: str
    actor: str
    decided_at: Instant

    def ids(self) -> Iterator[str]:
        """With the claimants that have a part."""
        yield from super().ids()
        yield from self.shares or ()
