"""One credential's points per hour: what is left as far as we know, and whether a query may still be afforded."""

from dataclasses import dataclass
from datetime import datetime
from threading import Lock

# The same reset, told twice, may differ by a moment.
_SAME_WINDOW_SECONDS = 60


@dataclass(frozen=True)
class Shortfall:
    """Why a query may not be sent now: so much is left, and it is whole again at `resets_at` (GitHub's clock)."""

    left: int
    resets_at: datetime
    wait_seconds: float

    def problem(self, reserve: int) -> str:
        """What an operator is told."""
        when = f"resets at {self.resets_at:%Y-%m-%dT%H:%M:%SZ}"
        return f"the budget's reserve of {reserve} points is reached; {self.left} left, {when}"


@dataclass(frozen=True)
class _Standing:
    left: int
    resets_at: datetime  # GitHub's clock
    over_at: float  # ours


class Budget:
    """Keeps `reserve` points for others. Safe to use from several threads; times are seconds of one clock."""

    def __init__(self, reserve: int) -> None:
        self.reserve = reserve
        self._lock = Lock()
        self._standing: _Standing | None = None
        self._costs: dict[str, int] = {}
        self._in_flight = 0
        self._paused_until = 0.0

    def pause(self, until: float) -> None:
        """Too much was asked at once: nothing is to be asked before `until`, by anybody."""
        with self._lock:
            self._paused_until = max(self._paused_until, until)

    def paused_seconds(self, now: float) -> float:
        """How long nothing is to be asked; 0 where anything may."""
        with self._lock:
            return max(self._paused_until - now, 0.0)

    def left(self, now: float) -> float:
        """Points not yet spoken for; infinity where nothing is known of this hour."""
        with self._lock:
            standing = self._current(now)
            return float("inf") if standing is None else standing.left - self._in_flight

    def take(self, query: str, now: float) -> int | Shortfall:
        """Set aside what the query cost last (1 at least), to be given back once answered; or why not."""
        with self._lock:
            cost = max(1, self._costs.get(query, 1))
            standing = self._current(now)
            if standing is not None and standing.left - self._in_flight - cost < self.reserve:
                return Shortfall(max(0, standing.left - self._in_flight), standing.resets_at, standing.over_at - now)
            self._in_flight += cost
            return cost

    def give_back(self, points: int) -> None:
        """The query they were set aside for is answered."""
        with self._lock:
            self._in_flight -= points

    def learn_cost(self, query: str, points: int) -> None:
        """What the query cost this time."""
        with self._lock:
            self._costs[query] = points

    def learn(self, left: int, resets_at: datetime, answered_at: datetime, now: float) -> None:
        """What an answer says; answers may come out of order, so within one hour the lowest is true."""
        with self._lock:
            current = self._current(now)
            if current is not None:
                later = (resets_at - current.resets_at).total_seconds()
                if later < -_SAME_WINDOW_SECONDS:
                    return
                if later <= _SAME_WINDOW_SECONDS:
                    left = min(left, current.left)
            over_at = now + (resets_at - answered_at).total_seconds() + 1
            self._standing = _Standing(left, resets_at, over_at)

    def _current(self, now: float) -> _Standing | None:
        if self._standing is not None and now >= self._standing.over_at:
            self._standing = None
        return self._standing
