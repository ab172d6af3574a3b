"""An adversary with the writer's login: every statement here is refused, on a new Postgres as on the oldest we support.

All of them run on one ledger, for what is refused changes nothing; the last test looks whether that is so.
"""

import json
from collections.abc import Iterator, Mapping

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.core.errors import StoreUnavailable
from ledger_pipeline.core.pins import EpochPins
from ledger_pipeline.store import distribution_schema
from ledger_pipeline.store.database_errors import translated
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline.store.roles import WRITER, ensure_logins
from ledger_pipeline_tests.builders import NODE_ID, SCOPE_ID, pull_request, window
from ledger_pipeline_tests.postgres import fresh_database, set_status
from ledger_pipeline_tests.store.settlement import refused, rows_of
from ledger_pipeline_tests.store.test_roles import CLOSED, fill, urls

# What the writer may do to the rows there are, by table: a table that is new stands here, or a test fails.
NOTHING, CHANGE, FORGET = "nothing", "change", "forget"
RIGHTS: Mapping[str, str] = {
    "activity_events": NOTHING,
    "event_facts": NOTHING,
    "rejected_events": NOTHING,
    "skipped_activity": NOTHING,
    "scan_receipts": NOTHING,
    "epoch_pool_components": NOTHING,
    "payout_statements": NOTHING,
    "statement_signatures": NOTHING,
    "statement_corrections": NOTHING,
    "signing_requests": NOTHING,
    "collected_signatures": NOTHING,
    "left_out_items": NOTHING,
    "routed_events": NOTHING,
    "set_asides": NOTHING,
    "reopenings": NOTHING,
    "scope_calendars": NOTHING,
    "statement_inputs_signatures": NOTHING,
    "ledger_migrations": NOTHING,
    "epochs": CHANGE,
    "source_cursors": CHANGE,
    "listed_source_scopes": CHANGE,
    "activity_curation": CHANGE,
    "account_links": NOTHING,
    "opt_outs": NOTHING,
    "user_bindings": NOTHING,
    "payout_wallets": NOTHING,
    "distributions": NOTHING,
    "distribution_epochs": NOTHING,
    "distribution_lines": NOTHING,
    "distribution_signatures": NOTHING,
    "distribution_set_asides": NOTHING,
    "scan_checkpoints": FORGET,
    "activity_selection": FORGET,
    "activity_co_authors": FORGET,
    "event_overrides": NOTHING,
    "epoch_allocations": FORGET,
    "unread_items": FORGET,
}
# By table, what is refused to the writer of each kind.
UPDATE, DELETE = "UPDATE {} SET {column} = {column}", "DELETE FROM {}"
OF_EVERY_TABLE = (
    "TRUNCATE {} CASCADE",
    "ALTER TABLE {} DISABLE TRIGGER ALL",
    "ALTER TABLE {} ADD COLUMN x int",
    "ALTER TABLE {} OWNER TO roles_writer",
    "DROP TABLE {} CASCADE",
    "CREATE TRIGGER x BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()",
    "CREATE RULE x AS ON INSERT TO {} DO INSTEAD NOTHING",
    "CREATE POLICY x ON {}",
)
# Statements of no table: the writer gets past no trigger, and grants itself nothing.
OTHERS = (
    "DROP TRIGGER activity_events_immutable ON activity_events",
    "CREATE OR REPLACE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "ALTER FUNCTION ledger_refuse_late_events() RESET search_path",
    "DROP FUNCTION ledger_guard_epoch() CASCADE",
    "SET session_replication_role = replica",
    "SET ROLE postgres",
    "CREATE ROLE another",
    "CREATE TABLE mine (id int)",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "GRANT ledger_reader TO roles_writer",
    "UPDATE ledger_migrations SET version_num = '0010'",
    "DROP TRIGGER left_out_items_at_closing_only ON left_out_items",
    "INSERT INTO set_asides (node_id, epoch_id, statement_id, reason) "
    "SELECT node_id, epoch_id, id, 'it is in the way' FROM payout_statements",
    "INSERT INTO reopenings (node_id, epoch_id, reason) SELECT node_id, id, 'it is in the way' FROM epochs",
    "UPDATE epochs SET id = id",
    "UPDATE epochs SET period_end = period_end",
    "UPDATE activity_curation SET event_id = event_id",
    "UPDATE activity_selection SET event_id = event_id",
    "UPDATE activity_co_authors SET external_id = external_id",
    "UPDATE user_bindings SET user_id = user_id",
    "INSERT INTO user_bindings (node_id, user_id, provider, external_id) "
    "SELECT node_id, 'ada', 'github', '77' FROM epochs LIMIT 1",
    "UPDATE source_cursors SET source_scope = source_scope",
    "INSERT INTO epochs (node_id, scope_id, period_start, period_end, weight_config) "
    "SELECT node_id, scope_id, '2027-01-04Z', '2027-01-11Z', '{}' FROM epochs LIMIT 1",
    "INSERT INTO scope_calendars (node_id, scope_id, epoch_length_days) SELECT node_id, scope_id, 84 FROM epochs",
    "ALTER FUNCTION ledger_make_epochs(uuid, uuid, timestamptz[], timestamptz[], jsonb) RESET search_path",
    "SELECT setval('scan_receipts_id_seq', 9223372036854775807)",
    "ALTER SEQUENCE scan_receipts_id_seq RESTART WITH 1",
    # Whoever may read waits for nobody.
    *(
        f"LOCK TABLE {table} IN {mode} MODE"
        for table in (table for table, right in RIGHTS.items() if right is not FORGET)
        for mode in ("ACCESS EXCLUSIVE", "EXCLUSIVE", "SHARE")
    ),
)


