"""What was distributed of which epoch to whom: rows that are only appended, written whole or not at all."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from ledger_pipeline.core.errors import DistributionError
from ledger_pipeline.core.reasons import is_reason
from ledger_pipeline.store.counting import ACCOUNT_KEY, COUNTS, JOIN_SELECTION
from ledger_pipeline.store.distribution_records import (
    DecideDistribution,
    DistributedEpoch,
    DistributedLine,
    DistributedSoFar,
    DistributionSetAside,
    DistributionSignature,
    NewDistribution,
    StoredDistribution,
)
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.section import LedgerSection
from ledger_pipeline.store.statements import statement_history

# Held to the commit: of two builds at once, the second sees what the first has made.
LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('distributions ' || :node_id, 0))")
# No statement of them is superseded meanwhile.
HOLD_EPOCHS = text("SELECT id FROM epochs WHERE node_id = :node_id AND id = ANY(:epoch_ids) ORDER BY id FOR SHARE")
NEXT = text("SELECT 1 + COALESCE(max(number), 0) FROM distributions WHERE node_id = :node_id")
OF_EPOCHS = text("""
    SELECT DISTINCT number FROM distribution_epochs AS distributed
    WHERE node_id = :node_id AND epoch_id = ANY(:epoch_ids) AND NOT EXISTS (
        SELECT FROM distribution_set_asides AS aside
        WHERE aside.node_id = distributed.node_id AND aside.number = distributed.number
    )
    ORDER BY number
""")
OF_SCOPE = text("SELECT number FROM distributions WHERE node_id = :node_id AND scope_id = :scope_id ORDER BY number")
DISTRIBUTIONS = text("""
    SELECT number, scope_id, chain_id, token_address, amount, statement_hash, merkle_root, manifest_hash,
        distribution.actor, made_at, aside.reason, aside.actor AS set_aside_by, aside.set_aside_at
    FROM distributions AS distribution LEFT JOIN distribution_set_asides AS aside USING (node_id, number)
    WHERE node_id = :node_id AND number = ANY(:numbers) ORDER BY number
""")
EPOCHS = text("""
    SELECT number, epoch_id, statement_id, amount FROM distribution_epochs
    WHERE node_id = :node_id AND number = ANY(:numbers) ORDER BY number, epoch_id
""")
LINES = text("""
    SELECT number, epoch_id, claimant_key, credits, amount, account, receipts FROM distribution_lines
    WHERE node_id = :node_id AND number = ANY(:numbers) ORDER BY number, claimant_key COLLATE "C", epoch_id
""")
# Of whoever did it, and of those who have a part of it.
EVENT_IDS = text(f"""
    SELECT curation.epoch_id, claimed.claimant_key,
        array_agg(DISTINCT event.id COLLATE "C" ORDER BY event.id COLLATE "C") AS event_ids
    FROM activity_curation AS curation
    JOIN epochs AS epoch ON epoch.id = curation.epoch_id AND epoch.node_id = curation.node_id
    JOIN activity_events AS event
        ON event.node_id = epoch.node_id AND event.scope_id = epoch.scope_id AND event.id = curation.event_id
    {JOIN_SELECTION}
    CROSS JOIN LATERAL (
        SELECT COALESCE('user:' || curation.user_id, {ACCOUNT_KEY}) AS claimant_key
        UNION
        SELECT COALESCE('user:' || co_author.user_id, 'identity:' || provider || ':' || external_id)
        FROM activity_co_authors AS co_author
        WHERE co_author.node_id = curation.node_id AND co_author.epoch_id = curation.epoch_id
            AND co_author.event_id = curation.event_id
    ) AS claimed
    WHERE curation.node_id = :node_id AND curation.epoch_id = ANY(:epoch_ids) AND {COUNTS}
    GROUP BY 1, 2
