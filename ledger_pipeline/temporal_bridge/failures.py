"""Domain errors -> Temporal's application failures that know whether a retry can help. Nothing else is caught.

The cause is left out: Temporal would send it along, with whatever a library put into its message.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio.api.failure.v1 import Failure
from temporalio.converter import DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError

from ledger_pipeline.core.errors import CollectionFailed, LedgerError, PayloadError, SourceUnavailable
from ledger_pipeline.core.known_secrets import without_secrets
from ledger_pipeline.temporal_bridge.contract import BAD_PAYLOAD


class FailuresWithoutSecrets(DefaultFailureConverter):
    """What Temporal stores of an exception, one of our bugs too, shows no secret that is known."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Fill `failure` as the default does, its texts and those of its causes without secrets."""
        super().to_failure(exception, payload_converter, failure)
        described = failure
        while True:
            described.message = without_secrets(described.message)
            described.stack_trace = without_secrets(described.stack_trace)
            if not described.HasField("cause"):
                return
            described = described.cause


def application_error(error: LedgerError) -> ApplicationError:
    """The failure that says what `error` says: its line, its class as the type, whether to retry, and when.

    A PayloadError has the type BAD_PAYLOAD, which callers in other languages know.
    """
    kind = BAD_PAYLOAD if isinstance(error, PayloadError) else type(error).__name__
    retryable = error.worth_retrying if isinstance(error, CollectionFailed) else error.retryable
    seconds = error.retry_after_seconds if isinstance(error, CollectionFailed | SourceUnavailable) else None
    delay = None if seconds is None else timedelta(seconds=seconds)
    return ApplicationError(str(error), type=kind, non_retryable=not retryable, next_retry_delay=delay)


@contextmanager
def domain_failures() -> Iterator[None]:
    """Turns a LedgerError into an ApplicationError; anything else is a bug and passes."""
    try:
        yield
    except LedgerError as error:
        raise application_error(error) from None
