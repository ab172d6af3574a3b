"""GitHub Apps on the simulator: JWTs it verifies, installations it finds, tokens it hands out and lets expire."""

from collections.abc import Iterator
from datetime import timedelta

import github
import pytest
import requests

from ledger_pipeline.sources.simulator.apps import App
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import World
from ledger_pipeline_tests.sources.github.patient_client import key_pair
from ledger_pipeline_tests.sources.simulator.client import NUMBERS, post
from ledger_pipeline_tests.sources.simulator.worlds import NOON, pull_request, repository

WORLD = World((repository(pull_request(1)), repository(name="ana/notes", database_id=2)))
HERS = '{ repository(owner: "ana", name: "notes") { name } }'


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    app = App(77, key_pair()[1], {"cogni-dao": 11, "ana": 22}, users=frozenset({"ana"}))
    with Simulator(WORLD, as_of=NOON, apps=[app]) as running:
        yield running


def jwt_of(number: int = 1, app_id: int = 77) -> str:
    return github.Auth.AppAuth(app_id, key_pair(number)[0]).create_jwt()


def rest(simulator: Simulator, path: str, token: str, method: str = "GET") -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.request(method, f"{simulator.url}{path}", headers=headers, timeout=10)


def new_token(simulator: Simulator, installation: int = 11) -> str:
    token: str = rest(simulator, f"/app/installations/{installation}/access_tokens", jwt_of(), "POST").json()["token"]
    return token


@pytest.mark.parametrize(
    ("path", "id_"),
    [
        ("/repos/cogni-dao/ledger/installation", 11),
        ("/repos/Ana/notes/installation", 22),
        ("/repos/ana/gone/installation", None),
        ("/orgs/Cogni-DAO/installation", 11),
        ("/orgs/ana/installation", None),
        ("/users/ana/installation", 22),
        ("/users/nobody/installation", None),
        ("/api/v3/users/ana/installation", 22),
    ],
)
def test_an_installation_is_found_by_repository_and_by_owner(simulator: Simulator, path: str, id_: int | None) -> None:
    answer = rest(simulator, path, jwt_of())
    assert answer.status_code == (404 if id_ is None else 200)
    assert answer.json().get("id") == id_


def test_pygithub_lists_installations_and_gets_a_token(simulator: Simulator) -> None:
    auth = github.Auth.AppAuth(77, key_pair()[0])
    with github.GithubIntegration(auth=auth, base_url=simulator.url, retry=None, seconds_between_requests=0) as app:
        assert [installation.id for installation in app.get_installations()] == [11, 22]
        assert app.get_access_token(11).expires_at == NOON + timedelta(hours=1)


@pytest.mark.parametrize("who", ["another key", "another app", "a token", "nonsense"])
def test_who_is_not_the_app_is_refused(simulator: Simulator, who: str) -> None:
    token = {"another key": jwt_of(2), "another app": jwt_of(app_id=78), "a token": "t", "nonsense": "a.b.c"}[who]
    for method, path in (("GET", "/app/installations"), ("POST", "/app/installations/11/access_tokens")):
        answer = rest(simulator, path, token, method)
        assert (answer.status_code, answer.json()["message"]) == (401, "A JSON web token could not be decoded")


def test_an_unknown_installation_has_no_token(simulator: Simulator) -> None:
    assert rest(simulator, "/app/installations/33/access_tokens", jwt_of(), "POST").status_code == 404


def test_a_token_reads_only_its_owners_repositories(simulator: Simulator) -> None:
    token = new_token(simulator)
    assert post(simulator.url, token=token).json()["data"]["repository"]["pullRequests"]["nodes"] == [{"number": 1}]
    assert post(simulator.url, HERS, token).json()["errors"][0]["type"] == "NOT_FOUND"
    assert rest(simulator, "/repos/ana/notes", token).status_code == 404
    assert post(simulator.url, HERS, new_token(simulator, 22)).json()["data"]["repository"] == {"name": "notes"}
    assert post(simulator.url, HERS, "t").json()["data"]["repository"] == {"name": "notes"}, "a person's reads all"


def test_a_token_expires_after_an_hour_or_when_revoked(simulator: Simulator) -> None:
    token = new_token(simulator)
    simulator.set_clock(NOON + timedelta(minutes=59))
    assert post(simulator.url, token=token).status_code == 200
    simulator.set_clock(NOON + timedelta(hours=1))
    assert post(simulator.url, token=token).status_code == 401
    token = new_token(simulator)
    simulator.revoke_installation_tokens()
    assert post(simulator.url, token=token).status_code == 401


def test_a_jwt_or_a_made_up_token_reads_nothing(simulator: Simulator) -> None:
    for token in (jwt_of(), "ghs_made_up"):
        assert post(simulator.url, NUMBERS, token).status_code == 401


def test_each_token_has_a_budget_of_its_own(simulator: Simulator) -> None:
    first, second = new_token(simulator), new_token(simulator)
    left = [post(simulator.url, token=token).headers["X-RateLimit-Remaining"] for token in (first, first, second)]
    assert left == ["4999", "4998", "4999"]
