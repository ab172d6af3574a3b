"""Dagster's own storage in Postgres with connections that are kept, and a range's events stored together.

Dagster's opens a connection for each call, and stores what a run plans and each result of a check by itself: for a
range of a hundred epochs that is most of the time its run takes. The tables, and what stands in them, are Dagster's.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Self
from weakref import WeakSet

import sqlalchemy as db
from dagster import DagsterEventType, EventLogEntry, serialize_value

# Dagster has no public interface for a storage of one's own: these are its tables, and what its own storage is made of.
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from dagster_postgres.utils import create_pg_engine, get_token_provider_from_config, pg_url_from_config
from sqlalchemy.dialects import postgresql

# As many are kept open by a process. More are opened while threads need them, but never so many that one process takes
# all that Postgres gives to everybody (100, unless it is told otherwise).
CONNECTIONS_KEPT = 2
CONNECTIONS_AT_MOST = 32
# Older ones are replaced when they are asked for next: a firewall may have forgotten them.
RECYCLE_SECONDS = 300

_STORED_TOGETHER = frozenset(
    {
        DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
        DagsterEventType.ASSET_CHECK_EVALUATION,
    }
)
_ENGINES: WeakSet[db.Engine] = WeakSet()


class PooledPostgresStorage(DagsterPostgresStorage):
    """Named in dagster.yaml as `storage: custom`, with the same configuration as Dagster's own `storage: postgres`."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
        token_provider: Any = None,
    ) -> None:
        super().__init__(postgres_url, should_autocreate_tables, inst_data, token_provider)
        # The tables are there by now.
        self._event_log_storage = BatchingEventLogStorage(postgres_url, False, token_provider=token_provider)
        engine = create_pg_engine(
            postgres_url,
            token_provider,
            isolation_level="AUTOCOMMIT",
            pool_size=CONNECTIONS_KEPT,
            max_overflow=CONNECTIONS_AT_MOST - CONNECTIONS_KEPT,
            pool_pre_ping=True,
            pool_recycle=RECYCLE_SECONDS,
        )
        _ENGINES.add(engine)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = engine

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Make the storage as Dagster does, which names its own class there."""
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )


class BatchingEventLogStorage(PostgresEventLogStorage):
    """Dagster's own event log; events that Dagster stores one by one are one transaction where they come together."""

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store all of `events`, or none of them.

        What Dagster can store together, or neither can, is left to Dagster's own.
        """
        types = {event.get_dagster_event().event_type for event in events}
        if types <= _STORED_TOGETHER and all(map(_is_of_a_partition_and_run, events)):
            self._store_together(events)
        else:
            super().store_event_batch(events)

    def dispose(self) -> None:
        """Close the connections too; whoever goes on gets new ones."""
        super().dispose()
        self._engine.dispose()

    def _store_together(self, events: Sequence[EventLogEntry]) -> None:
        with self.index_transaction() as connection:
            inserted = self.prepare_insert_event_batch(events).returning(SqlEventLogStorageTable.c.id)
            stored = list(zip(events, connection.execute(inserted).scalars(), strict=True))
            of_type = {
                kind: [pair for pair in stored if pair[0].dagster_event_type is kind] for kind in _STORED_TOGETHER
            }
            for event, event_id in of_type[DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED]:
                self._plan_checks(connection, event, event_id)
            if evaluated := of_type[DagsterEventType.ASSET_CHECK_EVALUATION]:
                self._evaluate_checks(connection, evaluated)
            # Of an asset its table of assets remembers the latest. In the order of keys, and last: two runs that plan
            # the same assets wait for each other, and never each for the other.
            planned = of_type[DagsterEventType.ASSET_MATERIALIZATION_PLANNED]
            latest = {str(event.get_dagster_event().asset_key): (event, event_id) for event, event_id in planned}
            for _, (event, event_id) in sorted(latest.items()):
                self._store_asset_event(connection, event, event_id)

    def _store_runless_asset_check_evaluation(self, event: EventLogEntry, event_id: int | None) -> None:
        """Store what somebody reports of a check without a run: it takes the place of what was reported before.

        Dagster's own storage takes one such report of a check's partition, ever: its index lets none in beside it. Nor
        does its API say which materialization a report is of. It is of the partition's latest.
        """
        if event_id is None or event.get_dagster_event().asset_check_evaluation_data.partition is None:
            super()._store_runless_asset_check_evaluation(event, event_id)
            return
        row = self._evaluation_row(event, event_id)
        log = SqlEventLogStorageTable.c
        of_partition = (log.asset_key == row["asset_key"], log.partition == row["partition"])
        is_materialization = log.dagster_event_type == DagsterEventType.ASSET_MATERIALIZATION.value
        latest = db.select(db.func.max(log.id)).where(is_materialization, *of_partition).scalar_subquery()
        row["materialization_event_storage_id"] = row["materialization_event_storage_id"] or latest
        table = AssetCheckExecutionsTable.c
        insert = postgresql.insert(AssetCheckExecutionsTable).values(row)
        # A new id too: the highest is the latest, and a run may have come between.
        replaced = {name: insert.excluded[name] for name in (table.id.name, table.create_timestamp.name, *row)}
        identity = (table.asset_key, table.check_name, table.run_id, table.partition)
        with self.index_connection() as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=identity, set_=replaced))

    def _plan_checks(self, connection: db.Connection, event: EventLogEntry, event_id: int) -> None:
        """A row for each partition that is to be checked, which the evaluation then finds."""
        planned: Any = event.get_dagster_event().event_specific_data
        row = {
            "asset_key": planned.asset_key.to_string(),
            "check_name": planned.check_name,
            "run_id": event.run_id,
            "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
            "evaluation_event": serialize_value(event),
            "evaluation_event_timestamp": self._event_insert_timestamp(event),  # type: ignore[no-untyped-call]
            "evaluation_event_storage_id": event_id,
        }
        keys = planned.partitions_subset.get_partition_keys() if planned.partitions_subset else [None]
        connection.execute(AssetCheckExecutionsTable.insert(), [{**row, "partition": key} for key in keys])

    def _evaluate_checks(self, connection: db.Connection, stored: Sequence[tuple[EventLogEntry, int]]) -> None:
        """Each planned row becomes the evaluation of its partition; what was not planned is a new row."""
        table = AssetCheckExecutionsTable.c
        columns = (
            table.asset_key,
            table.check_name,
            table.run_id,
            table.partition,
            table.execution_status,
            table.evaluation_event,
            table.evaluation_event_timestamp,
            table.evaluation_event_storage_id,
            table.materialization_event_storage_id,
        )
        identity, outcome = columns[:4], columns[4:]
        rows = [self._evaluation_row(event, event_id) for event, event_id in stored]
        given = db.values(*(db.column(column.name, column.type) for column in columns), name="given")
        given = given.data([tuple(row[column.name] for column in columns) for row in rows])
        update = (
            AssetCheckExecutionsTable.update()
            .where(*(column == given.c[column.name] for column in identity))
            # The type of a column of nothing but NULL has to be said.
            .values({column.name: db.cast(given.c[column.name], column.type) for column in outcome})
            .returning(table.evaluation_event_storage_id)
        )
        updated = set(connection.execute(update).scalars())
        unplanned = [row for row in rows if row["evaluation_event_storage_id"] not in updated]
        if unplanned:
            connection.execute(AssetCheckExecutionsTable.insert(), unplanned)

    def _evaluation_row(self, event: EventLogEntry, event_id: int) -> dict[str, Any]:
        evaluation = event.get_dagster_event().asset_check_evaluation_data
        status = AssetCheckExecutionRecordStatus
        target = evaluation.target_materialization_data
        return {
            "asset_key": evaluation.asset_key.to_string(),
            "check_name": evaluation.check_name,
            "run_id": event.run_id,
            "partition": evaluation.partition,
            "execution_status": (status.SUCCEEDED if evaluation.passed else status.FAILED).value,
            "evaluation_event": serialize_value(event),
            "evaluation_event_timestamp": self._event_insert_timestamp(event),  # type: ignore[no-untyped-call]
            "evaluation_event_storage_id": event_id,
            "materialization_event_storage_id": target.storage_id if target else None,
        }


def _is_of_a_partition_and_run(event: EventLogEntry) -> bool:
    """Whether a check's evaluation says of which partition it is, in which run: a row is found by both."""
    if event.dagster_event_type is not DagsterEventType.ASSET_CHECK_EVALUATION:
        return True
    return bool(event.run_id) and event.get_dagster_event().asset_check_evaluation_data.partition is not None


def _leave_connections_to_the_parent() -> None:
    """Forget the connections in a forked process: its parent goes on using them, so it opens its own."""
    for engine in list(_ENGINES):
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_leave_connections_to_the_parent)
