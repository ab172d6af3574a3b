"""What a running simulator holds: a world, a clock, budgets, faults, and a record of every request.

Tests change it from their thread while the server's thread reads it, so every access takes the lock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import RLock
from typing import Any

from ledger_pipeline.sources.simulator.apps import App, Apps, InstallationToken
from ledger_pipeline.sources.simulator.budget import Budgets, Standing
from ledger_pipeline.sources.simulator.faults import Faults
from ledger_pipeline.sources.simulator.query import schema_without
from ledger_pipeline.sources.simulator.view import Timeline, WorldView
from ledger_pipeline.sources.simulator.world import World

POINTS_PER_HOUR = 5000


@dataclass(frozen=True)
class RequestRecord:
    """One request as it was answered; `status` is None where nothing was."""

    at: datetime
    method: str
    path: str
    status: int | None
    token: str = ""
    query: str | None = None
    operation_name: str | None = None
    variables: dict[str, Any] | None = None
    cost_points: int = 0
    repositories: tuple[str, ...] = ()


class SimulatorState:
    """The part of the simulator that outlives a request."""

    def __init__(
        self,
        world: World,
        as_of: datetime | None = None,
        points_per_hour: int = POINTS_PER_HOUR,
        bad_tokens: Iterable[str] = (),
        apps: Iterable[App] = (),
        scopes: Mapping[str, str] | None = None,
        lacking: Iterable[str] = (),
    ) -> None:
        self.schema = schema_without(frozenset(lacking))
        self.faults = Faults()
        self.apps = Apps(apps)
        self._scopes = dict(scopes or {})
        self._bad_tokens = frozenset(bad_tokens)
        self._lock = RLock()
        self._timeline = Timeline(world)
        self._as_of = as_of
        self._budgets = Budgets(points_per_hour)
        self._requests: list[RequestRecord] = []
        self._asked = 0
        self._answered = 0

    def now(self) -> datetime:
        """The simulator's time, whole seconds: as set, or the real one."""
        with self._lock:
            return (self._as_of or datetime.now(UTC)).replace(microsecond=0)

    def set_clock(self, instant: datetime | None) -> None:
        """Set the time; None lets the real clock run."""
        if instant is not None and instant.tzinfo is None:
            raise ValueError(f"{instant!r} has no time zone")
        with self._lock:
            self._as_of = instant

    @property
    def world(self) -> World:
        """All that is known, future included."""
        with self._lock:
            return self._timeline.world

    def replace_world(self, world: World) -> None:
        """Serve other facts from now on."""
        with self._lock:
            self._timeline = Timeline(world)

    def view(self, token: str = "") -> WorldView:
        """What is seen now, with a token of an installation only its owner's repositories."""
        with self._lock:
            everything = self._timeline.at(self.now())
            owner = self.apps.owner_of(token)
            return everything if owner is None else everything.of_owner(owner)

    def is_bad(self, token: str) -> bool:
        """Whether GitHub does not know the token, or no more."""
        with self._lock:
            return token in self._bad_tokens or self.apps.is_bad(token, self.now())

    def is_installation(self, token: str) -> bool:
        """Whether the token is an installation's."""
        with self._lock:
            return self.apps.owner_of(token) is not None

    def scopes_of(self, token: str) -> str | None:
        """The scopes of a classic token, as GitHub lists them; None for a token that has none to list."""
        return self._scopes.get(token)

    def hand_out_token(self, owner: str) -> InstallationToken:
        """A new token for the owner's installation."""
        with self._lock:
            return self.apps.hand_out(owner, self.now())

    def revoke_installation_tokens(self) -> None:
        """Let no token that was handed out be good from now on."""
        with self._lock:
            self.apps.revoke_all()

    def standing(self, token: str, resource: str) -> Standing:
        """What the token has left."""
        with self._lock:
            return self._budgets.standing(token, resource, self.now())

    def renew_budgets(self) -> None:
        """Let every token have all of its points again."""
        with self._lock:
            self._budgets.renew()

    def charge(self, token: str, resource: str, points: int) -> Standing:
        """Take points off the token's budget."""
        with self._lock:
            return self._budgets.charge(token, resource, points, self.now())

    def next_request_number(self) -> int:
        """Count one more GraphQL request."""
        with self._lock:
            self._asked += 1
            return self._asked

    def next_request_id(self) -> str:
        """An id for the X-GitHub-Request-Id header."""
        with self._lock:
            self._answered += 1
            return f"5EED:{self._answered:06X}"

    def record(self, request: RequestRecord) -> None:
        """Keep what was asked."""
        with self._lock:
            self._requests.append(request)

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """Every request since the start, or since the records were cleared."""
        with self._lock:
            return tuple(self._requests)

    def clear_requests(self) -> None:
        """Forget the requests, and count them from 1 again."""
        with self._lock:
            self._requests.clear()
            self._asked = 0
