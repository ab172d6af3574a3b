"""What starts a collection says: a scope of the repo-spec as the payload of CollectEpochWorkflow. Pure."""

from datetime import datetime

from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.core.windows import iso_millis

GRAPH_ID = "ledger:ingest"
SCHEDULE_ID = "governance:ledger_ingest"

_HOUR_MILLIS = 3_600_000


def schedule_id_of(spec: RepoSpec, scope: Scope) -> str:
    """The id of the Temporal schedule that collects `scope`."""
    return SCHEDULE_ID if scope == spec.default_scope else f"{SCHEDULE_ID}:{scope.scope_key}"


def scheduled_payload(scope: Scope, schedule_id: str) -> dict[str, Json]:
    """What the schedule sends; the moment that is collected comes from Temporal."""
    identity: dict[str, Json] = {"scheduleId": schedule_id, "temporalScheduleId": schedule_id}
    return {**identity, "graphId": GRAPH_ID, "input": _input(scope)}


def manual_payload(scope: Scope, as_of: datetime) -> dict[str, Json]:
    """What a person's start sends: the epoch that holds `as_of` (aware)."""
    return {"graphId": GRAPH_ID, "input": {**_input(scope), "asOf": iso_millis(as_of)}}


def _input(scope: Scope) -> dict[str, Json]:
    asked: dict[str, Json] = {
        "version": 1,
        "scopeId": str(scope.scope_id),
        "scopeKey": scope.scope_key,
        "epochLengthDays": scope.epoch_length_days,
        "activitySources": {
            activity_source.source: {
                "creditEstimateAlgo": activity_source.credit_estimate_algo,
                "sourceRefs": list(activity_source.source_scopes),
                "streams": list(activity_source.streams),
            }
            for activity_source in scope.sources
        },
        "autoCloseGracePeriodMs": scope.auto_close_grace_hours * _HOUR_MILLIS,
    }
    if scope.base_issuance_credits is not None:
        asked["baseIssuanceCredits"] = str(scope.base_issuance_credits)
    if scope.approvers:
        asked["approvers"] = list(scope.approvers)
    return asked
