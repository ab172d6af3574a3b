"""The job `facts_backfill`: run for a partition, it shows there what is known of the events' facts."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from ledger_pipeline.dagster_contract import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS
from ledger_pipeline.pipeline.scan import SourceScopeScan
from ledger_pipeline.sources.simulator.faults import NullItem
from ledger_pipeline.sources.simulator.world import Closure, World
from ledger_pipeline.store.scan_records import PageContent
from ledger_pipeline_tests.builders import SCOPE_ID, instant, window
from ledger_pipeline_tests.defs.deployment import QUIET, Deployment
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, review, world

WEEK, NEXT_WEEK = "2026-02-09", "2026-02-16"
NOON = timedelta(hours=12)


def run(deployment: Deployment, last: str | None = None) -> dg.ExecuteInProcessResult:
    """One run over WEEK, or over the weeks from it to `last`."""
    job = deployment.definitions().resolve_job_def("facts_backfill")
    tags = {RANGE_START_TAG: f"{WEEK}|default", RANGE_END_TAG: f"{last or WEEK}|default"}
    if last is None:
        tags = {PARTITION_TAG: f"{WEEK}|default"}
    return job.execute_in_process(run_config=QUIET, instance=deployment.instance, tags=tags, raise_on_error=False)


def observed(deployment: Deployment, week: str = WEEK) -> dict[str, Any]:
    """What the latest observation of a week says."""
    partition = dg.AssetRecordsFilter(asset_key=ACTIVITY_EVENTS, asset_partitions=[f"{week}|default"])
    [record] = deployment.instance.fetch_observations(partition, limit=1).records
    assert record.asset_observation is not None
    return {name: value.value for name, value in record.asset_observation.metadata.items()}


@pytest.fixture
def events(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many events the week has, collected as before there were facts."""
    content, day, next_day = SourceScopeScan._content, instant(WEEK) + NOON, instant(NEXT_WEEK) + NOON
    items = (
        merged(1, day, reviews=(review(1, day), review(2, next_day))),
        issue(2, day, closures=(Closure(day),)),
        issue(3, next_day, closures=(Closure(next_day),)),
    )
    deployment.github.replace_world(world(*items))

    def without(self: SourceScopeScan, *given: object) -> PageContent:
        return replace(content(self, *given), facts=())  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(SourceScopeScan, "_content", without)
        assert deployment.materialize(WEEK, NEXT_WEEK).success
    held = sum(deployment.ledger.events.per_type(SCOPE_ID, [window(WEEK)])[window(WEEK)].values())
    metadata = deployment.metadata(ACTIVITY_EVENTS.path, f"{WEEK}|default")
    assert (metadata["facts_known"], metadata["facts_unknown"], metadata["facts_gone"]) == (0, held, 0)
    assert held == 3
    return held


def test_a_run_reads_the_facts_of_its_partition_and_shows_how_many_there_are(
    deployment: Deployment, events: int
) -> None:
    assert run(deployment).success
    shown = observed(deployment)
    assert (shown["facts_known"], shown["facts_unknown"], shown["facts_observed_now"]) == (events, 0, events)
    assert shown["api_requests_of_run"] >= 1
    assert deployment.materialize(WEEK).success
    assert deployment.metadata(ACTIVITY_EVENTS.path, f"{WEEK}|default")["facts_known"] == events


def test_a_run_that_cannot_ask_says_so_and_fails(deployment: Deployment, events: int) -> None:
    deployment.github.replace_world(World())
    assert not run(deployment).success
    shown = observed(deployment)
    assert (shown["facts_known"], shown["facts_not_to_be_read"]) == (0, events)


def test_one_run_over_a_range_shows_in_each_partition_what_was_done_in_it(deployment: Deployment, events: int) -> None:
    assert run(deployment, NEXT_WEEK).success
    of_week, of_next_week = observed(deployment), observed(deployment, NEXT_WEEK)
    for shown, known in ((of_week, events), (of_next_week, 2)):
        assert (shown["facts_known"], shown["facts_unknown"], shown["facts_observed_now"]) == (known, 0, known)
        assert (shown["facts_gone_now"], shown["facts_not_to_be_read"]) == (0, 0)
    assert of_week["api_requests_of_run"] == of_next_week["api_requests_of_run"] == 1


def test_a_run_over_a_range_goes_on_behind_what_one_before_it_has_read(deployment: Deployment, events: int) -> None:
    deployment.github.faults.for_repository(NAME, NullItem(3))
    assert run(deployment, NEXT_WEEK).success
    assert observed(deployment)["facts_unknown"] == 0
    assert observed(deployment, NEXT_WEEK)["facts_not_to_be_read"] == 1
    deployment.github.faults.clear()
    assert run(deployment, NEXT_WEEK).success
    of_week, of_next_week = observed(deployment), observed(deployment, NEXT_WEEK)
    assert (of_week["facts_known"], of_week["facts_observed_now"]) == (events, 0)
    assert (of_next_week["facts_known"], of_next_week["facts_observed_now"]) == (2, 1)
