"""What each asset after collection shows of an epoch: the same in a run and where a command tells of what it changed.

Nothing is written here: whoever asks has brought the ledger up to date.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.defs import tables
from ledger_pipeline.defs.charts import credits_bars, units_bars
from ledger_pipeline.defs.metadata import Metadata, PartitionState, shown
from ledger_pipeline.pipeline.allocate import base_issuance_to_come
from ledger_pipeline.pipeline.approvals import approvals_of
from ledger_pipeline.pipeline.chain import StatementChain, threshold_of
from ledger_pipeline.pipeline.completeness import Completeness
from ledger_pipeline.pipeline.contributions import units_text
from ledger_pipeline.pipeline.epoch_state import (
    CREDITS_PER_USER,
    UNITS_PER_USER,
    claimant_numbers,
    epoch_entries,
    opt_out_entries,
    pool_entries,
    selection_entries,
    statement_claimants,
    statement_hash_entries,
)
from ledger_pipeline.pipeline.next_step import next_steps
from ledger_pipeline.pipeline.selection import selection_report
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.settlement_records import Allocation, CurationSummary, PoolComponent, Resolution, valued
from ledger_pipeline.store.statement_records import Statement

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

ACCOUNTS_LISTED = 20


def curation_state(
    store: "PostgresLedger", scope: Scope, epoch: Epoch, done: Resolution, summary: CurationSummary
) -> PartitionState:
    """Which events count, for whom: `done` is what this materialization has added and resolved."""
    unresolved = store.identities.unresolved([epoch]) if summary.unresolved else []
    metadata: Metadata = {
        "events": summary.events,
        "added": done.added,
        "resolved": done.resolved,
        "unresolved": summary.unresolved,
        "excluded": summary.excluded,
        "overridden": summary.overridden,
        "users": summary.users,
        **_selected(store, scope, epoch),
        "unresolved_accounts": tables.accounts(unresolved[:ACCOUNTS_LISTED]),
    }
    # What units are computed from; who has none of it changes what a person has to do.
    weighed: list[Json] = [
        [row.user_id, row.kind, row.weight_override_milli, row.weight_factor_milli, row.events]
        for row in sorted(store.curation.weighed_events(epoch), key=repr)
    ]
    return PartitionState(epoch.window, metadata, {"weighed": weighed, **asdict(summary)})


def allocations_state(
    store: "PostgresLedger", scope: Scope, epoch: Epoch, allocations: Sequence[Allocation], *, is_drawn: bool
) -> PartitionState:
    """Units as the weights propose them, and as a person decided; with a chart of them where `is_drawn`."""
    metadata: Metadata = {
        **claimant_numbers(valued(allocations)),
        "total_units": units_text(sum(allocation.units for allocation in allocations)),
        "decided_by_person": sum(allocation.final_units is not None for allocation in allocations),
        **_selected(store, scope, epoch),
        "allocations": tables.allocations(allocations),
    }
    if is_drawn:
        units = [(of_user.user_id, of_user.units) for of_user in valued(allocations)]
        metadata[UNITS_PER_USER] = units_bars(units, "Nobody has units.")
    return PartitionState(epoch.window, metadata, sorted(map(asdict, allocations), key=repr))


def pool_state(scope: Scope, epoch: Epoch, components: Sequence[PoolComponent]) -> PartitionState:
    """What there is to share out, and whether anything may still join it."""
    to_come = base_issuance_to_come(scope, epoch, components)
    entries = pool_entries(epoch, sum(component.amount_credits for component in components), to_come)
    metadata: Metadata = {
        **{label: shown(value) for label, value in entries.items()},
        "components": tables.components(components),
    }
    amounts = {component.component_id: component.amount_credits for component in components}
    return PartitionState(epoch.window, metadata, {"components": amounts, "to_come": to_come})


def epoch_state(
    store: "PostgresLedger", scope: Scope, epoch: Epoch, completeness: Completeness, now: datetime
) -> PartitionState:
    """What an epoch is, what it is paid by, and what blocks its next step."""
    settlement = partial(store.statements.settlement, epoch)
    blocks = next_steps(store.node_id, scope, epoch, settlement, completeness, now)
    approvals = None
    if threshold_of(epoch) > 1:
        approvals = approvals_of(store.node_id, scope, epoch, settlement())
    entries = epoch_entries(scope, epoch, blocks, approvals)
    metadata: Metadata = {label: shown(value) for label, value in entries.items()}
    pins = epoch.pins
    content: Json = {
        "status": epoch.status.value,
        "weights": dict(epoch.weights_milli),
        "pins": None if pins is None else [pins.allocation_algo_ref, pins.weight_config_hash, pins.approver_set_hash],
        "pool_total_credits": epoch.pool_total_credits,
        **({} if approvals is None else {"approvals": str(approvals)}),
    }
    return PartitionState(epoch.window, metadata, content)


def statement_state(epoch: Epoch, statement: Statement, chain: StatementChain) -> PartitionState:
    """Who gets what by the statement that is in force."""
    metadata: Metadata = {
        "statement_id": str(statement.id),
        "supersedes": str(statement.supersedes_statement_id or "nothing: the original"),
        "pool_total_credits": str(statement.pool_total_credits),
        **statement_hash_entries(statement.allocation_set_hash),
        "signers": chain.signed_by(statement),
        **({} if chain.approvals is None else {"approvals": str(chain.approvals)}),
        **statement_claimants(statement),
        **{label: shown(value) for label, value in opt_out_entries(epoch).items()},
        "payouts": tables.payouts(statement),
        CREDITS_PER_USER: credits_bars({line["userId"]: int(line["amountCredits"]) for line in statement.payouts}),
    }
    return PartitionState(epoch.window, metadata, {"statement_id": str(statement.id)})


def _selected(store: "PostgresLedger", scope: Scope, epoch: Epoch) -> Metadata:
    entries = selection_entries(selection_report(store, scope, epoch))
    return {label: shown(value) for label, value in entries.items()}
