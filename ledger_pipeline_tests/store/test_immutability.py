"""What the database refuses, whoever asks: the superuser of these tests included."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from ledger_pipeline.core.facts import Observation, PullRequestFacts
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline_tests.builders import (
    NODE_ID,
    PRODUCER,
    SCOPE_ID,
    cursor,
    instant,
    issue,
    pull_request,
    receipt,
    skipped,
    weeks,
    window,
)
from ledger_pipeline_tests.postgres import fresh_database, set_status

CLOSED, OPEN = weeks(2, "2026-02-09")
OF_CLOSED, ALSO_OF_CLOSED = (pull_request(number, at="2026-02-10T12:00:00Z") for number in (7, 8))
STAGES = list(EpochStatus)


@pytest.fixture(scope="module")
def filled_engine(postgres_server: str, migrated_template: str) -> Iterator[Engine]:
    """A filled ledger that all tests share which only have something refused: that leaves it as it is."""
    with fresh_database(postgres_server, migrated_template) as url:
        engine = make_engine(url)
        fill(engine)
        yield engine
        engine.dispose()


@pytest.fixture
def own_filled_engine(ledger_engine: Engine) -> Engine:
    """A filled ledger that a test may change."""
    fill(ledger_engine)
    return ledger_engine


def fill(engine: Engine) -> None:
    """One row in every table; the epoch of CLOSED finalized, that of OPEN open."""
    ledger = PostgresLedger(engine, NODE_ID)
    closed, running = ledger.epochs.ensure(SCOPE_ID, [CLOSED, OPEN], {}).epochs
    ledger.events.append(
        SCOPE_ID, [pull_request(), issue(), OF_CLOSED, ALSO_OF_CLOSED], PRODUCER, instant("2026-02-18")
    )
    ledger.events.append(SCOPE_ID, [issue(at="2026-02-18T00:00:00Z")], PRODUCER, instant("2026-02-18"))
    ledger.facts.record(SCOPE_ID, [Observation(OF_CLOSED.id, PullRequestFacts())], instant("2026-02-18"), PRODUCER)
    ledger.scans.record_skipped(SCOPE_ID, [skipped()], instant("2026-02-18"))
    ledger.scans.finish(SCOPE_ID, [cursor("2026-02-18")], instant("2026-02-18"), [receipt()])
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO activity_curation (node_id, epoch_id, event_id) "
            f"VALUES (:node, :closed, '{OF_CLOSED.id}'), (:node, :open, '{pull_request().id}')",
            "INSERT INTO epoch_allocations (node_id, epoch_id, user_id, proposed_units, activity_count) "
            "VALUES (:node, :closed, 'ada', 9223372036854775807, 1)",
            "INSERT INTO epoch_pool_components "
            "(node_id, epoch_id, component_id, algorithm_version, inputs_json, amount_credits, evidence_ref) "
            "VALUES (:node, :closed, 'top_up', 'manual-v0', '{}', 1000000000000000000, 'a vote')",
            "INSERT INTO payout_statements (node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json) "
            "VALUES (:node, :closed, 'hash', 10000, '[]')",
            "INSERT INTO statement_signatures (node_id, statement_id, signer_wallet, signature) "
            "SELECT node_id, id, '0x' || repeat('a', 40), '0x' || repeat('1', 128) || '1b' FROM payout_statements",
            "INSERT INTO statement_corrections (node_id, epoch_id, supersedes_statement_id, user_id, units, reason) "
            "SELECT node_id, epoch_id, id, 'ada', 9223372036854775807, 'why' FROM payout_statements",
            "INSERT INTO signing_requests (node_id, epoch_id, allocation_set_hash, pool_total_credits, "
            "supersedes_statement_id) SELECT node_id, epoch_id, 'other', 1, id FROM payout_statements",
            "INSERT INTO set_asides (node_id, epoch_id, statement_id, reason) "
            "SELECT node_id, epoch_id, id, 'why' FROM payout_statements",
        ):
            connection.execute(text(statement), {"node": ledger.node_id, "closed": closed.id, "open": running.id})
        for statement in (
            "UPDATE epochs SET status = 'review', closed_at = now() WHERE id = :id",
            "INSERT INTO left_out_items (node_id, epoch_id, source, source_scope, kind, number, unread_reason, "
            "unread_since, actor, reason) "
            "SELECT node_id, id, 'github', 'a/b', 'issue', 1, 'null', now(), 'ada', 'why' FROM epochs WHERE id = :id",
        ):
            connection.execute(text(statement), {"id": closed.id})
    set_status(engine, SCOPE_ID, CLOSED, EpochStatus.FINALIZED)


def refused(engine: Engine, statement: str) -> str:
    """The first line of the database's refusal."""
    with pytest.raises(DBAPIError) as raised, engine.begin() as connection:
        connection.execute(text(statement))
    return str(raised.value.orig).splitlines()[0]


