"""How the process of a command ends once its work is done."""

import atexit
import os
import sys
from typing import NoReturn

_NOT_WRITTEN = 1


def leave(code: int) -> NoReturn:
    """End the process with this exit code: exit handlers have run, and what was printed is written.

    Temporal's core has threads of its own, which hand each answer to Python and cannot be told to end. One of them may
    still be letting go of the interpreter when Python takes that apart, which aborts the process (exit code 134) though
    all work is done. So the interpreter is left as it is, for the system to clear away with the process.
    """
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        # Whoever was reading has gone: not everything has reached them.
        code = code or _NOT_WRITTEN
    os._exit(code)
