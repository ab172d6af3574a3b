"""What whoever looks up a finalized epoch reads of its events, as records."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class ClaimedEvent:
    """An event of one claimant, and why it counts or does not.

    `counts` is what holds, and `factor_milli` the factor that a policy gives its weight, where that holds;
    `weight_override_milli` and `note` are a person's, who decided where it is `by_person`. `policy_reason` is a
    policy's code, None without one. `author` did it, and `co_authors` have a part of it beside that, all named as the
    signed hash names them. `event_time` is aware, UTC; `title` and `repository` are None where its source
    gave none.
    """

    event_id: str
    source: str
    event_type: str
    artifact_url: str
    title: str | None
    repository: str | None
    event_time: datetime
    counts: bool
    factor_milli: int | None
    weight_override_milli: int | None
    by_person: bool
    note: str | None
    policy_reason: str | None
    author: str
    co_authors: Sequence[str]


@dataclass(frozen=True)
class ClaimedCount:
    """How many events of a claimant an epoch counts, and how many it leaves out."""

    counting: int = 0
    left_out: int = 0

    @property
    def events(self) -> int:
        """All of them."""
        return self.counting + self.left_out
