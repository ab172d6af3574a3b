"""Dagster's partition keys are our epoch windows and scopes, and every key leads back to our own window."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.errors import UnknownScope, WindowError
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.dagster_contract import RANGE_END_TAG, RANGE_START_TAG, covers_partition, scope_of_run
from ledger_pipeline.defs.partitions import (
    LONG_EPOCHS_END,
    activity_partitions,
    partition_key,
    partition_range_tags,
    scopes_and_windows,
)
from ledger_pipeline_tests.builders import NODE_ID, instant, window

LENGTHS = (1, 7, 14, 28, 84)
# A first epoch for each length at the anchor, one before it and one after.
GRIDS = [
    *((days, "2026-01-05") for days in LENGTHS),
    (1, "2025-12-31"),
    (7, "2024-02-26"),
    (14, "2025-12-22"),
    (28, "2025-12-08"),
    (84, "2025-10-13"),
    (14, "2026-03-02"),
    (84, "2026-03-30"),
]
FAR = datetime(9999, 1, 1, tzinfo=UTC)  # for tests that are not about what has begun
MICROSECOND = timedelta(microseconds=1)


def scope(key: str = "default", *, days: int = 7, first_epoch: str = "2026-01-05") -> Scope:
    return Scope(
        scope_id=UUID(int=len(key)),
        scope_key=key,
        epoch_length_days=days,
        first_epoch=date.fromisoformat(first_epoch),
        sources=(),
        approvers=(),
        base_issuance_credits=None,
        auto_close_grace_hours=24,
        weights_milli={},
        schedules=(),
        file=".cogni/repo-spec.yaml",
    )


def spec(*scopes: Scope, days: int = 7, first_epoch: str = "2026-01-05") -> RepoSpec:
    return RepoSpec(NODE_ID, scopes or (scope(days=days, first_epoch=first_epoch),), ".cogni/repo-spec.yaml")


def epoch_keys(partitions: dg.MultiPartitionsDefinition, now: datetime) -> Sequence[str]:
    return partitions.get_partitions_def_for_dimension("epoch").get_partition_keys(now)


def windows_until(spec: RepoSpec, now: datetime) -> list[EpochWindow]:
    calendar = spec.calendar
    return list(calendar.windows_between(calendar.window_starting(spec.first_epoch), calendar.window_at(now)))


# The grid.


@pytest.mark.parametrize(("days", "first_epoch"), GRIDS)
def test_the_grid_holds_our_windows_from_the_first_epoch_to_the_running_one(days: int, first_epoch: str) -> None:
    node = spec(days=days, first_epoch=first_epoch)
    partitions = activity_partitions(node)
    first = window(first_epoch, days)
    for after in (0, 1, 2, 5, 60):
        # The first week of an epoch: what Dagster adds later on is the next test's.
        start = first.start + after * node.calendar.length
        for now in (start, start + MICROSECOND, start + min(node.calendar.length, timedelta(7)) - MICROSECOND):
            assert epoch_keys(partitions, now) == [epoch.key for epoch in windows_until(node, now)]


@pytest.mark.parametrize(("days", "first_epoch"), GRIDS)
def test_the_running_epoch_is_there_at_every_moment_and_at_most_the_next(days: int, first_epoch: str) -> None:
    node = spec(days=days, first_epoch=first_epoch)
    partitions = activity_partitions(node)
    first = window(first_epoch, days)
    for hours in range(0, 24 * 7 * 26, 173):
        now = first.start + timedelta(hours=hours)
        epochs = windows_until(node, now)
        if now >= epochs[-1].start + timedelta(7):  # to Dagster the running epoch is over: it adds the next
            epochs.append(node.calendar.window_at(epochs[-1].end))
        assert epoch_keys(partitions, now) == [epoch.key for epoch in epochs]


@pytest.mark.parametrize("days", LENGTHS)
def test_over_years_dagsters_keys_are_our_calendars(days: int) -> None:
    node = spec(days=days)
    now = node.calendar.window_at(instant("2049-12-01")).start
    assert epoch_keys(activity_partitions(node), now) == [epoch.key for epoch in windows_until(node, now)]


@pytest.mark.parametrize("days", [14, 28, 84])
def test_the_grid_of_long_epochs_ends_with_the_last_window_before_its_end(days: int) -> None:
    keys = epoch_keys(activity_partitions(spec(days=days)), LONG_EPOCHS_END + timedelta(days=1000))
    assert [window(key, days).start < LONG_EPOCHS_END for key in keys[-2:]] == [True, True]
    assert window(keys[-1], days).end + timedelta(days) > LONG_EPOCHS_END


@pytest.mark.parametrize(("days", "first_epoch"), GRIDS)
def test_there_is_no_partition_before_the_first_epoch(days: int, first_epoch: str) -> None:
    partitions = activity_partitions(spec(days=days, first_epoch=first_epoch))
    start = window(first_epoch, days).start
    assert epoch_keys(partitions, start)[0] == first_epoch
    assert epoch_keys(partitions, start - timedelta(days=100)) == []


def test_the_grid_is_epochs_times_scopes_from_the_earliest_first_epoch() -> None:
    node = spec(scope(first_epoch="2026-01-19"), scope("website", first_epoch="2026-01-12"))
    keys = activity_partitions(node).get_partition_keys(instant("2026-01-20"))
    assert {str(key) for key in keys} == {
        "2026-01-12|default",
        "2026-01-12|website",
        "2026-01-19|default",
        "2026-01-19|website",
    }


# Keys and windows, there and back.


@pytest.mark.parametrize(("days", "first_epoch"), GRIDS)
def test_every_key_of_the_grid_leads_to_our_window_and_back(days: int, first_epoch: str) -> None:
    node = spec(scope(days=days, first_epoch=first_epoch), scope("website", days=days, first_epoch=first_epoch))
    now = window(first_epoch, days).start + timedelta(days=400)
    for key in activity_partitions(node).get_partition_keys(now):
        [(found_scope, (epoch,))] = scopes_and_windows(node, [key], FAR)
        assert epoch == window(key.keys_by_dimension["epoch"], days)
        assert epoch.end - epoch.start == timedelta(days)
        assert partition_key(epoch, found_scope) == key
        assert scopes_and_windows(node, [str(key)], FAR) == [(found_scope, [epoch])]


def test_the_scopes_are_the_specs_and_the_ui_offers_to_add_none() -> None:
    """Dagster's dialog offers "Add partition" for a dimension whose keys are made while it runs."""
    node = spec(scope(), scope("website"))
    scopes = activity_partitions(node).get_partitions_def_for_dimension("scope")
    assert type(scopes) is dg.StaticPartitionsDefinition
    assert list(scopes.get_partition_keys()) == ["default", "website"]


