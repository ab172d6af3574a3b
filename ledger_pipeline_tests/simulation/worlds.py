"""A small GitHub drawn from a seed: a list of timed changes, and what is seen of it at any moment.

Placed on purpose: ties, events exactly at a window's bounds, reviews of unmerged pull requests and after the merge,
authors that are no users, accounts that are deleted later, issues closed again, reviews dismissed or seen late,
a pull request with more reviews than a page holds, repositories renamed and items deleted midway.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

from ledger_pipeline.core.windows import EpochCalendar
from ledger_pipeline.sources.simulator.people import DELETED, DEPENDENCY_BOT, IMPORTED, OWNER, USERS
from ledger_pipeline.sources.simulator.world import (
    Actor,
    Closure,
    Issue,
    PullRequest,
    Repository,
    Review,
    ReviewState,
    World,
)

START = datetime(2026, 2, 2, tzinfo=UTC)  # a Monday, on which windows of 1, 7 and 14 days all begin
SECOND = timedelta(seconds=1)

Item = PullRequest | Issue


@dataclass
class Draft:
    """A repository while changes are applied to it, one by one."""

    database_id: int
    name: str
    former_names: tuple[str, ...] = ()
    items: dict[int, Item] = field(default_factory=dict)

    def repository(self) -> Repository:
        """As it stands."""
        return Repository(
            self.name,
            self.database_id,
            tuple(item for item in self.items.values() if isinstance(item, PullRequest)),
            tuple(item for item in self.items.values() if isinstance(item, Issue)),
            self.former_names,
        )


@dataclass(frozen=True)
class Change:
    """Something that happens at a moment in one repository; `number` None concerns all its items."""

    at: datetime
    repository: int
    number: int | None

    def apply(self, draft: Draft) -> None:
        """Let it have happened."""
        raise NotImplementedError


@dataclass(frozen=True)
class Opened(Change):
    item: Item

    def apply(self, draft: Draft) -> None:
        draft.items[self.item.number] = self.item


@dataclass(frozen=True)
class ItemChange(Change):
    """A change of one item, which may have been deleted before."""

    number: int

    def apply(self, draft: Draft) -> None:
        if self.number in draft.items:
            draft.items[self.number] = self.changed(draft.items[self.number])

    def changed(self, item: Item) -> Item:
        """The item afterwards."""
        raise NotImplementedError


@dataclass(frozen=True)
class Touched(ItemChange):
    """Its updatedAt moves, for a label or a comment."""

    def changed(self, item: Item) -> Item:
        return replace(item, touched_at=(*item.touched_at, self.at))


@dataclass(frozen=True)
class Merged(ItemChange):
    def changed(self, item: Item) -> Item:
        assert isinstance(item, PullRequest)
        return replace(item, closed_at=self.at, merged_at=self.at, merged_by=USERS[0])


@dataclass(frozen=True)
class Closed(ItemChange):
    def changed(self, item: Item) -> Item:
        if isinstance(item, Issue):
            return replace(item, closures=(*item.closures, Closure(self.at)))
        return replace(item, closed_at=self.at)


@dataclass(frozen=True)
class Reopened(ItemChange):
    def changed(self, item: Item) -> Item:
        assert isinstance(item, Issue)
        return replace(item, closures=(*item.closures[:-1], replace(item.closures[-1], reopened_at=self.at)))


@dataclass(frozen=True)
class Reviewed(ItemChange):
    """A review is seen; where that is later than it was submitted, the pull request is updated only then."""

    review: Review

    def changed(self, item: Item) -> Item:
        assert isinstance(item, PullRequest)
        return replace(item, reviews=(*item.reviews, self.review), touched_at=(*item.touched_at, self.at))


@dataclass(frozen=True)
class Dismissed(ItemChange):
    """A review has another state under the same id."""

    review_id: int

    def changed(self, item: Item) -> Item:
        assert isinstance(item, PullRequest)
        reviews = tuple(
            replace(each, state=ReviewState.DISMISSED) if each.database_id == self.review_id else each
            for each in item.reviews
        )
        return replace(item, reviews=reviews, touched_at=(*item.touched_at, self.at))


@dataclass(frozen=True)
class Deleted(ItemChange):
    def apply(self, draft: Draft) -> None:
        draft.items.pop(self.number, None)


@dataclass(frozen=True)
class Renamed(Change):
    name: str

    def apply(self, draft: Draft) -> None:
        draft.former_names = (*draft.former_names, draft.name)
        draft.name = self.name


@dataclass(frozen=True)
class AccountDeleted(Change):
    """Everything its user did has no author any more, and no updatedAt moves for it."""

    login: str

    def apply(self, draft: Draft) -> None:
        for number, item in draft.items.items():
            changed = item if not self._is(item.author) else replace(item, author=DELETED)
            if isinstance(changed, PullRequest) and any(self._is(each.author) for each in changed.reviews):
                changed = replace(
                    changed,
                    reviews=tuple(
                        replace(each, author=DELETED) if self._is(each.author) else each for each in changed.reviews
                    ),
                )
            draft.items[number] = changed

    def _is(self, author: Actor | None) -> bool:
        return author is not None and author.login == self.login


@dataclass(frozen=True)
class History:
    """All that ever happens in a world, in order. `names` are the repositories' first ones, by id."""

    calendar: EpochCalendar
    end: datetime
    names: dict[int, str]
    changes: tuple[Change, ...]
    _seen: dict[int, World] = field(default_factory=dict, repr=False, compare=False)

    def drafts(self) -> dict[int, Draft]:
        """The repositories before anything happened."""
        return {database_id: Draft(database_id, name) for database_id, name in self.names.items()}

    def at(self, instant: datetime) -> World:
        """What has happened by then."""
        count = bisect_right(self.changes, instant, key=lambda change: change.at)
        if count not in self._seen:
            drafts = self.drafts()
            for change in self.changes[:count]:
                change.apply(drafts[change.repository])
            self._seen[count] = World(tuple(draft.repository() for draft in drafts.values()))
        return self._seen[count]

    def next_change(self, instant: datetime) -> datetime | None:
        """When something happens next, after that."""
        place = bisect_right(self.changes, instant, key=lambda change: change.at)
        return self.changes[place].at if place < len(self.changes) else None


