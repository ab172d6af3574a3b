"""Who takes no pay: choices, appended one behind the other, and how each was proven."""

from typing import Any

from sqlalchemy import Connection, Row, text

from ledger_pipeline.core.claimants import check_set_hash_key
from ledger_pipeline.core.errors import IdentityError, UsedNonce
from ledger_pipeline.core.plain_text import quoted
from ledger_pipeline.core.reasons import is_reason
from ledger_pipeline.store.identities import OF_USER_OR_ACCOUNT
from ledger_pipeline.store.link_records import OptOut, SignedMessage
from ledger_pipeline.store.section import LedgerSection

LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('opt_outs ' || :node_id, 0))")
LATEST = """
    SELECT DISTINCT ON (claimant) claimant, place, is_opted_out, reason, message, nonce, wallet, signature, actor,
        chosen_at
    FROM opt_outs WHERE node_id = :node_id ORDER BY claimant, place DESC
"""
PRESENT = text(f"""SELECT * FROM ({LATEST}) AS latest WHERE is_opted_out ORDER BY claimant COLLATE "C" """)  # noqa: S608
OF_CLAIMANT = text("""
    SELECT claimant, place, is_opted_out, reason, message, nonce, wallet, signature, actor, chosen_at FROM opt_outs
    WHERE node_id = :node_id AND claimant = :claimant ORDER BY place
""")
IS_USED = text("SELECT EXISTS (SELECT FROM opt_outs WHERE node_id = :node_id AND nonce = :nonce)")
APPEND = text("""
    INSERT INTO opt_outs (node_id, claimant, place, is_opted_out, reason, message, nonce, wallet, signature)
    VALUES (:node_id, :claimant, :place, :is_opted_out, :reason, :message, :nonce, :wallet, :signature)
""")


class OptOuts(LedgerSection):
    """The choices of a node's claimants; the last of each counts in every epoch that closes after it."""

    def present(self) -> list[OptOut]:
        """The latest choice of everybody who takes no pay, by claimant in code-point order."""
        with self._transaction() as connection:
            return [_opt_out(row) for row in connection.execute(PRESENT, {"node_id": self.node_id})]

    def names(self) -> frozenset[str]:
        """Everybody who takes no pay, as the signed hash would name them."""
        return frozenset(choice.claimant for choice in self.present())

    def history(self, claimant: str) -> list[OptOut]:
        """Every choice of a claimant, the first one first."""
        with self._transaction() as connection:
            return self._of_claimant(connection, claimant)

    def choose(
        self, claimant: str, *, is_opted_out: bool, reason: str | None = None, signed: SignedMessage | None = None
    ) -> None:
        """Append a claimant's choice with a `reason`, or `signed` by their wallet: checked by whoever calls.

        Raises IdentityError for no claimant, for a reason that says nothing and where it is so already; UsedNonce.
        """
        check_set_hash_key(claimant, reserves_accounts=True)
        if signed is None and not is_reason(reason):
            raise IdentityError("an opt-out that no wallet signed needs a reason: say why")
        with self._transaction() as connection:
            connection.execute(LOCK, {"node_id": str(self.node_id)})
            if signed is not None and connection.scalar(IS_USED, {"node_id": self.node_id, "nonce": signed.nonce}):
                raise UsedNonce(f"nonce {signed.nonce} was used: a message is good once; make another")
            choices = self._of_claimant(connection, claimant)
            if (bool(choices) and choices[-1].is_opted_out) == is_opted_out:
                raise IdentityError(f"{quoted(claimant)} {'takes no pay' if is_opted_out else 'takes pay'} already")
            parameters = {
                "node_id": self.node_id,
                "claimant": claimant,
                "place": len(choices) + 1,
                "is_opted_out": is_opted_out,
                "reason": None if reason is None else reason.strip(),
                "message": signed and signed.message,
                "nonce": signed and signed.nonce,
                "wallet": signed and signed.wallet,
                "signature": signed and signed.signature,
            }
            connection.execute(APPEND, parameters)

    def wallet_of(self, user_id: str) -> str | None:
        """The wallet that the user's accounts have shown last, which signs for them; None where none did."""
        parameters = {"node_id": self.node_id, "user_id": user_id, "provider": "", "external_id": ""}
        with self._transaction() as connection:
            rows = connection.execute(OF_USER_OR_ACCOUNT, parameters).all()
        return next((row.wallet for row in rows if row.nonce is not None), None)

    def _of_claimant(self, connection: Connection, claimant: str) -> list[OptOut]:
        rows = connection.execute(OF_CLAIMANT, {"node_id": self.node_id, "claimant": claimant})
        return [_opt_out(row) for row in rows]


def _opt_out(row: Row[Any]) -> OptOut:
    signed = None if row.nonce is None else SignedMessage(row.message, row.nonce, row.wallet, row.signature)
    return OptOut(row.claimant, row.place, row.is_opted_out, row.reason, signed, row.actor, row.chosen_at)
