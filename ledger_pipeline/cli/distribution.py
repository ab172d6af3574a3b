"""`ledger-pipeline distribution`: from statements in force to tokens, each claimed with a proof of its own."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ledger_pipeline.cli.distribution_files import read_json_file, write_files
from ledger_pipeline.cli.distribution_output import built_json, print_built
from ledger_pipeline.cli.distribution_signing import sign, sign_data, verify
from ledger_pipeline.cli.ledger_access import open_access
from ledger_pipeline.cli.options import HOW_EPOCHS_ARE_NAMED, Json, ScopeKey
from ledger_pipeline.cli.output import print_json, print_table, say
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.distribution import check_address, check_proof, read_amount, read_proof
from ledger_pipeline.core.errors import DistributionError
from ledger_pipeline.core.signing import MAX_CHAIN_ID

app = typer.Typer(help="Statements as tokens that everybody claims with a proof.", no_args_is_help=True)
app.command("sign-data")(sign_data)
app.command()(sign)
app.command()(verify)

Epochs = Annotated[
    list[str], typer.Option("--epoch", metavar="EPOCH", help=f"An epoch, once for each: {HOW_EPOCHS_ARE_NAMED}")
]
TokenAddress = Annotated[str, typer.Option("--token", metavar="0x..", help="The address of the ERC-20 token.")]
ChainId = Annotated[int, typer.Option("--chain-id", min=1, max=MAX_CHAIN_ID, help="The chain that the token is on.")]
Amount = Annotated[
    str | None,
    typer.Option(
        "--amount",
        help="What all lines of the epochs get together, in the token's smallest unit. Left out for epochs that were "
        "distributed before.",
    ),
]
Number = Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="The distribution's number.")]
Output = Annotated[Path, typer.Option("--output", metavar="FOLDER", help="A folder that is not there yet.")]
Decimals = Annotated[
    int | None,
    typer.Option("--decimals", min=0, max=77, help="The token's; with it, a CSV for Safe's airdrop app is written."),
]
ProofFile = Annotated[Path, typer.Argument(metavar="FILE", help="A claimant's proof, as `export` wrote it.")]
Root = Annotated[
    str | None, typer.Option("--root", metavar="0x..", help="The root that the contract has: it must be the proof's.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why nobody will pay it; kept for ever.")]


@app.command()
def build(
    epoch_names: Epochs,
    token_address: TokenAddress,
    chain_id: ChainId,
    amount: Amount = None,
    scope_key: ScopeKey = None,
    as_json: Json = False,
) -> None:
    """Distribute what is due of epochs to all who have a wallet, once; who has none is held back, with their amount.

    The first distribution of epochs fixes their token and amount. Again, without --amount, it pays those who were held
    back and have a wallet by now; where there is nobody, it prints the last one that was made.
    """
    from ledger_pipeline.pipeline.distribution import Token, build
    from ledger_pipeline.wallets import checksummed

    check_address("--token", token_address)
    token = Token(chain_id, checksummed(token_address))
    whole = None if amount is None else read_amount("--amount", amount)
    with open_access(scope_key) as access:
        made = build(access.ledger, access.scope, [access.epoch(name) for name in epoch_names], token, whole)
    if as_json:
        print_json(built_json(made))
    else:
        print_built(made)


@app.command()
def show(number: Number, scope_key: ScopeKey = None, as_json: Json = False) -> None:
    """Print a distribution: who may claim what, by which root, who signed it, and who is held back of its epochs."""
    from ledger_pipeline.pipeline.distribution import built
    from ledger_pipeline.pipeline.distribution_signatures import good_signatures

    with open_access(scope_key) as access:
        stored = access.ledger.distributions.numbered(access.scope.scope_id, number)
        made = built(access.ledger, access.scope, stored)
        approvers = access.scope.approvers
        signatures = access.ledger.distributions.signatures(number, approvers)
    signers = [row.signer_wallet for row in good_signatures(made.distribution, signatures, approvers)]
    if as_json:
        print_json({**built_json(made), "signed_by": signers, "is_set_aside": stored.set_aside is not None})
        return
    print_built(made)
    say(f"signed by {', '.join(signers)}" if signers else "signed by no approver yet")
    if stored.set_aside is not None:
        say(f"set aside by {stored.set_aside.actor}, so nobody pays it: {stored.set_aside.reason}")


@app.command("list")
def list_command(scope_key: ScopeKey = None, as_json: Json = False) -> None:
    """Print all distributions of the scope, first to last."""
    with open_access(scope_key) as access:
        stored = access.ledger.distributions.of_scope(access.scope.scope_id)
    rows = [
        {
            "number": row.number,
            "chain_id": row.chain_id,
            "token_address": row.token_address,
            "amount": str(row.amount),
            "claimants": len({line.claimant_key for line in row.lines}),
            "merkle_root": row.merkle_root,
            "made_at": row.made_at,
            "is_set_aside": row.set_aside is not None,
        }
        for row in stored
    ]
    if as_json:
        print_json(rows)
        return
    columns = ["number", "chain", "token", "amount", "claimants", "root", "made", "set aside"]
    cells = [[*row.values()] for row in rows]
    for cell in cells:
        cell[-1] = "yes" if cell[-1] else None
    print_table(counted(len(rows), "distribution"), columns, cells)


@app.command()
def export(number: Number, output: Output, decimals: Decimals = None, scope_key: ScopeKey = None) -> None:
    """Write a distribution's manifest, signatures and proofs into a folder; and with --decimals a CSV for Safe."""
    from ledger_pipeline.pipeline.distribution import recomputed
    from ledger_pipeline.pipeline.distribution_signatures import good_signatures

    with open_access(scope_key) as access:
        stored = access.ledger.distributions.numbered(access.scope.scope_id, number)
        distribution = recomputed(access.ledger.node_id, stored)
        approvers = access.scope.approvers
        signatures = access.ledger.distributions.signatures(number, approvers)
    if stored.set_aside is not None:
        raise DistributionError(f"distribution {number} was set aside, so nobody pays it: {stored.set_aside.reason}")
    write_files(distribution, good_signatures(distribution, signatures, approvers), output, decimals)
    say(f"{counted(len(distribution.leaves), 'proof')} and manifest.json are in {output.resolve()}")


@app.command("verify-proof")
def verify_proof(file: ProofFile, root: Root = None) -> None:
    """Check a claimant's proof: that its leaf follows from wallet and amount, and its root from the leaf.

    It takes the file alone, no ledger and no network. Whoever makes up a whole file makes up its root too: give the
    contract's with --root.
    """
    from ledger_pipeline.wallets import keccak256

    content = read_json_file(file)
    proof = read_proof(content)
    check_proof(proof, keccak256)
    shown = f"0x{proof.root.hex()}"
    if root is not None and root.lower() != shown:
        raise DistributionError(f"the proof holds, and its root is {shown}, not {root}")
    say(
        f"it holds: {proof.account} may claim {proof.amount} of token {json.dumps(content.get('tokenAddress'))} on "
        f"chain {json.dumps(content.get('chainId'))}, as leaf {proof.index} of root {shown}"
    )


@app.command("set-aside")
def set_aside(number: Number, reason: Reason, scope_key: ScopeKey = None) -> None:
    """As the ledger's owner, take out a distribution that nobody will pay: its lines are due again.

    A contract that has its root pays it all the same: only what no contract has is set aside.
    """
    with open_access(scope_key, as_owner=True) as access:
        is_new = access.ledger.distributions.set_aside(access.scope.scope_id, number, reason)
    say("set aside" if is_new else "it was set aside already")
