"""What is observed of events, as it is recorded: a row where it differs from the latest, and knows no less."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, text

from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.errors import FactsError
from ledger_pipeline.core.events import ActivityEvent
from ledger_pipeline.core.facts import Facts as EventFacts
from ledger_pipeline.core.facts import Observation, completed, facts_from_json, facts_json, facts_text
from ledger_pipeline.core.plain_text import short_message
from ledger_pipeline.store.records import AppendOutcome, Producer

_log = logging.getLogger(__name__)
LONGEST_FACTS_BYTES = 1_000_000
"""Of the facts of one event in canonical JSON. GitHub's are far shorter."""
_HELD = (AppendOutcome.NEW, AppendOutcome.DUPLICATE)

# Whoever writes facts of a scope does so alone: what is the last observation of an event is the same for both.
LOCK = text("""
    SELECT pg_advisory_xact_lock(
        hashtextextended('event_facts ' || CAST(:node_id AS text) || ' ' || CAST(:scope_id AS text), 0)
    )
""")
# The latest facts of events that know a field which is unknown now: asked before, or with rights that are lost.
KNOWN_BEFORE = text("""
    SELECT given.event_id, latest.facts
    FROM unnest(CAST(:event_ids AS text[]), CAST(:keys AS text[])) AS given (event_id, keys)
    CROSS JOIN LATERAL (
        SELECT facts, observed_at FROM event_facts AS earlier
        WHERE earlier.node_id = :node_id AND earlier.scope_id = :scope_id AND earlier.event_id = given.event_id
        ORDER BY earlier.recorded_at DESC LIMIT 1
    ) AS latest
    WHERE latest.observed_at <= :observed_at AND latest.facts - string_to_array(given.keys, ' ') <> '{}'
""")
# OFFSET 0 and LIMIT keep each look-up one of an index, whatever the planner believes of how many there are.
INSERT_CHANGED = text("""
    INSERT INTO event_facts (node_id, scope_id, event_id, facts_hash, facts, observed_at, producer, producer_version)
    SELECT :node_id, :scope_id, given.event_id, given.facts_hash, given.facts, :observed_at, :producer,
        :producer_version
    FROM (
        SELECT event_id, facts_hash, CAST(facts AS jsonb) AS facts
        FROM unnest(CAST(:event_ids AS text[]), CAST(:hashes AS text[]), CAST(:facts AS text[]))
            AS written (event_id, facts_hash, facts)
    ) AS given
    CROSS JOIN LATERAL (
        SELECT FROM activity_events AS event
        WHERE event.node_id = :node_id AND event.scope_id = :scope_id AND event.id = given.event_id
            AND event.event_type = given.facts ->> 'eventType'
        OFFSET 0
    ) AS event
    LEFT JOIN LATERAL (
        SELECT facts_hash, facts, observed_at FROM event_facts AS earlier
        WHERE earlier.node_id = :node_id AND earlier.scope_id = :scope_id AND earlier.event_id = given.event_id
        ORDER BY earlier.recorded_at DESC LIMIT 1
    ) AS latest ON true
    WHERE latest.observed_at IS NULL OR (
        latest.observed_at <= :observed_at
        AND (latest.facts_hash, latest.facts) IS DISTINCT FROM (given.facts_hash, given.facts)
    )
    RETURNING event_id
""")
# Of renamed repositories, whose events keep the ids that they were stored under.
STORED_AS = text("""
    SELECT given.id, (
        SELECT stored.id FROM activity_events AS stored
        WHERE stored.node_id = :node_id AND stored.scope_id = :scope_id AND stored.source = given.source
            AND stored.event_type = given.event_type AND stored.source_object_id = given.source_object_id
    )
    FROM unnest(CAST(:ids AS text[]), CAST(:sources AS text[]), CAST(:types AS text[]), CAST(:objects AS text[]))
        AS given (id, source, event_type, source_object_id)
""")


