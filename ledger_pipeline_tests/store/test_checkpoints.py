"""Checkpoints: one per source_scope, given back exactly, and gone once the scan is finished."""

from dataclasses import replace

from sqlalchemy import Engine

from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.scan_records import Checkpoint
from ledger_pipeline_tests.builders import OTHER_SCOPE_ID, REPO, SCOPE_ID, checkpoint, cursor, instant, save_checkpoint

NOW = instant("2026-02-18")
ODD = instant("2026-02-17T12:34:56.000001")


def found(ledger: PostgresLedger, source_scope: str = REPO) -> Checkpoint | None:
    return ledger.scans.checkpoint(SCOPE_ID, "github", source_scope)


def test_a_checkpoint_comes_back_exactly(ledger: PostgresLedger) -> None:
    assert found(ledger) is None
    saved = checkpoint(
        ODD,
        position={"after": "Y3Vy\\'c29y🎉", "done": ["reviews"], "more": {"b": None, "a": 2**70, "yes": True}},
        pages=41,
        saved_at=instant("2026-02-17T12:35:00.100000"),
    )
    save_checkpoint(ledger, SCOPE_ID, saved)
    assert found(ledger) == saved


def test_the_last_one_saved_is_the_one_found(ledger: PostgresLedger) -> None:
    save_checkpoint(ledger, SCOPE_ID, checkpoint("2026-02-17", pages=7))
    latest = checkpoint("2026-02-16", position={"after": "x"}, pages=2, saved_at=ODD)
    save_checkpoint(ledger, SCOPE_ID, latest)
    assert found(ledger) == latest


def test_scopes_sources_and_nodes_have_checkpoints_of_their_own(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    neighbour = PostgresLedger(ledger_engine, OTHER_SCOPE_ID)
    save_checkpoint(ledger, SCOPE_ID, checkpoint())
    assert ledger.scans.checkpoint(OTHER_SCOPE_ID, "github", REPO) is None
    assert ledger.scans.checkpoint(SCOPE_ID, "gitlab", REPO) is None
    assert neighbour.scans.checkpoint(SCOPE_ID, "github", REPO) is None
    assert found(ledger) == checkpoint()


def test_a_finished_scan_forgets_where_its_source_scope_stood_and_no_other(ledger: PostgresLedger) -> None:
    elsewhere = checkpoint(source_scope="cogni-dao/other")
    of_gitlab = replace(checkpoint(), source="gitlab")
    for saved in (checkpoint(), elsewhere, of_gitlab):
        save_checkpoint(ledger, SCOPE_ID, saved)
    save_checkpoint(ledger, OTHER_SCOPE_ID, checkpoint())
    ledger.scans.finish(SCOPE_ID, [cursor("2026-02-17", stream=stream) for stream in GITHUB_STREAMS], NOW)
    assert found(ledger) is None
    assert found(ledger, elsewhere.source_scope) == elsewhere
    assert ledger.scans.checkpoint(SCOPE_ID, "gitlab", REPO) == of_gitlab
    assert ledger.scans.checkpoint(OTHER_SCOPE_ID, "github", REPO) == checkpoint()
