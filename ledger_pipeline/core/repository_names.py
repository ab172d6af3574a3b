"""Names of repositories, which change hands: what was one repository under several names is known by its latest."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class SeenName:
    """A name that the repository `repository_id` (the source's own id) answered to, last at `seen_at` (aware, UTC).

    `is_spelled` where it called itself so: under a name of before it answers too.
    """

    repository_id: str
    name: str
    seen_at: datetime
    is_spelled: bool = True


@dataclass(frozen=True)
class KnownNames:
    """Each name, case folded, belongs to one repository: to the one that was last seen with it.

    `latest` gives of such a name how that repository spells its own now. `lost` gives, by that latest name, case
    folded, the names that the repository once had and that another has taken since. Of a name that nobody has seen,
    nothing is known: it stands for itself.
    """

    latest: Mapping[str, str] = field(default_factory=dict)
    lost: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def latest_name(self, name: str) -> str:
        """The latest name of the repository that has, or had last, the name; the name itself where none is known."""
        return self.latest.get(name.casefold(), name)

    def of(self, name: str) -> frozenset[str]:
        """All names, case folded, that belong to the repository that has the name."""
        its_latest = self.latest_name(name).casefold()
        alike = (of_same for of_same, latest in self.latest.items() if latest.casefold() == its_latest)
        return frozenset({name.casefold(), its_latest, *alike})

    def lost_by(self, name: str) -> frozenset[str]:
        """The names, case folded, that the repository once had and another has now."""
        return self.lost.get(self.latest_name(name).casefold(), frozenset())


NO_NAMES = KnownNames()


def known_names(seen: Iterable[SeenName], later: Iterable[SeenName] = ()) -> KnownNames:
    """What follows from all that was `seen`, in whatever order.

    What was seen `later` changes nothing of it: names that nobody knew before are added.
    """
    rows = sorted(seen, key=_order)
    known_before, known_ids = {row.name.casefold() for row in rows}, {row.repository_id for row in rows}
    added = [row for row in sorted(later, key=_order) if row.name.casefold() not in known_before]
    rows += [row for row in added if row.repository_id not in known_ids]
    last: dict[str, SeenName] = {}
    ever: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        last[row.name.casefold()] = row
        ever[row.repository_id].add(row.name.casefold())
    latest: dict[str, SeenName] = {}
    for row in last.values():
        latest[row.repository_id] = max(latest.get(row.repository_id, row), row, key=_order)
    names = {name: latest[row.repository_id].name for name, row in last.items()}
    for row in added:
        if row.repository_id in latest:
            names.setdefault(row.name.casefold(), latest[row.repository_id].name)
    lost = {
        row.name.casefold(): frozenset(
            name for name in ever[repository_id] if last[name].repository_id != repository_id
        )
        for repository_id, row in latest.items()
    }
    return KnownNames(names, {name: of for name, of in lost.items() if of})


def _order(row: SeenName) -> tuple[datetime, bool, str, str]:
    return row.seen_at, row.is_spelled, row.repository_id, row.name
