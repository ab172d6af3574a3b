"""GitHub's pages: a cursor is a place in an ordering, not an offset and not an object.

It holds the sort value and id of the last item served. So an item that is updated between two pages of a scan moves
to the front, and the pages behind the cursor do not have it any more: the hazard that a collector has to survive.
"""

import base64
import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ledger_pipeline.core.json_text import json_of
from ledger_pipeline.sources.simulator.errors import GitHubError

T = TypeVar("T")

Key = tuple[str | int, int]
"""Sort value (times as GitHub writes them, which sort as text) and id, which settles ties."""

PAGE_SIZE_LIMIT = 100


@dataclass(frozen=True)
class Ordering(Generic[T]):
    """Items in ascending order of their keys."""

    items: Sequence[T]
    keys: Sequence[Key]

    @classmethod
    def of(cls, items: Iterable[T], key: Callable[[T], Key]) -> "Ordering[T]":
        """Sort items by a key that is unique to each."""
        keyed = sorted(((key(item), item) for item in items), key=lambda pair: pair[0])
        return cls([item for _, item in keyed], [key for key, _ in keyed])

    @classmethod
    def as_listed(cls, items: Sequence[T]) -> "Ordering[T]":
        """Keep the order given, for what never moves."""
        return cls(items, [(place, 0) for place in range(len(items))])


@dataclass(frozen=True)
class PageRequest:
    """The arguments every connection takes."""

    first: int | None = None
    last: int | None = None
    after: str | None = None
    before: str | None = None

    def check(self, connection: str) -> None:
        """Refuse what GitHub refuses."""
        if self.first is None and self.last is None:
            raise GitHubError(
                "MISSING_PAGINATION_BOUNDARIES",
                f"You must provide a `first` or `last` value to properly paginate the `{connection}` connection.",
            )
        if self.first is not None and self.last is not None:
            raise GitHubError(
                "INVALID_PAGINATION",
                f"Passing both `first` and `last` values to paginate the `{connection}` connection is not supported.",
            )
        for name, size in (("first", self.first), ("last", self.last)):
            if size is not None and size < 0:
                raise GitHubError(
                    "INVALID_PAGINATION", f"`{name}` on the `{connection}` connection cannot be less than zero."
                )
            if size is not None and size > PAGE_SIZE_LIMIT:
                raise GitHubError(
                    "EXCESSIVE_PAGINATION",
                    f"Requesting {size} records on the `{connection}` connection exceeds the `{name}` limit of "
                    f"{PAGE_SIZE_LIMIT} records.",
                )


def connection(
    name: str,
    ordering: Ordering[T],
    node: Callable[[T], dict[str, Any]],
    page: PageRequest,
    *,
    descending: bool = False,
) -> dict[str, Any]:
    """One page as GraphQL's connection object; nodes are made only if the query asks for them."""
    page.check(name)
    keys = ordering.keys
    past, ahead = (page.before, page.after) if descending else (page.after, page.before)
    start = 0 if past is None else bisect_right(keys, _key_of(past))
    stop = len(keys) if ahead is None else bisect_left(keys, _key_of(ahead))
    stop = max(start, stop)
    size = page.first if page.first is not None else page.last
    assert size is not None  # noqa: S101 - check() has seen to it
    if (page.first is not None) is not descending:
        stop = min(stop, start + size)
    else:
        start = max(start, stop - size)
    direction = -1 if descending else 1
    items, page_keys = ordering.items[start:stop][::direction], keys[start:stop][::direction]
    more_below, more_above = start > 0, stop < len(keys)
    return {
        "totalCount": len(keys),
        "nodes": lambda _info: [node(item) for item in items],
        "edges": lambda _info: [
            {"cursor": cursor_at(key), "node": node(item)} for key, item in zip(page_keys, items, strict=True)
        ],
        "pageInfo": {
            "startCursor": cursor_at(page_keys[0]) if page_keys else None,
            "endCursor": cursor_at(page_keys[-1]) if page_keys else None,
            "hasNextPage": more_below if descending else more_above,
            "hasPreviousPage": more_above if descending else more_below,
        },
    }


def cursor_at(key: Key) -> str:
    """The opaque text for a place."""
    return base64.b64encode(f"cursor:v2:{json.dumps(key)}".encode()).decode()


def _key_of(cursor: str) -> Key:
    try:
        value, database_id = json_of(base64.b64decode(cursor, validate=True).removeprefix(b"cursor:v2:"))
        return value, int(database_id)
    except (ValueError, TypeError):
        raise GitHubError("INVALID_CURSOR_ARGUMENTS", f"`{cursor}` does not appear to be a valid cursor.") from None
