"""Who holds how many credits: the claims of statements in force, resolved to users at the time of asking."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ledger_pipeline.core.claimants import UserClaimant, claimant_of_key, is_account_key
from ledger_pipeline.core.holdings import Claim, Holding, holdings
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.pipeline.chain import statement_chain
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.statement_records import Statement, StatementHistory

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger


def holdings_of(ledger: "PostgresLedger", scopes: Sequence[Scope], at: datetime | None = None) -> list[Holding]:
    """What everybody holds of all epochs of `scopes`, most credits first.

    `at` (aware) asks for another moment than now: by the statements and signatures that were made, and the links there
    were, until then. An epoch that the owner opened again since has no statement, whenever that was.
    """
    claims = [
        claim
        for scope in scopes
        for epoch in ledger.epochs.closed(scope.scope_id)
        for claim in _claims_of(ledger, scope, epoch, at)
    ]
    return holdings(claims, ledger.identities.users_at(at))


def statement_claims(scope: Scope, epoch: Epoch, statement: Statement) -> list[Claim]:
    """What a statement that is in force gives each of its claimants."""
    return [
        Claim(
            scope_key=scope.scope_key,
            epoch_key=epoch.window.key,
            epoch_id=epoch.id,
            statement_id=statement.id,
            claimant=claimant_of_key(key) if is_account_key(key) else UserClaimant(key),
            amount_credits=int(line["amountCredits"]),
        )
        for line in statement.payouts
        for key in [line["userId"]]
    ]


def _claims_of(ledger: "PostgresLedger", scope: Scope, epoch: Epoch, at: datetime | None) -> list[Claim]:
    history = ledger.statements.history(epoch)
    if at is not None:
        history = StatementHistory(
            [row for row in history.statements if row.created_at <= at],
            [row for row in history.signatures if row.signed_at <= at],
            [row for row in history.set_asides if row.set_aside_at <= at],
        )
    in_force = statement_chain(ledger.node_id, scope, epoch, history).in_force
    return [] if in_force is None else statement_claims(scope, epoch, in_force)
