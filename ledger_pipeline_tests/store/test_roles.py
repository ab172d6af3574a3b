"""Owner, writer and reader: what each login may do, and that the database refuses the rest."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import Engine, NullPool, make_url, text
from sqlalchemy.exc import DBAPIError

from ledger_pipeline.core.errors import ConfigurationError, EpochOverlap, StoreError, VerificationFailed
from ledger_pipeline.core.facts import Observation, PullRequestFacts
from ledger_pipeline.core.owners import ListedSourceScope
from ledger_pipeline.core.pins import epoch_pins
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.store import distribution_schema, migrations
from ledger_pipeline.store.database_condition import rights_of
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.epochs import EVER
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus, Exclusion
from ledger_pipeline.store.roles import READER, WEB, WRITER, ensure_logins
from ledger_pipeline.store.settlement_records import Judgement, NewBinding
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline_tests.builders import (
    GRACE,
    NODE_ID,
    PRODUCER,
    REPO,
    SCOPE_ID,
    checkpoint,
    cursor,
    instant,
    issue,
    note_unread,
    pull_request,
    receipt,
    save_checkpoint,
    scope,
    skipped,
    unread,
    weeks,
    window,
)
from ledger_pipeline_tests.postgres import fresh_database, set_status
from ledger_pipeline_tests.store.settlement import collected, read_to_end

NOW = instant("2026-02-18")
CLOSED, OPEN = weeks(2, "2026-02-09")
TABLES = sorted(distribution_schema.metadata.tables)
FACTS = [
    "activity_events",
    "event_facts",
    "rejected_events",
    "skipped_activity",
    "scan_receipts",
    "epoch_pool_components",
    "payout_statements",
    "statement_signatures",
    "statement_corrections",
    "signing_requests",
    "left_out_items",
    "routed_events",
    "set_asides",
    "reopenings",
    "statement_inputs_signatures",
    "account_links",
    "payout_wallets",
    "distributions",
    "distribution_epochs",
    "distribution_lines",
    "distribution_signatures",
    "distribution_set_asides",
    "opt_outs",
]
# Of these, two have a function of the owner's, which the writer may call, and one follows from what the writer adds.
OWNERS_ALONE = {
    *("set_asides", "reopenings", "epochs", "scope_calendars", "user_bindings", "distribution_set_asides"),
}
FORGETTABLE = {"scan_checkpoints", "unread_items", "epoch_allocations"}
# The passwords are checked only where the server asks for one; what is stored of them is in a test below.
LOGINS = {WRITER: ("roles_writer", "writer's own: %s'\""), READER: ("roles_reader", "pässword")}
OWNER = "roles_owner"


def url_of(url: str, login: str, password: str | None = None) -> str:
    return make_url(url).set(username=login, password=password).render_as_string(hide_password=False)


def urls(url: str) -> dict[str, str]:
    return {group: url_of(url, *login) for group, login in LOGINS.items()}


@pytest.fixture(scope="module")
def filled_url(postgres_server: str, migrated_template: str) -> Iterator[str]:
    """A ledger with rows in it, whose writer and reader have their logins; what is refused leaves it as it is."""
    with fresh_database(postgres_server, migrated_template) as url:
        ensure_logins(url, urls(url))
        with connected(url) as engine:
            fill(PostgresLedger(engine, NODE_ID))
            set_status(engine, SCOPE_ID, CLOSED, EpochStatus.REVIEW)
        yield url


@contextmanager
def connected(url: str) -> Iterator[Engine]:
    engine = make_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def owner_engine(filled_url: str) -> Iterator[Engine]:
    with connected(filled_url) as engine:
        yield engine


def fill(ledger: PostgresLedger) -> None:
    ledger.epochs.ensure(SCOPE_ID, [CLOSED, OPEN], {})
    ledger.events.append(SCOPE_ID, [pull_request(), issue()], PRODUCER, NOW)
    ledger.events.append(SCOPE_ID, [issue(at="2026-02-18T00:00:00Z")], PRODUCER, NOW)
    ledger.facts.record(SCOPE_ID, [Observation(pull_request().id, PullRequestFacts())], NOW, PRODUCER)
    ledger.scans.record_skipped(SCOPE_ID, [skipped()], NOW)
    save_checkpoint(ledger, SCOPE_ID, checkpoint())
    for listed_at in (NOW, NOW + timedelta(hours=1)):
        ledger.listings.keep(SCOPE_ID, GITHUB, "cogni-dao/*", [ListedSourceScope(REPO, "1")], listed_at)
    note_unread(ledger, unread(12), unread(13))
    note_unread(ledger, unread(12), settled=[unread(13).key])
    ledger.scans.finish(SCOPE_ID, [cursor("2026-02-18")], NOW, [receipt("2026-02-18", "2026-01-05")])


@pytest.fixture(scope="module")
def writer(filled_url: str) -> Iterator[Engine]:
    with connected(urls(filled_url)[WRITER]) as engine:
        yield engine


@pytest.fixture(scope="module")
def reader(filled_url: str) -> Iterator[Engine]:
    with connected(urls(filled_url)[READER]) as engine:
        yield engine


def refusal(engine: Engine, statement: str) -> str:
    """The first line of the database's refusal."""
    with pytest.raises(DBAPIError) as raised, engine.begin() as connection:
        connection.exec_driver_sql(statement)
    return str(raised.value.orig).splitlines()[0]


