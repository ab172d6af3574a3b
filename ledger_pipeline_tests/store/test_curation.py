"""Curation: a row per event of the window, users filled in where missing, and what a person said left alone."""

from typing import Any

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.allocations import CuratedEvents
from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.core.events import Actor
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline.store.settlement_records import CurationSummary, Judgement, NewBinding, Resolution
from ledger_pipeline_tests.builders import ADA, GRACE, NODE_ID, OTHER_SCOPE_ID, issue, pull_request, review, weeks
from ledger_pipeline_tests.store.settlement import ADA_USER, GRACE_USER, Books, bound, collected, finalized, refused

LIN = Actor(user_id=5550001, login="lin")
LAST_WEEK, THIS_WEEK = weeks(2, "2026-02-09")


def curate(books: Books) -> Resolution:
    return books.ledger.curation.resolve_identities(books.epoch, GITHUB)


def curation(books: Books) -> dict[str, dict[str, Any]]:
    """The epoch's rows by event id, without the id."""
    rows = [dict(row) for row in books.ledger.statements.rows(books.epoch).curation]
    assert not any(row.pop("follows_policy") for row in rows)
    return {row.pop("event_id"): row for row in rows}


def test_every_event_of_the_window_has_a_row_its_start_in_and_its_end_out(ledger: PostgresLedger) -> None:
    of_scope = [
        pull_request(1, at="2026-02-15T23:59:59Z"),
        pull_request(2, at="2026-02-16T00:00:00Z"),
        review(3, at="2026-02-22T23:59:59Z"),
        pull_request(4, at="2026-02-23T00:00:00Z"),
    ]
    books = collected(ledger, *of_scope, issue(6, author=LIN), of=THIS_WEEK)
    second_books = collected(
        ledger, pull_request(5), issue(6), of=THIS_WEEK, scope_id=OTHER_SCOPE_ID, scope_key="other"
    )
    before = collected(ledger, *of_scope, of=LAST_WEEK)

    assert curate(books) == Resolution(added=3, resolved=0)
    as_made = {"included": True, "weight_override_milli": None, "note": None}
    assert curation(books) == {
        pull_request(2).id: {"user_id": ADA_USER, **as_made},
        review(3).id: {"user_id": GRACE_USER, **as_made},
        issue(6).id: {"user_id": None, **as_made},
    }
    assert (curation(second_books), curation(before)) == ({}, {})
    assert books.ledger.curation.resolve_identities(books.epoch, "forgejo") == Resolution(0, 0)
    assert curate(second_books) == Resolution(2, 0)
    assert ledger.curation.weighed_events(second_books.epoch) != ledger.curation.weighed_events(books.epoch)


