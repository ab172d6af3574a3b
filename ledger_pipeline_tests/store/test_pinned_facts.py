"""Facts that an epoch closes with: their hash is the database's own, and there is one only where a policy decides."""

from typing import Any

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.core.facts import Observation, PullRequestFacts, ReviewFacts, facts_hash, facts_set_hash
from ledger_pipeline.policies import installed_policy
from ledger_pipeline.store import migrations
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline_tests.builders import PRODUCER, SCOPE_ID, instant, pull_request, review
from ledger_pipeline_tests.store.settlement import Books, collected

INTO_MAIN, OF_REVIEW = PullRequestFacts(base_branch="main", labels=("ä", "b")), ReviewFacts(base_branch="main")
EVENTS = {pull_request(2).id: INTO_MAIN, review(1).id: OF_REVIEW, pull_request(10).id: PullRequestFacts()}


def open_books(ledger: PostgresLedger, **options: Any) -> Books:
    """An open epoch with facts of its events, whose scope names a policy."""
    options.setdefault("selection", installed_policy("fair-v1").choice({}, ()))
    books = collected(ledger, pull_request(2), review(1), pull_request(10)).with_scope(**options)
    observations = [Observation(event_id, facts) for event_id, facts in EVENTS.items()]
    ledger.facts.record(SCOPE_ID, observations, instant("2026-02-24"), PRODUCER)
    return books


def test_an_epoch_closes_with_the_hash_of_its_facts(ledger: PostgresLedger) -> None:
    books = open_books(ledger)
    assert books.epoch.facts_set_hash is None
    books.close()
    expected = facts_set_hash([(event_id, facts_hash(facts)) for event_id, facts in EVENTS.items()])
    assert books.epoch.facts_set_hash == ledger.facts.pinned_set_hash(books.epoch.id) == expected
    late = Observation(pull_request(2).id, PullRequestFacts(base_branch="next"))
    assert ledger.facts.record(SCOPE_ID, [late], instant("2026-02-25"), PRODUCER)
    assert books.epoch.facts_set_hash == ledger.facts.pinned_set_hash(books.epoch.id) == expected


def test_an_epoch_without_facts_closes_with_the_hash_of_none(ledger: PostgresLedger) -> None:
    books = collected(ledger, pull_request()).with_scope(selection=installed_policy("fair-v1").choice({}, ()))
    books.close()
    assert books.epoch.facts_set_hash == facts_set_hash([])


def test_where_no_policy_decides_no_facts_are_pinned(ledger: PostgresLedger) -> None:
    books = open_books(ledger, selection=None)
    books.close()
    assert books.epoch.status is EpochStatus.REVIEW
    assert books.epoch.facts_set_hash is None


def test_nobody_sets_the_hash_but_the_database(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = open_books(ledger)
    write = text("UPDATE epochs SET facts_set_hash = 'mine'")
    with ledger_engine.begin() as connection:
        connection.execute(write)
    assert books.epoch.facts_set_hash is None
    books.close()
    pinned = books.epoch.facts_set_hash
    with ledger_engine.begin() as connection:
        connection.execute(write)
    assert books.epoch.facts_set_hash == pinned != "mine"


def test_an_epoch_is_not_closed_with_facts_that_do_not_have_their_hash(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = open_books(ledger)
    with ledger_engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO event_facts
                    (node_id, scope_id, event_id, facts_hash, facts, observed_at, producer, producer_version)
                SELECT node_id, scope_id, event_id, facts_hash, '{"eventType": "review_submitted"}', observed_at,
                    producer, producer_version FROM event_facts WHERE event_id = :event_id
            """),
            {"event_id": review(1).id},
        )
    with pytest.raises(StoreError, match=f"the facts of {review(1).id} do not have the hash"):
        books.close()
    assert books.epoch.status is EpochStatus.OPEN


def test_an_epoch_that_is_opened_again_closes_with_the_facts_of_its_new_closing(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = open_books(ledger)
    books.close()
    before = books.epoch.facts_set_hash
    with ledger_engine.begin() as connection:
        connection.execute(
            text("INSERT INTO reopenings (node_id, epoch_id, reason) SELECT node_id, id, 'read again' FROM epochs")
        )
        assert connection.scalar(text("SELECT pinned ->> 'facts_set_hash' FROM reopenings")) == before
    assert books.epoch.facts_set_hash is None
    late = Observation(pull_request(2).id, PullRequestFacts(base_branch="next"))
    ledger.facts.record(SCOPE_ID, [late], instant("2026-02-25"), PRODUCER)
    books.close()
    assert books.epoch.facts_set_hash == ledger.facts.pinned_set_hash(books.epoch.id) != before


def test_epochs_that_closed_before_have_no_hash_and_get_none(
    ledger: PostgresLedger, ledger_engine: Engine, ledger_url: str
) -> None:
    books = open_books(ledger)
    books.close()
    migrations.downgrade(ledger_url, "0070")
    migrations.upgrade(ledger_url)
    with ledger_engine.begin() as connection:
        connection.execute(text("UPDATE epochs SET status = 'review'"))
    assert books.epoch.facts_set_hash is None


def test_the_writer_may_not_set_it(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    with ledger_engine.begin() as connection:
        may = connection.scalar(
            text("SELECT has_column_privilege('ledger_writer', 'epochs', 'facts_set_hash', 'UPDATE')")
        )
    assert may is False
