"""No secret is in anything that a collection writes, be it one that works or one that fails."""

import base64
import json
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import NullPool, inspect, make_url, text

from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.sources.simulator.faults import FailedAnswer
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline_tests.builders import instant
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.postgres import fresh_database
from ledger_pipeline_tests.sources.github.canned import canned, serving
from ledger_pipeline_tests.sources.simulator.worlds import NAME, merged, world

NOW = instant("2026-02-18T12:00")
MARKS = ("ghp-marked-token", "ghp-second-token", "marked-ledger-password", "marked-dagster-password")


def everything_in(url: str) -> Iterator[str]:
    """Every row of every table of a database, as text."""
    engine = make_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        for table in inspect(engine).get_table_names():
            for (row,) in connection.execute(text(f'SELECT "{table}"::text FROM "{table}"')):
                yield f"{table}: {row}"


@pytest.mark.parametrize(
    "failure", [None, FailedAnswer.BLOCKED, FailedAnswer.BAD_CREDENTIALS, FailedAnswer.MAINTENANCE], ids=str
)
def test_no_secret_is_in_anything_that_is_written(
    command: Command, ledger_url: str, postgres_server: str, tmp_path: Path, failure: FailedAnswer | None
) -> None:
    home = tmp_path / "home"
    with Simulator(world(merged(1, NOW)), as_of=NOW) as github, fresh_database(postgres_server) as dagster_url:
        if failure is not None:
            github.faults.for_repository(NAME, failure)
        # The server trusts its socket: a password is neither needed nor checked, and is carried along all the same.
        ran = command(
            "collect",
            "--epoch",
            "2026-02-16",
            DATABASE_URL=_with_password(ledger_url, MARKS[2]),
            DAGSTER_DATABASE_URL=_with_password(dagster_url, MARKS[3]),
            GITHUB_API_URL=github.url,
            GITHUB_CLOCK_TOLERANCE_SECONDS=str(ANY_CLOCK_SECONDS),
            GITHUB_TOKENS=f"{MARKS[0]},{MARKS[1]}",
            GITHUB_RETRIES="0",
            LEDGER_HOME=str(home),
            LEDGER_REPO_SPEC=str(write_repo_spec(tmp_path, NAME)),
        )
        assert ran.code == (0 if failure is None else 1)
        written = [ran.out, ran.err, *everything_in(ledger_url), *everything_in(dagster_url)]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 20
    assert home / "dagster" / "dagster.yaml" in files
    written += [path.read_text(errors="replace") for path in files]
    for mark in MARKS:
        assert [text for text in written if mark in text] == []


@pytest.mark.parametrize("status", [200, 400, 401, 403, 503])
def test_a_server_that_quotes_all_it_was_sent_puts_no_secret_into_anything_that_is_written(
    command: Command, ledger_url: str, postgres_server: str, tmp_path: Path, status: int
) -> None:
    home, quoted = tmp_path / "home", []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        sent = handler.headers["Authorization"]
        quoted.append(sent)
        token = sent.rpartition(" ")[2]
        basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        says = f"{token} or {quote(token, safe='')} or {basic} from {handler.headers}"
        body = {"message": says, "errors": [{"message": says, "type": says, "path": [says]}]}
        canned(status, [("Date", formatdate(usegmt=True)), ("X-Quoted", token)], json.dumps(body).encode())(handler)

    with serving(lambda: answer) as api_url, fresh_database(postgres_server) as dagster_url:
        ran = command(
            "collect",
            "--epoch",
            "2026-02-16",
            DATABASE_URL=_with_password(ledger_url, MARKS[2]),
            DAGSTER_DATABASE_URL=_with_password(dagster_url, MARKS[3]),
            GITHUB_API_URL=api_url.replace("://", "://ada:marked-url-password@"),
            GITHUB_TOKENS="ghp-marked/token+1,ghp-marked/token+2",
            GITHUB_RETRIES="0",
            LEDGER_HOME=str(home),
            LEDGER_REPO_SPEC=str(write_repo_spec(tmp_path, NAME)),
        )
        assert ran.code == 1
        assert any("ghp-marked/token" in sent for sent in quoted)
        written = [ran.out, ran.err, *everything_in(ledger_url), *everything_in(dagster_url)]
    written += [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    for mark in (
        "marked-ledger-password",
        "marked-dagster-password",
        "marked-url-password",
        "ghp-marked",
        quote("marked/token+", safe=""),
        base64.b64encode(b"x-access-token:ghp-marked/token").decode()[20:-4],
    ):
        assert [text for text in written if mark in text] == []


def test_what_a_collection_leaves_on_disk_is_closed_to_other_users(
    command: Command, ledger_url: str, postgres_server: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    with Simulator(world(merged(1, NOW)), as_of=NOW) as github, fresh_database(postgres_server) as dagster_url:
        ran = command(
            "collect",
            "--epoch",
            "2026-02-16",
            DATABASE_URL=ledger_url,
            DAGSTER_DATABASE_URL=dagster_url,
            GITHUB_API_URL=github.url,
            GITHUB_CLOCK_TOLERANCE_SECONDS=str(ANY_CLOCK_SECONDS),
            GITHUB_TOKEN=MARKS[0],
            LEDGER_HOME=str(home),
            LEDGER_REPO_SPEC=str(write_repo_spec(tmp_path, NAME)),
        )
    assert ran.code == 0
    assert home.stat().st_mode & 0o066 == 0
    left = list(home.rglob("*"))
    assert [path for path in left if path.is_file()] != []
    assert [path for path in left if path.stat().st_mode & 0o077] == []


def _with_password(url: str, password: str) -> str:
    return make_url(url).set(password=password).render_as_string(hide_password=False)