# The writer.


def test_the_writer_does_all_that_the_pipeline_does(ledger_url: str) -> None:
    ensure_logins(ledger_url, urls(ledger_url))
    with connected(urls(ledger_url)[WRITER]) as writer:
        ledger = PostgresLedger(writer, NODE_ID)
        ledger.check_migrated()
        fill(ledger)
        new = ledger.events.append(SCOPE_ID, [pull_request(7)], PRODUCER, NOW)
        assert [outcome.value for outcome in new.values()] == ["new"]
        assert len(list(ledger.events.within(SCOPE_ID, OPEN))) == 3
        [epoch] = ledger.epochs.within(SCOPE_ID, OPEN)
        without = Exclusion(tuple(ledger.unread.items(SCOPE_ID)), "ada", "it never comes")
        read_to_end(ledger, scope(), OPEN)
        assert ledger.epochs.close(epoch.id, epoch_pins(scope(), {}), exclusion=without)
        assert ledger.epochs.within(SCOPE_ID, OPEN)[0].status is EpochStatus.REVIEW


def test_the_writer_makes_epochs_of_the_scopes_calendar_and_closes_them(ledger_url: str) -> None:
    ensure_logins(ledger_url, urls(ledger_url))
    with connected(urls(ledger_url)[WRITER]) as writer:
        ledger = PostgresLedger(writer, NODE_ID)
        [first, second] = ledger.epochs.ensure(SCOPE_ID, weeks(2, "2026-03-02"), {"github:pr_merged": 1000}).epochs
        assert [epoch.status for epoch in (first, second)] == [EpochStatus.OPEN] * 2
        assert ledger.epochs.ensure(SCOPE_ID, weeks(2, "2026-03-02"), {}).epochs == [first, second]
        read_to_end(ledger, scope(), first.window)
        assert ledger.epochs.close(first.id, epoch_pins(scope(), first.weights_milli))
        two_weeks = window("2026-03-16", days=14)
        with pytest.raises(StoreError, match="have 7 days, not 14; to change it, as the owner: UPDATE scope_cal"):
            ledger.epochs.ensure(SCOPE_ID, [two_weeks], {})
        with pytest.raises(EpochOverlap, match="Put epoch_length_days back to 7"):
            ledger.epochs.ensure(SCOPE_ID, [window("2026-03-02", days=14)], {})
        with connected(ledger_url) as owner, owner.begin() as connection:
            connection.execute(text("UPDATE scope_calendars SET epoch_length_days = 14"))
        assert [epoch.window for epoch in ledger.epochs.ensure(SCOPE_ID, [two_weeks], {}).epochs] == [two_weeks]


