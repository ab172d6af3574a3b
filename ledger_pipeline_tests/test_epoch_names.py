"""How `--epoch`, `--from` and `--to` name epochs: by their first day, or by how long ago they were."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer

from ledger_pipeline.cli.options import windows_of
from ledger_pipeline.core.errors import WindowError
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import REPO, scope, window
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.store.settlement import collected

EPOCH = window("2026-02-16")


@pytest.mark.parametrize(("name", "epochs_ago"), [("running", 0), ("last", 1), ("last-1", 2), ("last-12", 13)])
@pytest.mark.parametrize("length_days", [1, 7, 28])
def test_an_epoch_is_named_by_how_long_ago_it_was(name: str, epochs_ago: int, length_days: int) -> None:
    days_ago = timedelta(epochs_ago * length_days)
    of = scope(length_days=length_days, first_epoch="2020-01-06")
    assert windows_of(of, name, None, None) == [of.calendar.window_at(datetime.now(UTC) - days_ago)]


def test_a_range_may_be_named_either_way_at_each_end() -> None:
    of = scope()
    last = windows_of(of, "last", None, None)[0]
    assert windows_of(of, None, "last-2", "last") == list(
        of.calendar.windows_between(windows_of(of, "last-2", None, None)[0], last)
    )
    assert windows_of(of, None, "2026-01-05", "last")[0] == window("2026-01-05")
    assert windows_of(of, None, "2026-01-05", "last")[-1] == last


@pytest.mark.parametrize("name", ["last-0", "last-01", "last-1000", "last+1", "Last", "running-1", "", "last-"])
def test_another_name_is_refused_and_the_right_ones_are_named(name: str) -> None:
    with pytest.raises(
        typer.BadParameter, match=r"give the epoch's first day, as 2026-02-16; or running, last, last-1"
    ):
        windows_of(scope(), name, None, None)


def test_an_epoch_too_long_ago_is_named_by_its_first_day() -> None:
    of = scope(length_days=84)
    with pytest.raises(WindowError, match=r"^epoch 1[0-9]{3}-[0-9]{2}-[0-9]{2} precedes the first epoch"):
        windows_of(of, "last-999", None, None)


def test_what_is_printed_names_the_epoch_by_its_first_day(
    command: Command, ledger: PostgresLedger, ledger_url: str, tmp_path: Path
) -> None:
    collected(ledger).materialize()
    weeks_ago = (datetime.now(UTC) - EPOCH.end) // timedelta(7)
    environment = {"DATABASE_URL": ledger_url, "LEDGER_REPO_SPEC": str(write_repo_spec(tmp_path, REPO))}
    ran = command("allocations", "list", "--epoch", f"last-{weeks_ago}", **environment)
    assert "users in epoch 2026-02-16" in ran.out
    ran = command("pool", "list", "--epoch", f"last-{weeks_ago + 1}", **environment)
    assert "epoch 2026-02-09 of default is not in the ledger" in ran.err