@pytest.mark.parametrize(
    "table",
    [
        "activity_events",
        "event_facts",
        "epoch_pool_components",
        "payout_statements",
        "statement_signatures",
        "statement_corrections",
        "signing_requests",
        "set_asides",
        "rejected_events",
        "skipped_activity",
        "scan_receipts",
        "left_out_items",
    ],
)
@pytest.mark.parametrize("change", ["UPDATE {} SET node_id = node_id", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_facts_are_never_changed_removed_or_truncated(filled_engine: Engine, table: str, change: str) -> None:
    message = refused(filled_engine, change.format(table))
    assert f"{change.split()[0]} of {table} refused: the ledger is append-only" in message
    with filled_engine.connect() as connection:
        assert connection.scalar(text(f"SELECT count(*) FROM {table}"))


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO activity_curation (node_id, epoch_id, event_id) "
        f"SELECT node_id, id, '{ALSO_OF_CLOSED.id}' FROM epochs WHERE status = 'finalized'",
        "UPDATE activity_curation SET included = false",
        "UPDATE activity_curation SET epoch_id = (SELECT min(id) FROM epochs), event_id = event_id || epoch_id",
        "UPDATE activity_curation SET epoch_id = (SELECT max(id) FROM epochs), event_id = event_id || epoch_id",
        "DELETE FROM activity_curation",
    ],
)
def test_curation_is_fixed_once_its_epoch_is_finalized(filled_engine: Engine, change: str) -> None:
    message = refused(filled_engine, change)
    assert message.startswith(f"{change.split()[0]} of activity_curation refused: epoch ")
    assert message.endswith("is finalized")


def test_curation_cannot_be_truncated_away(filled_engine: Engine) -> None:
    assert "TRUNCATE of activity_curation refused" in refused(filled_engine, "TRUNCATE activity_curation")
    assert "refused" in refused(filled_engine, "TRUNCATE epochs CASCADE")


def test_curation_of_an_open_epoch_may_change(own_filled_engine: Engine) -> None:
    of_open = "WHERE epoch_id = (SELECT id FROM epochs WHERE status = 'open')"
    with own_filled_engine.begin() as connection:
        assert (
            connection.execute(
                text(f"UPDATE activity_curation SET included = false, note = 'a copy' {of_open}")
            ).rowcount
            == 1
        )
        assert connection.execute(text(f"DELETE FROM activity_curation {of_open}")).rowcount == 1


@pytest.mark.parametrize("before", STAGES)
@pytest.mark.parametrize("after", STAGES)
def test_status_only_moves_forward(
    ledger: PostgresLedger, ledger_engine: Engine, before: EpochStatus, after: EpochStatus
) -> None:
    ledger.epochs.ensure(SCOPE_ID, [window()], {})
    set_status(ledger_engine, SCOPE_ID, window(), before)
    if STAGES.index(after) >= STAGES.index(before):
        with ledger_engine.begin() as connection:
            connection.execute(text(f"UPDATE epochs SET status = '{after}'"))  # and not closed_at, which is pinned
    else:
        message = refused(ledger_engine, f"UPDATE epochs SET status = '{after}'")
        assert f"status only moves forward, not from {before} to {after}" in message
    assert ledger.epochs.within(SCOPE_ID, window())[0].status is max(before, after, key=STAGES.index)


