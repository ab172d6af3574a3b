"""Every event of an epoch as another policy would decide on it, beside how it counts now; nothing is changed."""

from collections.abc import Iterator

from sqlalchemy import text

from ledger_pipeline.core.pins import CLAIMANTS
from ledger_pipeline.store.counting import ACCOUNT_KEY, COUNTS, FACTOR, IS_BY_PERSON
from ledger_pipeline.store.digests import streamed
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.section import LedgerSection
from ledger_pipeline.store.settlement_records import EventToSelect, JudgedEvent

# Facts are those that the epoch closed with where it closed with a policy; of others nothing was pinned, and what has
# been told since is what there is. An event that was never curated is whose it would be.
JUDGED = text(f"""
    SELECT event.id AS event_id, event.source, event.event_type, event.platform_user_id AS user_id,
        event.platform_login AS login, event.event_time, jsonb_build_object(
            'repository', event.metadata -> 'repository', 'number', event.metadata -> 'number',
            'state', event.metadata -> 'state'
        ) AS metadata, latest.facts,
        COALESCE(
            curation.user_id, binding.user_id,
            CASE WHEN epoch.status = 'open' OR epoch.pinned_spec ? '{CLAIMANTS}' THEN {ACCOUNT_KEY} END
        ) AS counts_for, COALESCE(curation.included, true) AS included,
        curation.weight_override_milli, {COUNTS} AS counts, {FACTOR} AS weight_factor_milli,
        COALESCE({IS_BY_PERSON}, false) AS by_person
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
    LEFT JOIN user_bindings AS binding
        ON binding.node_id = epoch.node_id AND binding.provider = event.source
        AND binding.external_id = event.platform_user_id AND epoch.status <> 'finalized'
    WHERE epoch.id = :epoch_id AND epoch.node_id = :node_id
""")  # noqa: S608 (our own expressions)


class WhatIf(LedgerSection):
    """What another policy or other weights would decide by."""

    def judged_events(self, epoch: Epoch) -> Iterator[JudgedEvent]:
        """Every event of the epoch, streamed, in no order."""
        with self._transaction() as connection:
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))  # the reader takes its time
            with streamed(connection, JUDGED, self._of(epoch)) as rows:
                for row in rows:
                    yield JudgedEvent(EventToSelect(*row[:8]), *row[8:])
