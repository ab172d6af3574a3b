"""The last net: whatever goes wrong in one source_scope's scan is that source_scope's failure, and nobody else's."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from ledger_pipeline.core.errors import ConfigurationError, ScanBroken, SourceError, StoreError, StoreUnavailable
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.pipeline.report import SourceScopeReport

MESSAGE_CHARACTERS = 300


@contextmanager
def contained(source: str, source_scope: str) -> Iterator[None]:
    """Turns every exception inside into a SourceError of the source_scope.

    Two pass as they are, for they are nobody's alone: StoreUnavailable and ConfigurationError. So does what is no
    Exception: an interruption, or a stop.
    """
    try:
        yield
    except (SourceError, StoreUnavailable, ConfigurationError):
        raise
    except StoreError as error:
        raise ScanBroken(source, source_scope, plain_message(str(error), MESSAGE_CHARACTERS)) from error
    except Exception as error:  # noqa: BLE001 (the last net: its purpose is to let nothing through)
        # Its text may hold anything, a secret too: what it is and where it was raised is enough to find it by.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
        problem = f"an error of this program, {type(error).__name__} at {where}: report it; nothing is lost"
        raise ScanBroken(source, source_scope, problem) from None


@contextmanager
def failing_alone(scope_report: SourceScopeReport) -> Iterator[None]:
    """Turns every exception inside into the failure of `scope_report`, but for those that `contained` lets pass."""
    try:
        with contained(scope_report.source, scope_report.source_scope):
            yield
    except SourceError as error:
        scope_report.fail(error)
