"""What goes over the wire: names, ids, and the shapes of payloads and results, camelCase JSON for any SDK.

A contract with the system we join. Unknown fields are ignored, so that a newer client is understood; known ones are
checked, and the first that is wrong is named.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from ledger_pipeline.core.errors import ConfigurationError, PayloadError
from ledger_pipeline.core.sources import source_kind, streams_by_name
from ledger_pipeline.core.windows import EpochWindow, iso_millis

TASK_QUEUE = "ledger-tasks"
# Queues of their own, so that no number of waiting collections keeps an epoch from being finalized, or a run from
# being canceled.
FINALIZE_QUEUE = "ledger-tasks-finalize"
CANCEL_QUEUE = "ledger-tasks-cancel"
COLLECT_EPOCH_WORKFLOW = "CollectEpochWorkflow"
FINALIZE_EPOCH_WORKFLOW = "FinalizeEpochWorkflow"
PROGRESS_QUERY = "progress"
RUN_FOUND_SIGNAL = "dagsterRunFound"

ENSURE_EPOCH_FOR_WINDOW = "ensureEpochForWindow"
LOAD_CURSOR = "loadCursor"
COLLECT_FROM_SOURCE = "collectFromSource"
INSERT_EVENTS = "insertEvents"
SAVE_CURSOR = "saveCursor"
MATERIALIZE_PARTITION = "materializePartition"
CANCEL_PARTITION_RUN = "cancelPartitionRun"
FINALIZE_EPOCH = "finalizeEpoch"

# The workflow's memo, and the schedule's: where the Dagster run is.
MEMO_DAGSTER_RUN_ID = "dagsterRunId"
MEMO_DAGSTER_RUN_URL = "dagsterRunUrl"

# Types of application failures that clients and retry policies go by.
BAD_PAYLOAD = "BadPayload"
RUN_FAILED = "DagsterRunFailed"  # the run's own failure says that a retry cannot help
RUN_FAILED_IN_PASSING = "DagsterRunFailedInPassing"  # it says that a later run may succeed
RUN_CANCELED = "DagsterRunCanceled"
RUN_LATER = "DagsterRunLater"  # a limit of the source ended it: another is launched once that has passed


def collect_workflow_id(scope_id: UUID, window: EpochWindow) -> str:
    """The id of a manually started collection: one at a time for a scope and window."""
    return f"ledger-collect-{scope_id}-{iso_millis(window.start)}-{iso_millis(window.end)}"


def _is_written(value: object) -> object:
    # A bare number would pass for seconds or milliseconds since 1970, whichever looks likelier.
    if isinstance(value, str | datetime):
        return value
    raise ValueError("an instant such as 2026-02-16T12:00:00Z")


Instant = Annotated[AwareDatetime, BeforeValidator(_is_written), PlainSerializer(iso_millis, return_type=str)]


def _are_known_sources(sources: dict[str, "ActivitySource"]) -> dict[str, "ActivitySource"]:
    for name, source in sources.items():
        try:
            kind = source_kind(name)
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        for stream in source.streams or ():
            if stream not in kind.stream_names:
                raise ValueError(f"{stream} is no stream of {name}: {', '.join(kind.stream_names)}")
    return sources


def _is_known_stream(stream: str) -> str:
    if stream not in streams_by_name():
        raise ValueError(f"one of {', '.join(streams_by_name())}")
    return stream


class Wire(BaseModel):
    """A JSON object as other SDKs write and read it: camelCase keys, unknown ones ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="ignore",
        frozen=True,
    )


_NonEmpty = Annotated[StrictStr, Field(min_length=1)]
Stream = Annotated[StrictStr, AfterValidator(_is_known_stream)]
# JSON has no integers beyond 2^53 in other SDKs, so the ledger's 64-bit ids travel as text.
EpochId = Annotated[StrictStr, Field(pattern=r"^[1-9][0-9]{0,18}$")]


class ActivitySource(Wire):
    """What a schedule says of one source; what an older one leaves out, the repo-spec says.

    It says `creditEstimateAlgo` or `attributionPipeline`, as the file of its scope does.
    """

    credit_estimate_algo: _NonEmpty | None = None
    attribution_pipeline: _NonEmpty | None = None
    source_refs: tuple[_NonEmpty, ...] | None = None
    streams: tuple[Stream, ...] | None = None


class CollectEpochInput(Wire):
    """The domain part of a schedule's payload. `version` is 1, or left out by older schedules."""

    version: Literal[1] | None = None
    scope_id: UUID
    scope_key: _NonEmpty
    epoch_length_days: StrictInt
    activity_sources: Annotated[dict[str, ActivitySource], Field(min_length=1), AfterValidator(_are_known_sources)]
    base_issuance_credits: Annotated[StrictStr, Field(pattern=r"^(0|[1-9][0-9]*)$")] | None = None
    approvers: tuple[Annotated[StrictStr, Field(pattern=r"^0x[0-9a-fA-F]{40}$")], ...] | None = None
    auto_close_grace_period_ms: Annotated[StrictInt, Field(ge=0)] | None = None
    as_of: Instant | None = None