""")  # noqa: S608 (our own expressions)
INSERT_DISTRIBUTION = text("""
    INSERT INTO distributions (node_id, number, scope_id, chain_id, token_address, amount, statement_hash, merkle_root,
        manifest_hash)
    VALUES (:node_id, :number, :scope_id, :chain_id, :token_address, :amount, :statement_hash, :merkle_root,
        :manifest_hash)
""")
INSERT_EPOCH = text("""
    INSERT INTO distribution_epochs (node_id, number, epoch_id, statement_id, amount)
    VALUES (:node_id, :number, :epoch_id, :statement_id, :amount)
""")
# Behind those that the owner set aside.
INSERT_LINE = text("""
    INSERT INTO distribution_lines (node_id, epoch_id, claimant_key, place, number, credits, amount, account, receipts)
    SELECT :node_id, :epoch_id, :claimant_key, (
        SELECT count(*) FROM distribution_lines AS line JOIN distribution_set_asides AS aside USING (node_id, number)
        WHERE line.node_id = :node_id AND line.epoch_id = :epoch_id AND line.claimant_key = :claimant_key
    ), :number, :credits, :amount, :account, :receipts
""").bindparams(bindparam("receipts", type_=JSONB))
SET_ASIDE = text("""
    INSERT INTO distribution_set_asides (node_id, number, reason) VALUES (:node_id, :number, :reason)
    ON CONFLICT DO NOTHING
""")

SIGNATURES_READ = 1000
# Of each approver no more than anybody needs: whoever may write may have made up any number of them.
SIGNATURES = text("""
    SELECT signer_wallet, signature FROM distribution_signatures
    WHERE node_id = :node_id AND number = :number AND lower(signer_wallet) = ANY(:signers)
    ORDER BY signed_at, signer_wallet, signature LIMIT :at_most
""")
SIGN = text("""
    INSERT INTO distribution_signatures (node_id, number, signer_wallet, signature)
    VALUES (:node_id, :number, :signer_wallet, :signature) ON CONFLICT DO NOTHING
