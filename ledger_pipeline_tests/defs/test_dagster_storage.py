"""Dagster's storage with kept connections: what a range stores together is what Dagster would store one by one."""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, AssetKeyTable, SqlEventLogStorageTable
from dagster._serdes import deserialize_value
from sqlalchemy import RowMapping, make_url, select, text
from sqlalchemy.exc import IntegrityError

from ledger_pipeline.defs.dagster_storage import CONNECTIONS_KEPT, BatchingEventLogStorage, PooledPostgresStorage
from ledger_pipeline.defs.partition_checks import check_outputs, evaluation, latest_materializations, told_together
from ledger_pipeline.pipeline.epoch_checks import CheckResult
from ledger_pipeline_tests.postgres import fresh_database
from ledger_pipeline_tests.waiting import eventually

DAGSTERS_OWN = {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}}
OURS = {
    "custom": {
        "module": PooledPostgresStorage.__module__,
        "class": PooledPostgresStorage.__name__,
        "config": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}},
    }
}
FIRST_ASSET, ASSET = dg.AssetKey("first"), dg.AssetKey("second")
CHECKS = ("goes_well", "goes_badly")
PARTITIONS = dg.StaticPartitionsDefinition([*"abcdef"])
RANGE = {"dagster/asset_partition_range_start": "b", "dagster/asset_partition_range_end": "e"}
NOT_OF_THE_RUN = "f"


