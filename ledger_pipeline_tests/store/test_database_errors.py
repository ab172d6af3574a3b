"""A database that is away, not migrated, or from the future: said plainly, and whether a retry may help."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.errors import LedgerNotMigrated, StoreError, StoreUnavailable
from ledger_pipeline.core.pool import KPI_BONUS_V0, NewPoolComponent
from ledger_pipeline.store import migrations
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import (
    NODE_ID,
    PRODUCER,
    REPO,
    SCOPE_ID,
    checkpoint,
    cursor,
    instant,
    pull_request,
    receipt,
    save_checkpoint,
    skipped,
    window,
)
from ledger_pipeline_tests.store.settlement import ADA_USER, collected, reviewed

NOW = instant("2026-02-18")
VERBS: dict[str, Callable[[PostgresLedger], object]] = {
    "check_migrated": lambda ledger: ledger.check_migrated(),
    "ensure": lambda ledger: ledger.epochs.ensure(SCOPE_ID, [window()], {}),
    "epochs": lambda ledger: ledger.epochs.within(SCOPE_ID, window()),
    "append": lambda ledger: ledger.events.append(SCOPE_ID, [pull_request()], PRODUCER, NOW),
    "cursors": lambda ledger: ledger.scans.cursors(SCOPE_ID, "github"),
    "finish": lambda ledger: ledger.scans.finish(SCOPE_ID, [cursor("2026-02-17")], NOW, [receipt()]),
    "record_skipped": lambda ledger: ledger.scans.record_skipped(SCOPE_ID, [skipped()], NOW),
    "checkpoint": lambda ledger: ledger.scans.checkpoint(SCOPE_ID, "github", REPO),
    "save_checkpoint": lambda ledger: save_checkpoint(ledger, SCOPE_ID, checkpoint()),
    "receipts": lambda ledger: ledger.scans.receipts(SCOPE_ID, "github", [window()]),
    "events": lambda ledger: list(ledger.events.within(SCOPE_ID, window())),
    "digests": lambda ledger: ledger.events.digests(SCOPE_ID, [window()]),
    "rejected": lambda ledger: ledger.events.rejected(SCOPE_ID, window()),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_when_the_database_is_away(verb: str) -> None:
    away = PostgresLedger(make_engine("postgresql://ledger:s3cret@127.0.0.1:1/books"), NODE_ID)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1/books: ") as raised:
        VERBS[verb](away)
    assert raised.value.retryable
    assert "s3cret" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("verb", VERBS)
def test_a_ledger_survives_a_restart_of_the_server(ledger: PostgresLedger, ledger_engine: Engine, verb: str) -> None:
    with ledger_engine.connect() as second_connection:
        VERBS["epochs"](ledger)
        second_connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid()"
            )
        )
    VERBS[verb](ledger)


def test_a_connection_lost_in_the_middle_is_worth_retrying(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    ledger.events.append(SCOPE_ID, [pull_request(n) for n in range(3000)], PRODUCER, NOW)
    rows = ledger.events.within(SCOPE_ID, window())
    next(rows)
    with ledger_engine.connect() as second_connection:
        second_connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid()"
            )
        )
    with pytest.raises(StoreUnavailable):
        list(rows)


def test_a_database_without_a_ledger_is_not_migrated(empty_database_url: str) -> None:
    engine = make_engine(empty_database_url)
    with pytest.raises(LedgerNotMigrated) as raised:
        PostgresLedger(engine, NODE_ID).check_migrated()
    assert "is at migration none" in str(raised.value)
    assert f"needs {migrations.head()}" in str(raised.value)
    assert "`ledger-pipeline db upgrade`" in str(raised.value)
    with pytest.raises(StoreError, match="epochs"):
        PostgresLedger(engine, NODE_ID).epochs.within(SCOPE_ID, window())
    engine.dispose()


@pytest.mark.parametrize(
    ("at", "advice"), [("0012", "run `ledger-pipeline db upgrade`"), ("9999", "install that release")]
)
def test_an_older_and_a_newer_database_are_told_apart(
    ledger: PostgresLedger, ledger_engine: Engine, ledger_url: str, at: str, advice: str
) -> None:
    ledger.check_migrated()
    with ledger_engine.begin() as connection:
        connection.execute(text("UPDATE ledger_migrations SET version_num = :at"), {"at": at})
    with pytest.raises(LedgerNotMigrated, match=f"migration {at}, this program needs {migrations.head()}.*{advice}"):
        ledger.check_migrated()
    if at == "9999":
        with pytest.raises(LedgerNotMigrated, match=advice):
            migrations.upgrade(ledger_url)


def test_a_text_that_is_too_long_is_refused_by_the_name_of_its_column(ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    with pytest.raises(StoreError, match=r"epoch_allocations\.override_reason is refused: the text is longer than the"):
        ledger.allocations.decide(books.epoch, ADA_USER, 1, "why " * 5000)
    inputs = NewPoolComponent(KPI_BONUS_V0, 1, {"x": "y" * 100_000}, "https://report")
    with pytest.raises(StoreError, match=r"epoch_pool_components\.inputs_json is refused: the JSON is too long"):
        ledger.pool.add(collected(ledger, of=window("2026-03-02")).epoch, inputs)