""")


class Distributions(LedgerSection):
    """The distributions of a node."""

    def build(self, epochs: Sequence[Epoch], decide: DecideDistribution) -> NewDistribution | None:
        """Write what `decide` makes of what was distributed of `epochs` so far, while nobody else makes one.

        What `decide` raises passes, and nothing is written; None where it decides that nothing is.
        """
        parameters = {"node_id": self.node_id, "epoch_ids": [epoch.id for epoch in epochs]}
        with self._transaction() as connection:
            connection.execute(LOCK, {"node_id": str(self.node_id)})
            connection.execute(HOLD_EPOCHS, parameters)
            numbers = connection.scalars(OF_EPOCHS, parameters).all()
            so_far = DistributedSoFar(
                number=int(connection.scalar(NEXT, parameters) or 1),
                histories={epoch.id: statement_history(connection, self._of(epoch)) for epoch in epochs},
                distributions=self._stored(connection, numbers),
                event_ids={
                    (row.epoch_id, row.claimant_key): row.event_ids for row in connection.execute(EVENT_IDS, parameters)
                },
            )
            decided = decide(so_far)
            if decided is not None:
                self._write(connection, decided)
        return decided

    def of_epochs(self, epochs: Sequence[Epoch]) -> list[StoredDistribution]:
        """Those that paid anything of `epochs`, but those set aside, first to last."""
        parameters = {"node_id": self.node_id, "epoch_ids": [epoch.id for epoch in epochs]}
        with self._snapshot() as connection:
            return self._stored(connection, connection.scalars(OF_EPOCHS, parameters).all())

    def of_scope(self, scope_id: UUID) -> list[StoredDistribution]:
        """All of the scope, those set aside too, first to last."""
        with self._snapshot() as connection:
            return self._stored(connection, connection.scalars(OF_SCOPE, self._scope(scope_id)).all())

    def numbered(self, scope_id: UUID, number: int) -> StoredDistribution:
        """That one of the scope; numbers are the node's. Raises DistributionError where there is none."""
        with self._snapshot() as connection:
            stored = [row for row in self._stored(connection, [number]) if row.scope_id == scope_id]
        if not stored:
            raise DistributionError(
                f"the scope has no distribution {number}: `ledger-pipeline distribution list` has all of them"
            )
        return stored[0]

    def sign(self, number: int, signature: DistributionSignature) -> bool:
        """Keep an approver's signature: checked by whoever calls. False where it is there already."""
        with self._transaction() as connection:
            parameters = {"node_id": self.node_id, "number": number, **vars(signature)}
            return connection.execute(SIGN, parameters).rowcount > 0

    def signatures(self, number: int, signers: Sequence[str]) -> list[DistributionSignature]:
        """The first SIGNATURES_READ that are said to be of `signers`."""
        parameters = {
            "node_id": self.node_id,
            "number": number,
            "signers": [signer.lower() for signer in signers],
            "at_most": SIGNATURES_READ,
        }
        with self._transaction() as connection:
            return [DistributionSignature(**row._mapping) for row in connection.execute(SIGNATURES, parameters)]

    def set_aside(self, scope_id: UUID, number: int, reason: str) -> bool:
        """Take a distribution out that nobody will pay, on record; False where it is out already.

        Only the owner of the ledger may: StoreError. Raises DistributionError for none, or a reason that says nothing.
        """
        if not is_reason(reason):
            raise DistributionError("setting a distribution aside needs a reason: say why")
        self.numbered(scope_id, number)
        with self._transaction() as connection:
            connection.execute(LOCK, {"node_id": str(self.node_id)})
            parameters = {"node_id": self.node_id, "number": number, "reason": reason}
            return connection.execute(SET_ASIDE, parameters).rowcount > 0

    def _write(self, connection: Connection, made: NewDistribution) -> None:
        of_it = {"node_id": self.node_id, "number": made.number}
        connection.execute(INSERT_DISTRIBUTION, {**of_it, **vars(made), "amount": str(made.amount)})
        connection.execute(
            INSERT_EPOCH, [{**of_it, **vars(epoch), "amount": str(epoch.amount)} for epoch in made.epochs]
        )
        connection.execute(
            INSERT_LINE,
            [
                {**of_it, **vars(line), "amount": str(line.amount), "receipts": {"ids": list(line.event_ids)}}
                for line in made.lines
            ],
        )

    def _stored(self, connection: Connection, numbers: Sequence[int]) -> list[StoredDistribution]:
        parameters = {"node_id": self.node_id, "numbers": list(numbers)}
        epochs = _by_number(connection.execute(EPOCHS, parameters))
        lines = _by_number(connection.execute(LINES, parameters))
        return [
            StoredDistribution(
                number=row.number,
                scope_id=row.scope_id,
                chain_id=row.chain_id,
                token_address=row.token_address,
                amount=int(row.amount),
                statement_hash=row.statement_hash,
                merkle_root=row.merkle_root,
                manifest_hash=row.manifest_hash,
                epochs=[
                    DistributedEpoch(epoch.epoch_id, epoch.statement_id, int(epoch.amount))
                    for epoch in epochs.get(row.number, [])
                ],
                lines=[_line(line) for line in lines.get(row.number, [])],
                actor=row.actor,
                made_at=row.made_at,
                set_aside=None
                if row.set_aside_at is None
                else DistributionSetAside(row.reason, row.set_aside_by, row.set_aside_at),
            )
            for row in connection.execute(DISTRIBUTIONS, parameters)
        ]


def _by_number(rows: Any) -> dict[int, list[Row[Any]]]:
    return {number: list(theirs) for number, theirs in groupby(rows, attrgetter("number"))}


def _line(row: Row[Any]) -> DistributedLine:
    event_ids = tuple(map(str, row.receipts.get("ids", ())))
    return DistributedLine(row.epoch_id, row.claimant_key, row.credits, int(row.amount), row.account, event_ids)
