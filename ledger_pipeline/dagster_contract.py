"""What whoever launches a Dagster run and the run itself agree on: partition keys, tags, names of jobs, assets and
checks, and what a materialization says that is read back.

Plain strings and numbers, so that the Temporal bridge, which knows Dagster only over its API, says them as the assets
do. The standard library only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields

from ledger_pipeline.core.errors import WindowError
from ledger_pipeline.core.sources import SourceKind, source_of_stream
from ledger_pipeline.core.spec import RepoSpec

CODE_LOCATION = "ledger_pipeline"
REPOSITORY = "__repository__"  # what Dagster calls the definitions of a code location
COLLECT_EPOCH_JOB = "collect_epoch"
BACKFILL_JOB = "backfill"
FACTS_BACKFILL_JOB = "facts_backfill"

EPOCH_DIMENSION = "epoch"
SCOPE_DIMENSION = "scope"
SEPARATOR = "|"

ALLOCATE_EPOCH_JOB = "allocate_epoch"
STATE_PAYOUTS_JOB = "state_payouts"

ACTIVITY_EVENTS_ASSET = ("activity_events",)
EPOCH_ASSET = ("epoch",)
CURATION_ASSET = ("activity_curation",)
ALLOCATIONS_ASSET = ("epoch_allocations",)
POOL_ASSET = ("pool_components",)
STATEMENT_ASSET = ("payout_statement",)

# The checks of an epoch's partition: the first two are `activity_events`'s, the last `payout_statement`'s.
EVERY_SOURCE_SCOPE_READ = "every_source_scope_read"
NOTHING_REJECTED = "nothing_rejected"
STATEMENT_RECOMPUTES = "statement_recomputes"

# The entry of a report without a run that has a materialization as a run would store it.
WHOLE_MATERIALIZATION = "whole_materialization"

# Under which the code location says whose it is: see `deployment_labels`.
NODE_ID_LABEL = "node_id"
SCOPE_IDS_LABEL = "scope_ids"
LEDGER_ID_LABEL = "ledger_id"
# What to do where a worker or a Dagster writes another database than the one that a command reads.
SAME_LEDGER = (
    "let DATABASE_URL, or LEDGER_HOME where it is not set, name the same ledger here and there (`make dev` has "
    "LEDGER_HOME=.ledger/demo), and restart what was started with another"
)

# What a launcher reads back from an epoch's materialization, besides the counts of its streams.
EPOCH_STATUS = "epoch_status"
RUN_UNREAD = "run_left_unread"
RETRYABLE = "retryable"
RETRY_AFTER_SECONDS = "retry_after_seconds"

# Who asked for a run, and on whose behalf.
TRIGGER_TAG = "ledger/trigger"
WORKFLOW_ID_TAG = "ledger/temporal_workflow_id"
WORKFLOW_RUN_ID_TAG = "ledger/temporal_run_id"
WORKFLOW_URL_TAG = "ledger/temporal_workflow_url"
# Whose epochs a run collects; the run queue writes it, so that a scope's runs wait for each other.
SCOPE_TAG = "ledger/scope"
# Of the scope that a workflow asks for: a code location of another repo-spec refuses the run.
SCOPE_ID_TAG = "ledger/scope_id"

# Of a run that a limit of its source ended: from when on it may be asked for again (ISO 8601). Whoever launches another
# then, the workflow that it belongs to or else a sensor, says in whose place.
RETRY_AT_TAG = "ledger/retry_at"
RETRY_OF_TAG = "ledger/retry_of"

# Dagster's own.
REPOSITORY_TAG = ".dagster/repository"
PARTITION_TAG = "dagster/partition"
WILL_RETRY_TAG = "dagster/will_retry"
RETRY_NUMBER_TAG = "dagster/retry_number"
PARENT_RUN_TAG = "dagster/parent_run_id"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
SCHEDULE_TAG = "dagster/schedule_name"
SENSOR_TAG = "dagster/sensor_name"
BACKFILL_TAG = "dagster/backfill"


@dataclass(frozen=True)
class StreamCounts:
    """What a run met of one stream in one epoch: each item is new, a duplicate, skipped or rejected.

    `renamed` duplicates are counted among the duplicates too; of what was rejected the reasons are `late`, `replaced`
    and `conflict`.
    """

    seen: int = 0
    new: int = 0
    duplicate: int = 0
    renamed: int = 0
    skipped: int = 0
    late: int = 0
    replaced: int = 0
    conflict: int = 0

    @property
    def rejected(self) -> int:
        """Events that the ledger refused and keeps aside, whatever the reason."""
        return self.late + self.replaced + self.conflict

    def metadata(self) -> dict[str, int]:
        """The entries of the stream's materialization that `of_metadata` reads back."""
        return asdict(self)

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, object]) -> "StreamCounts":
        """What a materialization says; 0 of what it says nothing, as where the run did not ask for the stream."""
        stated = {field.name: metadata.get(field.name) for field in fields(cls)}
        return cls(**{label: count for label, count in stated.items() if isinstance(count, int)})


