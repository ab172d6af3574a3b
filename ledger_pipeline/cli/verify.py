"""`ledger-pipeline verify`: an epoch's statement recomputed, here or anywhere."""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ledger_pipeline.cli.options import Epoch, Json, ScopeKey
from ledger_pipeline.cli.output import print_json, print_table, say, sentence
from ledger_pipeline.cli.statement_rows import MAX_MEGABYTES, rows_of_statement
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.errors import VerificationFailed
from ledger_pipeline.core.pins import PinDifference, approver_set_hash, pin_differences
from ledger_pipeline.core.plain_text import plain_message, plain_text
from ledger_pipeline.core.signing import pinned_chain_id
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.unread import ItemKey, item_name
from ledger_pipeline.installed_sources import know_installed
from ledger_pipeline.pipeline.contributions import percent_text, units_text
from ledger_pipeline.verification.archive import read_archive
from ledger_pipeline.verification.differences import Difference
from ledger_pipeline.verification.limits import DEFAULT_MEGABYTES, ArchiveLimits
from ledger_pipeline.verification.record import EpochFacts
from ledger_pipeline.verification.verify import ContributorAccount, Examination

# What an archive holds may be of any length, and as many rows.
MESSAGE_LENGTH = 1000
SIGNED_LENGTH = 10_000
NAME_LENGTH = 300
CONTRIBUTORS_SHOWN = 1000
LEFT_OUT_SHOWN = 20
PINS_SHOWN = 20
_HASH = re.compile(r"[0-9a-f]{64}")
_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}")

ArchiveFile = Annotated[
    Path | None, typer.Option("--archive", metavar="FILE", help="Verify this archive, with no database or network.")
]
User = Annotated[
    str | None, typer.Option("--user", help="List the events of this user, or account without one, one by one.")
]
Approvers = Annotated[
    str | None,
    typer.Option(
        "--approvers",
        metavar="ADDRESSES",
        help="Who may have signed, as you know them: addresses with commas between them, or their approver_set_hash.",
    ),
]
Spec = Annotated[
    Path | None,
    typer.Option(
        "--spec", metavar="FILE", help="The repo-spec as you know it: what was pinned otherwise is a difference."
    ),
]
MaxMegabytes = Annotated[
    int,
    typer.Option(
        "--max-megabytes",
        metavar="N",
        min=1,
        max=MAX_MEGABYTES,
        help="The largest archive to read; its time and memory grow with it.",
    ),
]


def command(
    epoch_name: Epoch = None,
    archive: ArchiveFile = None,
    user: User = None,
    scope_key: ScopeKey = None,
    approvers: Approvers = None,
    spec: Spec = None,
    max_megabytes: MaxMegabytes = DEFAULT_MEGABYTES,
    as_json: Json = False,
) -> None:
    """Recompute a finalized epoch from its rows, events to signature; every difference is listed, exit 1 on any."""
    if (epoch_name is None) == (archive is None):
        raise typer.BadParameter("give --epoch to verify the ledger, or --archive to verify a file")
    damages: list[Difference] = []
    drift: list[str] = []
    if archive is not None:
        with _no_search_for_cycles():
            read = read_archive(archive, ArchiveLimits(max_megabytes))
        facts, damages = read.facts, list(read.damages)
        know_installed({event.source for event in facts.events})
        source = f"{archive}, sha256 {read.sha256}"
    else:
        facts, damages, scope = rows_of_statement(epoch_name or "", scope_key)
        drift = [str(difference) for difference in _pinned_otherwise(facts, scope)]
        source = "the ledger"
    looked = Examination(facts)
    differences = [*damages, *looked.differences(), *_other_approvers(facts, approvers), *_other_spec(facts, spec)]
    contributors = looked.accounts()
    if as_json:
        print_json({**_json(looked, differences, contributors), "pinned_spec_differs": drift})
    else:
        _print(source, facts, contributors, user)
        for event in [] if user is None else looked.left_out_of(user):
            say(plain_message(f"left out {plain_text(event.event_id)}: {event.because}", MESSAGE_LENGTH))
        for difference in differences:
            say(plain_message(str(difference), MESSAGE_LENGTH))
        for warning in (
            *looked.warnings(),
            *(f"the pinned spec differs from the repo-spec now: {line}" for line in drift),
        ):
            say(plain_message(f"warning: {warning}", MESSAGE_LENGTH))
    if differences:
        raise VerificationFailed(f"{counted(len(differences), 'difference')}: see above")
    if not as_json:
        for line in _signed(looked):
            say(plain_message(line, SIGNED_LENGTH))
        say("every number follows from the rows before it, and the signatures are good")


def _pinned_otherwise(facts: EpochFacts, scope: Scope) -> list[PinDifference]:
    return pin_differences(scope, facts.epoch.allocation_algo_ref, facts.epoch.weights_milli, facts.pinned_spec)


