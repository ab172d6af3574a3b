"""What a command has changed of an epoch, told to Dagster at once: else its pages lag until the next sensor."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ledger_pipeline.cli.ledger_access import LedgerAccess
from ledger_pipeline.cli.output import note
from ledger_pipeline.core.errors import DagsterError
from ledger_pipeline.core.hashing import sha256_hex
from ledger_pipeline.dagster_contract import (
    ACTIVITY_EVENTS_ASSET,
    ALLOCATIONS_ASSET,
    CURATION_ASSET,
    EPOCH_ASSET,
    POOL_ASSET,
    STATEMENT_ASSET,
    TRIGGER_TAG,
    WHOLE_MATERIALIZATION,
    format_partition_key,
)
from ledger_pipeline.local.dagster_address import announced_dagster

if TYPE_CHECKING:
    import dagster as dg

    from ledger_pipeline.defs.metadata import PartitionState
    from ledger_pipeline.pipeline.chain import StatementChain
    from ledger_pipeline.pipeline.epoch_checks import CheckResult
    from ledger_pipeline.store.records import Epoch

_ONE_RESULT = (
    "of each check its storage takes one result without a run, and has one; with `storage` as in docker/dagster.yaml "
    "it takes more"
)


def tell_dagster(access: LedgerAccess, epoch_name: str, command: str, *, status_moved: bool = False) -> None:
    """Have Dagster show the epoch as the ledger has it now, as a run would; its activity too where its status moved.

    So are the results of their checks, which may have changed too: Dagster takes those of the run before for outdated.

    It is the Dagster of DAGSTER_URL, else that of `dev` on the same LEDGER_HOME: what answers at the usual port
    may be of another ledger. The change is made whatever becomes of it, and where there is neither, nothing is said.
    """
    settings = access.settings
    if "dagster_url" not in settings.model_fields_set:
        if (url := announced_dagster(settings.home)) is None:
            return
        settings = settings.model_copy(update={"dagster_url": url})
    # Here, for most commands tell nothing, and it takes a second to load.
    from ledger_pipeline.temporal_bridge.collection.dagster_client import dagster_client

    epoch = access.epoch(epoch_name)
    key = format_partition_key(epoch.window.key, access.scope.scope_key)
    trigger = f"ledger-pipeline {command}"
    try:
        dagster = dagster_client(settings)
        dagster.check(access.spec, access.ledger.ledger_id)
        chain = _chain(access, epoch)
        statement_check = None if chain is None else _statement_check(access, epoch, chain)
        if status_moved:
            for asset, state in _activity(access, epoch, trigger):
                dagster.report(asset, _report(access, asset, state))
        for asset, state in _settlement(access, epoch):
            dagster.report(asset, _report(access, asset, state.asked_for_by(trigger)))
        # What does not verify is nobody's pay, and is not shown as if it were.
        if chain is not None and chain.in_force is not None and statement_check is not None and statement_check.passed:
            from ledger_pipeline.defs.settlement_states import statement_state

            state = statement_state(epoch, chain.in_force, chain)
            dagster.report(STATEMENT_ASSET, _report(access, STATEMENT_ASSET, state.asked_for_by(trigger)))
        # Last: a Dagster whose storage is not ours refuses the second.
        for result in _activity_checks(access, epoch) if status_moved else ():
            dagster.report_check(ACTIVITY_EVENTS_ASSET, key, result)
        if statement_check is not None:
            dagster.report_check(STATEMENT_ASSET, key, statement_check)
    except DagsterError as error:
        refused = "IntegrityError" in str(error)
        note(f"Dagster shows this after its next run: {_ONE_RESULT if refused else error}")


def _activity(access: LedgerAccess, epoch: "Epoch", trigger: str) -> "Iterator[tuple[tuple[str, ...], PartitionState]]":
    """What the epoch's square says; nothing where that epoch is not read, so that none turns green."""
    from ledger_pipeline.defs.elsewhere import held_states
    from ledger_pipeline.pipeline.completeness import window_completeness

    read = window_completeness(access.ledger, access.scope, [epoch.window])
    if read[epoch.window].until is not None:
        tags = {TRIGGER_TAG: trigger}
        for state in held_states(access.ledger, access.scope, read, datetime.now(UTC), tags):
            yield ACTIVITY_EVENTS_ASSET, state


