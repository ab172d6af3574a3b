"""What does not follow, and how it is said: a place and a problem, both short whatever is in the row."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

# Rows come from anybody: a list of differences that nobody would read to its end stops here.
MAX_DIFFERENCES = 1000
_MAX_QUOTED = 1000


@dataclass(frozen=True)
class Difference:
    """A number that does not follow: `where` names table and row, `problem` what is stored and what follows."""

    where: str
    problem: str

    def __post_init__(self) -> None:
        for name in ("where", "problem"):
            object.__setattr__(self, name, getattr(self, name)[:_MAX_QUOTED])

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"


def bounded(differences: Iterable[Difference]) -> list[Difference]:
    """The first MAX_DIFFERENCES of them."""
    return list(islice(differences, MAX_DIFFERENCES))


def duplicates(what: str, keys: Iterator[str]) -> Iterator[Difference]:
    """Keys that are there more than once, of rows called `what`."""
    yield from repeated(what, Counter(keys))


def repeated(what: str, times: Counter[str]) -> Iterator[Difference]:
    """The same, where they are counted already."""
    for key, count in times.items():
        if count > 1:
            yield Difference(f"{what} {short(key)}", f"it is there {count} times")


def compare(where: str, stored: object, follows: object) -> Iterator[Difference]:
    """A difference where what is stored is not what follows."""
    if stored != follows:
        yield Difference(where, f"stored {short(stored)}, but {short(follows)} follows")


def short(value: object) -> str:
    """What a difference has room for of a value that may be megabytes: they are not copied first."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{short(key)!r}: {short(inner)!r}" for key, inner in islice(value.items(), 8)) + "}"
    return (value if isinstance(value, str) else str(value))[:_MAX_QUOTED]
