"""What Dagster's catalogue says: every asset, check and job by name. A change here is a change that users see."""

import re
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.defs.keys import stream_key
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
SETTLEMENT = ("settlement", ("team:ledger",), frozenset({"postgres"}))
SETTLEMENT_ASSETS = {
    "epoch": (*SETTLEMENT, "A row is an epoch of a scope: its window, its status, and what it is paid by."),
    "activity_curation": (
        *SETTLEMENT,
        "A row is an event of the epoch: for which user it counts, whether it does, and by which weight.",
    ),
    "epoch_allocations": (
        *SETTLEMENT,
        "A row is a user of the epoch: units as the weights propose them, and as a person decided.",
    ),
    "pool_components": (
        *SETTLEMENT,
        "A row is a component of the epoch's pool: credits to share out, and what they were computed from.",
    ),
    "payout_statement": (*SETTLEMENT, "A row is a signed statement of who gets which credits of an epoch's pool."),
}
PROPOSED = set(SETTLEMENT_ASSETS) - {"payout_statement"}
# By asset, and whether what comes after waits for it.
CHECKS = {
    "counts_match_github": ("activity_events", False),
    "every_source_scope_read": ("activity_events", False),
    "nothing_rejected": ("activity_events", False),
    "policy_drift": ("activity_curation", False),
    "statement_recomputes": ("payout_statement", True),
}
COLLECTION_CHECKS = {"every_source_scope_read", "nothing_rejected"}


@pytest.fixture
def specs(deployment: Deployment) -> dict[str, dg.AssetSpec]:
    graph = deployment.definitions().resolve_asset_graph()
    return {spec.key.to_user_string(): spec for asset in graph.assets_defs for spec in asset.specs}


def test_the_assets_are_these_in_these_groups_with_these_owners_kinds_and_descriptions(
    specs: dict[str, dg.AssetSpec],
) -> None:
    assets = {
        key: (spec.group_name, tuple(spec.owners), frozenset(spec.kinds), spec.description)
        for key, spec in specs.items()
    }
    assert assets == {**ASSETS, **SETTLEMENT_ASSETS}


def test_every_description_is_one_sentence_on_what_a_row_is(specs: dict[str, dg.AssetSpec]) -> None:
    for spec in specs.values():
        assert re.fullmatch(r"A row is [^.]+\.", spec.description or "")


def test_every_asset_links_to_the_function_that_makes_it(specs: dict[str, dg.AssetSpec]) -> None:
    for key, spec in specs.items():
        [link] = spec.metadata["dagster/code_references"].code_references
        assert isinstance(link, dg.LocalFileCodeReference)
        line = Path(link.file_path).read_text().splitlines()[(link.line_number or 0) - 1 :]
        made_by = "source_activity" if key.startswith("github/") else key
        assert f"def {made_by}(" in "\n".join(line[:40])


def test_what_is_collected_has_to_be_materialized_within_26_hours(specs: dict[str, dg.AssetSpec]) -> None:
    daily = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=26))
    assert {key for key, spec in specs.items() if spec.freshness_policy == daily} == set(ASSETS)
    assert {key for key, spec in specs.items() if spec.freshness_policy is None} == set(SETTLEMENT_ASSETS)


def test_every_check_says_what_it_checks_and_what_would_pay_money_waits_for_it(deployment: Deployment) -> None:
    graph = deployment.definitions().resolve_asset_graph()
    checks = {key.name: graph.get_check_spec(key) for key in graph.asset_check_keys}
    assert {name: (spec.asset_key.to_user_string(), spec.blocking) for name, spec in checks.items()} == CHECKS
    assert all(spec.description for spec in checks.values())


@pytest.mark.parametrize(
    ("job", "assets", "checks"),
    [
        ("collect_epoch", set(ASSETS), COLLECTION_CHECKS),
        ("backfill", set(ASSETS), COLLECTION_CHECKS),
        ("check_counts", set(), {"counts_match_github"}),
        ("check_policy", set(), {"policy_drift"}),
        ("allocate_epoch", PROPOSED, set()),
        ("state_payouts", {"epoch", "payout_statement"}, {"statement_recomputes"}),
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
    job_made = deployment.definitions().resolve_job_def(job)
    assert job_made.execute_in_process(instance=deployment.instance, partition_key="2026-02-09|default").success
    assert bool(deployment.github.requests) is asks


@pytest.mark.parametrize("asset", ASSETS)
def test_any_asset_can_be_materialized_for_any_partition(deployment: Deployment, asset: str) -> None:
    if asset == "activity_events":  # what nobody collected has nothing to show
        streams = [stream_key(stream) for stream in GITHUB_STREAMS]
        assert deployment.materialize("2026-02-09", selection=streams).success
    assert deployment.materialize_asset(asset, "2026-02-09|default").success
    assert "2026-02-09|default" in deployment.materialized(asset.split("/"))
