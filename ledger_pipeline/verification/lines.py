"""The members of an archive as lines and rows, looked at one at a time: the file is held once, and no row for long."""

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

from pydantic import ValidationError

from ledger_pipeline.core.errors import ArchiveError
from ledger_pipeline.core.json_text import json_of
from ledger_pipeline.verification.limits import CANDIDATE_BYTES, kept_bytes, memory_of
from ledger_pipeline.verification.record import EventRecord, FactsRecord, RoutingRecord
from ledger_pipeline.verification.row_model import Record
from ledger_pipeline.verification.row_values import MAX_DIGITS

R = TypeVar("R", bound=Record)


class Member:
    """A member's bytes where they stand in the file: nothing is copied but the line that is looked at."""

    def __init__(self, content: bytes, start: int = 0, end: int | None = None) -> None:
        self._content, self._start = content, start
        self._end = len(content) if end is None else end

    def __len__(self) -> int:
        return self._end - self._start

    @property
    def view(self) -> memoryview:
        """All of it."""
        return memoryview(self._content)[self._start : self._end]

    def count(self, what: bytes) -> int:
        """How often `what` is in it."""
        return self._content.count(what, self._start, self._end)

    def is_ended(self) -> bool:
        """Whether a line feed ends its last line, if it has one."""
        return len(self) == 0 or self._content[self._end - 1] == ord("\n")

    def lines(self) -> Iterator[bytes]:
        """Lines without their line feed; only the line feed ends one, whatever else Unicode calls a line's end."""
        for start, end in self._places():
            yield self._content[start:end]

    def starts(self) -> "array[int]":
        """The offset at which each line starts, then the one at which a further line would."""
        places = array("Q", (start for start, _ in self._places()))
        places.append(self._end + (not self.is_ended()))
        return places

    def between(self, start: int, end: int) -> bytes:
        """What stands between two places that `starts` gave, without the line feed."""
        return self._content[start : end - 1]

    def _places(self) -> Iterator[tuple[int, int]]:
        start = self._start
        while start < self._end:
            end = self._content.find(b"\n", start, self._end)
            end = self._end if end < 0 else end
            yield start, end
            start = end + 1


class Rows(Sequence[R], Generic[R]):
    """A member's rows, made of their lines each time they are asked for. Every line was read once, and is a row."""

    def __init__(self, member: Member, model: type[R], *, as_written: bool) -> None:
        self._member, self._model, self._as_written = member, model, as_written
        self._starts = member.starts()

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __iter__(self) -> Iterator[R]:
        return map(self._row, self._member.lines())

    @overload
    def __getitem__(self, index: int) -> R: ...

    @overload
    def __getitem__(self, index: slice) -> list[R]: ...

    def __getitem__(self, index: int | slice) -> R | list[R]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return self._row(self._member.between(self._starts[number], self._starts[number + 1]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def canonical(self) -> Iterator[bytes]:
        """Each row in its one spelling, which is the line itself where all were as we write them."""
        return self._member.lines() if self._as_written else (row.canonical().encode() for row in self)

    def _row(self, line: bytes) -> R:
        return self._model.model_validate(json.loads(line))


def decided_by_bytes(row: Record, line: bytes) -> int:
    """What a selection policy keeps of a row in memory while it decides: all of its facts, and little of an event."""
    if isinstance(row, FactsRecord):
        return memory_of(line)
    if isinstance(row, RoutingRecord):
        return CANDIDATE_BYTES + kept_bytes(text for texts in row.routed_by.values() for text in texts)
    if isinstance(row, EventRecord):
        return CANDIDATE_BYTES + kept_bytes((row.platform_login, str(row.metadata.get("repository", ""))))
    return 0


def parsed_row(where: str, line: bytes, model: type[R]) -> R:
    """The row that a line is. Raises ArchiveError naming `where` and the key that is none of such a row."""
    try:
        return model.model_validate(parsed_json(where, line))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "the row"
        raise ArchiveError(f"{where}: {key}: {first['msg']}") from None


def parsed_json(where: str, line: bytes) -> dict[str, Any]:
    """The object that a line is. Raises ArchiveError naming `where` for anything else, and for what nests too deep."""
    try:
        value = json_of(line, _decoded)
        if b"\\u" in line:
            # JSON can escape half a character, which no hash can be computed of.
            json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        raise ArchiveError(f"{where}: not JSON as it is written") from None
    if not isinstance(value, dict):
        raise ArchiveError(f"{where}: not a JSON object")
    return value


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError
    return int(digits)


def _no_number(spelling: str) -> None:
    # A fraction, 1e3, NaN: no row of ours has one, and no hash can be computed of it.
    raise ValueError(spelling)


_decoded: Callable[[str], Any] = json.JSONDecoder(
    parse_int=_integer, parse_float=_no_number, parse_constant=_no_number
).decode
