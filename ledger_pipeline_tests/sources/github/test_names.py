"""The name that GitHub answers with is what ids are made of: it has to lead to the same repository."""

import json
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from ledger_pipeline.core.errors import SourceUnavailable
from ledger_pipeline.core.sources import ISSUE, PULL_REQUEST, PULL_REQUESTS
from ledger_pipeline.core.unread import ItemKey
from ledger_pipeline.sources.github.repository_scan import RepositoryScan
from ledger_pipeline.sources.port import ScanPage, ScanRequest
from ledger_pipeline_tests.sources.github.canned import Asked, canned, serving
from ledger_pipeline_tests.sources.github.patient_client import client
from ledger_pipeline_tests.sources.simulator.worlds import NAME

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
OTHER = "cogni-dao/other"
LAST = {"totalCount": 0, "pageInfo": {"hasNextPage": False, "endCursor": None}, "nodes": []}


def scanned(name: str, ids: dict[str, int | None]) -> tuple[list[ScanPage], int]:
    """The pages, and how much was asked, of a GitHub that calls everything `name`, and has `ids` under each name."""
    asked = 0

    def respond(request: Asked) -> None:
        nonlocal asked
        asked += 1
        variables = json.loads(request.asked)["variables"]
        wanted = f"{variables['owner']}/{variables['name']}"
        data: dict[str, object] = {"repository": None}
        if wanted in ids:
            data = {"repository": {"nameWithOwner": name, "databaseId": ids[wanted], "pullRequests": LAST}}
        canned(200, [("Date", format_datetime(NOW, usegmt=True))], json.dumps({"data": data}).encode())(request)

    request = ScanRequest(NAME, {PULL_REQUESTS: datetime(2026, 1, 1, tzinfo=UTC)})
    with serving(lambda: respond) as url, client(url) as asking:
        return list(RepositoryScan(asking, request, 100).pages()), asked


@pytest.mark.parametrize("of_both", [1, None])
def test_a_renamed_repository_is_known_by_both_of_its_names(of_both: int | None) -> None:
    [page], asked = scanned(OTHER, {NAME: of_both, OTHER: of_both})
    assert (page.source_scope_name, asked) == (OTHER, 2)


@pytest.mark.parametrize("name", [NAME, NAME.upper()])
def test_its_own_name_needs_no_second_question(name: str) -> None:
    [page], asked = scanned(name, {NAME: 1})
    assert (page.source_scope_name, asked) == (name, 1)


@pytest.mark.parametrize("ids", [{NAME: 1, OTHER: 2}, {NAME: 1, OTHER: None}, {NAME: 1}], ids=str)
def test_another_repositorys_name_fails_the_repository_by_name(ids: dict[str, int | None]) -> None:
    with pytest.raises(SourceUnavailable, match=f"{NAME}: GitHub answers with the name of {OTHER}, and under that"):
        scanned(OTHER, ids)


def test_an_item_without_a_number_is_named_in_english() -> None:
    assert [str(ItemKey(kind, 0)) for kind in (ISSUE, PULL_REQUEST)] == [
        "an issue without a number",
        "a pull request without a number",
    ]
