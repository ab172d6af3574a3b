"""Items that a source shows and that cannot be read: what is known of them, and when their events may be."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from ledger_pipeline.core.windows import EpochWindow


@dataclass(frozen=True, order=True)
class ItemKey:
    """One item of a source_scope: `kind` is one of a source's, `number` is 0 where it tells none."""

    kind: str
    number: int

    def __str__(self) -> str:
        kind = self.kind.replace("_", " ")
        if self.number:
            return f"{kind} {self.number}"
        return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind} without a number"


@dataclass(frozen=True)
class UnreadItem:
    """An item that the source shows and that cannot be read, so that its events may be missing.

    `reason` is plain text of at most 300 characters. Its events lie between `earliest` (None: at any time) and `latest`
    (aware, UTC): when the source made it, and when the source last showed it.
    """

    key: ItemKey
    reason: str
    earliest: datetime | None
    latest: datetime

    def may_touch(self, window: EpochWindow) -> bool:
        """Whether events of `window` may be missing."""
        return window.start <= self.latest and (self.earliest is None or self.earliest < window.end)


def item_name(source_scope: str, key: ItemKey) -> str:
    """How a person names an item: `owner/repo#12`, or `owner/repo#pull-request` for all without a number."""
    return f"{source_scope}#{key.number or key.kind.replace('_', '-')}"


def earliest_of(first: UnreadItem, second: UnreadItem) -> datetime | None:
    """The time from which events of either item may be; None means at any time."""
    return None if first.earliest is None or second.earliest is None else min(first.earliest, second.earliest)


def one_by_key(items: Iterable[UnreadItem]) -> list[UnreadItem]:
    """One item a key, sorted: it holds what any of several may, and has the last one's reason."""
    by_key: dict[ItemKey, UnreadItem] = {}
    for item in items:
        before = by_key.get(item.key, item)
        by_key[item.key] = replace(item, earliest=earliest_of(before, item), latest=max(before.latest, item.latest))
    return sorted(by_key.values(), key=lambda item: item.key)
