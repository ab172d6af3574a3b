"""An epoch in the few numbers of each step: what a command tells Dagster when it changed something.

Plain values by the step's asset, with text as `plain_text` has it; of what comes after collection the assets' own
materializations say more.
"""

from collections.abc import Mapping
from datetime import datetime

from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.plain_text import plain_message, plain_text
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.dagster_contract import (
    ALLOCATIONS_ASSET,
    CURATION_ASSET,
    EPOCH_ASSET,
    EPOCH_STATUS,
    POOL_ASSET,
    STATEMENT_ASSET,
)
from ledger_pipeline.pipeline.completeness import Completeness
from ledger_pipeline.pipeline.contributions import drift_text, percent_text, units_text
from ledger_pipeline.pipeline.review import Review
from ledger_pipeline.pipeline.unread import left_out_text
from ledger_pipeline.store.records import Epoch, WindowDigest
from ledger_pipeline.store.settlement_records import CurationSummary

HASH_SHOWN = 16  # characters, as commands and pages show of a hash

Numbers = Mapping[tuple[str, ...], dict[str, Json]]


def epoch_numbers(review: Review, curation: CurationSummary) -> Numbers:
    """The numbers of each asset; the statement is there only where one is in force."""
    numbers: dict[tuple[str, ...], dict[str, Json]] = {
        EPOCH_ASSET: {
            "epoch_id": review.epoch.id,
            EPOCH_STATUS: review.epoch.status.value,
            "state": plain_message(review.state),
            "blocks_next_step": plain_message("; ".join(review.blocks)) or "nothing",
        },
        CURATION_ASSET: {
            "events": curation.events,
            "unresolved": curation.unresolved,
            "excluded": curation.excluded,
            "overridden": curation.overridden,
            "users": curation.users,
        },
        ALLOCATIONS_ASSET: {
            "users": len(review.lines),
            "total_units": units_text(sum(line.units_milli for line in review.lines)),
            "decided_by_person": sum(line.decided_because is not None for line in review.lines),
            "allocations": [
                {
                    "user": plain_text(line.user_id),
                    "units": units_text(line.units_milli),
                    "share": percent_text(line.share),
                    "credits": str(line.amount_credits),
                }
                for line in review.lines
            ],
        },
        POOL_ASSET: {
            "pool_total_credits": str(review.pool_total_credits),
            "components": {
                plain_text(component.component_id): str(component.amount_credits) for component in review.pool
            },
        },
    }
    if review.chain.in_force is not None:
        numbers[STATEMENT_ASSET] = {
            "statement_id": str(review.chain.in_force.id),
            "pool_total_credits": str(review.chain.in_force.pool_total_credits),
            **hash_entries("allocation_set_hash", review.chain.in_force.allocation_set_hash),
            "signers": ", ".join(review.chain.signers[review.chain.in_force.id]),
            "users": len(review.chain.in_force.payouts),
        }
    return numbers


def activity_numbers(
    digest: WindowDigest,
    epoch: Epoch | None,
    scope: Scope,
    completeness: Completeness,
    now: datetime,
) -> "dict[str, Json | datetime]":
    """What the ledger holds of a window, how whole that is at `now`, what it refused, and whether weights drifted.

    An entry that would be empty is left out: it would say nothing that the others do not.
    """
    drift = {} if epoch is None else drift_text(epoch.weights_milli, scope.weights_milli)
    left_out = [left_out_text(item) for item in completeness.left_out]
    return {
        "state": plain_message(completeness.state(now)),
        "window_complete": completeness.is_complete,
        **({"closed_without": left_out} if left_out else {}),
        **({} if completeness.until is None else {"collected_until": completeness.until}),
        "window_start": digest.window.start,
        "window_end": digest.window.end,
        "epoch_id": "none yet" if epoch is None else epoch.id,
        EPOCH_STATUS: "none yet" if epoch is None else epoch.status.value,
        "weights_drifted": bool(drift),
        **({"weights_drift": drift} if drift else {}),
        "events": digest.events,
        **{stream.event_type: digest.events_by_type.get(stream.event_type, 0) for stream in scope.stream_kinds},
        "rejected": sum(digest.rejected_by_reason.values()),
        **({"rejected_by_reason": dict(digest.rejected_by_reason)} if digest.rejected_by_reason else {}),
        **hash_entries("set_hash", digest.set_hash),
    }


def hash_entries(label: str, value: str) -> dict[str, str]:
    """A hash as commands show it, then the whole, whose end is off a laptop's page: Dagster's UI breaks no word."""
    return {f"{label}_begins": value[:HASH_SHOWN], label: value}
