"""What one item's payload gives: its events with their facts, what is skipped, and why it counts as unread.

Nothing is asked here. Each event is read by itself: a review that cannot be used does not take the merge with it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from ledger_pipeline.core.events import ActivityEvent
from ledger_pipeline.core.facts import Facts, Observation, ReviewFacts
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.core.sources import ISSUE, ISSUES, PULL_REQUEST, PULL_REQUESTS
from ledger_pipeline.core.unread import ItemKey, UnreadItem
from ledger_pipeline.sources.github.facts import facts_of_reviews, issue_facts, pull_request_facts, review_facts
from ledger_pipeline.sources.github.mapping import Item, issue_item, pull_request_item, review_item
from ledger_pipeline.sources.github.payloads import (
    REASON_CHARACTERS,
    ClosedIssue,
    Issue,
    MergedPullRequest,
    Page,
    PullRequest,
    Review,
    Reviews,
    SubmittedReview,
    UnusablePayload,
    listed,
    read,
)

NOTHING_KNOWN = ReviewFacts()


@dataclass
class Reading:
    """What has been read of one item. `problem` says why it counts as unread; None: it was read whole.

    `is_gone`: the repository has it no more. `lacks_nodes`: something of it was null, which GitHub may give when it is
    asked for less. `of_reviews` is what the facts of its reviews say of a pull request, as it was last read, and
    `of_item` what is said of the item itself, whether it is an event or not.
    """

    key: ItemKey
    created: datetime | None = None
    problem: str | None = None
    is_gone: bool = False
    lacks_nodes: bool = False
    of_reviews: ReviewFacts = NOTHING_KNOWN
    of_item: Facts | None = None
    _items: dict[str, Item] = field(default_factory=dict)
    _facts: dict[str, Facts] = field(default_factory=dict)

    @property
    def items(self) -> list[Item]:
        """Events and skips, each once."""
        return list(self._items.values())

    @property
    def facts(self) -> list[Observation]:
        """What is known beside the events: of each one observation."""
        events = (event_id for event_id, item in self._items.items() if isinstance(item, ActivityEvent))
        return [Observation(event_id, self._facts[event_id]) for event_id in events]

    @property
    def facts_of_all(self) -> dict[str, Facts]:
        """What is known beside all that was read of it, also what counts for nobody now; by event id."""
        return dict(self._facts)

    def add(self, item: Item | None, facts: Facts) -> None:
        """Take over what was read; None is nothing yet."""
        if item is not None:
            event_id = item.id if isinstance(item, ActivityEvent) else item.event_id
            self._items[event_id], self._facts[event_id] = item, facts

    def take(self, reading: "Reading") -> None:
        """Take over all that another reading of the same item has."""
        self._items |= reading._items
        self._facts |= reading._facts
        if reading.of_reviews != NOTHING_KNOWN:
            self.of_reviews = reading.of_reviews
        self.of_item = reading.of_item or self.of_item

    def attempt(self, read_one: Callable[[], Item | None], facts: Facts, what: str = "") -> None:
        """Add what `read_one` gives; where it raises UnusablePayload the item counts as unread."""
        try:
            self.add(read_one(), facts)
        except UnusablePayload as error:
            self.fail(f"{what}{error}")

    def fail(self, problem: str) -> None:
        """The item counts as unread; the first problem is the one that is told."""
        self.problem = self.problem or plain_message(problem, REASON_CHARACTERS)

    def read_again(self, again: "Reading") -> None:
        """The same item was asked for by itself: what came then is true, and what came before is kept."""
        self.take(again)
        self.problem = again.problem

    def unread(self, latest: datetime) -> UnreadItem:
        """The item as one that cannot be read, as the source showed it at `latest`."""
        return UnreadItem(self.key, self.problem or "it cannot be read", self.created, latest)


@dataclass(frozen=True)
class Reader:
    """Reads payloads of a repository, `repo` as GitHub spells it, of an answer given at `answered_at`.

    `default_branch` is the repository's, where it is known.
    """

    source_scope: str
    repo: str
    streams: frozenset[str]
    answered_at: datetime
    default_branch: str | None = None

    def pull_request(self, node: object) -> Reading:
        """A pull request without its reviews."""
        item = listed(node, self.answered_at)
        reading = Reading(ItemKey(PULL_REQUEST, item.number or 0), item.created)
        if node is None:
            _fail_for_null(reading)
        elif item.number is None or PULL_REQUESTS in self.streams:
            reading.attempt(lambda: self._merge(node), pull_request_facts(node, self.default_branch))
        if node is not None:
            reading.of_item = pull_request_facts(node, self.default_branch)
        reading.of_reviews = facts_of_reviews(node, self.default_branch)
        return reading

    def issue(self, node: object) -> Reading:
        """An issue."""
        item = listed(node, self.answered_at)
        reading = Reading(ItemKey(ISSUE, item.number or 0), item.created)
        if node is None:
            _fail_for_null(reading)
        elif item.number is None or ISSUES in self.streams:
            reading.attempt(lambda: self._closing(node), issue_facts(node))
        if node is not None:
            reading.of_item = issue_facts(node)
        return reading

    def reviews_of(self, reading: Reading, node: object) -> Page | None:
        """The page of reviews that came with a pull request; None, with the reason noted, where none did."""
        try:
            payload = read(Reviews, node, self.answered_at).reviews
            if payload is not None:
                return read(Page, payload, self.answered_at)
        except UnusablePayload as error:
            reading.fail(f"of its page of reviews, {error}")
            return None
        reading.lacks_nodes = True
        reading.fail("GitHub answers null for its reviews")
        return None

    def add_reviews(self, reading: Reading, page: Page) -> list[str]:
        """Add the reviews of a page; their ids, where they have any, submitted or not."""
        ids = []
        for node in page.nodes:
            if node is None:
                reading.fail("GitHub answers null for a review")
                continue
            facts = review_facts(node, reading.of_reviews)
            reading.attempt(lambda node=node: self._review(reading.key.number, node), facts, "a review's ")  # type: ignore[misc]
            if isinstance(node, dict):
                ids.append(str(node.get("fullDatabaseId") or node.get("id")))
        return ids

    def _merge(self, node: object) -> Item | None:
        if read(PullRequest, node, self.answered_at).merged_at is None:
            return None
        return pull_request_item(self.source_scope, self.repo, read(MergedPullRequest, node, self.answered_at))

    def _review(self, number: int, node: object) -> Item | None:
        if read(Review, node, self.answered_at).submitted_at is None:
            return None
        return review_item(self.source_scope, self.repo, number, read(SubmittedReview, node, self.answered_at))

    def _closing(self, node: object) -> Item | None:
        if read(Issue, node, self.answered_at).closed_at is None:
            return None
        return issue_item(self.source_scope, self.repo, read(ClosedIssue, node, self.answered_at))


def _fail_for_null(reading: Reading) -> None:
    reading.lacks_nodes = True
    reading.fail("GitHub answers null for it")
