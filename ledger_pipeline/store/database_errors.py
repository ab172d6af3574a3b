"""What a database error means to us: worth retrying, ingestion closed, or plainly refused. Never shows a secret."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ledger_pipeline.core.errors import IngestionClosed, StoreError, StoreUnavailable
from ledger_pipeline.store.engine import describe

INGESTION_CLOSED = "LP001"  # raised by the triggers on activity_events and event_facts

# By SQLSTATE: the limit that the server kept, and what it is set by.
_LIMITS = {
    "57014": "DATABASE_STATEMENT_SECONDS limits how long a statement may take",
    "55P03": "DATABASE_LOCK_SECONDS limits how long a lock is waited for",
    "25P03": "DATABASE_IDLE_IN_TRANSACTION_SECONDS limits how long a transaction may do nothing",
}


# What a column's rule says, by the end of its name.
_RULES = {
    "_length_check": "the text is longer than the ledger keeps: say it shorter",
    "_json_check": "the JSON is too long or too deep, or a number in it is not whole (in quotes it may be any)",
    "_sign_check": "the number is negative",
    "_instant_check": "the instant is not between 1970 and 2999",
}


@contextmanager
def translated(engine: Engine) -> Iterator[None]:
    """Turn what the driver or SQLAlchemy raises inside into a StoreError naming host and database."""
    where = describe(engine.url)
    try:
        yield
    except PoolTimeout as error:
        raise StoreUnavailable(
            f"{where}: every connection of the pool is busy; DATABASE_POOL_SIZE limits how many there are"
        ) from error
    except DBAPIError as error:
        raise _meaning(error.orig, where) from error
    except psycopg.Error as error:  # COPY speaks to the driver itself
        raise _meaning(error, where) from error


def _meaning(error: BaseException | None, where: str) -> StoreError:
    problem = f"{where}: {str(error).strip().splitlines()[0]}"
    if getattr(error, "sqlstate", None) == INGESTION_CLOSED:
        return IngestionClosed(problem)
    rule = _broken_rule(error)
    if rule is not None:
        return StoreError(f"{where}: {rule}")
    limit = _LIMITS.get(getattr(error, "sqlstate", None) or "")
    if limit is not None:
        return StoreUnavailable(f"{problem}; {limit}")
    # Deadlocks, timeouts and serialization failures are operational too: the same call may succeed later.
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return StoreUnavailable(problem)
    return StoreError(problem)


def _broken_rule(error: BaseException | None) -> str | None:
    """A rule of one column that was broken, with the column; None for anything else."""
    if not isinstance(error, psycopg.errors.CheckViolation):
        return None
    table, name = error.diag.table_name, error.diag.constraint_name or ""
    for ending, rule in _RULES.items():
        if name.endswith(ending):
            return f"{table}.{name.removeprefix(f'{table}_').removesuffix(ending)} is refused: {rule}"
    return None
