"""Time to say what fair-v1 would have paid in 52 epochs, over that of the bare SQL aggregate of the same events."""

import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.what_if import EpochChange, Supposition, what_if
from ledger_pipeline.policies import installed_policy
from ledger_pipeline.store import migrations
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import Epoch
from ledger_pipeline_tests.benchmarks.figure import Figure
from ledger_pipeline_tests.builders import NODE_ID, SCOPE_ID, scope, weeks
from ledger_pipeline_tests.postgres import fresh_database, running_postgres

EVENTS = 100_000
EPOCHS = 52
USERS = 500
ROUNDS = 2
OWN_REVIEWS_OF = 10  # every tenth review is of one's own pull request

# The rows are made by the database itself; its triggers are about who writes, and would take minutes.
EVENT_ROWS = text("""
    INSERT INTO activity_events (node_id, scope_id, id, source, event_type, platform_user_id, platform_login,
        artifact_url, metadata, payload_hash, producer, producer_version, event_time, retrieved_at)
    SELECT :node_id, :scope_id, 'event-' || n, 'github',
        CASE WHEN n % 2 = 0 THEN 'pr_merged' ELSE 'review_submitted' END,
        (1 + n % :users)::text, 'login', 'https://github.example',
        jsonb_build_object('repository', 'acme/web', 'number', n / 2, 'state', 'APPROVED'), 'hash', 'benchmark', '1',
        CAST(:start AS timestamptz) + n * (interval '364 days' / :events), now()
    FROM generate_series(0, :events - 1) AS n
""")
FACTS_ROWS = text("""
    INSERT INTO event_facts (node_id, scope_id, event_id, facts_hash, facts, observed_at, producer, producer_version)
    SELECT :node_id, :scope_id, 'event-' || n, repeat('0', 64), CASE WHEN n % 2 = 0
        THEN jsonb_build_object('eventType', 'pr_merged', 'baseBranch', 'main', 'isBaseDefault', true,
            'labels', '["bug"]'::jsonb, 'author', jsonb_build_object('id', (1 + n % :users)::text, 'login', 'login'))
        ELSE jsonb_build_object('eventType', 'review_submitted', 'baseBranch', 'main', 'isBaseDefault', true,
            'hasBody', true, 'isMerged', true, 'labels', '["bug"]'::jsonb, 'pullRequestAuthor', jsonb_build_object(
                'id', (1 + CASE WHEN n % (2 * :own) = 1 THEN n % :users ELSE :users END)::text, 'login', 'other')) END,
        now(), 'benchmark', '1'
    FROM generate_series(0, :events - 1) AS n
""")
CURATION_ROWS = text("""
    INSERT INTO activity_curation (node_id, epoch_id, event_id, user_id)
    SELECT event.node_id, epoch.id, event.id, 'user-' || event.platform_user_id
    FROM activity_events AS event JOIN epochs AS epoch
        ON event.event_time >= epoch.period_start AND event.event_time < epoch.period_end
""")
BARE = text("""
    SELECT curation.epoch_id, curation.user_id,
        sum(CASE event.event_type WHEN 'pr_merged' THEN 1000 WHEN 'review_submitted' THEN 500 ELSE 300 END)
    FROM activity_curation AS curation
    JOIN activity_events AS event
        ON event.node_id = curation.node_id AND event.scope_id = :scope_id AND event.id = curation.event_id
    WHERE curation.node_id = :node_id AND curation.included
    GROUP BY 1, 2
""")


def what_if_over_aggregate() -> list[Figure]:
    """Both on one ledger, in turn; the best of several rounds counts, and both must say the same of what is paid."""
    with (
        tempfile.TemporaryDirectory(prefix="lp") as folder,
        running_postgres(Path(folder)) as server,
        fresh_database(server) as url,
    ):
        migrations.upgrade(url)
        engine = make_engine(url)
        ledger, benchmarked = PostgresLedger(engine, NODE_ID), scope()
        windows = weeks(EPOCHS, "2025-01-06")
        epochs = ledger.epochs.ensure(SCOPE_ID, windows, benchmarked.weights_milli).epochs
        _fill(engine, windows)
        supposed = Supposition(installed_policy("fair-v1").choice({}, ()), {})
        changes: list[EpochChange] = []
        bare = ours = float("inf")
        for _ in range(ROUNDS):
            with engine.connect() as connection:
                bare = min(bare, _seconds(lambda connection=connection: _aggregate(connection)))
                aggregate = _aggregate(connection)
            started = time.perf_counter()
            changes = [what_if(ledger, benchmarked, epoch, supposed) for epoch in epochs]
            ours = min(ours, time.perf_counter() - started)
        _check(changes, epochs, aggregate)
        engine.dispose()
    name = f"what fair-v1 would have paid in {EPOCHS} epochs of {EVENTS:,} events"
    return [
        Figure(f"{name}, seconds", ours, "aim 10 or less"),
        Figure(f"{name}, over the bare SQL aggregate, time", ours / bare, "the policy looks at every event"),
    ]


def _fill(engine: Engine, windows: list[EpochWindow]) -> None:
    parameters = {
        "node_id": NODE_ID,
        "scope_id": SCOPE_ID,
        "start": windows[0].start + timedelta(seconds=1),
        "events": EVENTS,
        "users": USERS,
        "own": OWN_REVIEWS_OF,
    }
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for rows in (EVENT_ROWS, FACTS_ROWS, CURATION_ROWS):
            connection.execute(rows, parameters)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE activity_events, event_facts, activity_curation"))


def _check(changes: list[EpochChange], epochs: list[Epoch], aggregate: dict[tuple[int, str], int]) -> None:
    paid = {(change.epoch.id, row.user_id): row.units_milli for change in changes for row in change.contributors}
    assert paid == aggregate
    assert len(changes) == len(epochs)
    assert sum(change.events_by_reason["own_pull_request"] for change in changes) == EVENTS // 2 // OWN_REVIEWS_OF


def _aggregate(connection: Connection) -> dict[tuple[int, str], int]:
    rows = connection.execute(BARE, {"node_id": NODE_ID, "scope_id": SCOPE_ID})
    return {(epoch_id, user_id): int(units) for epoch_id, user_id, units in rows}


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
