"""Where an epoch stands between its statement in force and what was distributed of it: who is due what, and who waits.

What was distributed counts, whatever an amendment says afterwards: claimants who were not paid yet get the credits of
the statement in force, and where these would come to more than its pool together with what was paid, nothing is built.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from ledger_pipeline.core.claimants import key_of_set_hash_key
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.errors import DistributionError, EpochNotReady
from ledger_pipeline.core.shares import largest_remainder
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.pipeline.chain import statement_chain
from ledger_pipeline.store.distribution_records import StoredDistribution
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.statement_records import Statement, StatementHistory

# Of what is held for nobody, behind every claimant's key: an amendment gave it to somebody who was paid before.
_NOBODY = "\U0010ffff"


@dataclass(frozen=True)
class HeldBack:
    """A claimant without a wallet: credits that wait, and what they come to in the token, as it stands."""

    claimant_key: str
    credits: int
    amount: int


@dataclass(frozen=True)
class OpenEpoch:
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


def open_epoch(
    node_id: UUID, scope: Scope, epoch: Epoch, history: StatementHistory, distributions: Sequence[StoredDistribution]
) -> OpenEpoch:
    """Raises EpochNotReady without a statement in force."""
    chain = statement_chain(node_id, scope, epoch, history)
    if chain.in_force is None:
        raise EpochNotReady(
            f"epoch {epoch.window.key} of {scope.scope_key} has no statement in force: "
            f"`ledger-pipeline epoch show --epoch {epoch.window.key}` says what is next"
        )
    lines = [line for stored in distributions for line in stored.lines if line.epoch_id == epoch.id]
    stated = {key_of_set_hash_key(row["userId"]): int(row["amountCredits"]) for row in chain.in_force.payouts}
    wholes = [row.amount for stored in distributions for row in stored.epochs if row.epoch_id == epoch.id]
    return OpenEpoch(
        epoch=epoch,
        statement=chain.in_force,
        paid={line.claimant_key: line.credits for line in lines},
        stated=stated,
        whole_amount=wholes[0] if wholes else None,
        left_amount=(wholes[0] if wholes else 0) - sum(line.amount for line in lines),
    )


def check_amended(row: OpenEpoch) -> None:
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


def together(rows: Iterable[tuple[str, int, int]]) -> list[HeldBack]:
    """Of claimant's key, credits and amount in each epoch, one for each claimant, by key."""
    by_claimant: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for key, credits_, amount in rows:
        by_claimant[key].append((credits_, amount))
    return [
        HeldBack(key, sum(credits_ for credits_, _ in theirs), sum(amount for _, amount in theirs))
        for key, theirs in sorted(by_claimant.items())
    ]
