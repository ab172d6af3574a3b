"""A credential is reported as usable where GitHub tells less of it than usual."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ledger_pipeline.settings_credentials import GitHubTokens
from ledger_pipeline.sources.github.credential_reports import inspect_credentials
from ledger_pipeline.sources.simulator.apps import App
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline_tests.sources.github.patient_client import key_pair
from ledger_pipeline_tests.sources.simulator.test_apps import WORLD, new_token


class _Unlimited(BaseHTTPRequestHandler):
    """A GitHub Enterprise whose administrator has switched rate limits off."""

    def do_GET(self) -> None:
        is_user = self.path.endswith("/user")
        body = b'{"login": "ada"}' if is_user else b'{"message": "Rate limiting is not enabled."}'
        self.send_response(200 if is_user else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-OAuth-Scopes", "")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def unlimited() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Unlimited) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api/v3"
        server.shutdown()
        thread.join()


def test_an_enterprise_without_limits_has_credentials_and_no_budget(unlimited: str) -> None:
    [report] = inspect_credentials(unlimited, GitHubTokens.of("t"), ["a/b"])
    assert (report.problem, report.login, report.scopes, report.points) == (None, "ada", (), None)
    assert report.skew_seconds is not None
    assert abs(report.skew_seconds) < 5


def test_a_token_that_is_no_persons_works_without_a_name() -> None:
    app = App(77, key_pair()[1], {"cogni-dao": 11, "ana": 22}, users=frozenset({"ana"}))
    with Simulator(WORLD, apps=[app]) as simulator:
        [report] = inspect_credentials(simulator.url, GitHubTokens.of(new_token(simulator)), ["cogni-dao/ledger"])
    assert (report.problem, report.login, report.scopes) == (None, None, None)
    assert report.points is not None
