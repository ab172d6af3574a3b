"""How a command's process ends: with its exit code, whatever threads Temporal's core still has."""

import subprocess
import sys

# The interpreter is not taken apart: that is when a thread of Temporal's core can abort the process.
PROGRAM = """
import atexit, ctypes, sys
from ledger_pipeline.cli.leaving import leave

abort = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p)
assert ctypes.pythonapi.Py_AtExit(abort) == 0
atexit.register(print, "an exit handler")
print("written", end="")
leave(int(sys.argv[1]))
"""


def left(code: int, program: str = PROGRAM) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, str(code)], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_command_ends_with_its_code_and_all_it_printed_and_leaves_the_interpreter_as_it_is() -> None:
    for code in (0, 1, 2):
        ran = left(code)
        assert (ran.returncode, ran.stdout) == (code, "writtenan exit handler\n"), ran.stderr
    assert left(0, PROGRAM.replace("leave(", "sys.exit(")).returncode == -6, "the test would not notice"


def test_what_could_not_be_written_is_no_success() -> None:
    ran = subprocess.run(
        f"{sys.executable} -c 'from ledger_pipeline.cli.leaving import leave; print(1); leave(0)' >/dev/full",
        shell=True,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 1
