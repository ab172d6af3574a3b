"""What an old GitHub Enterprise lacks is known from its own schema, and the doctor says it."""

import asyncio
import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from graphql import FieldNode, TypeInfo, TypeInfoVisitor, Visitor, get_named_type, parse, visit

from ledger_pipeline.doctor.findings import State
from ledger_pipeline.doctor.github import check_repositories
from ledger_pipeline.settings import Settings
from ledger_pipeline.sources.github import queries
from ledger_pipeline.sources.github.capabilities import ASKED_FOR, lacking_fields
from ledger_pipeline.sources.simulator.query import SCHEMA
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline_tests.sources.github.canned import canned, serving
from ledger_pipeline_tests.sources.github.patient_client import client
from ledger_pipeline_tests.sources.simulator.worlds import NAME, NOON, world

NOT_OF_ITEMS = {"Query", "RateLimit", "PageInfo", "Actor", "SearchResultItemConnection", "PullRequestReviewConnection"}


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


def old_enterprise(body: dict[str, Any]) -> bytes:
    known = {type_: names - {"fullDatabaseId"} for type_, names in ASKED_FOR.items()}
    fields = {type_: {"fields": [{"name": name} for name in sorted(names)]} for type_, names in known.items()}
    return json.dumps({"data": {**fields, **body}}).encode()


def test_the_doctor_names_what_an_old_enterprise_lacks() -> None:
    one = {"totalCount": 0, "nodes": []}
    body = old_enterprise({"r0": {"pullRequests": one, "issues": one}})
    answer = canned(200, [("Date", format_datetime(datetime.now(UTC), usegmt=True))], body)
    with serving(lambda: answer) as url, client(url) as asked:
        lacking = ["Issue.fullDatabaseId", "PullRequest.fullDatabaseId", "PullRequestReview.fullDatabaseId"]
        assert lacking_fields(asked, NAME) == lacking
        settings = Settings(github_api_url=url, github_token="t")  # type: ignore[arg-type]
        finding = asyncio.run(check_repositories(settings, [NAME], []))
    assert finding.state is State.FAILED
    assert all(name in finding.detail for name in lacking)
    assert "upgrade GitHub Enterprise Server" in (finding.remedy or "")
