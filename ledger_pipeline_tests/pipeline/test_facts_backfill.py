"""Facts of events that have none are read again: what is gone is noted, a stop loses a batch, and no event changes."""

from dataclasses import replace

import pytest

from ledger_pipeline.core.errors import SourceRefused
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.pipeline.facts_backfill import FactsBackfill, backfill_facts
from ledger_pipeline.pipeline.scan import SourceScopeScan
from ledger_pipeline.sources.simulator.faults import Fault, HeavyItem, NullItem
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure, World
from ledger_pipeline.sources.stopping import Stopped, StopSignal
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import FactsCount
from ledger_pipeline.store.scan_records import PageContent
from ledger_pipeline_tests.builders import SCOPE_ID, scope
from ledger_pipeline_tests.pipeline.collecting import HOUR, LAST_WEEK, NOW, THIS_WEEK, Collect, stored_ids
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, repository, review

OTHER = "cogni-dao/other"
ITEMS = (
    merged(1, NOW - HOUR, reviews=(review(1, NOW - HOUR), review(2, NOW - HOUR))),
    merged(2, NOW - HOUR),
    issue(3, closures=(Closure(NOW - HOUR),)),
)
BOTH = World((repository(*ITEMS), repository(merged(4, NOW - HOUR), name=OTHER, database_id=2)))
PULL_REQUEST = f"github:pr:{NAME}:1"


@pytest.fixture
def without_facts(
    github: Simulator, ledger: PostgresLedger, run: Collect, monkeypatch: pytest.MonkeyPatch
) -> Simulator:
    """A ledger as it was collected before there were facts."""
    content = SourceScopeScan._content

    def without(self: SourceScopeScan, *given: object) -> PageContent:
        return replace(content(self, *given), facts=())  # type: ignore[arg-type]

    github.replace_world(BOTH)
    with monkeypatch.context() as patch:
        patch.setattr(SourceScopeScan, "_content", without)
        run(of=scope(NAME, OTHER))
    assert len(stored_ids(ledger)) == 6
    assert ledger.facts.counts(SCOPE_ID, [THIS_WEEK]) == {THIS_WEEK: FactsCount()}
    github.clear_requests()
    return github


def backfill(
    github: Simulator, ledger: PostgresLedger, of: Scope | None = None, page_size: int = 100, **options: object
) -> FactsBackfill:
    with github_source(github.url, page_size) as source:
        return backfill_facts(source, ledger, of or scope(NAME, OTHER), [LAST_WEEK, THIS_WEEK], **options)  # type: ignore[arg-type]


def known(ledger: PostgresLedger) -> dict[str, str]:
    """The hash of the latest facts of each event that has any."""
    [epoch] = ledger.epochs.within(SCOPE_ID, THIS_WEEK)
    return {row.event_id: row.facts_hash for row in ledger.facts.pinned(epoch.id)}


def test_events_without_facts_get_those_that_a_scan_tells(
    without_facts: Simulator, ledger: PostgresLedger, other_ledger: PostgresLedger
) -> None:
    done = backfill(without_facts, ledger)
    assert (done.wanted, done.observed, done.gone, done.unreadable) == (6, 6, 0, 0)
    assert (done.requests, len(without_facts.requests)) == (2, 2)
    with github_source(without_facts.url) as source:
        collect(source, other_ledger, scope(NAME, OTHER), [THIS_WEEK])
    assert known(ledger) == known(other_ledger)
    assert ledger.facts.counts(SCOPE_ID, [LAST_WEEK, THIS_WEEK]) == {LAST_WEEK: FactsCount(), THIS_WEEK: FactsCount(6)}


def test_what_has_facts_is_not_asked_for(without_facts: Simulator, ledger: PostgresLedger) -> None:
    backfill(without_facts, ledger)
    without_facts.clear_requests()
    assert backfill(without_facts, ledger) == FactsBackfill()
    assert len(without_facts.requests) == 0


