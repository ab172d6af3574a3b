"""`ledger-pipeline simulate`: what another policy or other weights would have paid, before anybody votes on it."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from ledger_pipeline.cli.ledger_access import open_access
from ledger_pipeline.cli.options import FromEpoch, Json, ScopeKey, ToEpoch
from ledger_pipeline.cli.output import note, print_json, print_table, say
from ledger_pipeline.cli.scan_progress import each_with_progress
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.errors import AllocationError, ConfigurationError
from ledger_pipeline.core.json_text import json_of
from ledger_pipeline.core.routing import SENTENCES, code_of
from ledger_pipeline.core.selection.choice import SelectionChoice
from ledger_pipeline.core.selection.include_all import INCLUDE_ALL_V0
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.weights import check_weights, default_weights_milli
from ledger_pipeline.pipeline.contributions import units_text
from ledger_pipeline.pipeline.what_if import (
    OTHER_REASONS,
    ContributorChange,
    EpochChange,
    Moved,
    Supposition,
    what_if,
)
from ledger_pipeline.policies import installed_policy, policy_of

SHOWN = 50
REASONS_SHOWN = 3

Policy = Annotated[
    str | None,
    typer.Option("--policy", metavar="NAME", help="A selection policy by name; the repo-spec's where left out."),
]
WeightsFile = Annotated[
    Path | None,
    typer.Option("--weights", metavar="FILE", help='Other weights, as JSON: {"github:pr_merged": 1000}.'),
]
Approve = Annotated[
    bool,
    typer.Option(
        "--approve", help="As an approver would sign it: units decided by hand hold, and what would be pinned is shown."
    ),
]
ChartFile = Annotated[
    Path | None, typer.Option("--chart", metavar="FILE", help="Draw credits as they are and would be, as PNG.")
]


def command(
    from_epoch: FromEpoch = None,
    to_epoch: ToEpoch = None,
    policy_name: Policy = None,
    weights_file: WeightsFile = None,
    approve: Approve = False,
    chart: ChartFile = None,
    scope_key: ScopeKey = None,
    as_json: Json = False,
) -> None:
    """Show who would have what under another selection policy or other weights; the ledger is only read.

    Every epoch there is, where no range is given. People's decisions about single events hold. Facts are those that an
    epoch closed with, where it closed with a policy, else the latest.
    """
    with open_access(scope_key) as access:
        other_weights_milli = {} if weights_file is None else _weights(access.scope, weights_file)
        choice = _choice(access.scope, policy_name)
        supposed = Supposition(choice, other_weights_milli, as_signed=approve)
        epochs = each_with_progress(access.epochs(from_epoch, to_epoch))
        changes = [what_if(access.ledger, access.scope, epoch, supposed) for epoch in epochs]
        would_pin = None
        if approve and choice is not None:
            ids = access.ledger.selection.excluded_ids(access.scope.scope_id, choice.excluded_logins)
            would_pin = choice.with_ids(ids).pinned
    policy = INCLUDE_ALL_V0 if choice is None else choice.policy
    sentences = {**SENTENCES, **OTHER_REASONS, **({} if choice is None else policy_of(choice).reasons)}
    if chart is not None:
        _draw(chart, changes, policy)
    if as_json:
        print_json(_json(changes, policy, would_pin))
        return
    if not changes:
        say(f"no epoch of {access.scope.scope_key} is in the ledger: `ledger-pipeline collect` collects one")
        return
    _print(changes, policy, sentences)
    if would_pin is not None:
        say(f"a closing would pin: {json.dumps(would_pin, sort_keys=True, ensure_ascii=False)}")


def _choice(scope: Scope, name: str | None) -> SelectionChoice | None:
    """The policy to suppose: with the repo-spec's settings and excluded logins where it names the same one."""
    if name is None or (scope.selection is not None and scope.selection.policy == name):
        return scope.selection
    if name == INCLUDE_ALL_V0:
        return None
    return installed_policy(name).choice({}, () if scope.selection is None else scope.selection.excluded_logins)


