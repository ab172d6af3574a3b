"""Threads for what blocks: few for each kind of work, so that neither many callers nor slow ones take another kind's.

The activities themselves are coroutines. One that waits, for a Dagster run or for its turn here, holds no thread.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

_T = TypeVar("_T")


class Threads:
    """At most `size` threads called `name`; calls beyond wait for their turn, in order."""

    def __init__(self, name: str, size: int) -> None:
        self.size = size
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=name)

    async def run(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """What `function` gives. Canceled, it waits no more for a call under way; one that waits is never made."""
        return await asyncio.wrap_future(self._submit(function, *arguments))

    async def run_to_end(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """As `run`, but a cancellation waits for a call under way, whatever comes of it, before it goes on."""
        call = self._submit(function, *arguments)
        answer = asyncio.wrap_future(call)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            if not call.cancel():
                await asyncio.wait({answer})
            raise

    def close(self) -> None:
        """Take no more calls, and forget those that wait. A call under way goes on."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _submit(self, function: Callable[..., _T], *arguments: Any) -> Future[_T]:
        return self._executor.submit(copy_context().run, function, *arguments)


class WorkerThreads:
    """The threads of one worker.

    `ledger` are for short reads and writes, `reading` for `collectFromSource`, `settling` for `finalizeEpoch`,
    `watching` ask Dagster of runs that are waited for, `canceling` have it cancel runs.
    """

    def __init__(self) -> None:
        self.ledger = Threads("ledger", 8)
        self.reading = Threads("reading", 8)
        self.settling = Threads("settling", 4)
        self.watching = Threads("watching", 8)
        self.canceling = Threads("canceling", 4)

    @property
    def with_connections(self) -> int:
        """How many of them may ask the database at once."""
        return self.ledger.size + self.reading.size + self.settling.size

    def close(self) -> None:
        """Close all of them, as `Threads.close` does."""
        for threads in (self.ledger, self.reading, self.settling, self.watching, self.canceling):
            threads.close()
