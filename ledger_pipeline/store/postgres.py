"""The ledger in Postgres, section by section. Every verb is one transaction: all of it is stored or none."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import Engine

from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.store import migrations
from ledger_pipeline.store.allocations import Allocations
from ledger_pipeline.store.curation import Curation
from ledger_pipeline.store.database_errors import translated
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.epochs import Epochs
from ledger_pipeline.store.events import Events
from ledger_pipeline.store.facts import Facts
from ledger_pipeline.store.identities import Identities
from ledger_pipeline.store.pool import Pool
from ledger_pipeline.store.scans import Scans
from ledger_pipeline.store.statements import Statements
from ledger_pipeline.store.unread import Unread


@contextmanager
def open_ledger(url: str, node_id: UUID, limits: DatabaseLimits | None = None) -> Iterator["PostgresLedger"]:
    """The ledger in the database at `url`, checked to be migrated; its connections are given back at the end.

    They keep to `limits`, DatabaseLimits() where none are given.

    Raises ConfigurationError for a bad URL, StoreUnavailable, or LedgerNotMigrated.
    """
    engine = make_engine(url, limits=limits)
    try:
        ledger = PostgresLedger(engine, node_id)
        ledger.check_migrated()
        yield ledger
    finally:
        engine.dispose()


class PostgresLedger:
    """The ledger of one node in the database behind `engine`, made by `store/engine.py`. Safe to share between threads.

    Its verbs are in sections by topic; scopes are arguments. All raise StoreUnavailable when the database is down.
    """

    def __init__(self, engine: Engine, node_id: UUID) -> None:
        self.node_id = node_id
        self._engine = engine
        self.epochs = Epochs(engine, node_id)
        self.events = Events(engine, node_id)
        self.facts = Facts(engine, node_id)
        self.scans = Scans(engine, node_id)
        self.unread = Unread(engine, node_id)
        self.identities = Identities(engine, node_id)
        self.curation = Curation(engine, node_id)
        self.allocations = Allocations(engine, node_id)
        self.pool = Pool(engine, node_id)
        self.statements = Statements(engine, node_id)

    def check_migrated(self) -> None:
        """Return if the database is at this code's migration. Raises LedgerNotMigrated otherwise."""
        with translated(self._engine):
            at = migrations.current_of(self._engine)
        if at != migrations.head():
            raise migrations.not_migrated(self._engine, at)
