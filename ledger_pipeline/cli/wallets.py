"""`ledger-pipeline wallets`: where claimants' tokens are sent, as an approver signs for it."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ledger_pipeline.bindings_file import read_wallets
from ledger_pipeline.cli.ledger_access import open_access
from ledger_pipeline.cli.options import Json, ScopeKey
from ledger_pipeline.cli.output import note, print_json, print_table, say, say_exactly
from ledger_pipeline.core.counts import counted

app = typer.Typer(help="Where claimants' tokens are sent.", no_args_is_help=True)

WalletsFile = Annotated[Path, typer.Argument(metavar="FILE", help="CSV with a header, or YAML: claimant, wallet.")]
Claimant = Annotated[str, typer.Option("--claimant", help="As a statement has them: user:USER, or an account's key.")]
Wallet = Annotated[str, typer.Option("--wallet", metavar="0x..", help="Where their tokens are sent.")]
Reason = Annotated[str, typer.Option("--reason", help="How you know that it is theirs; kept for ever, and signed.")]
ApproverSignature = Annotated[
    str | None,
    typer.Option("--approver-signature", metavar="0x..", help="Without it, what an approver signs is printed."),
]


@app.command("set")
def set_command(
    claimant: Claimant,
    wallet: Wallet,
    reason: Reason,
    approver_signature: ApproverSignature = None,
    scope_key: ScopeKey = None,
) -> None:
    """Say where one claimant's tokens are sent, from the next distribution on; an approver signs for it."""
    _take({claimant: wallet}, reason, approver_signature, scope_key)


@app.command("import")
def import_command(
    file: WalletsFile, reason: Reason, approver_signature: ApproverSignature = None, scope_key: ScopeKey = None
) -> None:
    """Say where the tokens of every claimant in FILE are sent; an approver signs for all of them at once."""
    _take(read_wallets(file), reason, approver_signature, scope_key)


@app.command("list")
def list_command(scope_key: ScopeKey = None, as_json: Json = False) -> None:
    """Print every list of wallets that was taken, the first one first; the last word on a claimant counts."""
    with open_access(scope_key) as access:
        lists = access.ledger.payout_wallets.lists()
    if as_json:
        print_json([asdict(stored) for stored in lists])
        return
    rows = [
        [stored.number, key, wallet, stored.approver, stored.recorded_at.isoformat(), stored.reason]
        for stored in lists
        for key, wallet in sorted(stored.wallets.items())
    ]
    columns = ["list", "claimant", "wallet", "approver", "since", "because"]
    print_table(counted(len(rows), "wallet"), columns, rows)


def _take(wallets: Mapping[str, str], reason: str, approver_signature: str | None, scope_key: str | None) -> None:
    from ledger_pipeline.pipeline.payout_wallets import list_message, set_wallets

    with open_access(scope_key) as access:
        if approver_signature is None:
            number = access.ledger.payout_wallets.next_number()
            message = list_message(access.ledger.node_id, access.scope, number, reason, wallets)
            note(
                "have an approver sign it to the byte (EIP-191, personal_sign), and give the same command "
                "--approver-signature"
            )
            say_exactly(message)
            return
        taken = set_wallets(access.ledger, access.scope, wallets, reason, approver_signature)
    say(f"taken as list {taken.number}: {counted(len(wallets), 'wallet')}, signed by approver {taken.approver}")
