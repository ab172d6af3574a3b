"""What people decided about single events, as an archive has it: of each event the last decision holds."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import replace

from ledger_pipeline.core.allocations import CuratedEvents
from ledger_pipeline.core.errors import AllocationError
from ledger_pipeline.core.overrides import why_not_shares
from ledger_pipeline.core.weights import check_weights
from ledger_pipeline.verification.claim_records import OverrideRecord
from ledger_pipeline.verification.differences import Difference, short


class Overridden:
    """The decisions that hold, by event; one that cannot be is none, and is among the `problems`."""

    def __init__(self, rows: Sequence[OverrideRecord]) -> None:
        self._rows = rows
        self._last: dict[str, tuple[int, int | None, tuple[tuple[str, int], ...]]] = {}
        for row in rows:
            if self._problem(row) is None and row.place > self._last.get(row.event_id, (0,))[0]:
                self._last[row.event_id] = row.place, row.units, tuple(sorted((row.shares or {}).items()))

    def applied(self, event_id: str, tally: CuratedEvents) -> CuratedEvents:
        """The event as it counts with what a person decided last, if anybody did."""
        if event_id not in self._last:
            return tally
        _, units, shares_ppm = self._last[event_id]
        override = tally.weight_override_milli if units is None else units
        return replace(tally, weight_override_milli=override, shares_ppm=shares_ppm)

    def claimants(self, event_id: str) -> tuple[str, ...]:
        """The keys of those who have a part by a person's decision; none where nobody decided parts."""
        return tuple(key for key, _ in self._last.get(event_id, (0, None, ()))[2])

    def differences(self, events: Container[str]) -> Iterator[Difference]:
        """Decisions that cannot be, are of no event of `events`, or whose place another one has, or none before it."""
        places: dict[str, set[int]] = {}
        for row in self._rows:
            where = f"overrides {short(row.event_id)}"
            problem = self._problem(row)
            if problem is not None:
                yield Difference(where, problem)
            if row.event_id not in events:
                yield Difference(where, "there is no such event in the epoch")
            places_of_event = places.setdefault(row.event_id, set())
            if row.place in places_of_event or (row.place > 1 and row.place - 1 not in places_of_event):
                yield Difference(where, f"its place {row.place} does not follow the one before")
            places_of_event.add(row.place)

    @staticmethod
    def _problem(row: OverrideRecord) -> str | None:
        if row.place < 1:
            return f"it has place {row.place}, and the first one is 1"
        if row.units is not None:
            try:
                check_weights({"units": row.units})
            except AllocationError as error:
                return str(error)
        problem = None if row.shares is None else why_not_shares(row.shares)
        return None if problem is None else f"its shares {short(problem)}"
