"""Dagster's own in-memory storage for the instance of a test: a file for each run, synced at each event, is dear."""

from typing import Any, Self

from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log import InMemoryEventLogStorage
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.runs import InMemoryRunStorage
from dagster._core.storage.runs.base import RunStorage
from dagster._core.storage.schedules.base import ScheduleStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData


class MemoryStorage(DagsterStorage, ConfigurableClass):
    """Runs and events in memory, in the tables that Dagster keeps in Postgres; schedules in a file of `folder`."""

    def __init__(self, folder: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        self._runs = InMemoryRunStorage()
        self._events = InMemoryEventLogStorage()
        self._schedules = SqliteScheduleStorage.from_local(folder)
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {"folder": str}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        return cls(config_value["folder"], inst_data)

    @property
    def run_storage(self) -> RunStorage:
        return self._runs

    @property
    def event_log_storage(self) -> EventLogStorage:
        return self._events

    @property
    def schedule_storage(self) -> ScheduleStorage:
        return self._schedules

    @property
    def event_storage_data(self) -> ConfigurableClassData | None:
        return None

    @property
    def run_storage_data(self) -> ConfigurableClassData | None:
        return None

    @property
    def schedule_storage_data(self) -> ConfigurableClassData | None:
        return None
