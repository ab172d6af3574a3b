"""Who is who: bindings of a provider's account (GitHub's numeric id) to a user of the DAO."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from ledger_pipeline.core.errors import IdentityError, UsedNonce
from ledger_pipeline.core.identifiers import check_binding, check_id
from ledger_pipeline.core.reasons import is_reason
from ledger_pipeline.store import co_authors
from ledger_pipeline.store.counting import COUNTS, FACTOR, IS_BY_PERSON, KEEPS_CLAIMANTS
from ledger_pipeline.store.link_records import BEFORE_EVIDENCE, Binding, Evidence, Link, RestsOn, SignedMessage
from ledger_pipeline.store.links_at import links_at
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.section import LedgerSection
from ledger_pipeline.store.settlement_records import NewBinding, UnresolvedAccount
from ledger_pipeline.store.unresolved import in_all, with_parts, with_shared_events

NO_REASON = "an operator bound it and gave no reason"

# What is there already conflicts, whoever was first: the place is taken.
BIND = text("""
    INSERT INTO account_links (node_id, provider, external_id, place, user_id, rests_on, reason)
    SELECT :node_id, given.provider, given.external_id, 1 + COALESCE((
        SELECT max(place) FROM account_links AS earlier
        WHERE earlier.node_id = :node_id
            AND (earlier.provider, earlier.external_id) = (given.provider, given.external_id)
    ), 0), given.user_id, 'operator', :reason
    FROM unnest(CAST(:providers AS text[]), CAST(:external_ids AS text[]), CAST(:user_ids AS text[]))
        AS given (provider, external_id, user_id)
    WHERE NOT EXISTS (
        SELECT FROM user_bindings AS stored WHERE stored.node_id = :node_id
            AND (stored.provider, stored.external_id) = (given.provider, given.external_id)
    )
    ON CONFLICT (node_id, provider, external_id, place) DO NOTHING
""")
BOUND_OTHERWISE = text("""
    SELECT stored.provider, stored.external_id, stored.user_id, given.user_id AS wanted
    FROM user_bindings AS stored
    JOIN unnest(CAST(:providers AS text[]), CAST(:external_ids AS text[]), CAST(:user_ids AS text[]))
        AS given (provider, external_id, user_id) USING (provider, external_id)
    WHERE stored.user_id <> given.user_id AND stored.node_id = :node_id
    ORDER BY 1, 2
""")
EVIDENCE = """link.rests_on, link.reason, link.message, link.nonce, link.wallet, link.signature, link.proof_url,
        link.approver, link.approver_signature, link.linked_at"""
PRESENT = f"""
    SELECT provider, external_id, binding.user_id, binding.created_at, {EVIDENCE}
    FROM user_bindings AS binding
    LEFT JOIN (
        SELECT DISTINCT ON (provider, external_id) * FROM account_links WHERE node_id = :node_id
        ORDER BY provider, external_id, place DESC
    ) AS link USING (provider, external_id)
    WHERE binding.node_id = :node_id
"""  # noqa: S608 (our own expressions)
BINDINGS = text(f"""{PRESENT} ORDER BY binding.user_id COLLATE "C", provider, external_id""")
OF_USER_OR_ACCOUNT = text(f"""
    {PRESENT} AND (binding.user_id = :user_id OR (provider = :provider AND external_id = :external_id))
    ORDER BY link.linked_at DESC, provider, external_id
""")
HISTORY = text(f"""
    SELECT link.provider, link.external_id, link.place, link.user_id, link.actor, {EVIDENCE}
    FROM account_links AS link
    WHERE link.node_id = :node_id AND link.provider = :provider AND link.external_id = :external_id
    ORDER BY link.place