def draw_history(random: Random) -> History:
    """Two to four weeks of one to four repositories."""
    length_days = random.choices((7, 1, 14), (8, 1, 1))[0]
    return _Drawing(random, EpochCalendar(length_days), START + timedelta(weeks=random.randint(2, 4))).history()


@dataclass
class _Drawing:
    random: Random
    calendar: EpochCalendar
    end: datetime
    moments: list[datetime] = field(default_factory=list)
    last_id: int = 3_000_000_000

    def history(self) -> History:
        names = {number: f"cogni-dao/part-{number}" for number in range(1, self.random.choice((1, 1, 2, 2, 3, 4)) + 1)}
        changes: list[Change] = []
        for repository, name in names.items():
            changes += self._repository(repository, name, self.random.choice((3, 5, 8, 12, 20)))
        if self.random.random() < 0.1:
            number = 1_000
            changes += self._crowded(1, number)
        if self.random.random() < 0.2:
            moment, user = self._moment(START), self._user()
            changes += [AccountDeleted(moment, repository, None, user.login) for repository in names]
        return History(self.calendar, self.end, names, tuple(sorted(changes, key=lambda change: change.at)))

    def _repository(self, repository: int, name: str, items: int) -> Iterator[Change]:
        for number in range(1, items + 1):
            yield from (self._issue if self.random.random() < 0.4 else self._pull_request)(repository, number)
        if self.random.random() < 0.25:
            yield Renamed(self._moment(START), repository, None, f"{name}-renamed")

    def _pull_request(self, repository: int, number: int) -> Iterator[Change]:
        created_at = self._moment(START)
        title = f"Change {number}"
        yield Opened(created_at, repository, number, PullRequest(number, self._id(), title, self._author(), created_at))
        closed_at = self._moment(created_at + SECOND)
        fate = self.random.random()
        if fate < 0.65:
            yield Merged(closed_at, repository, number)
        elif fate < 0.8:
            yield Closed(closed_at, repository, number)
        for _ in range(self.random.choice((0, 0, 1, 1, 2, 3))):
            yield from self._review(repository, number, self._moment(created_at + SECOND))
        yield from self._afterwards(repository, number, created_at)

    def _review(self, repository: int, number: int, submitted_at: datetime) -> Iterator[Change]:
        state = self.random.choice((ReviewState.APPROVED, ReviewState.COMMENTED, ReviewState.CHANGES_REQUESTED))
        review = Review(self._id(), self._author(), submitted_at, state)
        seen_at = submitted_at if self.random.random() < 0.8 else self._moment(submitted_at)
        yield Reviewed(seen_at, repository, number, review)
        if self.random.random() < 0.1:
            yield Dismissed(self._moment(seen_at + SECOND), repository, number, review.database_id)

    def _crowded(self, repository: int, number: int) -> Iterator[Change]:
        """A pull request with more reviews than a page holds, for ever unmerged."""
        opened_at = self._moment(START)
        crowded = PullRequest(number, self._id(), "Everybody looks at this", self._user(), opened_at)
        yield Opened(opened_at, repository, number, crowded)
        for place in range(self.random.randint(101, 115)):
            moment = opened_at + (place + 1) * timedelta(minutes=self.random.choice((1, 5)))
            review = Review(self._id(), self._user(), moment, ReviewState.COMMENTED)
            yield Reviewed(moment, repository, number, review)

    def _issue(self, repository: int, number: int) -> Iterator[Change]:
        created_at = moment = self._moment(START)
        yield Opened(
            created_at,
            repository,
            number,
            Issue(number, self._id(), f"Problem {number}", self._author(), created_at),
        )
        for closing in range(self.random.choice((0, 1, 1, 1, 2, 3))):
            if closing:
                moment = self._moment(moment + SECOND)
                yield Reopened(moment, repository, number)
            moment = self._moment(moment + SECOND)
            yield Closed(moment, repository, number)
        yield from self._afterwards(repository, number, created_at)

    def _afterwards(self, repository: int, number: int, created_at: datetime) -> Iterator[Change]:
        for _ in range(self.random.choice((0, 0, 1, 2))):
            yield Touched(self._moment(created_at + SECOND), repository, number)
        if self.random.random() < 0.05:
            yield Deleted(self._moment(created_at + SECOND), repository, number)

    def _moment(self, earliest: datetime) -> datetime:
        """Some second from `earliest` on: any, one that is taken, or at a window's bound."""
        kind = self.random.random()
        if kind < 0.15:
            taken = [moment for moment in self.moments[-20:] if moment >= earliest]
            if taken:
                return self.random.choice(taken)
        if kind < 0.3:
            bound = self.calendar.window_at(earliest).end - self.random.choice((0, 0, 1)) * SECOND
            if earliest <= bound <= self.end:
                return bound
        span = int((self.end - earliest).total_seconds())
        # What follows follows soon, more often than not.
        moment = earliest + min(self.random.randint(0, max(0, span)), self.random.randint(0, max(0, span))) * SECOND
        self.moments.append(moment)
        return moment

    def _author(self) -> Actor | None:
        kinds: tuple[Actor | None, ...] = (DEPENDENCY_BOT, IMPORTED, OWNER, DELETED)
        return self.random.choice(kinds) if self.random.random() < 0.12 else self._user()

    def _user(self) -> Actor:
        return self.random.choice(USERS[:6])

    def _id(self) -> int:
        self.last_id += self.random.randint(1, 9)
        return self.last_id
