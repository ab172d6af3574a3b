"""A square is green when, and only when, its week is in the ledger, and its numbers are the ledger's now."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.storage.event_log import InMemoryEventLogStorage

from ledger_pipeline.core.errors import SourceUnavailable
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.dagster_contract import (
    EVERY_SOURCE_SCOPE_READ,
    NOTHING_REJECTED,
    RANGE_END_TAG,
    RANGE_START_TAG,
    SCOPE_ID_TAG,
)
from ledger_pipeline.defs.settlement_sensors import proposals
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.sources.github.source import GitHubSource
from ledger_pipeline.sources.port import ScanPage, ScanRequest
from ledger_pipeline.sources.simulator.faults import FailedAnswer, Forbidden
from ledger_pipeline.sources.simulator.world import World
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline_tests.builders import DEFAULT_WEIGHTS_MILLI, OTHER_SCOPE_ID, SCOPE_ID, window
from ledger_pipeline_tests.defs.deployment import Deployment, write_project, write_repo_spec
from ledger_pipeline_tests.sources.simulator.worlds import NAME, merged, repository, world

HOUR = timedelta(hours=1)
PULL_REQUESTS = ["github", "pull_requests"]
ASSETS = (PULL_REQUESTS, ["github", "reviews"], ["github", "issues"], "activity_events")
OLD, BETWEEN, LAST, RUNNING = "2026-01-26", "2026-02-02", "2026-02-09", "2026-02-16"


def squares(*epochs: str) -> set[str]:
    return {f"{epoch}|default" for epoch in epochs}


def problem(result: dg.ExecuteInProcessResult) -> str:
    [failed] = result.filter_events(lambda event: event.is_step_failure)
    assert failed.step_failure_data.user_failure_data is not None
    return failed.step_failure_data.user_failure_data.description or ""


def test_weeks_that_nobody_read_are_refused_by_name_and_stay_grey(deployment: Deployment) -> None:
    result = deployment.materialize_asset("activity_events", f"{LAST}|default")
    assert not result.success
    assert f"never collected: epoch {LAST} of default" in problem(result)
    assert "job collect_epoch" in problem(result)
    assert deployment.materialized("activity_events") == set()


def test_of_a_range_the_weeks_that_were_read_are_shown_and_the_refused_one_alone_is_red(
    deployment: Deployment,
) -> None:
    deployment.github.replace_world(world(merged(1, window(LAST).start + HOUR)))
    assert deployment.materialize(LAST, RUNNING).success
    deployment.instance.wipe_assets([dg.AssetKey("activity_events")])
    job = deployment.definitions().resolve_implicit_global_asset_job_def()
    tags = {RANGE_START_TAG: f"{BETWEEN}|default", RANGE_END_TAG: f"{RUNNING}|default"}
    result = job.get_subset(asset_selection={dg.AssetKey("activity_events")}).execute_in_process(
        instance=deployment.instance, tags=tags, raise_on_error=False
    )
    assert not result.success
    assert f"never collected: epoch {BETWEEN} of default" in problem(result)
    assert deployment.materialized("activity_events") == squares(LAST, RUNNING)
    assert deployment.check_evaluation(EVERY_SOURCE_SCOPE_READ, f"{LAST}|default").passed
    assert deployment.metadata("activity_events", f"{LAST}|default")["events"] == 1


def test_a_week_after_the_sources_clock_is_refused_with_both_times_and_what_to_do(deployment: Deployment) -> None:
    deployment.configure(github_clock_tolerance_seconds=ANY_CLOCK_SECONDS)
    deployment.github.set_clock(window(LAST).start - HOUR)
    result = deployment.materialize(LAST, RUNNING)
    assert not result.success
    assert f"not begun yet by github's clock: epochs {LAST}, {RUNNING} of default" in problem(result)
    assert (
        "2026-02-09 begins at 2026-02-09T00:00Z, github says it is 2026-02-08T23:00Z, we that it is 2026-02-1"
        in problem(result)
    )
    assert "Collect an epoch of github's time" in problem(result)
    assert [deployment.materialized(asset) for asset in ASSETS] == [set()] * 4


def test_a_week_of_which_one_repository_was_never_read_is_refused_by_its_name(deployment: Deployment) -> None:
    second_name = "cogni-dao/website"
    write_repo_spec(deployment.folder, NAME, second_name)
    deployment.github.replace_world(World((repository(), repository(name=second_name, database_id=2))))
    deployment.github.faults.for_repository(second_name, FailedAnswer.NOT_FOUND)
    assert not deployment.materialize(LAST).success
    assert f"{second_name} pull_requests not read" in problem(
        deployment.materialize_asset("activity_events", f"{LAST}|default")
    )
    assert deployment.materialized("activity_events") == set()


def test_streams_that_were_read_are_green_beside_one_that_is_forbidden(deployment: Deployment) -> None:
    deployment.github.replace_world(world(merged(1, window(LAST).start + HOUR)))
    deployment.github.faults.for_repository(NAME, Forbidden("issues"))
    assert not deployment.materialize(LAST, RUNNING).success
    for asset in ASSETS[:2]:
        assert deployment.materialized(asset) == squares(LAST, RUNNING)
    assert deployment.metadata(PULL_REQUESTS, f"{LAST}|default")["in_ledger"] == 1
    for asset in ASSETS[2:]:
        assert deployment.materialized(asset) == set()
    assert not deployment.check_evaluation(EVERY_SOURCE_SCOPE_READ, f"{LAST}|default").passed


def test_a_week_that_was_read_before_and_is_refused_now_is_green_only_where_it_was_read_to_its_end(
    deployment: Deployment,
) -> None:
    deployment.set_clock(window(LAST).start + HOUR)
    assert deployment.materialize(BETWEEN, LAST).success
    deployment.instance.wipe_assets([dg.AssetKey(PULL_REQUESTS)])
    deployment.set_clock(window(RUNNING).start + HOUR)
    deployment.github.faults.for_repository(NAME, FailedAnswer.NOT_FOUND)
    assert not deployment.materialize(BETWEEN, LAST).success
    assert deployment.materialized(PULL_REQUESTS) == squares(BETWEEN)


def test_a_week_is_not_green_by_an_interrupted_scan_that_went_on_and_came_no_further(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_PAGE_SIZE", "2")
    sunday = window(LAST).end - HOUR
    deployment.set_clock(sunday)
    before = [merged(number, sunday - number * HOUR) for number in range(1, 13)]
    deployment.github.replace_world(world(*before))
    asked_before = len(deployment.github.requests)
    deployment.github.faults.when(lambda asked: asked.number > asked_before + 4, FailedAnswer.MAINTENANCE)
    assert not deployment.materialize(LAST).success
    deployment.github.faults.clear()
    deployment.github.replace_world(world(*before, merged(99, sunday + HOUR / 2)))
    deployment.set_clock(window(LAST).end + 6 * HOUR)
    scan = GitHubSource.scan

    def no_news(source: GitHubSource, request: ScanRequest) -> Iterator[ScanPage]:
        if request.position is None:
            raise SourceUnavailable("github", request.source_scope, "no answer")
        return scan(source, request)

    monkeypatch.setattr(GitHubSource, "scan", no_news)
    assert not deployment.materialize(LAST).success
    assert len(list(deployment.ledger.events.within(SCOPE_ID, window(LAST)))) == 12
    for asset in ASSETS:
        assert deployment.materialized(asset) == set()


def test_a_week_of_another_repository_that_took_the_name_and_cannot_be_read_is_not_green(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.set_clock(window(RUNNING).start + HOUR)
    deployment.github.replace_world(world(merged(1, window(LAST).start + HOUR)))
    assert deployment.materialize(LAST).success
    deployment.instance.wipe_assets([dg.AssetKey(PULL_REQUESTS)])
    second_repository = repository(merged(7, window(LAST).start + HOUR), database_id=77)
    deployment.github.replace_world(World((second_repository,)))
    deployment.set_clock(window(RUNNING).start + 30 * HOUR)

    def no_answer(_: GitHubSource, request: ScanRequest) -> Iterator[ScanPage]:
        raise SourceUnavailable("github", request.source_scope, "no answer")

    monkeypatch.setattr(GitHubSource, "scan", no_answer)
    assert not deployment.materialize(LAST, RUNNING).success
    assert deployment.materialized(PULL_REQUESTS) == set()


def test_a_scope_that_was_read_is_green_although_the_run_then_fails_at_another(deployment: Deployment) -> None:
    write_project(deployment.folder, "website", NAME)
    week = window(LAST)
    fortnight = EpochWindow(week.start - 7 * 24 * HOUR, week.end)
    deployment.ledger.epochs.ensure(OTHER_SCOPE_ID, [fortnight], DEFAULT_WEIGHTS_MILLI)
    result = deployment.materialize(LAST, last_scope="website")
    assert "covers part of it" in problem(result)
    for asset in ASSETS:
        assert deployment.materialized(asset) == squares(LAST)
    assert deployment.check_evaluation(EVERY_SOURCE_SCOPE_READ, f"{LAST}|default").passed


def test_a_week_that_was_read_shows_its_numbers_anew_from_its_own_page(deployment: Deployment) -> None:
    assert deployment.materialize(LAST).success
    assert deployment.materialize_asset("activity_events", f"{LAST}|default").success


def test_every_week_that_a_scan_read_to_its_end_is_green_and_no_other(deployment: Deployment) -> None:
    deployment.github.replace_world(
        world(merged(1, window(BETWEEN).start + HOUR), merged(2, window(LAST).start + HOUR))
    )
    assert deployment.materialize(OLD).success
    for asset in ASSETS:
        assert deployment.materialized(asset) == squares(OLD, BETWEEN, LAST)  # the running week is not over
    assert deployment.metadata(PULL_REQUESTS, f"{BETWEEN}|default")["in_ledger"] == 1
    metadata = deployment.metadata("activity_events", f"{LAST}|default")
    assert (metadata["state"], metadata["events"], metadata["epoch_status"]) == ("complete", 1, "none yet")
    assert deployment.check_evaluation(EVERY_SOURCE_SCOPE_READ, f"{LAST}|default").passed
    # Nobody asked for them: no epoch is made, and nothing is proposed for one that is not there.
    assert [epoch.window.key for epoch in deployment.ledger.epochs.within(SCOPE_ID, window(BETWEEN))] == []
    assert proposed(deployment) == [f"{OLD}|default"]


def test_weeks_that_a_run_was_not_asked_for_are_stored_together(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[list[str | None]] = []

    def store(self: InMemoryEventLogStorage, events: Sequence[dg.EventLogEntry]) -> None:
        stored.append([event.get_dagster_event().partition for event in events])
        for event in events:
            self.store_event(event)

    monkeypatch.setattr(InMemoryEventLogStorage, "store_event_batch", store)
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "500")
    assert deployment.materialize(OLD).success
    assert stored.count([f"{BETWEEN}|default", f"{LAST}|default"]) == len(ASSETS)


def test_a_week_that_another_run_adds_to_shows_its_new_numbers_at_once(deployment: Deployment) -> None:
    deployment.set_clock(window(RUNNING).start + HOUR)  # before the grace of the last week has passed
    assert deployment.materialize(LAST, RUNNING).success
    shown_late = merged(1, window(LAST).start + HOUR, touched_at=(deployment.now(),))
    deployment.github.replace_world(world(shown_late))
    before = deployment.metadata("activity_events", f"{LAST}|default")
    assert deployment.materialize(RUNNING).success
    after = deployment.metadata("activity_events", f"{LAST}|default")
    assert (before["events"], after["events"]) == (0, 1)
    assert before["set_hash"] != after["set_hash"]
    assert deployment.metadata(PULL_REQUESTS, f"{LAST}|default")["in_ledger"] == 1


def test_a_closed_week_that_another_run_finds_a_late_event_of_says_so_at_once(deployment: Deployment) -> None:
    assert deployment.materialize(LAST, RUNNING).success
    shown_late = merged(1, window(LAST).start + HOUR, touched_at=(deployment.now(),))
    deployment.github.replace_world(world(shown_late))
    assert deployment.materialize(RUNNING).success
    assert deployment.metadata("activity_events", f"{LAST}|default")["rejected_by_reason"] == {"late": 1}
    assert not deployment.check_evaluation(NOTHING_REJECTED, f"{LAST}|default").passed


def test_a_run_that_changes_nothing_elsewhere_says_nothing_of_it(deployment: Deployment) -> None:
    assert deployment.materialize(LAST, RUNNING).success
    assert deployment.materialize(RUNNING).success
    assert len(deployment.instance.fetch_materializations(dg.AssetKey("activity_events"), limit=10).records) == 3


def test_an_epoch_that_another_run_closes_says_so_at_once(deployment: Deployment) -> None:
    assert deployment.materialize(LAST, RUNNING).success
    deployment.set_clock(window(RUNNING).end + 25 * HOUR)
    assert deployment.materialize("2026-02-23").success
    [epoch] = deployment.ledger.epochs.within(SCOPE_ID, window(RUNNING))
    assert epoch.status is EpochStatus.REVIEW
    assert deployment.metadata("activity_events", f"{RUNNING}|default")["epoch_status"] == "review"


def test_a_covered_week_says_what_the_ledger_holds_and_that_the_run_did_nothing(deployment: Deployment) -> None:
    deployment.github.replace_world(world(*(merged(number, window(LAST).start + HOUR) for number in range(1, 4))))
    assert deployment.materialize(LAST).success
    metadata = deployment.metadata(PULL_REQUESTS, f"{LAST}|default")
    assert (metadata["in_ledger"], metadata["in_ledger_before_this_run"], metadata["new"]) == (3, 0, 3)
    assert deployment.materialize(LAST).success
    metadata = deployment.metadata(PULL_REQUESTS, f"{LAST}|default")
    assert (metadata["in_ledger"], metadata["in_ledger_before_this_run"], metadata["asked"]) == (3, 3, False)


def test_a_run_that_another_deployments_workflow_launched_is_refused(deployment: Deployment) -> None:
    result = deployment.materialize(LAST, tags={SCOPE_ID_TAG: str(OTHER_SCOPE_ID)})
    assert not result.success
    assert f"the run was launched for scope {OTHER_SCOPE_ID}, and default is {SCOPE_ID} here" in problem(result)
    assert deployment.github.requests == ()


def proposed(deployment: Deployment) -> list[str]:
    """The first partition of each run that `proposals` asks for now."""
    definitions = deployment.definitions()
    with dg.build_sensor_context(
        instance=deployment.instance,
        repository_def=definitions.get_repository_def(),
        resources=definitions.resources,
    ) as context:
        result = proposals.evaluate_tick(context)
    return [request.tags["dagster/asset_partition_range_start"] for request in result.run_requests or []]
