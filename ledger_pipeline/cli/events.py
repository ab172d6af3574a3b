"""`ledger-pipeline events`: what the ledger holds."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, fields

from ledger_pipeline.cli.options import Epoch, FromEpoch, Json, ScopeKey, ToEpoch, windows_of
from ledger_pipeline.cli.output import note, print_json_array, print_table
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.selection.policy import Decision
from ledger_pipeline.core.windows import EpochWindow, span
from ledger_pipeline.local.environment import databases
from ledger_pipeline.settings import read_settings
from ledger_pipeline.store.postgres import open_ledger
from ledger_pipeline.store.records import StoredEvent

COLUMNS = tuple(field.name for field in fields(StoredEvent))


def command(
    epoch_name: Epoch = None,
    from_epoch: FromEpoch = None,
    to_epoch: ToEpoch = None,
    scope_key: ScopeKey = None,
    as_json: Json = False,
) -> None:
    """Print the ledger's events of an epoch or a range of them; of the running epoch where none is named."""
    settings = read_settings()
    spec = settings.repo_spec()
    scope = spec.scope(scope_key) if scope_key else spec.default_scope
    within = span(windows_of(scope, epoch_name, from_epoch, to_epoch))
    with (
        databases(settings, note) as settings,
        open_ledger(settings.ledger_url(), spec.node_id, settings.database_limits) as ledger,
        # Whoever reads what is printed may stop before the last row, as `head` does.
        closing(ledger.events.within(scope.scope_id, within)) as stored,
    ):
        decisions = ledger.selection.decisions(ledger.epochs.within(scope.scope_id, within))
        if as_json:
            print_json_array(_rows(stored, decisions))
        else:
            _print(list(stored), within, decisions)


def _rows(stored: Iterator[StoredEvent], decisions: Mapping[str, Decision]) -> Iterator[Mapping[str, object]]:
    for event in stored:
        row = {column: getattr(event, column) for column in COLUMNS}
        decision = decisions.get(event.id)
        yield row if decision is None else {**row, "selection": _json(decision)}


def _json(decision: Decision) -> dict[str, object]:
    """The decision for programs; `co_authors` only where there are any."""
    return {name: value for name, value in asdict(decision).items() if name != "co_authors" or value}


def _print(stored: list[StoredEvent], within: EpochWindow, decisions: Mapping[str, Decision]) -> None:
    columns = ["event_time", "event_type", "platform_login", "id"]
    rows = [[event.event_time.isoformat(), event.event_type, event.platform_login, event.id] for event in stored]
    if decisions:
        columns.append("by the policy")
        rows = [[*row, _said(decisions.get(row[-1]))] for row in rows]
    print_table(f"{counted(len(stored), 'event')}, {within.key} to {within.end.date()}", columns, rows)


def _said(decision: Decision | None) -> str:
    if decision is None:
        return ""
    shared = f", shared with {', '.join(decision.co_authors)}" if decision.co_authors else ""
    return f"{'counts' if decision.included else 'left out'}: {decision.reason}{shared}"
