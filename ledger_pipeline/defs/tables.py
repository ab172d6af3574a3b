"""The tables that Dagster's UI shows beside a partition or a check, a builder each: rows of plain cells."""

from collections.abc import Sequence

import dagster as dg

from ledger_pipeline.defs import plain_metadata as plain
from ledger_pipeline.pipeline.contributions import percent_text, units_text
from ledger_pipeline.store.records import StoredUnread, UnsettledRejections
from ledger_pipeline.store.settlement_records import Allocation, PoolComponent, UnresolvedAccount
from ledger_pipeline.store.statement_records import Statement

_ACCOUNTS = {"account": "string", "login": "string", "events": "int", "units": "string"}
_ALLOCATIONS = {
    "user": "string",
    "events": "int",
    "proposed_units": "string",
    "final_units": "string",
    "reason": "string",
}
_COMPONENTS = {"component": "string", "credits": "string", "algorithm": "string", "evidence": "string"}
_PAYOUTS = {"user": "string", "units": "string", "share": "string", "credits": "string"}
_UNREAD = {"repository": "string", "item": "string", "reason": "string", "since": "string", "last_tried": "string"}
_REJECTED = {"reason": "string", "event": "string", "by": "string", "event_time": "string", "url": "string"}


def accounts(unresolved: Sequence[UnresolvedAccount]) -> dg.MetadataValue:
    """Accounts that belong to no user, with their units."""
    rows = [
        {
            "account": account.external_id,
            "login": account.login,
            "events": account.events,
            "units": units_text(account.units),
        }
        for account in unresolved
    ]
    return plain.table(rows, _ACCOUNTS)


def allocations(of_users: Sequence[Allocation]) -> dg.MetadataValue:
    """Units as the weights propose them, and as a person decided."""
    rows = [
        {
            "user": allocation.user_id,
            "events": allocation.activity_count,
            "proposed_units": units_text(allocation.proposed_units),
            "final_units": "" if allocation.final_units is None else units_text(allocation.final_units),
            "reason": allocation.override_reason or "",
        }
        for allocation in of_users
    ]
    return plain.table(rows, _ALLOCATIONS)


def components(of_pool: Sequence[PoolComponent]) -> dg.MetadataValue:
    """What a pool consists of."""
    rows = [
        {
            "component": component.component_id,
            "credits": str(component.amount_credits),
            "algorithm": component.algorithm_version,
            "evidence": component.evidence_ref or "",
        }
        for component in of_pool
    ]
    return plain.table(rows, _COMPONENTS)


def payouts(statement: Statement) -> dg.MetadataValue:
    """Who gets what by a statement."""
    rows = [
        {
            "user": line["userId"],
            "units": units_text(int(line["totalUnits"])),
            "share": percent_text(line["share"]),
            "credits": line["amountCredits"],
        }
        for line in statement.payouts
    ]
    return plain.table(rows, _PAYOUTS)


def unread(items: Sequence[StoredUnread]) -> dg.MetadataValue:
    """What GitHub shows that nobody could read, and since when."""
    rows = [
        {
            "repository": stored.source_scope,
            "item": str(stored.item.key),
            "reason": stored.item.reason,
            "since": stored.since.isoformat(),
            "last_tried": stored.last_tried_at.isoformat(),
        }
        for stored in items
    ]
    return plain.table(rows, _UNREAD)


def rejected(rejections: UnsettledRejections) -> dg.MetadataValue:
    """The first events that were kept aside, and why."""
    rows = [
        {
            "reason": event.reason.value,
            "event": event.event_id,
            "by": event.platform_login,
            "event_time": event.event_time.isoformat(),
            "url": event.artifact_url,
        }
        for event in rejections.first
    ]
    return plain.table(rows, _REJECTED)