def _activity_checks(access: LedgerAccess, epoch: "Epoch") -> "Iterator[CheckResult]":
    from ledger_pipeline.pipeline.completeness import window_completeness
    from ledger_pipeline.pipeline.epoch_checks import every_source_scope_read, nothing_rejected

    read = window_completeness(access.ledger, access.scope, [epoch.window])[epoch.window]
    if read.until is not None:
        [unsettled] = access.ledger.events.unsettled_rejections(access.scope.scope_id, [epoch.window])
        yield every_source_scope_read(read, datetime.now(UTC))
        yield nothing_rejected(unsettled)


def _settlement(access: LedgerAccess, epoch: "Epoch") -> "Iterator[tuple[tuple[str, ...], PartitionState]]":
    """What comes after collection, in the order in which it follows."""
    from ledger_pipeline.defs.settlement_states import allocations_state, curation_state, epoch_state, pool_state
    from ledger_pipeline.pipeline.completeness import window_completeness
    from ledger_pipeline.store.settlement_records import Resolution

    ledger, scope = access.ledger, access.scope
    read = window_completeness(ledger, scope, [epoch.window])[epoch.window]
    yield CURATION_ASSET, curation_state(ledger, scope, epoch, Resolution(0, 0), ledger.curation.summary(epoch))
    yield ALLOCATIONS_ASSET, allocations_state(ledger, scope, epoch, ledger.allocations.of(epoch), is_drawn=True)
    yield POOL_ASSET, pool_state(scope, epoch, ledger.pool.of(epoch))
    yield EPOCH_ASSET, epoch_state(ledger, scope, epoch, read, datetime.now(UTC))


def _report(access: LedgerAccess, asset: tuple[str, ...], state: "PartitionState") -> dict[str, Any]:
    """A partition as Dagster's own API takes it, and whole for a web server of ours."""
    import dagster as dg

    from ledger_pipeline.defs.materializations import materialization

    whole = materialization(dg.AssetKey(asset), access.scope, state, {})
    return {
        "partition": format_partition_key(state.window.key, access.scope.scope_key),
        "metadata": {label: _as_json(value) for label, value in whole.metadata.items()},
        "data_version": sha256_hex(state.content),
        WHOLE_MATERIALIZATION: dg.serialize_value(whole),
    }


def _as_json(value: "dg.MetadataValue") -> Any:
    """Metadata as Dagster's own API takes it: rows of a table are JSON, an instant is text, a chart its lines."""
    import dagster as dg

    from ledger_pipeline.pipeline.completeness import utc_text

    if isinstance(value, dg.TableMetadataValue):
        return [dict(record.data) for record in value.records]
    if isinstance(value, dg.TimestampMetadataValue):
        return utc_text(datetime.fromtimestamp(value.value, UTC))
    return value.value


def _chain(access: LedgerAccess, epoch: "Epoch") -> "StatementChain | None":
    """The epoch's statements; None where there never was one."""
    from ledger_pipeline.pipeline.chain import statement_chain

    history = access.ledger.statements.history(epoch)
    if not history.statements:
        return None
    return statement_chain(access.ledger.node_id, access.scope, epoch, history, audited=True)


def _statement_check(access: LedgerAccess, epoch: "Epoch", chain: "StatementChain") -> "CheckResult":
    # Here, for only an epoch with a statement needs an archive's models.
    from ledger_pipeline.pipeline.epoch_checks import statement_recomputes
    from ledger_pipeline.verification.ledger_rows import facts_of
    from ledger_pipeline.verification.verify import verify

    differences = verify(facts_of(access.ledger.statements.rows(epoch)))
    return statement_recomputes([*map(str, differences), *map(str, chain.wrongly_set_aside)], chain.approvals)
