"""`fair-v1` on recorded repositories: what it must not pay it does not, and its reasons equal a count of our own."""

from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ledger_pipeline.core.facts import IssueFacts, ReviewFacts
from ledger_pipeline.core.selection.policy import SelectionSpec, candidate, select
from ledger_pipeline.core.sources import ISSUE_CLOSED, REVIEW_SUBMITTED
from ledger_pipeline.sources.simulator.recorded import load_recording
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline_tests.builders import DEFAULT_WEIGHTS_MILLI
from ledger_pipeline_tests.core.selecting import FAIR, Recording, is_user
from ledger_pipeline_tests.sources.github.github_source import scan
from ledger_pipeline_tests.sources.simulator.worlds import LATER

FOUNDED = datetime(2013, 1, 1, tzinfo=UTC)
RECORDINGS = [("secp256k1/latest", "master"), ("posthog", "master"), ("policy", "main")]


@pytest.fixture(params=RECORDINGS, ids=lambda of: of[0])
def recording(request: pytest.FixtureRequest, shared: Path) -> Recording:
    folder, default_branch = request.param
    return Recording(shared / "github" / folder, default_branch)


def counted_by_hand(recording: Recording) -> Counter[str]:
    """Decisions by reason, from the rows as they are: accounts by login, no code of ours."""
    counts: Counter[str] = Counter()
    by_number = {row["number"]: row for row in recording.pull_requests}
    for row in recording.pull_requests:
        if row["mergedAt"] and is_user(row["author"]):
            counts[_branch_alone(row)] += 1
    for row in recording.issues:
        if row["closedAt"] and is_user(row["author"]):
            counts["+included" if row["stateReason"] == "COMPLETED" else "not_completed"] += 1
    groups: defaultdict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in recording.reviews:
        if not row["submittedAt"] or not is_user(row["author"]):
            continue
        of = by_number.get(row["number"])
        if of is None:
            counts["pull_request_author_unknown"] += 1
        elif of["author"] and _who(of) == _who(row):
            counts["own_pull_request"] += 1
        else:
            groups[_who(row), row["number"]].append(row)
    for (_, number), rows in groups.items():
        counts["repeated_review"] += len(rows) - 1
        states = {row["state"] for row in rows}
        is_comment = not states & {"APPROVED", "CHANGES_REQUESTED"} and "COMMENTED" in states
        branch = _branch_alone(by_number[number])
        counts["+body_unknown" if is_comment and branch == "+included" else branch] += 1
    return +counts


def _branch_alone(row: dict[str, Any]) -> str:
    return "+base_branch_unknown" if row["baseRefName"] is None else "+included"


def _who(row: dict[str, Any]) -> str:
    who = row["author"]
    return str(who["databaseId"] or who["login"])


def test_reasons_are_as_many_as_we_count_ourselves(recording: Recording) -> None:
    events = recording.candidates()
    decisions = select(FAIR, events, SelectionSpec(DEFAULT_WEIGHTS_MILLI))
    assert len(decisions) == len(events) > 100
    by_reason = Counter(f"{'+' if of.included else ''}{of.reason}" for of in decisions.values())
    assert by_reason == counted_by_hand(recording)


def test_nobody_is_paid_for_what_is_not_fair(recording: Recording) -> None:
    events = recording.candidates()
    decisions = select(FAIR, events, SelectionSpec(DEFAULT_WEIGHTS_MILLI))
    included = [event for event in events if decisions[event.event_id].included]
    reviews = [event for event in included if event.event_type == REVIEW_SUBMITTED]
    for event in reviews:
        assert isinstance(event.facts, ReviewFacts)
        assert event.facts.pull_request_author is not None
        assert event.facts.pull_request_author.id != event.user_id
    pairs = [(event.user_id, event.number) for event in reviews]
    assert len(set(pairs)) == len(pairs)
    issues = [event.facts for event in included if event.event_type == ISSUE_CLOSED]
    assert {facts.state_reason for facts in issues if isinstance(facts, IssueFacts)} <= {"COMPLETED"}


def test_the_recordings_have_what_is_not_fair(shared: Path) -> None:
    secp256k1 = Recording(shared / "github" / "secp256k1" / "latest", "master")
    counts = counted_by_hand(secp256k1)
    assert counts["own_pull_request"] > 50
    assert counts["repeated_review"] > 500
    assert counts["not_completed"] > 20


def test_the_facts_that_a_scan_tells_lead_to_the_same_decisions(shared: Path) -> None:
    folder = shared / "github" / "secp256k1" / "latest"
    with Simulator(load_recording(folder), as_of=LATER) as github:
        pages = scan(github.url, FOUNDED, source_scope="bitcoin-core/secp256k1")
    facts = {observed.event_id: observed.facts for page in pages for observed in page.facts}
    events = [candidate(event, facts[event.id]) for page in pages for event in page.events]
    decisions = select(FAIR, events, SelectionSpec(DEFAULT_WEIGHTS_MILLI))
    by_reason = Counter(f"{'+' if of.included else ''}{of.reason}" for of in decisions.values())
    expected = counted_by_hand(Recording(folder, "master"))
    expected["+included"] += expected.pop("+body_unknown")  # the simulator makes a text up
    assert by_reason == expected
