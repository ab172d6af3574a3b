"""A part of the local stack that ends by itself is started again, a few times, and that is said."""

from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from ledger_pipeline.core.errors import LedgerError, StoreUnavailable
from ledger_pipeline.local.processes import child_process
from ledger_pipeline.local.supervision import STEADY_SECONDS, supervise
from ledger_pipeline_tests.waiting import eventually

AT_ONCE = (0.0, 0.0)


@dataclass
class Heard:
    """What the supervision said, and whom it started."""

    lines: list[str] = field(default_factory=list)
    started: list[tuple[str, int]] = field(default_factory=list)

    def on_start(self, name: str, pid: int) -> None:
        self.started.append((name, pid))


def test_a_part_that_keeps_ending_is_started_again_as_often_as_said_and_then_named(tmp_path: Path) -> None:
    heard = Heard()
    command = ["sh", "-c", "echo begun; exit 3"]
    with (
        child_process(command, tmp_path / "log") as ending,
        child_process(["sleep", "600"], tmp_path / "other") as steady,
    ):
        first = ending.popen.pid
        with pytest.raises(LedgerError, match="the worker ended by itself with code 3 again, after 2 new starts, so"):
            supervise(
                {"worker": ending, "daemon": steady},
                tmp_path,
                say=heard.lines.append,
                on_start=heard.on_start,
                pauses_seconds=AT_ONCE,
            )
        assert steady.ended() is None
    assert (tmp_path / "log").read_text().splitlines() == ["begun"] * 3
    [(name, second), (_, third)] = heard.started
    assert (name, len({first, second, third})) == ("worker", 3)
    assert heard.lines == [
        f"the worker ended by itself with code 3: starting it again in 0 s (start 1 of 2); its log is in {tmp_path}",
        f"the worker runs again, as process {second}",
        f"the worker ended by itself with code 3: starting it again in 0 s (start 2 of 2); its log is in {tmp_path}",
        f"the worker runs again, as process {third}",
    ]


class Stubborn:
    """A part that is gone and does not start."""

    def ended(self) -> str:
        return "is gone"

    def start_again(self) -> int:
        raise StoreUnavailable("the embedded Postgres does not start: busy")


def test_a_start_that_fails_is_said_and_counts(tmp_path: Path) -> None:
    heard = Heard()
    with pytest.raises(LedgerError, match="the embedded Postgres is gone again, after 2 new starts"):
        supervise(
            {"embedded Postgres": Stubborn()},
            tmp_path,
            say=heard.lines.append,
            on_start=heard.on_start,
            pauses_seconds=AT_ONCE,
        )
    assert heard.lines.count("the embedded Postgres does not start: busy") == 2
    assert heard.started == []


def test_a_part_that_ran_long_has_all_its_starts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger_pipeline.local.supervision.STEADY_SECONDS", 0.0)  # each start was long ago
    assert STEADY_SECONDS > 0
    heard = Heard()

    def on_start(name: str, pid: int) -> None:
        heard.on_start(name, pid)
        if len(heard.started) == 5:
            raise KeyboardInterrupt

    with child_process(["false"], tmp_path / "log") as ending, pytest.raises(KeyboardInterrupt):
        supervise({"worker": ending}, tmp_path, say=heard.lines.append, on_start=on_start, pauses_seconds=AT_ONCE)
    assert all("(start 1 of 2)" in line for line in heard.lines if "starting" in line)


def test_what_a_part_left_behind_is_ended_before_it_starts_again(tmp_path: Path) -> None:
    left = tmp_path / "left"
    with child_process(["sh", "-c", f"sleep 600 & echo $! > {left}; exit 1"], tmp_path / "log") as ending:
        assert eventually(lambda: ending.ended() is not None)
        orphan = psutil.Process(int(left.read_text()))
        ending.start_again()
        assert psutil.wait_procs([orphan], timeout=30)[1] == []
