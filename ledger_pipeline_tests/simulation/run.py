"""One simulation: draw from the seed, run the schedule, heal, and compare the ledger with the world."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

from ledger_pipeline.core.errors import EpochNotReady
from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.core.windows import EpochWindow, span
from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.pipeline.epochs import close
from ledger_pipeline.pipeline.report import CollectReport
from ledger_pipeline.sources.simulator.faults import After
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import World
from ledger_pipeline.store import migrations
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline_tests.builders import NODE_ID, scope
from ledger_pipeline_tests.postgres import fresh_database, running_postgres
from ledger_pipeline_tests.simulation.faulty_store import Crash, FaultyStore, Turns, TurnTakingSource
from ledger_pipeline_tests.simulation.ledger_rows import LedgerRows, read_ledger
from ledger_pipeline_tests.simulation.schedule import SLACK, Collection, Step, Toward, draw_schedule
from ledger_pipeline_tests.simulation.settling import Settling
from ledger_pipeline_tests.simulation.truth import Truth
from ledger_pipeline_tests.simulation.worlds import START, History, draw_history
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.store.settlement import APPROVERS

HOUR = timedelta(hours=1)
NEVER = datetime.max.replace(tzinfo=UTC)
GRACE = timedelta(days=1)  # the scopes' own: when closing scans may begin
INHERITED_CURSOR = text("""
    INSERT INTO source_cursors (node_id, scope_id, source, stream, source_scope, cursor_value, retrieved_at)
    VALUES (:node_id, :scope_id, 'github', :stream, :source_scope, :at, :at)
""")
PLENTY = 2**31 - 1
MISSING = "cogni-dao/gone"
SETTLED = 0.3  # of all seeds: signing is slow


@dataclass
class Stage:
    """What simulations share: a simulated GitHub and a migrated database. Each has a scope of its own."""

    github: Simulator
    engine: Engine
    scopes: int = 0

    def next_scope_id(self) -> UUID:
        """A scope nobody has used."""
        self.scopes += 1
        return UUID(int=self.scopes)


@contextmanager
def github_and_ledger(database_url: str) -> Iterator[Stage]:
    """A stage on an empty, migrated database."""
    engine = make_engine(database_url)
    try:
        with Simulator(World(), as_of=START, points_per_hour=PLENTY) as github:
            yield Stage(github, engine)
    finally:
        engine.dispose()


@contextmanager
def stage_of_its_own() -> Iterator[Stage]:
    """A stage with its own Postgres."""
    with (
        tempfile.TemporaryDirectory(prefix="lp") as folder,
        running_postgres(Path(folder)) as server,
        fresh_database(server) as url,
    ):
        migrations.upgrade(url)
        with github_and_ledger(url) as stage:
            yield stage


@dataclass
class SimulatedGitHub:
    """The world at a time: `now` is the true one, `date` what GitHub says, `page_lag` how old its pages are."""

    simulator: Simulator
    history: History
    now: datetime
    page_lag: timedelta = timedelta(0)
    date_skew: timedelta = timedelta(0)

    @property
    def date(self) -> datetime:
        return self.now + self.date_skew

    def move(self, by: timedelta) -> None:
        """Let time pass."""
        self.now += by
        self.show()

    def show(self) -> None:
        """Serve what there is to see now."""
        world = self.history.at(min(self.now - self.page_lag, self.date))
        if world is not self.simulator.world:
            self.simulator.replace_world(world)
        self.simulator.set_clock(self.date)


@dataclass(frozen=True)
class Collector:
    """One collection's parts, for who wants to make them wrong."""

    source: Any
    store: Any
    scope_id: UUID
    span: EpochWindow
    github: SimulatedGitHub
    engine: Engine


Sabotage = Callable[[Collector], Collector]


def simulate(seed: int, stage: Stage, sabotage: Sabotage | None = None, *, concurrency: int = 1) -> None:
    """Raises AssertionError naming the seed, how to replay it, and what was done until it broke.

    Only with a `concurrency` of one does a seed decide in which order requests come, and with it everything.
    """
    simulation = Simulation(seed, stage, sabotage, concurrency)
    try:
        simulation.run()
    except Exception as problem:
        raise AssertionError(simulation.account_of(problem)) from problem


