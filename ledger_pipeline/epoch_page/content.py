"""What an epoch's page says, gathered from the ledger. No HTML here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.completeness import Completeness, window_completeness
from ledger_pipeline.pipeline.contributions import Contribution, contributions
from ledger_pipeline.pipeline.owners import known_owners
from ledger_pipeline.pipeline.review import Review, review
from ledger_pipeline.store.records import (
    DayCount,
    Epoch,
    RejectedEvent,
    WindowDigest,
)
from ledger_pipeline.store.scan_records import Cursor, WindowReceipt
from ledger_pipeline.store.settlement_records import CurationSummary

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger


@dataclass(frozen=True)
class EpochContent:
    """Everything on the page of one epoch of one scope, as the ledger was at `made_at` (UTC).

    `epoch` is None where nothing was collected yet, and then `review` and `curation` are too; `cursors` are those of
    what the scope collects, in its order.
    """

    node_id: UUID
    scope: Scope
    window: EpochWindow
    made_at: datetime
    epoch: Epoch | None
    completeness: Completeness
    digest: WindowDigest
    days: Sequence[DayCount]
    people: Sequence[Contribution]
    cursors: Sequence[Cursor]
    receipts: Sequence[WindowReceipt]
    rejected: Sequence[RejectedEvent]
    review: Review | None
    curation: CurationSummary | None

    @property
    def state(self) -> str:
        """`complete`, `running: collected up to ..` or `incomplete: ..`."""
        return self.completeness.state(self.made_at)

    @property
    def weights_milli(self) -> Mapping[str, int]:
        """The weights that units are counted by: the epoch's pinned ones, else those of the repo-spec."""
        return self.scope.weights_milli if self.epoch is None else self.epoch.weights_milli


def epoch_content(store: "PostgresLedger", scope: Scope, window: EpochWindow, now: datetime) -> EpochContent:
    """The epoch of `window` as the ledger has it. Raises StoreUnavailable."""
    epoch = next((epoch for epoch in store.epochs.within(scope.scope_id, window) if epoch.window == window), None)
    weights = scope.weights_milli if epoch is None else epoch.weights_milli
    [digest] = store.events.digests(scope.scope_id, [window])
    cursors: list[Cursor] = []
    receipts: list[WindowReceipt] = []
    for spec in known_owners(store, scope).scope.sources:
        stored_cursors = store.scans.cursors(scope.scope_id, spec.source)
        wanted = [(stream, source_scope) for source_scope in spec.source_scopes for stream in spec.streams]
        cursors += [stored_cursors[key] for key in wanted if key in stored_cursors]
        receipts += store.scans.receipts(scope.scope_id, spec.source, [window])
    completeness = window_completeness(store, scope, [window])[window]
    return EpochContent(
        node_id=store.node_id,
        scope=scope,
        window=window,
        made_at=now,
        epoch=epoch,
        completeness=completeness,
        digest=digest,
        days=store.events.per_day(scope.scope_id, window),
        people=contributions(store.events.per_person(scope.scope_id, window), weights),
        cursors=cursors,
        receipts=receipts,
        rejected=store.events.rejected(scope.scope_id, window),
        review=None if epoch is None else review(store, scope, epoch, completeness, now),
        curation=None if epoch is None else store.curation.summary(epoch),
    )
