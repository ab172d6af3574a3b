"""Facts of events that have none, as those have that were stored before facts were kept: their items are read again.

Which events those are is all the state there is. A batch is one transaction, so a stop loses the batch in flight, and
the next call goes on behind what is stored. What is observed so is of now: an epoch that is closed already keeps what
it closed with.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledger_pipeline.core.errors import SourceError, SourceRefused
from ledger_pipeline.core.facts import Observation, gone
from ledger_pipeline.core.sources import streams_by_event_type
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.unread import ItemKey
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.containment import contained
from ledger_pipeline.pipeline.coverage import known_source_scope_ids
from ledger_pipeline.pipeline.selection import with_names
from ledger_pipeline.sources.port import ActivitySource, FactsPage, TellsFacts
from ledger_pipeline.sources.stopping import StopSignal
from ledger_pipeline.store.records import EventWithoutFacts, Producer

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

ItemEvents = Mapping[ItemKey, Sequence[EventWithoutFacts]]


@dataclass
class WindowFacts:
    """What a backfill did for `wanted` events of one window: facts of `observed` are known, `gone` are no more."""

    wanted: int = 0
    observed: int = 0
    gone: int = 0

    @property
    def unreadable(self) -> int:
        """The events that have no facts still, once the backfill is done."""
        return self.wanted - self.observed - self.gone


@dataclass
class FactsBackfill:
    """What a backfill did for `wanted` events without facts, or without paths that claims ask for.

    `unreadable` have none still, whatever the reason.
    `failures` are source_scopes that could not be asked to the end. `by_window` has the windows of wanted events.
    """

    wanted: int = 0
    observed: int = 0
    gone: int = 0
    unreadable: int = 0
    requests: int = 0
    points: int = 0
    failures: list[SourceError] = field(default_factory=list)
    by_window: defaultdict[EpochWindow, WindowFacts] = field(default_factory=lambda: defaultdict(WindowFacts))

    @property
    def looked_at(self) -> int:
        """The events of which it is known what became of them."""
        return self.observed + self.gone + self.unreadable


def backfill_facts(
    source: ActivitySource,
    store: "PostgresLedger",
    scope: Scope,
    windows: Sequence[EpochWindow],
    on_progress: Callable[[FactsBackfill], None] = lambda _: None,
    stop: StopSignal | None = None,
) -> FactsBackfill:
    """Observe what the source says now of each of the windows' events that has no facts; `on_progress` after a batch.

    Also where the changed paths are unknown, and claims ask for them.
    An event whose object the source has no more gets facts that say so. One source_scope that fails fails alone.
    Raises StoreUnavailable, StoreError, ConfigurationError, and Stopped once `stop` is told.
    """
    if not isinstance(source, TellsFacts):
        return FactsBackfill()  # its events lack nothing
    stop = stop or StopSignal()
    scope = with_names(store, scope)
    without = store.facts.without(scope.scope_id, source.name, windows, scope.repositories_by_path)
    done = FactsBackfill(wanted=len(without))
    by_source_scope: defaultdict[str, defaultdict[ItemKey, list[EventWithoutFacts]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for event in without:
        done.by_window[event.window].wanted += 1
        stream = streams_by_event_type().get(event.event_type)
        if stream is None or event.source_scope is None or event.number is None:
            done.unreadable += 1
        else:
            by_source_scope[event.source_scope][ItemKey(stream.item_kind, event.number)].append(event)
    cursors = store.scans.cursors(scope.scope_id, source.name)
    for source_scope, events in sorted(by_source_scope.items()):
        stop.check()
        of_name = {stream: cursor for (stream, name), cursor in cursors.items() if name == source_scope}
        part_of_scope = _Part(source, store, scope, source_scope, events, known_source_scope_ids(of_name))
        try:
            with contained(source.name, source_scope):
                tells_paths = scope.asks_paths(source_scope)
                for page in source.facts_of(source_scope, sorted(events), tells_paths=tells_paths):
                    stop.check()
                    part_of_scope.record(page, done)
                    on_progress(done)
        except SourceError as error:
            done.failures.append(error)
    done.unreadable = done.wanted - done.observed - done.gone
    return done


@dataclass(frozen=True)
class _Part:
    """The events of one source_scope, by the item that they come from; `known_ids` are what its scans read."""

    source: ActivitySource
    store: "PostgresLedger"
    scope: Scope
    source_scope: str
    events: ItemEvents
    known_ids: Collection[str]

    def record(self, page: FactsPage, done: FactsBackfill) -> None:
        """Keep what a page says, and count it. Raises SourceRefused where the name has passed on to another."""
        done.requests += page.usage.requests
        done.points += page.usage.points
        is_same = self._is_same(page)
        observed: list[Observation] = []
        gone_now: list[Observation] = []
        for item in page.items:
            facts = {observation.event_id: observation for observation in item.observations}
            for event in self.events[item.key]:
                of_window = done.by_window[event.window]
                if event.event_id in facts:
                    observed.append(facts[event.event_id])
                    of_window.observed += 1
                elif item.problem is None and is_same:
                    gone_now.append(Observation(event.event_id, gone(event.event_type)))
                    of_window.gone += 1
                else:
                    done.unreadable += 1
        producer = Producer(self.source.producer, self.source.producer_version)
        self.store.facts.record(self.scope.scope_id, [*observed, *gone_now], page.answered_at, producer)
        done.observed += len(observed)
        done.gone += len(gone_now)

    def _is_same(self, page: FactsPage) -> bool:
        """Whether it is known that the page is of the objects that are stored: else nothing of it is said to be gone.

        Raises SourceRefused where it is known that it is not.
        """
        is_same = page.source_scope_id in self.known_ids
        problem = "another repository has this name now"
        if self.known_ids and page.source_scope_id is not None and not is_same:
            raise SourceRefused(self.source.name, self.source_scope, problem)
        for item in page.items:
            for event in self.events[item.key]:
                object_id = item.object_ids.get(event.event_id)
                if object_id is None or event.source_object_id is None:
                    continue
                if object_id != event.source_object_id:
                    raise SourceRefused(
                        self.source.name, self.source_scope, f"{problem}: {event.event_id} was another object"
                    )
                is_same = True
        return is_same
