"""What the simulator can be told to let go wrong, and when.

Every fault stands for something GitHub, or the network before it, has really done. A fault meets GraphQL requests
only. How each looks on the wire is in `answers` and `wire`.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from threading import Lock


class FailedAnswer(Enum):
    """The request is not served; this is answered instead."""

    BAD_GATEWAY = auto()
    """502 with an HTML page."""
    SERVER_ERROR = auto()
    """500 with an HTML page."""
    MAINTENANCE = auto()
    """503 with an HTML page."""
    MAINTENANCE_FOR_A_WHILE = auto()
    """503 with an HTML page and `Retry-After`, of a minute."""
    HTML_PAGE = auto()
    """200 with an HTML page: a proxy's."""
    NO_DATA = auto()
    """200, `data` null, and no error."""
    INTERNAL = auto()
    """200, `data` null and an error of type INTERNAL."""
    UNTYPED = auto()
    """200, `data` null and an error without a type."""
    SERVICE_UNAVAILABLE = auto()
    """200, `data` null and an error of type SERVICE_UNAVAILABLE."""
    NULL_CONNECTION = auto()
    """200, the repository null, and an error without a type whose path leads to a connection of it."""
    NULL_BELOW_A_NODE = auto()
    """200, the repository null, and an error whose path leads to the author of an item."""
    GATEWAY_TIMEOUT = auto()
    """504 with an HTML page."""
    QUERY_TIMEOUT = auto()
    """200, `data` null and the error without a type that GitHub sends when a query takes over ten seconds."""
    QUERY_TIMEOUT_502 = auto()
    """The same body with status 502."""
    RATE_LIMITED = auto()
    """200 with an error of type RATE_LIMITED; the budget's headers say that nothing is left."""
    RATE_LIMIT = auto()
    """The same with type RATE_LIMIT, as GitHub has also sent it."""
    PRIMARY_LIMIT_403 = auto()
    """403, nothing left, and when the budget is whole again."""
    PRIMARY_LIMIT_429 = auto()
    """429, nothing left, and when the budget is whole again."""
    BAD_CREDENTIALS = auto()
    """401: the token was revoked."""
    NOT_FOUND = auto()
    """404."""
    BLOCKED = auto()
    """451: taken down for legal reasons."""
    FORBIDDEN_BELOW_A_NODE = auto()
    """The same with an error of type FORBIDDEN."""


class Damage(Enum):
    """The request is served, but its answer does not arrive as it was sent."""

    DROPPED = auto()
    """The connection closes and nothing was answered."""
    CUT_SHORT = auto()
    """The connection closes in the middle of the body; Content-Length promised more."""
    TRUNCATED_JSON = auto()
    """A complete HTTP answer whose JSON ends in the middle."""
    UNDATED = auto()
    """A complete answer without a `Date` header."""


@dataclass(frozen=True)
class SecondaryLimit:
    """Too much at once: 403 (or 429), with or without `Retry-After`, while the hourly budget still has points."""

    retry_after_seconds: int | None = None
    status: int = 403


@dataclass(frozen=True)
class Slow:
    """The answer comes later; the one fault that takes real time."""

    delay_seconds: float


@dataclass(frozen=True)
class HeavyPage:
    """502 when the query asks for pages larger than this; smaller ones are served."""

    page_size_over: int


@dataclass(frozen=True)
class NullNode:
    """One node of a page is null: in the first connection that has that name (or alias) and is long enough.

    GitHub does this in silence, or with an error beside the data.
    """

    connection: str
    index: int = 0
    with_error: bool = False


@dataclass(frozen=True)
class ShortPage:
    """Pages of that name end their list, and of their nodes only the first `keep` are there; the count stays.

    With `says_more` they only have fewer nodes than there is room for, and the list goes on where it did.
    """

    connection: str
    keep: int = 0
    says_more: bool = False