def of_stored(
    connection: Connection,
    scope: Mapping[str, object],
    observations: Sequence[Observation],
    events: Sequence[ActivityEvent],
    outcomes: Mapping[str, AppendOutcome],
) -> list[Observation]:
    """Those of `observations` that are of `events` as the ledger holds them, each by the id that the event has there.

    What was refused is not held: the facts of another object, or of another closing, are none of the stored event's.
    """
    if not observations:
        return []
    renamed = [event for event in events if outcomes[event.id] is AppendOutcome.RENAMED]
    stored_ids = {event.id: event.id for event in events if outcomes[event.id] in _HELD}
    if renamed:
        columns = {
            "ids": [event.id for event in renamed],
            "sources": [event.source for event in renamed],
            "types": [event.event_type for event in renamed],
            "objects": [event.source_object_id for event in renamed],
        }
        stored_ids |= dict(connection.execute(STORED_AS, {**scope, **columns}).all())
    return [
        replace(observation, event_id=stored_ids[observation.event_id])
        for observation in observations
        if stored_ids.get(observation.event_id) is not None
    ]


def record(
    connection: Connection,
    scope: Mapping[str, object],
    observations: Sequence[Observation],
    observed_at: datetime,
    producer: Producer,
) -> frozenset[str]:
    """As `Facts.record`, within the transaction of `connection`; after the events, whose epochs it holds as they do."""
    if not observations:
        return frozenset()
    connection.execute(LOCK, {"node_id": str(scope["node_id"]), "scope_id": str(scope["scope_id"])})
    facts_of = {observation.event_id: observation.facts for observation in observations}
    facts_of |= _completed(connection, scope, facts_of, observed_at)
    text_of = {event_id: _storable_text(facts) for event_id, facts in facts_of.items()}
    parameters = {
        **scope,
        "event_ids": list(text_of),
        "hashes": [sha256(facts.encode()).hexdigest() for facts in text_of.values()],
        "facts": list(text_of.values()),
        "observed_at": observed_at,
        "producer": producer.name,
        "producer_version": producer.version,
    }
    return frozenset(connection.scalars(INSERT_CHANGED, parameters))


def _completed(
    connection: Connection, scope: Mapping[str, object], facts_of: Mapping[str, EventFacts], observed_at: datetime
) -> dict[str, EventFacts]:
    """Those of `facts_of` that leave unknown what was known before, with that."""
    members_of = {event_id: facts_json(facts) for event_id, facts in facts_of.items()}
    parameters = {
        **scope,
        "event_ids": list(members_of),
        "keys": [" ".join(members) for members in members_of.values()],
        "observed_at": observed_at,
    }
    whole: dict[str, EventFacts] = {}
    unreadable: list[tuple[str, FactsError]] = []
    for event_id, stored in connection.execute(KNOWN_BEFORE, parameters):
        try:
            earlier = facts_from_json(str(members_of[event_id]["eventType"]), stored)
        except FactsError as error:
            unreadable.append((event_id, error))
            continue
        whole[event_id] = completed(facts_of[event_id], earlier)
    if unreadable:
        # A later version wrote them, or somebody by hand.
        event_id, problem = min(unreadable, key=lambda of: of[0])
        _log.warning(
            "the facts of %s that were recorded before cannot be read, such as those of %s (%s): what is observed now "
            "takes their place, and what only they knew is not known any more",
            counted(len(unreadable), "event"),
            short_message(event_id),
            short_message(str(problem)),
        )
    return whole


def _storable_text(facts: EventFacts) -> str:
    """What `facts_hash` is of. Where that is longer than the ledger keeps, the sets of it are unknown."""
    whole = facts_text(facts)
    if len(whole.encode()) <= LONGEST_FACTS_BYTES:
        return whole
    unknown: dict[str, Any] = {name: None for name, value in vars(facts).items() if isinstance(value, tuple)}
    return facts_text(replace(facts, **unknown))
