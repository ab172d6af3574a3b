"""What the page over all epochs says: where each stands, and what each contributor had of it. No HTML here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ledger_pipeline.core.holdings import Claim, Holding, holdings
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.statements import compute_payouts
from ledger_pipeline.pipeline.allocate import base_issuance_to_come
from ledger_pipeline.pipeline.chain import StatementChain, stated_units, statement_chain
from ledger_pipeline.pipeline.holdings import statement_claims
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.settlement_records import valued

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger


@dataclass(frozen=True)
class EpochRow:
    """One epoch: milli-units and credits by user, of its statement in force, else as they are proposed by now."""

    epoch: Epoch
    is_signed: bool
    events: int
    pool_credits: int
    units_milli: Mapping[str, int]
    credits: Mapping[str, int]


@dataclass(frozen=True)
class Contributor:
    """One user over all epochs: `epochs` has what they had of each, by its first day."""

    user_id: str
    signed_credits: int
    proposed_credits: int
    epochs: Mapping[str, int]


@dataclass(frozen=True)
class IndexContent:
    """All epochs of a scope, oldest first, as the ledger was at `made_at` (UTC).

    `holdings` are of the statements in force, by the links of that moment.
    """

    scope: Scope
    made_at: datetime
    epochs: Sequence[EpochRow]
    holdings: Sequence[Holding] = ()

    @property
    def contributors(self) -> list[Contributor]:
        """Everybody with credits or units in any epoch, most signed credits first."""
        users = {user for row in self.epochs for user in (*row.units_milli, *row.credits)}
        people = [
            Contributor(
                user_id=user,
                signed_credits=sum(row.credits.get(user, 0) for row in self.epochs if row.is_signed),
                proposed_credits=sum(row.credits.get(user, 0) for row in self.epochs if not row.is_signed),
                epochs={row.epoch.window.key: row.credits.get(user, 0) for row in self.epochs},
            )
            for user in users
        ]
        return sorted(people, key=lambda person: (-person.signed_credits, -person.proposed_credits, person.user_id))


def index_content(ledger: "PostgresLedger", scope: Scope, epochs: Sequence[Epoch], now: datetime) -> IndexContent:
    """`epochs` of `scope` as the ledger has them. Raises as the store does."""
    windows = [epoch.window for epoch in epochs]
    counts = ledger.events.per_type(scope.scope_id, windows) if windows else {}
    rows: list[EpochRow] = []
    claims: list[Claim] = []
    for epoch in epochs:
        chain = statement_chain(ledger.node_id, scope, epoch, ledger.statements.history(epoch))
        rows.append(_row(ledger, scope, epoch, chain, sum(counts[epoch.window].values())))
        if chain.in_force is not None:
            claims += statement_claims(scope, epoch, chain.in_force)
    return IndexContent(scope, now, rows, holdings(claims, ledger.identities.users_at()))


def _row(ledger: "PostgresLedger", scope: Scope, epoch: Epoch, chain: StatementChain, events: int) -> EpochRow:
    if chain.in_force is not None:
        units, pool_credits = stated_units(chain.in_force), chain.in_force.pool_total_credits
    else:
        pool = ledger.pool.of(epoch)
        to_come = base_issuance_to_come(scope, epoch, pool) or 0
        units = valued(ledger.allocations.of(epoch))
        pool_credits = sum(component.amount_credits for component in pool) + to_come
    return EpochRow(
        epoch=epoch,
        is_signed=chain.in_force is not None,
        events=events,
        pool_credits=pool_credits,
        units_milli={line.user_id: line.units for line in units},
        credits={line.user_id: line.amount_credits for line in compute_payouts(units, pool_credits)},
    )
