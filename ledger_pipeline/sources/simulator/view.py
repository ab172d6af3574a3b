"""A world at one moment, indexed for serving: lookups by name and number, sorted lists kept between requests."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Generic, TypeVar

from ledger_pipeline.sources.simulator.as_of import changes_of, seen_at
from ledger_pipeline.sources.simulator.paging import Key, Ordering
from ledger_pipeline.sources.simulator.world import Issue, PullRequest, Repository, World

Listed = TypeVar("Listed", bound=PullRequest | Issue)

# A scan asks for the same list page after page; a handful of different lists is all that is ever alive.
_LISTS_KEPT = 64


def github_time(moment: datetime) -> str:
    """The time as GitHub writes it: UTC, whole seconds."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True)
class ListOptions:
    """Which items of a list are asked for, by what they are sorted; a filter that is None lets everything pass."""

    by_updated_at: bool = False
    states: frozenset[str] | None = None
    labels: frozenset[str] | None = None
    since: datetime | None = None
    base_ref_name: str | None = None

    def admit(self, item: PullRequest | Issue) -> bool:
        """Whether the item passes every filter; of several labels, one is enough."""
        return (
            (self.states is None or item.state in self.states)
            and (self.labels is None or not self.labels.isdisjoint(item.labels or ()))
            and (self.since is None or item.updated_at >= self.since)
            and (self.base_ref_name is None or getattr(item, "base_ref_name", None) == self.base_ref_name)
        )

    def key(self, item: PullRequest | Issue) -> Key:
        """The item's place in the list; ties are settled by id."""
        return github_time(item.updated_at if self.by_updated_at else item.created_at), item.database_id


class ItemList(Generic[Listed]):
    """The pull requests or the issues of a repository."""

    def __init__(self, items: Sequence[Listed]) -> None:
        self._items = items
        self._lists: dict[ListOptions, Ordering[Listed]] = {}

    @cached_property
    def by_number(self) -> dict[int, Listed]:
        """Items by number."""
        return {item.number: item for item in self._items}

    def ordered(self, options: ListOptions) -> Ordering[Listed]:
        """The items that pass the filters, sorted; sorted once however many pages are read."""
        if options not in self._lists:
            if len(self._lists) >= _LISTS_KEPT:
                self._lists.clear()
            self._lists[options] = Ordering.of(filter(options.admit, self._items), options.key)
        return self._lists[options]


class RepositoryView:
    """One repository as it stands."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.pull_requests = ItemList(repository.pull_requests)
        self.issues = ItemList(repository.issues)

    @cached_property
    def updated_at(self) -> datetime:
        """The latest change of anything in it."""
        items: list[PullRequest | Issue] = [*self.repository.pull_requests, *self.repository.issues]
        return max((item.updated_at for item in items), default=datetime(2008, 4, 10, tzinfo=UTC))

    @cached_property
    def pushed_at(self) -> datetime | None:
        """The latest merge."""
        merges = (pull_request.merged_at for pull_request in self.repository.pull_requests)
        return max((moment for moment in merges if moment is not None), default=None)


class WorldView:
    """All repositories as they stand."""

    def __init__(self, world: World) -> None:
        self._repositories = {repository.database_id: RepositoryView(repository) for repository in world.repositories}
        self._world = world
        self._of_owners: dict[str, WorldView] = {}

    def of_owner(self, owner: str) -> "WorldView":
        """Only the repositories of one owner."""
        wanted = owner.lower()
        if wanted not in self._of_owners:
            every = self._world.repositories
            owned = (
                repository for repository in every if repository.name_with_owner.partition("/")[0].lower() == wanted
            )
            self._of_owners[wanted] = WorldView(replace(self._world, repositories=tuple(owned)))
        return self._of_owners[wanted]

    def owned_by(self, login: str) -> list[RepositoryView]:
        """All repositories of an owner, in any case."""
        owned = (view for view in self._repositories.values() if view.repository.owner.lower() == login.lower())
        return list(owned)

    def named(self, name_with_owner: str) -> RepositoryView | None:
        """A repository by its present or a former name, in any case."""
        repository = self._world.by_name.get(name_with_owner.lower())
        return None if repository is None else self._repositories[repository.database_id]

    def with_id(self, database_id: int) -> RepositoryView | None:
        """A repository by GitHub's id."""
        return self._repositories.get(database_id)


class Timeline:
    """A world and what is seen of it as time passes: a new view only when something has happened."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._changes = changes_of(world)
        self._latest: tuple[int, WorldView] | None = None

    def at(self, instant: datetime) -> WorldView:
        """The view at that instant; the same one for two instants between which nothing happens."""
        step = bisect_right(self._changes, instant)
        if self._latest is None or self._latest[0] != step:
            self._latest = (step, WorldView(seen_at(self.world, instant)))
        return self._latest[1]