""")  # noqa: S608 (our own expressions)
USERS_NOW = text("SELECT provider, external_id, user_id FROM user_bindings WHERE node_id = :node_id")
USERS_AT = text(f"SELECT * FROM ({links_at(':at')}) AS link WHERE user_id IS NOT NULL")  # noqa: S608
LOCK_LINKS = text("SELECT pg_advisory_xact_lock(hashtextextended('account_links ' || :node_id, 0))")
IS_USED = text("SELECT EXISTS (SELECT FROM account_links WHERE node_id = :node_id AND nonce = :nonce)")
APPEND_LINK = text("""
    INSERT INTO account_links (node_id, provider, external_id, place, user_id, rests_on, reason, message, nonce, wallet,
        signature, proof_url, approver, approver_signature)
    SELECT :node_id, :provider, :external_id, 1 + COALESCE(max(place), 0), :user_id, :rests_on, :reason, :message,
        :nonce, :wallet, :signature, :proof_url, :approver, :approver_signature
    FROM account_links WHERE node_id = :node_id AND provider = :provider AND external_id = :external_id
""")
# What is finalized is paid, and the database would refuse anything else; what is in review keeps its claimants.
MOVE_CURATION = text(f"""
    UPDATE activity_curation AS curation SET user_id = :user_id, updated_at = now()
    FROM epochs AS epoch, activity_events AS event
    WHERE epoch.id = curation.epoch_id AND epoch.node_id = :node_id AND epoch.status <> 'finalized'
        AND NOT {KEEPS_CLAIMANTS} AND event.node_id = epoch.node_id AND event.scope_id = epoch.scope_id
        AND event.id = curation.event_id
        AND event.source = :provider AND event.platform_user_id = :external_id
""")  # noqa: S608 (our own expressions)
UNRESOLVED = text(f"""
    SELECT event.source AS provider, event.platform_user_id AS external_id,
        (array_agg(event.platform_login ORDER BY event.event_time DESC, event.id))[1] AS login,
        count(*) AS events,
        CAST(sum(CASE WHEN {COUNTS} THEN COALESCE(
            curation.weight_override_milli,
            floor(CAST(epoch.weight_config ->> (event.source || ':' || event.event_type) AS numeric)
                * COALESCE({FACTOR}, 1000) / 1000), 0
        ) ELSE 0 END) AS numeric) AS units
    FROM epochs AS epoch
    JOIN activity_events AS event
        ON event.node_id = epoch.node_id AND event.scope_id = epoch.scope_id
        AND event.event_time >= epoch.period_start AND event.event_time < epoch.period_end
    LEFT JOIN activity_curation AS curation ON curation.epoch_id = epoch.id AND curation.event_id = event.id
    LEFT JOIN activity_selection AS selection
        ON selection.node_id = epoch.node_id AND selection.epoch_id = epoch.id AND selection.event_id = event.id
    LEFT JOIN user_bindings AS binding
        ON binding.node_id = epoch.node_id AND binding.provider = event.source
        AND binding.external_id = event.platform_user_id
    WHERE epoch.id = ANY(:epoch_ids) AND epoch.node_id = :node_id
        AND curation.user_id IS NULL AND (
            binding.user_id IS NULL OR epoch.status = 'finalized'
            OR ({KEEPS_CLAIMANTS} AND binding.created_at > epoch.closed_at)
        )
        AND ({COUNTS} OR {IS_BY_PERSON})
    GROUP BY event.source, event.platform_user_id
    ORDER BY units DESC, event.source, event.platform_user_id