def _weights(scope: Scope, file: Path) -> Mapping[str, int]:
    try:
        weights_milli = json_of(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--weights {file} cannot be read as JSON: {error}") from error
    if not isinstance(weights_milli, dict):
        raise ConfigurationError(f'--weights {file} is no object such as {{"github:pr_merged": 1000}}')
    try:
        check_weights(weights_milli)
    except AllocationError as error:
        raise ConfigurationError(f"--weights {file}: {error}") from error
    kinds = default_weights_milli(source_spec.source for source_spec in scope.sources)
    if strange := sorted(weights_milli.keys() - kinds.keys()):
        raise ConfigurationError(f"--weights {file}: kinds of events are {', '.join(kinds)}, not {strange[0]!r}")
    return weights_milli


def _print(changes: Sequence[EpochChange], policy: str, sentences: Mapping[str, str]) -> None:
    contributors = _in_all(changes)
    changed = [row for row in contributors if _differs(row)]
    rows = [_row(row.user_id, row) for row in changed[:SHOWN]]
    columns = ["user", "units", "would be", "credits", "would be", "because"]
    events = sum(change.events for change in changes)
    title = (
        f"{counted(len(changes), 'epoch')} of {counted(events, 'event')} under {policy}: "
        f"{len(changed)} of {counted(len(contributors), 'user')} would have something else{_listed(len(changed))}"
    )
    print_table(title, columns, rows)
    by_epoch = [(change.epoch.window.key, row) for change in changes for row in change.changed]
    if len(changes) > 1 and by_epoch:
        by_epoch.sort(key=lambda pair: (-abs(pair[1].would_be_credits - pair[1].credits), pair[0], pair[1].user_id))
        rows = [[epoch, *_row(row.user_id, row)] for epoch, row in by_epoch[:SHOWN]]
        print_table(f"by epoch, most credits moved first{_listed(len(by_epoch))}", ["epoch", *columns], rows)
    events_by_reason: defaultdict[str, int] = defaultdict(int)
    for change in changes:
        for reason, count in change.events_by_reason.items():
            events_by_reason[reason] += count
    reasons = sorted(events_by_reason.items(), key=lambda pair: (-pair[1], pair[0]))
    if reasons:
        print_table(
            f"what {policy} decides",
            ["reason", "events", "what it says"],
            [[reason, count, sentences.get(code_of(reason), "")] for reason, count in reasons],
        )


def _row(user_id: str, row: ContributorChange) -> list[object]:
    because = ", ".join(
        f"{moved.reason} {units_text(moved.units_milli)}" for moved in row.moved[:REASONS_SHOWN] if moved.units_milli
    )
    return [
        user_id,
        units_text(row.units_milli),
        units_text(row.would_be_units_milli),
        f"{row.credits:,}",
        f"{row.would_be_credits:,}",
        because or "the shares of others",
    ]


def _in_all(changes: Sequence[EpochChange]) -> list[ContributorChange]:
    """Contributors over all epochs, those whose credits change most first."""
    of_user: defaultdict[str, list[ContributorChange]] = defaultdict(list)
    for change in changes:
        for row in change.contributors:
            of_user[row.user_id].append(row)
    sums = [_sum(user_id, rows) for user_id, rows in of_user.items()]
    return sorted(sums, key=lambda row: (-abs(row.would_be_credits - row.credits), row.user_id))


def _sum(user_id: str, rows: Sequence[ContributorChange]) -> ContributorChange:
    moved: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for of_reason in (of_reason for row in rows for of_reason in row.moved):
        moved[of_reason.reason][0] += of_reason.events
        moved[of_reason.reason][1] += of_reason.units_milli
    reasons = [Moved(reason, events, units_milli) for reason, (events, units_milli) in moved.items()]
    return ContributorChange(
        user_id=user_id,
        units_milli=sum(row.units_milli for row in rows),
        would_be_units_milli=sum(row.would_be_units_milli for row in rows),
        credits=sum(row.credits for row in rows),
        would_be_credits=sum(row.would_be_credits for row in rows),
        moved=sorted(reasons, key=lambda row: (-abs(row.units_milli), row.reason)),
    )


def _differs(row: ContributorChange) -> bool:
    return (row.units_milli, row.credits) != (row.would_be_units_milli, row.would_be_credits)


def _listed(rows: int) -> str:
    return f"; the first {SHOWN}, --json has all" if rows > SHOWN else ""


def _draw(file: Path, changes: Sequence[EpochChange], policy: str) -> None:
    from ledger_pipeline.charts import what_if_png

    rows = [(row.user_id, row.credits, row.would_be_credits) for row in _in_all(changes)]
    try:
        file.write_bytes(what_if_png(rows, policy))
    except OSError as error:
        raise ConfigurationError(f"cannot write {file}: {error.strerror}") from error
    note(f"wrote {file}")


def _json(changes: Sequence[EpochChange], policy: str, would_pin: Mapping[str, object] | None) -> dict[str, object]:
    """All of it for programs: credits and units as strings, for they may be larger than JSON keeps exact."""
    return {
        "policy": policy,
        "would_pin": would_pin,
        "epochs": [
            {
                "epoch": change.epoch.window.key,
                "status": change.epoch.status.value,
                "events": change.events,
                "pool_total_credits": str(change.pool_total_credits),
                "events_by_reason": dict(sorted(change.events_by_reason.items())),
                "contributors": [
                    {
                        "user_id": row.user_id,
                        "units_milli": str(row.units_milli),
                        "would_be_units_milli": str(row.would_be_units_milli),
                        "credits": str(row.credits),
                        "would_be_credits": str(row.would_be_credits),
                        "because": [
                            {"reason": moved.reason, "events": moved.events, "units_milli": str(moved.units_milli)}
                            for moved in row.moved
                        ],
                    }
                    for row in change.contributors
                ],
            }
            for change in changes
        ],
    }