@pytest.fixture(scope="module", params=["migrated_template", "opened_template"])
def ledger_url(request: pytest.FixtureRequest, postgres_server: str) -> Iterator[str]:
    """A ledger made on a new Postgres, and one made on Postgres 14, where everybody might make objects in `public`."""
    with fresh_database(postgres_server, request.getfixturevalue(request.param)) as url:
        yield url


@pytest.fixture(scope="module")
def ledger_engine(ledger_url: str) -> Iterator[Engine]:
    """The owner of a ledger with rows in it."""
    engine = make_engine(ledger_url)
    ensure_logins(ledger_url, urls(ledger_url))
    fill(PostgresLedger(engine, NODE_ID))
    set_status(engine, SCOPE_ID, CLOSED, EpochStatus.REVIEW)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def writer(ledger_engine: Engine, ledger_url: str) -> Iterator[Engine]:
    """The adversary."""
    engine = make_engine(urls(ledger_url)[WRITER])
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def before(ledger_engine: Engine, writer: Engine) -> dict[str, int]:
    """How many rows each table has before the first attack."""
    return rows_of(ledger_engine, *RIGHTS)


def changes_refused(table: str) -> list[str]:
    """What the writer is refused of `table`."""
    right = RIGHTS[table]
    of_rows = [*([UPDATE] if right is NOTHING else []), *([DELETE] if right is not FORGET else [])]
    column = "version_num" if table == "ledger_migrations" else "node_id"
    return [change.format(table, column=column) for change in (*of_rows, *OF_EVERY_TABLE)]


