"""Core's and the pipeline's types <-> the wire shapes of `wire.py`. What comes in is checked: it was outside."""

from datetime import UTC, datetime
from typing import Any

from ledger_pipeline.core.errors import EventError, FactsError, PayloadError
from ledger_pipeline.core.events import ActivityEvent, SkippedActivity, parse_instant, payload_hash
from ledger_pipeline.core.facts import Observation, facts_from_json, facts_json
from ledger_pipeline.core.identifiers import why_not_an_account
from ledger_pipeline.core.sources import find_source_kind, source_kinds, streams_by_name
from ledger_pipeline.core.storable_text import is_storable
from ledger_pipeline.temporal_bridge.ledger_activities.wire import (
    EventWire,
    FactsWire,
    SkippedWire,
)


def utc(field: str, instant: datetime) -> datetime:
    """`instant` in UTC. Raises PayloadError naming `field` where that leaves the years 1 to 9999."""
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise PayloadError(field, f"{instant.isoformat()} leaves the years 1 to 9999 in UTC") from None


def event_to_wire(event: ActivityEvent) -> EventWire:
    """The event as callers see it."""
    return EventWire(**vars(event))


def event_from_wire(field: str, event: EventWire) -> ActivityEvent:
    """The event a caller hands back. Raises PayloadError, naming its id, where its facts contradict each other."""
    _check_kind(field, event.id, event)
    problem = why_not_an_account(event.source, event.platform_user_id)
    if problem is not None:
        raise PayloadError(f"{field}.platformUserId", f"{event.id}: {event.platform_user_id!r} {problem}")
    if not is_storable(_values(event)):
        raise PayloadError(field, f"{event.id!a} holds NUL or half a surrogate pair, which no ledger can hold")
    time_key = streams_by_name()[event.stream].hashed_metadata[-1]
    try:
        expected = payload_hash(event.id, event.event_type, event.platform_user_id, event.metadata)
        stated = parse_instant(event.metadata[time_key])
    except (EventError, TypeError) as error:
        raise PayloadError(f"{field}.metadata", f"{event.id}: {error}") from None
    if event.payload_hash != expected:
        raise PayloadError(f"{field}.payloadHash", f"{event.id} hashes to {expected}, not to {event.payload_hash}")
    if event.event_time != stated:
        problem = (
            f"{event.id} happened at {stated.isoformat()} (metadata.{time_key}), not {event.event_time.isoformat()}"
        )
        raise PayloadError(f"{field}.eventTime", problem)
    return ActivityEvent(**{**_values(event), "event_time": stated})


def skipped_to_wire(item: SkippedActivity) -> SkippedWire:
    """The skipped activity as callers see it."""
    return SkippedWire(**vars(item))


def skipped_from_wire(field: str, item: SkippedWire) -> SkippedActivity:
    """The skipped activity a caller hands back. Raises PayloadError, naming its id, where it contradicts itself."""
    _check_kind(field, item.event_id, item)
    return SkippedActivity(**{**_values(item), "event_time": utc(f"{field}.eventTime", item.event_time)})


def facts_to_wire(observation: Observation) -> FactsWire:
    """The facts of an event as callers see them."""
    return FactsWire(event_id=observation.event_id, facts=facts_json(observation.facts))


def facts_from_wire(field: str, item: FactsWire) -> Observation:
    """The facts a caller hands back. Raises PayloadError, naming the event, where they are none."""
    try:
        return Observation(item.event_id, facts_from_json(str(item.facts.get("eventType")), item.facts))
    except FactsError as error:
        raise PayloadError(f"{field}.facts", f"{item.event_id}: {error}") from None


def _check_kind(field: str, item_id: str, item: EventWire | SkippedWire) -> None:
    source = find_source_kind(item.source)
    if source is None:
        names = ", ".join(kind.name for kind in source_kinds())
        raise PayloadError(f"{field}.source", f"{item_id}: {item.source!r} is no source of this ledger: {names}")
    if item.stream not in source.stream_names:
        names = ", ".join(source.stream_names)
        raise PayloadError(f"{field}.stream", f"{item_id}: {item.stream} is no stream of {source.name}: {names}")
    expected = streams_by_name()[item.stream].event_type
    if item.event_type != expected:
        raise PayloadError(f"{field}.eventType", f"{item_id}: of {item.stream}, so {expected}, not {item.event_type}")


def _values(item: EventWire | SkippedWire) -> dict[str, Any]:
    return {name: getattr(item, name) for name in type(item).model_fields}
