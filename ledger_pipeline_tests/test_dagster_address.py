"""Commands know the Dagster of their own state, and no other that happens to answer."""

from pathlib import Path
from typing import Any

import pytest

from ledger_pipeline.local.dagster_address import announced, announced_dagster
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.temporal_bridge.collection import dagster_client
from ledger_pipeline_tests.builders import REPO
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.store.settlement import ADA_USER, APPROVERS, POOL, reviewed

URL = "http://127.0.0.1:3999"


def test_it_is_known_while_it_runs_and_not_after_it_was_killed(tmp_path: Path) -> None:
    assert announced_dagster(tmp_path) is None
    with announced(tmp_path, URL):
        assert [announced_dagster(tmp_path) for _ in range(2)] == [URL, URL]
    assert announced_dagster(tmp_path) is None
    (tmp_path / "dagster-address").write_text(URL)
    assert announced_dagster(tmp_path) is None
    with announced(tmp_path, URL):
        assert announced_dagster(tmp_path) == URL


def test_a_command_tells_the_dagster_of_its_state_or_the_one_that_is_named_and_no_other(
    command: Command, ledger: PostgresLedger, ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Heard:
        def __init__(self, settings: Any) -> None:
            self.url = settings.dagster_url

        def check(self, _: object, ledger_id: str) -> None:
            assert ledger_id == ledger.ledger_id
            asked.append(self.url)

        def report(self, asset: tuple[str, ...], *_: object) -> None:
            assets.append(asset)

    asked: list[str] = []
    assets: list[tuple[str, ...]] = []
    monkeypatch.setattr(dagster_client, "dagster_client", Heard)
    reviewed(ledger)
    spec = write_repo_spec(tmp_path, REPO, approvers=APPROVERS, base_issuance_credits=POOL)
    home = tmp_path / "home"
    given = {"DATABASE_URL": ledger_url, "LEDGER_REPO_SPEC": str(spec), "LEDGER_HOME": str(home)}

    def decide(units_milli: int, **variables: str) -> None:
        numbers = ("--units-milli", str(units_milli), "--reason", "ran the release")
        of_user = ("--epoch", "2026-02-16", "--user", ADA_USER)
        ran = command("allocations", "set", *of_user, *numbers, **given, **variables)
        assert ran.code == 0, ran.err

    decide(1)
    assert asked == []
    with announced(home, URL):
        decide(2)
        assert asked == [URL]
        decide(3, DAGSTER_URL="http://dagster.example:3000")
    assert asked == [URL, "http://dagster.example:3000"]
    # In the order in which they follow from each other: what is shown before what it follows from would be outdated.
    assert assets[:4] == [("activity_curation",), ("epoch_allocations",), ("pool_components",), ("epoch",)]
