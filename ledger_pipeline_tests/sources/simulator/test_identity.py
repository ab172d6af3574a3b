"""Who a token is and what it may do, as the simulator tells it."""

from collections.abc import Iterator

import pytest
import requests

from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline_tests.sources.simulator.client import post
from ledger_pipeline_tests.sources.simulator.worlds import world


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(world(), bad_tokens=["bad"], scopes={"classic": "repo, read:org", "bare": ""}) as running:
        yield running


def user(simulator: Simulator, token: str) -> requests.Response:
    return requests.get(f"{simulator.url}/user", headers={"Authorization": f"Bearer {token}"}, timeout=10)


def test_rest_and_graphql_name_the_same_person(simulator: Simulator) -> None:
    viewer = post(simulator.url, "{ viewer { login databaseId } }").json()["data"]["viewer"]
    identity = user(simulator, "any").json()
    assert (identity["login"], identity["id"]) == (viewer["login"], viewer["databaseId"])


@pytest.mark.parametrize(("token", "scopes"), [("classic", "repo, read:org"), ("bare", ""), ("fine-grained", None)])
def test_a_classic_tokens_scopes_come_with_every_answer(simulator: Simulator, token: str, scopes: str | None) -> None:
    for answer in (user(simulator, token), post(simulator.url, token=token)):
        assert answer.headers.get("X-OAuth-Scopes") == scopes


def test_who_is_not_known_is_nobody(simulator: Simulator) -> None:
    assert user(simulator, "bad").status_code == 401
