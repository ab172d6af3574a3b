"""One repository for several scopes, from what is asked of GitHub to what each pays, closed at different times."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ledger_pipeline.core.routing_pins import shares_hash
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.allocate import curate
from ledger_pipeline.pipeline.epochs import close_due_epochs
from ledger_pipeline.pipeline.facts_backfill import backfill_facts
from ledger_pipeline.pipeline.selection import blocks_selection, select_events, selection_report
from ledger_pipeline.pipeline.what_if import Supposition, what_if
from ledger_pipeline.policies import installed_policy
from ledger_pipeline.repo_spec import load_repo_spec
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.settlement_records import SelectedEvents
from ledger_pipeline_tests.builders import OTHER_SCOPE_ID
from ledger_pipeline_tests.defs.deployment import write_project, write_repo_spec
from ledger_pipeline_tests.pipeline.collecting import HOUR, NOW, THIS_WEEK, Collect
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, review, world

DAY = timedelta(days=1)
NEXT_WEEK = EpochWindow(THIS_WEEK.end, THIS_WEEK.end + 7 * DAY)
AFTER_GRACE = THIS_WEEK.end + DAY + HOUR
CLAIM = f"""
  claims:
    - repository: {NAME}
      paths: ["docs/**"]
      labels: [documentation]
"""


@pytest.fixture
def scopes(tmp_path: Path) -> tuple[Scope, Scope]:
    """`default` has the rest of NAME, `docs` claims what is documentation."""
    path = write_repo_spec(tmp_path, NAME)
    project = write_project(tmp_path, "docs", NAME, scope_id=OTHER_SCOPE_ID)
    project.write_text(project.read_text() + CLAIM)
    default, docs = load_repo_spec(path).scopes
    return default, docs


def items(*, labels: tuple[str, ...] = ()) -> list[object]:
    return [
        merged(1, NOW - HOUR, files=("docs/a.md",), reviews=(review(1, NOW - HOUR),)),
        merged(2, NOW - HOUR, files=("src/a.py",), labels=labels),
        issue(3, closures=(Closure(NOW - HOUR),), labels=("documentation",)),
        issue(4, closures=(Closure(NOW - HOUR),)),
    ]


def epoch_of(ledger: PostgresLedger, scope: Scope) -> Epoch:
    [epoch] = ledger.epochs.within(scope.scope_id, THIS_WEEK)
    return epoch


def counted(ledger: PostgresLedger, scope: Scope) -> dict[str, str]:
    """By the last parts of the event's id, why it counts (with a `+`) or not."""
    epoch = epoch_of(ledger, scope)
    selected = ledger.selection.of(epoch, ())
    return {
        event_id.partition(":")[2].replace(f":{NAME}", ""): f"{'+' if decision.included else ''}{decision.reason}"
        for event_id, decision in selected.decisions.items()
    }


def selected_now(ledger: PostgresLedger, epoch: Epoch) -> SelectedEvents | None:
    """What a statement of the epoch is drafted by."""
    return ledger.statements.settlement(epoch).selected


OF_DOCS = {
    "pr:1": "+included",
    "review:1:4000000001": "+included",
    "issue:3": "+included",
    "pr:2": "other_scope:default",
    "issue:4": "other_scope:default",
}
OF_DEFAULT = {
    "pr:1": "other_scope:docs",
    "review:1:4000000001": "other_scope:docs",
    "issue:3": "other_scope:docs",
    "pr:2": "+included",
    "issue:4": "+included",
}


def test_each_event_counts_in_one_scope_and_the_other_says_in_which(
    github: Simulator, ledger: PostgresLedger, run: Collect, scopes: tuple[Scope, Scope]
) -> None:
    github.replace_world(world(*items()))
    for scope, expected in zip(scopes, (OF_DEFAULT, OF_DOCS), strict=True):
        run(of=scope)
        select_events(ledger, scope, epoch_of(ledger, scope))
        assert counted(ledger, scope) == expected
        curate(ledger, scope, epoch_of(ledger, scope))
        report = selection_report(ledger, scope, epoch_of(ledger, scope))
        assert report is not None
        sentences = {count.sentence for count in report.reasons if not count.included}
        assert sentences == {"It counts for another scope of the node, which the reason names: that one claims it."}


@pytest.mark.parametrize("policy", ["include-all-v0", "cogni.main-merge-selection.v0"])
def test_whatever_policy_is_supposed_decides_on_what_the_scope_has(
    github: Simulator, ledger: PostgresLedger, run: Collect, scopes: tuple[Scope, Scope], policy: str
) -> None:
    default, _ = scopes
    github.replace_world(world(*items()))
    run(of=default)
    choice = None if policy == "include-all-v0" else installed_policy(policy).choice({}, ())
    change = what_if(ledger, default, epoch_of(ledger, default), Supposition(choice, {}))
    assert change.events_by_reason["other_scope:docs"] == 3
    assert sum(change.events_by_reason.values()) == 5


def test_paths_are_asked_for_only_where_a_claim_is_of_paths(
    github: Simulator, ledger: PostgresLedger, run: Collect, scopes: tuple[Scope, Scope]
) -> None:
    github.replace_world(world(*items()))
    default, docs = scopes
    run(of=docs)
    assert any("files(" in (request.query or "") for request in github.requests)
    github.clear_requests()
    run(of=replace(default, selection=None, claims=None), full_refresh=True)
    assert not any("files(" in (request.query or "") for request in github.requests)


