"""Time to allocate a million curated events, stored and all, over that of the bare SQL aggregate of the same rows."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, text

from ledger_pipeline.pipeline.allocate import allocate
from ledger_pipeline.store import migrations
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.benchmarks.figure import Figure
from ledger_pipeline_tests.builders import NODE_ID, SCOPE_ID, scope, window
from ledger_pipeline_tests.postgres import fresh_database, running_postgres

EVENTS = 1_000_000
USERS = 500
ROUNDS = 3

# The rows are made by the database itself; its triggers are about who writes, and would take minutes.
EVENT_ROWS = text("""
    INSERT INTO activity_events (node_id, scope_id, id, source, event_type, platform_user_id, platform_login,
        artifact_url, metadata, payload_hash, producer, producer_version, event_time, retrieved_at)
    SELECT :node_id, :scope_id, 'event-' || n, 'github',
        (ARRAY['pr_merged', 'review_submitted', 'issue_closed'])[1 + n % 3],
        (1000 + n % :users)::text, 'login', 'https://github.example', '{}', 'hash', 'benchmark', '1',
        CAST(:start AS timestamptz) + n * interval '0.5 second', now()
    FROM generate_series(1, :events) AS n
""")
CURATION_ROWS = text("""
    INSERT INTO activity_curation (node_id, epoch_id, event_id, user_id, included, weight_override_milli)
    SELECT :node_id, :epoch_id, 'event-' || n, CASE WHEN n % 50 > 0 THEN 'user-' || n % :users END, n % 40 > 0,
        CASE WHEN n % 30 = 0 THEN n % 700 END
    FROM generate_series(1, :events) AS n
""")
BARE = text("""
    SELECT COALESCE(curation.user_id, 'identity:github:' || event.platform_user_id), count(*),
        sum(COALESCE(curation.weight_override_milli, CASE event.event_type
        WHEN 'pr_merged' THEN 1000 WHEN 'review_submitted' THEN 500 ELSE 300 END))
    FROM activity_curation AS curation
    JOIN activity_events AS event
        ON event.node_id = curation.node_id AND event.scope_id = :scope_id AND event.id = curation.event_id
    WHERE curation.node_id = :node_id AND curation.epoch_id = :epoch_id
        AND curation.included
    GROUP BY 1
""")


def allocate_over_aggregate() -> Figure:
    """Both on one ledger, in turn; the best of several rounds counts, and both must say the same."""
    with (
        tempfile.TemporaryDirectory(prefix="lp") as folder,
        running_postgres(Path(folder)) as server,
        fresh_database(server) as url,
    ):
        migrations.upgrade(url)
        engine = make_engine(url)
        ledger, benchmarked = PostgresLedger(engine, NODE_ID), scope()
        [epoch] = ledger.epochs.ensure(SCOPE_ID, [window()], benchmarked.weights_milli).epochs
        parameters = {
            "node_id": NODE_ID,
            "scope_id": SCOPE_ID,
            "epoch_id": epoch.id,
            "start": window().start,
            "events": EVENTS,
            "users": USERS,
        }
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            connection.execute(EVENT_ROWS, parameters)
            connection.execute(CURATION_ROWS, parameters)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE activity_events, activity_curation"))
        bare = ours = float("inf")
        for _ in range(ROUNDS):
            with engine.connect() as connection:
                bare = min(bare, _seconds(lambda connection=connection: _aggregate(connection, parameters)))
                aggregate = _aggregate(connection, parameters)
            ours = min(ours, _seconds(lambda: allocate(ledger, benchmarked, epoch)))
        stored = {
            allocation.user_id: (allocation.activity_count, allocation.proposed_units)
            for allocation in ledger.allocations.of(epoch)
        }
        assert stored == aggregate
        engine.dispose()
    name = f"allocating over the bare SQL aggregate, {EVENTS:,} curated events of {len(stored)} users, time"
    return Figure(name, ours / bare, "aim 1.2 or less")


def _aggregate(connection: Connection, parameters: dict[str, object]) -> dict[str, tuple[int, int]]:
    return {row[0]: (row[1], int(row[2])) for row in connection.execute(BARE, parameters)}


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
