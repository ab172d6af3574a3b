"""What every section of the ledger has in common: one database, one node, one transaction a verb."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection, Engine

from ledger_pipeline.core.errors import IngestionClosed
from ledger_pipeline.store.database_errors import translated
from ledger_pipeline.store.records import Epoch

_T = TypeVar("_T")


class LedgerSection:
    """Verbs of one topic on the database behind `engine`, for one node. Safe to share between threads."""

    def __init__(self, engine: Engine, node_id: UUID) -> None:
        self.node_id = node_id
        self._engine = engine

    def _scope(self, scope_id: UUID) -> dict[str, object]:
        """The parameters that every statement about a scope has."""
        return {"node_id": self.node_id, "scope_id": scope_id}

    def _of(self, epoch: Epoch) -> dict[str, object]:
        """The parameters that every statement about `epoch` has."""
        return {"node_id": self.node_id, "epoch_id": epoch.id}

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back on any error. Raises StoreError or StoreUnavailable."""
        with translated(self._engine), self._engine.begin() as connection:
            yield connection

    def _storing_events(self, write: Callable[[Connection], _T]) -> _T:
        """What `write`, which stores events, gives in one transaction."""
        try:
            with self._transaction() as connection:
                return write(connection)
        except IngestionClosed:
            # An epoch closed after we had looked. Now it is closed for good, and its events are late.
            with self._transaction() as connection:
                return write(connection)

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        """Reads that all see the ledger as it is at the first of them."""
        with translated(self._engine), self._engine.connect() as connection:
            yield connection.execution_options(isolation_level="REPEATABLE READ")
