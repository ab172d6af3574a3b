"""A person's decision about one event: its units, and who has which part of them, each with a reason."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ledger_pipeline.core.allocations import snapshot
from ledger_pipeline.core.errors import AllocationError, EpochNotReady
from ledger_pipeline.core.overrides import why_not_shares
from ledger_pipeline.core.plain_text import short_message
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.weights import check_weights
from ledger_pipeline.pipeline.allocate import propose
from ledger_pipeline.store.records import Epoch, EpochStatus
from ledger_pipeline.store.settlement_records import Allocation

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger


def override(
    ledger: "PostgresLedger",
    scope: Scope,
    epoch: Epoch,
    event_id: str,
    *,
    units: int | None,
    shares_ppm: Mapping[str, int] | None,
    reason: str,
) -> tuple[Sequence[Allocation], Sequence[Allocation]]:
    """Decide an event's milli-units and its claimants' parts, in millionths by their keys; with neither, take it back.

    Returns the epoch's allocations before and after. Raises EpochNotReady for a finalized epoch, and for an event that
    does not count in it; AllocationError for units or parts that cannot be.
    """
    if epoch.status is EpochStatus.FINALIZED:
        raise EpochNotReady(f"epoch {epoch.window.key} is finalized: `ledger-pipeline epoch amend` puts units right")
    if units is not None:
        check_weights({event_id: units})
    if shares_ppm is not None and (problem := why_not_shares(shares_ppm)) is not None:
        raise AllocationError(f"the shares of {short_message(event_id)} {problem}")
    before = propose(ledger, scope, epoch)
    counted = ledger.curation.weighed_event(epoch, event_id)
    is_taken_back = units is None and shares_ppm is None
    if counted is None and not is_taken_back:
        raise EpochNotReady(
            f"epoch {epoch.window.key} has no event {short_message(event_id)} that counts: `ledger-pipeline curate "
            "--include` has one count that its policy leaves out"
        )
    replaced = {} if counted is None else snapshot(counted, epoch.weights_milli)
    ledger.overrides.append(epoch, event_id, units=units, shares_ppm=shares_ppm, replaced=replaced, reason=reason)
    return before, propose(ledger, scope, epoch)
