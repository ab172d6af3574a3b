"""A psycopg connection that waits for no answer for ever.

The server ends a statement that takes too long, and says so. A server that says nothing any more, behind a proxy or a
firewall that keeps the connection open, is noticed by nobody but who waits for the answer.
"""

from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen

Answer = TypeVar("Answer")


class BoundedConnection(psycopg.Connection[Any]):
    """Gives up, and closes itself, where one answer takes longer than `answer_seconds`; None waits for ever."""

    answer_seconds: float | None = None

    def wait(self, gen: PQGen[Answer], interval: float = 0.1, timeout: float | None = None) -> Answer:
        """The answer that `gen` waits for. Raises OperationalError where it does not come in time."""
        limits = [seconds for seconds in (timeout, self.answer_seconds) if seconds is not None]
        try:
            return super().wait(gen, interval, min(limits, default=None))
        except errors._WaitTimeout:
            # What state the session is in is unknown; whoever uses it next must get a new one.
            self.pgconn.finish()
            raise psycopg.OperationalError(
                f"the database has given no answer for {min(limits):g} s: the connection is given up"
            ) from None
