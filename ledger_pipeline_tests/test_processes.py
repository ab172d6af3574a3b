"""Child processes of the local stack: told to end they hear it, and they do not outlive who started them."""

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from ledger_pipeline.local.processes import child_process
from ledger_pipeline.local.single_run import single_run
from ledger_pipeline_tests.usual_ports import USUAL_PORTS, usual_ports_taken
from ledger_pipeline_tests.waiting import eventually

DEADLINE_SECONDS = 60
IGNORING_SIGNALS = ["sh", "-c", 'trap "" INT TERM; exec "$@"', "sh"]
SHOW_SIGNALS = """
import signal
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""
START = """
import sys
from pathlib import Path
from ledger_pipeline.local.processes import child_process
with child_process(sys.argv[2:], Path(sys.argv[1])) as child:
    print(child.popen.pid, flush=True)
    child.popen.wait()
"""


def test_a_child_hears_what_its_parents_ignore(tmp_path: Path) -> None:
    log = tmp_path / "log"
    start = [*IGNORING_SIGNALS, sys.executable, "-c", START, str(log), sys.executable, "-c", SHOW_SIGNALS]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, timeout=DEADLINE_SECONDS)
    assert log.read_text() == "True True\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent ended")
def test_a_child_ends_where_its_parent_is_killed(tmp_path: Path) -> None:
    start = [*IGNORING_SIGNALS, sys.executable, "-c", START, str(tmp_path / "log"), "sleep", "600"]
    with subprocess.Popen(start, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert eventually(lambda: child.name() == "sleep", DEADLINE_SECONDS)
        parent.kill()
        assert psutil.wait_procs([child], timeout=DEADLINE_SECONDS)[1] == []


def test_what_an_earlier_run_left_running_is_stopped_and_said(tmp_path: Path) -> None:
    lines: list[str] = []
    # Whatever the process of the tests ignores by now, its child would ignore as well.
    with subprocess.Popen(["env", "--default-signal", "sleep", "600"]) as left:
        with single_run(tmp_path, lines.append) as run:
            run.remember({"sleeper": left.pid})
            remembered = run.record.read_text()
        run.record.write_text(remembered)  # as a run that was killed leaves it
        with single_run(tmp_path, lines.append):
            assert not psutil.pid_exists(left.pid)
    assert lines == [f"stopping process {left.pid}, left over from a run that was killed"]


def test_a_child_is_not_started_by_a_thread_that_it_would_end_with(tmp_path: Path) -> None:
    def start() -> None:
        with child_process(["sleep", "60"], tmp_path / "log"):
            pass

    with ThreadPoolExecutor(1) as threads, pytest.raises(RuntimeError, match="start it from the main thread"):
        threads.submit(start).result()


def test_nothing_that_a_test_starts_gets_a_port_that_people_use() -> None:
    assert USUAL_PORTS == (3000, 7233, 8233)
    for port in USUAL_PORTS:
        # Taken anew, for it may have been another session's, which is over now.
        with usual_ports_taken(), socket.socket() as listener, pytest.raises(OSError, match="Address already in use"):
            listener.bind(("127.0.0.1", port))