def test_every_table_has_its_line_in_the_list_of_attacks(ledger_engine: Engine) -> None:
    with ledger_engine.connect() as connection:
        there = set(connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")))
    assert there == set(RIGHTS) == {*distribution_schema.metadata.tables, "ledger_migrations"}


@pytest.mark.parametrize("table", RIGHTS)
def test_the_writer_changes_neither_facts_nor_tables(writer: Engine, before: dict[str, int], table: str) -> None:
    for change in changes_refused(table):
        message = refused(writer, change)
        assert message.startswith(("permission denied ", "must be owner of ")), change
        assert table in message, change


@pytest.mark.parametrize("statement", OTHERS)
def test_the_writer_gets_past_no_trigger(writer: Engine, before: dict[str, int], statement: str) -> None:
    # The last is what Postgres 14 says.
    assert refused(writer, statement).startswith(("must be owner of ", "permission denied ", "must have admin option "))


def test_the_writer_grants_itself_nothing(writer: Engine, before: dict[str, int]) -> None:
    with writer.begin() as connection:
        connection.exec_driver_sql("GRANT UPDATE ON activity_events TO roles_writer")  # Postgres only warns
    assert refused(writer, "UPDATE activity_events SET id = id") == "permission denied for table activity_events"


def test_a_temporary_table_does_not_deceive_the_trigger(writer: Engine, before: dict[str, int]) -> None:
    event = pull_request(99, at="2026-02-10T12:00:00Z")
    columns = "node_id, scope_id, source, platform_login, artifact_url, producer, producer_version, retrieved_at"
    late = text(
        "INSERT INTO activity_events "
        f"(id, event_type, platform_user_id, metadata, payload_hash, event_time, {columns}) "
        f"SELECT :id, :event_type, :user, CAST(:metadata AS jsonb), :hash, :at, {columns} FROM activity_events LIMIT 1"
    )
    given = {"id": event.id, "event_type": event.event_type, "user": event.platform_user_id, "at": event.event_time}
    with writer.connect() as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE epochs (LIKE public.epochs)")
        with pytest.raises(DBAPIError, match="is in review, not open"):
            connection.execute(late, {**given, "metadata": json.dumps(event.metadata), "hash": event.payload_hash})


def test_nothing_is_left_out_of_an_epoch_afterwards(writer: Engine, before: dict[str, int]) -> None:
    for status in ("open", "review"):
        message = refused(
            writer,
            "INSERT INTO left_out_items (node_id, epoch_id, source, source_scope, kind, number, unread_reason, "
            "unread_since, actor, reason, left_out_at) SELECT node_id, id, 'github', 'a/b', 'issue', 1, 'null', now(), "
            f"'ada', 'why', closed_at FROM epochs WHERE status = '{status}'",
        )
        assert message.startswith("INSERT into left_out_items refused: epoch ")
        assert message.endswith(" is not being closed")


MAKE = """
    SELECT ledger_make_epochs(
        '{node}', '{scope}', ARRAY[{start}]::timestamptz[], ARRAY[{end}]::timestamptz[], '{weights}'
    )
"""
NO_EPOCHS: Mapping[str, tuple[str, str, str, str]] = {
    "of ten years": ("'2026-03-02Z'", "'2036-03-03Z'", "{}", "is no epoch from 2026-01-05 on"),
    "without an end": ("'2026-03-02Z'", "'infinity'", "{}", "has no end"),
    "without a start": ("'-infinity'", "'2026-03-02Z'", "{}", "has no end"),
    "of no time": ("'2026-03-02Z'", "'2026-03-02Z'", "{}", "is no epoch from 2026-01-05 on"),
    "backwards": ("'2026-03-09Z'", "'2026-03-02Z'", "{}", "is no epoch from 2026-01-05 on"),
    "from a Tuesday": ("'2026-03-03Z'", "'2026-03-10Z'", "{}", "is no epoch from 2026-01-05 on"),
    "from noon": ("'2026-03-02T12:00Z'", "'2026-03-09T12:00Z'", "{}", "is no epoch from 2026-01-05 on"),
    "of two weeks": ("'2026-03-02Z'", "'2026-03-16Z'", "{}", "have 7 days, not 14"),
    "of a day": ("'2026-03-02Z'", "'2026-03-03Z'", "{}", "have 7 days, not 1"),
    "beyond all years": ("'20026-03-02Z'", "'20026-03-09Z'", "{}", "INSERT into epochs refused"),
    "weighed by words": ("'2026-03-02Z'", "'2026-03-09Z'", '{"github:pr_merged": "1"}', "weights are whole numbers"),
    "weighed below nothing": (
        "'2026-03-02Z'",
        "'2026-03-09Z'",
        '{"github:pr_merged": -1}',
        "weights are whole numbers",
    ),
    "weighed beyond what JSON keeps exact": (
        "'2026-03-02Z'",
        "'2026-03-09Z'",
        '{"github:pr_merged": 9007199254740992}',
        "weights are whole numbers",
    ),
    "weighed by no object": ("'2026-03-02Z'", "'2026-03-09Z'", "[]", "weights are whole numbers"),
}


@pytest.mark.parametrize("name", NO_EPOCHS)
def test_no_epoch_is_made_but_open_ones_of_the_scopes_calendar(
    writer: Engine, before: dict[str, int], name: str
) -> None:
    start, end, weights, message = NO_EPOCHS[name]
    made = MAKE.format(node=NODE_ID, scope=SCOPE_ID, start=start, end=end, weights=weights)
    assert message in refused(writer, made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("status = 'finalized'", "it is open, and goes to review first"),
        ("status = 'review'", "it closes at the time of its transaction"),
        ("status = 'review', closed_at = now() - interval '1 second'", "it closes at the time of its transaction"),
        (
            "status = 'finalized', closed_at = now(), allocation_algo_ref = 'x', weight_config_hash = 'x', "
            "approver_set_hash = 'x', pinned_spec = '{}'",
            "it is open, and goes to review first",
        ),
        (
            "status = 'review', closed_at = now(), allocation_algo_ref = 'x', weight_config_hash = 'x', "
            "approver_set_hash = 'x', pinned_spec = '7'",
            "it closes with all that it is paid by",
        ),
    ],
    ids=[
        "finalized at once",
        "review without pins",
        "closed in the past",
        "finalized without a statement",
        "a spec that is none",
    ],
)
def test_no_epoch_moves_on_without_what_it_rests_on(
    writer: Engine, before: dict[str, int], change: str, message: str
) -> None:
    assert message in refused(writer, f"UPDATE epochs SET {change} WHERE status = 'open'")


