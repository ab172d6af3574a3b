"""The public JSON routes: the shapes that the OpenAPI document promises, limits, entity tags, other sites' pages."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
import requests

from ledger_pipeline_tests.web.crawling import API, asked
from ledger_pipeline_tests.web.publishing import FINALIZED

TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "boolean": bool, "null": type(None), "array": list, "object": dict
}  # fmt: skip


def misfits(schema: Mapping[str, Any], value: Any, document: Mapping[str, Any], place: str = "$") -> list[str]:
    """Where `value` is not as `schema` says; a member that it does not name is one such place."""
    if "$ref" in schema:
        return misfits(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], value, document, place)
    if "oneOf" in schema:
        fitting = [choice for choice in schema["oneOf"] if not misfits(choice, value, document, place)]
        return [] if len(fitting) == 1 else [f"{place} fits {len(fitting)} of what it may be"]
    if "const" in schema:
        return [] if value == schema["const"] else [f"{place} is {value!r}"]
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(isinstance(value, TYPES[name]) and (name != "integer" or value is not True) for name in types):
        return [f"{place} is {value!r}, no {types}"]
    if isinstance(value, str) and not re.fullmatch(schema.get("pattern", ".*").strip("^$"), value):
        return [f"{place} is {value!r}"]
    if isinstance(value, list):
        return [
            text
            for number, row in enumerate(value)
            for text in misfits(schema["items"], row, document, f"{place}[{number}]")
        ]
    if isinstance(value, dict) and "properties" in schema:
        wrong = [f"{place} has {sorted(value)}"] if set(value) != set(schema["properties"]) else []
        return wrong + [
            text
            for name, row in value.items()
            for text in misfits(schema["properties"].get(name, {"type": "null"}), row, document, f"{place}.{name}")
        ]
    return []


@pytest.fixture
def document(site: str) -> dict[str, Any]:
    answer: dict[str, Any] = asked(f"{site}/api/v1/public/openapi.json").json()
    return answer


def answered(site: str, document: Mapping[str, Any], path: str, **values: str) -> Any:
    """What a route answers, which is as the document says."""
    answer = asked(site + path.format(**values))
    assert answer.headers["content-type"] == "application/json"
    schema = document["paths"][path]["get"]["responses"][str(answer.status_code)]["content"]["application/json"][
        "schema"
    ]
    assert misfits(schema, answer.json(), document) == []
    return answer.json()


def test_epochs_are_as_the_system_we_join_has_them(site: str, document: Mapping[str, Any]) -> None:
    answer = answered(site, document, API)
    assert answer["total"] == 4
    assert [epoch["id"] for epoch in answer["epochs"]] == ["4", "3", "2", "1"]
    newest = answer["epochs"][0]
    assert (newest["status"], newest["periodStart"], newest["poolTotalCredits"]) == (
        "finalized", f"{FINALIZED[-1].key}T00:00:00.000Z", "10000"
    )  # fmt: skip
    assert newest["weightConfig"] == {
        "github:pr_merged": 1000,
        "github:review_submitted": 500,
        "github:issue_closed": 300,
    }


def test_a_statement_and_its_claimants_say_the_same(site: str, document: Mapping[str, Any]) -> None:
    for epoch_id in ("1", "2", "3", "4"):
        statement = answered(site, document, f"{API}/{{id}}/statement", id=epoch_id)["statement"]
        claimants = answered(site, document, f"{API}/{{id}}/claimants", id=epoch_id)
        lines = statement["statementLines"]
        assert [line["claimant_key"] for line in lines] == sorted(line["claimant_key"] for line in lines)
        assert sum(int(line["credit_amount"]) for line in lines) == int(statement["poolTotalCredits"]) == 10000
        assert [
            (item["claimantKey"], item["totalUnits"], item["share"], item["amountCredits"], item["receiptIds"])
            for item in claimants["items"]
        ] == [
            (line["claimant_key"], line["final_units"], line["pool_share"], line["credit_amount"], line["receipt_ids"])
            for line in lines
        ]
        [unlinked] = [item for item in claimants["items"] if item["claimantKey"] == "identity:github:2000"]
        assert (unlinked["isLinked"], unlinked["displayName"]) == (False, "passer-by")
        assert unlinked["claimant"] == {
            "kind": "identity", "provider": "github", "externalId": "2000", "providerLogin": "passer-by"
        }  # fmt: skip
        assert all(item["receiptIds"] for item in claimants["items"] if item["displayName"] != "bo")
    superseding = answered(site, document, f"{API}/{{id}}/statement", id="3")["statement"]
    assert superseding["supersedesStatementId"] is not None


@pytest.mark.parametrize("epoch_id", ["99", "0", "x", "1e3", "9" * 30])
def test_of_an_epoch_that_is_not_finalized_there_is_no_statement(
    site: str, document: Mapping[str, Any], epoch_id: str
) -> None:
    assert answered(site, document, f"{API}/{{id}}/statement", id=epoch_id) == {"statement": None}
    refusal = answered(site, document, f"{API}/{{id}}/claimants", id=epoch_id)
    assert refusal == {"error": "No finalized epoch has this number."}


def test_pages_of_the_list_are_bounded(site: str, document: Mapping[str, Any]) -> None:
    assert [epoch["id"] for epoch in asked(f"{site}{API}?limit=2&offset=1").json()["epochs"]] == ["3", "2"]
    assert asked(f"{site}{API}?limit=200&offset=900").json() == {"epochs": [], "total": 4}


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("limit=0", "limit must be a whole number from 1 to 200, given once."),
        ("limit=201", "limit must be a whole number from 1 to 200, given once."),
        ("limit=1&limit=2", "limit must be a whole number from 1 to 200, given once."),
        ("limit=", "limit must be a whole number from 1 to 200, given once."),
        ("limit=%D9%A1", "limit must be a whole number from 1 to 200, given once."),
        ("offset=-1", "offset must be a whole number of at least 0, given once."),
        ("offset=1.5", "offset must be a whole number of at least 0, given once."),
        ("offset=" + "9" * 1000, "offset must be a whole number of at least 0, given once."),
    ],
    ids=lambda value: value[:20],
)
def test_a_limit_that_is_none_is_refused(site: str, query: str, why: str) -> None:
    answer = asked(f"{site}{API}?{query}")
    assert (answer.status_code, answer.json()) == (400, {"error": why})


@pytest.mark.parametrize("path", ["/", "/epochs/1", "/epochs/1/archive.zip", API, f"{API}/1/claimants"])
def test_who_has_an_answer_already_is_told_that_nothing_changed(site: str, path: str) -> None:
    answer = asked(site + path)
    tag = answer.headers["etag"]
    assert answer.headers["cache-control"] == "public, max-age=60"
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = asked(site + path, **{"If-None-Match": given})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert asked(site + path, **{"If-None-Match": '"other"'}).content == answer.content
    head = requests.head(site + path, timeout=30)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", tag)


def test_any_sites_page_may_read_json_and_no_page(site: str) -> None:
    stranger = {"Origin": "https://stranger.example"}
    for path in (API, f"{API}/1/statement", f"{API}/99/claimants", f"{API}?limit=0"):
        assert asked(site + path, **stranger).headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in asked(site + "/", **stranger).headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_is_written_to(site: str, method: str) -> None:
    answer = requests.request(method, f"{site}{API}", timeout=30)
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})
    assert answer.json()["error"].startswith("This address is only read: use ")
    assert requests.request(method, f"{site}/epochs/1", timeout=30).status_code == 405
