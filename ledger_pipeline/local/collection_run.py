"""A collection as one Dagster run in this process, on the configured instance, and what the run recorded.

The numbers come from the materializations that Dagster stored: what a command prints is what the UI shows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import dagster as dg

# DagsterInstance.from_config takes a file alone; a command overrides one entry of what its user's file says.
from dagster._core.instance.ref import InstanceRef

from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.dagster_contract import EPOCH_DIMENSION, RUN_UNREAD, TRIGGER_TAG, StreamCounts
from ledger_pipeline.definitions import build_defs
from ledger_pipeline.defs.ingestion import activity_op
from ledger_pipeline.defs.jobs import collect_epoch
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS, stream_key
from ledger_pipeline.defs.partitions import partition_range_tags
from ledger_pipeline.defs.progress import ProgressListener
from ledger_pipeline.store.records import WindowDigest

# The command shows progress and failure itself; Dagster's console would repeat every event of the run.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


# What a command prints is for who called it. Dagster would keep a copy for its UI by having `tail` print it in the
# command's place, with a watcher in Python: both hear Ctrl-C in a terminal, and the watcher prints a trace.
_NOTHING_COPIED = {
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
}

CANCELED = "interrupted; what was stored stays, and the next collection goes on from there"


@dataclass(frozen=True)
class StreamRow:
    """One stream of one partition, as its materialization says.

    `in_ledger_before` and `in_ledger` are events of the whole epoch; the numbers between are what the run met of it,
    all 0 where nothing was `asked`.
    """

    epoch: str
    scope: str
    stream: str
    in_ledger_before: int
    in_ledger: int
    asked: bool
    seen: int
    new: int
    duplicate: int
    skipped: int
    rejected: int
    cursor: str
    window_complete: bool
    run_api_requests: int


@dataclass(frozen=True)
class DigestRow:
    """What the ledger holds for one partition after the run; `events_by_type` has every type of the scope's sources."""

    epoch: str
    scope: str
    events: int
    events_by_type: Mapping[str, int]
    rejected: int
    set_hash: str

    def columns(self) -> dict[str, object]:
        """The row as people and programs see it: each type of events is a column of its own."""
        return {
            "epoch": self.epoch,
            "scope": self.scope,
            "events": self.events,
            **self.events_by_type,
            "rejected": self.rejected,
            "set_hash": self.set_hash,
        }


@dataclass(frozen=True)
class CollectionRun:
    """A finished run: `problem` says in one line why it failed or that it was canceled, None where it did its work.

    `unread` says in one line which items nobody could read, None where all were. `other_epochs` are those that the run
    brought in or changed beside the ones it was asked for.
    """

    run_id: str
    canceled: bool
    problem: str | None
    api_requests: int
    api_points: int
    unread: str | None
    streams: list[StreamRow]
    digests: list[DigestRow]
    other_epochs: list[str]

    def columns(self) -> dict[str, object]:
        """The run as programs see it, its digests with a column for each type of events."""
        return {**asdict(self), "digests": [row.columns() for row in self.digests]}


def command_instance(folder: Path) -> dg.DagsterInstance:
    """The Dagster instance of `folder`, for runs in the process of a command, which prints for itself."""
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), overrides=_NOTHING_COPIED))


def run_collection(
    spec: RepoSpec,
    scope: Scope,
    windows: Sequence[EpochWindow],
    instance: dg.DagsterInstance,
    *,
    trigger: str,
    progress: ProgressListener,
    full_refresh: bool = False,
) -> CollectionRun:
    """Materialize the partitions of contiguous `windows` (oldest first) of `scope` in one run.

    Ctrl-C cancels the run: what is stored stays, and the canceled run is returned.
    """
    run_id = str(uuid4())
    instance.add_event_listener(run_id, _cancels_when_interrupted(instance))
    job = build_defs(spec, progress=progress).resolve_job_def(collect_epoch.name)
    result = job.execute_in_process(
        run_config={
            **_QUIET,
            "ops": {activity_op(kind): {"config": {"full_refresh": full_refresh}} for kind in spec.source_kinds},
        },
        instance=instance,
        tags={**partition_range_tags(windows[0], windows[-1], scope), TRIGGER_TAG: trigger},
        raise_on_error=False,
        run_id=run_id,
    )
    return _recorded(result, scope, windows, canceled=_is_canceled(instance, run_id))