@pytest.mark.parametrize(
    "change",
    [
        "id = id + 1",
        "node_id = gen_random_uuid()",
        "scope_id = gen_random_uuid()",
        "period_start = period_start - interval '1 day'",
        "period_end = period_end + interval '1 day'",
    ],
)
def test_what_an_epoch_is_of_never_changes(ledger: PostgresLedger, ledger_engine: Engine, change: str) -> None:
    ledger.epochs.ensure(SCOPE_ID, [window()], {})
    assert "node, scope and period never change" in refused(ledger_engine, f"UPDATE epochs SET {change}")


def test_an_epoch_can_be_deleted_only_while_open(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    ledger.epochs.ensure(SCOPE_ID, [CLOSED, OPEN], {})
    set_status(ledger_engine, SCOPE_ID, CLOSED, EpochStatus.REVIEW)
    assert "it is in review" in refused(ledger_engine, "DELETE FROM epochs WHERE status = 'review'")
    with ledger_engine.begin() as connection:
        assert connection.execute(text("DELETE FROM epochs WHERE status = 'open'")).rowcount == 1


@pytest.mark.parametrize(
    ("bounds", "constraint"),
    [
        ("'2026-02-16Z', '2026-02-16Z'", "epochs_period_check"),
        ("'2026-02-17Z', '2026-02-16Z'", ""),  # the range of the exclusion constraint refuses it even earlier
        ("'2026-02-22Z', '2026-02-24Z'", "epochs_never_overlap"),
        ("'2026-02-16Z', '2026-02-23Z'", "epochs_"),
    ],
)
def test_empty_reversed_and_overlapping_periods_are_refused(
    ledger: PostgresLedger, ledger_engine: Engine, bounds: str, constraint: str
) -> None:
    ledger.epochs.ensure(SCOPE_ID, [window()], {})
    assert constraint in refused(
        ledger_engine,
        "INSERT INTO epochs (node_id, scope_id, period_start, period_end, weight_config) "
        f"VALUES ('{ledger.node_id}', '{SCOPE_ID}', {bounds}, '{{}}')",
    )


COPY_OF_AN_EVENT = """
    INSERT INTO activity_events (node_id, scope_id, id, source, event_type, platform_user_id, platform_login,
        artifact_url, metadata, payload_hash, producer, producer_version, event_time, retrieved_at)
    SELECT node_id, scope_id, {id}, source, event_type, platform_user_id, platform_login,
        artifact_url, metadata, payload_hash, producer, producer_version, {time}, retrieved_at
    FROM activity_events LIMIT 1
    ON CONFLICT DO NOTHING
"""


def test_a_new_event_of_a_closed_epoch_is_refused_to_anyone(filled_engine: Engine) -> None:
    late = COPY_OF_AN_EVENT.format(id="'late'", time="timestamptz '2026-02-15T23:59:59Z'")
    with pytest.raises(DBAPIError) as raised, filled_engine.begin() as connection:
        connection.execute(text(late))
    assert raised.value.orig is not None
    assert raised.value.orig.sqlstate == "LP001"  # type: ignore[attr-defined]
    assert "is in finalized, not open" in str(raised.value.orig)


def test_a_duplicate_of_a_closed_epoch_is_no_error(own_filled_engine: Engine) -> None:
    set_status(own_filled_engine, SCOPE_ID, OPEN, EpochStatus.REVIEW)
    with own_filled_engine.begin() as connection:
        duplicate = text(COPY_OF_AN_EVENT.format(id="id", time="event_time"))
        assert connection.execute(duplicate).rowcount == 0


def test_a_second_row_for_one_object_is_refused(filled_engine: Engine) -> None:
    columns = (
        "node_id, scope_id, source, event_type, platform_user_id, platform_login, artifact_url, metadata, "
        "payload_hash, source_object_id, producer, producer_version, event_time, retrieved_at"
    )
    message = refused(
        filled_engine, f"INSERT INTO activity_events (id, {columns}) SELECT 'renamed', {columns} FROM activity_events"
    )
    assert "activity_events_source_object" in message
