"""What a ledger must hold, from the world alone: its facts, and the laws every ledger of them keeps at any time.

Ids and hashes are computed here anew, with `json` and `hashlib`, so that nothing is held to itself.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.sources.simulator.world import ActorKind, PullRequest, Repository
from ledger_pipeline_tests.builders import NODE_ID
from ledger_pipeline_tests.simulation.ledger_rows import LedgerRows
from ledger_pipeline_tests.simulation.worlds import SUCCESSOR, History, Item, Restored

STREAMS = {"pr_merged": "pull_requests", "review_submitted": "reviews", "issue_closed": "issues"}


@dataclass(frozen=True)
class Fact:
    """One state of one object as GitHub shows it, for a user. `name` is the repository's at that moment."""

    event_type: str
    object_id: str
    name: str
    number: int
    user_id: str
    login: str
    time: str
    state: str | None = None

    @property
    def object(self) -> tuple[str, str]:
        """What it is a fact about, under every name."""
        return self.event_type, self.object_id

    @property
    def value(self) -> tuple[str, str, str | None]:
        """What of it may differ between two facts about one object, but for the name."""
        return self.user_id, self.time, self.state

    @property
    def moment(self) -> datetime:
        """Its own time."""
        return datetime.strptime(self.time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)

    @cached_property
    def event_id(self) -> str:
        """As other systems compute it."""
        kind = {"pr_merged": "pr", "review_submitted": "review", "issue_closed": "issue"}[self.event_type]
        suffix = f":{self.object_id}" if self.event_type == "review_submitted" else ""
        return f"github:{kind}:{self.name}:{self.number}{suffix}"

    @cached_property
    def payload_hash(self) -> str:
        """As other systems compute it."""
        payload = {"authorId": self.user_id, "id": self.event_id}
        if self.event_type == "pr_merged":
            payload |= {"mergedAt": self.time}
        elif self.event_type == "issue_closed":
            payload |= {"closedAt": self.time}
        else:
            payload |= {"state": str(self.state), "submittedAt": self.time}
        return hashlib.sha256(json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def url(self) -> str:
        """Where people find it."""
        folder = "issues" if self.event_type == "issue_closed" else "pull"
        anchor = f"#pullrequestreview-{self.object_id}" if self.event_type == "review_submitted" else ""
        return f"https://github.com/{self.name}/{folder}/{self.number}{anchor}"


def facts_of(name: str, item: Item) -> Iterator[Fact]:
    """What an item states of users; authors of other kinds count for nobody."""
    if isinstance(item, PullRequest):
        if item.merged_at is not None and item.author is not None and item.author.kind is ActorKind.USER:
            author = item.author
            yield Fact(
                "pr_merged",
                str(item.database_id),
                name,
                item.number,
                str(author.database_id),
                author.login,
                _text(item.merged_at),
            )
        for review in item.reviews:
            reviewer = review.author
            if reviewer is not None and reviewer.kind is ActorKind.USER and review.submitted_at is not None:
                yield Fact(
                    "review_submitted",
                    str(review.database_id),
                    name,
                    item.number,
                    str(reviewer.database_id),
                    reviewer.login,
                    _text(review.submitted_at),
                    str(review.state),
                )
    elif item.closed_at is not None and item.author is not None and item.author.kind is ActorKind.USER:
        author = item.author
        yield Fact(
            "issue_closed",
            str(item.database_id),
            name,
            item.number,
            str(author.database_id),
            author.login,
            _text(item.closed_at),
        )


def items_of(repository: Repository) -> Iterator[Item]:
    """Its pull requests and its issues."""
    yield from repository.pull_requests
    yield from repository.issues


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Truth:
    """The laws, checked against a ledger after every step; raises AssertionError where one is broken.

    `source_scopes` are repository ids by the name they are collected under.
    """

    history: History
    source_scopes: dict[str, int]
    slack: timedelta
    closed: dict[EpochWindow, frozenset[str]] = field(default_factory=dict)
    restored: set[tuple[str, str]] = field(default_factory=set)
    """Objects of items that came back with their old update: no cursor promises to have them."""
    _before: LedgerRows | None = None
    _shown: dict[tuple[str, str], dict[Fact, datetime]] = field(init=False)

    def __post_init__(self) -> None:
        self._shown = defaultdict(dict)
        drafts = self.history.drafts()
        restored = set()
        for change in self.history.changes:
            draft = drafts[change.repository]
            change.apply(draft)
            if isinstance(change, Restored):
                restored.add((draft.database_id, change.number))
            numbers = draft.items if change.number is None else [change.number]
            for number in numbers:
                if number in draft.items:
                    for fact in facts_of(draft.name, draft.items[number]):
                        self._shown[fact.object].setdefault(fact, change.at)
                        if (draft.database_id, number) in restored:
                            self.restored.add(fact.object)

    def close(self, window: EpochWindow, ledger: LedgerRows) -> None:
        """From now on this window keeps exactly the events it has."""
        self.closed[window] = frozenset(row.id for row in ledger.events.values() if row.event_time in window)

    def check(self, ledger: LedgerRows, now: datetime) -> None:
        """Every law that holds at any time."""
        stored: dict[tuple[str, str], Any] = {}
        for row in ledger.events.values():
            self._check_event(row, now)
            twice = stored.setdefault((row.event_type, row.source_object_id), row)
            assert twice is row, f"stored twice, under two names: {row.id} and {twice.id}"
        for row in ledger.rejected:
            self._check_rejected(row, stored.get((row.event_type, row.source_object_id)), ledger, now)
        for window, ids in self.closed.items():
            held = {row.id for row in ledger.events.values() if row.event_time in window}
            assert held == ids, f"the closed epoch {window.key} changed: {held ^ ids}"
        self._check_progress(ledger)
        self._check_cursors(ledger, now)
        self._before = ledger

    def check_collected(
        self, ledger: LedgerRows, span: EpochWindow, streams: Iterable[str], failed: Container[str], began: datetime
    ) -> None:
        """What a collection that reports no failure of a source_scope has covered: all of `span` there was.

        Nothing where GitHub's clock is still before it.
        """
        asked_until = min(span.end, began)
        if asked_until <= span.start:
            return
        for source_scope in self.source_scopes:
            for stream in streams if source_scope not in failed else ():
                cursor = ledger.cursors.get((stream, source_scope))
                assert cursor is not None, f"no cursor of {stream} of {source_scope}, which did not fail"
                covered = cursor.covered_from <= span.start and asked_until <= cursor.cursor_value
                assert covered, f"{span} is not covered after its collection: {cursor}"

    def check_complete(self, ledger: LedgerRows, now: datetime, restored_from: datetime) -> None:
        """Every fact that can be seen is stored, or kept aside for a reason that holds.

        What came back with its old update only from `restored_from` on: from there everything was read once more.
        """
        for repository in self.history.at(now).repositories:
            for item in items_of(repository):
                for fact in facts_of(repository.name_with_owner, item):
                    if fact.moment >= restored_from or fact.object not in self.restored:
                        self._check_kept(fact, ledger)

    def check_facts(self, ledger: LedgerRows, now: datetime) -> None:
        """What was just read says of every stored event what it is beside its row."""
        for repository in self.history.at(now).repositories:
            for item in items_of(repository):
                for fact in facts_of(repository.name_with_owner, item):
                    self._check_facts(fact, item, ledger)

    def _check_facts(self, fact: Fact, item: Item, ledger: LedgerRows) -> None:
        held = (ledger.events.get(version.event_id) for version in self._shown[fact.object])
        stored = next((row for row in held if row is not None and row.source_object_id == fact.object_id), None)
        if stored is None or self._fact(stored).value != fact.value:
            return  # it was refused, or it is another fact now than the one that counts
        facts = ledger.facts.get(stored.id, {})
        wanted: dict[str, object] = {"labels": sorted(set(item.labels or ()))}
        if isinstance(item, PullRequest):
            wanted["baseBranch"] = item.base_ref_name
        stated = {name: facts.get(name) for name in wanted}
        assert stated == wanted, f"facts of {stored.id} say {stated}, not {wanted}"

    def _check_event(self, row: Any, now: datetime) -> None:
        fact = self._fact(row)
        assert self._shown[fact.object][fact] <= now, f"{row.id} is stored before it happened"
        held = (row.platform_user_id, row.platform_login, row.artifact_url, row.event_time, row.source, row.node_id)
        wanted = (fact.user_id, fact.login, fact.url, fact.moment, "github", NODE_ID)
        assert held == wanted, f"{row.id} says {held}, not {wanted}"

    def _check_rejected(self, row: Any, stored: Any, ledger: LedgerRows, now: datetime) -> None:
        fact = self._fact(row)
        assert self._shown[fact.object][fact] <= now, f"{row.id} is rejected before it happened"
        same = stored is not None and self._fact(stored).value == fact.value
        assert not same, f"{row.id} is rejected as {row.reason}, and stored as {stored.id}"
        if row.reason == "late":
            assert not ledger.is_open(row.event_time), f"{row.id} is refused as late, yet its epoch is open"
        elif row.reason == "replaced":
            stored_row = ledger.events.get(row.id)
            is_anothers = stored_row is not None and stored_row.source_object_id != row.source_object_id
            assert is_anothers, f"{row.id} is refused as replaced, and is not stored of another object: {stored_row}"
        else:
            assert stored is not None, f"{row.id} is refused as a conflict with nothing"

    def _fact(self, row: Any) -> Fact:
        """The fact a row states, by its id and its hash."""
        versions = self._shown.get((row.event_type, row.source_object_id), {})
        for fact in versions:
            if (fact.event_id, fact.payload_hash) == (row.id, row.payload_hash):
                return fact
        raise AssertionError(f"the world never had {row.id} like this: {row}; it had {list(versions)}")

    def _check_progress(self, ledger: LedgerRows) -> None:
        """Nothing stored or rejected goes away or changes; cursors only move forward and coverage only grows."""
        if self._before is None:
            return
        for event_id, row in self._before.events.items():
            assert ledger.events.get(event_id) == row, f"{row} became {ledger.events.get(event_id)}"
        for row in self._before.rejected:
            assert row in ledger.rejected, f"no longer among the rejected: {row}"
        for key, before in self._before.cursors.items():
            cursor = ledger.cursors[key]
            is_same = before.source_scope_id is None or before.source_scope_id == cursor.source_scope_id
            if before.covered_from is not None and is_same:
                assert before.cursor_value <= cursor.cursor_value, f"a cursor went back: {before} to {cursor}"
                assert cursor.covered_from <= before.covered_from, f"coverage shrank: {before} to {cursor}"

    def _check_cursors(self, ledger: LedgerRows, now: datetime) -> None:
        """What was updated in `[covered_from, watermark]`, and not since, is in the ledger.

        Less the slack: what GitHub shows late, the next scan reads in its overlap. And less what the ledger itself
        names as unread: that is read later, and its window is not complete before.
        """
        shown = {repository.database_id % SUCCESSOR: repository for repository in self.history.at(now).repositories}
        for (stream, source_scope), cursor in ledger.cursors.items():
            if source_scope not in self.source_scopes or cursor.covered_from is None:
                continue
            repository = shown[self.source_scopes[source_scope]]
            if cursor.source_scope_id != str(repository.database_id):
                continue  # of the one that had the name before: the next collection sees that
            for fact in _updated(repository, cursor.covered_from, cursor.cursor_value - self.slack):
                kind = "issue" if fact.event_type == "issue_closed" else "pull_request"
                is_unread = ledger.is_unread(source_scope, kind, fact.number, fact.moment)
                if STREAMS[fact.event_type] == stream and not is_unread and fact.object not in self.restored:
                    self._check_kept(fact, ledger, f" although {cursor} covers it")

    def _check_kept(self, fact: Fact, ledger: LedgerRows, why: str = "") -> None:
        versions = self._shown[fact.object]
        held = [ledger.events[version.event_id] for version in versions if version.event_id in ledger.events]
        stored = next((row for row in held if row.source_object_id == fact.object_id), None)
        if stored is not None and self._fact(stored).value == fact.value:
            return
        same = {(version.event_id, version.payload_hash) for version in versions if version.value == fact.value}
        reasons = {row.reason for row in ledger.rejected if (row.id, row.payload_hash) in same}
        if stored is not None:
            assert "conflict" in reasons, (
                f"{stored.id} is stored with another fact, and this one is not kept aside{why}: {fact}"
            )
        elif held and "replaced" in reasons:
            return  # the first fact under an id stays
        else:
            assert not ledger.is_open(fact.moment), f"lost{why}: {fact}"
            assert "late" in reasons, f"neither stored nor kept aside as late{why}: {fact}"


def _updated(repository: Repository, since: datetime, until: datetime) -> Iterator[Fact]:
    for item in items_of(repository):
        if since <= item.updated_at <= until:
            yield from facts_of(repository.name_with_owner, item)