UNKNOWN = """
    INSERT INTO activity_events (id, source, event_type, event_time, node_id, scope_id, platform_user_id,
        platform_login, artifact_url, metadata, payload_hash, producer, producer_version, retrieved_at)
    SELECT 'unknown', {source}, {event_type}, timestamptz '2026-02-17Z', node_id, scope_id, platform_user_id,
        platform_login, artifact_url, metadata, payload_hash, producer, producer_version, retrieved_at
    FROM activity_events LIMIT 1
"""


@pytest.mark.parametrize(
    ("source", "event_type"), [("'gitlab'", "event_type"), ("source", "'star_given'"), ("''", "''")]
)
def test_no_event_is_of_a_source_that_nobody_knows(
    writer: Engine, before: dict[str, int], source: str, event_type: str
) -> None:
    assert "is known, as event unknown is one" in refused(writer, UNKNOWN.format(source=source, event_type=event_type))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE source_cursors SET cursor_value = cursor_value + interval '9 days'",
        "UPDATE source_cursors SET covered_from = covered_from - interval '9 years'",
        "INSERT INTO source_cursors (node_id, scope_id, source, stream, source_scope, cursor_value, covered_from, "
        "retrieved_at) SELECT node_id, scope_id, source, 'reviews', source_scope, cursor_value, covered_from, "
        "retrieved_at FROM source_cursors",
    ],
    ids=["further", "from earlier on", "a stream that nobody read"],
)
def test_no_cursor_says_more_than_a_receipt_does(writer: Engine, before: dict[str, int], change: str) -> None:
    assert "source_cursors refused: no receipt says that" in refused(writer, change)


NO_CHOICES = {
    "behind places that nobody took": ("'ada', 3, true, 'x', NULL, NULL, NULL, NULL", "has the place behind it"),
    "back before they went": ("'ada', 1, false, 'x', NULL, NULL, NULL, NULL", "another than the one before"),
    "before all places": ("'ada', 0, true, 'x', NULL, NULL, NULL, NULL", "place_check"),
    "of nobody": ("'a:b', 1, true, 'x', NULL, NULL, NULL, NULL", "claimant_check"),
    "without a reason": ("'ada', 1, true, ' ', NULL, NULL, NULL, NULL", "evidence_check"),
    "that nobody signed": ("'ada', 1, true, NULL, NULL, NULL, NULL, NULL", "evidence_check"),
    "signed, and with a reason": (
        f"'ada', 1, true, 'x', '0x{1:040x}', 'x', '0x{1:0128x}1b', repeat('a', 32)",
        "evidence_check",
    ),
}


@pytest.mark.parametrize("name", NO_CHOICES)
def test_nobody_takes_no_pay_but_next_in_their_line_and_on_evidence(
    writer: Engine, before: dict[str, int], name: str
) -> None:
    values, message = NO_CHOICES[name]
    assert message in refused(
        writer,
        "INSERT INTO opt_outs (node_id, claimant, place, is_opted_out, reason, wallet, message, signature, nonce) "
        f"SELECT node_id, {values} FROM epochs LIMIT 1",
    )


