"""From statements in force to a distribution of tokens: who is paid now, who is held back, and nobody twice.

The first distribution of an epoch fixes its token and the amount that all of its lines get together; whoever has no
wallet then is held back, with their amount, and enters a later distribution of the same epochs once.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import UUID

from ledger_pipeline.core.counts import named
from ledger_pipeline.core.distribution import (
    Distribution,
    DistributionTerms,
    WalletCredits,
    distribute,
    manifest_hash,
    statements_hash,
)
from ledger_pipeline.core.errors import DistributionError
from ledger_pipeline.core.shares import largest_remainder
from ledger_pipeline.core.signing import StatementTerms
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.pipeline.distributed_epochs import HeldBack, OpenEpoch, check_amended, open_epoch, together
from ledger_pipeline.pipeline.payout_wallets import PayoutWallet, WalletBook
from ledger_pipeline.store.distribution_records import (
    DistributedEpoch,
    DistributedLine,
    DistributedSoFar,
    NewDistribution,
    StoredDistribution,
)
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.wallets import keccak256

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger


@dataclass(frozen=True)
class Token:
    """An ERC-20 token on a chain, its address with its checksum."""

    chain_id: int
    address: str


@dataclass(frozen=True)
class Built:
    """A distribution and what is left of its epochs. `is_new` where it was just made; it was there already otherwise.

    `total_credits` are what the statements in force share out; `paid_credits` are those of all its epochs'
    distributions together.
    """

    number: int
    distribution: Distribution
    held_back: Sequence[HeldBack]
    is_new: bool
    total_credits: int
    paid_credits: int


def build(ledger: "PostgresLedger", scope: Scope, epochs: Sequence[Epoch], token: Token, amount: int | None) -> Built:
    """Distribute what is due of `epochs` to whoever has a wallet, once; again, the distribution that was made.

    `amount` is what all lines of the epochs get together, in the token's smallest unit; None for epochs that were
    distributed before, of which the first distribution said it. Raises EpochNotReady where an epoch has no statement in
    force, DistributionError where it does not follow from what was distributed before, and where nobody has a wallet.
    """
    if len({epoch.id for epoch in epochs}) != len(epochs):
        raise DistributionError("an epoch is named twice")
    wallets = WalletBook(ledger, scope)
    builds = _Builds(ledger.node_id, scope, sorted(epochs, key=lambda epoch: epoch.window), token, amount)
    made = ledger.distributions.build(epochs, lambda so_far: builds.decide(so_far, wallets))
    number = builds.last_number if made is None else made.number
    if number is None:
        raise DistributionError(
            f"no claimant of {named('epoch', [epoch.window.key for epoch in epochs])} has a wallet: "
            "`ledger-pipeline wallets set`, or `identities challenge`"
        )
    return built(ledger, scope, ledger.distributions.numbered(scope.scope_id, number), is_new=made is not None)


def built(ledger: "PostgresLedger", scope: Scope, stored: StoredDistribution, *, is_new: bool = False) -> Built:
    """A stored distribution, and what of its epochs is held back now. Raises DistributionError as `recomputed` does."""
    ids = [row.epoch_id for row in stored.epochs]
    epochs = [epoch for epoch in map(ledger.epochs.of_id, ids) if epoch is not None]
    so_far = ledger.distributions.of_epochs(epochs)
    opened = [open_epoch(ledger.node_id, scope, epoch, ledger.statements.history(epoch), so_far) for epoch in epochs]
    held = [
        (key, row.due[key], amount) for row in opened for key, amount in row.amounts(row.due, row.left_amount).items()
    ]
    return Built(
        number=stored.number,
        distribution=recomputed(ledger.node_id, stored),
        held_back=together(held),
        is_new=is_new,
        total_credits=sum(row.statement.pool_total_credits for row in opened),
        paid_credits=sum(sum(row.paid.values()) for row in opened),
    )


def recomputed(node_id: UUID, stored: StoredDistribution) -> Distribution:
    """The distribution that a stored one's rows give.

    Raises DistributionError where root or manifest are others than were stored: nobody claims by such a one.
    """
    made = _distribution(node_id, stored)
    given = (made.merkle_root, manifest_hash(made.manifest()))
    if given != (stored.merkle_root, stored.manifest_hash):
        raise DistributionError(
            f"distribution {stored.number} does not follow from its rows: they give root {given[0]} and manifest "
            f"{given[1]}, and stored are {stored.merkle_root} and {stored.manifest_hash}"
        )
    return made


@dataclass
class _Builds:
    """What one build decides by; `last_number` is the last distribution of its epochs, for when nothing is made."""

    node_id: UUID
    scope: Scope
    epochs: Sequence[Epoch]
    token: Token
    amount: int | None
    last_number: int | None = field(default=None, init=False)

    def decide(self, so_far: DistributedSoFar, wallets: WalletBook) -> NewDistribution | None:
        opened = [
            open_epoch(self.node_id, self.scope, epoch, so_far.histories[epoch.id], so_far.distributions)
            for epoch in self.epochs
        ]
        self._check_earlier(so_far.distributions)
        for row in opened:
            check_amended(row)
        whole = self._whole_amounts(opened)
        lines = []
        for row in opened:
            left = whole[row.epoch.id] if row.whole_amount is None else row.left_amount
            for key, amount in row.amounts(row.due, left).items():
                wallet = wallets.of(key)
                if wallet is not None:
                    lines.append(_line(row, key, amount, wallet, so_far))
        self.last_number = so_far.distributions[-1].number if so_far.distributions else None
        if not lines:
            return None
        made = NewDistribution(
            number=so_far.number,
            scope_id=self.scope.scope_id,
            chain_id=self.token.chain_id,
            token_address=self.token.address,
            amount=sum(line.amount for line in lines),
            statement_hash=statements_hash(_terms(self.node_id, row) for row in opened),
            merkle_root="",
            manifest_hash="",
            epochs=[DistributedEpoch(row.epoch.id, row.statement.id, whole[row.epoch.id]) for row in opened],
            lines=lines,
        )
        distribution = _distribution(self.node_id, made)
        root, manifest = distribution.merkle_root, manifest_hash(distribution.manifest())
        return replace(made, merkle_root=root, manifest_hash=manifest)

    def _check_earlier(self, distributions: Sequence[StoredDistribution]) -> None:
        """What was distributed first says in which token, and which epochs go together."""
        first: dict[int, StoredDistribution] = {}
        for stored in distributions:
            for row in stored.epochs:
                first.setdefault(row.epoch_id, stored)
            if (stored.chain_id, stored.token_address.lower()) != (self.token.chain_id, self.token.address.lower()):
                raise DistributionError(
                    f"distribution {stored.number} paid of these epochs token {stored.token_address} on chain "
                    f"{stored.chain_id}, not {self.token.address} on {self.token.chain_id}: an epoch has one token"
                )
        apart: defaultdict[int, list[str]] = defaultdict(list)
        for epoch in self.epochs:
            apart[first[epoch.id].number if epoch.id in first else 0].append(epoch.window.key)
        if len(apart) > 1:
            groups = "; ".join(
                f"{named('epoch', keys)} {f'by distribution {number}' if number else 'never'}"
                for number, keys in sorted(apart.items())
            )
            raise DistributionError(
                f"these epochs were not first distributed together, so a credit of theirs is not worth the same: "
                f"{groups}; build one for each"
            )

    def _whole_amounts(self, opened: Sequence[OpenEpoch]) -> dict[int, int]:
        """What all lines of each epoch get together, by its id."""
        before = {row.epoch.id: row.whole_amount for row in opened if row.whole_amount is not None}
        if before:
            total = sum(before.values())
            if self.amount not in (None, total):
                raise DistributionError(
                    f"{named('epoch', [epoch.window.key for epoch in self.epochs])} distribute {total} together, as "
                    f"was first said, not {self.amount}: leave --amount out"
                )
            return before
        if self.amount is None:
            raise DistributionError("nothing was distributed of these epochs yet: give --amount")
        pools = {f"{place:06}": row.statement.pool_total_credits for place, row in enumerate(opened)}
        if not any(pools.values()):
            raise DistributionError("the statements share out no credits: there is nothing to distribute")
        parts = largest_remainder(self.amount, pools)
        return {row.epoch.id: parts[f"{place:06}"] for place, row in enumerate(opened)}


def _line(row: OpenEpoch, key: str, amount: int, wallet: PayoutWallet, so_far: DistributedSoFar) -> DistributedLine:
    event_ids = so_far.event_ids.get((row.epoch.id, key), ())
    return DistributedLine(row.epoch.id, key, row.due[key], amount, wallet.address, event_ids)


def _terms(node_id: UUID, row: OpenEpoch) -> StatementTerms:
    statement = row.statement
    return StatementTerms(
        node_id, row.epoch.scope_id, row.epoch.id, statement.allocation_set_hash, statement.pool_total_credits
    )


def _distribution(node_id: UUID, made: NewDistribution) -> Distribution:
    terms = DistributionTerms(
        distribution_id=f"distribution-{made.number}",
        node_id=node_id,
        scope_id=made.scope_id,
        statement_hash=made.statement_hash,
        chain_id=made.chain_id,
        token_address=made.token_address,
        amount=made.amount,
    )
    paid = [WalletCredits(line.claimant_key, line.account, line.credits, line.event_ids) for line in made.lines]
    return distribute(terms, paid, keccak256)
