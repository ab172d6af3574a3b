"""`ledger-pipeline doctor` on real parts: each thing that can be wrong is made so, and the right remedy is told.

What needs the whole stack (a worker, Dagster's services) is in temporal_bridge/test_doctor_on_the_stack.py.
"""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from ledger_pipeline.core.errors import LedgerError
from ledger_pipeline.doctor.findings import NoAnswer, answer_of
from ledger_pipeline.local.embedded_temporal import TemporalServer
from ledger_pipeline.local.processes import free_port
from ledger_pipeline.pipeline.unread import WHAT_TO_DO
from ledger_pipeline.sources.simulator.apps import App
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import World
from ledger_pipeline.store import migrations
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.roles import WRITER, ensure_logins
from ledger_pipeline_tests.builders import NODE_ID, SCOPE_ID, note_unread, unread
from ledger_pipeline_tests.command_line import Command, Ran
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.sources.github.patient_client import key_pair
from ledger_pipeline_tests.sources.simulator.client import post
from ledger_pipeline_tests.sources.simulator.worlds import NAME, repository
from ledger_pipeline_tests.temporal_bridge.conftest import register_namespace
from ledger_pipeline_tests.temporal_bridge.temporal_schedules import DEFAULT, Schedules

CHECKS = [
    *(
        "repo-spec",
        "identity",
        "database",
        "migration",
        "rights",
        "unread items",
        "temporal",
        "schedules",
        "worker",
        "dagster",
    ),
    *("daemon", "github", "budget", "repositories", "clock"),
]
WORLD = World((repository(), repository(name="ana/notes", database_id=2)))
CLASSIC, BROAD, BAD = "ghp_marked_classic", "ghp_marked_broad", "ghp_marked_bad"
POINTS = 250
SCHEDULE = """\
governance:
  schedules:
    - {charter: LEDGER_INGEST, cron: "0 6 * * *", timezone: UTC, entrypoint: LEDGER_INGEST}
"""


@pytest.fixture
def github() -> Iterator[Simulator]:
    """GitHub whose clock is the real one."""
    app = App(77, key_pair()[1], {"cogni-dao": 11}, slug="ledger-app")
    narrow = App(78, key_pair()[1], {"cogni-dao": 12}, permissions={"metadata": "read"})
    scopes = {CLASSIC: "repo, read:org", BROAD: "repo, admin:org"}
    with Simulator(WORLD, points_per_hour=POINTS, bad_tokens=[BAD], apps=[app, narrow], scopes=scopes) as running:
        yield running


@pytest.fixture
def environment(github: Simulator, ledger_url: str, tmp_path: Path) -> dict[str, str]:
    """A deployment without Temporal and Dagster, which nobody answers for."""
    return {
        "DATABASE_URL": ledger_url,
        "LEDGER_HOME": str(tmp_path / "home"),
        "LEDGER_REPO_SPEC": str(write_repo_spec(tmp_path, NAME)),
        "NODE_ID": str(NODE_ID),
        "SCOPE_ID": str(SCOPE_ID),
        "TEMPORAL_ADDRESS": f"127.0.0.1:{free_port()}",
        "DAGSTER_URL": f"http://127.0.0.1:{free_port()}",
        "GITHUB_API_URL": github.url,
        "GITHUB_TOKEN": "github_pat_marked",
    }


def states(ran: Ran) -> dict[str, str]:
    return {check["check"]: check["state"] for check in ran.json["checks"]}


def told(ran: Ran, check: str) -> tuple[str, str, str]:
    """State, detail and remedy of a check."""
    [result] = [finding for finding in ran.json["checks"] if finding["check"] == check]
    return result["state"], result["detail"], result["remedy"] or ""


# What is asked for on the way, and how it is told.


def test_every_check_is_told_in_the_same_order_and_a_failure_is_exit_1(
    command: Command, environment: dict[str, str]
) -> None:
    ran = command("doctor", "--json", **environment)
    assert (ran.code, ran.json["healthy"]) == (1, False)
    assert list(states(ran)) == CHECKS
    for check in ran.json["checks"]:
        assert (check["remedy"] is not None) is (check["state"] in {"warning", "failed"}), check