def test_the_writer_settles_an_epoch_from_its_events_to_an_amendment(ledger_url: str) -> None:
    ensure_logins(ledger_url, urls(ledger_url))
    with connected(urls(ledger_url)[WRITER]) as writer:
        ledger = PostgresLedger(writer, NODE_ID)
        books = collected(ledger, pull_request(1), issue(2, author=GRACE))
        books.materialize()
        ledger.identities.move(NewBinding(GITHUB, str(GRACE.user_id), "grace"))
        ledger.curation.judge(books.epoch, pull_request(1).id, Judgement("half of it", weight_override_milli=500))
        books.materialize()
        ledger.allocations.decide(books.epoch, "grace", 700, "looked again")
        books.close()
        books.finalize(books.signature())
        books.amend("grace", 800)
        assert [epoch.status for epoch in ledger.epochs.within(SCOPE_ID, window())] == [EpochStatus.FINALIZED]


def test_the_owner_changes_the_calendar_by_making_epochs_of_another(ledger: PostgresLedger) -> None:
    for made in (window("2026-03-02"), window("2026-03-16", days=14)):
        assert [epoch.window for epoch in ledger.epochs.ensure(SCOPE_ID, [made], {}).epochs] == [made]


def test_an_id_that_is_taken_is_told_by_name(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    ledger.epochs.ensure(SCOPE_ID, [window("2026-03-02")], {})
    with ledger_engine.begin() as connection:
        connection.execute(text("SELECT setval('epochs_id_seq', (SELECT max(id) FROM epochs), false)"))
    with pytest.raises(EpochOverlap, match="or else the id is taken: set the sequence epochs_id_seq higher"):
        ledger.epochs.ensure(SCOPE_ID, [window("2026-03-09")], {})


ODD_EPOCHS = {
    "without an end": "'2026-03-02Z', 'infinity', 'open', '{}'",
    "without a start": "'-infinity', '2026-01-01Z', 'open', '{}'",
    "of ten years": "'2026-03-02Z', '2036-03-03Z', 'open', '{}'",
    "finalized without a statement": "'2026-03-02Z', '2026-03-09Z', 'finalized', '{}'",
    "weighed by nothing": "'2026-03-02Z', '2026-03-09Z', 'open', '[]'",
    "weighed by a word": "'2026-03-02Z', '2026-03-09Z', 'open', '\"much\"'",
}


@pytest.mark.parametrize("values", ODD_EPOCHS.values(), ids=ODD_EPOCHS)
def test_an_odd_epoch_of_before_is_named_and_stops_no_reader(
    ledger: PostgresLedger, ledger_engine: Engine, ledger_url: str, values: str
) -> None:
    ledger.epochs.ensure(SCOPE_ID, [CLOSED], {})
    with ledger_engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE epochs DISABLE TRIGGER epochs_born_open")
        for rule in ("period_start_instant", "period_end_instant", "weight_config_json"):
            connection.exec_driver_sql(f"ALTER TABLE epochs DROP CONSTRAINT epochs_{rule}_check")
        connection.exec_driver_sql(
            "INSERT INTO epochs (node_id, scope_id, period_start, period_end, status, weight_config) "
            f"VALUES ('{NODE_ID}', '{SCOPE_ID}', {values})"
        )
        connection.exec_driver_sql("ALTER TABLE epochs ENABLE TRIGGER epochs_born_open")
        odd = connection.scalar(text("SELECT max(id) FROM epochs"))
    assert CLOSED in [epoch.window for epoch in ledger.epochs.within(SCOPE_ID, EVER)]
    assert CLOSED in [epoch.window for epoch in ledger.epochs.still_open(SCOPE_ID)]
    stored_epoch = ledger.epochs.of_id(odd)
    if "[]" in values or "much" in values:
        assert stored_epoch is not None
        assert stored_epoch.weights_milli == {}
        with pytest.raises(VerificationFailed, match=r"nothing of ours wrote: epoch\.weights"):
            facts_of(ledger.statements.rows(stored_epoch))
    [named] = rights_of(ledger_url).odd_epochs
    assert named.startswith(f"{odd} (")
    if "infinity" in values:
        with pytest.raises(EpochOverlap, match="a row of epochs is in its way that nothing of ours made"):
            ledger.epochs.ensure(SCOPE_ID, [window("2026-03-09"), window("2025-12-22")], {})


def test_new_tables_have_their_rights(owner_engine: Engine) -> None:
    """A migration that makes a table grants it: nothing for the writer would first be noticed in production."""
    rights = text("""
        SELECT role, tablename, privilege FROM unnest(ARRAY['ledger_writer', 'ledger_reader']) AS role, pg_tables,
            unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) AS privilege
        WHERE schemaname = 'public' AND has_table_privilege(role, format('public.%I', tablename), privilege)
    """)
    with owner_engine.connect() as connection:
        rows = {tuple(row) for row in connection.execute(rights)}
    everything = {*TABLES, migrations.VERSION_TABLE}
    assert {(table, right) for role, table, right in rows if role == READER} == {
        (table, "SELECT") for table in everything
    }
    assert {table for role, table, right in rows if (role, right) == (WRITER, "SELECT")} == everything
    assert {table for role, table, right in rows if (role, right) == (WRITER, "INSERT")} == set(TABLES) - OWNERS_ALONE
    # Of the others some columns: whoever may change a whole table may lock it as well.
    assert {table for role, table, right in rows if (role, right) == (WRITER, "UPDATE")} == FORGETTABLE
    assert {right for role, _, right in rows if role == WRITER} == {"SELECT", "INSERT", "UPDATE", "DELETE"}


# The reader.


def test_the_reader_reads_everything(reader: Engine) -> None:
    with reader.connect() as connection:
        rows = {table: connection.scalar(text(f"SELECT count(*) FROM {table}")) for table in TABLES}
    assert rows["activity_events"] == 2
    ledger = PostgresLedger(reader, NODE_ID)
    ledger.check_migrated()
    assert len(list(ledger.events.within(SCOPE_ID, OPEN))) == 2


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "change", ["INSERT INTO {} DEFAULT VALUES", "UPDATE {} SET node_id = node_id", "DELETE FROM {}"]
)
def test_the_reader_writes_nothing(reader: Engine, table: str, change: str) -> None:
    assert refusal(reader, change.format(table)) == f"permission denied for table {table}"


