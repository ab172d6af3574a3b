"""The folder of local state is ours alone: it holds databases, logs and a copy of what servers said."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from ledger_pipeline.core.errors import SettingsError

# What root starts as another user, as the embedded Postgres is, has to pass through the folder, and sees no file of it.
_ROOT_MODE, _MODE = 0o711, 0o700
_UMASK = 0o077


@contextmanager
def private_home(home: Path) -> Iterator[None]:
    """`home` there and closed to others; what is written while inside, by child processes too, only we may read.

    Raises SettingsError where it cannot be made, or nothing can be written in it.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        close_to_others(home)
        with TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise SettingsError(
            f"nothing can be written in LEDGER_HOME, {home}: {error.strerror}; set it to a folder of your own"
        ) from error
    before = os.umask(_UMASK)
    try:
        yield
    finally:
        os.umask(before)


def close_to_others(home: Path) -> None:
    """Nobody but us may list or read `home`. A folder that is shared by its sticky bit, as /tmp is, stays as it is."""
    status = home.stat()
    wanted = _ROOT_MODE if os.geteuid() == 0 else _MODE
    if status.st_mode & 0o1000 or status.st_uid != os.geteuid() or not status.st_mode & 0o777 & ~wanted:
        return
    home.chmod(wanted)