def test_a_key_reads_epoch_then_scope() -> None:
    assert partition_key(window("2026-02-16"), scope("website")) == "2026-02-16|website"


@given(st.sampled_from(LENGTHS), st.integers(0, 2000), st.integers(0, 30))
def test_the_windows_of_a_run_are_ours_oldest_first_each_once(days: int, first: int, count: int) -> None:
    node = spec(days=days)
    start = node.calendar.window_starting(node.first_epoch).start + first * node.calendar.length
    asked = [node.calendar.window_at(start + n * node.calendar.length) for n in range(count + 1)]
    for order in (asked, asked[::-1], [*asked, *asked]):
        keys = [partition_key(epoch, node.default_scope) for epoch in order]
        assert scopes_and_windows(node, keys, FAR) == [(node.default_scope, asked)]


def test_the_scopes_of_a_run_come_in_the_specs_order_each_with_its_windows_once() -> None:
    node = spec(scope(), scope("website"), scope("docs"))
    keys = ["2026-02-16|docs", "2026-02-16|website", "2026-02-09|docs", "2026-02-16|docs"]
    assert scopes_and_windows(node, keys, FAR) == [
        (node.scope("website"), [window("2026-02-16")]),
        (node.scope("docs"), [window("2026-02-09"), window("2026-02-16")]),
    ]


def test_dagsters_range_is_every_epoch_of_every_scope_between_its_ends() -> None:
    node = spec(scope(), scope("website"), scope("docs"))
    ends = dg.PartitionKeyRange("2026-02-09|default", "2026-02-16|docs")
    with dg.partition_loading_context(instant("2026-02-18")):
        keys = activity_partitions(node).get_partition_keys_in_range(ends)
    weeks = [window("2026-02-09"), window("2026-02-16")]
    assert scopes_and_windows(node, keys, FAR) == [(scope, weeks) for scope in node.scopes]


@pytest.mark.parametrize(
    ("epoch", "scope_key", "covered"),
    [
        ("2026-02-09", "default", True),
        ("2026-02-16", "docs", True),
        ("2026-02-12", "docs", True),
        ("2026-02-09", "website", False),  # between the two, if the spec has it there: tags do not say
        ("2026-02-23", "default", False),
        ("2026-02-02", "docs", False),
    ],
)
def test_a_range_over_scopes_is_known_to_cover_its_first_and_last_one(
    epoch: str, scope_key: str, covered: bool
) -> None:
    tags = {RANGE_START_TAG: "2026-02-09|default", RANGE_END_TAG: "2026-02-16|docs"}
    assert covers_partition(tags, epoch, scope_key) is covered
    assert scope_of_run(tags) is None


