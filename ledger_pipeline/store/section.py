"""What every part of the ledger past collection has in common: one database, one node, one transaction a verb."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import Connection, Engine

from ledger_pipeline.store.database_errors import translated
from ledger_pipeline.store.records import Epoch


class LedgerSection:
    """Verbs of one topic on the database behind `engine`, for one node. Safe to share between threads."""

    def __init__(self, engine: Engine, node_id: UUID) -> None:
        self.node_id = node_id
        self._engine = engine

    def _of(self, epoch: Epoch) -> dict[str, object]:
        """The parameters that every statement about `epoch` has."""
        return {"node_id": self.node_id, "epoch_id": epoch.id}

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back on any error. Raises StoreError or StoreUnavailable."""
        with translated(self._engine), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        """Reads that all see the ledger as it is at the first of them."""
        with translated(self._engine), self._engine.connect() as connection:
            yield connection.execution_options(isolation_level="REPEATABLE READ")
