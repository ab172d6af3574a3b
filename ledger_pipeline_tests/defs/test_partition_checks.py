"""What each partition of `activity_events` is checked for: red until resolved, and each partition by itself."""

from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from sqlalchemy import Engine, text

from ledger_pipeline.dagster_contract import EVERY_SOURCE_SCOPE_READ, NOTHING_REJECTED
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS
from ledger_pipeline.pipeline.unread import WHAT_TO_DO
from ledger_pipeline.sources.simulator.faults import FailedAnswer, HeavyItem
from ledger_pipeline.sources.simulator.world import Closure, World
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline_tests.builders import SCOPE_ID, instant, window
from ledger_pipeline_tests.defs.conftest import NOW
from ledger_pipeline_tests.defs.deployment import Deployment, write_repo_spec
from ledger_pipeline_tests.postgres import set_status
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, repository, world

HOUR = timedelta(hours=1)
LAST_WEEK = window("2026-02-09")
RED, GREEN = AssetCheckExecutionRecordStatus.FAILED, AssetCheckExecutionRecordStatus.SUCCEEDED


def latest(deployment: Deployment, check: str, epoch: str) -> dg.AssetCheckEvaluation:
    """The latest evaluation of a check on one partition."""
    return deployment.check_evaluation(check, f"{epoch}|default")


def statuses(deployment: Deployment, check: str) -> dict[str, AssetCheckExecutionRecordStatus]:
    """By partition, what the UI shows of a check: nothing for what it takes for outdated."""
    infos = deployment.instance.event_log_storage.get_asset_check_partition_info(
        [dg.AssetCheckKey(ACTIVITY_EVENTS, check)]
    )
    assert all(info.is_current for info in infos)
    return {str(info.partition_key).partition("|")[0]: info.latest_execution_status for info in infos}


def reject_one(deployment: Deployment, engine: Engine) -> None:
    """Last week is in review, and then one of its events comes."""
    assert deployment.materialize("2026-02-09", "2026-02-16").success
    set_status(engine, SCOPE_ID, LAST_WEEK, EpochStatus.REVIEW)
    deployment.github.replace_world(world(merged(1, LAST_WEEK.start + HOUR)))
    assert deployment.materialize("2026-02-09", full_refresh=True).success


def test_a_late_event_is_a_warning_on_its_own_partition_that_names_it(
    deployment: Deployment, ledger_engine: Engine
) -> None:
    reject_one(deployment, ledger_engine)
    result = latest(deployment, NOTHING_REJECTED, "2026-02-09")
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert result.description == "2026-02-09|default: 1 late"
    [row] = result.metadata["first_rejected"].value.records
    assert row.data["event"] == f"github:pr:{NAME}:1"


def test_another_partitions_run_leaves_the_red_one_red(deployment: Deployment, ledger_engine: Engine) -> None:
    reject_one(deployment, ledger_engine)
    assert deployment.materialize("2026-02-16").success
    assert statuses(deployment, NOTHING_REJECTED) == {"2026-02-09": RED, "2026-02-16": GREEN}


def test_a_green_check_lists_nothing_where_there_is_nothing(deployment: Deployment) -> None:
    assert deployment.materialize("2026-02-16").success
    assert set(latest(deployment, EVERY_SOURCE_SCOPE_READ, "2026-02-16").metadata) == {"partition"}
    assert set(latest(deployment, NOTHING_REJECTED, "2026-02-16").metadata) == {"partition", "rejected"}


def test_a_payout_statement_settles_what_was_rejected_before_it_and_nothing_after(
    deployment: Deployment, ledger_engine: Engine
) -> None:
    reject_one(deployment, ledger_engine)
    with ledger_engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO payout_statements "
                "(node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json) "
                "SELECT node_id, id, 'hash', 1, '[]' FROM epochs WHERE period_start = :start"
            ),
            {"start": LAST_WEEK.start},
        )
    assert deployment.materialize("2026-02-09").success
    assert statuses(deployment, NOTHING_REJECTED)["2026-02-09"] is GREEN
    assert deployment.metadata("activity_events", "2026-02-09|default")["rejected"] == 1
    deployment.github.replace_world(world(merged(2, LAST_WEEK.start + HOUR)))
    assert deployment.materialize("2026-02-09", full_refresh=True).success
    assert statuses(deployment, NOTHING_REJECTED)["2026-02-09"] is RED


def test_an_issue_closed_again_is_a_conflict_on_the_partition_of_its_second_closing(deployment: Deployment) -> None:
    first, second = NOW - 3 * HOUR, NOW - HOUR
    deployment.github.replace_world(world(issue(1, closures=(Closure(first),))))
    assert deployment.materialize("2026-02-16").success
    assert statuses(deployment, NOTHING_REJECTED) == {"2026-02-16": GREEN}
    deployment.github.replace_world(
        world(issue(1, closures=(Closure(first, reopened_at=NOW - 2 * HOUR), Closure(second))))
    )
    assert deployment.materialize("2026-02-16", full_refresh=True).success
    assert latest(deployment, NOTHING_REJECTED, "2026-02-16").description == "2026-02-16|default: 1 conflict"