def test_windows_of_long_epochs_are_ours_though_dagster_thinks_them_a_week_long() -> None:
    node = spec(days=28)
    dagsters = activity_partitions(node).time_window_for_partition_key(
        dg.MultiPartitionKey({"epoch": "2026-02-02", "scope": "default"})
    )
    [(_, (ours,))] = scopes_and_windows(node, ["2026-02-02|default"], FAR)
    assert ours == EpochWindow(instant("2026-02-02"), instant("2026-03-02"))
    assert (dagsters.start, dagsters.end) == (instant("2026-02-02"), instant("2026-02-09"))


# What is refused.


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "partition key '' is not epoch|scope, as 2026-02-16|default"),
        ("2026-02-16", "partition key '2026-02-16' is not epoch|scope, as 2026-02-16|default"),
        ("default", "is not epoch|scope"),
        ("default|2026-02-16", "no scope '2026-02-16'"),
        ("|default", "epoch '' is not a date"),
        ("2026-02-30|default", "epoch '2026-02-30' is not a date"),
        ("20260216|default", "epoch '20260216': write it as 2026-02-16"),
        ("2026-02-16 |default", "epoch '2026-02-16 ' is not a date"),
        ("2026-02-17|default", "no 7-day epoch starts on 2026-02-17: the nearest start on 2026-02-16 and 2026-02-23"),
        ("2025-12-29|default", "epoch 2025-12-29 precedes the first epoch of scope default, 2026-01-05"),
        ("9999-12-31|default", "leaves the years 1 to 9999"),
        ("2026-02-16|", "no scope ''"),
        ("2026-02-16|web", "no scope 'web' in .cogni/repo-spec.yaml or its projects: there is default"),
        ("2026-02-16|default|website", "no scope 'default|website'"),
        ("2026-02-16|Default", "no scope 'Default'"),
    ],
)
def test_a_key_that_names_no_partition_of_ours_is_refused(key: str, says: str) -> None:
    with pytest.raises((WindowError, UnknownScope)) as refused:
        scopes_and_windows(spec(), [key], FAR)
    assert says in str(refused.value)
    assert isinstance(refused.value, UnknownScope) == ("no scope" in says)


def test_an_epoch_that_has_not_begun_is_refused_naming_the_running_one() -> None:
    start = instant("2026-02-16")
    scopes_and_windows(spec(), ["2026-02-16|default"], start)
    with pytest.raises(WindowError, match=r"2026-02-16 has not begun.*the running one, 2026-02-09"):
        scopes_and_windows(spec(), ["2026-02-09|default", "2026-02-16|default"], start - MICROSECOND)


def test_a_run_without_partitions_is_refused() -> None:
    with pytest.raises(WindowError, match="names no partition"):
        scopes_and_windows(spec(), [], FAR)


def test_one_bad_key_refuses_the_whole_run() -> None:
    with pytest.raises(WindowError, match="2026-02-17"):
        scopes_and_windows(spec(), ["2026-02-16|default", "2026-02-17|default"], FAR)


# Ranges.


@pytest.mark.parametrize(("days", "first", "last"), [(7, "2026-02-16", "2026-03-09"), (14, "2026-02-16", "2026-03-30")])
def test_the_range_tags_name_every_partition_of_one_scope_from_first_to_last(days: int, first: str, last: str) -> None:
    node = spec(scope(days=days), scope("website", days=days))
    tags = partition_range_tags(window(first, days), window(last, days), node.scope("website"))
    assert tags == {
        "dagster/asset_partition_range_start": f"{first}|website",
        "dagster/asset_partition_range_end": f"{last}|website",
    }
    with dg.partition_loading_context(datetime(2026, 6, 1, tzinfo=UTC)):
        keys = activity_partitions(node).get_partition_keys_in_range(dg.PartitionKeyRange(*tags.values()))
    asked = node.calendar.windows_between(window(first, days), window(last, days))
    assert list(keys) == [partition_key(epoch, node.scope("website")) for epoch in asked]


def test_the_range_of_one_epoch_starts_and_ends_with_it() -> None:
    assert set(partition_range_tags(window(), window(), scope()).values()) == {"2026-02-16|default"}
