"""Domain errors -> Dagster failures that know whether a retry can help. Nothing else is caught."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from ledger_pipeline.core.errors import CollectionFailed, LedgerError


@contextmanager
def domain_failures() -> Iterator[None]:
    """Turns a LedgerError into a Failure with its one-line message; anything else is a bug and passes."""
    try:
        yield
    except CollectionFailed as error:
        raise dg.Failure(
            description=str(error),
            metadata={f"failed {failure.source_scope}": failure.problem for failure in error.failures},
            allow_retries=error.worth_retrying,
        ) from error
    except LedgerError as error:
        raise dg.Failure(description=str(error), allow_retries=error.retryable) from error
