"""`ledger-pipeline distribution sign-data`, `sign`, `verify`: who answers for a distribution, and that it follows."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ledger_pipeline.cli.distribution_files import MANIFEST, SIGNATURES, read_json_file, read_text_file
from ledger_pipeline.cli.ledger_access import open_access
from ledger_pipeline.cli.options import ScopeKey
from ledger_pipeline.cli.output import note, say, say_exactly
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.distribution import manifest_hash
from ledger_pipeline.core.distribution_signing import DistributionData, read_manifest
from ledger_pipeline.core.errors import DistributionError

Number = Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="The distribution's number.")]
Signature = Annotated[
    str, typer.Option("--signature", metavar="0x..", help="An approver's signature of the typed data.")
]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="What `export` wrote.")]
Approvers = Annotated[
    list[str] | None,
    typer.Option("--approvers", metavar="0x..", help="An approver whom you know; once for each. One must have signed."),
]


def sign_data(number: Number, scope_key: ScopeKey = None) -> None:
    """Print what an approver signs of a distribution: typed data (EIP-712) with its root and its manifest's hash."""
    from ledger_pipeline.pipeline.distribution import recomputed

    with open_access(scope_key) as access:
        stored = access.ledger.distributions.numbered(access.scope.scope_id, number)
        made = recomputed(access.ledger.node_id, stored)
    note("compare root, manifest and amount with `ledger-pipeline distribution show` before you sign")
    say_exactly(json.dumps(DistributionData(made).to_wallet_json(), separators=(",", ":")))


def sign(number: Number, signature: Signature, scope_key: ScopeKey = None) -> None:
    """Keep an approver's signature of a distribution; `export` has it from then on."""
    from ledger_pipeline.pipeline.distribution_signatures import sign

    with open_access(scope_key) as access:
        made = sign(access.ledger, access.scope, number, signature)
    say("it was there already" if made is None else f"signed by approver {made.signer_wallet}")


def verify(folder: Folder, approvers: Approvers = None) -> None:
    """Compute an exported distribution again from its claimants, wallets and credits, and name who signed it.

    It takes the files alone, no ledger and no network.
    """
    from ledger_pipeline.pipeline.distribution_signatures import good_signatures
    from ledger_pipeline.store.distribution_records import DistributionSignature
    from ledger_pipeline.wallets import keccak256

    distribution = read_manifest(read_text_file(folder / MANIFEST), keccak256)
    rows = read_json_file(folder / SIGNATURES).get("signatures")
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and isinstance(row.get("signer"), str) and isinstance(row.get("signature"), str)
        for row in rows
    ):
        raise DistributionError(f"{folder / SIGNATURES}: signatures is no list of signer and signature")
    signatures = [DistributionSignature(row["signer"], row["signature"]) for row in rows]
    wanted = [row.signer_wallet for row in signatures] if approvers is None else approvers
    signers = [row.signer_wallet for row in good_signatures(distribution, signatures, wanted)]
    if approvers and not signers:
        raise DistributionError(f"none of {', '.join(approvers)} signed the distribution")
    say(
        f"it holds: {counted(len(distribution.leaves), 'claimant')}, {distribution.terms.amount} together, root "
        f"{distribution.merkle_root}, manifest {manifest_hash(distribution.manifest())}"
    )
    say(f"signed by {', '.join(signers)}" if signers else "signed by nobody")
