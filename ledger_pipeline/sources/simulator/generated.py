"""A world made from a seed: weeks of believable activity with the cases in it that break collectors.

No clock: activity is drawn per repository and week from a generator of its own, so the same seed gives the same
world, and one generated further only adds what is created later. What begins in a week may end in a later one.

Cases placed on purpose, at fixed weeks: merges at Monday 00:00:00Z and closures at Sunday 23:59:59Z, a pull request
with 250 reviews, label sweeps that give dozens of items one updatedAt, reviews after the merge, reviewed pull
requests that are closed unmerged, issues closed again, and authors that are no users.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TypeVar

from ledger_pipeline.core.owners import is_owner_ref
from ledger_pipeline.sources.simulator.made_up import stable_commit, stable_number
from ledger_pipeline.sources.simulator.people import (
    DELETED,
    DEPENDENCY_BOT,
    IMPORTED,
    OWNER,
    REVIEW_BOT,
    USERS,
)
from ledger_pipeline.sources.simulator.world import (
    Actor,
    Closure,
    Issue,
    PullRequest,
    Repository,
    Review,
    ReviewState,
    StateReason,
    World,
)

FIRST_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
REPOSITORIES = ("cogni-dao/cogni-template", "cogni-dao/ledger", "cogni-dao/website")

WEEK = timedelta(weeks=1)
SECOND = timedelta(seconds=1)

BOUNDARY_WEEKS = 4
"""Every so many weeks each repository has something exactly at the end of the week."""
CROWDED_WEEKS = 26
"""Every so many weeks the first repository has a pull request with more reviews than two pages hold."""
CROWD_REVIEWS = 250
SWEEP_WEEKS = 6
"""Every so many weeks somebody labels everything that is not older than this many weeks, in one second."""
SWEEP_REACH = 8 * WEEK

_IDS_PER_WEEK = 1024
_REPOSITORIES_LIMIT = 64
# Ids pass 2**31 in the middle of 2024, as GitHub's did.
_FIRST_ID = 2**31 - 26 * _REPOSITORIES_LIMIT * _IDS_PER_WEEK

_AREAS = ("ledger", "web", "docs", "ci", "payouts", "auth", "graph", "api")
_KINDS = ("feat", "fix", "refactor", "docs", "test", "chore")
_THINGS = ("epoch view", "retry on timeout", "cursor", "approver list", "payout export", "login", "types", "search")
_LABELS = ("bug", "enhancement", "good first issue", "ledger", "governance", "docs")

Item = TypeVar("Item", bound=PullRequest | Issue)


def generate_world(seed: int, until: datetime, repositories: tuple[str, ...] = REPOSITORIES) -> World:
    """Every week that has begun by `until`, whole, with all that follows from it later.

    Of `acme/*` there are two repositories.
    """
    repositories = tuple(name for ref in repositories for name in _named(ref))
    if len(repositories) > _REPOSITORIES_LIMIT:
        raise ValueError(f"at most {_REPOSITORIES_LIMIT} repositories, not {len(repositories)}")
    return World(tuple(_repository(seed, until, name, place) for place, name in enumerate(repositories)))


def _named(ref: str) -> list[str]:
    return [f"{ref.removesuffix('*')}{name}" for name in ("app", "docs")] if is_owner_ref(ref) else [ref]


def _repository(seed: int, until: datetime, name: str, place: int) -> Repository:
    pull_requests: list[PullRequest] = []
    issues: list[Issue] = []
    week, number = 0, 0
    while FIRST_MONDAY + week * WEEK <= until:
        items = _Week(seed, name, place, week).items()
        for item in sorted(items, key=lambda item: (item.created_at, item.database_id)):
            number += 1
            if isinstance(item, PullRequest):
                pull_requests.append(replace(item, number=number))
            else:
                issues.append(replace(item, number=number))
        week += 1
    repository_id = stable_number("repository", name) % 2**31
    return Repository(name, repository_id, tuple(pull_requests), tuple(issues))


@dataclass
class _Week:
    """What begins in one week of one repository."""

    seed: int
    name: str
    place: int
    week: int
    random: Random = field(init=False)
    start: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(f"{self.seed}:{self.name}:{self.week}")  # noqa: S311 - a simulation, no secret
        self.start = FIRST_MONDAY + self.week * WEEK
        self._next_id = _FIRST_ID + (self.week * _REPOSITORIES_LIMIT + self.place) * _IDS_PER_WEEK

    @property
    def end(self) -> datetime:
        return self.start + WEEK

    def items(self) -> list[PullRequest | Issue]:
        """Its items, in no order and not numbered yet."""
        items: list[PullRequest | Issue] = [self._pull_request() for _ in range(self.random.randint(2, 5))]
        items += [self._issue() for _ in range(self.random.randint(1, 4))]
        if self.week % BOUNDARY_WEEKS == 0:
            items += [self._merged_at_the_boundary(), self._closed_at_the_boundary()]
        if self.week % CROWDED_WEEKS == CROWDED_WEEKS // 2 and self.place == 0:
            items.append(self._crowded())
        return [self._swept(item) for item in items]

    def _pull_request(self) -> PullRequest:
        created_at = self._moment(self.start, self.end - SECOND)
        closed_at = self._moment(created_at, created_at + timedelta(days=self.random.choice((1, 2, 3, 5, 12))))
        fate = self.random.random()
        if fate < 0.1:
            closed_at = created_at + 2 * WEEK  # Never closed: this only says until when it is reviewed.
        reviews = [
            self._review(self._moment(created_at, closed_at)) for _ in range(self.random.choice((0, 1, 1, 2, 3)))
        ]
        if self.random.random() < 0.15:
            reviews.append(self._review(self._moment(closed_at, closed_at + WEEK)))
        drawn = self._drawn_pull_request(created_at, reviews)
        if fate < 0.1:
            return drawn
        if fate < 0.25:
            return replace(drawn, closed_at=closed_at)
        return self._merged(drawn, closed_at)

    def _merged_at_the_boundary(self) -> PullRequest:
        """Reviewed in the last second of this week, merged in the first of the next."""
        created_at = self._moment(self.start, self.end - timedelta(days=1))
        return self._merged(self._drawn_pull_request(created_at, [self._review(self.end - SECOND)]), self.end)

    def _crowded(self) -> PullRequest:
        created_at = self.start + timedelta(hours=9)
        reviews = [self._review(created_at + place * timedelta(minutes=20)) for place in range(CROWD_REVIEWS)]
        return self._merged(self._drawn_pull_request(created_at, reviews), created_at + timedelta(days=4))

    def _drawn_pull_request(self, created_at: datetime, reviews: list[Review]) -> PullRequest:
        author = self._author()
        others = [replace(review, author=REVIEW_BOT) if review.author == author else review for review in reviews]
        area = self.random.choice(_AREAS)
        files = tuple(f"src/{area}/part_{number}.ts" for number in range(self.random.randint(1, 5)))
        return PullRequest(
            number=0,
            database_id=self._id(),
            title=f"{self.random.choice(_KINDS)}({area}): {self.random.choice(_THINGS)}",
            author=author,
            created_at=created_at,
            labels=self._labels(),
            files=files,
            changed_files=len(files),
            additions=self.random.randint(1, 400),
            deletions=self.random.randint(0, 150),
            reviews=tuple(others),
        )

    def _merged(self, pull_request: PullRequest, moment: datetime) -> PullRequest:
        return replace(
            pull_request,
            closed_at=moment,
            merged_at=moment,
            merged_by=self._user(),
            merge_commit=f"{self.random.getrandbits(160):040x}",
            merge_message=_merge_message(pull_request),
            commits=tuple(stable_commit(pull_request.database_id, n) for n in range(1 + pull_request.database_id % 4)),
        )

    def _review(self, moment: datetime) -> Review:
        author: Actor | None = self._user()
        kind = self.random.random()
        if kind < 0.1:
            author = REVIEW_BOT
        elif kind < 0.12:
            author = DELETED
        states = (ReviewState.APPROVED, ReviewState.COMMENTED, ReviewState.CHANGES_REQUESTED)
        state = self.random.choices(states, (5, 4, 1))[0]
        review = Review(self._id(), author, moment, state, commit=f"{self.random.getrandbits(160):040x}")
        # As GitHub has them: a comment on a line makes a review without a text.
        return replace(review, body="" if stable_number("body", review.database_id) % 3 == 0 else "I have read it.")

    def _issue(self) -> Issue:
        created_at = self._moment(self.start, self.end - SECOND)
        closed_at = self._moment(created_at, created_at + 3 * WEEK)
        reason = self.random.choices(list(StateReason)[:3], (8, 1, 2))[0]
        drawn = self._drawn_issue(created_at)
        fate = self.random.random()
        if fate < 0.25:
            return drawn
        if fate > 0.9:
            reopened_at = self._moment(closed_at + SECOND, closed_at + WEEK)
            closed_again_at = self._moment(reopened_at + SECOND, reopened_at + 2 * WEEK)
            first = Closure(closed_at, reason, reopened_at, _somebody(drawn))
            again = Closure(closed_again_at, StateReason.COMPLETED, closed_by=_somebody(drawn))
            return replace(drawn, closures=(first, again))
        return replace(drawn, closures=(Closure(closed_at, reason, closed_by=_somebody(drawn)),))

    def _closed_at_the_boundary(self) -> Issue:
        """Closed in the last second of this week."""
        drawn = self._drawn_issue(self._moment(self.start, self.end - timedelta(days=1)))
        return replace(drawn, closures=(Closure(self.end - SECOND),))

    def _drawn_issue(self, created_at: datetime) -> Issue:
        return Issue(
            number=0,
            database_id=self._id(),
            title=f"{self.random.choice(_THINGS)}: {self.random.choice(('broken', 'missing', 'unclear', 'slow'))}",
            author=self._author(),
            created_at=created_at,
            labels=self._labels(),
        )

    def _swept(self, item: Item) -> Item:
        """Touched by every label sweep that still reaches it."""
        first = self.week - self.week % SWEEP_WEEKS
        sweeps = (FIRST_MONDAY + week * WEEK + timedelta(days=2.5) for week in range(first, first + 24, SWEEP_WEEKS))
        touched = tuple(sweep for sweep in sweeps if item.created_at < sweep <= item.created_at + SWEEP_REACH)
        return replace(item, touched_at=touched)

    def _moment(self, start: datetime, end: datetime) -> datetime:
        return start + self.random.randint(0, max(0, int((end - start).total_seconds()))) * SECOND

    def _user(self) -> Actor:
        return USERS[min(self.random.randrange(len(USERS)), self.random.randrange(len(USERS)))]

    def _author(self) -> Actor | None:
        rare = self.random.random()
        for share, who in ((0.08, DEPENDENCY_BOT), (0.1, IMPORTED), (0.11, OWNER), (0.14, DELETED)):
            if rare < share:
                return who
        return self._user()

    def _labels(self) -> tuple[str, ...]:
        return tuple(sorted(self.random.sample(_LABELS, self.random.choice((0, 0, 1, 2)))))

    def _id(self) -> int:
        self._next_id += 1
        return self._next_id - 1


# What follows draws nothing, so that a seed's world stays what it was before worlds told of it.


def _merge_message(pull_request: PullRequest) -> str:
    """The message of a squashed pull request; every fourth names a co-author."""
    if pull_request.database_id % 4:
        return pull_request.title
    co_author = _somebody(pull_request)
    email = f"{co_author.database_id}+{co_author.login}@users.noreply.github.com"
    return f"{pull_request.title}\n\nCo-authored-by: {co_author.login} <{email}>"


def _somebody(item: PullRequest | Issue) -> Actor:
    return USERS[stable_number("somebody", item.database_id) % len(USERS)]
