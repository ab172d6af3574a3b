"""What a seed does with its ledger after collection: some epochs are curated, decided on, signed, crashed, amended.

What must come out is computed here a second time, from the rows, in fractions: not by the code under test.
"""

from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from random import Random

from sqlalchemy import Connection, Engine, event, text

from ledger_pipeline.core.claimants import IdentityClaimant
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.pipeline.allocate import allocate, curate, fill_pool
from ledger_pipeline.pipeline.epochs import close
from ledger_pipeline.pipeline.settle import correct, draft_statement, finalize
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import Epoch, EpochStatus
from ledger_pipeline.store.settlement_records import Judgement, NewBinding
from ledger_pipeline.store.statement_records import Statement
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.verify import verify
from ledger_pipeline_tests.builders import NODE_ID
from ledger_pipeline_tests.store.settlement import APPROVER, SECOND_APPROVER

EPOCHS_AT_MOST = 1  # signing is slow, and seeds are many
USERS = 5  # fewer than there are accounts, so that some have several


class Killed(Exception):
    """The process died in the middle of a transaction."""


class Settling:
    """Settles the epochs of one scope of the ledger behind `engine`, as `random` says."""

    def __init__(self, engine: Engine, scope: Scope, random: Random, say: Callable[[str], None]) -> None:
        self._engine = engine
        self._ledger = PostgresLedger(engine, NODE_ID)
        self._scope = scope
        self._spec = RepoSpec(NODE_ID, (scope,), scope.file)
        self._random = random
        self._say = say
        self._judged: dict[str, Judgement] = {}
        self._decided: dict[str, int] = {}
        self._user_of: dict[tuple[str, str], str] = {}

    def run(self, epochs: list[Epoch]) -> None:
        """A few of `epochs`, each to its statement and perhaps beyond; whatever was finalized verifies."""
        with self._engine.begin() as connection:
            # Of simulations before this one, which share the node.
            connection.execute(text("DELETE FROM user_bindings"))
            connection.execute(text("ALTER TABLE account_links DISABLE TRIGGER USER"))
            connection.execute(text("DELETE FROM account_links"))
            connection.execute(text("ALTER TABLE account_links ENABLE TRIGGER USER"))
        chosen = self._random.sample(epochs, min(EPOCHS_AT_MOST, len(epochs)))
        for epoch in chosen:
            self._judged, self._decided = {}, {}
            self._settle(epoch)

    def _settle(self, epoch: Epoch) -> None:
        self._say(f"settling epoch {epoch.window.key}")
        steps: list[Callable[[Epoch], None]] = [self._materialize, self._bind, self._judge, self._decide, self._close]
        self._random.shuffle(steps)
        for step in steps:
            self._say(f"  {step.__name__.strip('_')}")
            step(self._now(epoch))
        self._bind(self._now(epoch), everybody=True)
        self._materialize(self._now(epoch))
        self._check_proposals(self._now(epoch))
        units = self._units(epoch)
        if not any(units.values()):
            return
        statement = self._sign(epoch)
        self._check_statement(statement, units)
        if self._random.random() < 0.5:
            user_id = self._random.choice([*units, "user-new"])
            units[user_id] = self._random.randrange(1, 10_000)
            self._say(f"  amend {user_id}")
            correct(self._ledger, self._scope, self._now(epoch), user_id, units[user_id], "counted again")
            amended = self._sign(epoch)
            assert amended.supersedes_statement_id == statement.id
            self._check_statement(amended, units)
        self._materialize(self._now(epoch))
        differences = verify(facts_of(self._ledger.statements.rows(self._now(epoch))))
        assert not differences, f"a finalized epoch does not recompute: {differences}"

    def _now(self, epoch: Epoch) -> Epoch:
        stored_epoch = self._ledger.epochs.of_id(epoch.id)
        assert stored_epoch is not None
        return stored_epoch

    def _materialize(self, epoch: Epoch) -> None:
        curate(self._ledger, self._scope, epoch)
        fill_pool(self._ledger, epoch)
        allocate(self._ledger, self._scope, epoch)

    def _bind(self, epoch: Epoch, *, everybody: bool = False) -> None:
        bindings = [
            NewBinding(person.provider, person.external_id, f"user-{int(person.external_id) % USERS}")
            for person in self._ledger.identities.unresolved([epoch])
            if everybody or self._random.random() < 0.5
        ]
        self._ledger.identities.bind(bindings)

    def _judge(self, epoch: Epoch) -> None:
        for stored in self._ledger.events.within(self._scope.scope_id, epoch.window):
            draw = self._random.random()
            if draw < 0.1:
                judgement = Judgement("drawn", included=False)
            elif draw < 0.2:
                judgement = Judgement("drawn", weight_override_milli=self._random.randrange(5000))
            else:
                continue
            if self._ledger.curation.judge(epoch, stored.id, judgement):
                self._judged[stored.id] = judgement

    def _decide(self, epoch: Epoch) -> None:
        for allocation in self._ledger.allocations.of(epoch):
            if self._random.random() < 0.2:
                units = self._random.randrange(10_000)
                self._ledger.allocations.decide(epoch, allocation.user_id, units, "drawn")
                self._decided[allocation.user_id] = units

    def _close(self, epoch: Epoch) -> None:
        if epoch.status is EpochStatus.OPEN:
            assert close(self._ledger, self._scope, epoch)
            self._user_of = self._ledger.identities.users_at()

    def _sign(self, epoch: Epoch) -> Statement:
        """Signed by somebody, with deaths in the middle now and then; again and by another, it is the same."""
        first, second = self._random.sample([APPROVER, SECOND_APPROVER], 2)
        draft = draft_statement(self._ledger, self._scope, self._now(epoch))
        before = len(self._ledger.statements.of(epoch))
        for _ in range(self._random.randrange(3)):
            with_death = self._random.randrange(1, 9)
            self._say(f"  die at statement {with_death}")
            died = self._finalize_and_die(epoch, first.sign(draft.message), with_death)
            assert len(self._ledger.statements.of(epoch)) == before + (not died), "half a finalization was written"
            if not died:
                break
        statement = finalize(self._ledger, self._spec, self._now(epoch), first.sign(draft.message)).statement
        if self._random.random() < 0.5:
            again = finalize(self._ledger, self._spec, self._now(epoch), second.sign(draft.message))
            assert again.statement == statement, "another approver's signature made another statement"
        assert len(self._ledger.statements.of(epoch)) == before + 1
        return statement

    def _finalize_and_die(self, epoch: Epoch, signature: str, at: int) -> bool:
        count = 0
        current = self._now(epoch)

        def die(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
            nonlocal count
            count += 1
            if count == at:
                raise Killed(statement)

        event.listen(self._engine, "before_cursor_execute", die)
        try:
            finalize(self._ledger, self._spec, current, signature)
        except Killed:
            return True
        finally:
            event.remove(self._engine, "before_cursor_execute", die)
        return False

    def _check_proposals(self, epoch: Epoch) -> None:
        units: defaultdict[str, int] = defaultdict(int)
        for stored in self._ledger.events.within(self._scope.scope_id, epoch.window):
            judged = self._judged.get(stored.id)
            if judged is not None and judged.included is False:
                continue
            weight = epoch.weights_milli[f"{stored.source}:{stored.event_type}"]
            if judged is not None and judged.weight_override_milli is not None:
                weight = judged.weight_override_milli
            # Whose the account was when the epoch closed: whoever is linked in its review moves nothing.
            user_id = self._user_of.get((stored.source, stored.platform_user_id))
            units[user_id or IdentityClaimant(stored.source, stored.platform_user_id).key] += weight
        proposed = {allocation.user_id: allocation.proposed_units for allocation in self._ledger.allocations.of(epoch)}
        wanted = {**dict.fromkeys(self._decided, 0), **units}
        assert proposed == wanted, f"proposed {proposed}, not {wanted}"

    def _units(self, epoch: Epoch) -> dict[str, int]:
        proposed = {allocation.user_id: allocation.proposed_units for allocation in self._ledger.allocations.of(epoch)}
        return {**proposed, **self._decided}

    def _check_statement(self, statement: Statement, units: dict[str, int]) -> None:
        paid = {line["userId"]: int(line["amountCredits"]) for line in statement.payouts}
        pool = self._scope.base_issuance_credits or 0
        assert sum(paid.values()) == statement.pool_total_credits == pool, f"the pool is not conserved: {paid}"
        assert paid.keys() == units.keys(), f"paid {paid}, not {units}"
        total = sum(units.values())
        for user_id, amount in paid.items():
            exact = Fraction(units[user_id] * pool, total)
            assert abs(amount - exact) < 1, f"{user_id} gets {amount}, and {float(exact)} is exact"
