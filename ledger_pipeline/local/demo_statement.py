"""The demo's last steps: accounts bound; the oldest epoch proposed, signed, verified and exported by the real code."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger_pipeline.bindings_file import read_bindings
from ledger_pipeline.core.errors import VerificationFailed
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.pipeline.allocate import propose
from ledger_pipeline.pipeline.chain import statement_chain
from ledger_pipeline.pipeline.settle import draft_statement, finalize
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.verification.archive import read_archive, write_archive
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.verify import verify

BINDINGS = Path(__file__).parent / "demo_bindings.csv"
# The second account of every Hardhat node, the approver of the sample repo-spec: everybody has it, and outside of a
# simulated stack nothing is signed by it.
APPROVER_KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"


@dataclass(frozen=True)
class SignedEpoch:
    """A finalized epoch: who gets what (user, milli-units, share, credits), who signed, and its archive.

    `is_new` where this demo signed it, and not one before.
    """

    epoch: str
    payouts: Sequence[tuple[str, int, str, int]]
    pool_total_credits: int
    signers: Sequence[str]
    archive: Path
    archive_sha256: str
    is_new: bool


def bind_accounts(ledger: PostgresLedger) -> None:
    """Bind the simulated GitHub's accounts that are users: before epochs close, which fixes whose units are whose.

    Some accounts stay unbound, as some always do.
    """
    ledger.identities.bind(read_bindings(BINDINGS))


def propose_all(ledger: PostgresLedger, scope: Scope, epochs: Sequence[Epoch]) -> None:
    """Propose `epochs`, so that each can be signed."""
    for epoch in epochs:
        propose(ledger, scope, epoch)


def sign_oldest_epoch(ledger: PostgresLedger, spec: RepoSpec, epochs: Sequence[Epoch], folder: Path) -> SignedEpoch:
    """Sign the first of `epochs`, which must be proposed, where it is not signed yet; its archive goes to `folder`.

    Raises as the steps do, and VerificationFailed where a number does not follow.
    """
    scope, epoch = spec.default_scope, epochs[0]
    chain = statement_chain(ledger.node_id, scope, epoch, ledger.statements.history(epoch))
    is_new = chain.in_force is None
    if is_new:
        finalize(ledger, spec, epoch, _signature(draft_statement(ledger, scope, epoch).message))
        chain = statement_chain(ledger.node_id, scope, epoch, ledger.statements.history(epoch))
    statement = chain.verified[-1]
    file = folder / f"epoch-{epoch.window.key}-{scope.scope_key}.zip"
    sha256 = write_archive(facts_of(ledger.statements.rows(epoch)), file).sha256
    archive = read_archive(file)
    differences = [*archive.damages, *verify(archive.facts)]
    if differences:
        raise VerificationFailed(f"epoch {epoch.window.key}: {'; '.join(map(str, differences[:3]))}")
    return SignedEpoch(
        epoch=epoch.window.key,
        payouts=[
            (line["userId"], int(line["totalUnits"]), line["share"], int(line["amountCredits"]))
            for line in statement.payouts
        ],
        pool_total_credits=statement.pool_total_credits,
        signers=chain.signers[statement.id],
        archive=file,
        archive_sha256=sha256,
        is_new=is_new,
    )


def _signature(message: str) -> str:
    # Here, for it takes seconds to load, and the demo has other things to begin with. It brings a library that raises
    # Python's recursion limit beyond the stack: nested JSON from outside would then end the process without a word.
    limit = sys.getrecursionlimit()
    try:
        from eth_account import Account
        from eth_account.messages import encode_defunct
    finally:
        sys.setrecursionlimit(limit)

    return str(Account.sign_message(encode_defunct(text=message), APPROVER_KEY).signature.to_0x_hex())
