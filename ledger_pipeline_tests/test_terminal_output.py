"""What commands print: nothing from outside acts on the terminal, and different values read differently."""

import csv
import io
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from ledger_pipeline.cli import output, scan_progress
from ledger_pipeline.core.plain_text import plain_text
from ledger_pipeline.core.reasons import is_reason
from ledger_pipeline.logs import PlainFormatter
from ledger_pipeline.pipeline.facts_backfill import FactsBackfill
from ledger_pipeline.pipeline.scan import ScanProgress
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import REPO, epoch, instant, weeks
from ledger_pipeline_tests.command_line import Command, Ran
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.hostile import HOSTILE, HOSTILE_USERS, acts, hostile_books, hostile_rejections, hostile_scans
from ledger_pipeline_tests.store.settlement import APPROVERS, POOL

EPOCH = ("--epoch", "2026-02-16")
# Whose event of the hostile books is no user's.
UNLINKED = "identity:github:900"

Run = Callable[..., Ran]


@pytest.fixture
def run(command: Command, ledger_url: str, tmp_path: Path) -> Run:
    spec = write_repo_spec(tmp_path, REPO, approvers=APPROVERS, base_issuance_credits=POOL)

    def execute(*arguments: str) -> Ran:
        ran = command(*arguments, DATABASE_URL=ledger_url, LEDGER_REPO_SPEC=str(spec), LEDGER_HOME=str(tmp_path / "h"))
        assert not acts(ran.out + ran.err), (arguments, acts(ran.out + ran.err))
        assert "Traceback" not in ran.err
        return ran

    return execute


def column(ran: Ran, position: int) -> list[str]:
    """The cells of a column of the table that was printed."""
    assert ran.code == 0, ran.err
    rows = [line.split("\N{BOX DRAWINGS LIGHT VERTICAL}") for line in ran.out.splitlines()]
    return [row[1 + position].strip() for row in rows if len(row) > 1]


def test_every_command_shows_values_from_outside_as_text_and_each_as_itself(
    run: Run, ledger: PostgresLedger, tmp_path: Path
) -> None:
    books = hostile_books(ledger)
    hostile_scans(books)
    shown = {plain_text(value) for value in HOSTILE}
    assert len(shown) == len(HOSTILE)
    users = {plain_text(value) for value in HOSTILE_USERS}

    assert set(column(run("events", *EPOCH), 2)) == shown
    assert set(column(run("identities", "list"), 0)) == users
    assert column(run("identities", "unresolved", *EPOCH), 0) == [r"\x1b]0;owned\x07"]
    allocations = run("allocations", "list", *EPOCH)
    # One account is nobody's: its key is shown beside the users.
    assert set(column(allocations, 0)) == users | {UNLINKED}
    assert set(column(allocations, 4)) == {*(plain_text(f"reason {value}") for value in HOSTILE), "-"}
    assert r"\x1b[2J[/x]" in column(run("pool", "list", *EPOCH), 3)
    for state in ("epoch show", "epoch list", "allocations propose"):
        assert run(*state.split(), *(EPOCH if "list" not in state else ())).code == 0

    books.close()
    hostile_rejections(books)
    books.finalize(books.signature())
    books.amend(HOSTILE_USERS[5], 7)
    assert users <= set(column(run("epoch", "show", *EPOCH), 0))  # beside the events that were decided about
    file = tmp_path / "epoch.zip"
    assert run("export", *EPOCH, "--output", str(file)).code == 0
    assert run("report", *EPOCH, "--output", str(tmp_path / "epoch.html")).code == 0
    for of in (EPOCH, ("--archive", str(file))):
        for value, user_id in zip(HOSTILE[3:7], HOSTILE_USERS[3:7], strict=True):
            ran = run("verify", *of, "--user", user_id)
            assert plain_text(f"github:pr:{value}:{HOSTILE.index(value) + 1}") in ran.out
        assert set(column(ran, 0)) == users | {UNLINKED}


def test_json_is_exact_and_ascii(run: Run, ledger: PostgresLedger) -> None:
    hostile_books(ledger)
    events = run("events", *EPOCH, "--json")
    assert events.out.isascii()
    assert {row["platform_login"] for row in events.json} == set(HOSTILE)
    assert {row["metadata"]["title"] for row in events.json} >= set(HOSTILE)
    assert {row["user_id"] for row in run("identities", "list", "--json").json} == set(HOSTILE_USERS)
    allocations = run("allocations", "list", *EPOCH, "--json").json
    assert {row["user_id"] for row in allocations} == {*HOSTILE_USERS, UNLINKED}


def test_what_is_refused_is_quoted_as_text(run: Run) -> None:
    for value in HOSTILE:
        assert run("events", "--epoch", value).code == 2
        assert run("events", f"--{value}").code == 2
        assert run("events", "--scope", value).code == 2
        assert run("verify", "--archive", value).code == 1


@pytest.mark.parametrize("suffix", ["csv", "yaml"])
def test_bindings_from_a_file_are_quoted_as_text_whatever_they_hold(run: Run, tmp_path: Path, suffix: str) -> None:
    for number, value in enumerate(HOSTILE, start=1):
        file = tmp_path / f"{number}.{suffix}"
        for row in ({"external_id": value, "user_id": "ada"}, {"external_id": str(number), value: "ada"}):
            if suffix == "yaml":
                file.write_text(json.dumps([row]))
            else:
                with file.open("w", newline="") as opened:
                    writer = csv.DictWriter(opened, list(row))
                    writer.writeheader()
                    writer.writerow(row)
            ran = run("identities", "import", str(file))
            assert (ran.code, "error: " in ran.err) == (1, True), (value, ran)


