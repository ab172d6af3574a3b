"""Where Dagster answers that `dev` runs on a folder of local state: commands on the same state tell that one of what
they change, and not whichever has the usual port.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NAME = "dagster-address"


@contextmanager
def announced(home: Path, url: str) -> Iterator[None]:
    """`announced_dagster(home)` is `url` while inside, and in no case once this process has ended."""
    file = home / _NAME
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(url)
        held.flush()
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


def announced_dagster(home: Path) -> str | None:
    """The address of the Dagster that runs on the state in `home`; None where none does."""
    try:
        with (home / _NAME).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read() or None
    except FileNotFoundError:
        return None
    return None  # whoever wrote it was killed
