"""How far a scan has read GitHub's connections, and how it goes on from there.

A position holds the cursor of each connection that has more to read. GitHub's cursor is a place in an ordering by
update, not an object: what was updated since has moved before it, to the next scan, and nothing behind it is lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger_pipeline.core.events import parse_instant
from ledger_pipeline.core.hashing import Json


@dataclass
class Connection:
    """How far one connection has been read; nothing is asked of it once it is done. Without a floor it is not read."""

    name: str
    floor: datetime | None
    after: str | None = None
    reached: datetime | None = None
    done: bool = False

    def __post_init__(self) -> None:
        if self.floor is None:
            self.done = True
        else:
            # GitHub's times are whole seconds.
            self.floor = self.floor.replace(microsecond=0)

    def move_behind(self, page: Mapping[str, Any]) -> None:
        """Having read a page: done when the connection ends, or reaches below the floor.

        Raises ValueError for a page that claims more behind it and does not say where.
        """
        nodes, info = page["nodes"], page["pageInfo"]
        if nodes:
            self.reached = parse_instant(nodes[-1]["updatedAt"])
        below_floor = self.floor is not None and self.reached is not None and self.reached < self.floor
        self.done = below_floor or not info["hasNextPage"]
        if not self.done and info["endCursor"] in (None, self.after):
            raise ValueError(f"a page of {self.name} says there is more, and its cursor does not move on")
        self.after = info["endCursor"]


def reached(connections: Sequence[Connection]) -> datetime | None:
    """Nothing newer than this is left to read; once all are done, the oldest update that was read."""
    still_open = [each.reached for each in connections if not each.done and each.reached is not None]
    everywhere = [each.reached for each in connections if each.reached is not None]
    return max(still_open) if still_open else min(everywhere, default=None)


def position_of(connections: Sequence[Connection]) -> Mapping[str, Json] | None:
    """Where these stand; None once all are done."""
    return {each.name: each.after for each in connections if not each.done} or None


def resume(connections: Sequence[Connection], position: Mapping[str, Json]) -> bool:
    """Move connections that have not begun to `position`; False, and nothing moved, if it is not one of theirs."""
    theirs = {each.name for each in connections if not each.done}
    if not position or not theirs.issuperset(position):
        return False
    if not all(isinstance(after, str) and after for after in position.values()):
        return False
    for each in connections:
        each.after = str(position[each.name]) if each.name in position else None
        each.done = each.name not in position
    return True
