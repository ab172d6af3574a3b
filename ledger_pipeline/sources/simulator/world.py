"""What GitHub knows, as plain frozen facts: a world of repositories, pull requests, reviews and issues.

No clock, no HTTP and no GraphQL here. A world holds the past and the future alike; `as_of` says what of it has
happened. Times are aware UTC datetimes of whole seconds. What follows from a fact (state, updatedAt) is derived, so
that a world cannot contradict itself.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property


class ActorKind(StrEnum):
    """The GraphQL types an author can have."""

    USER = "User"
    BOT = "Bot"
    MANNEQUIN = "Mannequin"
    ORGANIZATION = "Organization"
    ENTERPRISE_USER_ACCOUNT = "EnterpriseUserAccount"


class ReviewState(StrEnum):
    """What a review says; only PENDING ones have not been submitted."""

    APPROVED = "APPROVED"
    CHANGES_REQUESTED = "CHANGES_REQUESTED"
    COMMENTED = "COMMENTED"
    DISMISSED = "DISMISSED"
    PENDING = "PENDING"


class StateReason(StrEnum):
    """Why an issue is closed, or that it was opened again."""

    COMPLETED = "COMPLETED"
    DUPLICATE = "DUPLICATE"
    NOT_PLANNED = "NOT_PLANNED"
    REOPENED = "REOPENED"


@dataclass(frozen=True)
class Actor:
    """Who did something. Wherever an actor may stand, None is an account that was deleted since."""

    login: str
    database_id: int
    kind: ActorKind = ActorKind.USER


@dataclass(frozen=True)
class Review:
    """One review of a pull request."""

    database_id: int
    author: Actor | None
    submitted_at: datetime | None
    state: ReviewState = ReviewState.COMMENTED
    edited_at: datetime | None = None
    commit: str | None = None
    body: str = ""


@dataclass(frozen=True)
class PullRequest:
    """One pull request with its reviews.

    `touched_at` are the moments its updatedAt moved for a reason the world holds no other fact about: a label, a
    comment, a push. `merge_message` is the merge commit's, its title where none is told; `commits` are ids, `closes`
    are numbers of issues in the same repository.
    """

    number: int
    database_id: int
    title: str
    author: Actor | None
    created_at: datetime
    closed_at: datetime | None = None
    merged_at: datetime | None = None
    merged_by: Actor | None = None
    touched_at: tuple[datetime, ...] = ()
    labels: tuple[str, ...] | None = ()
    files: tuple[str, ...] | None = ()
    changed_files: int = 1
    additions: int = 0
    deletions: int = 0
    merge_commit: str | None = None
    merge_message: str | None = None
    commits: tuple[str, ...] = ()
    closes: tuple[int, ...] = ()
    base_ref_name: str = "main"
    head_ref_name: str = "topic"
    is_draft: bool = False
    reviews: tuple[Review, ...] = ()

    @property
    def state(self) -> str:
        """OPEN, CLOSED or MERGED."""
        if self.merged_at is not None:
            return "MERGED"
        return "OPEN" if self.closed_at is None else "CLOSED"

    @cached_property
    def changes(self) -> tuple[datetime, ...]:
        """Every moment at which GitHub moved its updatedAt, in order; a submitted review is one of them."""
        submitted = (review.submitted_at for review in self.reviews)
        facts = (self.created_at, self.closed_at, self.merged_at, *self.touched_at, *submitted)
        return tuple(sorted(moment for moment in facts if moment is not None))

    @property
    def updated_at(self) -> datetime:
        """The latest change."""
        return self.changes[-1]


@dataclass(frozen=True)
class Closure:
    """One time an issue was closed, and opened again if it was.

    It was closed by a person, unless it says by which `pull_request` of the repository or which `commit`.
    """

    closed_at: datetime
    reason: StateReason = StateReason.COMPLETED
    reopened_at: datetime | None = None
    closed_by: Actor | None = None
    pull_request: int | None = None
    commit: str | None = None


@dataclass(frozen=True)
class Issue:
    """One issue. `closures` are in order, and only the last may still hold."""

    number: int
    database_id: int
    title: str
    author: Actor | None
    created_at: datetime
    closures: tuple[Closure, ...] = ()
    touched_at: tuple[datetime, ...] = ()
    labels: tuple[str, ...] | None = ()

    @property
    def closed_at(self) -> datetime | None:
        """When it was last closed; none while it is open, also when it was opened again."""
        if not self.closures or self.closures[-1].reopened_at is not None:
            return None
        return self.closures[-1].closed_at

    @property
    def state(self) -> str:
        """OPEN or CLOSED."""
        return "OPEN" if self.closed_at is None else "CLOSED"

    @property
    def state_reason(self) -> StateReason | None:
        """The last closure's reason, REOPENED once that is undone, none for an issue never closed."""
        if not self.closures:
            return None
        return self.closures[-1].reason if self.closed_at is not None else StateReason.REOPENED

    @cached_property
    def changes(self) -> tuple[datetime, ...]:
        """Every moment at which GitHub moved its updatedAt, in order."""
        closures = (moment for closure in self.closures for moment in (closure.closed_at, closure.reopened_at))
        facts = (self.created_at, *self.touched_at, *closures)
        return tuple(sorted(moment for moment in facts if moment is not None))

    @property
    def updated_at(self) -> datetime:
        """The latest change."""
        return self.changes[-1]


@dataclass(frozen=True)
class Repository:
    """One repository. It answers to its `former_names` too, always with the name it has now.

    It is there since `created_at`; None: since before anybody looked.
    """

    name_with_owner: str
    database_id: int
    pull_requests: tuple[PullRequest, ...] = ()
    issues: tuple[Issue, ...] = ()
    former_names: tuple[str, ...] = ()
    is_archived: bool = False
    is_private: bool = False
    is_fork: bool = False
    created_at: datetime | None = None
    default_branch: str | None = "main"

    @property
    def owner(self) -> str:
        """The part before the slash."""
        return self.name_with_owner.partition("/")[0]

    @property
    def name(self) -> str:
        """The part after the slash."""
        return self.name_with_owner.partition("/")[2]


@dataclass(frozen=True)
class World:
    """All repositories there are."""

    repositories: tuple[Repository, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, Repository]:
        """Repositories by lower-case name; where a name was taken over, its present holder wins."""
        former = {old.lower(): repository for repository in self.repositories for old in repository.former_names}
        return former | {repository.name_with_owner.lower(): repository for repository in self.repositories}

    @property
    def last_change(self) -> datetime | None:
        """The latest moment anything in it happened; None in an empty world."""
        pull_requests = (item.updated_at for repository in self.repositories for item in repository.pull_requests)
        issues = (item.updated_at for repository in self.repositories for item in repository.issues)
        return max((*pull_requests, *issues), default=None)

    def with_repository(self, repository: Repository) -> "World":
        """The same world in which this repository replaces the one of its id, or is new."""
        others = tuple(present for present in self.repositories if present.database_id != repository.database_id)
        return replace(self, repositories=(*others, repository))
