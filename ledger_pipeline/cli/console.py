"""The console script `ledger-pipeline`: imports the rest, and lets Ctrl-C end even that in one line."""

import os
import signal
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT  # what a shell says of a command that Ctrl-C ended


def main() -> None:
    """Run the command line of this process, as `cli.app.main` does; never returns."""
    # Python's own handler would print where in our imports it was, of which nobody wants to know.
    signal.signal(signal.SIGINT, _end)
    from ledger_pipeline.cli import app

    app.main()


def _end(_number: int, _frame: FrameType | None) -> None:
    """Nothing was begun that would have to be stopped or undone."""
    os.write(2, b"error: interrupted\n")
    os._exit(INTERRUPTED)
