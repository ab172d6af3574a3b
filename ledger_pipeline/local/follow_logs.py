"""The logs of several processes as one stream of lines, each with the name of its process before it."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

_PAUSE_SECONDS = 0.3


@contextmanager
def following(logs: Mapping[str, Path], say: Callable[[str, str], None]) -> Iterator[None]:
    """While inside, `say(name, line)` hears every line added to any of `logs`, whether it exists yet or not."""
    over = threading.Event()
    places = {name: log.stat().st_size if log.is_file() else 0 for name, log in logs.items()}

    def follow() -> None:
        opened: dict[str, BufferedReader] = {}
        while True:
            last_round = over.is_set()
            for name, log in logs.items():
                if name not in opened and log.is_file():
                    opened[name] = log.open("rb")
                    opened[name].seek(places[name])
                for line in opened.get(name, ()):
                    say(name, line.decode(errors="replace").rstrip())
            if last_round:
                break
            over.wait(_PAUSE_SECONDS)
        for file in opened.values():
            file.close()

    thread = threading.Thread(target=follow, name="logs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
