"""Items that GitHub shows and does not give: in nobody's way, asked for again, not forgotten before they are read."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.core.sources import ISSUE, ISSUES, PULL_REQUEST
from ledger_pipeline.core.unread import ItemKey
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.pipeline.completeness import Completeness, window_completeness
from ledger_pipeline.pipeline.epochs import close, close_due_epochs
from ledger_pipeline.pipeline.report import ScanOutcome
from ledger_pipeline.pipeline.unread import ASKED_AT_ONCE, KnownUnread, exclusion_of, unread_summary
from ledger_pipeline.sources.github.source import GitHubSource
from ledger_pipeline.sources.port import ScanPage, ScanRequest
from ledger_pipeline.sources.simulator.faults import FailedAnswer, Fault, HeavyItem, NullItem, NullNode, OddField
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure, World
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import AppendOutcome, EpochStatus, StoredUnread
from ledger_pipeline_tests.builders import SCOPE_ID, instant, note_unread, scope, unread, window
from ledger_pipeline_tests.pipeline.collecting import ALWAYS, HOUR, LAST_WEEK, NOW, THIS_WEEK, Collect, stored_ids
from ledger_pipeline_tests.postgres import set_status
from ledger_pipeline_tests.simulation.faulty_store import Crash, FaultyStore
from ledger_pipeline_tests.simulation.schedule import CrashPoint
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, repository, review, world

DAY = timedelta(days=1)
OTHER = "cogni-dao/other"
SEVEN = ItemKey(PULL_REQUEST, 7)
AFTER_GRACE = THIS_WEEK.end + DAY + HOUR
NEXT_WEEK = EpochWindow(THIS_WEEK.end, THIS_WEEK.end + 7 * DAY)
BAD = merged(7, NOW - 2 * HOUR, reviews=(review(1, NOW - 3 * HOUR),))
GOOD = merged(8, NOW - 4 * HOUR)
OF_BAD = [f"github:review:{NAME}:7:4000000001", f"github:pr:{NAME}:7"]
OF_GOOD = [f"github:pr:{NAME}:8"]


@pytest.fixture
def broken(github: Simulator) -> Simulator:
    """A GitHub that gives up on one of its two pull requests, made on 5 January."""
    github.replace_world(world(BAD, GOOD))
    always(github, HeavyItem(7))
    return github


def always(github: Simulator, fault: Fault) -> None:
    github.faults.when(lambda _: True, fault)


def mended(github: Simulator, at: datetime) -> None:
    """From `at` on GitHub gives everything, and nothing has changed there."""
    github.faults.clear()
    github.set_clock(at)
    github.clear_requests()


def known(ledger: PostgresLedger) -> list[ItemKey]:
    return [row.item.key for row in ledger.unread.items(SCOPE_ID)]


def completeness(ledger: PostgresLedger, of: EpochWindow = THIS_WEEK) -> Completeness:
    return window_completeness(ledger, scope(NAME), [of])[of]


# Recorded.


def test_an_unread_item_holds_up_nothing_else_and_is_remembered(
    broken: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    report = run()
    assert not report.failures
    assert stored_ids(ledger) == OF_GOOD
    assert {cursor.watermark for cursor in ledger.scans.cursors(SCOPE_ID, "github").values()} == {NOW}
    [row] = ledger.unread.items(SCOPE_ID)
    assert (row.source_scope, row.item.key, row.since, row.item.latest) == (NAME, SEVEN, NOW, NOW)
    assert row.item.earliest == instant("2026-01-05")
    assert report.unread == (row,)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_wherever_a_collection_dies_the_item_is_read_in_the_end(
    broken: Simulator, ledger: PostgresLedger, run: Collect, after: bool
) -> None:
    calls = 0
    while True:
        calls += 1
        store = FaultyStore(ledger, CrashPoint(calls, after), lambda: None)
        try:
            with github_source(broken.url, page_size=1) as source:
                collect(source, store, scope(NAME), [THIS_WEEK], concurrency=1)  # type: ignore[arg-type]
        except Crash:
            passed = ledger.scans.cursors(SCOPE_ID, "github") or ledger.scans.checkpoint(SCOPE_ID, "github", NAME)
            assert not passed or known(ledger) == [SEVEN]
        else:
            break
    assert "finish" in store.calls
    mended(broken, NOW + HOUR)
    run()
    assert stored_ids(ledger) == [*OF_GOOD, *OF_BAD]
    assert known(ledger) == []


# Asked for again.


def test_it_is_asked_for_again_even_where_all_is_covered_and_forgotten_once_it_is_read(
    broken: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    broken.set_clock(THIS_WEEK.end + HOUR)
    run()
    assert run().unread[0].last_tried_at == THIS_WEEK.end + HOUR
    mended(broken, THIS_WEEK.end + 2 * HOUR)
    report = run()
    assert [scope_report.outcome for scope_report in report.source_scopes] == [ScanOutcome.SCANNED]
    assert report.unread == ()
    assert stored_ids(ledger) == [*OF_GOOD, *OF_BAD]
    assert {cursor.watermark for cursor in ledger.scans.cursors(SCOPE_ID, "github").values()} == {THIS_WEEK.end + HOUR}
    broken.clear_requests()
    assert run().asked_nothing
    assert broken.requests == ()


def test_heads_that_say_nothing_new_do_not_keep_it_from_being_asked_for(
    broken: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    of = scope(NAME, OTHER)
    broken.replace_world(World((repository(BAD), repository(merged(9, NOW - HOUR), name=OTHER, database_id=2))))
    run(of=of)
    mended(broken, NOW + HOUR)
    report = run(of=of)
    assert [scope_report.outcome for scope_report in report.source_scopes] == [
        ScanOutcome.SCANNED,
        ScanOutcome.UNCHANGED,
    ]
    assert stored_ids(ledger) == [*OF_BAD, f"github:pr:{OTHER}:9"]
    assert known(ledger) == []


def test_an_item_that_is_gone_is_forgotten(broken: Simulator, ledger: PostgresLedger, run: Collect) -> None:
    run()
    mended(broken, NOW + HOUR)
    broken.replace_world(world(GOOD))
    run()
    assert known(ledger) == []


def test_it_is_read_whole_whatever_streams_the_collection_is_of(
    broken: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    run()
    mended(broken, NOW + HOUR)
    run(streams=[ISSUES])
    assert stored_ids(ledger) == [*OF_GOOD, *OF_BAD]
    assert known(ledger) == []


def test_of_an_item_only_what_the_scope_collects_is_stored(
    broken: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    of = scope(NAME, streams=("pull_requests",))
    broken.faults.clear()
    always(broken, NullItem(7))
    run(of=of)
    mended(broken, NOW + HOUR)
    run(of=of)
    assert stored_ids(ledger) == [*OF_GOOD, OF_BAD[1]]


def test_what_a_scope_does_not_collect_any_more_is_nobodys_concern(ledger: PostgresLedger, run: Collect) -> None:
    note_unread(ledger, unread(kind=ISSUE), source_scope=NAME)
    note_unread(ledger, unread(), source_scope="cogni-dao/gone")
    assert run(of=scope(NAME, streams=("pull_requests",))).unread == ()


def test_a_scan_asks_for_so_many_at_most_the_longest_untried_first() -> None:
    rows = [StoredUnread("github", NAME, unread(number), NOW, NOW) for number in range(100)]
    asked = KnownUnread(tuple(rows)).to_ask("github", NAME)
    assert [key.number for key in asked] == list(range(1, ASKED_AT_ONCE + 1))
    assert KnownUnread(tuple(rows)).to_ask("github", OTHER) == ()


def test_a_scan_knows_of_all_that_could_not_be_read_also_of_what_it_does_not_ask_for(
    github: Simulator, ledger: PostgresLedger
) -> None:
    keys = {ItemKey(PULL_REQUEST, n) for n in range(ASKED_AT_ONCE + 5)}
    for key in keys:
        note_unread(ledger, unread(key.number), source_scope=NAME)
    requests: list[ScanRequest] = []

    class Noting(Odd):
        def scan(self, request: ScanRequest) -> Iterator[ScanPage]:
            requests.append(request)
            return self._source.scan(request)

    with github_source(github.url) as source:
        collect(Noting(source), ledger, scope(NAME), [THIS_WEEK])  # type: ignore[arg-type]
    assert len(requests[0].unread) == ASKED_AT_ONCE
    assert requests[0].known == keys


# Items without a number.


def test_an_item_without_a_number_is_looked_for_where_it_was_met_until_it_is_read(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    closed = issue(5, closures=(Closure(LAST_WEEK.start + HOUR),))
    github.replace_world(world(closed, GOOD))
    always(github, NullNode("issues"))
    run([LAST_WEEK, THIS_WEEK])
    assert known(ledger) == [ItemKey(ISSUE, 0)]
    [before] = ledger.unread.items(SCOPE_ID)
    github.set_clock(NOW + HOUR)
    run()  # has news to read only, and does not forget what it did not look for
    [still] = ledger.unread.items(SCOPE_ID)
    assert (still.since, still.last_tried_at, still.read_from) == (NOW, NOW + HOUR, before.read_from)
    mended(github, NOW + 2 * HOUR)
    run()
    assert stored_ids(ledger) == [f"github:issue:{NAME}:5", *OF_GOOD]
    assert known(ledger) == []


def test_an_item_that_cannot_even_be_listed_holds_up_nothing_and_is_read_once_it_can_be(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(world(BAD, GOOD))
    always(github, HeavyItem(7, is_unlisted=True))
    for hours in range(2):
        github.set_clock(NOW + hours * HOUR)
        report = run()
        assert report.failures == []
        assert stored_ids(ledger) == OF_GOOD
        assert known(ledger) == [ItemKey(PULL_REQUEST, 0)]
        assert {cursor.watermark for cursor in ledger.scans.cursors(SCOPE_ID, "github").values()} == {
            NOW + hours * HOUR
        }
    mended(github, NOW + 2 * HOUR)
    run()
    assert stored_ids(ledger) == [*OF_GOOD, *OF_BAD]
    assert known(ledger) == []


def test_one_met_before_an_interruption_is_looked_for_again_by_the_scan_that_goes_on(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    first, second = (issue(n, closures=(Closure(NOW - n * HOUR),)) for n in (5, 6))
    github.replace_world(world(first, second))
    for request, fault in ((2, NullNode("issues")), (3, NullNode("issues")), (4, FailedAnswer.NOT_FOUND)):
        github.faults.on_request(request, fault)  # after the heads: a page, the light one, the next page
    assert run(page_size=1).failures
    assert known(ledger) == [ItemKey(ISSUE, 0)]
    mended(github, NOW + HOUR)
    assert run(page_size=1).source_scopes[0].resumed
    assert stored_ids(ledger) == [f"github:issue:{NAME}:6", f"github:issue:{NAME}:5"]
    assert known(ledger) == []


# Epochs.


def test_epochs_it_may_belong_to_are_incomplete_and_others_are_not(
    broken: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    broken.replace_world(world(replace(BAD, created_at=THIS_WEEK.start + HOUR), GOOD))
    run([LAST_WEEK, THIS_WEEK])
    broken.set_clock(AFTER_GRACE)
    run([LAST_WEEK, THIS_WEEK])
    assert completeness(ledger, LAST_WEEK).state(AFTER_GRACE) == "complete"
    assert completeness(ledger).state(AFTER_GRACE) == "incomplete: 1 item cannot be read"
    assert not completeness(ledger).is_complete
    assert [epoch.window for epoch in close_due_epochs(ledger, scope(NAME))] == [LAST_WEEK]


def test_the_epoch_closes_by_itself_once_the_item_is_read(
    broken: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    run()
    broken.set_clock(AFTER_GRACE)
    run([NEXT_WEEK])
    assert close_due_epochs(ledger, scope(NAME)) == []
    mended(broken, AFTER_GRACE + HOUR)
    run([NEXT_WEEK])
    assert completeness(ledger).is_complete
    assert [epoch.window for epoch in close_due_epochs(ledger, scope(NAME))] == [THIS_WEEK]
    assert stored_ids(ledger, THIS_WEEK) == [*OF_GOOD, *OF_BAD]


def test_a_closed_epoch_lacks_nothing_for_an_item_that_cannot_be_read_any_more(
    ledger: PostgresLedger, run: Collect, github: Simulator
) -> None:
    github.set_clock(AFTER_GRACE)
    run()
    note_unread(ledger, unread(latest=AFTER_GRACE), source_scope=NAME)
    assert not completeness(ledger).is_complete
    set_status(ledger._engine, SCOPE_ID, THIS_WEEK, EpochStatus.REVIEW)
    assert completeness(ledger).is_complete


def test_what_an_epoch_was_closed_without_is_told_and_late_once_it_is_read(
    broken: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    broken.set_clock(AFTER_GRACE)
    run()
    [epoch] = ledger.epochs.within(SCOPE_ID, THIS_WEEK)
    exclusion = exclusion_of(completeness(ledger).unread, [f"{NAME}#7"], "ada", "it never comes")
    assert close(ledger, scope(NAME), epoch, exclusion)
    assert completeness(ledger).state(AFTER_GRACE) == f"complete: closed without {NAME}#7"
    [item] = completeness(ledger).left_out
    assert (item.key, item.actor, item.reason, item.unread_since) == (SEVEN, "ada", "it never comes", AFTER_GRACE)
    assert item.unread_reason.startswith("GitHub answers 502")
    mended(broken, AFTER_GRACE + HOUR)
    run()
    assert known(ledger) == []
    assert stored_ids(ledger) == OF_GOOD
    assert sorted(row.event_id for row in ledger.events.rejected(SCOPE_ID, ALWAYS)) == sorted(OF_BAD)
    assert {row.reason for row in ledger.events.rejected(SCOPE_ID, ALWAYS)} == {AppendOutcome.LATE}


def test_an_epoch_does_not_close_without_an_item_that_has_been_read_meanwhile(
    broken: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    broken.set_clock(AFTER_GRACE)
    run()
    [epoch] = ledger.epochs.within(SCOPE_ID, THIS_WEEK)
    exclusion = exclusion_of(completeness(ledger).unread, [f"{NAME}#7"], "ada", "it never comes")
    mended(broken, AFTER_GRACE + HOUR)
    run()
    with pytest.raises(StoreError, match="has been read meanwhile"):
        close(ledger, scope(NAME), epoch, exclusion)
    assert [epoch.status for epoch in ledger.epochs.within(SCOPE_ID, THIS_WEEK)] == [EpochStatus.OPEN]


@pytest.mark.parametrize(
    ("earliest", "latest", "touches"),
    [
        (None, "2026-02-15T23:59", False),
        (None, "2026-02-16", True),
        ("2026-02-22T23:59", "2026-03-01", True),
        ("2026-02-23", "2026-03-01", False),
    ],
)
def test_an_item_touches_the_windows_between_its_making_and_its_last_showing(
    earliest: str | None, latest: str, touches: bool
) -> None:
    assert unread(earliest=earliest, latest=instant(latest)).may_touch(window("2026-02-16")) is touches


# What no ledger and no epoch can hold.


class Odd:
    """A source that gives one event otherwise than GitHub does."""

    def __init__(self, source: GitHubSource, **changes: object) -> None:
        self._source = source
        self._changes = changes

    def __getattr__(self, name: str) -> object:
        return getattr(self._source, name)

    def scan(self, request: ScanRequest) -> Iterator[ScanPage]:
        for page in self._source.scan(request):
            events = (
                replace(event, **self._changes) if event.id == OF_BAD[1] else event  # type: ignore[arg-type]
                for event in page.events
            )
            yield replace(page, events=tuple(events))


def nested(levels: int) -> dict[str, object]:
    nested: dict[str, object] = {}
    for _ in range(levels - 1):
        nested = {"x": nested}
    return nested


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"event_time": instant("9999-12-31T23:00")}, "leaves the years 1 to 9999"),
        ({"metadata": {"number": 7, "score": float("inf")}}, "cannot be written as JSON (ValueError)"),
        ({"metadata": {"number": 7, "title": b"bytes"}}, "cannot be written as JSON (TypeError)"),
        ({"metadata": nested(100_000)}, "cannot be written as JSON (RecursionError)"),
        ({"metadata": nested(33)}, "nests deeper than 32 levels"),
        ({"platform_login": "a\ud800"}, "holds NUL or half a surrogate pair"),
    ],
    ids=["year 9999", "infinite", "bytes", "deepest", "deep", "surrogate"],
)
def test_one_event_that_cannot_be_held_is_unread_and_the_rest_of_its_page_is_stored(
    github: Simulator, ledger: PostgresLedger, changes: dict[str, object], reason: str
) -> None:
    github.replace_world(world(BAD, GOOD))
    with github_source(github.url) as source:
        report = collect(Odd(source, **changes), ledger, scope(NAME), [THIS_WEEK])  # type: ignore[arg-type]
    assert not report.failures
    assert stored_ids(ledger) == [*OF_GOOD, OF_BAD[0]]
    [row] = ledger.unread.items(SCOPE_ID)
    assert row.item.key == SEVEN
    assert reason in row.item.reason
    assert OF_BAD[1] in row.item.reason


# In words.


def test_a_person_is_told_where_what_since_when_and_why() -> None:
    row = StoredUnread("github", NAME, unread(7, reason="its mergedAt is 5"), NOW, NOW)
    assert unread_summary([row]) == (
        f"1 item cannot be read: {NAME}#7 (pull request 7), unread since 2026-02-18T12:00Z: its mergedAt is 5"
    )
    assert unread_summary([row] * 9).startswith("9 items cannot be read: ")
    assert unread_summary([row] * 9).endswith("; and 4 more")


def test_a_reason_is_kept_as_plain_text(github: Simulator, ledger: PostgresLedger, run: Collect) -> None:
    github.replace_world(world(BAD))
    always(github, OddField(7, "mergedAt", "\x1b[31m" + "x" * 999))
    run()
    [row] = ledger.unread.items(SCOPE_ID)
    assert "\x1b" not in row.item.reason
    assert len(row.item.reason) <= 300