@contextmanager
def instance_on(storage: Mapping[str, Any], server: str, folder: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance with `storage` on a database of its own, which stores ranges in batches."""
    folder.mkdir()
    with fresh_database(server) as url, pytest.MonkeyPatch.context() as patch:
        given = make_url(url).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
        patch.setenv("DAGSTER_POSTGRES_URL", given)
        patch.setenv("DAGSTER_EVENT_BATCH_SIZE", "500")
        overrides = {"telemetry": {"enabled": False}, "storage": dict(storage)}
        with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), overrides=overrides)) as instance:
            yield instance


@pytest.fixture
def ours(postgres_server: str, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_on(OURS, postgres_server, tmp_path / "ours") as instance:
        yield instance


def run(instance: dg.DagsterInstance, *, fails: bool = False) -> str:
    """Two assets over a range, and two checks of each partition, also of one that is not of the run: the run's id."""

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        checks = [dg.AssetCheckSpec(name, asset=ASSET, partitions_def=PARTITIONS) for name in CHECKS]

    @dg.multi_asset(
        specs=[dg.AssetSpec(FIRST_ASSET), dg.AssetSpec(ASSET, deps=[FIRST_ASSET])],
        check_specs=checks,
        partitions_def=PARTITIONS,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def assets(context: dg.AssetExecutionContext) -> Iterator[Any]:
        yield dg.MaterializeResult(asset_key=FIRST_ASSET)
        if fails:
            raise dg.Failure("nothing is checked")
        yield dg.MaterializeResult(asset_key=ASSET)
        targets = latest_materializations(instance, ASSET, context.partition_keys)
        yield from told_together(
            context,
            [
                evaluation(
                    ASSET,
                    key,
                    targets,
                    CheckResult(name, name == CHECKS[0], False, f"{name} {key}", {"number": number}),
                    {},
                )
                for number, key in enumerate([*context.partition_keys, NOT_OF_THE_RUN])
                for name in CHECKS
            ],
        )
        yield from check_outputs(context)

    result = dg.materialize([assets], instance=instance, tags=RANGE, raise_on_error=False)
    assert result.success is not fails
    return result.run_id


def rows(instance: dg.DagsterInstance, table: Any, *columns: Any) -> list[RowMapping]:
    """All of a table of Dagster's, in order."""
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    with storage.index_connection() as connection:
        return list(connection.execute(select(table).order_by(*columns)).mappings())


def is_about_assets(row: RowMapping) -> bool:
    return (row["dagster_event_type"] or "").startswith("ASSET_")


def stored(instance: dg.DagsterInstance, run_id: str) -> dict[str, list[tuple[Any, ...]]]:
    """What Dagster's tables say of events, checks and assets, but for ids and times, which differ from run to run."""
    about_assets = (row for row in rows(instance, SqlEventLogStorageTable, "id") if is_about_assets(row))
    events = {row["id"]: row for row in about_assets}
    events_by_storage = {}
    for number, row in events.items():
        event = deserialize_value(row["event"], dg.EventLogEntry)
        data = event.dagster_event.event_specific_data
        about = {name: str(getattr(data, name, "")) for name in ("partition", "passed", "description", "metadata")}
        events_by_storage[number] = (
            row["dagster_event_type"],
            row["asset_key"],
            row["partition"],
            row["step_key"],
            about,
        )
    checks = rows(instance, AssetCheckExecutionsTable, "check_name", "partition")
    assets = rows(instance, AssetKeyTable, "asset_key")
    assert {row["run_id"] for row in checks} == {row["last_run_id"] for row in assets} == {run_id}
    for row in checks:
        # The row's own copy is the event of the log.
        assert row["evaluation_event"] == events[row["evaluation_event_storage_id"]]["event"]
        assert row["evaluation_event_timestamp"] == events[row["evaluation_event_storage_id"]]["timestamp"]
    return {
        "events": sorted(events_by_storage.values(), key=str),
        "checks": [
            (
                row["asset_key"],
                row["check_name"],
                row["partition"],
                row["execution_status"],
                events_by_storage[row["evaluation_event_storage_id"]][:3],
                events_by_storage.get(row["materialization_event_storage_id"], (None,))[:3],
            )
            for row in checks
        ],
        "assets": [(row["asset_key"], row["last_materialization"] is None) for row in assets],
    }


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_stored_together_is_what_dagster_stores_one_by_one(
    ours: dg.DagsterInstance, postgres_server: str, tmp_path: Path, fails: bool
) -> None:
    mine = stored(ours, run(ours, fails=fails))
    with instance_on(DAGSTERS_OWN, postgres_server, tmp_path / "own") as instance:
        own = stored(instance, run(instance, fails=fails))
    for table in mine:
        assert own[table] == mine[table]
    statuses = {(check, partition): status for _, check, partition, status, *_ in mine["checks"]}
    keys = [*"bcde"] if fails else [*"bcdef"]
    outcome = {"goes_well": "PLANNED" if fails else "SUCCEEDED", "goes_badly": "PLANNED" if fails else "FAILED"}
    assert statuses == {(check, key): outcome[check] for check in CHECKS for key in keys}


def test_what_cannot_be_stored_together_is_stored_one_by_one_and_nothing_of_it_twice(
    ours: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stored(ours, run(ours))

    def fail(*_: object) -> None:
        raise RuntimeError("after the events were inserted")

    for step in ("_evaluate_checks", "_plan_checks"):
        monkeypatch.setattr(BatchingEventLogStorage, step, fail)
    ours.wipe()
    assert stored(ours, run(ours)) == whole


def report(instance: dg.DagsterInstance, partition: str, passed: bool) -> None:
    """What somebody says of a check without a run, as Dagster's API takes it: of no materialization."""
    result = dg.AssetCheckEvaluation(asset_key=ASSET, check_name=CHECKS[0], passed=passed, partition=partition)
    instance.report_runless_asset_event(result)


def states(instance: dg.DagsterInstance, check: str) -> dict[str | None, tuple[str, bool]]:
    """By partition, the latest result of a check and whether Dagster takes it for one of what is there now."""
    infos = instance.event_log_storage.get_asset_check_partition_info([dg.AssetCheckKey(ASSET, check)])
    return {info.partition_key: (info.latest_execution_status.value, info.is_current) for info in infos}


def test_of_what_is_reported_without_a_run_the_latest_counts_whatever_came_between(ours: dg.DagsterInstance) -> None:
    run(ours)
    for passed in (False, True, False):
        report(ours, "b", passed)
        assert states(ours, CHECKS[0])["b"] == ("SUCCEEDED" if passed else "FAILED", True)
    assert states(ours, CHECKS[0])["c"] == ("SUCCEEDED", True)
    run(ours)
    assert states(ours, CHECKS[0])["b"] == ("SUCCEEDED", True)
    report(ours, "b", False)
    assert states(ours, CHECKS[0])["b"] == ("FAILED", True)
    ours.report_runless_asset_event(dg.AssetMaterialization(ASSET, partition="b"))
    assert states(ours, CHECKS[0])["b"] == ("FAILED", False)
    report(ours, "b", True)
    assert states(ours, CHECKS[0])["b"] == ("SUCCEEDED", True)
    events = ours.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(ASSET, CHECKS[0]), limit=50)
    assert len([event for event in events if event.run_id == ""]) == 1


def test_dagsters_own_storage_takes_one_report_without_a_run(postgres_server: str, tmp_path: Path) -> None:
    with instance_on(DAGSTERS_OWN, postgres_server, tmp_path / "own") as instance:
        report(instance, "b", True)
        with pytest.raises(IntegrityError):
            report(instance, "b", False)


def backends(instance: dg.DagsterInstance) -> set[int]:
    """The processes of Postgres that serve this database, but for the one that is asked."""
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        rows = connection.execute(
            text("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        )
        return {*rows.scalars()}


def own_backend(instance: dg.DagsterInstance) -> int:
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def test_connections_are_kept_and_few(ours: dg.DagsterInstance) -> None:
    backend = own_backend(ours)
    run(ours)
    assert len(backends(ours)) < CONNECTIONS_KEPT
    assert own_backend(ours) in {backend, *backends(ours)}


def test_a_connection_that_postgres_has_closed_is_replaced(ours: dg.DagsterInstance) -> None:
    with ours.run_storage.connect() as connection:  # type: ignore[attr-defined]
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": own_backend(ours)})
    assert ours.get_runs() == []


def test_who_is_done_with_an_instance_closes_its_connections(ours: dg.DagsterInstance, postgres_server: str) -> None:
    database = ours.event_log_storage.postgres_url.rpartition("/")[2].partition("?")[0]  # type: ignore[attr-defined]
    run(ours)
    ours.dispose()
    eventually(lambda: not served(postgres_server, database), 10)


def served(server: str, database: str) -> bool:
    with psycopg.connect(server) as connection:
        sessions = connection.execute("SELECT 1 FROM pg_stat_activity WHERE datname = %s", [database])
        return sessions.fetchone() is not None


def test_a_forked_process_has_connections_of_its_own(ours: dg.DagsterInstance) -> None:
    before = own_backend(ours)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(own_backend(ours)).encode())
            ours.dispose()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        its_own = int(pipe.read())
    assert its_own != before
    assert own_backend(ours) == before