@dataclass
class Simulation:
    """All that a seed decides, and what has been done so far."""

    seed: int
    stage: Stage
    sabotage: Sabotage | None = None
    concurrency: int = 1
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        random, newer = Random(self.seed), Random(f"newer {self.seed}")
        self.history = draw_history(random, newer, Random(f"newest {self.seed}"))
        names = self.history.names.values()
        self.schedule = draw_schedule(random, newer, len(names))
        self.missing = {MISSING} if random.random() < 0.1 else set()
        # GitHub takes any case, and answers in its own.
        spelled = {name.upper() if random.random() < 0.1 else name: number for number, name in enumerate(names, 1)}
        self.spelling = {number: name for name, number in spelled.items()}
        self.truth = Truth(self.history, spelled, SLACK)
        source_scopes = [*spelled, *self.missing]
        random.shuffle(source_scopes)
        scope_id = self.stage.next_scope_id()
        self.scope = scope(
            *source_scopes,
            scope_id=scope_id,
            length_days=self.history.calendar.length_days,
            approvers=APPROVERS,
            base_issuance_credits=random.randrange(1, 20_000),
        )
        start = START + (self.history.end - START) * random.uniform(0.1, 0.7)
        self.github = SimulatedGitHub(self.stage.github, self.history, start.replace(microsecond=0))
        if random.random() < 0.15:
            self._inherit_cursor(random.choice(list(spelled)), random.choice(GITHUB_STREAMS))
        self.random = random

    def run(self) -> None:
        """The schedule, then healing, then the way to signed statements; what was finalized never changes again."""
        self.github.simulator.faults.clear()
        for step in self.schedule:
            self._run_step(step)
        self._heal()
        if self.random.random() < SETTLED:
            self._settle()

    def account_of(self, problem: Exception) -> str:
        """What broke, and after what."""
        lines = "\n".join(f"  {number}. {line}" for number, line in enumerate(self.done, 1))
        replay = f"python -m ledger_pipeline_tests.simulation --seed {self.seed}"
        return f"seed {self.seed}: {problem}\nreplay: {replay}\n{lines}"

    def _run_step(self, step: Step) -> None:
        github = self.github
        github.simulator.faults.clear()
        github.simulator.clear_requests()
        self._advance(step)
        github.page_lag, github.date_skew = step.page_lag, step.date_skew
        github.show()
        self._place_faults(step)
        self.done.append(f"{github.now:%m-%d %H:%M:%S} {step}")
        began = github.date
        calls = [(collection, self._windows(collection.oldest, collection.newest)) for collection in step.collections]
        outcomes = self._collect_at_once(calls)
        ledger = self._checked()
        for (collection, windows), outcome in zip(calls, outcomes, strict=True):
            if isinstance(outcome, Crash):
                self.done[-1] += f"\n     -> crash {outcome}"
                continue
            failed = {failure.source_scope: type(failure).__name__ for failure in outcome.failures}
            self.done[-1] += f"\n     -> failed: {failed}" if failed else "\n     -> ok"
            streams = collection.streams or GITHUB_STREAMS
            self.truth.check_collected(ledger, span(windows), streams, failed.keys(), began)
            assert self.missing <= failed.keys(), "a missing repository was collected"

    def _advance(self, step: Step) -> None:
        now = self.github.now
        if step.advance.toward is Toward.NEXT_CHANGE:
            now = self.history.next_change(now) or now
        elif step.advance.toward is Toward.NEXT_WINDOW:
            now = self.history.calendar.window_at(now).end
        self.github.now = max(self.github.now, now + step.advance.by)

    def _place_faults(self, step: Step) -> None:
        faults = self.github.simulator.faults
        for placed in step.faults:
            if placed.request is not None:
                faults.on_request(placed.request, placed.fault)
            elif placed.repository is not None:
                faults.for_repository(self.spelling[placed.repository], placed.fault)
        if step.drift:
            faults.when(lambda _: True, After(lambda: self.github.move(step.drift)), times=12)
        if step.closing is not None:
            window = self._windows(step.closing.window, step.closing.window)[0]
            if step.closing.after_request is None:
                self._close(window)
            else:
                faults.on_request(step.closing.after_request, After(lambda: self._close(window)))

    def _close(self, window: EpochWindow) -> None:
        ledger = read_ledger(self.stage.engine, self.scope.scope_id)
        if window.start in ledger.epochs:
            store = PostgresLedger(self.stage.engine, NODE_ID)
            for epoch in store.epochs.within(self.scope.scope_id, window):
                try:
                    close(store, self.scope, epoch)
                except EpochNotReady:
                    # Only an item that may be the epoch's keeps it open.
                    assert any(row.item.may_touch(window) for row in store.unread.items(self.scope.scope_id))
                    return
            # What a collection was storing when the epoch closed is in it, or was refused: look only now.
            self.truth.close(window, read_ledger(self.stage.engine, self.scope.scope_id))

    def _windows(self, oldest: int, newest: int) -> list[EpochWindow]:
        """Counted back from the running window, by the true time."""
        calendar = self.history.calendar
        now = self.github.now
        return [calendar.window_at(now - back * calendar.length) for back in range(oldest, newest - 1, -1)]

    def _collect_at_once(self, calls: Sequence[tuple[Collection, list[EpochWindow]]]) -> list[CollectReport | Crash]:
        """Each collector in a thread; what each ended with. Only crashes are taken for granted."""
        turns = Turns(len(calls), Random(self.random.random()))
        outcomes: list[CollectReport | BaseException] = [Crash("never began")] * len(calls)

        def run(number: int) -> None:
            turns.wait(number)
            try:
                outcomes[number] = self._collect(*calls[number], lambda: turns.hand_over(number))
            except BaseException as error:  # noqa: BLE001
                outcomes[number] = error
            finally:
                turns.leave(number)

        threads = [Thread(target=run, args=(number,)) for number in range(1, len(calls))]
        for thread in threads:
            thread.start()
        run(0)
        for thread in threads:
            thread.join()
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, Crash):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, CollectReport | Crash)]

    def _collect(
        self, collection: Collection, windows: list[EpochWindow], before_call: Callable[[], None] = lambda: None
    ) -> CollectReport:
        store = FaultyStore(PostgresLedger(self.stage.engine, NODE_ID), collection.crash, before_call)
        with github_source(self.github.simulator.url, collection.page_size) as github:
            source = TurnTakingSource(github, before_call)
            parts = Collector(source, store, self.scope.scope_id, span(windows), self.github, self.stage.engine)
            collector = self.sabotage(parts) if self.sabotage is not None else parts
            return collect(
                collector.source,
                collector.store,
                self.scope,
                windows,
                streams=collection.streams,
                full_refresh=collection.full_refresh,
                concurrency=self.concurrency,
            )

    def _inherit_cursor(self, source_scope: str, stream: str) -> None:
        """A cursor of the system we join: where it stands says nothing of what is in the ledger."""
        with self.stage.engine.begin() as connection:
            connection.execute(
                INHERITED_CURSOR,
                {
                    "node_id": NODE_ID,
                    "scope_id": self.scope.scope_id,
                    "stream": stream,
                    "source_scope": source_scope,
                    "at": self.github.now - HOUR,
                },
            )

    def _checked(self) -> LedgerRows:
        """The ledger, which keeps every law that holds at any time."""
        ledger = read_ledger(self.stage.engine, self.scope.scope_id)
        self.truth.check(ledger, self.github.now)
        return ledger

    def _heal(self) -> None:
        """All goes well for an hour, and everything there is to see is in the ledger; reading it anew adds nothing.

        But for items that came back with their old update: where no count tells, the closing scan has them, which
        cannot have been made before of an epoch that was not past its grace.
        """
        github = self.github
        github.simulator.faults.clear()
        github.page_lag = github.date_skew = timedelta(0)
        github.move(HOUR)
        windows = list(
            self.history.calendar.windows_between(
                self.history.calendar.window_at(START), self.history.calendar.window_at(github.now)
            )
        )
        closing = [window for window in windows if window.end + GRACE > github.now]
        healed = self._collect_whole(windows, full_refresh=False, restored_from=NEVER)
        assert not healed.unread, f"nothing is wrong any more, and still unread: {healed.unread}"
        if self.truth.restored:
            github.move(windows[-1].end + GRACE + HOUR - github.now)
            healed = self._collect_whole(windows, full_refresh=False, restored_from=closing[0].start)
        refreshed = self._collect_whole(windows, full_refresh=True)
        differences = {
            event_id
            for event_id, row in refreshed.events.items()
            if event_id not in healed.events and (row.event_type, row.source_object_id) not in self.truth.restored
        }
        assert not differences, f"a full refresh found what was lost: {differences}"
        self.truth.check_facts(refreshed, github.now)

    def _settle(self) -> None:
        """Some epochs are settled, and reading everything once more changes nothing of them."""
        ledger = PostgresLedger(self.stage.engine, NODE_ID)
        calendar = self.history.calendar
        windows = list(calendar.windows_between(calendar.window_at(START), calendar.window_at(self.github.now)))
        Settling(self.stage.engine, self.scope, self.random, self.done.append).run(
            ledger.epochs.within(self.scope.scope_id, span(windows))
        )
        for epoch in ledger.epochs.within(self.scope.scope_id, span(windows)):
            if epoch.status is not EpochStatus.OPEN and epoch.window not in self.truth.closed:
                self.truth.close(epoch.window, read_ledger(self.stage.engine, self.scope.scope_id))
        self._collect_whole(windows, full_refresh=True)

    def _collect_whole(
        self, windows: list[EpochWindow], *, full_refresh: bool, restored_from: datetime = START
    ) -> LedgerRows:
        collection = Collection(0, 0, None, full_refresh, 50, None)
        began = self.github.date
        self.done.append(f"{began:%m-%d %H:%M:%S} healing: all windows{', full refresh' if full_refresh else ''}")
        report = self._collect(collection, windows)
        failed = {failure.source_scope for failure in report.failures}
        assert failed == self.missing, f"failed with nothing wrong: {report.failures}"
        ledger = self._checked()
        self.truth.check_collected(ledger, span(windows), GITHUB_STREAMS, failed, began)
        self.truth.check_complete(ledger, self.github.now, restored_from)
        return ledger
