"""An epoch after collection, in the few numbers of each step: what a command tells Dagster when it changed something.

Plain JSON by the step's asset, with text as `plain_text` has it; the assets' own materializations say more.
"""

from collections.abc import Mapping

from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.plain_text import plain_message, plain_text
from ledger_pipeline.dagster_contract import (
    ALLOCATIONS_ASSET,
    CURATION_ASSET,
    EPOCH_ASSET,
    EPOCH_STATUS,
    POOL_ASSET,
    STATEMENT_ASSET,
)
from ledger_pipeline.pipeline.contributions import percent_text, units_text
from ledger_pipeline.pipeline.review import Review
from ledger_pipeline.store.settlement_records import CurationSummary

Numbers = Mapping[tuple[str, ...], dict[str, Json]]


def epoch_numbers(review: Review, curation: CurationSummary) -> Numbers:
    """By asset; the statement only where one is in force."""
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
            "allocation_set_hash": review.chain.in_force.allocation_set_hash,
            "signers": ", ".join(review.chain.signers[review.chain.in_force.id]),
            "users": len(review.chain.in_force.payouts),
        }
    return numbers