def test_materializing_again_adds_what_is_new_and_leaves_what_a_person_set(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = collected(ledger, pull_request(1), pull_request(2, author=LIN), review(1))
    curate(books)
    judge = ledger.curation.judge
    assert judge(books.epoch, pull_request(1).id, Judgement("a revert", included=False))
    assert judge(books.epoch, pull_request(2).id, Judgement("half of it", included=False, weight_override_milli=500))
    assert judge(books.epoch, review(1).id, Judgement("twice as much", weight_override_milli=1000))
    assert judge(books.epoch, review(1).id, Judgement("no, as ever", clear_weight=True))
    assert not judge(books.epoch, pull_request(99).id, Judgement("there is none"))
    before = curation(books)
    updated = "SELECT max(updated_at) FROM activity_curation"

    books.append(issue(1)).bind({LIN.user_id: "lin"})
    assert curate(books) == Resolution(added=1, resolved=1)
    assert curation(books) == {
        **before,
        pull_request(2).id: {**before[pull_request(2).id], "user_id": "lin"},
        issue(1).id: {"user_id": ADA_USER, "included": True, "weight_override_milli": None, "note": None},
    }
    assert curation(books)[pull_request(2).id] == {
        "user_id": "lin",
        "included": False,
        "weight_override_milli": 500,
        "note": "half of it",
    }
    assert curation(books)[review(1).id]["weight_override_milli"] is None
    with ledger_engine.connect() as connection:
        last = connection.scalar(text(updated))
        assert curate(books) == Resolution(0, 0)
        assert connection.scalar(text(updated)) == last
    assert ledger.curation.summary(books.epoch) == CurationSummary(
        events=4, unresolved=0, excluded=2, overridden=1, users=3
    )


def test_a_user_that_is_there_is_replaced_by_a_move_and_by_nothing_else(ledger: PostgresLedger) -> None:
    books = collected(ledger, pull_request(1), review(1), users={ADA.user_id: "ada"})
    curate(books)
    ledger.identities.move(NewBinding(GITHUB, str(ADA.user_id), "countess"))
    ledger.identities.bind(bound({GRACE.user_id: "grace"}))
    assert curate(books) == Resolution(added=0, resolved=1)
    assert {event: row["user_id"] for event, row in curation(books).items()} == {
        pull_request(1).id: "countess",
        review(1).id: "grace",
    }


def test_once_finalized_nothing_of_it_changes_whoever_asks(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    earlier = collected(ledger, of=LAST_WEEK)
    before, epoch = curation(books), books.epoch
    assert epoch.status is EpochStatus.FINALIZED
    for change in (
        lambda: ledger.curation.judge(epoch, pull_request(1).id, Judgement("too late", included=False)),
        lambda: ledger.curation.resolve_identities(epoch, GITHUB),
    ):
        with pytest.raises(StoreError, match=f"activity_curation refused: epoch {epoch.id} is finalized"):
            change()
    for statement in (
        "UPDATE activity_curation SET user_id = 'thief'",
        "UPDATE activity_curation SET epoch_id = :other",
        "DELETE FROM activity_curation",
        "INSERT INTO activity_curation (node_id, epoch_id, event_id) SELECT node_id, :epoch, id FROM activity_events",
        "TRUNCATE activity_curation",
    ):
        message = refused(ledger_engine, statement, epoch=epoch.id, other=earlier.epoch.id)
        assert f"{statement.split()[0]} of activity_curation refused" in message
    assert curation(books) == before
    # The asset may run again: it leaves the curation of a finalized epoch alone, and shows it.
    assert [allocation.user_id for allocation in books.materialize()] == [ADA_USER, GRACE_USER]


def test_an_epoch_curates_no_event_but_its_own(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    week_before, next_week = pull_request(7, at="2026-02-15T23:59:59Z"), pull_request(8, at="2026-02-23T00:00:00Z")
    books = collected(ledger, *(pull_request(n) for n in range(1, 4)), week_before, next_week)
    collected(ledger, issue(9), scope_id=OTHER_SCOPE_ID, scope_key="other")
    strays = [week_before.id, next_week.id, issue(9).id, "made up"]
    insert = """
        INSERT INTO activity_curation (node_id, epoch_id, event_id)
        SELECT node_id, id, unnest(CAST(:events AS text[])) FROM epochs WHERE id = :epoch
    """
    for stray in strays:
        mixed = [pull_request(1).id, stray, pull_request(2).id]
        message = refused(ledger_engine, insert, events=mixed, epoch=books.epoch.id)
        assert message == f"INSERT of activity_curation refused: {stray} is no event of epoch {books.epoch.id}"
    assert curation(books) == {}
    curate(books)
    move = "UPDATE activity_curation SET event_id = :stray WHERE event_id = :own"
    for stray in strays:
        message = refused(ledger_engine, move, stray=stray, own=pull_request(1).id)
        assert message == f"UPDATE of activity_curation refused: {stray} is no event of epoch {books.epoch.id}"


def test_events_are_weighed_by_claimant_kind_and_override(ledger: PostgresLedger) -> None:
    two_accounts = {ADA.user_id: "ada", LIN.user_id: "ada", GRACE.user_id: "grace"}
    stranger = Actor(77, "stranger")
    books = collected(
        ledger,
        *(pull_request(1), pull_request(2), pull_request(3, author=LIN), pull_request(4, author=LIN)),
        *(pull_request(5), review(1), review(2), issue(1, author=stranger)),
        users=two_accounts,
    )
    curate(books)
    for event, judgement in (
        (pull_request(2), Judgement("large", weight_override_milli=5)),
        (pull_request(3), Judgement("as large", weight_override_milli=5)),
        (pull_request(5), Judgement("ours to exclude", included=False)),
        (review(2), Judgement("nothing to it", weight_override_milli=0)),
    ):
        assert ledger.curation.judge(books.epoch, event.id, judgement)
    weighed = ledger.curation.weighed_events(books.epoch)
    assert sorted(weighed, key=repr) == sorted(
        [
            CuratedEvents("ada", "github:pr_merged", None, 2),
            CuratedEvents("ada", "github:pr_merged", 5, 2),
            CuratedEvents("grace", "github:review_submitted", None, 1),
            CuratedEvents("grace", "github:review_submitted", 0, 1),
            CuratedEvents("identity:github:77", "github:issue_closed", None, 1),
        ],
        key=repr,
    )


def test_many_events_are_curated_in_the_time_of_a_few_each(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = collected(ledger)
    # Nobody has told the planner yet how many there are, as after a first collection.
    with ledger_engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO activity_events (id, source_object_id, node_id, scope_id, source, event_type,
                    platform_user_id, platform_login, artifact_url, metadata, payload_hash, producer, producer_version,
                    event_time, retrieved_at)
                SELECT 'event ' || number, 9000000 + number, node_id, scope_id, source, event_type, platform_user_id,
                    platform_login, artifact_url, metadata, payload_hash, producer, producer_version, event_time,
                    retrieved_at
                FROM (SELECT * FROM activity_events LIMIT 1) AS event, generate_series(1, 12000) AS number
            """)
        )
    url = ledger_engine.url.render_as_string(hide_password=False)
    limited = make_engine(url, limits=DatabaseLimits(statement_seconds=5))
    curated = PostgresLedger(limited, NODE_ID).curation.resolve_identities(books.epoch, GITHUB)
    assert curated.added == 12_003
    limited.dispose()
