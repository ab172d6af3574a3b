"""An epoch in the few numbers of each step, as Dagster shows them: plain values, with text as `plain_text` has it."""

from collections.abc import Sequence
from datetime import datetime

from ledger_pipeline.core.approvals import Approvals
from ledger_pipeline.core.claimants import is_account_key
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.opting import pinned_opt_outs
from ledger_pipeline.core.plain_text import plain_message, plain_text
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.statements import UserUnits
from ledger_pipeline.dagster_contract import EPOCH_STATUS
from ledger_pipeline.pipeline.chain import stated_units
from ledger_pipeline.pipeline.completeness import Completeness
from ledger_pipeline.pipeline.contributions import drift_text, units_text, weights_text
from ledger_pipeline.pipeline.selection import SelectionReport
from ledger_pipeline.pipeline.unread import left_out_text
from ledger_pipeline.store.records import Epoch, FactsCount, WindowDigest
from ledger_pipeline.store.statement_records import Statement

HASH_SHOWN = 16  # characters, as commands and pages show of a hash

# The labels of charts.
EVENTS_PER_DAY, UNITS_PER_CONTRIBUTOR = "events_per_day", "units_per_contributor"
UNITS_PER_USER, CREDITS_PER_USER = "units_per_user", "credits_per_user"

Entries = dict[str, "Json | datetime"]


def claimant_numbers(units: Sequence[UserUnits]) -> dict[str, int | str]:
    """How many users have units, how many accounts without one, and the units reserved for these accounts."""
    reserved = [of_account.units for of_account in units if is_account_key(of_account.user_id)]
    return {
        "users": len(units) - len(reserved),
        "accounts_without_a_user": len(reserved),
        "reserved_units": units_text(sum(reserved)),
    }


def statement_claimants(statement: Statement) -> dict[str, int | str]:
    """The same of a statement in force, and the credits reserved for these accounts until somebody links them."""
    reserved_credits = sum(int(line["amountCredits"]) for line in statement.payouts if is_account_key(line["userId"]))
    return {**claimant_numbers(stated_units(statement)), "reserved_credits": str(reserved_credits)}


def pool_entries(epoch: Epoch, components_credits: int, base_issuance_to_come: int | None) -> Entries:
    """What an epoch's pool comes to, and whether anything may still join it."""
    to_come = base_issuance_to_come
    return {
        "pool_total_credits": str(components_credits + (to_come or 0)),
        "base_issuance_joins": "is there" if to_come is None else f"{to_come}, when the epoch closes",
        "locked": epoch.pins is not None,
    }


def selection_entries(selection: SelectionReport | None) -> Entries:
    """What a selection policy decides: events by reason, and the units that it moves against every event counting."""
    if selection is None:
        return {}
    return {
        "policy": plain_text(selection.policy),
        "left_out_by_policy": selection.excluded,
        "units_moved_by_policy": units_text(selection.moved_milli),
        "events_by_reason": {plain_text(row.reason): row.events for row in selection.reasons},
    }


def epoch_entries(scope: Scope, epoch: Epoch, blocks: Sequence[str], approvals: Approvals | None = None) -> Entries:
    """What an epoch is, what it is paid by, what blocks its next step, and how many signed where several have to."""
    entries: Entries = {
        "epoch_id": epoch.id,
        EPOCH_STATUS: epoch.status.value,
        "blocks_next_step": plain_message("; ".join(blocks)) or "nothing",
        "window_start": epoch.window.start,
        "window_end": epoch.window.end,
        "weights": {**weights_text(epoch.weights_milli)},
    }
    if drift := drift_text(epoch.weights_milli, scope.weights_milli):
        entries["weights_drift"] = {**drift}
    if epoch.pins is not None:
        entries["allocation_algo_ref"] = epoch.pins.allocation_algo_ref
        entries |= opt_out_entries(epoch)
        entries.update(hash_entries("weight_config_hash", epoch.pins.weight_config_hash))
        entries.update(hash_entries("approver_set_hash", epoch.pins.approver_set_hash))
    if approvals is not None and epoch.pins is not None:
        entries["approvals"] = str(approvals)
    if epoch.closed_at is not None:
        entries["closed_at"] = epoch.closed_at
    if epoch.pool_total_credits is not None:
        entries["pool_total_credits"] = str(epoch.pool_total_credits)
    return entries


def activity_numbers(
    digest: WindowDigest,
    epoch: Epoch | None,
    scope: Scope,
    completeness: Completeness,
    now: datetime,
    facts: FactsCount,
) -> Entries:
    """What the ledger holds of a window, how whole that is at `now`, what it refused, and whether weights drifted.

    Of how many of its events `facts` are known, too.

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
        **facts_numbers(digest.events, facts),
        "rejected": sum(digest.rejected_by_reason.values()),
        **({"rejected_by_reason": dict(digest.rejected_by_reason)} if digest.rejected_by_reason else {}),
        **hash_entries("set_hash", digest.set_hash),
    }


def facts_numbers(events: int, facts: FactsCount) -> dict[str, int]:
    """Of how many of a window's events facts are known, of how many none are, and how many the source has no more."""
    unknown = events - facts.known - facts.gone
    return {"facts_known": facts.known, "facts_unknown": unknown, "facts_gone": facts.gone}


def opt_out_entries(epoch: Epoch) -> Entries:
    """Who took no pay when the epoch closed; nothing where nobody did."""
    opted_out = frozenset() if epoch.pins is None else pinned_opt_outs(epoch.pins.pinned_spec)
    return {"take_no_pay": [plain_text(name) for name in sorted(opted_out)]} if opted_out else {}


def hash_entries(label: str, value: str) -> dict[str, str]:
    """A hash as commands show it, then the whole, whose end is off a laptop's page: Dagster's UI breaks no word."""
    return {f"{label}_begins": value[:HASH_SHOWN], label: value}


def statement_hash_entries(allocation_set_hash: str) -> dict[str, str]:
    """The same of a statement, under a label so short that a signer's address beside it is shown whole, too."""
    return {"hash_begins": allocation_set_hash[:HASH_SHOWN], "allocation_set_hash": allocation_set_hash}
