"""Rows per second of `events.append` over those of a bare COPY of the same rows into the same table."""

import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import make_url

from ledger_pipeline.core.events import ActivityEvent
from ledger_pipeline.store import migrations
from ledger_pipeline.store.postgres import open_ledger
from ledger_pipeline_tests.benchmarks.figure import Figure
from ledger_pipeline_tests.builders import NODE_ID, PRODUCER, SCOPE_ID, pull_request
from ledger_pipeline_tests.postgres import fresh_database, running_postgres

ROWS = 100_000
BATCH = 1_000  # about what a page of a hundred pull requests with their reviews holds
ROUNDS = 3

COLUMNS = (
    "node_id, scope_id, id, source, event_type, platform_user_id, platform_login, artifact_url, metadata, "
    "payload_hash, source_object_id, event_time, producer, producer_version, retrieved_at"
)


def append_over_copy() -> Figure:
    """Each side writes the same rows into a fresh ledger of its own; the best of several rounds counts."""
    now = datetime.now(UTC)
    events = _events()
    with tempfile.TemporaryDirectory(prefix="lp") as folder, running_postgres(Path(folder)) as server:

        def copy(url: str) -> None:
            with (
                psycopg.connect(url) as connection,
                connection.cursor().copy(f"COPY activity_events ({COLUMNS}) FROM STDIN") as sink,
            ):
                for event in events:
                    sink.write_row(_row(event, now))

        def append(url: str) -> None:
            with open_ledger(url, NODE_ID) as ledger:
                for batch in _batches(events):
                    ledger.events.append(SCOPE_ID, batch, PRODUCER, now)

        bare = append_seconds = float("inf")
        for _ in range(ROUNDS):
            bare = min(bare, _seconds(server, copy))
            append_seconds = min(append_seconds, _seconds(server, append))
    return Figure(f"events.append over bare COPY, rows/s at {ROWS:,} rows", bare / append_seconds, "aim 0.5 or more")


def _seconds(server: str, write: Callable[[str], None]) -> float:
    with fresh_database(server) as url:
        migrations.upgrade(url)
        plain = make_url(url).render_as_string(hide_password=False)
        started = time.perf_counter()
        write(plain)
        return time.perf_counter() - started


def _events() -> list[ActivityEvent]:
    start = datetime(2025, 1, 6, tzinfo=UTC)
    times = ((start + timedelta(minutes=5 * number)).strftime("%Y-%m-%dT%H:%M:%SZ") for number in range(ROWS))
    return [pull_request(number, at=at) for number, at in enumerate(times)]


def _batches(events: Sequence[ActivityEvent]) -> list[Sequence[ActivityEvent]]:
    return [events[first : first + BATCH] for first in range(0, len(events), BATCH)]


def _row(event: ActivityEvent, now: datetime) -> tuple[object, ...]:
    return (
        NODE_ID,
        SCOPE_ID,
        event.id,
        event.source,
        event.event_type,
        event.platform_user_id,
        event.platform_login,
        event.artifact_url,
        Jsonb(event.metadata),
        event.payload_hash,
        event.source_object_id,
        event.event_time,
        PRODUCER.name,
        PRODUCER.version,
        now,
    )
