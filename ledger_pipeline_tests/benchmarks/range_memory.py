"""Peak memory of one Dagster run over ten years of weeks that hold a million events, over that of a thousand.

The run is what `ledger-pipeline collect --from --to` does, in a process of its own and on Postgres storage. A million
events are not read over HTTP in minutes, so they are in the ledger before, with cursors and receipts as a scan of them
leaves them: the run digests all of them, reads the receipts of every window back, closes the epochs, and tells Dagster
of 2,080 materializations and 1,040 checks. (What reading over HTTP takes, `memory.py` measures.)
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.local.environment import child_environment
from ledger_pipeline.store import migrations
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.benchmarks.figure import Figure
from ledger_pipeline_tests.builders import NODE_ID, REPO, SCOPE_ID, cursor, receipt, weeks
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.postgres import fresh_database, running_postgres

WINDOWS = weeks(520, "2016-01-04")
READ_AT = WINDOWS[-1].end + timedelta(days=2)  # past the grace of the last one

# The rows are made by the database itself; its triggers are about who writes, and would take minutes.
EVENT_ROWS = text("""
    INSERT INTO activity_events (node_id, scope_id, id, source, event_type, platform_user_id, platform_login,
        artifact_url, metadata, payload_hash, producer, producer_version, event_time, retrieved_at)
    SELECT :node_id, :scope_id, 'github:' || n % 3 || ':' || CAST(:repository AS text) || ':' || n, 'github',
        (ARRAY['pr_merged', 'review_submitted', 'issue_closed'])[1 + n % 3],
        (n % 500)::text, 'login-' || n % 500, 'https://github.example/' || n,
        jsonb_build_object('repository', CAST(:repository AS text)),
        encode(sha256(n::text::bytea), 'hex'), 'benchmark', '1',
        CAST(:start AS timestamptz) + n * CAST(:step_seconds AS float) * interval '1 second', now()
    FROM generate_series(1, :events) AS n
""")


def memory_of_a_range() -> Figure:
    """The ratio of the two peaks, as the operating system counted them."""
    with tempfile.TemporaryDirectory(prefix="lp") as folder, running_postgres(Path(folder)) as server:
        small, large = (_peak_kilobytes(server, Path(folder) / str(events), events) for events in (1_000, 1_000_000))
    name = f"peak memory: a Dagster run over {len(WINDOWS)} epochs with 1,000,000 events over the same with 1,000"
    return Figure(name, large / small, "under 1.5")


def _peak_kilobytes(server: str, folder: Path, events: int) -> int:
    repo_spec = write_repo_spec(folder, REPO, first_epoch=WINDOWS[0].key)
    with ExitStack() as stack:
        ledger_url, dagster_url = (stack.enter_context(fresh_database(server)) for _ in range(2))
        migrations.upgrade(ledger_url)
        _fill(ledger_url, events)
        peak, counted = _run(
            folder,
            {
                "LEDGER_HOME": str(folder),
                "LEDGER_REPO_SPEC": str(repo_spec),
                "DATABASE_URL": ledger_url,
                "DAGSTER_DATABASE_URL": dagster_url,
                "DAGSTER_HOME": "",
                "GITHUB_API_URL": "http://127.0.0.1:9",  # what is covered asks nothing of it
                "GITHUB_TOKEN": "any",
            },
        )
    if counted != events:
        raise AssertionError(f"the run counted {counted} events, not {events}")
    return peak


def _fill(url: str, events: int) -> None:
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(
            EVENT_ROWS,
            {
                "node_id": NODE_ID,
                "scope_id": SCOPE_ID,
                "repository": REPO,
                "start": WINDOWS[0].start,
                "step_seconds": (WINDOWS[-1].end - WINDOWS[0].start).total_seconds() / (events + 1),
                "events": events,
            },
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE activity_events"))
    PostgresLedger(engine, NODE_ID).scans.finish(
        SCOPE_ID,
        [cursor(READ_AT, WINDOWS[0].start, stream=stream) for stream in GITHUB_STREAMS],
        READ_AT,
        [receipt(READ_AT, WINDOWS[0].start, of=of, stream=stream) for of in WINDOWS for stream in GITHUB_STREAMS],
    )
    engine.dispose()


def _run(folder: Path, environment: Mapping[str, str]) -> tuple[int, int]:
    """Collect all WINDOWS in a process of its own: its peak in kilobytes, and how many events it counted."""
    command = [sys.executable, "-c", "from ledger_pipeline.cli.app import main; main()", "collect", "--json"]
    command += ["--from", WINDOWS[0].key, "--to", WINDOWS[-1].key]
    answer, log = folder / "answer.json", folder / "log"
    with answer.open("w") as stdout, log.open("w") as stderr:
        process = subprocess.Popen(command, env=child_environment(dict(environment)), stdout=stdout, stderr=stderr)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise AssertionError(f"collecting failed: {log.read_text()[-2000:]}{answer.read_text()[:2000]}")
    return usage.ru_maxrss, sum(row["events"] for row in json.loads(answer.read_text())["digests"])


if __name__ == "__main__":
    print(memory_of_a_range())
