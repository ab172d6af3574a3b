"""The sensors after collection: proposals follow what was collected, and a statement shows up once it is signed.

Runs of their own, so that a collection never fails for what comes after it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import dagster as dg

from ledger_pipeline.core.errors import LedgerError, UnknownScope, WindowError
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.core.windows import EpochWindow, parse_epoch_key, span
from ledger_pipeline.dagster_contract import parse_partition_key
from ledger_pipeline.defs.jobs import allocate_epoch, state_payouts
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS
from ledger_pipeline.defs.partitions import partition_key, partition_range_tags, partition_run
from ledger_pipeline.defs.resources import LedgerResource, SettingsResource

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

CHECK_SECONDS = 60
_BEFORE_ALL = f"{datetime(1, 1, 2, tzinfo=UTC).isoformat()} {UUID(int=0)}"


@dg.sensor(
    name="proposals",
    job=allocate_epoch,
    minimum_interval_seconds=CHECK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Curates an epoch and proposes its allocations whenever its activity was materialized.",
)
def proposals(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[SettingsResource],
    ledger: dg.ResourceParam[LedgerResource],
) -> dg.SensorResult | dg.SkipReason:
    """One request for each row of epochs in a scope whose `activity_events` were materialized since the last tick.

    Only epochs that the ledger has: a week that was read along with others has none until somebody collects it.

    The cursor has the latest materialization of each partition. They are not read on from the last one seen: Dagster
    numbers them before they can be seen, so that one of a lower number may show up later. Of one partition the highest
    number is enough, for what it is about was in the ledger before it had a number.
    """
    latest = dict(
        context.instance.get_latest_storage_id_by_partition(ACTIVITY_EVENTS, dg.DagsterEventType.ASSET_MATERIALIZATION)
    )
    numbers_before = _known(context.cursor, latest)
    changed = {key: number for key, number in latest.items() if numbers_before.get(key) != number}
    if not changed:
        return dg.SkipReason("no activity was materialized since")
    try:
        spec = settings.repo_spec()
        with ledger.open() as store:
            rows = list(_rows(spec, store, changed))
    except LedgerError as error:
        return dg.SkipReason(plain_message(str(error)))
    requests = [
        dg.RunRequest(
            run_key=f"{partition_key(first, scope)}...{partition_key(final, scope)} {max(changed.values())}",
            tags=partition_range_tags(first, final, scope),
        )
        for scope, first, final in rows
    ]
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(latest))


@dg.sensor(
    name="signed_statements",
    job=state_payouts,
    minimum_interval_seconds=CHECK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Materializes an epoch's payout statement once it is signed, and again when one supersedes it.",
)
def signed_statements(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[SettingsResource],
    ledger: dg.ResourceParam[LedgerResource],
) -> dg.SensorResult | dg.SkipReason:
    """One request for each statement made since the last tick; at the first, for each there is."""
    created_at, statement_id = (context.cursor or _BEFORE_ALL).split(" ")
    try:
        spec = settings.repo_spec()
        with ledger.open() as store:
            statements = store.statements.stated_since(datetime.fromisoformat(created_at), UUID(statement_id))
    except LedgerError as error:
        return dg.SkipReason(plain_message(str(error)))
    if not statements:
        return dg.SkipReason("no statement was signed since")
    scopes = {scope.scope_id: scope for scope in spec.scopes}
    requests = [
        partition_run(
            spec.calendar.window_at(statement.period_start),
            scopes[statement.scope_id],
            run_key_suffix=str(statement.statement_id),
        )
        for statement in statements
        if statement.scope_id in scopes
    ]
    return dg.SensorResult(
        run_requests=requests, cursor=f"{statements[-1].created_at.isoformat()} {statements[-1].statement_id}"
    )


def _known(cursor: str | None, latest: Mapping[str, int]) -> dict[str, int]:
    """By partition the latest materialization that was seen; earlier releases kept one number for all."""
    seen = json.loads(cursor or "{}")
    return seen if isinstance(seen, dict) else {key: number for key, number in latest.items() if number <= seen}


def _rows(
    spec: RepoSpec, store: "PostgresLedger", keys: Iterable[str]
) -> Iterator[tuple[Scope, EpochWindow, EpochWindow]]:
    """The partitions as rows of epochs without a gap: scope, first, last.

    What the spec has no more is left out, and so are weeks that are no epoch of the ledger.
    """
    windows: dict[str, set[EpochWindow]] = {}
    for key in keys:
        try:
            epoch, scope_key = parse_partition_key(key)
            windows.setdefault(scope_key, set()).add(spec.scope(scope_key).window(parse_epoch_key(epoch)))
        except (WindowError, UnknownScope):
            continue
    for scope in spec.scopes:
        row: list[EpochWindow] = []
        wanted = windows.get(scope.scope_key, set())
        epochs = (
            {epoch.window for epoch in store.epochs.within(scope.scope_id, span(list(wanted)))} if wanted else set()
        )
        for window in sorted(wanted & epochs):
            if row and row[-1].end != window.start:
                yield scope, row[0], row[-1]
                row = []
            row.append(window)
        if row:
            yield scope, row[0], row[-1]
