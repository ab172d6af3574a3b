"""`ledger-pipeline identities`: which account belongs to which user of the DAO."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated

import typer

from ledger_pipeline.bindings_file import binding_of, read_bindings
from ledger_pipeline.cli.ledger_access import open_access
from ledger_pipeline.cli.linking import challenge, vouch
from ledger_pipeline.cli.opting import opt_out, opt_out_message, opt_outs
from ledger_pipeline.cli.options import Epoch, Json, ScopeKey
from ledger_pipeline.cli.output import print_json, print_table, say
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.identifiers import broken_ids, case_twins, lookalikes, unknown_ids, why_not_an_account
from ledger_pipeline.core.plain_text import plain_message, plain_text
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.pipeline.contributions import units_text
from ledger_pipeline.store.identities import NO_REASON
from ledger_pipeline.store.link_records import Binding, Evidence, Link, RestsOn, SignedMessage
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline.store.settlement_records import UnresolvedAccount

app = typer.Typer(help="Which account belongs to which user of the DAO.", no_args_is_help=True)
app.command()(challenge)
app.command()(vouch)
app.command()(opt_out_message)
app.command()(opt_out)
app.command()(opt_outs)

BindingsFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="CSV with a header, or YAML: external_id, user_id, provider (github).")
]
Account = Annotated[str, typer.Option("--account", help="The account's numeric id at the provider.")]
User = Annotated[str, typer.Option("--user", help="The user it belongs to.")]
Provider = Annotated[str, typer.Option("--provider", help="Where the account is.")]
Reason = Annotated[
    str | None, typer.Option("--reason", help="Why it is theirs; kept for ever, as what the binding rests on.")
]
Move = Annotated[bool, typer.Option("--move", help="The account is bound to another user, wrongly: correct it.")]


@app.command("import")
def import_command(file: BindingsFile, reason: Reason = None) -> None:
    """Bind every account in FILE to its user: all of them, or none where one contradicts what is bound."""
    bindings = read_bindings(file)
    evidence = Evidence(RestsOn.OPERATOR, reason=reason or f"it is in the list {plain_text(file.name, 200)}")
    with open_access(None) as access:
        added = access.ledger.identities.bind(bindings, evidence.reason or "")
    say(f"{added} bound, {len(bindings) - added} were so already; what is new rests on {_rests_on(evidence)}")


@app.command()
def bind(account: Account, user: User, provider: Provider = GITHUB, move: Move = False, reason: Reason = None) -> None:
    """Bind one account to a user; its events count for them from the next materialization on."""
    binding = binding_of("--account, --user", {"provider": provider, "external_id": account, "user_id": user})
    why = NO_REASON if reason is None else reason
    with open_access(None) as access:
        if move:
            moved = access.ledger.identities.move(binding, why)
            say(f"moved, with {counted(moved, 'curated event')}; an epoch that has closed keeps its claimants")
        else:
            say("bound" if access.ledger.identities.bind([binding], why) else "it was so already")


@app.command("list")
def list_command(as_json: Json = False) -> None:
    """Print all bindings, and which users people may take for each other."""
    with open_access(None) as access:
        bindings = access.ledger.identities.bindings()
    if as_json:
        print_json([_with_evidence(binding) for binding in bindings])
        return
    users = {binding.user_id for binding in bindings}
    rows = [
        [
            binding.user_id,
            binding.provider,
            binding.external_id,
            binding.created_at.isoformat(),
            _rests_on(binding.evidence),
        ]
        for binding in bindings
    ]
    print_table(counted(len(rows), "binding"), ["user", "provider", "account", "since", "rests on"], rows)
    for twins in case_twins(users):
        say(f"these differ in upper and lower case alone: {_quoted(twins)}")
    for group in lookalikes(users):
        say(f"these look alike: {_quoted(group)}")
    for problem in broken_ids({"user": users}):
        say(f"{problem}: nothing new counts for them; `identities bind --move` gives the account another user")
    for problem in unknown_ids({"user": users}):
        say(f"{problem}; `identities bind --move` gives the account another user")
    for binding in bindings:
        account_problem = why_not_an_account(binding.provider, binding.external_id)
        if account_problem is not None:
            say(f"{plain_message(f'{binding.provider} account {binding.external_id!r}')} {account_problem}")


@app.command()
def history(account: Account, provider: Provider = GITHUB, as_json: Json = False) -> None:
    """Print every user that an account was bound to, the first one first, and what each binding rests on."""
    with open_access(None) as access:
        links = access.ledger.identities.history(provider, account)
    if as_json:
        print_json([_with_evidence(link) for link in links])
        return
    rows = [[link.user_id, link.linked_at.isoformat(), link.actor, _rests_on(link.evidence)] for link in links]
    print_table(counted(len(rows), "binding"), ["user", "since", "written by", "rests on"], rows)


@app.command()
def unresolved(epoch_name: Epoch = None, scope_key: ScopeKey = None, as_json: Json = False) -> None:
    """Print accounts that nobody linked to a user, with the units at stake; of all epochs not finalized."""
    with open_access(scope_key) as access:
        if epoch_name is None:
            epochs = [epoch for epoch in access.epochs(None, None) if epoch.status is not EpochStatus.FINALIZED]
        else:
            epochs = [access.epoch(epoch_name)]
        accounts = access.ledger.identities.unresolved(epochs)
    if as_json:
        print_json([_account_json(account) for account in accounts])
        return
    rows = [
        [account.login, account.provider, account.external_id, account.events, units_text(account.units)]
        for account in accounts
    ]
    columns = ["login", "provider", "account", "events", "units at stake"]
    print_table(f"{counted(len(rows), 'account')} without a user, {counted(len(epochs), 'epoch')}", columns, rows)


def _rests_on(evidence: Evidence) -> str:
    """What a binding rests on, as the end of a sentence."""
    wallet = "no wallet" if evidence.signed is None else f"a signature by wallet {evidence.signed.wallet}"
    return {
        RestsOn.BEFORE_EVIDENCE: "what nobody kept: it was imported before evidence was",
        RestsOn.OPERATOR: f"an operator's word: {evidence.reason}{f' (and {wallet})' if evidence.signed else ''}",
        RestsOn.PROOF: f"{wallet}, and {evidence.proof_url}",
        RestsOn.APPROVER: f"{wallet}, and one by approver {evidence.approver}",
    }[evidence.rests_on]


def _with_evidence(record: Binding | Link) -> dict[str, object]:
    """The record with all that its evidence has beside its own members."""
    row = asdict(record)
    evidence = row.pop("evidence")
    signed = evidence.pop("signed") or dict.fromkeys(field.name for field in fields(SignedMessage))
    return {**row, **evidence, **signed}


def _account_json(account: UnresolvedAccount) -> dict[str, object]:
    """The milli-units at stake as a string, for they may be larger than JSON keeps exact."""
    row = asdict(account)
    units_milli = str(row.pop("units"))
    return {**row, "units_milli": units_milli}


def _quoted(ids: tuple[str, ...]) -> str:
    """Spells every character beyond ASCII by its number, so that what looks alike is seen to differ."""
    return ", ".join(map(ascii, ids))
