"""What GitHub counts is compared with what the ledger has, when a person asks; a collection pays nothing for it."""

from datetime import timedelta

import dagster as dg
import pytest

from ledger_pipeline.defs.checks import counts_check
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS
from ledger_pipeline.sources.simulator.world import Actor, ActorKind, Closure, PullRequest
from ledger_pipeline_tests.builders import window
from ledger_pipeline_tests.defs.deployment import QUIET, Deployment
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, world

HOUR = timedelta(hours=1)
LAST_WEEK = window("2026-02-09")
BOT = Actor("renovate", 99, ActorKind.BOT)


def by_bot(number: int) -> PullRequest:
    made = merged(number, LAST_WEEK.start + 3 * HOUR)
    return PullRequest(
        made.number, made.database_id, made.title, BOT, made.created_at, made.closed_at, made.merged_at, BOT
    )


@pytest.fixture
def collected(deployment: Deployment) -> Deployment:
    """A week with two merges, one of them a bot's, and a closed issue; an event at each of its bounds."""
    first = merged(1, LAST_WEEK.start)
    outside = merged(3, LAST_WEEK.end)
    closed = issue(4, closures=(Closure(LAST_WEEK.end - timedelta(seconds=1)),))
    deployment.github.replace_world(world(first, by_bot(2), outside, closed))
    assert deployment.materialize("2026-02-09").success
    return deployment


def test_counts_that_agree_pass_bots_and_bounds_included(collected: Deployment) -> None:
    evaluation = check(collected)
    assert evaluation.passed, evaluation.description
    assert evaluation.metadata["compared"].value == 2
    assert evaluation.description == "2 counts agree"


def test_a_difference_is_a_warning_that_names_both_numbers_and_the_partition(collected: Deployment) -> None:
    unseen = merged(5, LAST_WEEK.start + 5 * HOUR)
    collected.github.replace_world(world(merged(1, LAST_WEEK.start), by_bot(2), unseen))
    evaluation = check(collected)
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.WARN
    assert f"2026-02-09|default {NAME} pull_requests: ledger 2, GitHub 3" in (evaluation.description or "")
    assert f"2026-02-09|default {NAME} issues: ledger 1, GitHub 0" in (evaluation.description or "")
    assert evaluation.metadata["partitions"].value == ["2026-02-09|default"]


def test_a_range_of_epochs_is_counted_in_one_request(collected: Deployment) -> None:
    assert collected.materialize("2026-01-05", "2026-02-09").success
    collected.github.clear_requests()
    evaluation = check(collected, "2026-01-05", "2026-02-09")
    assert (evaluation.passed, evaluation.metadata["compared"].value) == (True, 6 * 2)
    assert len(collected.github.requests) == 1


def test_a_window_that_is_not_complete_is_not_compared(collected: Deployment) -> None:
    assert collected.materialize("2026-02-16").success
    evaluation = check(collected, "2026-02-16")
    assert (evaluation.passed, evaluation.metadata["compared"].value) == (True, 0)


def test_collecting_does_not_run_the_check_so_that_covered_windows_cost_no_request(collected: Deployment) -> None:
    collected.github.clear_requests()
    assert collected.materialize("2026-02-09").success
    assert collected.github.requests == ()


def test_materializing_from_the_ui_asks_github_nothing_about_a_covered_epoch(collected: Deployment) -> None:
    collected.github.clear_requests()
    result = (
        collected.definitions()
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(run_config=QUIET, instance=collected.instance, tags=tags("2026-02-09"))
    )
    assert result.success
    assert counts_check("github") not in {evaluation.check_name for evaluation in result.get_asset_check_evaluations()}
    assert collected.github.requests == ()


def test_the_check_alone_can_be_run_from_the_ui(collected: Deployment) -> None:
    key = dg.AssetCheckKey(ACTIVITY_EVENTS, counts_check("github"))
    job = collected.definitions().resolve_implicit_global_asset_job_def()
    alone = job.get_subset(asset_selection=set(), asset_check_selection={key})
    result = alone.execute_in_process(run_config=QUIET, instance=collected.instance, tags=tags("2026-02-09"))
    assert [evaluation.passed for evaluation in result.get_asset_check_evaluations()] == [True]


def tags(first: str, last: str = "") -> dict[str, str]:
    return {
        "dagster/asset_partition_range_start": f"{first}|default",
        "dagster/asset_partition_range_end": f"{last or first}|default",
    }


def check(deployment: Deployment, epoch: str = "2026-02-09", last: str = "") -> dg.AssetCheckEvaluation:
    result = (
        deployment.definitions()
        .resolve_job_def("check_counts")
        .execute_in_process(
            instance=deployment.instance,
            run_config=QUIET,
            tags=tags(epoch, last),
        )
    )
    [evaluation] = result.get_asset_check_evaluations()
    assert (evaluation.asset_key, evaluation.check_name) == (ACTIVITY_EVENTS, counts_check("github"))
    return evaluation