def test_the_table_says_what_to_do(command: Command, environment: dict[str, str]) -> None:
    ran = command("doctor", **environment)
    assert ran.code == 1
    words = " ".join(ran.out.replace("│", " ").split())
    assert "repo-spec ok" in words
    assert "start Dagster's webserver at DAGSTER_URL" in words


def test_no_secret_is_told_even_where_a_message_quotes_it(command: Command, environment: dict[str, str]) -> None:
    environment["DATABASE_URL"] = "postgresql://u:hush-marked@127.0.0.1:1/d"
    environment["GITHUB_API_URL"] = f"http://127.0.0.1:{free_port()}/{environment['GITHUB_TOKEN']}"
    for arguments in (["doctor"], ["doctor", "--json"]):
        ran = command(*arguments, **environment)
        assert "marked" not in ran.out + ran.err
    assert told(ran, "github")[0] == "failed"
    assert "***" in told(ran, "github")[1]


def test_a_question_that_hangs_is_given_up_in_time() -> None:
    release = threading.Event()
    with pytest.raises(NoAnswer, match=r"no answer within 0\.05 s"):
        asyncio.run(answer_of(release.wait, 0.05))
    release.set()


def test_what_a_question_raises_is_raised_where_it_is_put() -> None:
    def refuse() -> str:
        raise LedgerError("no")

    with pytest.raises(LedgerError, match="no"):
        asyncio.run(answer_of(refuse))


# Files and environment.


@pytest.mark.parametrize(
    ("text", "says", "remedy"),
    [
        (None, "is not there", "LEDGER_REPO_SPEC"),
        (SCHEDULE.replace("charter", "chartr"), "chartr", "correct the file"),
        (SCHEDULE.replace("0 6", "0 99"), "governance.schedules[0].cron", "correct the file"),
    ],
    ids=["missing", "a misspelt key", "a cron that is none"],
)
def test_a_repo_spec_that_cannot_be_used_is_named(
    command: Command, environment: dict[str, str], text: str | None, says: str, remedy: str
) -> None:
    path = Path(environment["LEDGER_REPO_SPEC"])
    if text is None:
        path.unlink()
    else:
        path.write_text(path.read_text() + text)
    ran = command("doctor", "--json", **environment)
    state, detail, what_to_do = told(ran, "repo-spec")
    assert (state, says in detail, remedy in what_to_do) == ("failed", True, True), (detail, what_to_do)
    assert [states(ran)[check] for check in ("identity", "schedules")] == ["skipped"] * 2
    assert states(ran)["database"] == "ok"


def test_identity_of_another_node_fails_and_none_is_a_warning(command: Command, environment: dict[str, str]) -> None:
    assert states(command("doctor", "--json", **environment))["identity"] == "ok"
    stranger = command("doctor", "--json", **environment | {"NODE_ID": "11111111-1111-1111-1111-111111111111"})
    assert told(stranger, "identity")[0] == "failed"
    assert f"NODE_ID={NODE_ID}" in told(stranger, "identity")[2]
    unset = command("doctor", "--json", **environment | {"SCOPE_ID": ""})
    assert told(unset, "identity")[:2] == ("warning", "SCOPE_ID not set: a worker would not start")
    assert f"SCOPE_ID={SCOPE_ID}" in told(unset, "identity")[2]


# The database.


@pytest.mark.parametrize("gone", ["server", "database"])
def test_a_database_that_does_not_answer(command: Command, environment: dict[str, str], gone: str) -> None:
    url = make_url(environment["DATABASE_URL"])
    url = url.set(host="127.0.0.1", port=1, query={}) if gone == "server" else url.set(database="not_there")
    ran = command("doctor", "--json", **environment | {"DATABASE_URL": url.render_as_string(hide_password=False)})
    state, detail, remedy = told(ran, "database")
    assert (state, "check DATABASE_URL" in remedy) == ("failed", True)
    assert ("127.0.0.1" if gone == "server" else "not_there") in detail
    assert [states(ran)[check] for check in ("migration", "rights")] == ["skipped"] * 2


