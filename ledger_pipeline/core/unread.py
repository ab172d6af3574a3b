"""Items that a source shows and that cannot be read: what is known of them, and when their events may be."""

from dataclasses import dataclass
from datetime import datetime

from ledger_pipeline.core.events import ISSUES, PULL_REQUESTS, REVIEWS
from ledger_pipeline.core.windows import EpochWindow

PULL_REQUEST = "pull_request"
ISSUE = "issue"

# A pull request that cannot be read hides its reviews with it.
STREAMS_OF_KIND = {PULL_REQUEST: (PULL_REQUESTS, REVIEWS), ISSUE: (ISSUES,)}
KIND_OF_STREAM = {stream: kind for kind, streams in STREAMS_OF_KIND.items() for stream in streams}


@dataclass(frozen=True, order=True)
class ItemKey:
    """One item of a source_scope: `kind` is `pull_request` or `issue`; `number` is 0 where the source tells none."""

    kind: str
    number: int

    def __str__(self) -> str:
        kind = self.kind.replace("_", " ")
        return f"{kind} {self.number}" if self.number else f"a {kind} without a number"


@dataclass(frozen=True)
class UnreadItem:
    """An item that the source shows and that cannot be read, so that its events may be missing.

    `reason` is plain text of at most 300 characters. Its events lie between `earliest` (None: at any time) and `latest`
    (aware, UTC): when the source made it, and when the source last showed it.
    """

    key: ItemKey
    reason: str
    earliest: datetime | None
    latest: datetime

    def may_touch(self, window: EpochWindow) -> bool:
        """Whether events of `window` may be missing."""
        return window.start <= self.latest and (self.earliest is None or self.earliest < window.end)