def test_what_the_source_has_no_more_is_noted_as_gone(without_facts: Simulator, ledger: PostgresLedger) -> None:
    left = (replace(ITEMS[0], reviews=ITEMS[0].reviews[:1]), ITEMS[2])
    without_facts.replace_world(World((repository(*left), BOTH.repositories[1])))
    done = backfill(without_facts, ledger)
    assert (done.wanted, done.observed, done.gone) == (6, 4, 2)
    [row] = ledger.facts.of_event([SCOPE_ID], f"github:pr:{NAME}:2")
    assert row.facts == {"eventType": "pr_merged", "isGone": True}
    [row] = ledger.facts.of_event([SCOPE_ID], f"github:review:{NAME}:1:4000000002")
    assert row.facts == {"eventType": "review_submitted", "isGone": True}
    assert ledger.facts.counts(SCOPE_ID, [THIS_WEEK]) == {THIS_WEEK: FactsCount(4, 2)}
    assert backfill(without_facts, ledger).wanted == 0


@pytest.mark.parametrize("fault", [HeavyItem(1), NullItem(1)])
def test_an_item_that_cannot_be_read_keeps_no_other_from_its_facts(
    without_facts: Simulator, ledger: PostgresLedger, fault: Fault
) -> None:
    without_facts.faults.for_repository(NAME, fault)
    done = backfill(without_facts, ledger)
    assert (done.observed, done.gone, done.unreadable, done.failures) == (3, 0, 3, [])
    without_facts.faults.clear()
    assert backfill(without_facts, ledger).observed == 3


def test_a_repository_that_cannot_be_asked_fails_alone_and_nothing_of_it_is_gone(
    without_facts: Simulator, ledger: PostgresLedger
) -> None:
    without_facts.replace_world(World(BOTH.repositories[1:]))
    done = backfill(without_facts, ledger)
    assert (done.observed, done.gone, done.unreadable) == (1, 0, 5)
    [failure] = done.failures
    assert NAME in str(failure)


@pytest.mark.parametrize("repository_id", [77, BOTH.repositories[0].database_id])
def test_another_repository_under_the_name_says_nothing_of_these_events(
    without_facts: Simulator, ledger: PostgresLedger, repository_id: int
) -> None:
    strangers = repository(replace(ITEMS[1], database_id=99_999), database_id=repository_id)
    without_facts.replace_world(World((strangers, BOTH.repositories[1])))
    done = backfill(without_facts, ledger)
    assert (done.observed, done.gone) == (1, 0)
    assert isinstance(done.failures[0], SourceRefused)
    assert "another repository has this name now" in str(done.failures[0])


def test_a_stop_loses_no_more_than_the_batch_in_flight(without_facts: Simulator, ledger: PostgresLedger) -> None:
    stop = StopSignal()
    with pytest.raises(Stopped):
        backfill(without_facts, ledger, page_size=1, on_progress=lambda _: stop.tell(), stop=stop)
    stored = known(ledger)
    assert 0 < len(stored) < 6
    done = backfill(without_facts, ledger)
    assert done.wanted == 6 - len(stored)
    assert len(known(ledger)) == 6


def test_progress_is_told_after_each_batch(without_facts: Simulator, ledger: PostgresLedger) -> None:
    progress: list[tuple[int, int]] = []
    backfill(
        without_facts, ledger, page_size=1, on_progress=lambda done: progress.append((done.looked_at, done.wanted))
    )
    assert [looked_at for looked_at, _ in progress] == [1, 4, 5, 6]
    assert {wanted for _, wanted in progress} == {6}


def test_no_event_changes(without_facts: Simulator, ledger: PostgresLedger) -> None:
    before = list(ledger.events.within(SCOPE_ID, THIS_WEEK))
    backfill(without_facts, ledger)
    assert list(ledger.events.within(SCOPE_ID, THIS_WEEK)) == before
    assert ledger.facts.without(SCOPE_ID, GITHUB, [THIS_WEEK]) == []
