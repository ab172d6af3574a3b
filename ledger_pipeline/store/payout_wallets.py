"""Wallets that claimants' tokens are sent to, as approvers signed for them: lists, which are only appended."""

from dataclasses import asdict

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from ledger_pipeline.core.errors import IdentityError
from ledger_pipeline.core.reasons import is_reason
from ledger_pipeline.store.distribution_records import NewWallets, StoredWallets
from ledger_pipeline.store.section import LedgerSection

APPEND = text("""
    INSERT INTO payout_wallets (node_id, number, wallets, reason, approver, approver_signature)
    VALUES (:node_id, :number, :wallets, :reason, :approver, :approver_signature)
""").bindparams(bindparam("wallets", type_=JSONB))
LISTS = text("""
    SELECT number, wallets, reason, approver, approver_signature, actor, recorded_at
    FROM payout_wallets WHERE node_id = :node_id ORDER BY number
""")
NEXT = text("SELECT 1 + COALESCE(max(number), 0) FROM payout_wallets WHERE node_id = :node_id")


class PayoutWallets(LedgerSection):
    """The lists of wallets of a node."""

    def next_number(self) -> int:
        """The number that the next list has, and who signs it names."""
        with self._transaction() as connection:
            return int(connection.scalar(NEXT, {"node_id": self.node_id}) or 1)

    def append(self, wallets: NewWallets) -> None:
        """Keep a list: checked by whoever calls. Raises StoreError where another has its number meanwhile."""
        if not is_reason(wallets.reason):
            raise IdentityError("a wallet that an approver signs for needs a reason: say why")
        with self._transaction() as connection:
            connection.execute(APPEND, {"node_id": self.node_id, **asdict(wallets)})

    def lists(self) -> list[StoredWallets]:
        """All of them, the first one first."""
        with self._transaction() as connection:
            return [StoredWallets(**row._mapping) for row in connection.execute(LISTS, {"node_id": self.node_id})]
