"""What an old GitHub Enterprise lacks is known from its own schema, and the doctor says it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from graphql import FieldNode, TypeInfo, TypeInfoVisitor, Visitor, get_named_type, parse, visit

from ledger_pipeline.core.errors import SourceRefused
from ledger_pipeline.core.facts import facts_json
from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.core.unread import ItemKey
from ledger_pipeline.doctor.findings import Finding, State
from ledger_pipeline.doctor.github import check_repositories
from ledger_pipeline.settings import Settings
from ledger_pipeline.sources.github import queries
from ledger_pipeline.sources.github.capabilities import ASKED_FOR, lacking_fields
from ledger_pipeline.sources.github.fact_fields import FACT_FIELDS
from ledger_pipeline.sources.github.node_ids import database_id
from ledger_pipeline.sources.port import ScanRequest
from ledger_pipeline.sources.simulator.global_ids import item_id
from ledger_pipeline.sources.simulator.query import SCHEMA
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure
from ledger_pipeline_tests.sources.github.github_source import github_source, scan, scan_on
from ledger_pipeline_tests.sources.github.patient_client import client
from ledger_pipeline_tests.sources.simulator.worlds import (
    ANA,
    LATER,
    MONDAY,
    NAME,
    NOON,
    issue,
    merged,
    review,
    world,
)

NOT_OF_ITEMS = {
    "Query",
    "RateLimit",
    "PageInfo",
    "Actor",
    "SearchResultItemConnection",
    "PullRequestReviewConnection",
    "LabelConnection",
    "PullRequestCommitConnection",
    "PullRequestChangedFileConnection",
    "IssueTimelineItemsConnection",
}


class _Fields(Visitor):
    def __init__(self, types: TypeInfo) -> None:
        super().__init__()
        self._types = types
        self.seen: set[str] = set()

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        parent = get_named_type(self._types.get_parent_type())
        if parent is not None and not node.name.value.startswith("__"):
            self.seen.add(f"{parent.name}.{node.name.value}")


def test_the_table_is_what_the_queries_ask_for() -> None:
    types = TypeInfo(SCHEMA)
    fields = _Fields(types)
    for query in (queries.ACTIVITY, queries.PULL_REQUEST, queries.ISSUE, queries.heads_query(1)):
        visit(parse(query), TypeInfoVisitor(types, fields))
    asked_for = {name for name in fields.seen if name.partition(".")[0] not in NOT_OF_ITEMS}
    assert {f"{type_}.{name}" for type_, names in ASKED_FOR.items() for name in names} == asked_for


def test_todays_github_lacks_nothing() -> None:
    with Simulator(world(), as_of=NOON) as github, client(github.url) as asked:
        assert lacking_fields(asked, NAME) == []


FULL_IDS = ["Issue.fullDatabaseId", "PullRequest.fullDatabaseId", "PullRequestReview.fullDatabaseId"]


def checked(github: Simulator) -> Finding:
    settings = Settings(github_api_url=github.url, github_token="t")  # type: ignore[arg-type]
    return asyncio.run(check_repositories(settings, [NAME], []))


def test_the_doctor_names_what_an_old_enterprise_lacks() -> None:
    with Simulator(world(), lacking=[*FULL_IDS, "PullRequest.baseRefName"]) as github:
        finding = checked(github)
    assert finding.state is State.FAILED
    assert all(name in finding.detail for name in [*FULL_IDS, "PullRequest.baseRefName"])
    assert "upgrade GitHub Enterprise Server" in (finding.remedy or "")


def test_the_doctor_warns_of_what_a_collection_can_do_without() -> None:
    with Simulator(world(), lacking=FULL_IDS) as github:
        finding = checked(github)
    assert finding.state is State.WARNING
    assert all(name in finding.detail for name in FULL_IDS)


def test_the_doctor_warns_of_facts_that_stay_unknown() -> None:
    with Simulator(world(), lacking=["Issue.stateReason", "Commit.message"]) as github:
        finding = checked(github)
    assert finding.state is State.WARNING
    assert "facts that Commit.message, Issue.stateReason would tell stay unknown" in finding.detail
    assert "databaseId" not in finding.detail


# All but the one field that a type of the simulator has: there is no type without any.
ALONE = {"Ref.name", "Label.name", "PullRequestCommit.commit", "PullRequestChangedFile.path"}
OF_FACTS = sorted({name for field in FACT_FIELDS for name in field.needs} - ALONE)


@pytest.mark.parametrize("lacking", OF_FACTS)
def test_a_fact_that_an_old_enterprise_cannot_tell_is_left_out_and_unknown(lacking: str) -> None:
    items = (merged(1, reviews=(review(1),), merge_commit="a" * 40), issue(3, closures=(Closure(NOON, closed_by=ANA),)))
    request = ScanRequest(NAME, dict.fromkeys(GITHUB_STREAMS, MONDAY), tells_paths=True)
    with Simulator(world(*items), as_of=LATER) as github:
        [expected] = scan_on(github.url, request)
    with Simulator(world(*items), as_of=LATER, lacking=[lacking]) as github, github_source(github.url) as source:
        [page] = source.scan(request)
        assert len(github.requests) == 3  # refused, the schema, the page
        list(source.scan(request))
        assert len(github.requests) == 4
    assert {event.payload_hash for event in page.events} == {event.payload_hash for event in expected.events}
    assert page.unread == ()
    fact_names, all_known = (
        {(of.event_id, key) for of in scan_page.facts for key in facts_json(of.facts)} for scan_page in (page, expected)
    )
    is_of_others = lacking.partition(".")[0] in ("Bot", "Mannequin", "Organization")
    assert fact_names == all_known if is_of_others else fact_names < all_known


@pytest.mark.parametrize("lacking", [FULL_IDS, FULL_IDS[2:], FULL_IDS[:1]], ids=len)
def test_an_old_enterprise_gives_the_same_events_and_is_asked_for_its_schema_once(lacking: list[str]) -> None:
    small = replace(merged(1), database_id=17)  # fits into the 32 bits of databaseId
    items = (small, merged(2, reviews=(review(1), review(2))), issue(3, closures=(Closure(NOON),)))
    with Simulator(world(*items), as_of=LATER) as github:
        expected = [page.events for page in scan(github.url, MONDAY)]
    with Simulator(world(*items), as_of=LATER, lacking=lacking) as github, github_source(github.url) as source:
        request = ScanRequest(NAME, dict.fromkeys(GITHUB_STREAMS, MONDAY), unread=(ItemKey("pull_request", 9),))
        assert [page.events for page in source.scan(request)] == expected
        assert len(github.requests) == 1 + 1 + 2  # refused, the schema, the page and the item
        github.clear_requests()
        list(source.scan(ScanRequest(NAME, request.floors)))
        assert len(github.requests) == 1


@pytest.mark.parametrize("lacking", ["PullRequest.baseRefName"])
def test_a_field_that_nothing_replaces_is_refused_by_name(lacking: str) -> None:
    with (
        Simulator(world(), as_of=LATER, lacking=[lacking]) as github,
        pytest.raises(SourceRefused, match="baseRefName"),
    ):
        scan(github.url, MONDAY)


@pytest.mark.parametrize(
    ("node_id", "number"),
    [
        ("PRR_kwDOABcDEc4AAQID", "66051"),
        ("MDE3OlB1bGxSZXF1ZXN0UmV2aWV3MTIzNDU=", "12345"),
        (item_id("PullRequestReview", 5, 4_000_000_001), "4000000001"),
        (item_id("PullRequestReview", 5, 7_000_000_001), "7000000001"),
        ("PRR_kwDO", None),
        ("PRR_", None),
        ("PRR_\u00e9", None),
        ("", None),
        ("MDEyOk9yZ2FuaXphdGlvbg==", None),
    ],
)
def test_the_number_of_an_object_is_read_from_its_global_id(node_id: str, number: str | None) -> None:
    assert database_id(node_id) == number
