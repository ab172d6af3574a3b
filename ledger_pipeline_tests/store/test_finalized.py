"""What the web server's login sees: finalized epochs as they are, and of all others no row."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.core.facts import Observation, PullRequestFacts
from ledger_pipeline.store import settlement_schema
from ledger_pipeline.store.engine import FINALIZED_ALONE, make_engine
from ledger_pipeline.store.epochs import EVER
from ledger_pipeline.store.migrations import VERSION_TABLE
from ledger_pipeline.store.postgres import PostgresLedger, open_finalized
from ledger_pipeline.store.roles import READER, WEB, ensure_logins
from ledger_pipeline_tests.builders import NODE_ID, PRODUCER, SCOPE_ID, pull_request, weeks, window
from ledger_pipeline_tests.store.settlement import ADA_USER, Books, collected, events_of, refused, reviewed
from ledger_pipeline_tests.store.test_roles import url_of

IN_REVIEW, OPEN = weeks(2, "2026-02-23")


@pytest.fixture
def books(ledger: PostgresLedger) -> Books:
    """An epoch that is finalized and amended, an event of which has facts."""
    books = collected(ledger)
    observed = Observation(events_of(window())[0].id, PullRequestFacts())
    ledger.facts.record(SCOPE_ID, [observed], window().start, PRODUCER)
    books.materialize()
    books.close()
    books.finalize(books.signature())
    books.amend(ADA_USER, 1500)
    return books


@pytest.fixture
def web(books: Books, ledger_url: str) -> Iterator[Engine]:
    url = url_of(ledger_url, "finalized_web", "web's own")
    ensure_logins(ledger_url, {WEB: url})
    engine = make_engine(url, session=FINALIZED_ALONE)
    yield engine
    engine.dispose()


def views(web: Engine) -> list[str]:
    with web.connect() as connection:
        return sorted(connection.scalars(text("SELECT viewname FROM pg_views WHERE schemaname = 'finalized'")))


def everything(web: Engine) -> dict[str, list[str]]:
    """Every row that the login reads, in JSON."""
    with web.connect() as connection:
        return {
            view: sorted(connection.scalars(text(f"SELECT to_jsonb(stored)::text FROM {view} AS stored")))
            for view in views(web)
        }


def test_what_is_open_or_in_review_adds_no_row(books: Books, web: Engine) -> None:
    before = everything(web)
    assert {view for view, rows in before.items() if not rows} == {
        "activity_co_authors", "activity_selection", "event_overrides", "left_out_items", "reopenings",
        "routed_events", "set_asides", "statement_inputs_signatures"
    }  # fmt: skip
    books.correct(ADA_USER, 1200, "counted once more")
    reviewed(books.ledger, of=IN_REVIEW).draft()
    running = Books(books.ledger, of=OPEN).append(*events_of(OPEN))
    running.materialize()
    books.ledger.facts.record(SCOPE_ID, [Observation(events_of(OPEN)[0].id, PullRequestFacts())], OPEN.start, PRODUCER)
    assert len(books.ledger.epochs.within(SCOPE_ID, EVER)) == 3
    assert everything(web) == before


def test_the_ledger_reads_a_finalized_epoch_as_its_owner_does(books: Books, web: Engine) -> None:
    shown = PostgresLedger(web, NODE_ID)
    shown.check_migrated()
    assert shown.epochs.within(SCOPE_ID, EVER) == [books.epoch]
    assert shown.statements.history(books.epoch) == books.ledger.statements.history(books.epoch)
    assert shown.statements.rows(books.epoch) == books.ledger.statements.rows(books.epoch)
    assert shown.curation.weighed_events(books.epoch) == books.ledger.curation.weighed_events(books.epoch)


def test_of_the_tables_themselves_nothing_can_be_read_or_written(web: Engine) -> None:
    for name in (*settlement_schema.metadata.tables, VERSION_TABLE):
        assert refused(web, f"SELECT * FROM public.{name}") == f"permission denied for table {name}"
    for view in views(web):
        assert refused(web, f"DELETE FROM {view}").startswith(("permission denied for view ", "cannot delete from "))
    for name in ("user_bindings", "account_links", "rejected_events", "source_cursors", "signing_requests"):
        assert refused(web, f"SELECT * FROM {name}") == f"permission denied for table {name}"


def test_every_view_has_every_column_of_its_table(ledger_engine: Engine) -> None:
    """A migration that adds a column adds it to the view, at its end: else pages fail on what commands can do."""
    columns = text("""
        SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = :schema AND table_name IN (SELECT viewname FROM pg_views WHERE schemaname = 'finalized')
    """)
    with ledger_engine.connect() as connection:
        of_views, of_tables = (
            {tuple(row) for row in connection.execute(columns, {"schema": schema})}
            for schema in ("finalized", "public")
        )
    assert of_views == of_tables


def test_an_event_at_an_epochs_end_belongs_to_the_next(ledger: PostgresLedger, web: Engine) -> None:
    [last, first] = [window().end - timedelta(microseconds=1), window().end]
    books = Books(ledger, of=weeks(2, window().key)[1])
    assert books.epoch
    books.append(pull_request(77, at=first.isoformat().replace("+00:00", "Z")))
    with web.connect() as connection:
        newest = connection.scalar(text("SELECT max(event_time) FROM activity_events"))
    assert newest is not None
    assert newest <= last


def test_who_is_no_member_is_let_in_by_nobody(ledger_url: str, ledger: PostgresLedger) -> None:
    url = url_of(ledger_url, "finalized_reader")
    ensure_logins(ledger_url, {READER: url})
    with pytest.raises(StoreError, match='permission denied to set role "ledger_web"'), open_finalized(url, NODE_ID):
        pass