def _other_spec(facts: EpochFacts, file: Path | None) -> Iterator[Difference]:
    """Whether the epoch was closed with the repo-spec that whoever verifies knows."""
    if file is None:
        return
    # As the ledger's libraries: an archive is verified without.
    from ledger_pipeline.repo_spec import load_repo_spec

    spec = load_repo_spec(file)
    scope = next((scope for scope in spec.scopes if scope.scope_id == facts.epoch.scope_id), None)
    if scope is None or spec.node_id != facts.epoch.node_id:
        yield Difference("epoch", f"it is of no scope of {file}")
        return
    for difference in _pinned_otherwise(facts, scope)[:PINS_SHOWN]:
        yield Difference(
            f"repo-spec {difference.name}", f"pinned {difference.pinned}, but --spec says {difference.current}"
        )


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Rows refer to no rows: while a million values are read, looking for cycles takes longer than reading."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _print(source: str, facts: EpochFacts, contributors: list[ContributorAccount], user: str | None) -> None:
    epoch = facts.epoch
    say(f"{source}: epoch {epoch.epoch_id}, {epoch.period_start.date()} to {epoch.period_end.date()}")
    rows = [
        [
            sentence(plain_text(account.user_id, NAME_LENGTH)),
            sentence(plain_text(_how(account), MESSAGE_LENGTH)),
            units_text(account.total_units),
            sentence(plain_text(percent_text(account.share), NAME_LENGTH)),
            f"{account.amount_credits:,}",
        ]
        for account in contributors[:CONTRIBUTORS_SHOWN]
    ]
    title = counted(len(contributors), "contributor")
    if len(contributors) > len(rows):
        title += ", of whom those with most are shown: --json lists all"
    print_table(title, ["user", "events x weight", "units", "share", "credits"], rows)
    for account in contributors:
        if account.user_id == user:
            for kind in account.events:
                for event_id in kind.event_ids:
                    say(f"{units_text(kind.weight_milli)} {plain_text(event_id)}")


def _other_approvers(facts: EpochFacts, given: str | None) -> Iterator[Difference]:
    """Whether the epoch was closed with the approvers that whoever verifies knows, as addresses or as their hash."""
    if given is None:
        return
    approver_hash = given.lower() if _HASH.fullmatch(given.lower()) else approver_set_hash(_addresses(given))
    pinned = facts.epoch.approver_set_hash
    if approver_hash != pinned:
        yield Difference("epoch approver_set_hash", f"stored {pinned}, but {approver_hash} follows from --approvers")


def _addresses(given: str) -> list[str]:
    addresses = [address.strip() for address in given.split(",") if address.strip()]
    if not addresses or not all(_ADDRESS.fullmatch(address) for address in addresses):
        raise typer.BadParameter("--approvers: give addresses (0x, 40 hex digits) with commas between, or their hash")
    return addresses


def _signed(looked: Examination) -> Iterator[str]:
    """What the signatures say and what they do not, in a line each."""
    facts = looked.facts
    named = facts.pinned_spec.get("approvers")
    approvers = ", ".join(map(str, named)) if isinstance(named, list) else "none"
    for row in facts.left_out[:LEFT_OUT_SHOWN]:
        name = item_name(row.source_scope, ItemKey(row.kind, row.number))
        yield f"closed without {name}, which nobody could read, by {row.actor}: {row.reason}"
    if len(facts.left_out) > LEFT_OUT_SHOWN:
        yield f"and without {len(facts.left_out) - LEFT_OUT_SHOWN} more"
    yield f"approvers when it closed: {approvers}; approver_set_hash {facts.epoch.approver_set_hash}"
    if looked.threshold > 1:
        yield f"in force by {looked.threshold} of them"
    yield "signed: node, scope, epoch, each user's units, the pool's total"
    schemes = sorted({row.scheme for row in looked.statement_signatures()})
    if pinned_chain_id(facts.pinned_spec) is not None:
        yield f"schemes: {', '.join(schemes)}; chain {pinned_chain_id(facts.pinned_spec)}"
    if signers := looked.inputs_signers():
        yield (
            "signed as well: the events and decisions that the units follow from, by their root "
            f"{looked.inputs_root}; by {', '.join(signers)}"
        )
        return
    yield (
        "not signed: the events and decisions that the units follow from; their root is "
        f"{looked.inputs_root}: compare it with what an approver gives you"
    )


def _how(account: ContributorAccount) -> str:
    parts = [f"{len(kind.event_ids)} {kind.kind} x {units_text(kind.weight_milli)}" for kind in account.events]
    if account.decided_units is not None:
        parts.append(f"a person decided {units_text(account.decided_units)}")
    return ", ".join(parts)


def _json(
    looked: Examination, differences: list[Difference], contributors: list[ContributorAccount]
) -> dict[str, object]:
    return {
        "epoch_id": str(looked.facts.epoch.epoch_id),
        "approver_set_hash": looked.facts.epoch.approver_set_hash,
        **({"approval_threshold": looked.threshold} if looked.threshold > 1 else {}),
        "inputs_root": looked.inputs_root,
        "inputs_signed_by": looked.inputs_signers(),
        "signatures": [
            {"statement_id": str(row.statement_id), "signer": row.signer_wallet, "scheme": row.scheme}
            for row in looked.statement_signatures()
        ],
        "warnings": looked.warnings(),
        "differences": [{"where": difference.where, "problem": difference.problem} for difference in differences],
        "contributors": [
            {
                "user_id": account.user_id,
                "events": [
                    {
                        "kind": kind.kind,
                        "weight_milli": str(kind.weight_milli),
                        "units_milli": str(kind.units),
                        "event_ids": list(kind.event_ids),
                    }
                    for kind in account.events
                ],
                "decided_units_milli": None if account.decided_units is None else str(account.decided_units),
                "total_units_milli": str(account.total_units),
                "share": account.share,
                "amount_credits": str(account.amount_credits),
            }
            for account in contributors
        ],
    }