def _cancels_when_interrupted(instance: dg.DagsterInstance) -> Callable[[dg.EventLogEntry], None]:
    """Dagster takes an interruption that nobody asked it for as a failure; here a person asked us."""

    def listen(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None or not event.is_step_failure:
            return
        source = event.step_failure_data.error_source
        if source is not None and source.name == "INTERRUPT":
            run = instance.get_run_by_id(entry.run_id)
            if run is not None and not run.is_finished:
                instance.report_run_canceling(run, "Interrupted: Ctrl-C, or a signal to end.")

    return listen


def _is_canceled(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status is dg.DagsterRunStatus.CANCELED


def digest_row(digest: WindowDigest, scope: Scope) -> DigestRow:
    """What the ledger holds for a window, as a row for people."""
    return DigestRow(
        epoch=digest.window.key,
        scope=scope.scope_key,
        events=digest.events,
        events_by_type={
            stream.event_type: digest.events_by_type.get(stream.event_type, 0) for stream in scope.stream_kinds
        },
        rejected=sum(digest.rejected_by_reason.values()),
        set_hash=digest.set_hash,
    )


def _recorded(
    result: dg.ExecuteInProcessResult, scope: Scope, windows: Sequence[EpochWindow], *, canceled: bool
) -> CollectionRun:
    asked_for = {window.key for window in windows}
    recorded = [
        event.step_materialization_data.materialization for event in result.all_events if event.is_step_materialization
    ]
    materializations = [materialization for materialization in recorded if _epoch(materialization) in asked_for]
    by_stream = {stream_key(stream.name): stream.name for stream in scope.stream_kinds}
    streams = [
        _stream_row(materialization, by_stream[materialization.asset_key], scope)
        for materialization in materializations
        if materialization.asset_key in by_stream
    ]
    # What a run cost is the same of all streams of a source.
    by_source = {
        materialization.asset_key.path[0]: materialization
        for materialization in materializations
        if materialization.asset_key in by_stream
    }
    unread = dict.fromkeys(
        str(materialization.metadata[RUN_UNREAD].value)
        for materialization in by_source.values()
        if RUN_UNREAD in materialization.metadata
    )
    return CollectionRun(
        run_id=result.run_id,
        canceled=canceled,
        problem=CANCELED if canceled else None if result.success else _problem(result),
        api_requests=sum(_number(materialization, "run_api_requests") for materialization in by_source.values()),
        api_points=sum(_number(materialization, "run_api_points") for materialization in by_source.values()),
        unread="; ".join(unread) or None,
        streams=sorted(streams, key=lambda row: row.epoch),
        digests=sorted(
            (
                _digest_row(materialization, scope)
                for materialization in materializations
                if materialization.asset_key == ACTIVITY_EVENTS
            ),
            key=lambda row: row.epoch,
        ),
        other_epochs=sorted({_epoch(materialization) for materialization in recorded} - asked_for),
    )


def _stream_row(materialization: dg.AssetMaterialization, stream: str, scope: Scope) -> StreamRow:
    counts = StreamCounts.of_metadata({label: value.value for label, value in materialization.metadata.items()})
    cursors = materialization.metadata["cursors"]
    assert isinstance(cursors, dg.TableMetadataValue)  # noqa: S101 (as `stream_state` writes it)
    return StreamRow(
        epoch=_epoch(materialization),
        scope=scope.scope_key,
        stream=stream,
        in_ledger_before=_number(materialization, "in_ledger_before_this_run"),
        in_ledger=_number(materialization, "in_ledger"),
        asked=bool(materialization.metadata["asked"].value),
        seen=counts.seen,
        new=counts.new,
        duplicate=counts.duplicate,
        skipped=counts.skipped,
        rejected=counts.rejected,
        cursor=min(str(record.data["cursor_to"]) for record in cursors.records),
        window_complete=bool(materialization.metadata["window_complete"].value),
        run_api_requests=_number(materialization, "run_api_requests"),
    )


def _digest_row(materialization: dg.AssetMaterialization, scope: Scope) -> DigestRow:
    return DigestRow(
        epoch=_epoch(materialization),
        scope=scope.scope_key,
        events=_number(materialization, "events"),
        events_by_type={
            stream.event_type: _number(materialization, stream.event_type) for stream in scope.stream_kinds
        },
        rejected=_number(materialization, "rejected"),
        set_hash=str(materialization.metadata["set_hash"].value),
    )


def _epoch(materialization: dg.AssetMaterialization) -> str:
    assert isinstance(materialization.partition, dg.MultiPartitionKey)  # noqa: S101 (every asset of the job has the grid)
    return materialization.partition.keys_by_dimension[EPOCH_DIMENSION]


def _number(materialization: dg.AssetMaterialization, key: str) -> int:
    value = materialization.metadata[key].value if key in materialization.metadata else 0
    assert isinstance(value, int)  # noqa: S101
    return value


def _problem(result: dg.ExecuteInProcessResult) -> str:
    return "; ".join(_problems(result)) or "the run failed: see its log in Dagster"


def _problems(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    for event in result.filter_events(lambda event: event.is_step_failure):
        failure = event.step_failure_data
        if failure.user_failure_data is not None and failure.user_failure_data.description:
            yield failure.user_failure_data.description
        elif failure.error is not None:
            cause = failure.error.cause or failure.error
            yield cause.message.strip()
