"""Thin shells that hand out ports: settings, the ledger, the source. Nothing is opened before an asset asks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.settings import Settings, read_settings
from ledger_pipeline.sources.github.source import GitHubSource, open_github
from ledger_pipeline.store.postgres import PostgresLedger, open_ledger


class SettingsResource(dg.ConfigurableResource[Any]):
    """The environment's settings; `overrides` by field name take precedence, for tests and only without secrets."""

    overrides: dict[str, Any] = {}  # noqa: RUF012 (a pydantic field, copied per instance)

    def read(self) -> Settings:
        """The settings as they are now. Raises SettingsError."""
        return read_settings(self.overrides)

    def repo_spec(self) -> RepoSpec:
        """The repo-spec they point at. Raises SpecError or SettingsError."""
        return self.read().repo_spec()


class LedgerResource(dg.ConfigurableResource[Any]):
    """The ledger in DATABASE_URL, for the node of the repo-spec."""

    settings: SettingsResource

    @contextmanager
    def open(self) -> Iterator[PostgresLedger]:
        """The ledger. Raises SettingsError, StoreUnavailable, or LedgerNotMigrated where it is behind this code."""
        settings = self.settings.read()
        with open_ledger(settings.ledger_url(), settings.repo_spec().node_id) as ledger:
            yield ledger


class GitHubResource(dg.ConfigurableResource[Any]):
    """GitHub at GITHUB_API_URL, with the credentials of the environment."""

    settings: SettingsResource

    @contextmanager
    def open(self) -> Iterator[GitHubSource]:
        """GitHub as a source. Raises SettingsError without credentials, or with contradictory ones."""
        with open_github(self.settings.read()) as source:
            yield source
