"""From statements in force to a distribution of tokens: who is paid now, who is held back, and nobody twice.

The first distribution of an epoch fixes its token and the amount that all of its lines get together; whoever has no
wallet then is held back, with their amount, and enters a later distribution of the same epochs once. What was
distributed counts, whatever an amendment says afterwards: claimants who were not paid yet get the credits of the
statement in force, and where these would come to more than its pool together with what was paid, nothing is built.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

from ledger_pipeline.core.claimants import key_of_set_hash_key
from ledger_pipeline.core.counts import counted, named
from ledger_pipeline.core.distribution import (
    Distribution,
    DistributionTerms,
    WalletCredits,
    distribute,
    manifest_hash,
    statements_hash,
)
from ledger_pipeline.core.errors import DistributionError, EpochNotReady
from ledger_pipeline.core.shares import largest_remainder
from ledger_pipeline.core.signing import StatementTerms
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.pipeline.chain import statement_chain
from ledger_pipeline.pipeline.payout_wallets import PayoutWallet, WalletBook
from ledger_pipeline.store.distribution_records import (
    DistributedEpoch,
    DistributedLine,
    DistributedSoFar,
    NewDistribution,
    StoredDistribution,
)
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.statement_records import Statement
from ledger_pipeline.wallets import keccak256

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

# Of what is held for nobody, behind every claimant's key: an amendment gave it to somebody who was paid before.
_NOBODY = "\U0010ffff"


@dataclass(frozen=True)
class Token:
    """An ERC-20 token on a chain, its address with its checksum."""

    chain_id: int
    address: str


@dataclass(frozen=True)
class HeldBack:
    """A claimant without a wallet: credits that wait, and what they come to in the token, as it stands."""

    claimant_key: str
    credits: int
    amount: int


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


@dataclass(frozen=True)
class _OpenEpoch:
    """An epoch, its statement in force, and credits by claimant's key: those it states, and those that were paid."""

    epoch: Epoch
    statement: Statement
    stated: Mapping[str, int]
    paid: Mapping[str, int]
    whole_amount: int | None
    left_amount: int

    @cached_property
    def due(self) -> dict[str, int]:
        """Credits of who was paid nothing yet: what was paid counts, whatever an amendment says afterwards."""
        return {key: credits_ for key, credits_ in self.stated.items() if credits_ and key not in self.paid}

    @property
    def of_nobody(self) -> int:
        """Credits of the pool that are neither paid nor due."""
        return self.statement.pool_total_credits - sum(self.paid.values()) - sum(self.due.values())

    def amounts(self, keys: Iterable[str], left: int) -> dict[str, int]:
        """What those of `due` get of `left`."""
        weights = {key: self.due[key] for key in keys}
        if not any(weights.values()):
            return {}
        amounts = largest_remainder(left, {**weights, _NOBODY: max(self.of_nobody, 0)})
        return {key: amounts[key] for key in weights}


def build(ledger: "PostgresLedger", scope: Scope, epochs: Sequence[Epoch], token: Token, amount: int | None) -> Built:
    """Distribute what is due of `epochs` to whoever has a wallet, once; again, the distribution that was made.

    `amount` is what all lines of the epochs get together, in the token's smallest unit; None for epochs that were
    distributed before, of which the first distribution said it. Raises EpochNotReady where an epoch has no statement in
    force, DistributionError where it does not follow from what was distributed before, and where nobody has a wallet.
    """
    if len({epoch.id for epoch in epochs}) != len(epochs):
        raise DistributionError("an epoch is named twice")
    wallets = WalletBook(ledger, scope)
    builds = _Builds(ledger, scope, sorted(epochs, key=lambda epoch: epoch.window), token, amount)
    made = ledger.distributions.build(epochs, lambda so_far: builds.decide(so_far, wallets))
    number = builds.last_number if made is None else made.number
    if number is None:
        raise DistributionError(
            f"no claimant of {named('epoch', [epoch.window.key for epoch in epochs])} has a wallet: "
            "`ledger-pipeline wallets set`, or `identities challenge`"
        )
    return built(ledger, scope, ledger.distributions.numbered(number), is_new=made is not None)


