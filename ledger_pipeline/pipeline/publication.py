"""What is published of a scope: its finalized epochs, with the statement of each that is in force, and who has what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

from ledger_pipeline.core.claimants import IdentityClaimant, claimant_of_key, key_of_set_hash_key
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.pipeline.chain import StatementChain, statement_chain
from ledger_pipeline.store.records import Epoch, EpochStatus
from ledger_pipeline.store.statement_records import Statement, StatementHistory

if TYPE_CHECKING:
    from ledger_pipeline.core.windows import EpochWindow
    from ledger_pipeline.store.postgres import PostgresLedger


@dataclass(frozen=True)
class Line:
    """What a statement says of one claimant: milli-units, their share of all (six decimals), and credits."""

    claimant: str
    units_milli: int
    share: str
    amount_credits: int

    @property
    def key(self) -> str:
        """The claimant's key among all claimants."""
        return key_of_set_hash_key(self.claimant)

    @property
    def is_reserved(self) -> bool:
        """Whether it waits for the user to whom the account is linked."""
        return self.key == self.claimant


@dataclass(frozen=True)
class PublishedEpoch:
    """A finalized epoch, all that was stated of it, and what of that verifies."""

    epoch: Epoch
    history: StatementHistory
    chain: StatementChain

    @cached_property
    def lines(self) -> Sequence[Line]:
        """Those of the statement in force, in its order; none where none is."""
        return [] if self.chain.in_force is None else lines_of(self.chain.in_force)

    @cached_property
    def line_of(self) -> Mapping[str, Line]:
        """The same by claimant."""
        return {line.claimant: line for line in self.lines}

    @property
    def pool_credits(self) -> int:
        """What the statement in force shares out; nothing where none is."""
        return 0 if self.chain.in_force is None else self.chain.in_force.pool_total_credits

    @property
    def reserved_credits(self) -> int:
        """What of it waits for accounts to be linked."""
        return sum(line.amount_credits for line in self.lines if line.is_reserved)


@dataclass(frozen=True)
class PublishedClaimant:
    """What one claimant has of all epochs together; `last` is the window of the newest."""

    claimant: str
    amount_credits: int
    epochs: int
    last: "EpochWindow"

    @property
    def is_reserved(self) -> bool:
        """Whether it waits for the user to whom the account is linked."""
        return key_of_set_hash_key(self.claimant) == self.claimant


@dataclass(frozen=True)
class Publication:
    """All that is published of a scope, newest epoch first, as of `version` of the ledger.

    `logins` are those that accounts last used, by their keys.
    """

    scope: Scope
    version: tuple[int, ...]
    epochs: Sequence[PublishedEpoch]
    logins: Mapping[str, str]

    @cached_property
    def by_id(self) -> Mapping[int, PublishedEpoch]:
        """The epochs by their ids."""
        return {published.epoch.id: published for published in self.epochs}

    @cached_property
    def claimants(self) -> Mapping[str, PublishedClaimant]:
        """Everybody who has a line in force, most credits first, then by key."""
        credits_: dict[str, int] = {}
        epochs: dict[str, int] = {}
        last: dict[str, EpochWindow] = {}
        for published in self.epochs:
            for line in published.lines:
                credits_[line.claimant] = credits_.get(line.claimant, 0) + line.amount_credits
                epochs[line.claimant] = epochs.get(line.claimant, 0) + 1
                last.setdefault(line.claimant, published.epoch.window)
        return {
            claimant: PublishedClaimant(claimant, credits_[claimant], epochs[claimant], last[claimant])
            for claimant in sorted(credits_, key=lambda claimant: (-credits_[claimant], key_of_set_hash_key(claimant)))
        }

    def name_of(self, claimant: str) -> str:
        """How people know a claimant: a user's id, an account's login, or the number of one of which none is known."""
        if key_of_set_hash_key(claimant) != claimant:
            return claimant
        account = claimant_of_key(claimant)
        return self.logins.get(claimant) or (account.external_id if isinstance(account, IdentityClaimant) else claimant)


def publication(
    ledger: "PostgresLedger", scope: Scope, epochs: Sequence[Epoch], before: Publication | None = None
) -> Publication:
    """What is published of `scope` by now, of `epochs`, which are its own: those that are not finalized are left out.

    What verified `before` and has not changed since is not recovered from signatures again. Raises as the store does.
    """
    version = ledger.published.version(scope.scope_id)
    finalized = sorted(
        (epoch for epoch in epochs if epoch.status is EpochStatus.FINALIZED),
        key=lambda epoch: epoch.window.start,
        reverse=True,
    )
    histories = ledger.published.histories(finalized)
    there = {} if before is None or before.scope != scope else before.by_id
    published = [
        _published(ledger.node_id, scope, epoch, histories[epoch.id], there.get(epoch.id)) for epoch in finalized
    ]
    reserved = {line.claimant for shown in published for line in shown.lines if line.is_reserved}
    accounts = [
        claimant.external_id for claimant in map(claimant_of_key, reserved) if isinstance(claimant, IdentityClaimant)
    ]
    return Publication(scope, version, published, ledger.published.logins(scope.scope_id, sorted(set(accounts))))


def lines_of(statement: Statement) -> list[Line]:
    """The lines of a statement that verifies, in its order."""
    return [
        Line(row["userId"], int(row["totalUnits"]), row["share"], int(row["amountCredits"]))
        for row in statement.payouts
    ]


def _published(
    node_id: UUID, scope: Scope, epoch: Epoch, history: StatementHistory, before: PublishedEpoch | None
) -> PublishedEpoch:
    if before is not None and (before.epoch, before.history) == (epoch, history):
        return before
    return PublishedEpoch(epoch, history, statement_chain(node_id, scope, epoch, history))
