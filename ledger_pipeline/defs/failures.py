"""Domain errors -> Dagster failures that know whether a retry can help. Nothing else is caught."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from ledger_pipeline.core.errors import CollectionFailed, LedgerError
from ledger_pipeline.core.partition_runs import RETRYABLE
from ledger_pipeline.core.plain_text import plain_message, plain_text
from ledger_pipeline.defs import plain_metadata as plain


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
    shown = {plain_text(name): plain.text(problem) for name, problem in details.items()}
    return dg.Failure(plain_message(str(error)), metadata={RETRYABLE: retryable, **shown}, allow_retries=retryable)