def test_a_failing_repository_turns_every_partition_of_the_run_red_until_a_run_reads_it(deployment: Deployment) -> None:
    # Before the grace has passed, after which any run reads the older epoch to its end, and turns it green.
    deployment.set_clock(window("2026-02-16").start + HOUR)
    deployment.github.faults.for_repository(NAME, FailedAnswer.NOT_FOUND)
    assert not deployment.materialize("2026-02-09", "2026-02-16").success
    result = latest(deployment, EVERY_SOURCE_SCOPE_READ, "2026-02-09")
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert NAME in (result.description or "")
    assert statuses(deployment, EVERY_SOURCE_SCOPE_READ) == {"2026-02-09": RED, "2026-02-16": RED}
    deployment.github.faults.clear()
    assert deployment.materialize("2026-02-16").success
    assert statuses(deployment, EVERY_SOURCE_SCOPE_READ) == {"2026-02-09": RED, "2026-02-16": GREEN}
    assert deployment.materialize("2026-02-09").success
    assert statuses(deployment, EVERY_SOURCE_SCOPE_READ) == {"2026-02-09": GREEN, "2026-02-16": GREEN}


def test_an_item_that_cannot_be_read_is_red_by_name_and_turns_green_by_itself_once_it_is_read(
    deployment: Deployment,
) -> None:
    deployment.github.replace_world(world(merged(7, NOW - HOUR), merged(8, NOW - 2 * HOUR)))
    deployment.github.faults.when(lambda _: True, HeavyItem(7))
    assert deployment.materialize("2026-02-16").success
    result = latest(deployment, EVERY_SOURCE_SCOPE_READ, "2026-02-16")
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert f"{NAME}#7 (pull request 7), unread since 2026-02-18T12:00Z: " in (result.description or "")
    assert WHAT_TO_DO in (result.description or "")
    [row] = result.metadata["unread"].value.records
    assert (row.data["repository"], row.data["item"]) == (NAME, "pull request 7")
    held = deployment.metadata("activity_events", "2026-02-16|default")
    assert held["events"] == 1
    assert str(held["state"]).endswith(", and 1 item cannot be read")
    of_stream = deployment.metadata(["github", "pull_requests"], "2026-02-16|default")
    assert (of_stream["unread"], of_stream["window_complete"]) == (1, False)
    assert deployment.metadata(["github", "issues"], "2026-02-16|default")["unread"] == 0
    deployment.github.faults.clear()
    assert deployment.materialize("2026-02-16").success
    assert statuses(deployment, EVERY_SOURCE_SCOPE_READ) == {"2026-02-16": GREEN}
    assert deployment.metadata("activity_events", "2026-02-16|default")["events"] == 2


def test_a_failure_also_shows_on_a_partition_that_was_green(deployment: Deployment) -> None:
    assert deployment.materialize("2026-02-16").success
    deployment.github.faults.for_repository(NAME, FailedAnswer.MAINTENANCE)
    assert not deployment.materialize("2026-02-16").success
    assert statuses(deployment, EVERY_SOURCE_SCOPE_READ) == {"2026-02-16": RED}


def test_a_window_that_is_over_is_red_while_one_repository_is_not_read_to_its_end(deployment: Deployment) -> None:
    second_name = "cogni-dao/website"
    write_repo_spec(deployment.folder, NAME, second_name)
    deployment.github.replace_world(World((repository(), repository(name=second_name, database_id=2))))
    assert deployment.materialize("2026-02-16").success
    deployment.set_clock(window("2026-02-16").end + HOUR)
    deployment.github.faults.for_repository(second_name, FailedAnswer.NOT_FOUND)
    assert not deployment.materialize("2026-02-16").success
    assert deployment.materialize("2026-02-16", selection=[ACTIVITY_EVENTS]).success
    result = latest(deployment, EVERY_SOURCE_SCOPE_READ, "2026-02-16")
    assert not result.passed
    assert result.metadata["missing"].value == [
        f"{second_name} {stream} read to 2026-02-18T12:00Z" for stream in ("pull_requests", "reviews", "issues")
    ]


def test_a_running_epoch_is_red_when_it_was_not_read_for_more_than_a_day(deployment: Deployment) -> None:
    assert deployment.materialize("2026-02-16").success
    deployment.clock = NOW + timedelta(hours=25)
    assert deployment.materialize("2026-02-16", selection=[ACTIVITY_EVENTS]).success
    assert statuses(deployment, EVERY_SOURCE_SCOPE_READ) == {"2026-02-16": GREEN}
    deployment.clock = NOW + timedelta(hours=27)
    assert deployment.materialize("2026-02-16", selection=[ACTIVITY_EVENTS]).success
    result = latest(deployment, EVERY_SOURCE_SCOPE_READ, "2026-02-16")
    assert not result.passed
    assert "read to 2026-02-18T12:00Z" in (result.description or "")


@pytest.mark.parametrize(
    ("clock", "collects", "complete", "state"),
    [
        ("2026-02-18T12:00", True, False, "running: collected up to 2026-02-18T12:00Z"),
        ("2026-02-23T00:10", False, False, "incomplete: over, but collected up to 2026-02-18T12:00Z"),
        ("2026-02-23T00:10", True, True, "complete"),
    ],
)
def test_the_state_of_a_partition_is_true(
    deployment: Deployment, clock: str, collects: bool, complete: bool, state: str
) -> None:
    assert deployment.materialize("2026-02-16").success
    deployment.set_clock(instant(clock))
    assert deployment.materialize("2026-02-16", selection=None if collects else [ACTIVITY_EVENTS]).success
    metadata = deployment.metadata("activity_events", "2026-02-16|default")
    assert (metadata["window_complete"], metadata["state"]) == (complete, state)
