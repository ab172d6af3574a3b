"""Domain errors -> Dagster failures that know whether a retry can help. Anything else is a bug, and passes.

Dagster stores an exception with its traceback and its causes, which nobody has looked through: one that shows a
secret is replaced.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil

import dagster as dg

from ledger_pipeline.core.errors import CollectionFailed, LedgerError
from ledger_pipeline.core.known_secrets import without_secrets
from ledger_pipeline.core.partition_runs import RETRY_AFTER_SECONDS, RETRYABLE
from ledger_pipeline.core.plain_text import plain_message, plain_text
from ledger_pipeline.defs import plain_metadata as plain
from ledger_pipeline.defs.metadata import Metadata


@contextmanager
def domain_failures() -> Iterator[None]:
    """Turns a LedgerError into a Failure with its one-line message; what is a bug passes, without a secret."""
    try:
        yield
    except CollectionFailed as error:
        failed = {f"failed {failure.source_scope}": failure.problem for failure in error.failures}
        raise _failure(error, error.worth_retrying, failed, error.retry_after_seconds) from _without_secrets(error)
    except LedgerError as error:
        raise _failure(error, error.retryable, {}) from _without_secrets(error)
    except Exception as error:
        if _without_secrets(error) is None:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
            problem = f"{type(error).__name__} at {where}; what it says is left out, for it shows a secret"
            raise RuntimeError(problem) from None
        raise


def _without_secrets(error: Exception) -> Exception | None:
    """The error as the cause of another; None where its text or one of its own causes shows a secret."""
    shown = "".join(traceback.format_exception(error))
    return error if without_secrets(shown) == shown else None


def _failure(
    error: LedgerError, retryable: bool, details: dict[str, str], retry_after_seconds: float | None = None
) -> dg.Failure:
    # Dagster heeds `allow_retries` but does not store it; the metadata says it to people and to clients.
    shown = {plain_text(name): plain.text(problem) for name, problem in details.items()}
    when = {} if retry_after_seconds is None else {RETRY_AFTER_SECONDS: ceil(retry_after_seconds)}
    metadata: Metadata = {RETRYABLE: retryable, **when, **shown}
    return dg.Failure(plain_message(str(error)), metadata=metadata, allow_retries=retryable)