@pytest.mark.parametrize("statement", ["SELECT nextval('epochs_id_seq')", "CREATE TABLE mine (id int)"])
def test_the_reader_leaves_no_trace(reader: Engine, statement: str) -> None:
    assert refusal(reader, statement).startswith("permission denied for ")


# The logins.


def test_passwords_reach_the_server_only_as_verifiers(owner_engine: Engine) -> None:
    with owner_engine.connect() as connection:
        stored = text("SELECT rolname, rolpassword FROM pg_authid WHERE rolname = ANY (:logins)")
        rows = dict(connection.execute(stored, {"logins": [login for login, _ in LOGINS.values()]}).all())
    assert set(rows) == {"roles_writer", "roles_reader"}
    assert all(verifier.startswith("SCRAM-SHA-256$") for verifier in rows.values())


def test_a_login_that_is_there_keeps_its_password_and_gets_its_group(ledger_url: str, ledger_engine: Engine) -> None:
    with ledger_engine.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE roles_earlier LOGIN PASSWORD 'kept'")
        kept = connection.scalar(text("SELECT rolpassword FROM pg_authid WHERE rolname = 'roles_earlier'"))
    for _ in range(2):
        ensure_logins(ledger_url, {WRITER: url_of(ledger_url, "roles_earlier", "other")})
    with ledger_engine.connect() as connection:
        now = connection.scalar(text("SELECT rolpassword FROM pg_authid WHERE rolname = 'roles_earlier'"))
        assert connection.scalar(text("SELECT pg_has_role('roles_earlier', 'ledger_writer', 'USAGE')"))
        assert not connection.scalar(text("SELECT pg_has_role('roles_earlier', 'ledger_reader', 'MEMBER')"))
    assert now == kept


