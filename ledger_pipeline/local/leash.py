"""Runs a command that ends with whoever started it: `python leash.py PARENT COMMAND...`; the command takes its place.

Ctrl-C and SIGTERM reach the command whatever its parents ignore: a shell ignores SIGINT for what it starts in the
background, and Dagster's processes do with SIGTERM what they found for SIGINT. Imports nothing of ours, so as to cost
next to nothing.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2); Linux alone has it


def main(parent: int, command: list[str]) -> None:
    """Become `command`. Where `parent` has ended already, end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(128 + signal.SIGTERM)
    os.execvp(command[0], command)  # noqa: S606 (a command line of our own)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
