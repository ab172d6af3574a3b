"""Epochs: made where they are missing, and closed with what they are paid by."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from types import MappingProxyType
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB

from ledger_pipeline.core.errors import EpochNotReady, EpochOverlap
from ledger_pipeline.core.pins import EpochPins
from ledger_pipeline.core.pool import NewPoolComponent
from ledger_pipeline.core.routing import Share
from ledger_pipeline.core.unread import item_name
from ledger_pipeline.core.windows import EpochWindow, span
from ledger_pipeline.store import left_out, routed
from ledger_pipeline.store import unread as unread_rows
from ledger_pipeline.store.digests import bounds
from ledger_pipeline.store.overlap import epoch_overlap
from ledger_pipeline.store.pool import add_component
from ledger_pipeline.store.records import (
    EnsuredEpochs,
    Epoch,
    EpochStatus,
    Exclusion,
)
from ledger_pipeline.store.schema import epochs
from ledger_pipeline.store.section import LedgerSection

EVER = EpochWindow(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))

# Returns the ids of those that this very call has made, whoever else makes some at the same time.
CREATE_EPOCHS = text("""
    SELECT ledger_make_epochs(
        :node_id, :scope_id, CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]), :weights
    )
""").bindparams(bindparam("weights", type_=JSONB))
# A row without an end, which older migrations took from anybody, is an epoch of nobody's; doctor names it.
READABLE = text("period_start >= '0001-01-01T00:00:00Z' AND period_end <= '9999-12-31T00:00:00Z'")
CLOSE_EPOCH = text("""
    UPDATE epochs SET status = 'review', closed_at = now(), allocation_algo_ref = :allocation_algo_ref,
        weight_config_hash = :weight_config_hash, approver_set_hash = :approver_set_hash, pinned_spec = :pinned_spec
    WHERE id = :id AND node_id = :node_id AND status = 'open'
    RETURNING period_start, period_end, facts_set_hash