SIGNED = f"'0x{1:040x}', 'x', '0x{1:0128x}1b', repeat('a', 32)"
NO_LINKS = {
    "as of before": ("1, 'before_evidence', NULL, NULL, NULL, NULL, NULL, NULL", "rests on evidence"),
    "behind places that nobody took": (
        "7, 'operator', 'x', NULL, NULL, NULL, NULL, NULL",
        "behind the last of its acc",
    ),
    "before all places": ("0, 'operator', 'x', NULL, NULL, NULL, NULL, NULL", "place_check"),
    "without a reason": ("1, 'operator', ' ', NULL, NULL, NULL, NULL, NULL", "evidence_check"),
    "on no proof": (f"1, 'proof', NULL, {SIGNED}, NULL", "evidence_check"),
    "on a proof that nobody signed": ("1, 'proof', NULL, NULL, NULL, NULL, NULL, 'https://x'", "evidence_check"),
    "on no approver": (f"1, 'approver', NULL, {SIGNED}, NULL", "evidence_check"),
    "on hearsay": ("1, 'hearsay', 'x', NULL, NULL, NULL, NULL, NULL", "evidence_check"),
}


@pytest.mark.parametrize("name", NO_LINKS)
def test_no_account_is_bound_but_next_in_its_line_and_on_evidence(
    writer: Engine, before: dict[str, int], name: str
) -> None:
    values, message = NO_LINKS[name]
    assert message in refused(
        writer,
        "INSERT INTO account_links (node_id, provider, external_id, user_id, place, rests_on, reason, wallet, message, "
        f"signature, nonce, proof_url) SELECT node_id, 'github', '78', 'ada', {values} FROM epochs LIMIT 1",
    )


UNREADABLE = {
    "an item skipped": "INSERT INTO skipped_activity (node_id, scope_id, event_id, source, stream, source_scope, "
    "event_type, reason, event_time, retrieved_at) SELECT node_id, scope_id, 'x', source, stream, source_scope, "
    "event_type, reason, event_time, CAST({} AS timestamptz) FROM skipped_activity LIMIT 1",
    "an item unread": "UPDATE unread_items SET since = {}",
    "a checkpoint": "INSERT INTO scan_checkpoints (node_id, scope_id, source, source_scope, watermark, state, "
    "saved_at) SELECT node_id, scope_id, source, 'x', cursor_value, '{{}}', {} FROM source_cursors",
    "an epoch closed": "UPDATE epochs SET closed_at = {} WHERE status = 'open'",
    "a receipt": "INSERT INTO scan_receipts (node_id, scope_id, period_start, period_end, source, stream, "
    "source_scope, source_scope_name, covered_from, covered_to, pages, seen, skipped_by_reason, recorded_at) SELECT "
    "node_id, scope_id, period_start, period_end, source, stream, source_scope, source_scope_name, covered_from, "
    "covered_to, pages, seen, skipped_by_reason, CAST({} AS timestamptz) FROM scan_receipts LIMIT 1",
    "an event": "INSERT INTO activity_events (id, source, event_type, event_time, node_id, scope_id, platform_user_id, "
    "platform_login, artifact_url, metadata, payload_hash, producer, producer_version, retrieved_at) SELECT 'x', "
    "source, event_type, timestamptz '2026-02-17Z', node_id, scope_id, platform_user_id, platform_login, "
    "artifact_url, metadata, payload_hash, producer, producer_version, CAST({} AS timestamptz) FROM activity_events "
    "LIMIT 1",
}


@pytest.mark.parametrize("instant", ["infinity", "-infinity", "0044-03-15 BC", "20000-01-01Z", "9999-12-31Z"])
@pytest.mark.parametrize("name", UNREADABLE)
def test_no_row_has_an_instant_that_nobody_can_read(
    writer: Engine, before: dict[str, int], name: str, instant: str
) -> None:
    message = refused(writer, UNREADABLE[name].format(f"'{instant}'"))
    if name == "an epoch closed":  # by a trigger, before any rule of a column is looked at
        assert "what it is paid by is pinned when it closes" in message
    else:
        assert "violates check constraint" in message
        assert "_instant_check" in message


