"""Recordings come out over HTTP as they went in; what they lack is made up, the same every time."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ledger_pipeline.sources.simulator.recorded import RecordingError, load_recording
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import ActorKind, World
from ledger_pipeline_tests.sources.simulator.client import pygithub

AFTERWARDS = datetime(2030, 1, 1, tzinfo=UTC)

AUTHOR = "author { __typename login ... on User { databaseId } ... on Bot { databaseId } }"
QUERY = f"""query($owner: String!, $name: String!, $after: String, $issuesAfter: String) {{
  repository(owner: $owner, name: $name) {{
    pullRequests(first: 100, after: $after, orderBy: {{field: UPDATED_AT, direction: DESC}}) {{
      pageInfo {{ hasNextPage endCursor }}
      nodes {{
        number fullDatabaseId title state url createdAt updatedAt closedAt mergedAt isDraft baseRefName
        additions deletions changedFiles mergeCommit {{ oid }} {AUTHOR} mergedBy {{ login }}
        labels(first: 100) {{ nodes {{ name }} }} files(first: 100) {{ nodes {{ path }} }}
        reviews(first: 100) {{ nodes {{
          fullDatabaseId databaseId state submittedAt updatedAt url commit {{ oid }} {AUTHOR} }} }}
      }}
    }}
    issues(first: 100, after: $issuesAfter) {{
      pageInfo {{ hasNextPage endCursor }}
      nodes {{
        number fullDatabaseId state stateReason(enableDuplicate: true) createdAt updatedAt closedAt url {AUTHOR} }}
    }}
  }}
}}"""

Nodes = list[dict[str, Any]]


def read_all(world: World, name_with_owner: str) -> tuple[Nodes, Nodes]:
    """Every pull request and every issue, page by page, as PyGithub brings them."""
    owner, name = name_with_owner.split("/")
    lists: dict[str, Nodes] = {"pullRequests": [], "issues": []}
    cursors: dict[str, str | None] = {"pullRequests": None, "issues": None}
    with Simulator(world, as_of=AFTERWARDS) as simulator, pygithub(simulator.url) as client:
        while True:
            asked = {"owner": owner, "name": name, "after": cursors["pullRequests"]}
            asked["issuesAfter"] = cursors["issues"]
            _, answer = client.requester.graphql_query(QUERY, asked)
            pages = answer["data"]["repository"]
            for key, nodes in lists.items():
                nodes += pages[key]["nodes"]
                cursors[key] = pages[key]["pageInfo"]["endCursor"] or cursors[key]
            if not any(pages[key]["pageInfo"]["hasNextPage"] for key in lists):
                return lists["pullRequests"], lists["issues"]


def rows(file: Path) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in file.read_text().splitlines())


def actor(row: dict[str, Any] | None) -> dict[str, Any] | None:
    if row is None:
        return None
    login = row["login"].removesuffix("[bot]")
    return {"__typename": row["type"], "login": login, "databaseId": row["databaseId"]}


def test_secp256k1_comes_out_as_recorded(shared: Path) -> None:
    folder = shared / "github" / "secp256k1" / "latest"
    pull_requests, issues = read_all(load_recording(folder), "bitcoin-core/secp256k1")

    recorded = {row["number"]: row for row in rows(folder / "pull_requests.jsonl")}
    assert len(pull_requests) == len(recorded) == 1308
    for node in pull_requests:
        row = recorded[node["number"]]
        plain = (
            "title",
            "state",
            "url",
            "createdAt",
            "updatedAt",
            "closedAt",
            "mergedAt",
            "isDraft",
            "baseRefName",
        )
        for key in (*plain, "additions", "deletions", "changedFiles"):
            assert node[key] == row[key], (key, row)
        assert node["fullDatabaseId"] == str(row["databaseId"])
        assert node["author"] == actor(row["author"])
        assert (node["mergedBy"] or {}).get("login") == (row["mergedBy"] or {}).get("login")
        assert (node["mergeCommit"] or {}).get("oid") == row["mergeCommit"]
        assert [label["name"] for label in node["labels"]["nodes"]] == row["labels"]
        files = None if node["files"] is None else [file["path"] for file in node["files"]["nodes"]]
        assert files == (row["files"] if row["files"] is None else row["files"][:100])

    by_user = [node for node in pull_requests if node["mergedAt"] and node["author"]["__typename"] == "User"]
    assert len(by_user) == 943

    reviews = {
        node["fullDatabaseId"]: node for pull_request in pull_requests for node in pull_request["reviews"]["nodes"]
    }
    recorded_reviews = {str(row["databaseId"]): row for row in rows(folder / "reviews.jsonl")}
    assert reviews.keys() == recorded_reviews.keys()
    for review_id, row in recorded_reviews.items():
        node = reviews[review_id]
        assert (node["state"], node["submittedAt"], node["url"]) == (row["state"], row["submittedAt"], row["url"])
        assert node["updatedAt"] == (row["updatedAt"] or row["submittedAt"])
        assert node["databaseId"] == (row["databaseId"] if row["databaseId"] < 2**31 else None)
        assert node["author"] == actor(row["author"])
        assert node["commit"] == {"oid": row["commit"]}
    users = [node for node in reviews.values() if node["author"] and node["author"]["__typename"] == "User"]
    assert len(users) == 2562

    recorded_issues = {row["number"]: row for row in rows(folder / "issues.jsonl")}
    assert len(issues) == len(recorded_issues)
    assert sum(node["state"] == "CLOSED" for node in issues) == 436
    for node in issues:
        row = recorded_issues[node["number"]]
        for key in ("state", "stateReason", "createdAt", "updatedAt", "closedAt", "url"):
            assert node[key] == row[key], (key, row)
        assert node["fullDatabaseId"] == str(row["databaseId"])
        assert node["author"] == actor(row["author"])


def test_posthog_gets_stable_ids_that_do_not_collide(shared: Path) -> None:
    first, second = (load_recording(shared / "github" / "posthog") for _ in range(2))
    assert first == second
    [repository] = first.repositories
    assert (len(repository.pull_requests), len(repository.issues)) == (947, 294)
    reviews = [review for pull_request in repository.pull_requests for review in pull_request.reviews]
    assert len(reviews) == 2000, "55 of the 2055 belong to pull requests that are not recorded"
    for items in (repository.pull_requests, repository.issues, reviews):
        assert len({item.database_id for item in items}) == len(items)
    authors = {pull_request.author for pull_request in repository.pull_requests} | {
        issue.author for issue in repository.issues
    }
    authors |= {review.author for review in reviews}
    named = {author for author in authors if author is not None}
    assert len({author.database_id for author in named}) == len(named)
    assert all(0 < author.database_id < 2**31 for author in named)


def test_policy_bots_lose_their_suffix(shared: Path) -> None:
    [repository] = load_recording(shared / "github" / "policy").repositories
    bots = {
        pull_request.author.login
        for pull_request in repository.pull_requests
        if pull_request.author and pull_request.author.kind == "Bot"
    }
    assert bots == {"devin-ai-integration", "idobata-policy-app"}


ISSUE = {
    "repo": "o/r", "number": 1, "title": "t", "author": {"login": "robo[bot]", "type": None, "databaseId": None},
    "state": "OPEN", "stateReason": "REOPENED", "createdAt": None, "updatedAt": "2026-01-05T00:00:00Z",
    "closedAt": None, "url": None, "labels": None, "databaseId": None,
}  # fmt: skip


def write(folder: Path, *lines: object) -> Path:
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "issues.jsonl").write_text("\n".join(text))
    return folder


def test_what_a_recording_lacks_is_supplied(tmp_path: Path) -> None:
    [repository] = load_recording(write(tmp_path, ISSUE)).repositories
    [issue] = repository.issues
    assert issue.author is not None
    assert (issue.author.login, issue.author.kind) == ("robo", ActorKind.BOT)
    assert (issue.state, issue.state_reason) == ("OPEN", "REOPENED")
    assert issue.created_at == issue.updated_at == datetime(2026, 1, 5, tzinfo=UTC)
    assert issue.labels is None


def test_a_null_author_is_a_deleted_account(tmp_path: Path) -> None:
    [repository] = load_recording(write(tmp_path, ISSUE | {"author": None})).repositories
    assert repository.issues[0].author is None


def test_one_folder_may_hold_several_repositories(tmp_path: Path) -> None:
    world = load_recording(write(tmp_path, ISSUE, ISSUE | {"repo": "o/other"}))
    assert [repository.name_with_owner for repository in world.repositories] == ["o/other", "o/r"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{not json", "issues.jsonl:2: not JSON"),
        ("[" * 5000, "issues.jsonl:2: not JSON: it nests deeper than 64 levels"),
        ("[]", "issues.jsonl:2: a JSON object is expected, not list"),
        ({"repo": "o/r", "number": 2}, "issues.jsonl:2: key 'closedAt' is missing"),
        (ISSUE | {"closedAt": "soon"}, "issues.jsonl:2: Invalid isoformat string: 'soon'"),
        (ISSUE | {"updatedAt": None}, "issues.jsonl:2: no time at all"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: object, complaint: str) -> None:
    with pytest.raises(RecordingError) as error:
        load_recording(write(tmp_path, ISSUE, line))
    assert complaint in str(error.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such folder"):
        load_recording(tmp_path / "nowhere")
