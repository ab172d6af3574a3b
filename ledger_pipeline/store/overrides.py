"""What people decided about single events: units, and claimants' parts of them. Append-only: the latest counts."""

from collections.abc import Mapping

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.section import LedgerSection
from ledger_pipeline.store.settlement_records import EventOverride

# Beside a row of `activity_curation AS curation`: what a person decided last of its event, as `override`.
JOIN_OVERRIDES = """
    LEFT JOIN (
        SELECT DISTINCT ON (event_id) event_id, units, shares FROM event_overrides
        WHERE node_id = :node_id AND epoch_id = :epoch_id ORDER BY event_id, place DESC
    ) AS override ON override.event_id = curation.event_id
"""
ANY = text("SELECT EXISTS (SELECT FROM event_overrides WHERE epoch_id = :epoch_id AND node_id = :node_id)")
APPEND = text("""
    INSERT INTO event_overrides (node_id, epoch_id, event_id, place, units, shares, replaced, reason)
    SELECT :node_id, :epoch_id, :event_id, 1 + COALESCE(max(place), 0), :units, :shares, :replaced, :reason
    FROM event_overrides WHERE node_id = :node_id AND epoch_id = :epoch_id AND event_id = :event_id
""").bindparams(bindparam("shares", type_=JSONB(none_as_null=True)), bindparam("replaced", type_=JSONB))
OF_EPOCH = text("""
    SELECT event_id, place, units, shares, replaced, reason, actor, decided_at FROM event_overrides
    WHERE node_id = :node_id AND epoch_id = :epoch_id ORDER BY event_id COLLATE "C", place
""")


class Overrides(LedgerSection):
    """The overrides of a node's epochs. Of what is finalized the database takes none: StoreError."""

    def append(
        self,
        epoch: Epoch,
        event_id: str,
        *,
        units: int | None,
        shares_ppm: Mapping[str, int] | None,
        replaced: Mapping[str, object],
        reason: str,
    ) -> None:
        """Decide an event's milli-units, and claimants' parts by their keys; with neither, take it all back."""
        parameters = {
            **self._of(epoch),
            "event_id": event_id,
            "units": units,
            "shares": None if shares_ppm is None else dict(shares_ppm),
            "replaced": dict(replaced),
            "reason": reason,
        }
        with self._transaction() as connection:
            connection.execute(APPEND, parameters)

    def of(self, epoch: Epoch) -> list[EventOverride]:
        """All overrides there ever were in the epoch, by event, the first one of each first."""
        with self._transaction() as connection:
            return [EventOverride(**row._mapping) for row in connection.execute(OF_EPOCH, self._of(epoch))]
