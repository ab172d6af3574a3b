"""Epochs of every length through Dagster's UI, and what happens when the length is changed."""

from datetime import timedelta

import pytest

from ledger_pipeline.core.windows import EpochCalendar, EpochWindow
from ledger_pipeline_tests.builders import SCOPE_ID, instant, window
from ledger_pipeline_tests.defs.conftest import NOW
from ledger_pipeline_tests.defs.deployment import Deployment, write_repo_spec
from ledger_pipeline_tests.defs.user_interface import user_interface
from ledger_pipeline_tests.sources.simulator.worlds import NAME, merged, world

# Dagster's own code, loading definitions and making a backfill.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition.environment_vars`:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources`:DeprecationWarning"),
]

EVER = EpochWindow(instant("2000-01-01"), instant("2100-01-01"))
SECOND = timedelta(seconds=1)


def epochs(deployment: Deployment) -> list[EpochWindow]:
    """What the ledger has."""
    return [epoch.window for epoch in deployment.ledger.epochs.within(SCOPE_ID, EVER)]


def event_ids(deployment: Deployment, epoch: EpochWindow) -> list[str]:
    return [event.id for event in deployment.ledger.events.within(SCOPE_ID, epoch)]


def failure(deployment: Deployment, first: str, last: str | None = None) -> str:
    """What the run over these epochs says, which fails."""
    [failed] = deployment.materialize(first, last).filter_events(lambda event: event.is_step_failure)
    assert failed.step_failure_data.user_failure_data is not None
    return failed.step_failure_data.user_failure_data.description or ""


@pytest.mark.parametrize("days", [1, 7, 14, 28])
def test_epochs_of_every_length_are_shown_collected_and_backfilled_with_our_bounds(
    deployment: Deployment, days: int
) -> None:
    calendar = EpochCalendar(days)
    running = calendar.window_at(NOW)
    ours = [calendar.window_at(running.start - n * calendar.length) for n in (3, 2, 1)]
    write_repo_spec(deployment.folder, NAME, first_epoch=ours[0].key, length_days=days)
    # The first and the last second of each epoch, and the running one's first.
    moments = [moment for epoch in ours for moment in (epoch.start, epoch.end - SECOND)]
    deployment.github.replace_world(world(*(merged(n, at) for n, at in enumerate([*moments, running.start], 1))))
    with user_interface(deployment) as ui:
        shown = ui.grid()
        # Of epochs longer than a week Dagster adds the next from the running one's second week on.
        later = [calendar.window_at(running.end).key] if running.start + timedelta(7) <= NOW else []
        assert shown == {"epoch": [epoch.key for epoch in (*ours, running)] + later, "scope": ["default"]}

        assert deployment.materialize(running.key).success
        assert epochs(deployment) == [running]
        assert event_ids(deployment, running) == [f"github:pr:{NAME}:7"]

        [run] = ui.backfill(*(f"{epoch.key}|default" for epoch in ours))
        assert run.tags["dagster/asset_partition_range_start"] == f"{ours[0].key}|default"
        assert ui.materialized() == len(ours) + 1
    assert epochs(deployment) == [*ours, running]
    for number, epoch in enumerate(ours):
        assert event_ids(deployment, epoch) == [f"github:pr:{NAME}:{2 * number + n}" for n in (1, 2)]
        metadata = deployment.metadata("activity_events", f"{epoch.key}|default")
        assert (metadata["events"], metadata["window_complete"]) == (2, True)
        assert metadata["window_start"] == epoch.start.timestamp()
        assert metadata["window_end"] == epoch.end.timestamp()


def test_a_changed_epoch_length_is_refused_in_one_line_that_says_the_way_out(deployment: Deployment) -> None:
    deployment.github.replace_world(world(merged(1, NOW)))
    assert deployment.materialize("2026-02-02", "2026-02-16").success
    weekly = epochs(deployment)
    write_repo_spec(deployment.folder, NAME, length_days=14)
    problem = failure(deployment, "2026-02-02", "2026-02-16")
    first = deployment.ledger.epochs.within(SCOPE_ID, EVER)[0]
    assert problem == (
        f"no epoch 2026-02-02 to 2026-02-16: epoch {first.id} of the scope, 2026-02-02 to 2026-02-09, covers part of "
        "it. Put epoch_length_days back to 7; or for epochs of 14 days set activity_ledger.first_epoch to 2026-03-02, "
        "which leaves 2026-02-23 to 2026-03-02 in no epoch unless epochs of 7 days are collected up to there first"
    )
    assert epochs(deployment) == weekly


def test_the_length_put_back_goes_on_as_before(deployment: Deployment) -> None:
    assert deployment.materialize("2026-02-09").success
    write_repo_spec(deployment.folder, NAME, length_days=14)
    assert "back to 7" in failure(deployment, "2026-02-02")
    write_repo_spec(deployment.folder, NAME, length_days=7)
    assert deployment.materialize("2026-02-09", "2026-02-16").success
    assert epochs(deployment) == [window("2026-02-09"), window("2026-02-16")]


def test_a_new_length_from_the_advised_first_epoch_on_collects_and_keeps_the_old_epochs(deployment: Deployment) -> None:
    old = [window("2026-02-09"), window("2026-02-16")]
    deployment.github.replace_world(world(merged(1, old[0].start)))
    assert deployment.materialize("2026-02-09", "2026-02-16").success
    deployment.set_clock(instant("2026-03-04"))
    write_repo_spec(deployment.folder, NAME, length_days=14)
    assert "first_epoch to 2026-03-02" in failure(deployment, "2026-02-16", "2026-03-02")
    deployment.github.replace_world(world(merged(1, old[0].start), merged(2, instant("2026-03-03"))))
    # The week between is collected first, so that no day is in no epoch.
    write_repo_spec(deployment.folder, NAME, length_days=7)
    assert deployment.materialize("2026-02-23").success

    write_repo_spec(deployment.folder, NAME, length_days=14, first_epoch="2026-03-02")
    with user_interface(deployment) as ui:
        assert ui.grid()["epoch"] == ["2026-03-02"]
        assert ui.materialized() == 0
        assert len(ui.backfill("2026-03-02|default")) == 1
        assert ui.materialized() == 1
    assert epochs(deployment) == [*old, window("2026-02-23"), window("2026-03-02", days=14)]
    assert event_ids(deployment, old[0]) == [f"github:pr:{NAME}:1"]
    assert event_ids(deployment, window("2026-03-02", days=14)) == [f"github:pr:{NAME}:2"]


def test_partitions_before_a_moved_first_epoch_leave_the_grid_and_keep_what_was_said_of_them(
    deployment: Deployment,
) -> None:
    assert deployment.materialize("2026-02-02", "2026-02-16").success
    deployment.first_epoch("2026-02-16")
    with user_interface(deployment) as ui:
        assert ui.grid()["epoch"] == ["2026-02-16"]
        assert ui.materialized() == 1
    assert deployment.metadata("activity_events", "2026-02-02|default")["window_complete"] is True
    assert deployment.materialize("2026-02-16").success
    deployment.first_epoch("2026-02-02")
    with user_interface(deployment) as ui:
        assert (ui.grid()["epoch"], ui.materialized()) == (["2026-02-02", "2026-02-09", "2026-02-16"], 3)
