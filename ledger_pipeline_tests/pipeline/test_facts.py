"""Facts beside events, as a collection stores them: what the source said last, and unknown where it may not say."""

from dataclasses import replace
from typing import Any

from ledger_pipeline.sources.simulator.faults import ForbiddenField
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import SCOPE_ID
from ledger_pipeline_tests.pipeline.collecting import HOUR, NOW, THIS_WEEK, Collect, stored_ids
from ledger_pipeline_tests.sources.simulator.worlds import NAME, merged, review, world

ITEM = replace(
    merged(1, NOW - HOUR, reviews=(review(1, NOW - HOUR),)), labels=("bug",), commits=("a" * 40,), merge_commit="b" * 40
)
PULL_REQUEST = f"github:pr:{NAME}:1"


def facts(ledger: PostgresLedger) -> dict[str, Any]:
    """The latest facts of each event of this week."""
    [epoch] = ledger.epochs.within(SCOPE_ID, THIS_WEEK)
    return {row.event_id: row.facts for row in ledger.facts.pinned(epoch.id)}


def test_a_collection_keeps_what_the_source_says_last(github: Simulator, ledger: PostgresLedger, run: Collect) -> None:
    github.replace_world(world(ITEM))
    run()
    assert set(facts(ledger)) == set(stored_ids(ledger))
    assert (facts(ledger)[PULL_REQUEST]["labels"], facts(ledger)[PULL_REQUEST]["baseBranch"]) == (["bug"], "main")
    github.set_clock(NOW + HOUR)
    edited = replace(ITEM, labels=("bug", "late"), base_ref_name="next", touched_at=(NOW + HOUR / 2,))
    github.replace_world(world(edited))
    run()
    assert set(facts(ledger)) == set(stored_ids(ledger))
    assert [of["labels"] for of in facts(ledger).values()] == [["bug", "late"]] * 2
    assert {of["baseBranch"] for of in facts(ledger).values()} == {"next"}
    assert len(ledger.facts.of_event([SCOPE_ID], PULL_REQUEST)) == 2


def test_facts_that_need_another_permission_are_unknown_and_nothing_fails(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(world(ITEM))
    for field in ("mergeCommit", "commits", "defaultBranchRef"):
        github.faults.when(lambda _: True, ForbiddenField(field))
    report = run()
    assert report.failures == []
    assert report.has_read(THIS_WEEK, report.streams)
    merged_facts = facts(ledger)[PULL_REQUEST]
    assert not merged_facts.keys() & {"mergeCommitSha", "coAuthors", "commitShas", "isBaseDefault"}
    assert merged_facts["labels"] == ["bug"]
