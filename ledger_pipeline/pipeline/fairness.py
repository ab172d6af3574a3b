"""Several long tasks side by side, none of which can starve the others: whoever did least goes next."""

import heapq
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol


class Task(Protocol):
    """Something done in steps, by one thread at a time though not always the same."""

    steps_done: int

    def step(self) -> bool:
        """Do the next step; whether there is more to do."""
        ...


def run_fairly(tasks: Sequence[Task], concurrency: int) -> None:
    """Run every task to its end, at most `concurrency` at once, the one with the fewest steps done first.

    The first exception of a step stops the others after the step they are in, and is raised.
    """
    threads = min(concurrency, len(tasks))
    if threads == 0:
        return
    queue = _Queue(tasks)
    if threads == 1:
        queue.work()
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="collect") as executor:
        for done in [executor.submit(queue.work) for _ in range(threads)]:
            done.result()


class _Queue:
    """Tasks that wait for a thread, fewest steps first; in order of arrival where they are even."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._changed = threading.Condition()
        self._waiting = [(task.steps_done, number, task) for number, task in enumerate(tasks)]
        heapq.heapify(self._waiting)
        self._running = 0
        self._stopped = False

    def work(self) -> None:
        """Take steps until nothing is left to do, or somebody failed."""
        while (taken := self._take()) is not None:
            number, task = taken
            try:
                more = task.step()
            except BaseException:
                with self._changed:
                    self._stopped = True
                    self._changed.notify_all()
                raise
            with self._changed:
                self._running -= 1
                if more:
                    heapq.heappush(self._waiting, (task.steps_done, number, task))
                self._changed.notify_all()

    def _take(self) -> tuple[int, Task] | None:
        with self._changed:
            while not self._waiting and self._running and not self._stopped:
                self._changed.wait()
            if self._stopped or not self._waiting:
                return None
            _, number, task = heapq.heappop(self._waiting)
            self._running += 1
            return number, task
