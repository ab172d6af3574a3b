"""After collection, in Dagster: proposals follow the ledger, and only a signed epoch has a statement that is green."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from sqlalchemy import Engine, make_url, text

from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.dagster_contract import STATEMENT_RECOMPUTES
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS, PAYOUT_STATEMENT
from ledger_pipeline.defs.settlement_sensors import proposals, signed_statements
from ledger_pipeline.pipeline.epochs import close
from ledger_pipeline.pipeline.settle import draft_statement, finalize
from ledger_pipeline.sources.simulator.world import Closure
from ledger_pipeline.store.records import Epoch, EpochStatus
from ledger_pipeline.store.settlement_records import Judgement, NewBinding
from ledger_pipeline_tests.builders import SCOPE_ID, instant, window
from ledger_pipeline_tests.defs.deployment import QUIET, Deployment, write_repo_spec
from ledger_pipeline_tests.postgres import fresh_database
from ledger_pipeline_tests.sources.simulator.worlds import ANA, NAME, issue, merged, review, world
from ledger_pipeline_tests.store.settlement import APPROVER, APPROVERS, SECOND_APPROVER, Wallet

WEEK = "2026-02-02|default"
LATER = "2026-02-09|default"
IN_WEEK = instant("2026-02-03T12:00")
IN_LATER = instant("2026-02-10T12:00")
HASH_CHARACTERS = 64
PR = f"github:pr:{NAME}:1"


@pytest.fixture
def settled(deployment: Deployment) -> Deployment:
    """Two epochs with events of Ana's, collected; the first long over."""
    write_repo_spec(deployment.folder, NAME, approvers=[APPROVER.address], base_issuance_credits=1000)
    deployment.github.replace_world(
        world(
            merged(1, IN_WEEK, reviews=(review(1, IN_WEEK),)),
            issue(3, IN_LATER, closures=(Closure(IN_LATER),)),
        )
    )
    assert deployment.materialize("2026-02-02", "2026-02-09").success
    return deployment


def run_job(deployment: Deployment, job: str, first: str, last: str | None = None) -> dg.ExecuteInProcessResult:
    return (
        deployment.definitions()
        .resolve_job_def(job)
        .execute_in_process(
            run_config=QUIET,
            instance=deployment.instance,
            tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last or first},
            raise_on_error=False,
        )
    )


# The epochs close before anybody is bound: so is their claimant.
ANAS_ACCOUNT = f"identity:github:{ANA.database_id}"


def epoch_of(deployment: Deployment, first_day: str = "2026-02-02") -> Epoch:
    [epoch] = deployment.ledger.epochs.within(SCOPE_ID, window(first_day))
    return epoch


def sign(deployment: Deployment, by: Wallet = APPROVER) -> None:
    spec = deployment.settings.repo_spec()
    epoch = epoch_of(deployment)
    draft = draft_statement(deployment.ledger, spec.default_scope, epoch)
    finalize(deployment.ledger, spec, epoch, by.sign(draft.message))


def bind_ana(deployment: Deployment) -> None:
    deployment.ledger.identities.bind([NewBinding(GITHUB, str(ANA.database_id), "user-ana")])


def test_an_epoch_is_proposed_from_what_the_ledger_holds(settled: Deployment) -> None:
    assert run_job(settled, "allocate_epoch", WEEK).success
    curation = settled.metadata("activity_curation", WEEK)
    assert (curation["events"], curation["added"], curation["unresolved"], curation["users"]) == (2, 2, 2, 0)
    [account] = curation["unresolved_accounts"].records
    assert account.data == {"account": str(ANA.database_id), "login": "ana", "events": 2, "units": "1.5"}
    allocations = settled.metadata("epoch_allocations", WEEK)
    assert (allocations["users"], allocations["accounts_without_a_user"]) == (0, 1)
    assert (allocations["reserved_units"], allocations["total_units"]) == ("1.5", "1.5")
    pool = settled.metadata("pool_components", WEEK)
    assert (pool["pool_total_credits"], pool["locked"]) == ("1000", True)
    epoch = settled.metadata("epoch", WEEK)
    assert epoch["epoch_status"] == "review"
    # What the same run has proposed is known to it.
    assert epoch["blocks_next_step"] == "nothing"