""").bindparams(bindparam("pinned_spec", type_=JSONB))
SCOPE_OF_EPOCH = text("SELECT scope_id FROM epochs WHERE id = :id AND node_id = :node_id")
_ITEMS_NAMED = 5


class Epochs(LedgerSection):
    """The epochs of a node's scopes."""

    def ensure(self, scope_id: UUID, windows: Sequence[EpochWindow], weights_milli: Mapping[str, int]) -> EnsuredEpochs:
        """The epochs of exactly `windows`, oldest first; missing ones are created open with these weights.

        Of several calls that would create an epoch at the same time one says that it did.
        Raises EpochOverlap, creating none and saying the way out, when a window overlaps an epoch with other bounds.
        """
        if not windows:
            return EnsuredEpochs([], frozenset())
        wanted = sorted(set(windows))
        with self._transaction() as connection:
            parameters = {**self._scope(scope_id), **bounds(wanted), "weights": dict(weights_milli)}
            created = frozenset(connection.execute(CREATE_EPOCHS, parameters).scalars())
            stored = self._within(connection, scope_id, span(wanted))
            by_window = {epoch.window: epoch for epoch in stored}
            for window in wanted:
                if window not in by_window:
                    raise _overlap(window, stored, self._within(connection, scope_id, EVER), created)
        return EnsuredEpochs([by_window[window] for window in wanted], created)

    def within(self, scope_id: UUID, window: EpochWindow) -> list[Epoch]:
        """Epochs that overlap `window`, oldest first."""
        with self._transaction() as connection:
            return self._within(connection, scope_id, window)

    def still_open(self, scope_id: UUID) -> list[Epoch]:
        """Every epoch of the scope that is open, oldest first."""
        return self._where(scope_id, epochs.c.status == EpochStatus.OPEN.value)

    def closed(self, scope_id: UUID) -> list[Epoch]:
        """Every epoch of the scope that is in review or finalized, oldest first."""
        return self._where(scope_id, epochs.c.status != EpochStatus.OPEN.value)

    def of_id(self, epoch_id: int) -> Epoch | None:
        """The epoch of that id; None where the node has none."""
        query = select(epochs).where(epochs.c.node_id == self.node_id, epochs.c.id == epoch_id, READABLE)
        with self._transaction() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _epoch(row)

    def close(
        self,
        epoch_id: int,
        pins: EpochPins,
        pool: NewPoolComponent | None = None,
        exclusion: Exclusion | None = None,
        collected: Collection[tuple[str, str, str]] | None = None,
        shares: Mapping[str, Share] = MappingProxyType({}),
    ) -> bool:
        """Move an open epoch to review with what is pinned at that moment; False where it was not open any more.

        `pool` joins its pool in the same transaction where no component of that name is there, and the items of
        `exclusion` are written down as left out; `shares` are what the scope has of events of claimed repositories, by
        event id. Raises StoreError, closing nothing, where one of them is not unread or
        facts that are pinned do not have their hash, and EpochNotReady where another item is unread by then whose
        events may be the epoch's. Of `collected` alone: each a source, a source_scope and a kind of item; None is all.
        """
        with self._transaction() as connection:
            mine = {"id": epoch_id, "node_id": self.node_id}
            scope_id = connection.execute(SCOPE_OF_EPOCH, mine).scalar()
            if scope_id is None:
                return False
            unread_rows.lock(connection, self._scope(scope_id))
            closed = connection.execute(CLOSE_EPOCH, {**mine, **asdict(pins)}).one_or_none()
            if closed is None:
                return False
            window = EpochWindow(closed.period_start, closed.period_end)
            if closed.facts_set_hash is not None:
                from ledger_pipeline.store.facts import check_pinned  # who only lists epochs does without

                check_pinned(connection, self.node_id, epoch_id, closed.facts_set_hash)
            decided = (
                set() if exclusion is None else {(row.source, row.source_scope, row.item.key) for row in exclusion.rows}
            )
            unread = [
                row
                for row in unread_rows.touching(connection, self._scope(scope_id), window)
                if (row.source, row.source_scope, row.item.key) not in decided
                and (collected is None or (row.source, row.source_scope, row.item.key.kind) in collected)
            ]
            if unread:
                names = ", ".join(item_name(row.source_scope, row.item.key) for row in unread[:_ITEMS_NAMED])
                raise EpochNotReady(
                    f"epoch {window.key} is still open: {len(unread)} became unread meanwhile, such as {names}; "
                    "see again"
                )
            if pool is not None:
                add_component(connection, self.node_id, epoch_id, pool)  # another amount was refused by the database
            if exclusion is not None:
                left_out.keep(connection, self.node_id, epoch_id, exclusion)
            routed.keep(connection, self.node_id, epoch_id, shares)
            return True

    def _where(self, scope_id: UUID, condition: ColumnElement[bool]) -> list[Epoch]:
        query = (
            select(epochs)
            .where(epochs.c.node_id == self.node_id, epochs.c.scope_id == scope_id)
            .where(condition, READABLE)
            .order_by(epochs.c.period_start)
        )
        with self._transaction() as connection:
            return [_epoch(row) for row in connection.execute(query)]

    def _within(self, connection: Connection, scope_id: UUID, window: EpochWindow) -> list[Epoch]:
        query = (
            select(epochs)
            .where(epochs.c.node_id == self.node_id, epochs.c.scope_id == scope_id)
            .where(epochs.c.period_start < window.end, epochs.c.period_end > window.start, READABLE)
            .order_by(epochs.c.period_start)
        )
        return [_epoch(row) for row in connection.execute(query)]


def _epoch(row: Row[*tuple[object, ...]]) -> Epoch:
    pins = None
    if row.allocation_algo_ref is not None:
        pins = EpochPins(row.allocation_algo_ref, row.weight_config_hash, row.approver_set_hash, row.pinned_spec or {})
    return Epoch(
        id=row.id,
        scope_id=row.scope_id,
        window=EpochWindow(row.period_start, row.period_end),
        status=EpochStatus(row.status),
        weights_milli=row.weight_config if isinstance(row.weight_config, dict) else {},  # doctor names such a row
        pins=pins,
        closed_at=row.closed_at,
        pool_total_credits=row.pool_total_credits,
        facts_set_hash=row.facts_set_hash,
        opened_at=row.opened_at,
        created_at=row.created_at,
    )


def _overlap(
    window: EpochWindow, near: Sequence[Epoch], of_scope: Sequence[Epoch], created: Collection[int]
) -> EpochOverlap:
    """The refusal of `window`; what was `created` for the call is rolled back, so nothing is advised by it."""
    overlapping = next(
        (epoch for epoch in near if epoch.window.start < window.end and window.start < epoch.window.end), None
    )
    if overlapping is None:
        return EpochOverlap(
            f"no epoch {window.key} to {window.end.date()}: a row of epochs is in its way that nothing of ours made; "
            "`ledger-pipeline doctor` names it, or else the id is taken: set the sequence epochs_id_seq higher"
        )
    stored = [epoch.window for epoch in of_scope if epoch.id not in created]
    return epoch_overlap(window, stored, f"epoch {overlapping.id} of the scope", overlapping.window)
