"""How far a scan has read GitHub's connections, and how it goes on from there.

A position holds the place of each connection that has more to read: its cursor, and what its end is compared with.
GitHub's cursor is a place in an ordering by update, not an object: what was updated since has moved before it, to the
next scan, and nothing behind it is lost.
"""

import binascii
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise, takewhile
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ledger_pipeline.core.hashing import Json
from ledger_pipeline.sources.github.endless import Advance
from ledger_pipeline.sources.github.payloads import Listed, Page, PageInfo
from ledger_pipeline.sources.port import SCAN_OVERLAP

# So many items in a row end a list by being below the floor, or a whole page of fewer: GitHub may show some of them in
# their right place with an older update.
BELOW_IN_A_ROW = 5

# A position holds which numbers below this have been read: a bit each, which is 16 kB for a repository of 100,000.
_NUMBERS_BELOW = 1 << 20


def _packed(numbers: Iterable[int]) -> str:
    bits = bytearray(_NUMBERS_BELOW // 8)
    for number in numbers:
        if 0 <= number < _NUMBERS_BELOW:
            bits[number // 8] |= 1 << number % 8
    return b64encode(zlib.compress(bytes(bits).rstrip(b"\0"))).decode()


def _unpacked(text: str) -> set[int]:
    """Raises ValueError for what `_packed` does not give."""
    try:
        unpacking = zlib.decompressobj()
        bits = unpacking.decompress(b64decode(text, validate=True), _NUMBERS_BELOW // 8)
    except (zlib.error, binascii.Error, TypeError) as error:
        raise ValueError(f"these are no packed numbers: {error}") from None
    if not unpacking.eof:
        raise ValueError("these are more numbers than anybody packs")
    return {8 * at + bit for at, byte in enumerate(bits) if byte for bit in range(8) if byte >> bit & 1}


class _Place(BaseModel):
    """How far a connection has been read, as a position holds it."""

    model_config = ConfigDict(frozen=True)

    after: Annotated[str, Field(min_length=1)] | None
    read: Annotated[int, Field(ge=0)]
    counted: Annotated[int, Field(ge=0)] | None
    since: AwareDatetime | None
    numbers: Annotated[frozenset[int], BeforeValidator(_unpacked)]
    has_begun_again: bool
    reached: AwareDatetime | None = None  # older positions have none
    below: Annotated[int, Field(ge=0)] = 0


@dataclass
class ConnectionProgress:
    """How far one connection has been read; nothing is asked of it once it is done. Without a floor it is not read.

    `asked` is how many items its last page was asked for; `is_often_short` where asking again for a short page brought
    no more. `reached` is the update of the last item read, `below` how many up to it are below the floor. `read` counts
    the items that its pages listed, each once, and `counted` is what GitHub counted when it began; what has been made
    since stands at the front, for the next scan. That reads too what was updated at `since` or later, for it may have
    moved to the front before this one came by it. `is_continued` where another call read its first pages;
    `has_begun_again` where it was read to an end that came too early, and is being read once more.
    """

    name: str
    floor: datetime | None
    after: str | None = None
    asked: int = 0
    is_often_short: bool = False
    reached: datetime | None = None
    below: int = 0
    done: bool = False
    read: int = 0
    counted: int | None = None
    since: datetime | None = None
    is_continued: bool = False
    has_begun_again: bool = False
    _numbers: set[int] = field(default_factory=set, repr=False)
    _advance: Advance = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._advance = Advance(self.name)
        if self.floor is None:
            self.done = True
        else:
            # GitHub's times are whole seconds.
            self.floor = self.floor.replace(microsecond=0)

    def go_on_at(self, place: _Place) -> None:
        """Go on where another call stood."""
        self.after, self.read, self.counted, self.since = place.after, place.read, place.counted, place.since
        self.is_continued, self.has_begun_again = place.after is not None, place.has_begun_again
        self.reached, self.below = place.reached, place.below
        self._numbers = set(place.numbers)
        self._advance = Advance(self.name)
        self._advance.begin_at(place.after)

    def begin_again(self) -> None:
        """Begin at the front, as if nothing had been read."""
        self.after, self.reached, self.below, self.read, self.counted, self.since = None, None, 0, 0, None, None
        self.is_continued, self.has_begun_again = False, True
        self._numbers, self._advance = set(), Advance(self.name)

    def read_with(self, items: Sequence[Listed]) -> int:
        """What `read` is with a page of these items; one without a number is none of those before."""
        return self.read + len(self._new(items)) + sum(item.number is None for item in items)

    def is_for_the_next(self, item: Listed) -> bool:
        """Whether the next scan reads it."""
        return self.since is not None and item.updated is not None and item.updated >= self.since

    def missed(self, items: Sequence[Listed]) -> set[int]:
        """The numbers among `items` that it has not read although it counted them, and that the next scan reads."""
        return self._new(item for item in items if self.is_for_the_next(item) and self._is_counted(item))

    def _is_counted(self, item: Listed) -> bool:
        return self.since is None or item.created is None or item.created < self.since + SCAN_OVERLAP

    def move_behind(self, info: PageInfo, items: Sequence[Listed], beside: Sequence[Listed] = ()) -> None:
        """Having read a page, and `beside` it what it showed as null: done at the end, or below the floor.

        Raises LeadsNowhere for a page that claims more behind it and leads nowhere.
        """
        updates = [item.updated for item in items if item.updated is not None]
        self.read = self.read_with(items)
        self._numbers |= self._new([*items, *beside])
        self.done = self._is_below_floor(updates) or not info.has_next_page
        self.reached = updates[-1] if updates else self.reached
        if not self.done:
            self._advance.check(
                [item.number for item in (*items, *beside) if item.number is not None],
                info,
                has_unreadable=any(item.number is None for item in items),
            )
        self.after = info.end_cursor

    def is_short(self, page: Page) -> bool:
        """Whether a page that is not the last has fewer items than it was asked for: some may have been left out."""
        return not self.is_often_short and page.page_info.has_next_page and len(page.nodes) < self.asked

    def place(self) -> Mapping[str, Json]:
        """How far it has been read, for a position."""
        return {
            "after": self.after,
            "read": self.read,
            "counted": self.counted,
            "since": None if self.since is None else self.since.isoformat(),
            "numbers": _packed(self._numbers),
            "has_begun_again": self.has_begun_again,
            "reached": None if self.reached is None else self.reached.isoformat(),
            "below": self.below,
        }

    def _is_below_floor(self, updates: Sequence[datetime]) -> bool:
        """Whether nothing behind a page with these updates is of this scan, whatever a few of them say.

        GitHub may show items in their right place with an older update. So a row of them has to lie below the floor,
        and the whole page where it is out of order.
        """
        floor = self.floor
        if floor is None or not updates:
            return False
        below = sum(1 for _ in takewhile(lambda update: update < floor, reversed(updates)))
        self.below = below + (self.below if below == len(updates) else 0)
        in_a_row = [*([] if self.reached is None else [self.reached]), *updates]
        if any(before < after for before, after in pairwise(in_a_row)):
            return below == len(updates)
        return self.below >= max(2, min(BELOW_IN_A_ROW, self.asked))

    def _new(self, items: Iterable[Listed]) -> set[int]:
        return {item.number for item in items if item.number is not None} - self._numbers


def reached(connections: Sequence[ConnectionProgress]) -> datetime | None:
    """Nothing newer than this is left to read; once all are done, the oldest update that was read."""
    still_open = [
        connection.reached for connection in connections if not connection.done and connection.reached is not None
    ]
    everywhere = [connection.reached for connection in connections if connection.reached is not None]
    return max(still_open) if still_open else min(everywhere, default=None)


def position_of(connections: Sequence[ConnectionProgress]) -> Mapping[str, Json] | None:
    """The position that holds how far these have been read; None once all are done."""
    return {connection.name: connection.place() for connection in connections if not connection.done} or None


def resume(connections: Sequence[ConnectionProgress], position: Mapping[str, Json]) -> bool:
    """Move connections that have not begun to `position`; False, and nothing moved, if it is not one of theirs."""
    theirs = {connection.name for connection in connections if not connection.done}
    if not position or not theirs.issuperset(position):
        return False
    try:
        places = {name: _Place.model_validate(place) for name, place in position.items()}
    except ValidationError:
        return False
    for connection in connections:
        place = places.get(connection.name)
        if place is None:
            connection.done = True
        else:
            connection.go_on_at(place)
    return True
