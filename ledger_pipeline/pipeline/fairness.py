"""Several long tasks side by side, none of which can starve the others: whoever did least goes next."""

import heapq
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from ledger_pipeline.sources.stopping import StopSignal

# An interrupted caller waits this long for steps to end by themselves: time to commit a page, not to receive one.
STOP_GRACE_SECONDS = 0.5


class Task(Protocol):
    """Something done in steps, by one thread at a time though not always the same."""

    steps_done: int

    def step(self) -> bool:
        """Do the next step; whether there is more to do."""
        ...


def run_fairly(tasks: Sequence[Task], concurrency: int, stop: StopSignal | None = None) -> None:
    """Run every task to its end, at most `concurrency` at once, the one with the fewest steps done first.

    The first exception of a step stops the others after the step they are in, and is raised. Where the caller itself
    is interrupted (Ctrl-C, Dagster's termination), `stop` is told and the interruption goes on after
    STOP_GRACE_SECONDS at most, whatever a step still waits for. Raises Stopped where `stop` is told by somebody else.
    """
    threads = min(concurrency, len(tasks))
    if threads == 0:
        return
    stop = stop or StopSignal()
    queue = _Queue(tasks, stop)
    if threads == 1:
        try:
            queue.work()
        except BaseException:
            stop.tell()
            raise
        return
    workers = [
        # Daemons, so that a request that nobody waits for any more does not keep the process from ending.
        threading.Thread(target=queue.work_aside, name=f"collect-{number}", daemon=True)
        for number in range(threads)
    ]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    except BaseException:
        stop.tell()
        queue.stop()
        deadline = time.monotonic() + STOP_GRACE_SECONDS
        for worker in workers:
            if worker.is_alive():  # the interruption may have come before all were started
                worker.join(max(0.0, deadline - time.monotonic()))
        raise
    queue.raise_failure()


class _Queue:
    """Tasks that wait for a thread, fewest steps first; in order of arrival where they are even."""

    def __init__(self, tasks: Sequence[Task], stop: StopSignal) -> None:
        self._stop_signal = stop
        self._changed = threading.Condition()
        self._waiting = [(task.steps_done, number, task) for number, task in enumerate(tasks)]
        heapq.heapify(self._waiting)
        self._running = 0
        self._stopped = False
        self._failure: BaseException | None = None

    def work(self) -> None:
        """Take steps until nothing is left to do, or somebody failed."""
        while (taken := self._take()) is not None:
            number, task = taken
            try:
                self._stop_signal.check()
                more = task.step()
            except BaseException as error:
                self.stop(error)
                raise
            with self._changed:
                self._running -= 1
                if more:
                    heapq.heappush(self._waiting, (task.steps_done, number, task))
                self._changed.notify_all()

    def work_aside(self) -> None:
        """Work as `work` does, in a thread of its own: what fails is kept for `raise_failure`."""
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001 (raised by whoever waits for this thread)
            self.stop(error)

    def stop(self, failure: BaseException | None = None) -> None:
        """Let no thread take another step; the first failure is the one that counts."""
        with self._changed:
            self._stopped = True
            self._failure = self._failure or failure
            self._changed.notify_all()

    def raise_failure(self) -> None:
        """Raise the first failure, if any."""
        if self._failure is not None:
            raise self._failure

    def _take(self) -> tuple[int, Task] | None:
        with self._changed:
            while not self._waiting and self._running and not self._stopped:
                self._changed.wait()
            if self._stopped or not self._waiting:
                return None
            _, number, task = heapq.heappop(self._waiting)
            self._running += 1
            return number, task
