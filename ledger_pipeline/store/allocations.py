"""Units per claimant of an epoch: what an algorithm proposed, and what a person decided instead."""

from collections.abc import Sequence

from sqlalchemy import Connection, text

from ledger_pipeline.core.allocations import ProposedAllocation
from ledger_pipeline.core.claimants import check_set_hash_key
from ledger_pipeline.core.pins import reserves_accounts
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.section import LedgerSection
from ledger_pipeline.store.settlement_records import Allocation

PROPOSE = text("""
    INSERT INTO epoch_allocations AS stored (node_id, epoch_id, user_id, proposed_units, activity_count)
    SELECT :node_id, :epoch_id, * FROM unnest(
        CAST(:user_ids AS text[]), CAST(:units AS bigint[]), CAST(:counts AS integer[])
    )
    ON CONFLICT (epoch_id, user_id) DO UPDATE
        SET proposed_units = EXCLUDED.proposed_units, activity_count = EXCLUDED.activity_count, updated_at = now()
        WHERE (stored.proposed_units, stored.activity_count) <> (EXCLUDED.proposed_units, EXCLUDED.activity_count)
""")
REMOVE_WITHOUT_EVENTS = text("""
    DELETE FROM epoch_allocations
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND final_units IS NULL AND NOT user_id = ANY(:user_ids)
""")
# A person's decision outlives the events it was made on: it is shown with no events and nothing proposed.
EMPTY_WITHOUT_EVENTS = text("""
    UPDATE epoch_allocations SET proposed_units = 0, activity_count = 0, updated_at = now()
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND NOT user_id = ANY(:user_ids)
        AND (proposed_units, activity_count) <> (0, 0)
""")
DECIDE = text("""
    INSERT INTO epoch_allocations
        (node_id, epoch_id, user_id, proposed_units, activity_count, final_units, override_reason)
    VALUES (:node_id, :epoch_id, :user_id, 0, 0, :units, :reason)
    ON CONFLICT (epoch_id, user_id) DO UPDATE
        SET final_units = EXCLUDED.final_units, override_reason = EXCLUDED.override_reason, updated_at = now()
""")
TAKE_BACK = text("""
    UPDATE epoch_allocations SET final_units = NULL, override_reason = :reason, updated_at = now()
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND user_id = :user_id
""")
# A row that only a decision had made goes with it, or it would be signed and paid as somebody with nothing.
REMOVE_WHAT_WAS_ONLY_DECIDED = text("""
    DELETE FROM epoch_allocations
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND user_id = :user_id
        AND final_units IS NULL AND (proposed_units, activity_count) = (0, 0)
""")
ALLOCATIONS = text("""
    SELECT user_id, proposed_units, final_units, override_reason, activity_count FROM epoch_allocations
    WHERE node_id = :node_id AND epoch_id = :epoch_id ORDER BY user_id COLLATE "C"
""")


class Allocations(LedgerSection):
    """The allocations of a node's epochs. What is finalized the database refuses to change: StoreError."""

    def propose(self, epoch: Epoch, proposals: Sequence[ProposedAllocation]) -> list[Allocation]:
        """Store `proposals` in place of the epoch's earlier ones, and return what the ledger then holds.

        `final_units` that a person set stay. Users without events any more are removed, but for those. Raises
        IdentityError for what is neither a user's id nor, where the epoch reserves their shares, an account's key.
        """
        reserves = reserves_accounts(epoch.pins)
        for proposal in proposals:
            check_set_hash_key(proposal.user_id, reserves_accounts=reserves, is_new=False)
        parameters = {
            **self._of(epoch),
            "user_ids": [proposal.user_id for proposal in proposals],
            "units": [proposal.proposed_units for proposal in proposals],
            "counts": [proposal.activity_count for proposal in proposals],
        }
        with self._transaction() as connection:
            for statement in (PROPOSE, REMOVE_WITHOUT_EVENTS, EMPTY_WITHOUT_EVENTS):
                connection.execute(statement, parameters)
            return stored_allocations(connection, self.node_id, epoch.id)

    def decide(self, epoch: Epoch, user_id: str, units: int | None, reason: str | None) -> None:
        """Set a person's decision on a claimant's units, milli; None takes it back, and the row that it alone had made.

        Raises IdentityError for units of what is no claimant of the epoch, as `propose` does.
        """
        if units is not None:
            check_set_hash_key(user_id, reserves_accounts=reserves_accounts(epoch.pins))
        parameters = {**self._of(epoch), "user_id": user_id, "units": units, "reason": reason}
        with self._transaction() as connection:
            for statement in (DECIDE,) if units is not None else (TAKE_BACK, REMOVE_WHAT_WAS_ONLY_DECIDED):
                connection.execute(statement, parameters)

    def of(self, epoch: Epoch) -> list[Allocation]:
        """The epoch's allocations, by user id."""
        with self._transaction() as connection:
            return stored_allocations(connection, self.node_id, epoch.id)


def stored_allocations(connection: Connection, node_id: object, epoch_id: int) -> list[Allocation]:
    """An epoch's allocations, by user id in code-point order."""
    rows = connection.execute(ALLOCATIONS, {"node_id": node_id, "epoch_id": epoch_id})
    return [Allocation(**row._mapping) for row in rows]