def test_processes_that_make_logins_at_once_take_turns(ledger_url: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        made = pool.map(lambda _: ensure_logins(ledger_url, {READER: url_of(ledger_url, "roles_at_once")}), range(3))
        assert list(made) == [None] * 3


@pytest.mark.parametrize("login", ["postgres", "roles_deputy"])
def test_who_could_act_as_the_owner_is_no_writer(ledger_url: str, ledger_engine: Engine, login: str) -> None:
    with ledger_engine.begin() as connection:
        if login != "postgres":
            connection.exec_driver_sql(f"CREATE ROLE {login} LOGIN NOINHERIT IN ROLE postgres")
    with pytest.raises(ConfigurationError, match=f"^{login} is, or may become, the owner of the ledger in "):
        ensure_logins(ledger_url, {WRITER: url_of(ledger_url, login)})


def test_a_url_without_a_user_is_refused_without_showing_it(ledger_url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^the URL of the ledger_writer names no user: "):
        ensure_logins(ledger_url, {WRITER: "postgresql://host/name"})


# An owner who is no superuser, as in production.


@pytest.fixture
def own_database(empty_database_url: str) -> str:
    """The URL of an empty database for its owner, who may make roles and is otherwise nobody."""
    engine = make_engine(empty_database_url, poolclass=NullPool)
    database = make_url(empty_database_url).database
    with engine.begin() as connection:
        if not connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": OWNER}):
            connection.exec_driver_sql(f"CREATE ROLE {OWNER} LOGIN CREATEROLE")
            # Groups that the tests' superuser has made are not this owner's to grant; production's are its own.
            for group in (WRITER, READER, WEB):
                ensure_group = f"CREATE ROLE {group} NOLOGIN"
                if connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": group}):
                    ensure_group = "SELECT 1"
                connection.exec_driver_sql(ensure_group)
                connection.exec_driver_sql(f"GRANT {group} TO {OWNER} WITH ADMIN OPTION")
        connection.exec_driver_sql(f"ALTER DATABASE {database} OWNER TO {OWNER}")
    return url_of(empty_database_url, OWNER)


def test_an_owner_who_is_no_superuser_migrates_and_lets_the_writer_in(own_database: str) -> None:
    login = {WRITER: url_of(own_database, "roles_of_owner", "secret")}
    ensure_logins(own_database, login)
    migrations.upgrade(own_database)
    engine = make_engine(login[WRITER], poolclass=NullPool)
    ledger = PostgresLedger(engine, NODE_ID)
    ledger.check_migrated()
    ledger.epochs.ensure(SCOPE_ID, [window()], {})
    assert refusal(engine, "DELETE FROM activity_events") == "permission denied for table activity_events"
    with engine.connect() as connection:
        owner = connection.scalar(text("SELECT tableowner FROM pg_tables WHERE tablename = 'activity_events'"))
    assert owner == OWNER
    migrations.downgrade(own_database, "0012")


def test_an_owner_who_may_make_no_roles_is_told_what_an_administrator_must_do(own_database: str) -> None:
    url = url_of(own_database, "roles_powerless")
    ensure_logins(own_database, {READER: url})
    with pytest.raises(StoreError, match="roles_powerless may not make roles_x a ledger_writer; as an admin") as raised:
        ensure_logins(url, {WRITER: url_of(own_database, "roles_x", "hush")})
    assert "CREATE ROLE roles_x LOGIN; GRANT ledger_writer TO roles_x" in str(raised.value)
    assert "hush" not in str(raised.value)