def test_who_is_bound_in_its_review_is_no_claimant_of_an_epoch_and_what_a_person_set_stays(
    settled: Deployment,
) -> None:
    assert run_job(settled, "allocate_epoch", WEEK).success
    assert settled.ledger.curation.judge(epoch_of(settled), PR, Judgement("counts double", weight_override_milli=2000))
    bind_ana(settled)
    assert run_job(settled, "allocate_epoch", WEEK).success
    curation = settled.metadata("activity_curation", WEEK)
    assert (curation["added"], curation["resolved"], curation["unresolved"], curation["overridden"]) == (0, 0, 2, 1)
    allocations = settled.metadata("epoch_allocations", WEEK)
    assert (allocations["total_units"], allocations["reserved_units"]) == ("2.5", "2.5")
    assert "█" in allocations["units_per_user"]


def test_a_range_is_proposed_in_one_run_each_epoch_with_its_own(settled: Deployment) -> None:
    bind_ana(settled)
    assert run_job(settled, "allocate_epoch", WEEK, LATER).success
    assert settled.metadata("epoch_allocations", WEEK)["total_units"] == "1.5"
    assert settled.metadata("epoch_allocations", LATER)["total_units"] == "0.3"


def test_an_epoch_that_was_never_collected_is_told(settled: Deployment) -> None:
    failed = run_job(settled, "allocate_epoch", "2026-01-26|default")
    assert not failed.success
    [failure, *_] = failed.get_step_failure_events()
    assert "not in the ledger yet: epoch 2026-01-26 of default" in str(failure.step_failure_data.user_failure_data)


def test_only_a_signed_epoch_has_a_statement_and_it_recomputes(settled: Deployment) -> None:
    bind_ana(settled)
    assert run_job(settled, "allocate_epoch", WEEK, LATER).success
    assert run_job(settled, "state_payouts", WEEK, LATER).success
    assert settled.materialized("payout_statement") == set()
    for partition in (WEEK, LATER):
        [observations] = settled.instance.fetch_observations(
            dg.AssetRecordsFilter(asset_key=PAYOUT_STATEMENT, asset_partitions=[partition]), limit=2
        ).records
        assert observations.asset_observation is not None
        assert "is in review and has no statement" in (observations.asset_observation.description or "")
    sign(settled)
    assert run_job(settled, "state_payouts", WEEK, LATER).success
    assert settled.materialized("payout_statement") == {WEEK}
    statement = settled.metadata("payout_statement", WEEK)
    assert (statement["pool_total_credits"], statement["signers"]) == ("1000", APPROVER.address)
    assert statement["supersedes"] == "nothing: the original"
    [payout] = statement["payouts"].records
    assert (payout.data["units"], payout.data["share"], payout.data["credits"]) == ("1.5", "100 %", "1000")
    assert "█" in statement["credits_per_user"]
    assert settled.metadata("epoch", WEEK)["epoch_status"] == "finalized"
    evaluation = settled.check_evaluation(STATEMENT_RECOMPUTES, WEEK, PAYOUT_STATEMENT)
    assert (evaluation.passed, evaluation.blocking) == (True, True)
    assert set(evaluation.metadata) == {"partition", "differences"}


def test_how_many_of_several_approvers_have_signed_is_said_on_the_epoch_and_its_statement(settled: Deployment) -> None:
    write_repo_spec(settled.folder, NAME, approvers=APPROVERS, base_issuance_credits=1000, approval_threshold=2)
    settled.ledger.statements.reopen(epoch_of(settled), "two are to sign")
    assert close(settled.ledger, settled.settings.repo_spec().default_scope, epoch_of(settled))
    bind_ana(settled)
    assert run_job(settled, "allocate_epoch", WEEK).success
    sign(settled)
    assert run_job(settled, "allocate_epoch", WEEK).success
    assert run_job(settled, "state_payouts", WEEK).success
    assert settled.metadata("epoch", WEEK)["approvals"] == "signed 1 of 2"
    assert settled.materialized("payout_statement") == set()
    [seen] = settled.instance.fetch_observations(
        dg.AssetRecordsFilter(asset_key=PAYOUT_STATEMENT, asset_partitions=[WEEK]), limit=2
    ).records
    assert seen.asset_observation is not None
    assert seen.asset_observation.metadata["approvals"].value == "signed 1 of 2"
    sign(settled, SECOND_APPROVER)
    assert run_job(settled, "state_payouts", WEEK).success
    assert settled.metadata("payout_statement", WEEK)["approvals"] == "signed 2 of 2"
    evaluation = settled.check_evaluation(STATEMENT_RECOMPUTES, WEEK, PAYOUT_STATEMENT)
    assert (evaluation.passed, evaluation.metadata["approvals"].value) == (True, "signed 2 of 2")


