"""Epoch windows x scopes as Dagster's partitions; how a key is spelt is in `dagster_contract.py`."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg

# Dagster has no public way to say in which order a run goes through the partitions of its range.
from dagster._core.definitions.partitions.subset.default import DefaultPartitionsSubset

from ledger_pipeline.core.errors import WindowError
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.core.windows import EPOCH_ANCHOR, EpochCalendar, EpochWindow, parse_epoch_key
from ledger_pipeline.dagster_contract import (
    EPOCH_DIMENSION,
    RANGE_END_TAG,
    RANGE_START_TAG,
    SCOPE_DIMENSION,
    parse_partition_key,
    partition_tags,
)

# Cron knows no "every second week": the weeks between are excluded one by one, up to here, where the grid ends.
LONG_EPOCHS_END = datetime(2050, 1, 1, tzinfo=UTC)


class EpochGrid(dg.MultiPartitionsDefinition):
    """Dagster's own, but that a run tells of the partitions it materializes in the order of the calendar.

    Dagster keeps their keys in a set: any of a range would be the latest, which is the one that an asset's page shows.
    """

    def empty_subset(self) -> DefaultPartitionsSubset:
        """The empty subset to which Dagster adds the keys of a run's range."""
        return _NoPartitions()


class _NoPartitions(DefaultPartitionsSubset):
    def with_partition_keys(self, partition_keys: Iterable[str]) -> DefaultPartitionsSubset:
        return DefaultPartitionsSubset(_InOrder(partition_keys))


class _InOrder(set[str]):
    """A set that is gone through in the order of its strings, which of keys is that of their epochs."""

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(super().__iter__()))


def activity_partitions(spec: RepoSpec) -> dg.MultiPartitionsDefinition:
    """The grid of every activity asset. The running epoch is part of it (`end_offset=1`).

    Of epochs longer than a week, the next is too from the running one's second week on: to Dagster each is a week long.
    """
    return EpochGrid(
        {
            EPOCH_DIMENSION: _epochs(spec.calendar, spec.calendar.window_starting(spec.first_epoch)),
            SCOPE_DIMENSION: dg.StaticPartitionsDefinition([scope.scope_key for scope in spec.scopes]),
        }
    )


def partition_key(window: EpochWindow, scope: Scope) -> dg.MultiPartitionKey:
    """The partition of one epoch of one scope."""
    return dg.MultiPartitionKey({EPOCH_DIMENSION: window.key, SCOPE_DIMENSION: scope.scope_key})


def partition_range_tags(first: EpochWindow, last: EpochWindow, scope: Scope) -> dict[str, str]:
    """Run tags that make one run materialize every partition of `scope` from `first` to `last`."""
    return {
        RANGE_START_TAG: partition_key(first, scope),
        RANGE_END_TAG: partition_key(last, scope),
    }


def partition_run(window: EpochWindow, scope: Scope, *, run_key_suffix: str) -> dg.RunRequest:
    """A request to run one partition, made once for each `run_key_suffix` however often it is repeated.

    By tag, as every launcher here does: given as `partition_key`, Dagster warns of the tags it then makes itself.
    """
    return dg.RunRequest(
        run_key=f"{partition_key(window, scope)} {run_key_suffix}",
        tags=partition_tags(window.key, scope.scope_key),
    )


def scopes_and_windows(spec: RepoSpec, keys: Sequence[str], now: datetime) -> list[tuple[Scope, list[EpochWindow]]]:
    """What the partition keys of one run name: its scopes in the spec's order, each with its windows, oldest first.

    Usually one scope. Where no more epochs than scopes are selected, Dagster makes runs of an epoch over its scopes.
    A key given twice counts once, and the window comes from our rule, never from Dagster's.
    Raises WindowError for no keys, a malformed one, or an epoch that has not begun at `now`; UnknownScope for a scope
    the spec has no more.
    """
    if not keys:
        raise WindowError("the run names no partition: select the epochs to collect")
    wanted: dict[str, set[EpochWindow]] = {}
    for key in keys:
        # A plain string, not a MultiPartitionKey, is what a run's tags and a client's request hold.
        epoch, scope_key = parse_partition_key(str(key))
        window = spec.scope(scope_key).window(parse_epoch_key(epoch))
        if window.start > now:
            running = spec.calendar.window_at(now)
            raise WindowError(f"epoch {window.key} has not begun: select epochs up to the running one, {running.key}")
        wanted.setdefault(scope_key, set()).add(window)
    return [(scope, sorted(wanted[scope.scope_key])) for scope in spec.scopes if scope.scope_key in wanted]


def _epochs(calendar: EpochCalendar, first: EpochWindow) -> dg.TimeWindowPartitionsDefinition:
    if calendar.length_days == 1:
        return dg.DailyPartitionsDefinition(start_date=first.start, end_offset=1, timezone="UTC")
    if calendar.length_days == 7:
        return dg.WeeklyPartitionsDefinition(start_date=first.start, day_offset=1, end_offset=1, timezone="UTC")
    return dg.TimeWindowPartitionsDefinition(
        start=first.start,
        end=LONG_EPOCHS_END,
        fmt="%Y-%m-%d",
        timezone="UTC",
        cron_schedule="0 0 * * 1",
        end_offset=1,
        exclusions=list(_weeks_between(calendar, first)),
    )


def _weeks_between(calendar: EpochCalendar, first: EpochWindow) -> Iterable[datetime]:
    week = EpochCalendar(7)
    last = week.window_at(LONG_EPOCHS_END)
    for window in week.windows_between(EpochWindow(first.start, first.start + week.length), last):
        if (window.start - EPOCH_ANCHOR) % calendar.length:
            yield window.start