def stream_asset(stream: str) -> tuple[str, str]:
    """The asset of a stream, `github/issues` for `issues`."""
    return source_of_stream(stream), stream


def stream_assets(kinds: Iterable[SourceKind]) -> dict[str, tuple[str, str]]:
    """The asset of every stream of `kinds`, by the stream's name."""
    return {stream: stream_asset(stream) for kind in kinds for stream in kind.stream_names}


def deployment_labels(spec: RepoSpec, ledger_id: str | None) -> dict[str, str]:
    """Whose code location it is: node, scopes and, where it is known, the ledger's database.

    `activity_events` says them in Dagster's catalogue.
    """
    labels = {
        NODE_ID_LABEL: str(spec.node_id),
        SCOPE_IDS_LABEL: ", ".join(f"{scope.scope_key} {scope.scope_id}" for scope in spec.scopes),
    }
    return labels if ledger_id is None else {**labels, LEDGER_ID_LABEL: ledger_id}


def format_partition_key(epoch_key: str, scope_key: str) -> str:
    """The partition of one epoch of one scope, `2026-02-16|default`."""
    return f"{epoch_key}{SEPARATOR}{scope_key}"


def parse_partition_key(key: str) -> tuple[str, str]:
    """The epoch key and scope key of a partition. Raises WindowError for what is not `epoch|scope`."""
    epoch_key, separator, scope_key = key.partition(SEPARATOR)
    if not separator:
        raise WindowError(f"partition key {key!r} is not epoch|scope, as 2026-02-16|default")
    return epoch_key, scope_key


def partition_tags(epoch_key: str, scope_key: str) -> dict[str, str]:
    """Run tags that make a run materialize one partition."""
    return {PARTITION_TAG: format_partition_key(epoch_key, scope_key)}


def covers_partition(run_tags: Mapping[str, str], epoch_key: str, scope_key: str) -> bool:
    """Whether a run with these tags is known to materialize the partition, alone or as part of a range.

    A range is every epoch from its first to its last, of every scope from its first to its last. Of the scopes between
    these two only Dagster's definitions know, so the answer is False: who asks then launches a run that repeats one.
    """
    if PARTITION_TAG in run_tags:
        return run_tags[PARTITION_TAG] == format_partition_key(epoch_key, scope_key)
    if RANGE_START_TAG not in run_tags or RANGE_END_TAG not in run_tags:
        return False
    first, first_scope = parse_partition_key(run_tags[RANGE_START_TAG])
    last, last_scope = parse_partition_key(run_tags[RANGE_END_TAG])
    # Epoch keys are dates as ISO writes them: their order is that of the text.
    return scope_key in (first_scope, last_scope) and first <= epoch_key <= last


def first_and_last_partition(run_tags: Mapping[str, str]) -> tuple[str, str] | None:
    """The partition keys between which a run with these tags materializes; None for a run of no partition."""
    if PARTITION_TAG in run_tags:
        return run_tags[PARTITION_TAG], run_tags[PARTITION_TAG]
    if RANGE_START_TAG in run_tags and RANGE_END_TAG in run_tags:
        return run_tags[RANGE_START_TAG], run_tags[RANGE_END_TAG]
    return None


def scope_of_run(run_tags: Mapping[str, str]) -> str | None:
    """The key of the one scope that a run with these tags is of; None where it is of none, or of several."""
    partitions = first_and_last_partition(run_tags)
    if partitions is None:
        return None
    try:
        scopes = {parse_partition_key(key)[1] for key in partitions}
    except WindowError:
        return None
    return scopes.pop() if len(scopes) == 1 else None
