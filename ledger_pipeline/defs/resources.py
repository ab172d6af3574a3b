"""Thin shells that hand out ports: settings, ledger, sources, clock. Nothing is opened before somebody asks.

None of them is Dagster's configurable resource: whoever may launch a run must not decide whose ledger it writes, which
repositories it reads, or who may sign.

SQLAlchemy, Alembic and PyGithub are imported when something is opened: loading the definitions takes half the time.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import dagster as dg

from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.settings import Settings, read_settings
from ledger_pipeline.sources.port import ActivitySource
from ledger_pipeline.sources.registry import open_source
from ledger_pipeline.sources.stopping import StopSignal

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

_logger = logging.getLogger(__name__)


class Clock(Protocol):
    """What says whether an epoch has begun, or is over."""

    def now(self) -> datetime:
        """This moment, aware."""
        ...


class SystemClock:
    """The machine's clock, in UTC."""

    def now(self) -> datetime:
        """This moment, in UTC."""
        return datetime.now(UTC)


def fixed(resource: object) -> dg.ResourceDefinition:
    """The resource as it is. A run config that says anything of it is refused."""
    return dg.ResourceDefinition(lambda _: resource, config_schema={})


@dataclass(frozen=True)
class SettingsResource:
    """The environment's settings; `overrides` by field name take precedence, for tests that build definitions."""

    overrides: Mapping[str, Any] = field(default_factory=dict)

    def read(self) -> Settings:
        """The settings as they are now. Raises SettingsError."""
        return read_settings(self.overrides)

    def repo_spec(self) -> RepoSpec:
        """The repo-spec they point at. Raises SpecError or SettingsError."""
        return self.read().repo_spec()


@dataclass(frozen=True)
class LedgerResource:
    """The ledger in DATABASE_URL, for the node of the repo-spec."""

    settings: SettingsResource

    @contextmanager
    def open(self) -> "Iterator[PostgresLedger]":
        """The ledger. Raises SettingsError, StoreUnavailable, or LedgerNotMigrated where it is behind this code."""
        from ledger_pipeline.store.postgres import open_ledger

        settings = self.settings.read()
        with open_ledger(settings.ledger_url(), settings.repo_spec().node_id, settings.database_limits) as ledger:
            yield ledger

    def ledger_id(self) -> str | None:
        """Which ledger it is. None where no database is set or its server does not tell, or where it does not answer.

        Raises SettingsError, and ConfigurationError for a bad URL.
        """
        settings = self.settings.read()
        if settings.database_url is None:
            return None
        from ledger_pipeline.store.ledger_identity import ledger_id_at

        try:
            return ledger_id_at(settings.ledger_url(), settings.database_limits)
        except StoreError as error:
            _logger.warning("until this is loaded again nobody can ask which ledger it writes: %s", error)
            return None


@dataclass(frozen=True)
class SourcesResource:
    """The sources that activity is collected from, each by its name."""

    settings: SettingsResource

    @contextmanager
    def open(self, name: str, stop: StopSignal | None = None) -> Iterator[ActivitySource]:
        """The source called `name` as the environment's settings say, asked nothing any more once `stop` is told.

        Raises ConfigurationError where there is none, SettingsError where the settings do not suffice to open it.
        """
        with open_source(self.settings.read(), name, stop=stop) as source:
            yield source
