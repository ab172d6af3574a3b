"""Domain errors -> Dagster failures that know whether a retry can help. Nothing else is caught."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from ledger_pipeline.core.errors import CollectionFailed, LedgerError
from ledger_pipeline.core.partition_runs import RETRYABLE


@contextmanager
def domain_failures() -> Iterator[None]:
    """Turns a LedgerError into a Failure with its one-line message; anything else is a bug and passes."""
    try:
        yield
    except CollectionFailed as error:
        failed = {f"failed {failure.source_scope}": failure.problem for failure in error.failures}
        raise _failure(error, error.worth_retrying, failed) from error
    except LedgerError as error:
        raise _failure(error, error.retryable, {}) from error


def _failure(error: LedgerError, retryable: bool, details: dict[str, str]) -> dg.Failure:
    # Dagster heeds `allow_retries` but does not store it; the metadata says it to people and to clients.
    return dg.Failure(str(error), metadata={RETRYABLE: retryable, **details}, allow_retries=retryable)
