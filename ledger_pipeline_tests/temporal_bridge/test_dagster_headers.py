"""Dagster behind a login: the headers that are set go with every request, and into nothing that is written."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest
from pydantic import SecretStr

from ledger_pipeline.core.errors import DagsterError, SettingsError
from ledger_pipeline.settings import Settings
from ledger_pipeline.temporal_bridge.collection.dagster_client import dagster_client
from ledger_pipeline_tests.sources.github.canned import canned, serving

TOKEN = "marked-dagster-token"
HEADERS = f"Dagster-Cloud-Api-Token: {TOKEN}\nX-Login: me: you"


@contextmanager
def dagster_behind_a_login() -> Iterator[tuple[str, list[Mapping[str, str]]]]:
    """The address of a server that knows no run, and refuses who does not show TOKEN; and the headers it was sent."""
    received: list[Mapping[str, str]] = []

    empty = {"runOrError": {"__typename": "RunNotFoundError"}, "runsOrError": {"__typename": "Runs", "results": []}}

    def answer(request: BaseHTTPRequestHandler) -> None:
        received.append(dict(request.headers.items()))
        knows_token = request.headers.get("Dagster-Cloud-Api-Token") == TOKEN
        body = json.dumps({"data": empty}).encode() if knows_token else b"who are you?"
        canned(200 if knows_token else 401, [("Content-Type", "application/json")], body)(request)

    with serving(lambda: answer) as url:
        yield url, received


@pytest.mark.parametrize("headers", [HEADERS, HEADERS.replace("\n", "\\n"), f"\n{HEADERS}\r\n"], ids=repr)
def test_the_headers_go_with_every_request(headers: str) -> None:
    with dagster_behind_a_login() as (url, received):
        dagster = dagster_client(Settings(dagster_url=url, dagster_headers=headers))
        assert dagster.find_run("gone") is None
        assert dagster.unfinished_runs() == []
    assert len(received) == 2
    for request in received:
        assert request["Dagster-Cloud-Api-Token"] == TOKEN
        assert request["X-Login"] == "me: you"


def test_a_refusal_does_not_show_them() -> None:
    with dagster_behind_a_login() as (url, _):
        dagster = dagster_client(Settings(dagster_url=url, dagster_headers=f"X-Token: {TOKEN}"))
        with pytest.raises(DagsterError, match="refuses with HTTP 401") as raised:
            dagster.find_run("gone")
    assert TOKEN not in f"{raised.value} {raised.value.__cause__} {vars(dagster)}"


def test_settings_do_not_show_them() -> None:
    settings = Settings(dagster_headers=HEADERS)
    assert TOKEN not in f"{settings!r} {settings} {settings.dagster_request_headers()}"


@pytest.mark.parametrize("headers", [TOKEN, f"X Y: {TOKEN}", f": {TOKEN}", f"X: {TOKEN}\x00", f"X-Y:\n{TOKEN}", "X: ü"])
def test_what_is_no_header_is_refused_without_repeating_it(headers: str) -> None:
    with pytest.raises(SettingsError, match="DAGSTER_HEADERS") as raised:
        Settings(dagster_headers=headers).dagster_request_headers()
    assert TOKEN not in str(raised.value)


def test_the_uis_own_login_is_given_unless_another_is_set() -> None:
    login = Settings(dagster_ui_login=SecretStr("ada:secret"))
    [(name, value)] = login.dagster_request_headers().items()
    assert (name, value.get_secret_value()) == ("Authorization", "Basic YWRhOnNlY3JldA==")
    changed_settings = login.model_copy(update={"dagster_headers": SecretStr("authorization: Bearer x\nX-Team: y")})
    headers = {name: value.get_secret_value() for name, value in changed_settings.dagster_request_headers().items()}
    assert headers == {"authorization": "Bearer x", "X-Team": "y"}
