"""Every event of an epoch as another policy would decide on it, beside how it counts now; nothing is changed."""

from sqlalchemy import text

from ledger_pipeline.core.claimants import IdentityClaimant
from ledger_pipeline.core.pins import CLAIMANTS, reserves_accounts
from ledger_pipeline.store.co_authors import JOIN_CO_AUTHORS, LINKS_OF_EPOCH
from ledger_pipeline.store.counting import ACCOUNT_KEY, COUNTS, FACTOR, IS_BY_PERSON, KEEPS_CLAIMANTS
from ledger_pipeline.store.overrides import JOIN_OVERRIDES
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.section import LedgerSection
from ledger_pipeline.store.settlement_records import JudgedEvent


def _member(name: str, type_: str) -> str:
    """A member of an event's metadata, null where it is of another type; of a number that it is whole and no giant."""
    value = f"event.metadata ->> '{name}'"
    is_whole = f" AND {value} ~ '^[0-9]{{1,18}}$'" if type_ == "number" else ""
    return f"CASE WHEN jsonb_typeof(event.metadata -> '{name}') = '{type_}'{is_whole} THEN {value} END"


# Facts are those that the epoch closed with where it closed with a policy; of others nothing was pinned, and what has
# been told since is what there is. An event that was never curated is whose it would be.
JUDGED = text(f"""
    SELECT event.id AS event_id, event.source, event.event_type, event.platform_user_id AS user_id,
        event.platform_login AS login, event.event_time, {_member("repository", "string")},
        CAST({_member("number", "number")} AS bigint), {_member("state", "string")},
        CAST(latest.facts AS text) AS facts_text,
        COALESCE(
            curation.user_id, binding.user_id,
            CASE WHEN epoch.status = 'open' OR epoch.pinned_spec ? '{CLAIMANTS}' THEN {ACCOUNT_KEY} END
        ) AS counts_for, COALESCE(curation.included, true) AS included,
        COALESCE(override.units, curation.weight_override_milli) AS weight_override_milli,
        {COUNTS} AS counts, {FACTOR} AS weight_factor_milli,
        COALESCE({IS_BY_PERSON}, false) AS by_person, shared_with.keys AS co_authors,
        override.shares
    FROM epochs AS epoch
    JOIN activity_events AS event
        ON event.node_id = epoch.node_id AND event.scope_id = epoch.scope_id
        AND event.event_time >= epoch.period_start AND event.event_time < epoch.period_end
    LEFT JOIN LATERAL (
        SELECT fact.facts FROM event_facts AS fact
        WHERE fact.node_id = event.node_id AND fact.scope_id = event.scope_id AND fact.event_id = event.id
            AND (epoch.facts_set_hash IS NULL OR fact.recorded_at <= epoch.closed_at)
        ORDER BY fact.recorded_at DESC LIMIT 1
    ) AS latest ON true
    LEFT JOIN activity_curation AS curation ON curation.epoch_id = epoch.id AND curation.event_id = event.id
    LEFT JOIN activity_selection AS selection
        ON selection.node_id = epoch.node_id AND selection.epoch_id = epoch.id AND selection.event_id = event.id
    {JOIN_CO_AUTHORS}
    {JOIN_OVERRIDES}
    LEFT JOIN user_bindings AS binding
        ON binding.node_id = epoch.node_id AND binding.provider = event.source
        AND binding.external_id = event.platform_user_id AND epoch.status <> 'finalized'
        AND (NOT {KEEPS_CLAIMANTS} OR binding.created_at <= epoch.closed_at)
    WHERE epoch.id = :epoch_id AND epoch.node_id = :node_id
""")  # noqa: S608 (our own expressions)

USERS = text(f"""
    SELECT provider, external_id, user_id FROM activity_co_authors
    WHERE epoch_id = :epoch_id AND node_id = :node_id AND user_id IS NOT NULL
    UNION ALL SELECT provider, external_id, user_id FROM ({LINKS_OF_EPOCH}) AS link WHERE user_id IS NOT NULL
""")  # noqa: S608 (our own expressions)


class WhatIf(LedgerSection):
    """What another policy or other weights would decide by."""

    def judged_events(self, epoch: Epoch) -> list[JudgedEvent]:
        """Every event of the epoch, in no order."""
        with self._transaction() as connection:
            parameters = {**self._of(epoch), "reserves_accounts": reserves_accounts(epoch.pins)}
            return list(map(JudgedEvent._make, connection.execute(JUDGED, parameters)))

    def users_of_accounts(self, epoch: Epoch) -> dict[str, str]:
        """The users of accounts that may have a part of the epoch's events, by the accounts' keys.

        They are those of its co-authors, and those that were linked by the time at which it takes links.
        """
        with self._transaction() as connection:
            rows = connection.execute(USERS, self._of(epoch))
            return {IdentityClaimant(row.provider, row.external_id).key: row.user_id for row in rows}
