"""Domain errors -> Temporal's application failures that know whether a retry can help. Nothing else is caught.

The cause is left out: Temporal would send it along, with whatever a library put into its message.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.exceptions import ApplicationError

from ledger_pipeline.core.errors import CollectionFailed, LedgerError, PayloadError
from ledger_pipeline.temporal_bridge.contract import BAD_PAYLOAD


def application_error(error: LedgerError) -> ApplicationError:
    """The failure that says what `error` says: its line, its class as the type, and whether to retry.

    A PayloadError has the type BAD_PAYLOAD, which callers in other languages know.
    """
    kind = BAD_PAYLOAD if isinstance(error, PayloadError) else type(error).__name__
    retryable = error.worth_retrying if isinstance(error, CollectionFailed) else error.retryable
    return ApplicationError(str(error), type=kind, non_retryable=not retryable)


@contextmanager
def domain_failures() -> Iterator[None]:
    """Turns a LedgerError into an ApplicationError; anything else is a bug and passes."""
    try:
        yield
    except LedgerError as error:
        raise application_error(error) from None
