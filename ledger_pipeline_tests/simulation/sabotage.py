"""Collectors made wrong on purpose, each as a system we know of is or was: the simulation has to notice.

They stand between a collector and its source or store, or in the database, so that no code of ours is patched.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, text

from ledger_pipeline.core.errors import SourceError
from ledger_pipeline.core.sources import REVIEWS
from ledger_pipeline.store.scan_records import Cursor
from ledger_pipeline_tests.simulation.run import Collector, Sabotage

WEEK = timedelta(weeks=1)
OVERLAP = timedelta(minutes=10)
OVERWRITE = text("""
    UPDATE source_cursors SET cursor_value = :watermark, covered_from = :covered_from
    WHERE scope_id = :scope_id AND stream = :stream AND source_scope = :source_scope
""")


class Other:
    """`one`, but for the attributes given."""

    def __init__(self, one: Any, **attributes: Any) -> None:
        self._one = one
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._one, name)


def _finishing(store: Any, finish: Callable[..., Any]) -> Any:
    return Other(store, scans=Other(store.scans, finish=finish))


def _scanning(scan: Callable[[Collector, Any], Iterator[Any]]) -> Sabotage:
    """A collector whose source scans otherwise."""
    return lambda collector: replace(
        collector, source=Other(collector.source, scan=lambda request: scan(collector, request))
    )


def _with_floors(collector: Collector, request: Any, change: Callable[[Any], Any]) -> Iterator[Any]:
    floors = {stream: change(floor) for stream, floor in request.floors.items()}
    return iter(collector.source.scan(replace(request, floors=floors)))


def _without(collector: Collector, request: Any, drop: Callable[[Any], bool]) -> Iterator[Any]:
    for page in collector.source.scan(request):
        yield replace(page, events=tuple(event for event in page.events if not drop(event)))


def _swallowing(collector: Collector, request: Any) -> Iterator[Any]:
    pages = collector.source.scan(request)
    last = next(pages)
    try:
        for page in pages:
            yield last
            last = page
    except SourceError:
        last = replace(last, position=None)
    yield last


def _at_most_two_pages(collector: Collector, request: Any) -> Iterator[Any]:
    for page, is_last in zip(collector.source.scan(request), (False, True), strict=False):
        yield replace(page, position=None) if is_last else page


def _cursor_first(collector: Collector, request: Any) -> Iterator[Any]:
    pages = collector.source.scan(request)
    first = next(pages)
    now = first.retrieved_at
    cursors = [
        Cursor(collector.source.name, stream, request.source_scope, now, min(floor, now))
        for stream, floor in request.floors.items()
    ]
    collector.store.scans.finish(collector.scope_id, cursors, now)
    yield first
    yield from pages


def _first_reviews_only(collector: Collector, request: Any) -> Iterator[Any]:
    for page in collector.source.scan(request):
        seen: Counter[object] = Counter()
        kept = []
        for event in page.events:
            seen[event.metadata["number"]] += event.stream == REVIEWS
            if event.stream != REVIEWS or seen[event.metadata["number"]] <= 100:
                kept.append(event)
        yield replace(page, events=tuple(kept))


def _with_cursors(change: Callable[[Collector, Cursor], Cursor]) -> Sabotage:
    """A collector that saves other cursors."""

    def sabotaged(collector: Collector) -> Collector:
        def advance(scope_id: Any, cursors: Any, *arguments: Any, **options: Any) -> Any:
            changed = [change(collector, cursor) for cursor in cursors]
            return collector.store.scans.finish(scope_id, changed, *arguments, **options)

        return replace(collector, store=_finishing(collector.store, advance))

    return sabotaged


def _last_cursor_wins(collector: Collector) -> Collector:
    def advance(scope_id: Any, cursors: Any, *arguments: Any, **options: Any) -> Any:
        answer = collector.store.scans.finish(scope_id, cursors, *arguments, **options)
        with collector.engine.begin() as connection:
            for cursor in cursors:
                connection.execute(OVERWRITE, {**asdict(cursor), "scope_id": scope_id})
        return answer

    return replace(collector, store=_finishing(collector.store, advance))


COLLECTORS: dict[str, Sabotage] = {
    "no overlap": _scanning(lambda own, request: _with_floors(own, request, lambda floor: floor + OVERLAP)),
    "floor from the window only": _scanning(
        lambda own, request: _with_floors(own, request, lambda floor: max(floor, own.span.start))
    ),
    "a failed scan counts as finished": _scanning(_swallowing),
    "a scan stops at a limit": _scanning(_at_most_two_pages),
    "cursor saved before the pages": _scanning(_cursor_first),
    "nested reviews not followed": _scanning(_first_reviews_only),
    "events of other windows dropped": _scanning(
        lambda own, request: _without(own, request, lambda event: event.event_time not in own.span)
    ),
    "events before the floor dropped": _scanning(
        lambda own, request: _without(
            own, request, lambda event: event.event_time < request.floors.get(event.stream, event.event_time)
        )
    ),
    "cursor is the time the scan ended": _with_cursors(lambda own, cursor: replace(cursor, watermark=own.github.date)),
    "coverage claimed that was not read": _with_cursors(
        lambda _, cursor: replace(cursor, covered_from=cursor.covered_from and cursor.covered_from - WEEK)
    ),
    "the last cursor saved wins": _last_cursor_wins,
}

DATABASES: dict[str, str] = {
    "renamed objects not recognised": "DROP INDEX activity_events_source_object",
    "refused events dropped in silence": """
        CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER forget BEFORE INSERT ON rejected_events FOR EACH ROW EXECUTE FUNCTION forget();
    """,
    "late events stored all the same": """
        DROP TRIGGER activity_events_refuse_late ON activity_events;
        CREATE FUNCTION store_late() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO activity_events (id, source, event_type, platform_user_id, platform_login, artifact_url,
                metadata, payload_hash, source_object_id, event_time, node_id, scope_id, producer, producer_version,
                retrieved_at)
            VALUES (NEW.event_id, NEW.source, NEW.event_type, NEW.platform_user_id, NEW.platform_login,
                NEW.artifact_url, NEW.metadata, NEW.payload_hash, NEW.source_object_id, NEW.event_time, NEW.node_id,
                NEW.scope_id, NEW.producer, NEW.producer_version, NEW.retrieved_at)
            ON CONFLICT DO NOTHING;
            RETURN NEW;
        END $$;
        CREATE TRIGGER store_late BEFORE INSERT ON rejected_events FOR EACH ROW EXECUTE FUNCTION store_late();
    """,
    "facts are not updated": """
        CREATE FUNCTION keep_first() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (SELECT FROM event_facts WHERE (scope_id, event_id) = (NEW.scope_id, NEW.event_id)) THEN
                RETURN NULL;
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER keep_first BEFORE INSERT ON event_facts FOR EACH ROW EXECUTE FUNCTION keep_first();
    """,
    "rename ignored": """
        CREATE FUNCTION forget_id() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.source_scope_id := NULL;
            RETURN NEW;
        END $$;
        CREATE TRIGGER forget_id BEFORE INSERT ON scan_receipts FOR EACH ROW EXECUTE FUNCTION forget_id();
    """,
    "co-author's part dropped": """
        CREATE FUNCTION drop_last() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (SELECT FROM activity_co_authors WHERE (epoch_id, event_id) = (NEW.epoch_id, NEW.event_id)) THEN
                RETURN NULL;
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER drop_last BEFORE INSERT ON activity_co_authors FOR EACH ROW EXECUTE FUNCTION drop_last();
    """,
    "stored events change": """
        DROP TRIGGER activity_events_immutable ON activity_events;
        CREATE FUNCTION rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE activity_events SET payload_hash = NEW.payload_hash WHERE id = NEW.event_id
                AND scope_id = NEW.scope_id;
            RETURN NEW;
        END $$;
        CREATE TRIGGER rewrite BEFORE INSERT ON rejected_events FOR EACH ROW EXECUTE FUNCTION rewrite();
    """,
}


def damage(engine: Engine, name: str) -> None:
    """Make the database wrong."""
    with engine.begin() as connection:
        connection.execute(text(DATABASES[name]))


def _with_facts(change: Callable[[Any], Any]) -> Sabotage:
    """A collector whose source says other facts of pull requests, reviews and issues."""

    def scan(collector: Collector, request: Any) -> Iterator[Any]:
        for page in collector.source.scan(request):
            changed = (replace(observation, facts=change(observation.facts)) for observation in page.facts)
            yield replace(page, facts=tuple(changed))

    return _scanning(scan)


ROUTES: dict[str, Sabotage] = {
    "label claim ignored": _with_facts(lambda facts: facts if facts.is_gone else replace(facts, labels=())),
    "paths not asked for": _scanning(lambda own, request: iter(own.source.scan(replace(request, tells_paths=False)))),
    "co-author lost": _with_facts(
        lambda facts: replace(facts, co_authors=facts.co_authors[1:]) if getattr(facts, "co_authors", None) else facts
    ),
}
