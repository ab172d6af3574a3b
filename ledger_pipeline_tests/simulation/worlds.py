"""A small GitHub drawn from a seed: a list of timed changes, and what is seen of it at any moment.

Placed on purpose: ties, events exactly at a window's bounds, reviews of unmerged pull requests and after the merge,
authors that are no users, accounts that are deleted later, issues closed again, reviews dismissed or seen late,
a pull request with more reviews than a page holds, labels that come late and base branches that are edited,
repositories renamed and items deleted midway; items that are hidden and come back with their old update, and
repositories deleted and made anew under their name.
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
SUCCESSOR = 1_000  # how much larger the id of a repository is than that of the one it has taken the name of

Item = PullRequest | Issue


@dataclass
class Draft:
    """A repository while changes are applied to it, one by one; `hidden` are items that nobody is shown."""

    database_id: int
    name: str
    former_names: tuple[str, ...] = ()
    items: dict[int, Item] = field(default_factory=dict)
    hidden: dict[int, Item] = field(default_factory=dict)

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
        for items in (draft.items, draft.hidden):
            if self.number in items:
                items[self.number] = self.changed(items[self.number])

    def changed(self, item: Item) -> Item:
        """The item afterwards."""
        raise NotImplementedError


@dataclass(frozen=True)
class Touched(ItemChange):
    """Its updatedAt moves, for a label, for another base branch, or for a comment."""

    label: str | None = None
    base_branch: str | None = None

    def changed(self, item: Item) -> Item:
        touched = replace(item, touched_at=(*item.touched_at, self.at))
        if self.label is not None:
            touched = replace(touched, labels=(*(touched.labels or ()), self.label))
        if self.base_branch is not None and isinstance(touched, PullRequest):
            touched = replace(touched, base_ref_name=self.base_branch)
        return touched


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
            replace(review, state=ReviewState.DISMISSED) if review.database_id == self.review_id else review
            for review in item.reviews
        )
        return replace(item, reviews=reviews, touched_at=(*item.touched_at, self.at))


@dataclass(frozen=True)
class Deleted(ItemChange):
    def apply(self, draft: Draft) -> None:
        draft.items.pop(self.number, None)
        draft.hidden.pop(self.number, None)


@dataclass(frozen=True)
class Hidden(Change):
    """Nobody is shown the item any more, as where its author is taken for a spammer."""

    number: int

    def apply(self, draft: Draft) -> None:
        if self.number in draft.items:
            draft.hidden[self.number] = draft.items.pop(self.number)


@dataclass(frozen=True)
class Restored(Change):
    """It is shown again, and was not updated for that."""

    number: int

    def apply(self, draft: Draft) -> None:
        if self.number in draft.hidden:
            draft.items[self.number] = draft.hidden.pop(self.number)


@dataclass(frozen=True)
class MadeAnew(Change):
    """The repository is deleted, and another one has its name; their numbers are alike."""

    def apply(self, draft: Draft) -> None:
        draft.database_id += SUCCESSOR
        draft.items, draft.hidden = {}, {}


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
        self._forget_in(draft.items)
        self._forget_in(draft.hidden)

    def _forget_in(self, items: dict[int, Item]) -> None:
        for number, item in items.items():
            changed = item if not self._is(item.author) else replace(item, author=DELETED)
            if isinstance(changed, PullRequest) and any(self._is(review.author) for review in changed.reviews):
                changed = replace(
                    changed,
                    reviews=tuple(
                        replace(review, author=DELETED) if self._is(review.author) else review
                        for review in changed.reviews
                    ),
                )
            items[number] = changed

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


def draw_history(random: Random, newer: Random, newest: Random) -> History:
    """Two to four weeks of one to four repositories.

    `newer` decides what was not drawn always, and `newest` what items are touched for, so that seeds stay.
    """
    length_days = random.choices((7, 1, 14), (8, 1, 1))[0]
    drawing = _Drawing(random, EpochCalendar(length_days), START + timedelta(weeks=random.randint(2, 4)))
    history = _Later(newer, drawing).history()
    return replace(history, changes=tuple(_edited(newest, change) for change in history.changes))


def _edited(random: Random, change: Change) -> Change:
    """What an item is touched for: most often a label, or another base branch, whenever that is."""
    if not isinstance(change, Touched):
        return change
    label = random.choice((None, "bug", "late", "docs"))
    return replace(change, label=label, base_branch=random.choice((None, None, "next", "main")))


@dataclass
class _Later:
    """Items hidden and restored, and repositories made anew, in a history that had none."""

    random: Random
    drawing: "_Drawing"

    def history(self) -> History:
        history = self.drawing.history()
        changes = list(history.changes)
        for repository in history.names:
            if self.random.random() < 0.12 and not any(
                isinstance(change, Renamed) and change.repository == repository for change in changes
            ):
                changes = list(self._made_anew(repository, changes))
            if self.random.random() < 0.25:
                changes += self._hidden(repository, changes)
        return replace(history, changes=tuple(sorted(changes, key=lambda change: change.at)))

    def _made_anew(self, repository: int, changes: list[Change]) -> Iterator[Change]:
        span = int((self.drawing.end - START).total_seconds())
        at = START + self.random.randint(span // 5, span) * SECOND
        yield from (change for change in changes if change.repository != repository or change.at < at)
        yield MadeAnew(at, repository, None)
        after = _Drawing(self.random, self.drawing.calendar, self.drawing.end, last_id=(5 + repository) * 10**9)
        after.start = at + SECOND
        yield from after.items(repository, self.random.choice((2, 4, 8)))

    def _hidden(self, repository: int, changes: list[Change]) -> Iterator[Change]:
        opened = [change for change in changes if isinstance(change, Opened) and change.repository == repository]
        for change in self.random.sample(opened, min(len(opened), self.random.choice((1, 1, 2)))):
            left = int((self.drawing.end - change.at).total_seconds())
            hidden, restored = sorted(self.random.randint(0, max(0, left)) for _ in range(2))
            yield Hidden(change.at + hidden * SECOND, repository, change.number)
            yield Restored(change.at + restored * SECOND, repository, change.number)


@dataclass
class _Drawing:
    random: Random
    calendar: EpochCalendar
    end: datetime
    moments: list[datetime] = field(default_factory=list)
    last_id: int = 3_000_000_000
    start: datetime = START

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

    def items(self, repository: int, count: int) -> Iterator[Change]:
        """What happens to so many items of a repository."""
        for number in range(1, count + 1):
            yield from (self._issue if self.random.random() < 0.4 else self._pull_request)(repository, number)

    def _repository(self, repository: int, name: str, items: int) -> Iterator[Change]:
        yield from self.items(repository, items)
        if self.random.random() < 0.25:
            yield Renamed(self._moment(START), repository, None, f"{name}-renamed")

    def _pull_request(self, repository: int, number: int) -> Iterator[Change]:
        created_at = self._moment(self.start)
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
        created_at = moment = self._moment(self.start)
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
