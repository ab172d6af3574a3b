"""What the repo-spec's selection policy would change in epochs that nobody has signed, said by a check."""

from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from ledger_pipeline.defs.keys import ACTIVITY_CURATION
from ledger_pipeline.defs.policy_drift import POLICY_DRIFT
from ledger_pipeline.sources.simulator.world import Closure
from ledger_pipeline.store.settlement_records import NewBinding
from ledger_pipeline_tests.builders import instant
from ledger_pipeline_tests.defs.deployment import QUIET, Deployment, write_repo_spec
from ledger_pipeline_tests.sources.simulator.worlds import ANA, NAME, issue, merged, review, world
from ledger_pipeline_tests.store.settlement import APPROVER

WEEK = "2026-02-16|default"
IN_WEEK = instant("2026-02-16T12:00")


def name_policy(spec: Path, selection: dict[str, Any]) -> None:
    content = yaml.safe_load(spec.read_text())
    content["activity_ledger"]["selection"] = selection
    spec.write_text(yaml.safe_dump(content))


def run_job(deployment: Deployment, job: str) -> dg.ExecuteInProcessResult:
    return (
        deployment.definitions()
        .resolve_job_def(job)
        .execute_in_process(
            run_config=QUIET,
            instance=deployment.instance,
            tags={"dagster/asset_partition_range_start": WEEK, "dagster/asset_partition_range_end": WEEK},
        )
    )


def drift(deployment: Deployment) -> dg.AssetCheckEvaluation:
    [evaluation] = run_job(deployment, "check_policy").get_asset_check_evaluations()
    assert (evaluation.asset_key, evaluation.check_name) == (ACTIVITY_CURATION, POLICY_DRIFT)
    return evaluation


def test_what_the_policy_would_change_is_told_until_it_is_proposed(deployment: Deployment) -> None:
    spec = write_repo_spec(deployment.folder, NAME, approvers=[APPROVER.address], base_issuance_credits=1000)
    closure = Closure(IN_WEEK)
    deployment.github.replace_world(
        world(merged(1, IN_WEEK, reviews=(review(1, IN_WEEK),)), issue(3, IN_WEEK, closures=(closure,)))
    )
    assert deployment.materialize("2026-02-16").success
    deployment.ledger.identities.bind([NewBinding("github", str(ANA.database_id), "ana")])
    proposed = run_job(deployment, "allocate_epoch")
    assert proposed.get_asset_check_evaluations() == []
    evaluation = drift(deployment)
    assert (evaluation.passed, evaluation.description) == (True, "the policy changes nothing in 1 epoch")

    name_policy(spec, {"policy": "fair-v1"})
    evaluation = drift(deployment)
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert evaluation.description is not None
    assert evaluation.description.startswith(
        "the repo-spec's policy changes the units of 1 contributor in 1 epoch, by "
    )
    [row] = evaluation.metadata["changes"].value.records  # type: ignore[union-attr]
    assert (row.data["partition"], row.data["user"]) == (WEEK, "ana")
    assert "own_pull_request -0.5" in str(row.data["because"])

    run_job(deployment, "allocate_epoch")
    for asset in ("activity_curation", "epoch_allocations"):
        metadata = deployment.metadata(asset, WEEK)
        assert (metadata["policy"], metadata["left_out_by_policy"] >= 1) == ("fair-v1", True)
        assert metadata["events_by_reason"]["own_pull_request"] == 1
    assert drift(deployment).passed
