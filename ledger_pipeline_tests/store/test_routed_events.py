"""The rows of what a scope has of claimed events: written with a closing alone, and as many as there are."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from ledger_pipeline.core.events import ActivityEvent
from ledger_pipeline.core.facts import PullRequestFacts, facts_json, facts_text
from ledger_pipeline.core.hashing import sha256_hex
from ledger_pipeline.core.routing import Claim, ClaimedRepository, Routing
from ledger_pipeline.policies import installed_policy
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.verification.archive import read_archive, write_archive
from ledger_pipeline.verification.examined import ExaminedEpoch
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.limits import ArchiveLimits
from ledger_pipeline.verification.routing_laws import routing_differences
from ledger_pipeline.verification.selection_laws import facts_differences, selection_differences
from ledger_pipeline_tests.builders import NODE_ID, PRODUCER, REPO, SCOPE_ID, pull_request
from ledger_pipeline_tests.store.settlement import Books, collected, refused, rows_of

LONGEST_SPEC_BYTES = 1_000_000
CLAIMED = ClaimedRepository(REPO, (Claim("docs", labels=("documentation",)),), "default")
SELECTION = replace(installed_policy("include-all-v0").choice({}, ()), routing=Routing("default", (CLAIMED,)))
# 50,000 do as well, and take a test 40 s.
MANY = 20_000
# The rows are made at once; triggers are about who writes, and what they refuse has tests of its own.
EVENT_ROWS = text("""
    INSERT INTO activity_events (node_id, scope_id, id, source, event_type, platform_user_id, platform_login,
        artifact_url, metadata, payload_hash, source_object_id, producer, producer_version, event_time, retrieved_at)
    SELECT :node_id, :scope_id, row.id, 'github', 'pr_merged', row.platform_user_id, row.platform_login,
        row.artifact_url, row.metadata, row.payload_hash, row.source_object_id, :producer, :version, row.event_time,
        row.event_time
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS row (id text, platform_user_id text, platform_login text,
        artifact_url text, metadata jsonb, payload_hash text, source_object_id text, event_time timestamptz)
""")
FACTS_ROWS = text("""
    INSERT INTO event_facts (node_id, scope_id, event_id, facts_hash, facts, observed_at, producer, producer_version)
    SELECT node_id, scope_id, id, :facts_hash, CAST(:facts AS jsonb), event_time, producer, producer_version
    FROM activity_events WHERE right(id, 1) = '7'
""")


def closed(ledger: PostgresLedger) -> Books:
    books = collected(ledger).with_scope(selection=SELECTION)
    books.materialize()
    return books.close()


def append_at_once(engine: Engine, events: Sequence[ActivityEvent]) -> None:
    columns = ("id", "platform_user_id", "platform_login", "artifact_url", "metadata", "payload_hash")
    rows = [
        {
            **{name: getattr(event, name) for name in columns},
            "source_object_id": event.source_object_id,
            "event_time": event.event_time.isoformat(),
        }
        for event in events
    ]
    labelled = PullRequestFacts(labels=("documentation",))
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        of_all = {"node_id": NODE_ID, "scope_id": SCOPE_ID, "producer": PRODUCER.name, "version": PRODUCER.version}
        connection.execute(EVENT_ROWS, {**of_all, "rows": json.dumps(rows)})
        connection.execute(FACTS_ROWS, {"facts": facts_text(labelled), "facts_hash": sha256_hex(facts_json(labelled))})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE activity_events, event_facts"))


def test_an_epoch_of_more_claimed_events_than_a_spec_has_room_for_closes_and_its_archive_verifies(
    ledger: PostgresLedger, ledger_engine: Engine, tmp_path: Path
) -> None:
    books = collected(ledger, pull_request(1)).with_scope(selection=SELECTION)
    append_at_once(ledger_engine, [pull_request(number) for number in range(2, MANY + 1)])
    books.close()
    assert rows_of(ledger_engine, "routed_events") == {"routed_events": MANY}
    assert books.epoch.pins is not None
    assert len(json.dumps(dict(books.epoch.pins.pinned_spec))) < 10_000
    as_before = {
        event_id: [share.milli, share.reason] for event_id, share in ledger.selection.shares(books.epoch).items()
    }
    assert len(json.dumps(as_before)) > LONGEST_SPEC_BYTES
    written = write_archive(facts_of(ledger.statements.rows(books.epoch)), tmp_path / "epoch.zip")
    read = read_archive(tmp_path / "epoch.zip", ArchiveLimits(written.megabytes))
    assert read.damages == ()
    for differences in (facts_differences, routing_differences, selection_differences):
        assert list(differences(ExaminedEpoch(read.facts))) == []
    of_docs = [row for row in read.facts.routing if row.reason == "other_scope:docs"]
    assert (len(read.facts.routing), len(of_docs)) == (MANY, MANY // 10)


def test_parts_are_written_with_the_closing_alone(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = closed(ledger)
    again = "INSERT INTO routed_events SELECT node_id, epoch_id, {}, event_id, 1000, 'rest', '{{}}' FROM routed_events"
    for closed_at in ("now()", "closed_at + interval '1 second'"):
        message = refused(ledger_engine, again.format(closed_at))
        assert message == f"INSERT into routed_events refused: epoch {books.epoch.id} is not being closed"
    for change in ("UPDATE routed_events SET share_milli = 0", "DELETE FROM routed_events", "TRUNCATE routed_events"):
        assert refused(ledger_engine, change).startswith(f"{change.split()[0]} of routed_events refused")


@pytest.mark.parametrize(
    ("event", "routed_by", "says"),
    [
        ("'no such'", "{}", '"no such" is no event of epoch'),
        ("activity_events.id", '{"labels": "x"}', "routed by more than lists of labels, paths and names"),
        ("activity_events.id", '{"paths": [1]}', "routed by more than lists of labels, paths and names"),
        ("activity_events.id", '{"reviewers": []}', "routed by more than lists of labels, paths and names"),
    ],
)
def test_whoever_closes_an_epoch_writes_of_its_events_and_nothing_else(
    ledger: PostgresLedger, ledger_engine: Engine, event: str, routed_by: str, says: str
) -> None:
    collected(ledger)
    insert = f"""
        INSERT INTO routed_events (node_id, epoch_id, event_id, share_milli, reason, routed_by)
        SELECT epochs.node_id, epochs.id, {event}, 1000, 'rest', '{routed_by}' FROM epochs, activity_events LIMIT 1
    """
    with ledger_engine.begin() as connection:
        closing = connection.begin_nested()
        connection.execute(text("UPDATE epochs SET status = 'review', closed_at = now()"))
        with pytest.raises(DBAPIError, match=says):
            connection.exec_driver_sql(insert)
        closing.rollback()
    assert rows_of(ledger_engine, "routed_events") == {"routed_events": 0}


def test_an_epoch_that_is_opened_again_closes_with_parts_of_its_own(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = closed(ledger)
    before = ledger.selection.shares(books.epoch)
    with ledger_engine.begin() as connection:
        connection.execute(
            text("INSERT INTO reopenings (node_id, epoch_id, reason) SELECT node_id, id, 'read again' FROM epochs")
        )
    assert ledger.selection.shares(books.epoch) == {}
    books.append(pull_request(9))
    books.close()
    assert ledger.selection.shares(books.epoch).keys() == {*before, pull_request(9).id}
    assert rows_of(ledger_engine, "routed_events") == {"routed_events": 2 * len(before) + 1}
