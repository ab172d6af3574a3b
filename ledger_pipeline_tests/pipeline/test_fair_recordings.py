"""A recorded week through the whole ledger with `fair-v1`: asked over HTTP, stored, closed, archived, counted again."""

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

from ledger_pipeline.pipeline.epochs import close_due_epochs
from ledger_pipeline.policies import installed_policy
from ledger_pipeline.sources.simulator.recorded import load_recording
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Actor, ActorKind, Issue, Repository, StateReason, World
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.verification.archive import read_archive, write_archive
from ledger_pipeline.verification.examined import ExaminedEpoch
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.selection_laws import facts_differences, selection_differences
from ledger_pipeline_tests.builders import instant, scope
from ledger_pipeline_tests.pipeline.collecting import THIS_WEEK, Collect
from ledger_pipeline_tests.pipeline.test_routing import NEXT_WEEK


def is_user(actor: Actor | None) -> bool:
    return actor is not None and actor.kind is ActorKind.USER


def counted_by_hand(repository: Repository) -> Counter[str]:
    """Decisions on the week's events by reason, from the world alone."""
    counts: Counter[str] = Counter()
    reviews: defaultdict[tuple[int, int], int] = defaultdict(int)
    for pull_request in repository.pull_requests:
        branch = "+included" if pull_request.base_ref_name == repository.default_branch else "other_branch"
        if pull_request.merged_at is not None and pull_request.merged_at in THIS_WEEK and is_user(pull_request.author):
            counts[branch] += 1
        for review in pull_request.reviews:
            if review.submitted_at is None or review.submitted_at not in THIS_WEEK or not is_user(review.author):
                continue
            if branch == "other_branch":
                counts[branch] += 1
            elif review.author == pull_request.author:
                counts["own_pull_request"] += 1
            elif review.author is not None:
                reviews[review.author.database_id, pull_request.number] += 1
    counts["+included"] += len(reviews)
    counts["repeated_review"] += sum(reviews.values()) - len(reviews)
    for issue in repository.issues:
        if issue.closed_at is not None and issue.closed_at in THIS_WEEK and is_user(issue.author):
            counts["+included" if issue.state_reason is StateReason.COMPLETED else "not_completed"] += 1
    return counts


def _dropped_if_odd(issue: Issue) -> Issue:
    if issue.number % 2 == 0:
        return issue
    return replace(issue, closures=tuple(replace(of, reason=StateReason.NOT_PLANNED) for of in issue.closures))


def test_a_recorded_week_pays_what_is_fair_and_its_archive_proves_it(
    github: Simulator, ledger: PostgresLedger, run: Collect, shared: Path, tmp_path: Path
) -> None:
    [recorded] = load_recording(shared / "github" / "posthog").repositories
    # Nothing that was recorded of that week was closed as not planned: every second issue is.
    repository = replace(recorded, issues=tuple(map(_dropped_if_odd, recorded.issues)))
    github.replace_world(World((repository,)))
    github.set_clock(instant("2026-03-02T12:00"))
    posthog = replace(scope(repository.name_with_owner), selection=installed_policy("fair-v1").choice({}, ()))
    run([THIS_WEEK, NEXT_WEEK], of=posthog)
    close_due_epochs(ledger, posthog)
    [epoch] = ledger.epochs.within(posthog.scope_id, THIS_WEEK)
    archive = tmp_path / "week.zip"
    write_archive(facts_of(ledger.statements.rows(epoch)), archive)
    archived = read_archive(archive).facts
    examined = ExaminedEpoch(archived)
    assert [*facts_differences(examined), *selection_differences(examined)] == []

    decisions = {row.event_id: row.decision for row in archived.selection}
    assert len(decisions) == len(archived.events) > 500
    by_reason = Counter(f"{'+' * of.included}{of.reason}" for of in decisions.values())
    expected = counted_by_hand(repository)
    assert by_reason == expected
    assert min(expected["own_pull_request"], expected["repeated_review"]) > 100
    assert expected["not_completed"] > 0

    facts = {row.event_id: row.facts for row in archived.facts}
    included = [event for event in archived.events if decisions[event.id].included]
    reviews = [event for event in included if event.event_type == "review_submitted"]
    assert not [event for event in reviews if facts[event.id]["pullRequestAuthor"].get("id") == event.platform_user_id]
    assert max(Counter((event.platform_user_id, event.metadata["number"]) for event in reviews).values()) == 1
    issues = [facts[event.id] for event in included if event.event_type == "issue_closed"]
    assert {of_issue["stateReason"] for of_issue in issues} == {"COMPLETED"}