""")  # noqa: S608 (our own expressions)


class Identities(LedgerSection):
    """The bindings of a node, and what each rests on."""

    def bind(self, bindings: Sequence[NewBinding], reason: str = NO_REASON) -> int:
        """Store all of `bindings` or none, resting on an operator's `reason`; how many were new.

        Raises IdentityError for what is no id, where an account is another's, and for a reason that says nothing.
        """
        if not bindings:
            return 0
        for binding in bindings:
            check_binding(binding.provider, binding.external_id, binding.user_id)
        parameters = {
            "node_id": self.node_id,
            "providers": [binding.provider for binding in bindings],
            "external_ids": [binding.external_id for binding in bindings],
            "user_ids": [binding.user_id for binding in bindings],
        }
        with self._transaction() as connection:
            added = connection.execute(BIND, {**parameters, "reason": _checked(reason)}).rowcount
            contradictions = connection.execute(BOUND_OTHERWISE, parameters).all()
            if contradictions:
                listed = "; ".join(
                    f"{row.provider} {row.external_id} is {row.user_id}, not {row.wanted}" for row in contradictions
                )
                raise IdentityError(f"bound already, nothing stored: {listed} (`identities bind --move` corrects one)")
        return added

    def move(self, binding: NewBinding, reason: str = NO_REASON) -> int:
        """Give an account that is bound to another user; how many curated events of open epochs follow it.

        An epoch that closed keeps its claimants; one that closed before accounts were, until it is finalized.

        What the account has a part of as a co-author follows it, too.

        Raises IdentityError where the account is not bound, for what is no user's id, for a reason that says nothing.
        """
        check_id("user", binding.user_id)
        evidence = Evidence(RestsOn.OPERATOR, reason=_checked(reason))
        with self._transaction() as connection:
            connection.execute(LOCK_LINKS, {"node_id": str(self.node_id)})
            if self._bound(connection, binding) is None:
                raise IdentityError(f"{binding.provider} {binding.external_id} is not bound: bind it without --move")
            self._append(connection, binding, evidence)
            parameters = {"node_id": self.node_id, **asdict(binding)}
            connection.execute(co_authors.MOVE, parameters)
            return connection.execute(MOVE_CURATION, parameters).rowcount

    def link(self, binding: NewBinding, evidence: Evidence) -> None:
        """Bind an account by a message that a wallet signed, as `evidence` has it: checked by whoever calls.

        It may be bound to the same user already, and rests on `evidence` then. Raises UsedNonce, and IdentityError
        where it is another user's. A proof that nobody vouches for brings a user no further wallet: IdentityError where
        the user has another, and where they have accounts of which none has shown a wallet, unless this is one.
        """
        check_binding(binding.provider, binding.external_id, binding.user_id)
        if evidence.signed is None:
            raise IdentityError("an account is linked by a message that its wallet signed")
        with self._transaction() as connection:
            connection.execute(LOCK_LINKS, {"node_id": str(self.node_id)})
            if connection.scalar(IS_USED, {"node_id": self.node_id, "nonce": evidence.signed.nonce}):
                raise UsedNonce(f"nonce {evidence.signed.nonce} was used: a message links once; make another")
            present = self._bound(connection, binding)
            if present is not None and present.user_id != binding.user_id:
                raise IdentityError(
                    f"{binding.provider} {binding.external_id} is {present.user_id}, not {binding.user_id}: an "
                    "operator corrects that by `identities bind --move`"
                )
            if evidence.rests_on is RestsOn.PROOF:
                _check_wallet(binding, evidence.signed.wallet, self._of_user(connection, binding))
            self._append(connection, binding, evidence)

    def bindings(self) -> list[Binding]:
        """All present bindings, by user, provider and account."""
        with self._transaction() as connection:
            return [_binding(row) for row in connection.execute(BINDINGS, {"node_id": self.node_id})]

    def users_at(self, at: datetime | None = None) -> dict[tuple[str, str], str]:
        """The user of each account that was linked at that instant (aware), by provider and account; None is now."""
        with self._transaction() as connection:
            rows = connection.execute(USERS_NOW if at is None else USERS_AT, {"node_id": self.node_id, "at": at})
            return {(row.provider, row.external_id): row.user_id for row in rows}

    def history(self, provider: str, external_id: str) -> list[Link]:
        """Every binding that an account has or had, the first one first."""
        parameters = {"node_id": self.node_id, "provider": provider, "external_id": external_id}
        with self._transaction() as connection:
            return [
                Link(row.provider, row.external_id, row.user_id, row.place, _evidence(row), row.actor, row.linked_at)
                for row in connection.execute(HISTORY, parameters)
            ]

    def _of_user(self, connection: Connection, binding: NewBinding) -> list[Binding]:
        """The present bindings of the user and of the account, the latest first."""
        parameters = {"node_id": self.node_id, **asdict(binding)}
        return [_binding(row) for row in connection.execute(OF_USER_OR_ACCOUNT, parameters)]

    def _bound(self, connection: Connection, binding: NewBinding) -> Binding | None:
        """The present binding of the account."""
        bindings = self._of_user(connection, binding)
        return next((row for row in bindings if _account(row) == _account(binding)), None)

    def _append(self, connection: Connection, binding: NewBinding, evidence: Evidence) -> None:
        signed = evidence.signed
        parameters = {
            "node_id": self.node_id,
            **asdict(binding),
            "rests_on": evidence.rests_on.value,
            "reason": evidence.reason,
            "message": signed and signed.message,
            "nonce": signed and signed.nonce,
            "wallet": signed and signed.wallet,
            "signature": signed and signed.signature,
            "proof_url": evidence.proof_url,
            "approver": evidence.approver,
            "approver_signature": evidence.approver_signature,
        }
        connection.execute(APPEND_LINK, parameters)

    def unresolved(self, epochs: Sequence[Epoch]) -> list[UnresolvedAccount]:
        """Accounts whose events in `epochs` count for no user, most units at stake first.

        An account bound since a materialization is resolved by the next one, and so not listed; one bound since the
        epoch closed is, for nothing resolves there any more.
        """
        with self._transaction() as connection:
            shared = with_shared_events(connection, self.node_id, [epoch.id for epoch in epochs])
            accounts = self._authors(connection, [epoch for epoch in epochs if epoch.id not in shared])
            for epoch in filter(lambda epoch: epoch.id in shared, epochs):
                authors = self._authors(connection, [epoch])
                accounts = in_all([*accounts, *with_parts(connection, self.node_id, epoch, authors)])
        return accounts

    def _authors(self, connection: Connection, epochs: Sequence[Epoch]) -> list[UnresolvedAccount]:
        parameters = {"node_id": self.node_id, "epoch_ids": [epoch.id for epoch in epochs]}
        rows = [row._asdict() for row in connection.execute(UNRESOLVED, parameters)]
        return [UnresolvedAccount(**{**row, "units": int(row["units"])}) for row in rows]


def _checked(reason: str) -> str:
    if not is_reason(reason):
        raise IdentityError("a binding by hand needs a reason: say why")
    return reason.strip()


def _check_wallet(binding: NewBinding, wallet: str, present: Sequence[Binding]) -> None:
    """Raises IdentityError where `wallet` is not the user's by what their accounts have shown; the latest counts."""
    wallets = [row.evidence.signed.wallet for row in present if row.evidence.signed is not None]
    vouch = "or have an approver vouch (`identities vouch`)"
    if wallets and wallets[0].lower() != wallet.lower():
        raise IdentityError(
            f"user {binding.user_id} has wallet {wallets[0]}, not {wallet}: sign with that one, {vouch}"
        )
    if not wallets and present and all(_account(row) != _account(binding) for row in present):
        accounts = ", ".join(f"{row.provider} {row.external_id}" for row in present[:3])
        raise IdentityError(
            f"user {binding.user_id} has accounts ({accounts}) and no wallet yet: link one of these first, {vouch}"
        )


def _account(binding: NewBinding) -> tuple[str, str]:
    return binding.provider, binding.external_id


def _binding(row: Row[Any]) -> Binding:
    return Binding(row.provider, row.external_id, row.user_id, row.created_at, row.linked_at, _evidence(row))


def _evidence(row: Row[Any]) -> Evidence:
    if row.rests_on is None:  # the owner wrote the binding by hand
        return BEFORE_EVIDENCE
    signed = None if row.nonce is None else SignedMessage(row.message, row.nonce, row.wallet, row.signature)
    return Evidence(RestsOn(row.rests_on), row.reason, signed, row.proof_url, row.approver, row.approver_signature)
