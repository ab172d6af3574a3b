"""Tasks side by side: bounded, fair, and stopped together when one fails."""

import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from ledger_pipeline.pipeline.fairness import run_fairly
from ledger_pipeline.sources.stopping import Stopped, StopSignal

DEADLINE_SECONDS = 10


@dataclass
class Steps:
    """A task of `total` steps that notes each in `journal`."""

    name: str
    total: int
    journal: list[str] = field(default_factory=list)
    steps_done: int = 0
    fails_at: int | None = None

    def step(self) -> bool:
        self.steps_done += 1
        self.journal.append(self.name)
        if self.steps_done == self.fails_at:
            raise RuntimeError(self.name)
        return self.steps_done < self.total


def test_a_huge_task_does_not_starve_the_small_ones() -> None:
    journal: list[str] = []
    huge = Steps("huge", 100, journal)
    run_fairly([huge, *(Steps(name, 3, journal) for name in "abcde")], 1)
    last_small = max(index for index, name in enumerate(journal) if name != "huge")
    assert journal[: last_small + 1].count("huge") == 3
    assert journal.count("huge") == 100


@pytest.mark.parametrize("concurrency", [1, 2, 7])
def test_every_task_is_run_to_its_end(concurrency: int) -> None:
    tasks = [Steps(str(total), total) for total in (1, 2, 5, 9, 30)]
    run_fairly(tasks, concurrency)
    assert [task.steps_done for task in tasks] == [1, 2, 5, 9, 30]


def test_nothing_to_do_is_done_at_once() -> None:
    run_fairly([], 4)


def test_no_more_tasks_run_at_once_than_allowed_and_as_many_as_are() -> None:
    together = threading.Barrier(3)
    inside: list[int] = []
    most: list[int] = []
    lock = threading.Lock()

    class Meeting:
        steps_done = 0

        def step(self) -> bool:
            self.steps_done += 1
            with lock:
                inside.append(1)
                most.append(len(inside))
            together.wait(DEADLINE_SECONDS)  # passes only when three are inside at once
            with lock:
                inside.pop()
            return False

    run_fairly([Meeting() for _ in range(6)], 3)
    assert max(most) == 3


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_failing_step_stops_the_others_and_is_raised(concurrency: int) -> None:
    journal: list[str] = []
    tasks = [Steps(name, 1_000_000, journal) for name in "ab"]
    with pytest.raises(RuntimeError, match="bad"):
        run_fairly([*tasks, Steps("bad", 9, journal, fails_at=5)], concurrency)
    assert all(task.steps_done < 1_000_000 for task in tasks)


class Interruption(BaseException):
    """What a signal raises in the main thread."""


@pytest.fixture
def interrupting() -> Iterator[int]:
    """A signal that raises Interruption in the main thread."""

    def interrupt(*_: object) -> None:
        raise Interruption

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield signal.SIGUSR1
    signal.signal(signal.SIGUSR1, before)


def test_an_interrupted_caller_does_not_wait_for_a_step_under_way_and_no_other_is_begun(interrupting: int) -> None:
    begun: list[str] = []
    release = threading.Event()
    both_in = threading.Barrier(2, action=lambda: signal.pthread_kill(main, interrupting))
    main = threading.main_thread().ident
    assert main is not None

    class Held:
        steps_done = 0

        def step(self) -> bool:
            self.steps_done += 1
            begun.append("step")
            both_in.wait(DEADLINE_SECONDS)
            release.wait(DEADLINE_SECONDS)
            return True

    stop = StopSignal()
    with pytest.raises(Interruption):
        run_fairly([Held() for _ in range(4)], 2, stop)
    assert stop.is_told
    assert not release.is_set()  # it came back while both steps are held
    release.set()
    for thread in threading.enumerate():
        if thread.name.startswith("collect-"):
            thread.join(DEADLINE_SECONDS)
    assert begun == ["step", "step"]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_told_to_stop_by_somebody_else_it_takes_no_further_step(concurrency: int) -> None:
    stop = StopSignal()

    class Tells(Steps):
        def step(self) -> bool:
            stop.tell()
            return super().step()

    tasks = [Tells(name, 1_000_000) for name in "abcd"]
    with pytest.raises(Stopped):
        run_fairly(tasks, concurrency, stop)
    assert sum(task.steps_done for task in tasks) <= concurrency


def test_a_sleep_ends_with_the_signal() -> None:
    stop = StopSignal()
    threading.Timer(0.05, stop.tell).start()
    with pytest.raises(Stopped):
        stop.sleep(DEADLINE_SECONDS)
