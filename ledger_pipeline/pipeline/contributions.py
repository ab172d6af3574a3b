"""Who did how much in a window: counted events times an epoch's weights. Proposals only: curation comes after."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ledger_pipeline.core.weights import weight_drift
from ledger_pipeline.store.records import PersonCount

MILLI = 1000
_SHARE = re.compile(r"[0-9]\.[0-9]{6}", re.ASCII)


@dataclass(frozen=True)
class Contribution:
    """One person: their id at the source, the login they last used in the window, events and milli-units."""

    source: str
    user_id: str
    login: str
    events: int
    units_milli: int


def contributions(counts: Iterable[PersonCount], weights_milli: Mapping[str, int]) -> list[Contribution]:
    """Everybody in `counts`, most units first, then by user id. An event type without a weight is worth nothing."""
    by_person: defaultdict[tuple[str, str], list[PersonCount]] = defaultdict(list)
    for count in counts:
        by_person[count.source, count.user_id].append(count)
    people = [
        Contribution(
            source=source,
            user_id=user_id,
            login=max(theirs, key=lambda count: count.last_event_at).login,
            events=sum(count.events for count in theirs),
            units_milli=sum(count.events * weights_milli.get(f"{source}:{count.event_type}", 0) for count in theirs),
        )
        for (source, user_id), theirs in by_person.items()
    ]
    return sorted(people, key=lambda person: (-person.units_milli, person.user_id, person.source))


def units_text(units_milli: int) -> str:
    """Milli-units as people read them, exact: `2.5`."""
    whole, rest = divmod(abs(units_milli), MILLI)
    fraction = f".{rest:03d}".rstrip("0") if rest else ""
    return f"{'-' if units_milli < 0 else ''}{whole:,}{fraction}"


def weights_text(weights_milli: Mapping[str, int]) -> dict[str, str]:
    """Weights by event type as people read them, in units."""
    return {name: units_text(weight) for name, weight in weights_milli.items()}


def drift_text(pinned: Mapping[str, int], wanted: Mapping[str, int]) -> dict[str, str]:
    """What differs between an epoch's pinned weights and those wanted now, in units: `1 -> 9` by event type."""
    return {
        name: " -> ".join("none" if weight is None else units_text(weight) for weight in weights)
        for name, weights in weight_drift(pinned, wanted).items()
    }


def percent_text(share: str) -> str:
    """A share of a statement, `0.333333`, as people read it: `33.3333 %`; what is spelt otherwise, as it is."""
    return f"{(Decimal(share) * 100).normalize():f} %" if _SHARE.fullmatch(share) else share
