"""The job `facts_backfill`: run for a partition, it shows there what is known of the events' facts."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from ledger_pipeline.defs.keys import ACTIVITY_EVENTS
from ledger_pipeline.pipeline.scan import SourceScopeScan
from ledger_pipeline.sources.simulator.world import Closure, World
from ledger_pipeline.store.scan_records import PageContent
from ledger_pipeline_tests.builders import SCOPE_ID, instant, window
from ledger_pipeline_tests.defs.deployment import QUIET, Deployment
from ledger_pipeline_tests.sources.simulator.worlds import issue, merged, review, world

WEEK = "2026-02-09"


def run(deployment: Deployment) -> dg.ExecuteInProcessResult:
    job = deployment.definitions().resolve_job_def("facts_backfill")
    return job.execute_in_process(
        run_config=QUIET, instance=deployment.instance, partition_key=f"{WEEK}|default", raise_on_error=False
    )


def observed(deployment: Deployment) -> dict[str, Any]:
    """What the latest observation of the week says."""
    records = deployment.instance.fetch_observations(ACTIVITY_EVENTS, limit=1).records
    [observation] = [record.asset_observation for record in records]
    assert observation is not None
    assert observation.partition == f"{WEEK}|default"
    return {name: value.value for name, value in observation.metadata.items()}


@pytest.fixture
def events(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many events the week has, collected as before there were facts."""
    content, day = SourceScopeScan._content, instant(WEEK) + timedelta(hours=12)
    items = (merged(1, day, reviews=(review(1, day),)), issue(2, day, closures=(Closure(day),)))
    deployment.github.replace_world(world(*items))

    def without(self: SourceScopeScan, *given: object) -> PageContent:
        return replace(content(self, *given), facts=())  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(SourceScopeScan, "_content", without)
        assert deployment.materialize(WEEK).success
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
    assert shown["api_requests"] >= 1
    assert deployment.materialize(WEEK).success
    assert deployment.metadata(ACTIVITY_EVENTS.path, f"{WEEK}|default")["facts_known"] == events


def test_a_run_that_cannot_ask_says_so_and_fails(deployment: Deployment, events: int) -> None:
    deployment.github.replace_world(World())
    assert not run(deployment).success
    shown = observed(deployment)
    assert (shown["facts_known"], shown["facts_not_to_be_read"]) == (0, events)
