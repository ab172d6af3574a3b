"""The hourly budget of each token, and the headers that tell of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

WINDOW = timedelta(hours=1)


@dataclass(frozen=True)
class Standing:
    """How much of a token's budget is gone, and when it is whole again."""

    resource: str
    limit: int
    used: int
    resets_at: datetime

    @property
    def remaining(self) -> int:
        """Never below zero: the query that empties the budget is still served."""
        return max(0, self.limit - self.used)

    @property
    def is_spent(self) -> bool:
        """Whether the next request is refused."""
        return self.remaining == 0

    def headers(self) -> dict[str, str]:
        """The headers that GitHub sends with every answer."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Used": str(self.used),
            "X-RateLimit-Reset": str(int(self.resets_at.timestamp())),
            "X-RateLimit-Resource": self.resource,
        }


class Budgets:
    """Points per hour of each token and resource; an hour begins with its first request."""

    def __init__(self, points_per_hour: int) -> None:
        self._limit = points_per_hour
        self._standings: dict[tuple[str, str], Standing] = {}

    def renew(self) -> None:
        """Let every token have all of its points again."""
        self._standings.clear()

    def standing(self, token: str, resource: str, now: datetime) -> Standing:
        """What the token has left."""
        standing = self._standings.get((token, resource))
        if standing is None or standing.resets_at <= now or now < standing.resets_at - WINDOW:
            return Standing(resource, self._limit, 0, now + WINDOW)
        return standing

    def charge(self, token: str, resource: str, points: int, now: datetime) -> Standing:
        """Take points off, and answer what is left."""
        before = self.standing(token, resource, now)
        after = Standing(resource, before.limit, before.used + points, before.resets_at)
        self._standings[token, resource] = after
        return after