def test_a_hash_has_a_row_that_a_laptop_shows_whole(settled: Deployment) -> None:
    bind_ana(settled)
    assert run_job(settled, "allocate_epoch", WEEK).success
    sign(settled)
    for job in ("state_payouts", "allocate_epoch"):
        assert run_job(settled, job, WEEK).success
    hashes = []
    for asset in ("activity_events", "epoch", "payout_statement"):
        metadata = settled.metadata(asset, WEEK)
        for label, value in metadata.items():
            if isinstance(value, str) and len(value) == HASH_CHARACTERS:
                begins = "hash_begins" if asset == "payout_statement" else f"{label}_begins"
                assert metadata[begins] == value[:16]
                hashes.append(label)
    assert hashes == ["set_hash", "weight_config_hash", "approver_set_hash", "allocation_set_hash"]


def test_people_read_units_and_never_milli_units(settled: Deployment) -> None:
    write_repo_spec(settled.folder, NAME, approvers=[APPROVER.address], weights_milli={"github:pr_merged": 9000})
    assert run_job(settled, "allocate_epoch", WEEK).success
    assert settled.materialize("2026-02-02", selection=[ACTIVITY_EVENTS]).success
    epoch = settled.metadata("epoch", WEEK)
    assert epoch["weights"]["github:pr_merged"] == "1"
    activity = settled.metadata("activity_events", WEEK)
    assert epoch["weights_drift"] == activity["weights_drift"] == {"github:pr_merged": "1 -> 9"}
    for asset in ("activity_events", "epoch", "activity_curation", "epoch_allocations", "pool_components"):
        assert not [label for label in settled.metadata(asset, WEEK) if "milli" in label]


def test_a_number_that_does_not_follow_fails_the_blocking_check_and_the_run(
    settled: Deployment, ledger_engine: Engine
) -> None:
    bind_ana(settled)
    assert run_job(settled, "allocate_epoch", WEEK).success
    sign(settled)
    with ledger_engine.begin() as connection:
        # Only the owner of the tables can do this, and verifying is what then tells.
        connection.execute(text("ALTER TABLE epoch_allocations DISABLE TRIGGER USER"))
        connection.execute(text("UPDATE epoch_allocations SET proposed_units = proposed_units + 1"))
        connection.execute(text("ALTER TABLE epoch_allocations ENABLE TRIGGER USER"))
    assert not run_job(settled, "state_payouts", WEEK).success
    evaluation = settled.check_evaluation(STATEMENT_RECOMPUTES, WEEK, PAYOUT_STATEMENT)
    assert not evaluation.passed
    assert f"allocations {ANAS_ACCOUNT} proposed_units: stored 1501, but 1500 follows" in (evaluation.description or "")