def built(ledger: "PostgresLedger", scope: Scope, stored: StoredDistribution, *, is_new: bool = False) -> Built:
    """A stored distribution, and what of its epochs is held back now. Raises DistributionError as `recomputed` does."""
    ids = [row.epoch_id for row in stored.epochs]
    epochs = [epoch for epoch in map(ledger.epochs.of_id, ids) if epoch is not None]
    so_far = ledger.distributions.of_epochs(epochs)
    opened = [_open_epoch(ledger, scope, epoch, so_far) for epoch in epochs]
    held = [
        (key, row.due[key], amount) for row in opened for key, amount in row.amounts(row.due, row.left_amount).items()
    ]
    return Built(
        number=stored.number,
        distribution=recomputed(ledger.node_id, stored),
        held_back=_held_back(held),
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

    ledger: "PostgresLedger"
    scope: Scope
    epochs: Sequence[Epoch]
    token: Token
    amount: int | None
    last_number: int | None = field(default=None, init=False)

    def decide(self, so_far: DistributedSoFar, wallets: WalletBook) -> NewDistribution | None:
        opened = [_open_epoch(self.ledger, self.scope, epoch, so_far.distributions) for epoch in self.epochs]
        self._check_earlier(so_far.distributions)
        for row in opened:
            _check_amended(row)
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
            statement_hash=statements_hash(_terms(self.ledger.node_id, row) for row in opened),
            merkle_root="",
            manifest_hash="",
            epochs=[DistributedEpoch(row.epoch.id, row.statement.id, whole[row.epoch.id]) for row in opened],
            lines=lines,
        )
        distribution = _distribution(self.ledger.node_id, made)
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

    def _whole_amounts(self, opened: Sequence[_OpenEpoch]) -> dict[int, int]:
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


def _open_epoch(
    ledger: "PostgresLedger", scope: Scope, epoch: Epoch, distributions: Sequence[StoredDistribution]
) -> _OpenEpoch:
    """Raises EpochNotReady without a statement in force."""
    chain = statement_chain(ledger.node_id, scope, epoch, ledger.statements.history(epoch))
    if chain.in_force is None:
        raise EpochNotReady(
            f"epoch {epoch.window.key} of {scope.scope_key} has no statement in force: "
            f"`ledger-pipeline epoch show --epoch {epoch.window.key}` says what is next"
        )
    lines = [line for stored in distributions for line in stored.lines if line.epoch_id == epoch.id]
    stated = {key_of_set_hash_key(row["userId"]): int(row["amountCredits"]) for row in chain.in_force.payouts}
    wholes = [row.amount for stored in distributions for row in stored.epochs if row.epoch_id == epoch.id]
    return _OpenEpoch(
        epoch=epoch,
        statement=chain.in_force,
        paid={line.claimant_key: line.credits for line in lines},
        stated=stated,
        whole_amount=wholes[0] if wholes else None,
        left_amount=(wholes[0] if wholes else 0) - sum(line.amount for line in lines),
    )


def _check_amended(row: _OpenEpoch) -> None:
    """Raises DistributionError where an amendment leaves less for who waits than it gives them."""
    if row.of_nobody >= 0 or not row.due:
        return
    over = sorted(
        f"{key} {credits_:,} instead of {row.stated.get(key, 0):,}"
        for key, credits_ in row.paid.items()
        if credits_ > row.stated.get(key, 0)
    )
    raise DistributionError(
        f"epoch {row.epoch.window.key} was amended after it was distributed, and its statement leaves "
        f"{counted(-row.of_nobody, 'credit')} too few for who waits: paid were {'; '.join(over[:5])}; "
        "amend it so that nobody has less than they were paid"
    )


def _line(row: _OpenEpoch, key: str, amount: int, wallet: PayoutWallet, so_far: DistributedSoFar) -> DistributedLine:
    event_ids = so_far.event_ids.get((row.epoch.id, key), ())
    return DistributedLine(row.epoch.id, key, row.due[key], amount, wallet.address, event_ids)


def _terms(node_id: UUID, row: _OpenEpoch) -> StatementTerms:
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


def _held_back(rows: Iterable[tuple[str, int, int]]) -> list[HeldBack]:
    """One for each claimant, by key."""
    together: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for key, credits_, amount in rows:
        together[key].append((credits_, amount))
    return [
        HeldBack(key, sum(credits_ for credits_, _ in theirs), sum(amount for _, amount in theirs))
        for key, theirs in sorted(together.items())
    ]
