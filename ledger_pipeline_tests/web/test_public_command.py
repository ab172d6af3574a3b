"""`ledger-pipeline serve`, as a process of its own on a real ledger."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from ledger_pipeline.cli.serve import names_of
from ledger_pipeline.core.errors import SettingsError
from ledger_pipeline.local.processes import free_port, leashed
from ledger_pipeline.settings import Settings
from ledger_pipeline.store.roles import WEB, ensure_logins
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.store.test_roles import url_of
from ledger_pipeline_tests.waiting import eventually
from ledger_pipeline_tests.web.crawling import API

SAMPLE = Path(__file__).parents[2] / ".cogni" / "repo-spec.yaml"
STARTS_WITHIN_SECONDS = 120


@contextmanager
def running(tmp_path: Path, *options: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", "from ledger_pipeline.cli.app import main; main()", "serve", *options]
    given = {"PATH": "/usr/bin:/bin", "LEDGER_HOME": str(tmp_path), "LEDGER_REPO_SPEC": str(SAMPLE), **environment}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(leashed(command), env=given, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)


def test_it_serves_as_a_login_of_its_own_until_it_is_told_to_stop(published_url: str, tmp_path: Path) -> None:
    web_url = url_of(published_url, "serve_of_test", "its own")
    ensure_logins(published_url, {WEB: web_url})
    port = free_port()
    # The pipeline's own URL leads nowhere: pages need none of it.
    urls = {"DATABASE_URL": "postgresql://127.0.0.1:1/none", "DATABASE_WEB_URL": web_url}
    with running(tmp_path, "--port", str(port), **urls) as process:

        def epochs() -> int | None:
            assert process.poll() is None, (tmp_path / "log").read_text()
            try:
                return int(requests.get(f"http://127.0.0.1:{port}{API}", timeout=5).json()["total"])
            except requests.ConnectionError:
                return None

        assert eventually(epochs, STARTS_WITHIN_SECONDS) == 4
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in {0, 143}
    log = (tmp_path / "log").read_text()
    assert f"public pages: http://127.0.0.1:{port}" in log
    assert "Traceback" not in log
    assert "its own" not in log


@pytest.mark.parametrize(
    ("options", "settings", "why"),
    [
        (["--public"], {}, "--public needs PUBLIC_URL"),
        (["--public"], {"PUBLIC_URL": "ledger.example"}, "PUBLIC_URL is not valid"),
        ([], {"DATABASE_URL": "postgresql://127.0.0.1:1/none"}, "DATABASE_WEB_URL is not set"),
    ],
    ids=["no address", "no URL", "no login"],
)
def test_what_is_missing_is_said_at_once(
    command: Command, tmp_path: Path, options: list[str], settings: dict[str, str], why: str
) -> None:
    environment = {"LEDGER_HOME": str(tmp_path), "LEDGER_REPO_SPEC": str(SAMPLE), **settings}
    refused = command("serve", *options, **environment)
    assert refused.code == 2
    assert why in refused.err


@pytest.mark.parametrize(
    ("url", "names", "has_tls"),
    [
        ("https://ledger.example", {"ledger.example"}, True),
        ("https://ledger.example:8443/", {"ledger.example"}, True),
        ("http://[2001:db8::1]:8700", {"[2001:db8::1]"}, False),
    ],
)
def test_the_public_name_is_the_urls(url: str, names: set[str], has_tls: bool) -> None:
    assert names_of(Settings(public_url=url)) == (names, has_tls)


@pytest.mark.parametrize("url", ["ftp://x", "https://", "https://x/path", "https://a@x", "https://[", "x"])
def test_a_public_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"PUBLIC_URL is not valid: write it as https://ledger\.example"):
        names_of(Settings(public_url=url))