def test_a_forged_statement_is_not_shown_as_pay_and_fails_the_check(settled: Deployment, ledger_engine: Engine) -> None:
    bind_ana(settled)
    assert run_job(settled, "allocate_epoch", WEEK).success
    sign(settled)
    with ledger_engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO payout_statements (node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json,
                    supersedes_statement_id)
                SELECT node_id, epoch_id, 'forged', pool_total_credits, payouts_json, id FROM payout_statements
            """)
        )
    assert not run_job(settled, "state_payouts", WEEK).success
    assert settled.materialized("payout_statement") == set()
    evaluation = settled.check_evaluation(STATEMENT_RECOMPUTES, WEEK, PAYOUT_STATEMENT)
    assert not evaluation.passed
    assert "nobody signed it who might, so it is not in force" in str(evaluation.metadata["first_differences"].value)


def test_what_is_finalized_is_shown_and_not_written_again(settled: Deployment) -> None:
    bind_ana(settled)
    assert run_job(settled, "allocate_epoch", WEEK).success
    sign(settled)
    before = settled.ledger.allocations.of(epoch_of(settled))
    assert run_job(settled, "allocate_epoch", WEEK).success
    assert settled.ledger.allocations.of(epoch_of(settled)) == before
    assert epoch_of(settled).status is EpochStatus.FINALIZED


def tick(deployment: Deployment, sensor: dg.SensorDefinition, cursor: str | None) -> Any:
    definitions = deployment.definitions()
    with dg.build_sensor_context(
        instance=deployment.instance,
        cursor=cursor,
        repository_def=definitions.get_repository_def(),
        resources=definitions.resources,
    ) as context:
        return sensor.evaluate_tick(context)


def test_proposals_follow_what_was_collected_in_one_run_for_each_row_of_epochs(settled: Deployment) -> None:
    first = tick(settled, proposals, None)
    [request] = first.run_requests or []
    assert (
        request.tags["dagster/asset_partition_range_start"],
        request.tags["dagster/asset_partition_range_end"],
    ) == (WEEK, LATER)
    assert not tick(settled, proposals, first.cursor).run_requests
    assert settled.materialize("2026-02-09", selection=[ACTIVITY_EVENTS]).success
    second = tick(settled, proposals, first.cursor)
    [again] = second.run_requests or []
    assert again.tags["dagster/asset_partition_range_start"] == LATER
    assert again.run_key != request.run_key


def test_proposals_ask_for_no_week_that_is_no_epoch_of_the_ledger(settled: Deployment) -> None:
    # Read along with others, or of a repo-spec of before: green in Dagster, and nobody has collected it.
    for key in ("2026-01-26|default", "2026-02-02|left", "2019-01-01|default"):
        settled.instance.report_runless_asset_event(dg.AssetMaterialization(ACTIVITY_EVENTS, partition=key))
    [request] = tick(settled, proposals, None).run_requests or []
    assert request.tags["dagster/asset_partition_range_start"] == WEEK
    assert request.tags["dagster/asset_partition_range_end"] == LATER


def test_what_dagster_commits_late_under_a_lower_number_is_asked_for(
    settled: Deployment, postgres_server: str, tmp_path: Path
) -> None:
    with fresh_database(postgres_server) as url, postgres_instance(url, tmp_path / "instance") as instance:
        collected = replace(settled, instance=instance)
        instance.report_runless_asset_event(dg.AssetMaterialization(ACTIVITY_EVENTS, partition=WEEK))
        first = tick(collected, proposals, None)
        with psycopg.connect(url) as committed_late:
            # Another materialization of WEEK has its number, and cannot be seen yet.
            committed_late.execute(f"INSERT INTO event_logs ({EVENT}) SELECT {EVENT} FROM event_logs")
            instance.report_runless_asset_event(dg.AssetMaterialization(ACTIVITY_EVENTS, partition=LATER))
            second = tick(collected, proposals, first.cursor)
        third = tick(collected, proposals, second.cursor)
        assert [asked_for(request) for request in (first, second, third)] == [[WEEK], [LATER], [WEEK]]
        assert not tick(collected, proposals, third.cursor).run_requests


def test_the_cursor_of_an_earlier_release_asks_for_nothing_twice(settled: Deployment) -> None:
    [latest] = settled.instance.fetch_materializations(ACTIVITY_EVENTS, limit=1).records
    assert not tick(settled, proposals, str(latest.storage_id)).run_requests


EVENT = "run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition"


@contextmanager
def postgres_instance(url: str, folder: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster with its storage in Postgres, where two writers are two connections."""
    folder.mkdir()
    postgres_url = make_url(url).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
    overrides = {"telemetry": {"enabled": False}, "storage": {"postgres": {"postgres_url": postgres_url}}}
    with dg.DagsterInstance.local_temp(str(folder), overrides=overrides) as instance:
        yield instance


def asked_for(result: Any) -> list[str]:
    return [request.tags["dagster/asset_partition_range_start"] for request in result.run_requests]


def test_each_statement_is_asked_for_once(settled: Deployment) -> None:
    bind_ana(settled)
    assert run_job(settled, "allocate_epoch", WEEK).success
    assert not tick(settled, signed_statements, None).run_requests
    sign(settled)
    outcome = tick(settled, signed_statements, None)
    [request] = outcome.run_requests or []
    assert request.tags["dagster/partition"] == WEEK
    assert not tick(settled, signed_statements, outcome.cursor).run_requests