class CollectEpochPayload(Wire):
    """The single argument of CollectEpochWorkflow, as schedules send it."""

    schedule_id: str | None = None
    temporal_schedule_id: str | None = None
    db_schedule_id: str | None = None
    graph_id: str | None = None
    execution_grant_id: str | None = None
    input: CollectEpochInput


class StreamCountsWire(Wire):
    """What a collection saw of one stream in the epoch."""

    seen: int
    new: int
    duplicate: int
    skipped: int
    rejected: int


class CollectEpochResult(Wire):
    """What happened. Without a Dagster run (`dagsterRunId` null) the epoch was not open: nothing was to be done.

    `attached`: the run was in progress already, launched by somebody else. `drift`: fields in which the payload
    differs from the repo-spec, which is what was collected by. `unread`: which items of the source the run could not
    read, in plain words; the next collection asks for them again.
    """

    epoch_id: EpochId
    status: str
    scope_id: UUID
    scope_key: str
    period_start: Instant
    period_end: Instant
    dagster_run_id: str | None = None
    dagster_run_url: str | None = None
    attached: bool = False
    streams: dict[str, StreamCountsWire] = {}
    drift: tuple[str, ...] = ()
    unread: str | None = None


class Progress(Wire):
    """The answer to the query `progress`."""

    stage: Literal["starting", "ensuring epoch", "materializing", "done", "failed", "canceled"]
    epoch_id: EpochId | None = None
    period_start: Instant | None = None
    period_end: Instant | None = None
    dagster_run_id: str | None = None
    dagster_run_url: str | None = None


class EnsureEpochInput(Wire):
    """`weightConfig` is pinned where the epoch is created; the repo-spec's where left out.

    `scopeId` left out is the default scope. `requested` is a schedule's payload to be held against the repo-spec.
    """

    period_start: Instant
    period_end: Instant
    weight_config: dict[str, Annotated[StrictInt, Field(ge=0)]] | None = None
    scope_id: UUID | None = None
    requested: CollectEpochInput | None = None


class EnsureEpochOutput(Wire):
    """The epoch of the window, whatever its status, with the weights pinned in it."""

    epoch_id: EpochId
    status: str
    is_new: StrictBool
    weight_config: dict[str, int]
    drift: tuple[str, ...] = ()


class MaterializeInput(Wire):
    """The partition to be materialized."""

    scope_id: UUID
    scope_key: str
    period_start: Instant
    period_end: Instant


class DagsterRunFound(Wire):
    """The signal to the workflow once its Dagster run is known."""

    run_id: str
    url: str


class MaterializeOutput(Wire):
    """The run that materialized the partition, and what its materializations say."""

    run_id: str
    url: str
    attached: bool
    epoch_status: str | None
    streams: dict[str, StreamCountsWire]
    unread: str | None = None


_WireT = TypeVar("_WireT", bound=Wire)


def parse(shape: type[_WireT], value: object) -> _WireT:
    """`value`, plain JSON, as `shape`. Raises PayloadError naming the first field that is wrong."""
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise PayloadError(_dotted(first["loc"]) or "payload", _problem(first["type"], first["msg"])) from None


def _problem(kind: str, message: str) -> str:
    if kind == "missing":
        return "is missing"
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return "must be an object"
    return message.removeprefix("Value error, ")


def _dotted(location: Iterable[int | str]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).lstrip(".")


class FinalizeEpochInput(Wire):
    """Which epoch, and an approver's signature of its message; `signerAddress` says whose it should be.

    `inputsSignature` is theirs of what the statement follows from; clients of before know of none. With
    `acceptPinnedSpec` an epoch that closed with other pins than the repo-spec's is finalized by what it closed with.
    """

    epoch_id: EpochId
    signature: Annotated[StrictStr, Field(min_length=1)]
    signer_address: StrictStr | None = None
    inputs_signature: Annotated[StrictStr, Field(min_length=1)] | None = None
    accept_pinned_spec: StrictBool | None = None


class FinalizeEpochResult(Wire):
    """The statement that was signed, for how many `users`; its lines are in the ledger, for a payload holds 2 MB.

    Credits are a string: they may be larger than JSON keeps exact. `outcome` is stated, amended, signed (a further
    signature), unchanged or collected, `scheme` that of the signature; none where an earlier release finalized. Where
    several approvers sign, `signed` of `threshold` have: there is no statement before enough have.
    """

    epoch_id: EpochId
    scope_id: UUID
    statement_id: UUID | None
    allocation_set_hash: str
    pool_total_credits: str
    supersedes_statement_id: UUID | None = None
    users: int
    outcome: str | None = None
    scheme: str | None = None
    signed: int | None = None
    threshold: int | None = None