ODD_JSON = {
    "of 5,000 digits": """('{"x": ' || repeat('9', 5000) || '}')""",
    "of 130,001 digits": """'{"x": 1e130000}'""",
    "of a fraction": """'{"x": 1.5}'""",
    "of 3,000 brackets": """('{"x": ' || repeat('[', 3000) || repeat(']', 3000) || '}')""",
    "of two megabytes": """('{"x": "' || repeat('x', 2000000) || '"}')""",
    "of no object": "'[]'",
}
TAKES_JSON = {
    "an event": "INSERT INTO activity_events (id, source, event_type, event_time, node_id, scope_id, platform_user_id, "
    "platform_login, artifact_url, metadata, payload_hash, producer, producer_version, retrieved_at) SELECT 'x', "
    "source, event_type, timestamptz '2026-02-17Z', node_id, scope_id, platform_user_id, platform_login, "
    "artifact_url, CAST({} AS jsonb), payload_hash, producer, producer_version, retrieved_at FROM activity_events "
    "LIMIT 1",
    "a component": "INSERT INTO epoch_pool_components (node_id, epoch_id, component_id, algorithm_version, "
    "inputs_json, amount_credits, evidence_ref) SELECT node_id, id, 'top_up', 'manual-v0', CAST({} AS jsonb), 1, 'x' "
    "FROM epochs WHERE status = 'open'",
    "a checkpoint": "INSERT INTO scan_checkpoints (node_id, scope_id, source, source_scope, watermark, state, "
    "saved_at) SELECT node_id, scope_id, source, 'x', cursor_value, CAST({} AS jsonb), now() FROM source_cursors",
}


@pytest.mark.parametrize("value", ODD_JSON.values(), ids=ODD_JSON)
@pytest.mark.parametrize("name", TAKES_JSON)
def test_no_row_has_json_that_nobody_can_read(writer: Engine, before: dict[str, int], name: str, value: str) -> None:
    message = refused(writer, TAKES_JSON[name].format(value).replace(":", r"\:"))
    assert "violates check constraint" in message
    assert "_json_check" in message


LINE = """{"userId": "ada", "totalUnits": "1", "share": "1.000000", "amountCredits": "1"}"""


@pytest.mark.parametrize(
    ("payouts", "total"),
    [
        (LINE.replace("}", ', "more": 7}'), 1),
        (LINE.replace("}", ', "more": [[[]]]}'), 1),
        (LINE.replace('"1.000000"', f'"{"1" * 2000}"'), 1),
        (LINE.replace('"totalUnits": "1"', '"totalUnits": "one"'), 1),
        (LINE.replace('"amountCredits": "1"', f'"amountCredits": "{"1" * 5000}"'), 1),
        (LINE, -1),
    ],
    ids=["a fifth value", "a deep one", "a long share", "units in words", "5,000 digits", "a pool below nothing"],
)
def test_no_statement_has_lines_but_of_four_short_values(
    writer: Engine, before: dict[str, int], payouts: str, total: int
) -> None:
    message = refused(
        writer,
        "INSERT INTO payout_statements (node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json) "
        "SELECT node_id, id, 'x', :total, CAST(:payouts AS jsonb) FROM epochs WHERE status = 'open'",
        total=total,
        payouts=f"[{payouts}]",
    )
    assert "violates check constraint" in message


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO epoch_allocations (node_id, epoch_id, user_id, proposed_units, activity_count) "
        "SELECT node_id, id, 'ada', {}, 1 FROM epochs WHERE status = 'open'",
        "INSERT INTO epoch_allocations (node_id, epoch_id, user_id, proposed_units, activity_count, final_units, "
        "override_reason) SELECT node_id, id, 'ada', 1, 1, {}, 'because' FROM epochs WHERE status = 'open'",
        "INSERT INTO scan_receipts (node_id, scope_id, period_start, period_end, source, stream, source_scope, "
        "source_scope_name, covered_from, covered_to, pages, seen, skipped_by_reason) SELECT node_id, scope_id, "
        "period_start, period_end, source, stream, source_scope, source_scope_name, covered_from, covered_to, {}, "
        "seen, skipped_by_reason FROM scan_receipts LIMIT 1",
    ],
    ids=["proposed units", "decided units", "pages"],
)
def test_no_amount_or_count_is_negative(writer: Engine, before: dict[str, int], change: str) -> None:
    assert "_sign_check" in refused(writer, change.format(-1))


