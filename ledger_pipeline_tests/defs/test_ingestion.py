"""A collected partition is green and says what was read; one that was not read whole is red and says why."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
from sqlalchemy import Engine

from ledger_pipeline.core.hashing import event_set_hash
from ledger_pipeline.dagster_contract import EVERY_SOURCE_SCOPE_READ
from ledger_pipeline.defs.keys import stream_key
from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.pipeline.report import CollectReport
from ledger_pipeline.sources.simulator.faults import FailedAnswer
from ledger_pipeline.sources.simulator.world import Closure, World
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline_tests.builders import OTHER_SCOPE_ID, SCOPE_ID, window
from ledger_pipeline_tests.defs.conftest import NOW
from ledger_pipeline_tests.defs.deployment import Deployment, write_project, write_repo_spec
from ledger_pipeline_tests.postgres import set_status
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, repository, review, world

HOUR = timedelta(hours=1)
PULL_REQUESTS = ["github", "pull_requests"]


def test_a_partition_is_green_and_says_what_was_collected(deployment: Deployment) -> None:
    deployment.github.replace_world(
        world(merged(1, NOW - HOUR, reviews=(review(1, NOW),)), issue(2, closures=(Closure(NOW),)))
    )
    assert deployment.materialize("2026-02-16", tags={"ledger/trigger": "test"}).success
    metadata = deployment.metadata(PULL_REQUESTS, "2026-02-16|default")
    assert {key: metadata[key] for key in ("seen", "new", "duplicate", "skipped", "late", "conflict")} == {
        "seen": 1,
        "new": 1,
        "duplicate": 0,
        "skipped": 0,
        "late": 0,
        "conflict": 0,
    }
    assert metadata["window_start"] == window("2026-02-16").start.timestamp()
    assert metadata["window_end"] == window("2026-02-16").end.timestamp()
    assert metadata["run_api_requests"] == 2  # the head, and one page
    assert 0 < metadata["rate_limit_left"] < 5000
    assert metadata["trigger"] == "test"
    assert metadata["window_complete"] is False
    [cursor] = metadata["cursors"].records
    assert cursor.data["source_scope"] == NAME
    assert cursor.data["cursor_from"] == "never read"
    assert cursor.data["cursor_to"] == NOW.isoformat()


def test_activity_events_says_what_the_ledger_holds_with_a_hash_others_can_recompute(deployment: Deployment) -> None:
    deployment.github.replace_world(world(merged(1, NOW), issue(2, closures=(Closure(NOW),))))
    deployment.materialize("2026-02-16")
    metadata = deployment.metadata("activity_events", "2026-02-16|default")
    events = list(deployment.ledger.events.within(SCOPE_ID, window("2026-02-16")))
    assert metadata["set_hash"] == event_set_hash((event.id, event.payload_hash) for event in events)
    assert metadata["set_hash_begins"] == metadata["set_hash"][:16]
    assert (metadata["events"], metadata["pr_merged"], metadata["issue_closed"]) == (2, 1, 1)


def test_a_range_is_one_run_and_one_scan_with_its_own_numbers_for_each_partition(deployment: Deployment) -> None:
    weeks = ["2026-01-26", "2026-02-02", "2026-02-09", "2026-02-16"]
    days = [window(week).start + HOUR for week in weeks]
    deployment.github.replace_world(world(*(merged(n, day) for n, day in enumerate(days, 1)), merged(9, days[0])))
    result = deployment.materialize(weeks[0], weeks[-1])
    assert result.success
    assert len(deployment.github.requests) == 2  # the head, and one page
    for asset in (PULL_REQUESTS, ["github", "reviews"], ["github", "issues"], "activity_events"):
        assert deployment.materialized(asset) == {f"{week}|default" for week in weeks}
    news = [deployment.metadata(PULL_REQUESTS, f"{week}|default")["new"] for week in weeks]
    assert news == [2, 1, 1, 1]
    hashes = {deployment.metadata("activity_events", f"{week}|default")["set_hash"] for week in weeks}
    assert len(hashes) == len(weeks)


def test_a_finished_window_is_complete_and_materializing_it_again_asks_nothing(deployment: Deployment) -> None:
    deployment.materialize("2026-02-09")
    assert deployment.metadata(PULL_REQUESTS, "2026-02-09|default")["window_complete"] is True
    deployment.github.clear_requests()
    assert deployment.materialize("2026-02-09").success
    metadata = deployment.metadata(PULL_REQUESTS, "2026-02-09|default")
    assert (metadata["asked"], metadata["run_api_requests"]) == (False, 0)
    assert deployment.materialize("2026-02-09", full_refresh=True).success
    assert deployment.metadata(PULL_REQUESTS, "2026-02-09|default")["asked"] is True


def test_one_stream_can_be_materialized_alone(deployment: Deployment) -> None:
    deployment.github.replace_world(world(merged(1, NOW), issue(2, closures=(Closure(NOW),))))
    assert deployment.materialize("2026-02-16", selection=[stream_key("issues")]).success
    assert deployment.materialized(["github", "issues"]) == {"2026-02-16|default"}
    assert deployment.materialized(PULL_REQUESTS) == set()
    assert [event.event_type for event in deployment.ledger.events.within(SCOPE_ID, window("2026-02-16"))] == [
        "issue_closed"
    ]


def test_a_failing_repository_fails_the_run_saying_why_and_materializes_nothing(deployment: Deployment) -> None:
    deployment.github.faults.for_repository(NAME, FailedAnswer.NOT_FOUND)
    result = deployment.materialize("2026-02-16")
    assert not result.success
    [failed] = result.filter_events(lambda event: event.is_step_failure)
    failure = failed.step_failure_data.user_failure_data
    assert failure is not None
    assert NAME in (failure.description or "")
    assert failure.metadata["retryable"].value is False
    assert deployment.materialized("activity_events") == set()


def test_a_passing_outage_fails_the_run_as_worth_retrying(deployment: Deployment) -> None:
    deployment.github.faults.for_repository(NAME, FailedAnswer.MAINTENANCE)
    [failed] = deployment.materialize("2026-02-16").filter_events(lambda event: event.is_step_failure)
    assert failed.step_failure_data.user_failure_data is not None
    assert failed.step_failure_data.user_failure_data.metadata["retryable"].value is True


def test_events_of_other_epochs_are_reported_where_they_were_found(deployment: Deployment) -> None:
    sunday = window("2026-02-16").start - HOUR
    deployment.github.replace_world(world(merged(1, sunday, touched_at=(NOW,))))
    deployment.materialize("2026-02-16")
    metadata = deployment.metadata(PULL_REQUESTS, "2026-02-16|default")
    assert metadata["run_added_to_other_epochs"] == {"2026-02-09": 1}


def test_of_many_other_epochs_the_latest_are_named_and_the_rest_is_summed(deployment: Deployment) -> None:
    starts = [window("2026-02-16").start - timedelta(weeks=week) for week in range(1, 24)]
    deployment.github.replace_world(
        world(*(merged(number, start + HOUR, touched_at=(NOW,)) for number, start in enumerate(starts, start=1)))
    )
    deployment.materialize("2026-02-16")
    named = deployment.metadata(PULL_REQUESTS, "2026-02-16|default")["run_added_to_other_epochs"]
    assert list(named) == [*(f"{start:%Y-%m-%d}" for start in sorted(starts)[-20:]), "before"]
    assert named["before"] == "3 in 3 earlier epochs"


def test_a_late_event_is_counted_on_the_partition_that_refused_it(
    deployment: Deployment, ledger_engine: Engine
) -> None:
    last_week = window("2026-02-09")
    deployment.materialize("2026-02-09", "2026-02-16")
    set_status(ledger_engine, SCOPE_ID, last_week, EpochStatus.REVIEW)
    deployment.github.replace_world(world(merged(1, last_week.start + HOUR)))
    assert deployment.materialize("2026-02-09", full_refresh=True).success
    assert deployment.metadata(PULL_REQUESTS, "2026-02-09|default")["late"] == 1
    assert deployment.metadata("activity_events", "2026-02-09|default")["rejected_by_reason"] == {"late": 1}


def test_secrets_stay_out_of_what_dagster_stores(deployment: Deployment) -> None:
    deployment.configure(github_token="ghp_marked_secret")
    result = deployment.materialize("2026-02-16")
    stored = [*deployment.instance.all_logs(result.run_id), deployment.instance.get_run_by_id(result.run_id)]
    assert stored
    assert "ghp_marked_secret" not in repr(stored)


def test_a_backfill_of_the_whole_grid_is_one_run_a_scope(deployment: Deployment) -> None:
    graph = deployment.definitions().resolve_asset_graph()
    policies = {graph.get(key).backfill_policy for key in graph.get_all_asset_keys()}
    assert policies == {dg.BackfillPolicy.single_run()}


# A scope that collects all that an owner has.


def test_a_run_says_what_an_owner_has_now_and_has_no_more(deployment: Deployment) -> None:
    write_repo_spec(deployment.folder, "cogni-dao/*")
    website = repository(merged(2, NOW), name=OTHER, database_id=2)
    deployment.github.replace_world(World((repository(merged(1, NOW)),)))
    assert deployment.materialize("2026-02-16").success
    assert deployment.metadata(PULL_REQUESTS, "2026-02-16|default")["found_repositories"] == [NAME]
    deployment.github.replace_world(World((website,)))
    deployment.github.set_clock(NOW + HOUR)
    deployment.github.clear_requests()
    assert deployment.materialize("2026-02-16").success
    metadata = deployment.metadata(PULL_REQUESTS, "2026-02-16|default")
    assert (metadata["found_repositories"], metadata["gone_repositories"]) == ([OTHER], [NAME])
    assert metadata["run_api_requests"] == len(deployment.github.requests) == 3  # the list, the head, and one page
    assert deployment.metadata("activity_events", "2026-02-16|default")["events"] == 2


# A run over several scopes, as Dagster makes one of no more epochs than scopes.

OTHER = "cogni-dao/website"


@pytest.fixture
def two_scopes(deployment: Deployment) -> Deployment:
    """`default` with NAME, and `website` with OTHER, a merge in each of two weeks in both."""
    write_project(deployment.folder, "website", OTHER)
    weeks = [window("2026-02-09").start, window("2026-02-16").start]
    deployment.github.replace_world(
        World(
            (
                repository(*(merged(n, at + HOUR) for n, at in enumerate(weeks, 1))),
                repository(*(merged(n, at + HOUR) for n, at in enumerate(weeks, 11)), name=OTHER, database_id=2),
            )
        )
    )
    return deployment


@pytest.mark.parametrize("first", ["2026-02-16", "2026-02-09"])
def test_a_run_over_two_scopes_gives_every_partition_its_own_numbers(two_scopes: Deployment, first: str) -> None:
    epochs = [week for week in ("2026-02-09", "2026-02-16") if week >= first]
    assert two_scopes.materialize(first, "2026-02-16", last_scope="website").success
    keys = {f"{epoch}|{scope}" for epoch in epochs for scope in ("default", "website")}
    for asset in (PULL_REQUESTS, ["github", "reviews"], ["github", "issues"], "activity_events"):
        assert two_scopes.materialized(asset) == keys
    for scope, scope_id, name, numbers in (
        ("default", SCOPE_ID, NAME, {"2026-02-09": 1, "2026-02-16": 2}),
        ("website", OTHER_SCOPE_ID, OTHER, {"2026-02-09": 11, "2026-02-16": 12}),
    ):
        for epoch in epochs:
            key = f"{epoch}|{scope}"
            stored = list(two_scopes.ledger.events.within(scope_id, window(epoch)))
            assert [event.id for event in stored] == [f"github:pr:{name}:{numbers[epoch]}"]
            assert two_scopes.metadata(PULL_REQUESTS, key)["new"] == 1
            [cursor] = two_scopes.metadata(PULL_REQUESTS, key)["cursors"].records
            assert cursor.data["source_scope"] == name
            metadata = two_scopes.metadata("activity_events", key)
            assert metadata["set_hash"] == event_set_hash((event.id, event.payload_hash) for event in stored)
            evaluation = two_scopes.check_evaluation(EVERY_SOURCE_SCOPE_READ, key)
            assert (evaluation.passed, evaluation.partition) == (True, key)


@pytest.mark.parametrize(
    ("missing", "other_scope_id", "red"), [(NAME, OTHER_SCOPE_ID, "default"), (OTHER, SCOPE_ID, "website")]
)
def test_a_missing_repository_of_one_scope_is_red_on_its_partitions_and_the_other_scope_is_stored(
    two_scopes: Deployment, missing: str, other_scope_id: UUID, red: str
) -> None:
    two_scopes.github.faults.for_repository(missing, FailedAnswer.NOT_FOUND)
    result = two_scopes.materialize("2026-02-09", "2026-02-16", last_scope="website")
    [failed] = result.filter_events(lambda event: event.is_step_failure)
    assert failed.step_failure_data.user_failure_data is not None
    assert missing in (failed.step_failure_data.user_failure_data.description or "")
    green = "website" if red == "default" else "default"
    epochs = ("2026-02-09", "2026-02-16")
    assert {(evaluation.partition, evaluation.passed) for evaluation in result.get_asset_check_evaluations()} == {
        (f"{epoch}|{scope}", scope == green) for epoch in epochs for scope in (red, green)
    }
    for asset in (PULL_REQUESTS, ["github", "reviews"], ["github", "issues"], "activity_events"):
        assert two_scopes.materialized(asset) == {f"{epoch}|{green}" for epoch in epochs}
    assert two_scopes.metadata(PULL_REQUESTS, f"2026-02-09|{green}")["new"] == 1
    assert two_scopes.metadata("activity_events", f"2026-02-09|{green}")["events"] == 1
    stored = [
        len(list(two_scopes.ledger.events.within(other_scope_id, window(epoch))))
        for epoch in ("2026-02-09", "2026-02-16")
    ]
    assert stored == [1, 1]


@pytest.mark.parametrize("interruption", [dg.DagsterExecutionInterruptedError, KeyboardInterrupt])
def test_a_run_that_is_stopped_tells_of_the_scopes_that_it_had_read(
    two_scopes: Deployment, monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException]
) -> None:
    def collect_one(*arguments: Any, **options: Any) -> CollectReport:
        if arguments[2].scope_key == "website":
            raise interruption
        return collect(*arguments, **options)

    monkeypatch.setattr("ledger_pipeline.defs.ingestion.collect", collect_one)
    assert not two_scopes.materialize("2026-02-09", "2026-02-16", last_scope="website").success
    for asset in (PULL_REQUESTS, ["github", "reviews"], ["github", "issues"], "activity_events"):
        assert two_scopes.materialized(asset) == {"2026-02-09|default", "2026-02-16|default"}


def test_a_stream_that_one_scope_of_a_run_does_not_collect_says_so_on_its_partition(two_scopes: Deployment) -> None:
    write_project(two_scopes.folder, "website", OTHER, streams="pull_requests")
    assert two_scopes.materialize("2026-02-16", last_scope="website").success
    metadata = two_scopes.metadata(["github", "issues"], "2026-02-16|website")
    assert metadata == {"asked": False, "not_collected": "scope website does not collect issues"}
    assert two_scopes.metadata(["github", "issues"], "2026-02-16|default")["asked"] is True


def test_an_epoch_is_told_of_where_its_scope_collects_only_some_of_the_streams(two_scopes: Deployment) -> None:
    write_project(two_scopes.folder, "website", OTHER, streams="pull_requests")
    assert two_scopes.materialize("2026-02-16", scope="website").success
    assert two_scopes.metadata("activity_events", "2026-02-16|website")["pr_merged"] == 1
