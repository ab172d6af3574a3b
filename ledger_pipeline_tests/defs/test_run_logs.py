"""What every kind of run leaves in Dagster's log: materializations in the order of the calendar, and no noise."""

from collections.abc import Callable

import dagster as dg
import pytest

from ledger_pipeline.dagster_contract import (
    ALLOCATE_EPOCH_JOB,
    NOTHING_REJECTED,
    STATE_PAYOUTS_JOB,
    STATEMENT_RECOMPUTES,
)
from ledger_pipeline.defs.checks import counts_check
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS, EPOCH, EPOCH_ALLOCATIONS, PAYOUT_STATEMENT, stream_key
from ledger_pipeline.defs.partition_checks import DESCRIPTIONS
from ledger_pipeline_tests.builders import weeks
from ledger_pipeline_tests.defs.deployment import QUIET, Deployment

FIRST, LAST = "2026-01-12", "2026-02-16"
RANGE = {
    "dagster/asset_partition_range_start": f"{FIRST}|default",
    "dagster/asset_partition_range_end": f"{LAST}|default",
}
NOISE = "did not yield or return expected outputs"

Select = Callable[[dg.JobDefinition], dg.JobDefinition]


def run(deployment: Deployment, job: str | None, select: Select = lambda job: job) -> dg.ExecuteInProcessResult:
    """A job over the range, or what `select` takes of all that can be materialized and checked."""
    definitions = deployment.definitions()
    chosen = definitions.resolve_job_def(job) if job else definitions.resolve_implicit_global_asset_job_def()
    return select(chosen).execute_in_process(
        run_config=QUIET, instance=deployment.instance, tags=RANGE, raise_on_error=False
    )


def only(*assets: dg.AssetKey, checks: dict[dg.AssetKey, set[str]] | None = None) -> Select:
    """What the UI selects: some assets, with checks of assets or without."""
    checks = checks or {}
    keys = {dg.AssetCheckKey(asset, check) for asset in checks for check in checks[asset]}
    return lambda job: job.get_subset(asset_selection=set(assets), asset_check_selection=keys)


@pytest.fixture
def collected(deployment: Deployment) -> Deployment:
    assert deployment.materialize(FIRST, LAST).success
    return deployment


def test_a_range_is_told_of_in_the_order_of_the_calendar_so_that_its_newest_epoch_is_the_latest(
    collected: Deployment,
) -> None:
    assert run(collected, ALLOCATE_EPOCH_JOB).success
    for asset in (stream_key("pull_requests"), stream_key("issues"), ACTIVITY_EVENTS, EPOCH, EPOCH_ALLOCATIONS):
        records = collected.instance.fetch_materializations(asset, limit=100, ascending=True).records
        assert [record.partition_key for record in records] == [f"{week.key}|default" for week in weeks(6, FIRST)]
        [entry] = collected.instance.get_asset_records([asset])
        latest = entry.asset_entry.last_materialization
        assert latest is not None
        assert latest.asset_materialization is not None
        assert latest.asset_materialization.partition == f"{LAST}|default"


KINDS: dict[str, tuple[str | None, Select]] = {
    "collection": ("collect_epoch", lambda job: job),
    "everything": (None, lambda job: job),
    "one stream": (None, only(stream_key("issues"))),
    "an asset without its checks": (None, only(ACTIVITY_EVENTS)),
    "an asset with one check": (None, only(ACTIVITY_EVENTS, checks={ACTIVITY_EVENTS: {NOTHING_REJECTED}})),
    "an asset with all checks": (
        None,
        only(ACTIVITY_EVENTS, checks={ACTIVITY_EVENTS: {*DESCRIPTIONS, counts_check("github")}}),
    ),
    "checks alone": (None, only(checks={ACTIVITY_EVENTS: set(DESCRIPTIONS)})),
    "counts alone": ("check_counts", lambda job: job),
    "allocation": (ALLOCATE_EPOCH_JOB, lambda job: job),
    "statements": (STATE_PAYOUTS_JOB, lambda job: job),
    "a statement's check alone": (None, only(checks={PAYOUT_STATEMENT: {STATEMENT_RECOMPUTES}})),
}


@pytest.mark.e2e
def test_no_run_says_that_an_output_was_not_given(collected: Deployment) -> None:
    for kind, (job, select) in KINDS.items():
        result = run(collected, job, select)
        assert result.success, kind
        assert NOISE not in log(collected, result), kind


def test_no_run_that_is_refused_says_so_either(deployment: Deployment) -> None:
    for asset in (ACTIVITY_EVENTS, EPOCH, PAYOUT_STATEMENT):
        result = run(deployment, None, only(asset))
        assert not result.success
        assert NOISE not in log(deployment, result)


def log(deployment: Deployment, result: dg.ExecuteInProcessResult) -> str:
    return "\n".join(entry.message for entry in deployment.instance.all_logs(result.run_id))
