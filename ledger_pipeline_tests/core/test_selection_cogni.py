"""The reference's policies decide as it does, and what is unknown is said to be."""

import json
from pathlib import Path
from typing import Any

from ledger_pipeline.core.facts import PullRequestFacts
from ledger_pipeline.core.selection.cogni import MainMerge, Promotion
from ledger_pipeline.core.selection.include_all import IncludeAll
from ledger_pipeline.core.selection.policy import Candidate, SelectionPolicy, SelectionSpec, select
from ledger_pipeline.core.sources import PR_MERGED
from ledger_pipeline_tests.core.selecting import BO, event, issue, merge, reasons, review

MAIN_MERGE, PROMOTION, INCLUDE_ALL = MainMerge(), Promotion(), IncludeAll()
ONE, TWO = "a" * 40, "b" * 40


def of_receipt(receipt: dict[str, Any]) -> Candidate:
    metadata = receipt["metadata"]
    is_pull_request = receipt["eventType"] == PR_MERGED
    number = int(receipt["receiptId"].split(":")[3])
    return event(
        receipt["receiptId"],
        receipt["eventType"],
        PullRequestFacts(
            base_branch=metadata["baseBranch"],
            merge_commit_sha=metadata["mergeCommitSha"],
            commit_shas=tuple(metadata["commitShas"]),
        )
        if is_pull_request
        else None,
        number=metadata.get("prNumber", number),
        repository=metadata["repo"],
        by=receipt["platformUserId"],
        login=receipt["platformLogin"],
    )


def selected(policy: SelectionPolicy, vector: dict[str, Any]) -> list[str]:
    spec = SelectionSpec({}, source_refs=tuple(vector["sourceRefs"]), excluded_logins=tuple(vector["excludedLogins"]))
    decisions = select(policy, map(of_receipt, vector["receipts"]), spec)
    return [event_id for event_id, decision in decisions.items() if decision.included]


def test_decisions_are_those_of_the_system_we_join(shared: Path) -> None:
    vectors = json.loads((shared / "golden" / "selection.json").read_text())
    assert len(vectors) == 16
    for vector in vectors:
        assert selected(MAIN_MERGE, vector) == sorted(vector["mainMerge"])
        assert selected(PROMOTION, vector) == sorted(vector["promotion"])
    assert any(vector["mainMerge"] for vector in vectors)
    assert any(vector["promotion"] for vector in vectors)
    assert any(vector["sourceRefs"] and vector["excludedLogins"] for vector in vectors)


def test_main_merge_gives_a_reason_for_each() -> None:
    main, staging = PullRequestFacts(base_branch="main"), PullRequestFacts(base_branch="staging")
    decided = reasons(
        merge("1", main),
        merge("2", staging, number=2),
        merge("3", None, number=3),
        merge("4", main, number=4, repository="x/other"),
        merge("5", main, number=5, by=BO),
        review("6", None, by="3", number=1),
        review("7", None, by="3", number=2),
        review("8", None, by="3", number=5),
        review("9", None, by="3", number=99),
        issue(),
        policy=MAIN_MERGE,
        excluded_logins=("BO",),
        source_refs=("Cogni-DAO/cogni",),
    )
    assert decided == {
        "1": "+included",
        "2": "not_into_main",
        "3": "base_branch_unknown",
        "4": "other_repository",
        "5": "excluded_account",
        "6": "+included",
        "7": "pull_request_not_selected",
        "8": "+included",  # its pull request is of an excluded account, and is one into main all the same
        "9": "pull_request_not_selected",
        "i": "other_kind",
    }


def test_promotion_gives_a_reason_for_each() -> None:
    into_main = PullRequestFacts(base_branch="main", commit_shas=(ONE,))
    promoted = PullRequestFacts(base_branch="staging", merge_commit_sha=ONE)
    staging = PullRequestFacts(base_branch="staging", merge_commit_sha=TWO)
    events = (
        merge("1", into_main),
        merge("2", promoted, number=2),
        merge("3", staging, number=3),
        merge("4", None, number=4),
        merge("5", PullRequestFacts(base_branch="staging"), number=5),
        review("6", None, number=2),
        review("7", None, number=1),
        issue(),
    )
    decided = reasons(*events, policy=PROMOTION)
    assert decided == {
        "1": "into_main",
        "2": "+included",
        "3": "not_promoted",
        "4": "base_branch_unknown",
        "5": "commits_unknown",
        "6": "+included",
        "7": "pull_request_not_selected",
        "i": "other_kind",
    }
    # Where the commits of one into main are unknown, it may be that one.
    unknown = merge("8", PullRequestFacts(base_branch="main"), number=8)
    assert reasons(*events, unknown, policy=PROMOTION) == {**decided, "3": "commits_unknown", "8": "into_main"}


def test_include_all_includes_all() -> None:
    events = (merge(facts=None), review(facts=None), issue(facts=None))
    assert set(reasons(*events, policy=INCLUDE_ALL, excluded_logins=("ada",)).values()) == {"+included"}
