"""What goes wrong in a step, as a failure to Dagster: one clear message first, and whether a retry can help.

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
from ledger_pipeline.core.plain_text import plain_message, plain_text
from ledger_pipeline.dagster_contract import RETRY_AFTER_SECONDS, RETRYABLE
from ledger_pipeline.defs import plain_metadata as plain
from ledger_pipeline.defs.metadata import Metadata


class Failed(dg.Failure):
    """The failure of a step, as its page shows it: this word, the message, and after it the trace."""

    # Else the full name of Dagster's own class would come first, which tells nobody anything.
    __module__ = "builtins"


@contextmanager
def domain_failures() -> Iterator[None]:
    """Turns a LedgerError into Failed with its one-line message, and what is a bug into one that says where it is.

    Either is without a secret. An interruption passes, and so does what is a failure to Dagster already.
    """
    try:
        yield
    except CollectionFailed as error:
        failed = {f"failed {failure.source_scope}": failure.problem for failure in error.failures}
        raise _failure(error, error.worth_retrying, failed, error.retry_after_seconds) from _without_secrets(error)
    except LedgerError as error:
        raise _failure(error, error.retryable, {}) from _without_secrets(error)
    except dg.Failure:
        raise
    except Exception as error:  # noqa: BLE001 (a bug, whatever it is: it fails the step)
        cause = _without_secrets(error)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
        says = str(error) if cause else "what it says is left out, for it shows a secret"
        raise Failed(plain_message(f"{type(error).__name__} at {where}: {says}")) from cause


def _without_secrets(error: Exception) -> Exception | None:
    """The error as the cause of another; None where its text or one of its own causes shows a secret."""
    shown = "".join(traceback.format_exception(error))
    return error if without_secrets(shown) == shown else None


def _failure(
    error: LedgerError, retryable: bool, details: dict[str, str], retry_after_seconds: float | None = None
) -> Failed:
    # Dagster heeds `allow_retries` but does not store it; the metadata says it to people and to clients.
    shown = {plain_text(name): plain.text(problem) for name, problem in details.items()}
    when = {} if retry_after_seconds is None else {RETRY_AFTER_SECONDS: ceil(retry_after_seconds)}
    metadata: Metadata = {RETRYABLE: retryable, **when, **shown}
    return Failed(plain_message(str(error)), metadata=metadata, allow_retries=retryable)