@dataclass(frozen=True)
class HeavyItem:
    """502, or another `status`, to every query for more than the number and times of this pull request or issue.

    With `reviews_over`, only to one that would bring more than so many of its reviews. With `is_unlisted`, to every
    query that would bring it at all, be it its number alone.
    """

    number: int
    reviews_over: int | None = None
    status: int = 502
    is_unlisted: bool = False


@dataclass(frozen=True)
class BadItem:
    """Every query for more than the number and times of this pull request or issue meets `instead`.

    With `review`, only one that would bring this review, named by its id.
    """

    number: int
    instead: FailedAnswer | Damage | Slow
    review: str | None = None


@dataclass(frozen=True)
class NullItem:
    """This pull request or issue is null wherever more than its number and times is asked for.

    With `is_unlisted`, also where no more is asked for.
    """

    number: int
    is_unlisted: bool = False


@dataclass(frozen=True)
class OddField:
    """A field of this pull request or issue holds `value`, which GitHub's schema may not allow.

    `field` may lead further in, as `author.databaseId` or `reviews.nodes.0.state`.
    """

    number: int
    field: str
    value: object


@dataclass(frozen=True)
class Forbidden:
    """The token may not read `pullRequests`, or `issues`: a query for any of them has no repository, and says why."""

    connection: str


@dataclass(frozen=True)
class ForbiddenField:
    """The token may not read what is called `field` anywhere in the answer; with `bubbles`, its item is null for it.

    GitHub's schema says of some fields that they are never null, and of others that they may be.
    """

    field: str
    bubbles: bool = False
    type: str | None = "FORBIDDEN"


@dataclass(frozen=True)
class PartialErrors:
    """`errors` beside complete data."""

    message: str = "Something went wrong while executing your query."
    type: str | None = None


@dataclass(frozen=True)
class After:
    """Do this once the request has been served: data that changes between two pages, a clock that moves on."""

    action: Callable[[], object]


Odd = NullNode | ShortPage | PartialErrors | NullItem | OddField | Forbidden | ForbiddenField
Fault = FailedAnswer | Damage | SecondaryLimit | Slow | HeavyPage | HeavyItem | BadItem | Odd | After


@dataclass(frozen=True)
class Asked:
    """What a fault can go by."""

    number: int
    """Which GraphQL request it is, from 1 on, since the simulator's records were cleared."""
    repositories: tuple[str, ...]
    largest_page: int


@dataclass
class _Rule:
    fault: Fault
    applies: Callable[[Asked], bool]
    times_left: int | None


class Faults:
    """The faults in store. One request may meet several: the next of the queue, and every rule that applies."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._queue: deque[Fault | None] = deque()
        self._rules: list[_Rule] = []

    def next(self, *faults: Fault | None) -> None:
        """One for each of the next requests, in this order; None lets a request pass."""
        with self._lock:
            self._queue.extend(faults)

    def on_request(self, number: int, fault: Fault) -> None:
        """When the request of that number comes, counted from 1."""
        self.when(lambda asked: asked.number == number, fault, times=1)

    def for_repository(self, name_with_owner: str, fault: Fault, times: int | None = None) -> None:
        """Whenever a query asks for that repository, or only so many times."""
        wanted = name_with_owner.lower()
        self.when(lambda asked: wanted in (name.lower() for name in asked.repositories), fault, times)

    def when(self, applies: Callable[[Asked], bool], fault: Fault, times: int | None = None) -> None:
        """Whenever the predicate says so, or only so many times."""
        with self._lock:
            self._rules.append(_Rule(fault, applies, times))

    def clear(self) -> None:
        """Let all go well from now on."""
        with self._lock:
            self._queue.clear()
            self._rules.clear()

    def take(self, asked: Asked) -> list[Fault]:
        """The faults that this request meets; they are used up by it."""
        with self._lock:
            due: list[Fault] = []
            queued = self._queue.popleft() if self._queue else None
            if queued is not None:
                due.append(queued)
            for rule in self._rules:
                if rule.times_left != 0 and rule.applies(asked):
                    due.append(rule.fault)
                    rule.times_left = None if rule.times_left is None else rule.times_left - 1
            return due