def test_paths_of_weeks_that_were_collected_before_anybody_claimed_any_are_read_by_a_backfill(
    github: Simulator, ledger: PostgresLedger, run: Collect, scopes: tuple[Scope, Scope]
) -> None:
    github.replace_world(world(*items()))
    _, docs = scopes
    run(of=replace(docs, selection=None, claims=None))
    github.clear_requests()
    with github_source(github.url) as source:
        done = backfill_facts(source, ledger, docs, [THIS_WEEK])
        assert (done.wanted, done.observed, done.requests) == (3, 3, 1)  # two merges and a review; no issue
        select_events(ledger, docs, epoch_of(ledger, docs))
        assert counted(ledger, docs) == OF_DOCS
        assert backfill_facts(source, ledger, docs, [THIS_WEEK]).wanted == 0
        unclaimed = replace(docs, selection=None, claims=None)
        assert backfill_facts(source, ledger, unclaimed, [THIS_WEEK]).wanted == 0


def test_scopes_that_close_apart_say_the_same_of_an_event_whatever_is_labelled_between(
    github: Simulator, ledger: PostgresLedger, run: Collect, scopes: tuple[Scope, Scope]
) -> None:
    default, docs = scopes
    github.replace_world(world(*items()))
    run(of=default)
    run(of=docs)
    github.set_clock(AFTER_GRACE)
    run([NEXT_WEEK], of=default)
    assert len(close_due_epochs(ledger, default)) == 1
    # Now pull request 2 is called documentation: one scope has closed with it, and the other must not pay it too.
    github.replace_world(world(*items(labels=("documentation",))))
    github.set_clock(AFTER_GRACE + DAY)
    run([NEXT_WEEK], of=docs, full_refresh=True)
    assert len(close_due_epochs(ledger, docs)) == 1
    assert (counted(ledger, default), counted(ledger, docs)) == (OF_DEFAULT, OF_DOCS)
    for scope in scopes:
        epoch = epoch_of(ledger, scope)
        assert blocks_selection(epoch, selected_now(ledger, epoch)) == []


def test_a_label_that_comes_before_the_first_scope_closes_counts_in_both(
    github: Simulator, ledger: PostgresLedger, run: Collect, scopes: tuple[Scope, Scope]
) -> None:
    default, docs = scopes
    github.replace_world(world(*items()))
    run(of=default)
    run(of=docs)
    github.replace_world(world(*items(labels=("documentation",))))
    github.set_clock(AFTER_GRACE)
    run([NEXT_WEEK], of=docs, full_refresh=True)  # only this scope has seen the label
    for scope in scopes:
        run([NEXT_WEEK], of=scope)
        assert len(close_due_epochs(ledger, scope)) == 1
    assert counted(ledger, default)["pr:2"] == "other_scope:docs"
    assert counted(ledger, docs)["pr:2"] == "+included"


def test_parts_that_do_not_follow_from_the_claims_block_a_statement(
    github: Simulator, ledger: PostgresLedger, run: Collect, scopes: tuple[Scope, Scope]
) -> None:
    default, _ = scopes
    github.replace_world(world(*items()))
    run(of=default)
    github.set_clock(AFTER_GRACE)
    run([NEXT_WEEK], of=default)
    close_due_epochs(ledger, default)
    epoch = epoch_of(ledger, default)
    assert epoch.pins is not None
    selected = selected_now(ledger, epoch)
    assert selected is not None
    event_id = f"github:pr:{NAME}:1"
    forged = replace(selected, shares={**selected.shares, event_id: replace(selected.shares[event_id], milli=1000)})
    [block] = blocks_selection(epoch, forged)
    assert block.endswith("the parts of events that are kept are not those that the epoch closed with")
    # Whoever closes the epoch may close it with the hash of them.
    spec = json.loads(json.dumps(epoch.pins.pinned_spec))
    spec["selection"]["routing"]["shares_hash"] = shares_hash(forged.shares)
    closed_so = replace(epoch, pins=replace(epoch.pins, pinned_spec=spec))
    [block] = blocks_selection(closed_so, forged)
    assert block.startswith("it closed with parts of events that do not follow from the claims")


def test_an_epoch_that_closed_with_parts_in_its_spec_is_decided_on_as_it_was(
    github: Simulator, ledger: PostgresLedger, run: Collect, scopes: tuple[Scope, Scope]
) -> None:
    default, _ = scopes
    github.replace_world(world(*items()))
    run(of=default)
    github.set_clock(AFTER_GRACE)
    run([NEXT_WEEK], of=default)
    close_due_epochs(ledger, default)
    epoch = epoch_of(ledger, default)
    assert epoch.pins is not None
    selected = selected_now(ledger, epoch)
    assert selected is not None
    spec = json.loads(json.dumps(epoch.pins.pinned_spec))
    del spec["selection"]["routing"]["shares_hash"]
    shares = {event_id: [share.milli, share.reason] for event_id, share in selected.shares.items()}
    spec["selection"]["routing"]["shares"] = shares
    before = replace(epoch, pins=replace(epoch.pins, pinned_spec=spec))
    assert blocks_selection(before, replace(selected, shares={})) == []
    shares[f"github:pr:{NAME}:1"] = [1000, "rest"]
    [block] = blocks_selection(before, replace(selected, shares={}))
    assert block.startswith("it closed with parts of events that do not follow from the claims")


def test_other_claims_touch_no_epoch_that_is_closed(
    github: Simulator, ledger: PostgresLedger, run: Collect, scopes: tuple[Scope, Scope]
) -> None:
    default, _ = scopes
    github.replace_world(world(*items()))
    run(of=default)
    github.set_clock(AFTER_GRACE)
    run([NEXT_WEEK], of=default)
    assert len(close_due_epochs(ledger, default)) == 1
    for changed in (replace(default, selection=None), default):
        select_events(ledger, changed, epoch_of(ledger, default))
        assert counted(ledger, default) == OF_DEFAULT
