"""Who is who: bindings of a provider's account (GitHub's numeric id) to a user of the DAO."""

from collections.abc import Sequence

from sqlalchemy import text

from ledger_pipeline.core.errors import IdentityError
from ledger_pipeline.core.identifiers import check_binding, check_id
from ledger_pipeline.store.counting import COUNTS, FACTOR, IS_BY_PERSON
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.section import LedgerSection
from ledger_pipeline.store.settlement_records import Binding, NewBinding, UnresolvedAccount

BIND = text("""
    INSERT INTO user_bindings (node_id, provider, external_id, user_id)
    SELECT :node_id, * FROM unnest(
        CAST(:providers AS text[]), CAST(:external_ids AS text[]), CAST(:user_ids AS text[])
    )
    ON CONFLICT (node_id, provider, external_id) DO NOTHING
""")
BOUND_OTHERWISE = text("""
    SELECT stored.provider, stored.external_id, stored.user_id, given.user_id AS wanted
    FROM user_bindings AS stored
    JOIN unnest(CAST(:providers AS text[]), CAST(:external_ids AS text[]), CAST(:user_ids AS text[]))
        AS given (provider, external_id, user_id) USING (provider, external_id)
    WHERE stored.user_id <> given.user_id AND stored.node_id = :node_id
    ORDER BY 1, 2
""")
BINDINGS = text("""
    SELECT provider, external_id, user_id, created_at FROM user_bindings WHERE node_id = :node_id
    ORDER BY user_id COLLATE "C", provider, external_id
""")
MOVE_BINDING = text("""
    UPDATE user_bindings SET user_id = :user_id
    WHERE node_id = :node_id AND provider = :provider AND external_id = :external_id
""")
# What is finalized is paid: its curation stays, and the database would refuse anything else.
MOVE_CURATION = text("""
    UPDATE activity_curation AS curation SET user_id = :user_id, updated_at = now()
    FROM epochs AS epoch, activity_events AS event
    WHERE epoch.id = curation.epoch_id AND epoch.node_id = :node_id AND epoch.status <> 'finalized'
        AND event.node_id = epoch.node_id AND event.scope_id = epoch.scope_id AND event.id = curation.event_id
        AND event.source = :provider AND event.platform_user_id = :external_id
""")
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
        AND curation.user_id IS NULL AND (binding.user_id IS NULL OR epoch.status = 'finalized')
        AND ({COUNTS} OR {IS_BY_PERSON})
    GROUP BY event.source, event.platform_user_id
    ORDER BY units DESC, event.source, event.platform_user_id
""")  # noqa: S608 (our own expressions)


class Identities(LedgerSection):
    """The bindings of a node."""

    def bind(self, bindings: Sequence[NewBinding]) -> int:
        """Store all of `bindings` or none; how many were new.

        Raises IdentityError for what is no id, and where an account is another's.
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
            added = connection.execute(BIND, parameters).rowcount
            contradictions = connection.execute(BOUND_OTHERWISE, parameters).all()
            if contradictions:
                listed = "; ".join(
                    f"{row.provider} {row.external_id} is {row.user_id}, not {row.wanted}" for row in contradictions
                )
                raise IdentityError(f"bound already, nothing stored: {listed} (`identities bind --move` corrects one)")
        return added

    def move(self, binding: NewBinding) -> int:
        """Give an account that is bound to another user; how many curated events of epochs not finalized follow it.

        Raises IdentityError where the account is not bound, and for what is no user's id.
        """
        check_id("user", binding.user_id)
        parameters = {
            "node_id": self.node_id,
            "provider": binding.provider,
            "external_id": binding.external_id,
            "user_id": binding.user_id,
        }
        with self._transaction() as connection:
            if not connection.execute(MOVE_BINDING, parameters).rowcount:
                raise IdentityError(f"{binding.provider} {binding.external_id} is not bound: bind it without --move")
            return connection.execute(MOVE_CURATION, parameters).rowcount

    def bindings(self) -> list[Binding]:
        """All bindings, by user, provider and account."""
        with self._transaction() as connection:
            return [Binding(**row._mapping) for row in connection.execute(BINDINGS, {"node_id": self.node_id})]

    def unresolved(self, epochs: Sequence[Epoch]) -> list[UnresolvedAccount]:
        """Accounts whose events in `epochs` count for nobody, most units at stake first.

        An account bound since a materialization is resolved by the next one, and so not listed; in a finalized epoch
        it is, for nothing resolves there any more.
        """
        parameters = {"node_id": self.node_id, "epoch_ids": [epoch.id for epoch in epochs]}
        with self._transaction() as connection:
            rows = [row._asdict() for row in connection.execute(UNRESOLVED, parameters)]
        return [UnresolvedAccount(**{**row, "units": int(row["units"])}) for row in rows]