@pytest.mark.parametrize("table", ["activity_curation", "epoch_allocations", "payout_statements", "signing_requests"])
def test_nothing_of_another_node_joins_an_epoch(writer: Engine, before: dict[str, int], table: str) -> None:
    columns = {
        "activity_curation": ("event_id", "id", "activity_events"),
        "epoch_allocations": ("user_id, proposed_units, activity_count", "'a', 1, 1", "activity_events"),
        "payout_statements": (
            "allocation_set_hash, pool_total_credits, payouts_json",
            "'a', 1, '[]'",
            "activity_events",
        ),
        "signing_requests": ("allocation_set_hash, pool_total_credits", "'a', 1", "activity_events"),
    }
    names, values, of = columns[table]
    message = refused(
        writer,
        f"INSERT INTO {table} (node_id, epoch_id, {names}) SELECT gen_random_uuid(), "
        f"(SELECT id FROM epochs WHERE status = 'open'), {values} FROM {of} LIMIT 1",
    )
    assert f"INSERT into {table} refused: " in message


# The locks that are left are those of tables whose rows are deleted: they are waited for no longer than the limit.
@pytest.mark.parametrize("table", [table for table, right in RIGHTS.items() if right is FORGET])
def test_a_lock_that_the_writer_may_take_is_waited_for_within_the_limit(
    writer: Engine, ledger_url: str, before: dict[str, int], table: str
) -> None:
    engine = make_engine(ledger_url, limits=DatabaseLimits(lock_seconds=1))
    with writer.connect() as connection:
        connection.exec_driver_sql(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable, match="DATABASE_LOCK_SECONDS limits how long a lock is waited for"):
            rows_within(engine, table)
    engine.dispose()


def test_a_row_or_a_scope_that_the_writer_holds_is_waited_for_within_the_limit(
    writer: Engine, ledger_url: str, before: dict[str, int]
) -> None:
    engine = make_engine(ledger_url, limits=DatabaseLimits(lock_seconds=1))
    ledger = PostgresLedger(engine, NODE_ID)
    [epoch] = ledger.epochs.still_open(SCOPE_ID)
    for holding, wanted in (
        ("SELECT FROM epochs FOR UPDATE", lambda: ledger.epochs.close(epoch.id, EpochPins("a", "b", "c", {}))),
        (
            f"SELECT pg_advisory_xact_lock(hashtextextended('activity_events {NODE_ID} {SCOPE_ID}', 0))",
            lambda: ledger.epochs.ensure(SCOPE_ID, [window("2026-03-02")], {}).epochs,
        ),
    ):
        with writer.connect() as connection:
            connection.exec_driver_sql(holding)
            with pytest.raises(StoreUnavailable, match="DATABASE_LOCK_SECONDS limits how long a lock is waited for"):
                wanted()
    engine.dispose()


def rows_within(engine: Engine, table: str) -> None:
    with translated(engine), engine.connect() as connection:
        connection.execute(text(f"SELECT count(*) FROM {table}"))


def test_every_number_that_a_sequence_gives_is_given_by_the_ledger_alone(ledger_engine: Engine) -> None:
    numbered = text("""
        SELECT attrelid::regclass::text AS of_table, attname AS of_column,
            has_sequence_privilege('ledger_writer', sequence, 'UPDATE') AS may_set,
            EXISTS (
                SELECT FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
                WHERE tgrelid = attrelid AND proname = 'ledger_number_row' AND tgqual IS NULL
                    AND pg_get_triggerdef(pg_trigger.oid) LIKE '% BEFORE INSERT ON % FOR EACH ROW EXECUTE %'
                    AND tgargs = convert_to(sequence, 'UTF8') || '\\x00'
            ) AS is_guarded
        FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        CROSS JOIN LATERAL pg_get_serial_sequence(attrelid::regclass::text, attname) AS sequence
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
            AND sequence IS NOT NULL
    """)
    sequences = text("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'")
    with ledger_engine.connect() as connection:
        rows = connection.execute(numbered).all()
        assert len(rows) == connection.scalar(sequences)
    assert [row for row in rows if not row.is_guarded or row.may_set or row.of_column != "id"] == []


def test_every_function_that_acts_as_the_owner_looks_nothing_up_elsewhere(ledger_engine: Engine) -> None:
    query = text("""
        SELECT proname, proconfig, has_function_privilege('public', oid, 'EXECUTE') FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND prosecdef
    """)
    with ledger_engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    own = ["search_path=pg_catalog, pg_temp"]
    assert sorted(rows) == [("ledger_follow_links", own, False), ("ledger_make_epochs", own, False)]


def test_after_all_attacks_every_row_is_where_it_was(ledger_engine: Engine, before: dict[str, int]) -> None:
    assert rows_of(ledger_engine, *RIGHTS) == before
