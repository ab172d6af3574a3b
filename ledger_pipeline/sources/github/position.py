"""How far a scan has read GitHub's connections, and how it goes on from there.

A position holds the cursor of each connection that has more to read. GitHub's cursor is a place in an ordering by
update, not an object: what was updated since has moved before it, to the next scan, and nothing behind it is lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ledger_pipeline.core.hashing import Json
from ledger_pipeline.sources.github.endless import Advance
from ledger_pipeline.sources.github.payloads import Listed, PageInfo


@dataclass
class Connection:
    """How far one connection has been read; nothing is asked of it once it is done. Without a floor it is not read."""

    name: str
    floor: datetime | None
    after: str | None = None
    reached: datetime | None = None
    done: bool = False
    _advance: Advance = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._advance = Advance(self.name)
        if self.floor is None:
            self.done = True
        else:
            # GitHub's times are whole seconds.
            self.floor = self.floor.replace(microsecond=0)

    def begin_at(self, after: str) -> None:
        """Go on behind this cursor."""
        self.after = after
        self._advance.begin_at(after)

    def move_behind(self, info: PageInfo, items: Sequence[Listed], beside: Sequence[Listed] = ()) -> None:
        """Having read a page, and `beside` it what it showed as null: done at the end, or below the floor.

        Raises LeadsNowhere for a page that claims more behind it and leads nowhere.
        """
        updates = [item.updated for item in items if item.updated is not None]
        if updates:
            self.reached = updates[-1]
        below_floor = self.floor is not None and self.reached is not None and self.reached < self.floor
        self.done = below_floor or not info.has_next_page
        if not self.done:
            self._advance.check([item.number for item in (*items, *beside) if item.number is not None], info)
        self.after = info.end_cursor


def reached(connections: Sequence[Connection]) -> datetime | None:
    """Nothing newer than this is left to read; once all are done, the oldest update that was read."""
    still_open = [
        connection.reached for connection in connections if not connection.done and connection.reached is not None
    ]
    everywhere = [connection.reached for connection in connections if connection.reached is not None]
    return max(still_open) if still_open else min(everywhere, default=None)


def position_of(connections: Sequence[Connection]) -> Mapping[str, Json] | None:
    """Where these stand; None once all are done."""
    return {connection.name: connection.after for connection in connections if not connection.done} or None


def resume(connections: Sequence[Connection], position: Mapping[str, Json]) -> bool:
    """Move connections that have not begun to `position`; False, and nothing moved, if it is not one of theirs."""
    theirs = {connection.name for connection in connections if not connection.done}
    if not position or not theirs.issuperset(position):
        return False
    if not all(isinstance(after, str) and after for after in position.values()):
        return False
    for connection in connections:
        if connection.name in position:
            connection.begin_at(str(position[connection.name]))
        else:
            connection.done = True
    return True
