"""The database takes the events of the sources that the registry has, and none that nobody could recompute."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.core.events import ActivityEvent, activity_event
from ledger_pipeline.core.sources import registered, streams_by_name
from ledger_pipeline.store import migrations
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import AppendOutcome
from ledger_pipeline.store.roles import WRITER, ensure_logins
from ledger_pipeline_tests.builders import NODE_ID, NOON, PRODUCER, SCOPE_ID, instant, issue, pull_request, review
from ledger_pipeline_tests.sources.chat import CHAT
from ledger_pipeline_tests.store.test_roles import urls

NOW = instant("2026-02-24")


def message(number: int, *, event_id: str = "") -> ActivityEvent:
    return activity_event(
        event_id=event_id or f"chat:message:general:{number}",
        event_type="message_sent",
        source_scope="general",
        user_id="ada",
        login="ada",
        object_id=f"general {number}",
        url="https://chat.example/general/1",
        metadata={"sentAt": NOON},
    )


@pytest.fixture
def writer(ledger_url: str) -> Iterator[Engine]:
    """The pipeline's login, which owns nothing."""
    ensure_logins(ledger_url, urls(ledger_url))
    engine = make_engine(urls(ledger_url)[WRITER])
    yield engine
    engine.dispose()


def test_a_source_is_known_to_the_database_from_the_next_upgrade_on_until_it_is_gone(
    writer: Engine, ledger_url: str
) -> None:
    ledger = PostgresLedger(writer, NODE_ID)
    with registered(CHAT):
        with pytest.raises(StoreError, match="no message_sent of source chat is known, as event chat:message"):
            ledger.events.append(SCOPE_ID, [message(1)], PRODUCER, NOW)
        migrations.upgrade(ledger_url)
        events = [message(1), pull_request(1), review(1), issue(2)]
        assert set(ledger.events.append(SCOPE_ID, events, PRODUCER, NOW).values()) == {AppendOutcome.NEW}
    migrations.upgrade(ledger_url)
    with registered(CHAT), pytest.raises(StoreError, match="no message_sent of source chat is known"):
        ledger.events.append(SCOPE_ID, [message(2)], PRODUCER, NOW)


def test_an_event_of_a_further_source_that_nobody_can_recompute_is_refused(writer: Engine, ledger_url: str) -> None:
    ledger = PostgresLedger(writer, NODE_ID)
    with registered(CHAT):
        migrations.upgrade(ledger_url)
        honest = message(1)
        for name, forged in {
            "hash": replace(honest, payload_hash="0" * 64),
            "time": replace(honest, event_time=honest.event_time + timedelta(hours=1)),
            "author": replace(honest, platform_user_id="eve"),
            "id": message(1, event_id="chat:note:general:1"),
            "type of another source": replace(honest, event_type="pr_merged"),
        }.items():
            with pytest.raises(StoreError, match="INSERT into activity_events refused"):
                pytest.fail(f"{name}: {ledger.events.append(SCOPE_ID, [forged], PRODUCER, NOW)}")
        assert ledger.events.append(SCOPE_ID, [honest], PRODUCER, NOW) == {honest.id: AppendOutcome.NEW}


@pytest.mark.parametrize("event", [pull_request(7), review(7), issue(7)], ids=lambda event: event.stream)
def test_the_ids_that_an_entry_describes_are_those_that_the_source_makes(event: ActivityEvent) -> None:
    pattern = re.compile(streams_by_name()[event.stream].event_id)
    assert pattern.search(event.id)
    assert not pattern.search(f"{event.id}:x")
    assert not pattern.search(event.id.replace("cogni-dao/", "cogni-dao:"))