def test_a_spreadsheets_byte_order_mark_is_none_of_a_column(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "bindings.csv"
    file.write_text("external_id,user_id\r\n7,ada\r\n", encoding="utf-8-sig")
    assert run("identities", "import", str(file)).code == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("long.csv", "external_id,user_id\n7," + "a" * 200_000),
        ("deep.yaml", "- " * 20_000),
        ("cells.csv", "external_id,user_id\n7,a,b,c"),
    ],
)
def test_a_file_of_bindings_that_no_reader_takes_is_one_plain_line(
    run: Run, tmp_path: Path, name: str, text: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    ran = run("identities", "import", str(file))
    assert (ran.code, len(ran.err.splitlines()), ran.err.startswith("error: ")) == (1, 1, True)


def test_what_is_given_on_the_command_line_is_quoted_as_text(run: Run, ledger: PostgresLedger) -> None:
    hostile_books(ledger)
    for value in HOSTILE:
        judged = run("curate", *EPOCH, "--event", value, "--exclude", "--note", value)
        refused_as = 1 if is_reason(value) else 2  # before the ledger is asked
        assert (judged.code, "error: " in judged.err) == (refused_as, True), judged
        run("identities", "bind", "--account", value, "--user", "ada")
        run("identities", "bind", "--account", "7", "--user", value, "--provider", value)
        run("allocations", "set", *EPOCH, "--user", value, "--units-milli", "7", "--reason", value)
        run("pool", "add", *EPOCH, "--component", value, "--amount-credits", "7", "--evidence", value)


def test_a_message_to_the_byte_is_printed_only_where_nothing_in_it_acts(capsys: pytest.CaptureFixture[str]) -> None:
    output.say_exactly("Cogni Payout Statement v1\nNode: 7")
    assert capsys.readouterr().out == "Cogni Payout Statement v1\nNode: 7"
    for value in ("\x1b]0;owned\x07", "a\u202eb", "\x9b2J", "a\rb"):
        with pytest.raises(ValueError, match="act on the terminal"):
            output.say_exactly(value)
    assert capsys.readouterr().out == ""


def test_a_value_is_never_cut_where_the_terminal_is_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(file=io.StringIO(), width=40, markup=False, highlight=False)
    monkeypatch.setattr(output, "on_stdout", screen)
    output.print_table("", ["user", "account"], [["a" * 60 + "1", "7"], ["a" * 60 + "2", "8"]])
    assert isinstance(screen.file, io.StringIO)
    cells = "".join(line.split("\N{BOX DRAWINGS LIGHT VERTICAL}")[1].strip() for line in
                    screen.file.getvalue().splitlines() if "\N{BOX DRAWINGS LIGHT VERTICAL}" in line)  # fmt: skip
    assert cells == "a" * 60 + "1" + "a" * 60 + "2"


@pytest.mark.parametrize("value", ["[/x]", "[a]core", "\x1b[2J", "a\u202eb"])
def test_the_bars_of_a_collection_show_a_repositorys_name_as_text(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=200, markup=False, color_system=None)
    monkeypatch.setattr(scan_progress, "on_stderr", screen)
    at = instant("2026-02-18")
    with scan_progress.scan_progress() as progress:
        progress.on_page(logging.getLogger(), ScanProgress(value, 1, 3, at, at, at))
        screen.file.seek(0)
        screen.file.truncate()
    assert isinstance(screen.file, io.StringIO)
    assert plain_text(value) in screen.file.getvalue()


def test_a_bar_shows_how_many_events_of_a_backfill_have_facts_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(scan_progress, "on_stderr", Console(file=file, force_terminal=True, width=200))
    with scan_progress.facts_progress("github") as show:
        show(FactsBackfill(wanted=7, observed=2, gone=1))
    assert "3/7" in file.getvalue()


def test_a_bar_shows_how_many_epochs_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(scan_progress, "on_stderr", Console(file=file, force_terminal=True, width=200))
    epochs = [epoch(window_=week) for week in weeks(2)]
    assert list(scan_progress.each_with_progress(epochs)) == epochs
    assert "2/2" in file.getvalue()


def test_a_log_line_on_a_terminal_is_one_line_of_text() -> None:
    for value in HOSTILE:
        record = logging.LogRecord("x", logging.WARNING, "f", 1, "seen: %s", (value,), None)
        line = PlainFormatter().format(record)
        assert not acts(line)
        assert "\n" not in line


def test_a_traceback_keeps_its_lines_and_nothing_that_acts(capfd: pytest.CaptureFixture[str]) -> None:
    error = ValueError("\x1b]0;owned\x07[/x]\n  \u202ex")
    output.print_uncaught(ValueError, error, None)
    printed = capfd.readouterr().err
    assert printed.splitlines()[-2:] == [r"ValueError: \x1b]0;owned\x07[/x]", r"  \u202ex"]
    assert not acts(printed)


def test_half_a_character_is_exact_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"title": "\ud83d\x1b"})
    assert json.loads(capsys.readouterr().out) == {"title": "\ud83d\x1b"}
