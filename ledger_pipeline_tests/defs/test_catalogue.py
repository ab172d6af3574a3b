"""What Dagster's catalogue says: every asset, check and job by name. A change here is a change that users see."""

import re
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from ledger_pipeline.defs.keys import ACTIVITY_EVENTS
from ledger_pipeline_tests.defs.deployment import Deployment

INGESTION = ("ingestion", ("team:ledger",), frozenset({"github", "postgres"}))
ASSETS = {
    "github/pull_requests": (
        *INGESTION,
        "A row is a merged pull request, counted for its author at the moment of the merge.",
    ),
    "github/reviews": (
        *INGESTION,
        "A row is a submitted review, of a merged pull request or not, counted for the reviewer.",
    ),
    "github/issues": (*INGESTION, "A row is a closed issue, counted for its author at the moment it was closed."),
    "activity_events": (
        "ingestion",
        ("team:ledger",),
        frozenset({"postgres"}),
        "A row is an activity event of the append-only ledger: one fact, one person, one moment.",
    ),
}
CHECKS = {"counts_match_github", "every_source_scope_read", "nothing_rejected"}
COLLECTION_CHECKS = {"every_source_scope_read", "nothing_rejected"}


@pytest.fixture
def specs(deployment: Deployment) -> dict[str, dg.AssetSpec]:
    graph = deployment.definitions().resolve_asset_graph()
    return {spec.key.to_user_string(): spec for asset in graph.assets_defs for spec in asset.specs}


def test_the_assets_are_these_in_these_groups_with_these_owners_kinds_and_descriptions(
    specs: dict[str, dg.AssetSpec],
) -> None:
    found = {
        key: (spec.group_name, tuple(spec.owners), frozenset(spec.kinds), spec.description)
        for key, spec in specs.items()
    }
    assert found == ASSETS


def test_every_description_is_one_sentence_on_what_a_row_is(specs: dict[str, dg.AssetSpec]) -> None:
    for spec in specs.values():
        assert re.fullmatch(r"A row is [^.]+\.", spec.description or "")


def test_every_asset_links_to_the_function_that_makes_it(specs: dict[str, dg.AssetSpec]) -> None:
    for key, spec in specs.items():
        [link] = spec.metadata["dagster/code_references"].code_references
        assert isinstance(link, dg.LocalFileCodeReference)
        line = Path(link.file_path).read_text().splitlines()[(link.line_number or 0) - 1 :]
        made_by = "activity_events" if key == "activity_events" else "github_activity"
        assert f"def {made_by}(" in "\n".join(line[:40])


def test_every_asset_has_to_be_materialized_within_26_hours(specs: dict[str, dg.AssetSpec]) -> None:
    for spec in specs.values():
        assert spec.freshness_policy == dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=26))


def test_every_check_says_what_it_checks_and_none_blocks(deployment: Deployment) -> None:
    graph = deployment.definitions().resolve_asset_graph()
    checks = {key.name: graph.get_check_spec(key) for key in graph.asset_check_keys}
    assert set(checks) == CHECKS
    for spec in checks.values():
        assert (spec.asset_key, bool(spec.description), spec.blocking) == (ACTIVITY_EVENTS, True, False)


@pytest.mark.parametrize(
    ("job", "assets", "checks"),
    [
        ("collect_epoch", set(ASSETS), COLLECTION_CHECKS),
        ("backfill", set(ASSETS), COLLECTION_CHECKS),
        ("check_counts", set(), {"counts_match_github"}),
    ],
)
def test_the_jobs_select_these_assets_and_checks(
    deployment: Deployment, job: str, assets: set[str], checks: set[str]
) -> None:
    layer = deployment.definitions().resolve_job_def(job).asset_layer
    assert {key.to_user_string() for key in layer.selected_asset_keys} == assets
    assert {key.name for key in layer.asset_graph.asset_check_keys} == checks


@pytest.mark.parametrize(("job", "asks"), [("collect_epoch", False), ("backfill", True)])
def test_a_backfill_reads_a_covered_epoch_anew_and_a_collection_does_not(
    deployment: Deployment, job: str, asks: bool
) -> None:
    assert deployment.materialize("2026-02-09").success
    deployment.github.clear_requests()
    # With the job's own configuration, as it is launched for a partition.
    found = deployment.definitions().resolve_job_def(job)
    assert found.execute_in_process(instance=deployment.instance, partition_key="2026-02-09|default").success
    assert bool(deployment.github.requests) is asks


@pytest.mark.parametrize("asset", ASSETS)
def test_any_asset_can_be_materialized_for_any_partition(deployment: Deployment, asset: str) -> None:
    assert deployment.materialize_asset(asset, "2026-02-09|default").success
    assert deployment.materialized(asset.split("/")) == {"2026-02-09|default"}
