"""What each partition of `activity_events` is checked for in every run, without asking GitHub anything.

A result carries its partition: a run of one epoch leaves the red of another as it is, until that one is run again.
Dagster gives a run over a range one result without a partition; so these are evaluations of our own, one a partition,
each pointing at the materialization it is about (what points at none, Dagster takes for outdated).
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import dagster as dg

# Dagster exports AssetCheckEvaluation, but not this class of its `target_materialization_data`.
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from ledger_pipeline.core.errors import SourceError
from ledger_pipeline.core.plain_text import as_markdown
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.dagster_contract import EVERY_SOURCE_SCOPE_READ, NOTHING_REJECTED
from ledger_pipeline.defs import tables
from ledger_pipeline.defs.event_batches import in_one_batch
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS
from ledger_pipeline.defs.metadata import shown
from ledger_pipeline.defs.partitions import partition_key
from ledger_pipeline.pipeline.completeness import Completeness
from ledger_pipeline.pipeline.epoch_checks import CheckResult, every_source_scope_read, nothing_rejected
from ledger_pipeline.store.records import UnsettledRejections

DESCRIPTIONS = {
    EVERY_SOURCE_SCOPE_READ: (
        "Every source_scope was read: to the end of an epoch that is over, within 26 hours of a running one, and every "
        "item that it shows of the epoch. "
        "An error, because the epoch's numbers are not whole; the next run that reads them all turns it green."
    ),
    NOTHING_REJECTED: (
        "No event was refused since the epoch's last payout statement, as late or in conflict with a stored one. "
        "A warning, because nothing is lost or miscounted: it is kept aside, for a person to decide before signing."
    ),
}
_UNREAD_LISTED = 50


def partition_check_specs(partitions: dg.PartitionsDefinition) -> list[dg.AssetCheckSpec]:
    """The checks of `activity_events`, by partition."""
    with warnings.catch_warnings():
        # A check's partitions are in preview; without them one partition's result would hide another's.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(name, asset=ACTIVITY_EVENTS, description=text, partitions_def=partitions)
            for name, text in DESCRIPTIONS.items()
        ]


def source_scopes_failed(
    instance: dg.DagsterInstance, scope: Scope, windows: Sequence[EpochWindow], failures: Iterable[SourceError]
) -> Iterator[dg.AssetCheckEvaluation]:
    """EVERY_SOURCE_SCOPE_READ failing on each of `windows`, by a collection of which `failures` came."""
    problems = [str(failure) for failure in failures]
    result = CheckResult(EVERY_SOURCE_SCOPE_READ, False, True, "; ".join(problems), {"failed": [*problems]})
    targets = latest_materializations(instance, ACTIVITY_EVENTS, [partition_key(window, scope) for window in windows])
    for window in windows:
        yield evaluation(ACTIVITY_EVENTS, partition_key(window, scope), targets, result, {})


def partition_results(
    instance: dg.DagsterInstance,
    scope: Scope,
    read: Mapping[EpochWindow, Completeness],
    rejections: Sequence[UnsettledRejections],
    selected: frozenset[str],
    now: datetime,
) -> Iterator[dg.AssetCheckEvaluation]:
    """Both checks, where `selected`, for every window: what is not read by `now`, and what was rejected."""
    targets = latest_materializations(instance, ACTIVITY_EVENTS, [partition_key(window, scope) for window in read])
    if EVERY_SOURCE_SCOPE_READ in selected:
        for window, completeness in read.items():
            unread = {"unread": tables.unread(completeness.unread[:_UNREAD_LISTED])} if completeness.unread else {}
            result = every_source_scope_read(completeness, now)
            yield evaluation(ACTIVITY_EVENTS, partition_key(window, scope), targets, result, unread)
    if NOTHING_REJECTED in selected:
        for unsettled in rejections:
            first = {"first_rejected": tables.rejected(unsettled)} if unsettled.first else {}
            key = partition_key(unsettled.window, scope)
            yield evaluation(ACTIVITY_EVENTS, key, targets, nothing_rejected(unsettled), first)


def evaluation(
    asset_key: dg.AssetKey,
    key: str,
    targets: Mapping[str, AssetCheckEvaluationTargetMaterializationData],
    result: CheckResult,
    shown_beside: Mapping[str, dg.MetadataValue],
    *,
    blocking: bool = False,
) -> dg.AssetCheckEvaluation:
    """A check's result on one partition, about the materialization that `targets` has of it."""
    return dg.AssetCheckEvaluation(
        asset_key=asset_key,
        check_name=result.check,
        passed=result.passed,
        severity=dg.AssetCheckSeverity.ERROR if result.is_error else dg.AssetCheckSeverity.WARN,
        description=as_markdown(f"{key}: {result.message}"),
        metadata={
            "partition": key,
            **{label: shown(value) for label, value in result.metadata.items()},
            **shown_beside,
        },
        target_materialization_data=targets.get(key),
        blocking=blocking,
        partition=key,
    )


def told_together(
    context: dg.AssetExecutionContext, evaluations: Iterable[dg.AssetCheckEvaluation]
) -> Iterator[dg.DagsterEvent]:
    """The events of `evaluations`, stored in one transaction by a storage that can, as Dagster does materializations.

    They are what Dagster makes of evaluations that a step yields, but for `blocking`, which is not looked at.
    """
    # Here, for Dagster's storage brings its migrations, which nobody needs who only loads the definitions.
    from ledger_pipeline.defs.dagster_storage import BatchingEventLogStorage

    step = context.get_step_execution_context()
    can_batch = isinstance(context.instance.event_log_storage, BatchingEventLogStorage)
    for result, batch in in_one_batch(list(evaluations)):
        outcome = "passed." if result.passed else "did not pass."
        yield dg.DagsterEvent.from_step(
            dg.DagsterEventType.ASSET_CHECK_EVALUATION,
            step,
            event_specific_data=result,
            message=f"Asset check '{result.check_name}' on '{result.asset_key.to_user_string()}' {outcome} "
            f"Description: '{result.description}'",
            batch_metadata=batch if can_batch else None,
        )


def check_outputs(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> Iterator[dg.Output[None]]:
    """What Dagster expects of a step for each of its checks that the run has selected, whatever their results."""
    layer = context.get_step_execution_context().job_def.asset_layer
    for key in sorted(context.selected_asset_check_keys):
        yield dg.Output(None, layer.get_op_output_name(key))


def latest_materializations(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: Sequence[str]
) -> dict[str, AssetCheckEvaluationTargetMaterializationData]:
    """The latest materialization of each partition, in two queries for all of them."""
    latest = instance.get_latest_storage_id_by_partition(
        asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, set(map(str, keys))
    )
    if not latest:
        return {}
    filtered = dg.AssetRecordsFilter(asset_key=asset_key, storage_ids=list(latest.values()))
    records = instance.fetch_materializations(filtered, limit=len(latest)).records
    return {
        record.partition_key: AssetCheckEvaluationTargetMaterializationData(
            storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
        )
        for record in records
        if record.partition_key is not None
    }