def test_a_database_that_is_not_migrated(
    command: Command, environment: dict[str, str], empty_database_url: str
) -> None:
    ran = command("doctor", "--json", **environment | {"DATABASE_URL": empty_database_url})
    assert told(ran, "migration")[:2] == ("failed", f"at none, this release needs {migrations.head()}")
    assert "`ledger-pipeline db upgrade`" in told(ran, "migration")[2]
    assert states(ran)["rights"] == "skipped"
    assert migrations.current(empty_database_url) is None


def test_a_database_of_a_newer_release(command: Command, environment: dict[str, str]) -> None:
    execute(environment["DATABASE_URL"], f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'")
    ran = command("doctor", "--json", **environment)
    assert told(ran, "migration")[0] == "failed"
    assert "install that release" in told(ran, "migration")[2]


def test_items_that_cannot_be_read_are_named_with_what_to_do(
    command: Command, environment: dict[str, str], ledger: PostgresLedger
) -> None:
    assert told(command("doctor", "--json", **environment), "unread items")[:2] == ("ok", "none")
    note_unread(ledger, unread(7), source_scope=NAME)
    state, detail, remedy = told(command("doctor", "--json", **environment), "unread items")
    assert (state, remedy) == ("warning", WHAT_TO_DO)
    assert detail.startswith(f"1 item cannot be read: {NAME}#7 (pull request 7), unread since 2026-02-18T00:00Z: ")


def test_the_owner_is_warned_of_and_the_writer_is_what_should_write(
    command: Command, environment: dict[str, str]
) -> None:
    state, detail, remedy = told(command("doctor", "--json", **environment), "rights")
    assert (state, "is a superuser" in detail, WRITER in remedy) == ("warning", True, True)
    writer = login(environment["DATABASE_URL"], "doctor_writer")
    ensure_logins(environment["DATABASE_URL"], {WRITER: writer})
    assert told(command("doctor", "--json", **environment | {"DATABASE_URL": writer}), "rights")[0] == "ok"
    execute(environment["DATABASE_URL"], "GRANT CREATE ON SCHEMA public TO PUBLIC")
    state, detail, remedy = told(command("doctor", "--json", **environment | {"DATABASE_URL": writer}), "rights")
    assert (state, "may make functions" in detail, "REVOKE CREATE" in remedy) == ("warning", True, True)
    execute(environment["DATABASE_URL"], "GRANT TRUNCATE ON activity_events TO doctor_writer")
    state, detail, remedy = told(command("doctor", "--json", **environment | {"DATABASE_URL": writer}), "rights")
    assert (state, "may TRUNCATE on activity_events" in detail, WRITER in remedy) == ("warning", True, True)


def test_what_a_login_set_for_itself_and_whom_it_was_lent_to_is_named(
    command: Command, environment: dict[str, str]
) -> None:
    url = environment["DATABASE_URL"]
    writer = login(url, "doctor_writer")
    ensure_logins(url, {WRITER: writer})
    database = make_url(url).database
    execute(writer, f"ALTER ROLE doctor_writer IN DATABASE {database} SET default_transaction_read_only = on")
    state, detail, remedy = told(command("doctor", "--json", **environment | {"DATABASE_URL": writer}), "rights")
    assert (state, "RESET ALL" in remedy) == ("warning", True)
    assert "doctor_writer: default_transaction_read_only=on" in detail
    execute(url, "DROP ROLE IF EXISTS doctor_borrower", "CREATE ROLE doctor_borrower LOGIN")
    execute(url, "GRANT doctor_writer TO doctor_borrower")
    state, detail, remedy = told(command("doctor", "--json", **environment | {"DATABASE_URL": writer}), "rights")
    execute(url, "DROP ROLE doctor_borrower")
    assert (state, "REVOKE" in remedy) == ("warning", True)
    assert "doctor_borrower may act as doctor_writer" in detail


def test_a_user_without_rights_is_told_which_and_how_to_get_them(command: Command, environment: dict[str, str]) -> None:
    url = environment["DATABASE_URL"]
    reader = login(url, "doctor_reader")
    execute(url, "DROP ROLE IF EXISTS doctor_reader", "CREATE ROLE doctor_reader LOGIN")
    stranger = command("doctor", "--json", **environment | {"DATABASE_URL": reader})
    assert told(stranger, "database")[0] == "failed"
    assert f"GRANT {WRITER}" in told(stranger, "database")[2]
    execute(url, "GRANT ledger_reader TO doctor_reader")
    state, detail, remedy = told(command("doctor", "--json", **environment | {"DATABASE_URL": reader}), "rights")
    assert (state, f"GRANT {WRITER}" in remedy) == ("failed", True)
    for lacking in ("INSERT on activity_events", "UPDATE on epochs", "USAGE on epochs_id_seq"):
        assert lacking in detail
    assert "SELECT" not in detail


def test_a_disabled_trigger_is_found(command: Command, environment: dict[str, str]) -> None:
    execute(environment["DATABASE_URL"], "ALTER TABLE activity_events DISABLE TRIGGER USER")
    state, detail, remedy = told(command("doctor", "--json", **environment), "rights")
    assert (state, "activity_events." in detail, "ENABLE TRIGGER" in remedy) == ("failed", True, True)


def test_a_rule_that_rows_of_before_break_is_named(command: Command, environment: dict[str, str]) -> None:
    execute(
        environment["DATABASE_URL"], "ALTER TABLE user_bindings ADD CONSTRAINT a_rule CHECK (user_id <> '') NOT VALID"
    )
    state, detail, remedy = told(command("doctor", "--json", **environment), "rights")
    assert (state, "VALIDATE CONSTRAINT" in remedy) == ("warning", True)
    assert detail.startswith("rows from before a rule break it: user_bindings: CHECK (")


def test_without_a_database_the_embedded_one_is_examined(
    command: Command, environment: dict[str, str], embedded_home: Path
) -> None:
    environment["LEDGER_HOME"] = str(embedded_home)
    del environment["DATABASE_URL"]
    before = states(command("doctor", "--json", **environment))
    assert [before[check] for check in ("database", "migration", "rights")] == ["ok", "failed", "skipped"]
    assert command("db", "upgrade", **environment).code == 0
    after = states(command("doctor", "--json", **environment))
    assert [after[check] for check in ("database", "migration", "rights")] == ["ok"] * 3


# Temporal and Dagster.


def test_servers_that_are_not_there_fail_once_and_what_rests_on_them_is_skipped(
    command: Command, environment: dict[str, str]
) -> None:
    ran = command("doctor", "--json", **environment)
    state, detail, remedy = told(ran, "temporal")
    assert (state, environment["TEMPORAL_ADDRESS"] in detail, "TEMPORAL_ADDRESS" in remedy) == ("failed", True, True)
    state, detail, remedy = told(ran, "dagster")
    assert (state, environment["DAGSTER_URL"] in detail, "DAGSTER_URL" in remedy) == ("failed", True, True)
    assert [states(ran)[check] for check in ("schedules", "worker", "daemon")] == ["skipped"] * 3


def test_a_namespace_that_is_not_there(
    command: Command, environment: dict[str, str], temporal_server: TemporalServer
) -> None:
    environment |= {"TEMPORAL_ADDRESS": temporal_server.address, "TEMPORAL_NAMESPACE": "nobodys"}
    state, detail, remedy = told(command("doctor", "--json", **environment), "temporal")
    assert (state, "nobodys" in detail, "TEMPORAL_NAMESPACE" in remedy) == ("failed", True, True)


def test_schedules_and_worker_are_held_against_the_repo_spec(
    command: Command, environment: dict[str, str], temporal_server: TemporalServer
) -> None:
    settings = register_namespace(temporal_server)
    environment |= {
        "TEMPORAL_ADDRESS": settings.temporal_address,
        "TEMPORAL_NAMESPACE": settings.temporal_namespace,
    }
    spec = Path(environment["LEDGER_REPO_SPEC"])
    unscheduled = spec.read_text()

    def seen(check: str = "schedules") -> tuple[str, str, str]:
        return told(command("doctor", "--json", **environment), check)

    assert seen("temporal")[0] == "ok"
    state, detail, remedy = seen("worker")
    assert (state, "nobody polls ledger-tasks for workflow and activity tasks" in detail) == ("failed", True)
    assert "`ledger-pipeline worker`" in remedy
    assert (seen()[0], "governance.schedules" in seen()[2]) == ("warning", True)
    spec.write_text(unscheduled + SCHEDULE)
    assert seen() == ("failed", f"{DEFAULT} is missing: missing", "run `ledger-pipeline schedules sync`")
    assert command("schedules", "sync", **environment).code == 0
    assert seen()[:2] == ("ok", f"in sync: {DEFAULT}")
    Schedules(settings).pause("on holiday")
    state, detail, remedy = seen()
    assert (state, "on holiday" in detail, "--resume" in remedy) == ("warning", True, True)
    spec.write_text(unscheduled + SCHEDULE.replace("0 6", "0 7"))
    assert (seen()[0], seen()[2]) == ("failed", "run `ledger-pipeline schedules sync`")
    assert command("schedules", "sync", "--resume", **environment).code == 0
    spec.write_text(unscheduled)
    state, detail, remedy = seen()
    assert (state, "still runs" in detail, "pauses it" in remedy) == ("warning", True, True)


# GitHub.


def test_a_token_that_works_is_told_with_what_is_left(command: Command, environment: dict[str, str]) -> None:
    ran = command("doctor", "--json", **environment)
    assert [states(ran)[check] for check in ("github", "budget", "repositories", "clock")] == ["ok"] * 4
    assert told(ran, "github")[1].startswith("token 1 of 1 of ledger-collector, fine-grained")
    assert f"{POINTS} of {POINTS} points left" in told(ran, "budget")[1]
    assert told(ran, "repositories")[1] == "all 1 readable"


def test_an_owner_of_whom_all_is_collected_is_listed(
    command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["LEDGER_REPO_SPEC"] = str(write_repo_spec(tmp_path, "cogni-dao/*"))
    ran = command("doctor", "--json", **environment)
    assert told(ran, "repositories")[:2] == ("ok", "all 0 readable, and cogni-dao/* with 1 listed")
    assert "0 repositories, all of cogni-dao/*" in told(ran, "repo-spec")[1]
    environment["LEDGER_REPO_SPEC"] = str(write_repo_spec(tmp_path, "nobody/*"))
    state, detail, remedy = told(command("doctor", "--json", **environment), "repositories")
    assert (state, "no such owner to these credentials" in detail, "check source_refs" in remedy) == (
        *("failed", True, True),
    )


def test_looking_takes_one_point_for_the_repositories_and_one_for_the_schema(
    command: Command, environment: dict[str, str], github: Simulator
) -> None:
    command("doctor", "--json", **environment)
    assert sum(request.cost_points for request in github.requests) == 2
    assert {request.method for request in github.requests if request.path != "/graphql"} == {"GET"}


@pytest.mark.parametrize(
    ("token", "state", "says"),
    [(CLASSIC, "ok", "scopes: repo, read:org"), (BROAD, "warning", "admin:org is more than reading needs")],
)
def test_scopes_of_classic_tokens_are_told_and_too_many_warned_of(
    command: Command, environment: dict[str, str], token: str, state: str, says: str
) -> None:
    ran = command("doctor", "--json", **environment | {"GITHUB_TOKEN": token})
    assert (told(ran, "github")[0], says in told(ran, "github")[1]) == (state, True)
    assert states(ran)["repositories"] == "ok"


def test_a_bad_token_is_to_be_renewed_and_one_of_two_is_a_warning(
    command: Command, environment: dict[str, str]
) -> None:
    ran = command("doctor", "--json", **environment | {"GITHUB_TOKEN": BAD})
    assert (told(ran, "github")[0], "(401)" in told(ran, "github")[1]) == ("failed", True)
    assert "renew GITHUB_TOKEN" in told(ran, "github")[2]
    assert [states(ran)[check] for check in ("budget", "repositories")] == ["skipped"] * 2
    both = command("doctor", "--json", **environment | {"GITHUB_TOKENS": f"{CLASSIC},{BAD}", "GITHUB_TOKEN": ""})
    assert (told(both, "github")[0], "token 2 of 2: " in told(both, "github")[1]) == ("warning", True)
    assert states(both)["repositories"] == "ok"


def test_no_token_and_no_github_are_told_apart(command: Command, environment: dict[str, str]) -> None:
    none = told(command("doctor", "--json", **environment | {"GITHUB_TOKEN": ""}), "github")
    assert (none[0], "set GITHUB_TOKEN" in none[2]) == ("failed", True)
    nowhere = environment | {"GITHUB_API_URL": f"http://127.0.0.1:{free_port()}"}
    unreachable = told(command("doctor", "--json", **nowhere), "github")
    assert (unreachable[0], "GITHUB_API_URL" in unreachable[2]) == ("failed", True)


def test_a_repository_that_is_not_there_is_named(command: Command, environment: dict[str, str], tmp_path: Path) -> None:
    environment["LEDGER_REPO_SPEC"] = str(write_repo_spec(tmp_path, NAME, "cogni-dao/ledgre"))
    state, detail, remedy = told(command("doctor", "--json", **environment), "repositories")
    assert (state, detail) == ("failed", "1 of 2 not there, or not for us: cogni-dao/ledgre")
    assert "source_refs" in remedy


def test_a_budget_at_its_reserve_is_not_spent_on_looking(
    command: Command, environment: dict[str, str], github: Simulator
) -> None:
    for _ in range(POINTS - 200):
        post(github.url, token=environment["GITHUB_TOKEN"])
    github.clear_requests()
    ran = command("doctor", "--json", **environment)
    state, detail, remedy = told(ran, "budget")
    assert (state, f"200 of {POINTS} points left" in detail, "GITHUB_TOKENS" in remedy) == ("warning", True, True)
    assert states(ran)["repositories"] == "skipped"
    assert all(request.path != "/graphql" for request in github.requests)


def as_app(environment: dict[str, str], app_id: int, key: int = 1) -> dict[str, str]:
    app = {"GITHUB_TOKEN": "", "GITHUB_APP_ID": str(app_id), "GITHUB_APP_PRIVATE_KEY": key_pair(key)[0]}
    return environment | app


def test_an_app_is_told_with_its_permissions(command: Command, environment: dict[str, str]) -> None:
    ran = command("doctor", "--json", **as_app(environment, 77))
    state, detail, _ = told(ran, "github")
    assert (state, detail) == (
        "ok",
        "installation 11 (cogni-dao) of ledger-app, may read issues, read metadata, read pull_requests",
    )
    assert [states(ran)[check] for check in ("budget", "repositories")] == ["ok"] * 2


def test_an_app_without_a_permission_is_to_be_granted_it(command: Command, environment: dict[str, str]) -> None:
    state, detail, remedy = told(command("doctor", "--json", **as_app(environment, 78)), "github")
    assert (state, "lacks issues, pull_requests" in detail, "grant the App" in remedy) == ("failed", True, True)


def test_an_app_that_is_not_installed_for_an_owner_is_told_for_that_owner(
    command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["LEDGER_REPO_SPEC"] = str(write_repo_spec(tmp_path, NAME, "ana/notes"))
    ran = command("doctor", "--json", **as_app(environment, 77))
    assert (told(ran, "github")[0], "not installed for ana" in told(ran, "github")[1]) == ("warning", True)
    assert "ana/notes" in told(ran, "repositories")[1]


def test_an_app_with_a_wrong_key(command: Command, environment: dict[str, str]) -> None:
    state, detail, remedy = told(command("doctor", "--json", **as_app(environment, 77, key=2)), "github")
    assert (state, "(401)" in detail, "private key" in remedy) == ("failed", True, True)


@pytest.mark.parametrize(("seconds", "state"), [(-20, "warning"), (600, "failed")])
def test_a_clock_that_is_off_is_told_with_what_it_does(
    command: Command, environment: dict[str, str], github: Simulator, seconds: int, state: str
) -> None:
    github.set_clock(datetime.now(UTC) + timedelta(seconds=seconds))
    finding, detail, remedy = told(command("doctor", "--json", **environment), "clock")
    assert (finding, "NTP" in remedy) == (state, True)
    assert ("s behind ours" if seconds < 0 else "s ahead of ours") in detail.split(",")[0]
    assert "no event is lost" in detail


def login(url: str, user: str) -> str:
    return make_url(url).set(username=user, password=None).render_as_string(hide_password=False)


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
