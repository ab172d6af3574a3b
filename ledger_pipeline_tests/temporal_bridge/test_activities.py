"""The five Temporal activities one by one: what they answer, what they refuse, and that each may be repeated."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from ledger_pipeline.core.owners import OwnerRules
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.core.windows import EpochWindow, iso_millis
from ledger_pipeline.pipeline.pieces import PieceLimits
from ledger_pipeline.sources.github.source import GitHubSource
from ledger_pipeline.sources.simulator.faults import Asked, FailedAnswer, HeavyItem, NullNode, SecondaryLimit, Slow
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Actor, ActorKind, Closure, World
from ledger_pipeline.sources.stopping import StopSignal
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline.temporal_bridge.ledger_activities.activities import BEAT_SECONDS, PIECE_LIMITS, LedgerActivities
from ledger_pipeline.temporal_bridge.worker.threads import Threads, WorkerThreads
from ledger_pipeline_tests.builders import (
    NODE_ID,
    OTHER_SCOPE_ID,
    SCOPE_ID,
    cursor,
    instant,
    note_unread,
    scope,
    unread,
    weeks,
    window,
)
from ledger_pipeline_tests.postgres import fresh_database, set_status
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, repository, review, world
from ledger_pipeline_tests.temporal import run_activity
from ledger_pipeline_tests.temporal_bridge.ledger_tables import differences, read_tables

NOW = instant("2026-02-18T12:00")
HOUR = timedelta(hours=1)
SWIFT_REQUESTS = 2
HELD_SECONDS = 4.0
PROMPT_SECONDS = 2.0
DEADLINE_SECONDS = 30
STREAMS = ["pull_requests", "reviews", "issues"]
WINDOW = {"periodStart": "2026-02-16T00:00:00.000Z", "periodEnd": "2026-02-23T00:00:00.000Z"}
LAST_WINDOW = {"periodStart": "2026-02-09T00:00:00.000Z", "periodEnd": "2026-02-16T00:00:00.000Z"}
PLACE = {"source": "github", "sourceRef": NAME}
COLLECT = {**PLACE, "streams": STREAMS, "cursorValue": None, **WINDOW}
BOT = Actor("renovate", 99, ActorKind.BOT)
ONE_ITEM = replace(PIECE_LIMITS, items=1)
ITEMS = (
    merged(1, NOW - HOUR, reviews=(review(1, NOW - 2 * HOUR), review(2, NOW - 3 * HOUR))),
    merged(2, NOW - 4 * HOUR),
    merged(3, NOW - 8 * 24 * HOUR),
    replace(merged(4, NOW - 5 * HOUR), author=BOT),
    issue(5, closures=(Closure(NOW - 6 * HOUR),)),
    issue(6, closures=(Closure(NOW - 7 * HOUR),)),
)


@pytest.fixture
def github(github: Simulator) -> Simulator:
    """One repository with a few items; its clock says NOW."""
    github.set_clock(NOW)
    github.replace_world(world(*ITEMS))
    return github


@pytest.fixture
def source(github: Simulator) -> Iterator[GitHubSource]:
    with github_source(github.url, page_size=1) as source:
        yield source


def spec_of(*scopes: Scope) -> RepoSpec:
    return RepoSpec(NODE_ID, scopes, "repo-spec.yaml")


@dataclass
class Calls:
    """The activities as a caller sees them: JSON in, JSON out."""

    of: LedgerActivities
    environment: ActivityEnvironment

    def __call__(self, name: str, argument: Any = None) -> Any:
        [activity] = [activity for activity in self.of.activities if _name(activity) == name]
        answer = asyncio.run(run_activity(self.environment, activity, json.loads(json.dumps(argument))))
        return json.loads(json.dumps(answer))

    def refusal(self, name: str, argument: Any) -> ApplicationError:
        """How the activity fails for good."""
        with pytest.raises(ApplicationError) as caught:
            self(name, argument)
        assert caught.value.non_retryable
        return caught.value


def _name(activity: Callable[..., Any]) -> str:
    name: str = activity.__temporal_activity_definition.name  # type: ignore[attr-defined]
    return name


Connect = Callable[..., Calls]


@pytest.fixture
def threads() -> Iterator[WorkerThreads]:
    with closing(WorkerThreads()) as threads:
        yield threads


@pytest.fixture
def connect(ledger: PostgresLedger, source: GitHubSource, threads: WorkerThreads) -> Connect:
    """The activities over the fresh ledger, for other scopes or limits where given."""

    def connected(
        *scopes: Scope, limits: PieceLimits = PIECE_LIMITS, to: PostgresLedger = ledger, now: datetime = NOW
    ) -> Calls:
        spec = spec_of(*(scopes or (scope(NAME),)))
        activities = LedgerActivities(spec, to, lambda *_: nullcontext(source), lambda: now, threads, limits)
        return Calls(activities, ActivityEnvironment())

    return connected


@pytest.fixture
def call(connect: Connect) -> Calls:
    return connect()


def everything(calls: Calls, times: int = 1) -> Iterator[str]:
    """A caller's whole collection, `times` calls of each kind at a time; the name of each that was made."""

    def repeated(name: str, argument: Any) -> Any:
        answers = [calls(name, argument) for _ in range(times)]
        return answers[0]

    repeated("ensureEpochForWindow", WINDOW)
    yield "ensureEpochForWindow"
    asked, complete = dict(COLLECT), False
    while not complete:
        answer = repeated("collectFromSource", asked)
        yield "collectFromSource"
        passed_on = ("events", "skipped", "facts", "retrievedAt", "producerVersion")
        repeated("insertEvents", {key: answer[key] for key in passed_on})
        yield "insertEvents"
        asked["scan"], complete = answer["scan"], answer["complete"]
    for stream in STREAMS:
        saved = {**PLACE, "stream": stream, "cursorValue": answer["nextCursorValue"], "scan": answer["scan"]}
        repeated("saveCursor", saved)
        yield "saveCursor"


# What is registered.


def test_the_five_are_registered_under_exactly_these_names_and_block(call: Calls) -> None:
    assert [_name(activity) for activity in call.of.activities] == [
        "ensureEpochForWindow",
        "loadCursor",
        "collectFromSource",
        "insertEvents",
        "saveCursor",
    ]


# ensureEpochForWindow.


def test_an_epoch_is_created_once_with_the_weights_of_the_first_call(call: Calls) -> None:
    first = call("ensureEpochForWindow", {**WINDOW, "weightConfig": {"github:pr_merged": 7}})
    assert first == {
        "epochId": first["epochId"],
        "status": "open",
        "isNew": True,
        "weightConfig": {"github:pr_merged": 7},
        "drift": [],
    }
    assert int(first["epochId"]) > 0
    again = call("ensureEpochForWindow", {**WINDOW, "weightConfig": {"github:pr_merged": 8}})
    assert again == {**first, "isNew": False}


def test_of_several_workers_at_once_one_is_told_that_the_epoch_is_new(connect: Connect) -> None:
    workers = [connect() for _ in range(8)]
    barrier = threading.Barrier(len(workers))

    def ensure(worker: Calls) -> bool:
        barrier.wait()
        is_new: bool = worker("ensureEpochForWindow", WINDOW)["isNew"]
        return is_new

    with ThreadPoolExecutor(len(workers)) as executor:
        assert sorted(executor.map(ensure, workers)) == [False] * 7 + [True]


def test_weights_left_out_are_the_scopes(call: Calls) -> None:
    assert call("ensureEpochForWindow", WINDOW)["weightConfig"]["github:review_submitted"] == 500


@pytest.mark.parametrize("status", [EpochStatus.REVIEW, EpochStatus.FINALIZED])
def test_an_epoch_of_any_status_is_found_by_its_window(call: Calls, ledger_engine: Engine, status: EpochStatus) -> None:
    first = call("ensureEpochForWindow", WINDOW)
    for next_status in (EpochStatus.REVIEW, status):
        set_status(ledger_engine, SCOPE_ID, window(), next_status)
    assert call("ensureEpochForWindow", WINDOW) == {**first, "isNew": False, "status": status.value}


def requested(**changes: Any) -> dict[str, Any]:
    return {
        **WINDOW,
        "requested": {
            "scopeId": str(SCOPE_ID),
            "scopeKey": "default",
            "epochLengthDays": 7,
            "activitySources": {"github": {"creditEstimateAlgo": "cogni-v0.0"}},
            **changes,
        },
    }


def test_what_an_owner_has_is_collected_by_name_and_closes_as_a_run_closes_it(
    connect: Connect, ledger: PostgresLedger, github: Simulator
) -> None:
    named = scope(NAME)
    owners = OwnerRules(("cogni-dao/*",), exclude=("cogni-dao/secret",))
    of_owner = replace(named, sources=(replace(named.sources[0], source_scopes=(), owners=owners),))
    call = connect(of_owner, limits=ONE_ITEM)
    call("ensureEpochForWindow", WINDOW)
    # Before anybody has listed the owner, a name is taken as it comes; then it is spelled as in the list.
    for asked_for in (NAME, NAME.upper()):
        asked, scan = {**COLLECT, "sourceRef": asked_for}, None
        while scan is None or not scan["complete"]:
            answer = call("collectFromSource", {**asked, "scan": scan})
            call("insertEvents", {"events": answer["events"], "producerVersion": answer["producerVersion"]})
            scan = answer["scan"]
        assert answer["sourceRef"] == NAME
        for stream in STREAMS:
            save = {**PLACE, "sourceRef": asked_for, "stream": stream, "cursorValue": scan["watermark"], "scan": scan}
            call("saveCursor", save)
    assert {source_scope for _, source_scope in ledger.scans.cursors(SCOPE_ID, "github")} == {NAME}
    for source_ref, problem in (
        ("cogni-dao/*", "stands for all that an owner has: pass one of it at a time"),
        ("cogni-dao/secret", "does not collect 'cogni-dao/secret': cogni-dao/*"),
        (None, "is missing: scope default collects several, pass one of cogni-dao/*"),
    ):
        assert problem in call.refusal("collectFromSource", {**COLLECT, "sourceRef": source_ref}).message
    unknown = call.refusal("collectFromSource", {**COLLECT, "sourceRef": "cogni-dao/nothing"})
    assert "its owner's list does not have it" in unknown.message


def test_a_payload_like_the_repo_spec_drifts_in_nothing(call: Calls) -> None:
    same = {"creditEstimateAlgo": "cogni-v0.0", "sourceRefs": [NAME.upper()], "streams": STREAMS[::-1]}
    answer = call(
        "ensureEpochForWindow",
        requested(activitySources={"github": same}, approvers=[], autoCloseGracePeriodMs=24 * 3_600_000),
    )
    assert answer["drift"] == []


def test_what_a_payload_says_otherwise_is_listed_and_no_failure(call: Calls) -> None:
    changed_fields = {"creditEstimateAlgo": "other", "sourceRefs": [NAME, "dao/more"], "streams": ["issues"]}
    answer = call(
        "ensureEpochForWindow",
        requested(
            activitySources={"github": changed_fields},
            baseIssuanceCredits="10000",
            approvers=["0x" + "a" * 40],
            autoCloseGracePeriodMs=1,
        ),
    )
    assert answer["drift"] == [
        "input.activitySources.github.creditEstimateAlgo",
        "input.activitySources.github.sourceRefs",
        "input.activitySources.github.streams",
        "input.approvers",
        "input.autoCloseGracePeriodMs",
        "input.baseIssuanceCredits",
    ]


def test_a_payload_of_another_scope_creates_that_scopes_epoch(connect: Connect, ledger: PostgresLedger) -> None:
    second_scope = scope("dao/other", scope_key="other", scope_id=OTHER_SCOPE_ID)
    connect(scope(NAME), second_scope)(
        "ensureEpochForWindow", requested(scopeId=str(OTHER_SCOPE_ID), scopeKey="other", epochLengthDays=7)
    )
    assert ledger.epochs.within(SCOPE_ID, window()) == []
    assert len(ledger.epochs.within(OTHER_SCOPE_ID, window())) == 1


# loadCursor and saveCursor, without a scan.


def save(call: Calls, value: str, **more: Any) -> None:
    call("saveCursor", {**PLACE, "stream": "issues", "cursorValue": value, **more})


def load(call: Calls) -> Any:
    return call("loadCursor", {**PLACE, "stream": "issues"})


def test_a_cursor_comes_back_as_it_was_saved_and_never_goes_back(call: Calls) -> None:
    assert load(call) is None
    for value, stored in (
        ("2026-02-17T00:00:00Z", "17"),
        ("2026-02-16T00:00:00Z", "17"),
        ("2026-02-18T02:00+02:00", "18"),
    ):
        save(call, value)
        assert load(call) == f"2026-02-{stored}T00:00:00.000Z"


def test_a_first_cursor_without_a_scan_covers_nothing(call: Calls, ledger: PostgresLedger) -> None:
    save(call, "2026-02-17T00:00:00Z")
    assert list(ledger.scans.cursors(SCOPE_ID, "github").values()) == [
        cursor("2026-02-17", "2026-02-17", stream="issues", source_scope=NAME)
    ]


def test_a_cursor_without_a_scan_grows_the_coverage_it_goes_on_from(call: Calls, ledger: PostgresLedger) -> None:
    ledger.scans.finish(SCOPE_ID, [cursor("2026-02-16", "2026-02-02", stream="issues", source_scope=NAME)], NOW)
    save(call, "2026-02-17T00:00:00Z")
    assert list(ledger.scans.cursors(SCOPE_ID, "github").values()) == [
        cursor("2026-02-17", "2026-02-02", stream="issues", source_scope=NAME)
    ]


def test_another_spelling_of_a_repository_is_the_repo_specs(call: Calls, ledger: PostgresLedger) -> None:
    call("saveCursor", {**PLACE, "sourceRef": NAME.upper(), "stream": "issues", "cursorValue": iso_millis(NOW)})
    assert list(ledger.scans.cursors(SCOPE_ID, "github")) == [("issues", NAME)]


# collectFromSource.


def test_what_is_read_is_handed_out_and_nothing_is_written(call: Calls, ledger_engine: Engine) -> None:
    before = read_tables(ledger_engine)
    answer = call("collectFromSource", COLLECT)
    assert read_tables(ledger_engine) == before
    assert {event["id"] for event in answer["events"]} >= {f"github:pr:{NAME}:1", f"github:issue:{NAME}:6"}
    assert [(item["eventId"], item["reason"]) for item in answer["skipped"]] == [(f"github:pr:{NAME}:4", "bot")]
    assert (answer["complete"], answer["sourceRef"]) == (True, NAME)
    assert answer["nextCursorValue"] == answer["retrievedAt"] == iso_millis(NOW)
    [merge] = [event for event in answer["events"] if event["id"] == f"github:pr:{NAME}:1"]
    assert merge["eventTime"] == "2026-02-18T11:00:00.000Z"
    assert merge.keys() == {
        *("id", "source", "eventType", "platformUserId", "platformLogin", "artifactUrl", "metadata", "payloadHash"),
        *("eventTime", "stream", "sourceScope", "sourceObjectId"),
    }


def test_the_only_repository_need_not_be_named(call: Calls) -> None:
    without = {key: value for key, value in COLLECT.items() if key != "sourceRef"}
    assert call("collectFromSource", without) == call("collectFromSource", COLLECT)


def test_a_full_piece_says_so_and_moves_no_cursor_until_the_last(connect: Connect) -> None:
    call = connect(limits=ONE_ITEM)
    answer, seen = call("collectFromSource", COLLECT), 1
    while not answer["complete"]:
        assert answer["nextCursorValue"] == WINDOW["periodStart"]
        answer, seen = call("collectFromSource", {**COLLECT, "scan": answer["scan"]}), seen + 1
    assert seen > 2
    assert answer["nextCursorValue"] == iso_millis(NOW)


def test_a_covered_window_costs_no_request(github: Simulator, connect: Connect) -> None:
    call = connect(scope(NAME))
    last = {**COLLECT, **LAST_WINDOW}
    answer = call("collectFromSource", last)
    for stream in STREAMS:
        saved = {**PLACE, "stream": stream, "cursorValue": answer["nextCursorValue"], "scan": answer["scan"]}
        call("saveCursor", saved)
    github.clear_requests()
    github.set_clock(NOW + HOUR)
    again = call("collectFromSource", last)
    assert github.requests == ()
    assert (again["events"], again["complete"], again["nextCursorValue"]) == ([], True, iso_millis(NOW))
    assert again["retrievedAt"] is None


def test_a_covered_stream_beside_one_that_is_read_holds_the_cursor_value_back(
    github: Simulator, call: Calls, ledger: PostgresLedger
) -> None:
    until = "2026-02-16T12:00:00.000Z"
    covered = cursor("2026-02-16T12:00", "2026-02-09", stream="pull_requests", source_scope=NAME)
    ledger.scans.finish(SCOPE_ID, [covered], NOW)
    answer = call("collectFromSource", {**COLLECT, **LAST_WINDOW})
    assert (answer["complete"], answer["nextCursorValue"]) == (True, until)


def test_a_caller_can_only_make_it_read_more(call: Calls, ledger: PostgresLedger) -> None:
    stored = [cursor(NOW - HOUR, "2026-02-16", stream=stream, source_scope=NAME) for stream in STREAMS]
    ledger.scans.finish(SCOPE_ID, stored, NOW)

    def floors(value: str | None) -> set[str]:
        answer = call("collectFromSource", {**COLLECT, "cursorValue": value})
        return {coverage["floor"] for coverage in answer["scan"]["coverage"]}

    own = {"2026-02-18T10:50:00.000Z"}
    assert floors("2026-02-18T11:00:00.000Z") == floors("2026-02-18T11:59:00.000Z") == own
    assert floors("2026-02-17T00:00:00.000Z") == {"2026-02-16T23:50:00.000Z"}
    assert floors(None) == {"2026-02-15T23:50:00.000Z"}
    assert floors("0001-01-01T00:00:00Z") == {"1970-01-01T23:50:00.000Z"}


def test_an_unreachable_github_is_worth_retrying_and_a_blocked_one_is_not(github: Simulator, call: Calls) -> None:
    github.faults.for_repository(NAME, FailedAnswer.MAINTENANCE)
    with pytest.raises(ApplicationError, match=NAME) as caught:
        call("collectFromSource", COLLECT)
    assert (caught.value.type, caught.value.non_retryable) == ("SourceUnavailable", False)
    github.faults.clear()
    github.faults.for_repository(NAME, FailedAnswer.BLOCKED)
    assert call.refusal("collectFromSource", COLLECT).type == "SourceRefused"


def test_a_failure_carries_no_cause_that_a_library_wrote(github: Simulator, call: Calls) -> None:
    github.faults.for_repository(NAME, FailedAnswer.BLOCKED)
    failure = call.refusal("collectFromSource", COLLECT)
    assert failure.__cause__ is None
    assert failure.__suppress_context__


def test_a_page_that_no_payload_can_hold_says_what_to_lower(connect: Connect) -> None:
    failure = connect(limits=replace(PIECE_LIMITS, largest=100)).refusal("collectFromSource", COLLECT)
    assert failure.type == "ConfigurationError"
    assert "lower GITHUB_PAGE_SIZE" in failure.message


def test_a_cancelled_caller_asks_nothing_more_even_while_a_request_hangs(
    github: Simulator, ledger: PostgresLedger, threads: WorkerThreads
) -> None:
    def opened(_: str, stop: StopSignal) -> AbstractContextManager[GitHubSource]:
        return github_source(github.url, page_size=1, stop=stop)

    call = Calls(LedgerActivities(spec_of(scope(NAME)), ledger, opened, lambda: NOW, threads), ActivityEnvironment())
    canceled_at = 0.0
    arrived: list[int] = []

    def is_held(asked: Asked) -> bool:
        arrived.append(asked.number)
        return asked.number > SWIFT_REQUESTS

    def on_heartbeat(_: object) -> None:
        nonlocal canceled_at
        if len(arrived) > SWIFT_REQUESTS and not canceled_at:
            canceled_at = time.monotonic()
            call.environment.cancel()

    call.environment.on_heartbeat = on_heartbeat
    github.faults.when(is_held, Slow(HELD_SECONDS))
    with pytest.raises(asyncio.CancelledError):
        call("collectFromSource", COLLECT)
    took_seconds = time.monotonic() - canceled_at
    print(f"canceled: ended after {took_seconds:.2f} s")
    assert took_seconds < PROMPT_SECONDS
    # The thread is back for others once the request that hung is answered; it has sent no further one.
    asyncio.run(idle(threads.reading))
    assert len(arrived) == SWIFT_REQUESTS + 1
    assert ledger.scans.cursors(SCOPE_ID, "github") == {}


def test_a_cancelled_caller_does_not_wait_for_a_rate_limit_to_pass(
    github: Simulator, ledger: PostgresLedger, threads: WorkerThreads
) -> None:
    def opened(_: str, stop: StopSignal) -> AbstractContextManager[GitHubSource]:
        return github_source(github.url, retries=1, max_wait_seconds=60, stop=stop)

    call = Calls(LedgerActivities(spec_of(scope(NAME)), ledger, opened, lambda: NOW, threads), ActivityEnvironment())
    beats: list[float] = []

    def on_heartbeat(_: object) -> None:
        beats.append(time.monotonic())
        if len(github.requests) == 1:
            call.environment.cancel()

    call.environment.on_heartbeat = on_heartbeat
    github.faults.for_repository(NAME, SecondaryLimit(60))
    with pytest.raises(asyncio.CancelledError):
        call("collectFromSource", COLLECT)
    asyncio.run(idle(threads.reading))
    assert time.monotonic() - beats[-1] < PROMPT_SECONDS
    assert len(github.requests) == 1


def test_a_limit_that_lasts_ends_the_scan_and_says_when_to_ask_again(github: Simulator, call: Calls) -> None:
    github.faults.for_repository(NAME, SecondaryLimit(3600))
    with pytest.raises(ApplicationError, match="secondary rate limit") as caught:
        call("collectFromSource", COLLECT)
    assert not caught.value.non_retryable
    assert caught.value.next_retry_delay is not None
    assert timedelta(minutes=59) < caught.value.next_retry_delay <= timedelta(hours=1)
    assert len(github.requests) == 1, "what the head's question met, the scan waits for unasked"


async def idle(threads: Threads) -> None:
    """Return once all of the threads are free at the same moment."""
    meeting = threading.Barrier(threads.size)
    await asyncio.gather(*(threads.run(meeting.wait, DEADLINE_SECONDS) for _ in range(threads.size)))


def test_where_the_source_keeps_it_waiting_it_heartbeats(github: Simulator, call: Calls) -> None:
    beats: list[dict[str, Any]] = []
    call.environment.on_heartbeat = beats.append
    github.faults.on_request(1, Slow(3 * BEAT_SECONDS))
    call("collectFromSource", COLLECT)
    assert beats[:2] == [{}, {}]


# insertEvents.


def test_events_are_stored_once_and_counted(call: Calls, ledger: PostgresLedger) -> None:
    answer = call("collectFromSource", COLLECT)
    inserted = {"events": answer["events"], "skipped": answer["skipped"], "producerVersion": "9.9"}
    count = len(answer["events"])
    assert call("insertEvents", inserted) == {"new": count, "duplicate": 0, "rejected": 0, "skipped": 1}
    assert call("insertEvents", inserted) == {"new": 0, "duplicate": count, "rejected": 0, "skipped": 0}
    stored = list(ledger.events.within(SCOPE_ID, EpochWindow(weeks(1, "2026-02-09")[0].start, window().end)))
    assert {(event.producer, event.producer_version) for event in stored} == {("ledger-pipeline/github", "9.9")}
    assert {event.retrieved_at for event in stored} == {NOW}


def test_a_late_event_is_kept_aside_and_counted(call: Calls, ledger: PostgresLedger, ledger_engine: Engine) -> None:
    call("ensureEpochForWindow", WINDOW)
    set_status(ledger_engine, SCOPE_ID, window(), EpochStatus.REVIEW)
    page = call("collectFromSource", COLLECT)
    of_week = [event for event in page["events"] if event["eventTime"] >= WINDOW["periodStart"]]
    answer = call("insertEvents", {"events": of_week, "producerVersion": "1"})
    assert answer["rejected"] == len(of_week) == len(ledger.events.rejected(SCOPE_ID, window()))


def test_facts_are_stored_with_their_events(call: Calls, ledger: PostgresLedger) -> None:
    call("ensureEpochForWindow", WINDOW)
    answer = call("collectFromSource", COLLECT)
    events = [event["id"] for event in answer["events"]]
    assert [item["eventId"] for item in answer["facts"]] == events
    inserted = {"events": answer["events"], "producerVersion": "1"}
    call("insertEvents", inserted)  # as older callers do, who know no facts
    assert [ledger.facts.of_event([SCOPE_ID], event_id) for event_id in events] == [[]] * len(events)
    call("insertEvents", {**inserted, "facts": answer["facts"]})
    for item in answer["facts"]:
        [stored] = ledger.facts.of_event([SCOPE_ID], item["eventId"])
        assert stored.facts == item["facts"]


@pytest.mark.parametrize("change", [{"labels": "bug"}, {"eventType": "pushed"}, {"later": 1}])
def test_facts_that_are_none_refuse_the_events_too(call: Calls, ledger: PostgresLedger, change: Any) -> None:
    answer = call("collectFromSource", COLLECT)
    facts = [{**item, "facts": {**item["facts"], **change}} for item in answer["facts"]]
    failure = call.refusal("insertEvents", {"events": answer["events"], "facts": facts, "producerVersion": "1"})
    assert failure.type == "BadPayload"
    assert failure.message.startswith(f"facts[0].facts: {facts[0]['eventId']}: ")
    assert _holds(ledger, SCOPE_ID) == (0, 0)


def changed(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda event: {**event, **changes}


def with_metadata(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda event: {**event, "metadata": {**event["metadata"], **changes}}


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda event: {name: value for name, value in event.items() if name != key}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (changed(payloadHash="0" * 64), "payloadHash"),
        (changed(payloadHash="x"), "payloadHash"),
        (changed(platformUserId="8"), "payloadHash"),
        (changed(platformUserId="ana"), "platformUserId"),
        (changed(eventTime="2026-02-17T00:00:00Z"), "eventTime"),
        (changed(eventTime="2026-02-17"), "eventTime"),
        (changed(eventTime=1771243200), "eventTime"),
        (changed(eventType="issue_closed"), "eventType"),
        (changed(stream="commits"), "stream"),
        (changed(source="gitlab"), "source"),
        (changed(metadata=[]), "metadata"),
        (changed(platformLogin="a\0b"), "platformLogin"),
        (with_metadata(mergedAt=None), "metadata"),
        (with_metadata(mergedAt="2026-02-18T11:00:01Z"), "payloadHash"),
        (without("sourceObjectId"), "sourceObjectId"),
        (without("metadata"), "metadata"),
    ],
)
def test_an_event_that_is_not_what_it_says_refuses_them_all(
    call: Calls, ledger: PostgresLedger, change: Callable[[dict[str, Any]], dict[str, Any]], field: str
) -> None:
    events = call("collectFromSource", COLLECT)["events"]
    place = next(number for number, event in enumerate(events) if event["stream"] == "pull_requests")
    events[place] = change(events[place])
    failure = call.refusal("insertEvents", {"events": events, "producerVersion": "1"})
    assert failure.type == "BadPayload"
    assert failure.message.startswith(f"events[{place}].{field}: ")
    assert list(ledger.events.within(SCOPE_ID, EpochWindow(weeks(1, "2026-02-09")[0].start, window().end))) == []


def test_an_event_with_another_hash_is_named(call: Calls) -> None:
    events = call("collectFromSource", COLLECT)["events"]
    events[0]["payloadHash"] = "0" * 64
    assert events[0]["id"] in call.refusal("insertEvents", {"events": events, "producerVersion": "1"}).message


# Refused for good, naming the field.

SAVE = {**PLACE, "stream": "issues", "cursorValue": "2026-02-17T00:00:00Z"}


@pytest.mark.parametrize(
    ("name", "argument", "field"),
    [
        ("ensureEpochForWindow", None, "payload"),
        ("ensureEpochForWindow", {**WINDOW, "periodStart": "yesterday"}, "periodStart"),
        ("ensureEpochForWindow", {"periodStart": WINDOW["periodStart"]}, "periodEnd"),
        ("ensureEpochForWindow", {**WINDOW, "periodStart": "2026-02-17T00:00:00Z"}, "periodStart"),
        ("ensureEpochForWindow", {**WINDOW, "periodStart": "2026-02-16T01:00:00Z"}, "periodStart"),
        ("ensureEpochForWindow", {**WINDOW, "periodEnd": "2026-03-02T00:00:00Z"}, "periodEnd"),
        ("ensureEpochForWindow", {**WINDOW, "periodStart": "2025-12-29T00:00:00Z"}, "periodStart"),
        (
            "ensureEpochForWindow",
            {"periodStart": "2026-02-23T00:00:00Z", "periodEnd": "2026-03-02T00:00:00Z"},
            "periodStart",
        ),
        ("ensureEpochForWindow", {**WINDOW, "periodStart": "0001-01-01T00:00:00+10:00"}, "periodStart"),
        (
            "ensureEpochForWindow",
            {**WINDOW, "weightConfig": {"github:pr_merged": 1.5}},
            "weightConfig.github:pr_merged",
        ),
        ("ensureEpochForWindow", {**WINDOW, "scopeId": str(OTHER_SCOPE_ID)}, "scopeId"),
        ("ensureEpochForWindow", requested(scopeId=str(OTHER_SCOPE_ID)), "input.scopeId"),
        ("ensureEpochForWindow", requested(scopeKey="other"), "input.scopeKey"),
        ("ensureEpochForWindow", requested(epochLengthDays=14), "input.epochLengthDays"),
        ("loadCursor", {**PLACE, "stream": "commits"}, "stream"),
        ("loadCursor", {**PLACE, "stream": "issues", "sourceRef": "dao/unknown"}, "sourceRef"),
        ("loadCursor", {**PLACE, "stream": "issues", "source": "gitlab"}, "source"),
        ("loadCursor", {**PLACE, "stream": "issues", "scopeId": str(OTHER_SCOPE_ID)}, "scopeId"),
        ("collectFromSource", {**COLLECT, "streams": []}, "streams"),
        ("collectFromSource", {**COLLECT, "streams": ["issues", "commits"]}, "streams[1]"),
        ("collectFromSource", {**COLLECT, "cursorValue": 7}, "cursorValue"),
        ("collectFromSource", {**COLLECT, "periodEnd": WINDOW["periodStart"]}, "periodEnd"),
        ("collectFromSource", {**COLLECT, "scan": {"version": 2}}, "scan.version"),
        ("collectFromSource", {**COLLECT, "scan": "opaque"}, "scan"),
        ("insertEvents", {"producerVersion": "1"}, "events"),
        ("insertEvents", {"events": []}, "producerVersion"),
        ("insertEvents", {"events": [], "producerVersion": "1", "scopeId": str(OTHER_SCOPE_ID)}, "scopeId"),
        ("insertEvents", {"events": [], "producerVersion": "1", "skipped": [{}]}, "skipped[0].eventId"),
        ("saveCursor", {**SAVE, "cursorValue": None}, "cursorValue"),
        ("saveCursor", {**SAVE, "cursorValue": "2026-02-19T12:00:01Z"}, "cursorValue"),
        ("saveCursor", {**SAVE, "sourceRef": "dao/unknown"}, "sourceRef"),
    ],
)
def test_what_is_not_the_contract_is_refused_for_good_naming_the_field(
    call: Calls, ledger_engine: Engine, name: str, argument: Any, field: str
) -> None:
    before = read_tables(ledger_engine)
    failure = call.refusal(name, argument)
    assert failure.type == "BadPayload"
    assert failure.message.startswith(f"{field}: ")
    assert read_tables(ledger_engine) == before


def test_a_refusal_names_both_values(call: Calls) -> None:
    wrong_scope = call.refusal("ensureEpochForWindow", requested(scopeId=str(OTHER_SCOPE_ID))).message
    assert str(OTHER_SCOPE_ID) in wrong_scope
    assert str(SCOPE_ID) in wrong_scope
    wrong_key = call.refusal("ensureEpochForWindow", requested(scopeKey="other")).message
    assert "'other'" in wrong_key
    assert "'default'" in wrong_key
    wrong_length = call.refusal("ensureEpochForWindow", requested(epochLengthDays=14)).message
    assert "ledger-pipeline schedules sync" in wrong_length


def test_two_repositories_have_to_be_told_apart(connect: Connect) -> None:
    call = connect(scope(NAME, "dao/other"))
    without_ref = {key: value for key, value in COLLECT.items() if key != "sourceRef"}
    failure = call.refusal("collectFromSource", without_ref)
    assert failure.message == f"sourceRef: is missing: scope default collects several, pass one of {NAME}, dao/other"


def test_a_stream_the_scope_does_not_collect_is_refused(connect: Connect) -> None:
    call = connect(scope(NAME, streams=("issues",)))
    assert call.refusal("collectFromSource", COLLECT).message.startswith("streams: ")
    assert call.refusal("saveCursor", {**SAVE, "stream": "reviews"}).message.startswith("stream: ")


def test_an_epoch_across_another_is_a_domain_error_by_its_name(connect: Connect, ledger: PostgresLedger) -> None:
    ledger.epochs.ensure(SCOPE_ID, [window("2026-02-17", days=1)], {})
    assert connect().refusal("ensureEpochForWindow", WINDOW).type == "EpochOverlap"


@pytest.mark.parametrize(
    ("change", "request_change", "field"),
    [
        (changed(sourceRef="dao/other"), {}, "scan.sourceRef"),
        (changed(source="gitlab"), {}, "scan.source"),
        (changed(scopeId=str(OTHER_SCOPE_ID)), {}, "scan.scopeId"),
        (changed(complete=False), {}, "scan.complete"),
        (changed(streams=["issues"], coverage=[]), {}, "scan.streams"),
        (changed(streams=["pull_requests"]), {}, "scan.coverage"),
        (changed(watermark=None), {}, "scan.watermark"),
        (changed(watermark="2030-01-01T00:00:00Z"), {}, "scan.watermark"),
        (changed(periodEnd="2026-02-09T00:00:00Z"), {}, "scan.periodStart"),
        (changed(pages="one"), {}, "scan.pages"),
        (changed(), {"cursorValue": "2026-02-18T12:00:01Z"}, "cursorValue"),
    ],
)
def test_a_scan_that_is_not_complete_or_of_something_else_moves_no_cursor(
    call: Calls,
    ledger: PostgresLedger,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    request_change: dict[str, Any],
    field: str,
) -> None:
    scan = change(call("collectFromSource", COLLECT)["scan"])
    saved = {**PLACE, "stream": "pull_requests", "cursorValue": iso_millis(NOW), "scan": scan, **request_change}
    failure = call.refusal("saveCursor", saved)
    assert failure.type == "BadPayload"
    assert failure.message.startswith(f"{field}: ")
    assert ledger.scans.cursors(SCOPE_ID, "github") == {}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (LAST_WINDOW, "scan.periodStart"),
        ({"streams": ["issues"]}, "scan.streams"),
        ({"sourceRef": "dao/other"}, "scan.sourceRef"),
    ],
)
def test_a_scan_goes_on_for_what_it_was_begun_for_only(connect: Connect, changes: dict[str, Any], field: str) -> None:
    call = connect(scope(NAME, "dao/other"), limits=ONE_ITEM)
    scan = call("collectFromSource", COLLECT)["scan"]
    assert call.refusal("collectFromSource", {**COLLECT, **changes, "scan": scan}).message.startswith(f"{field}: ")


# Safe to repeat.


@pytest.fixture
def new_ledger(postgres_server: str, migrated_template: str) -> Iterator[Callable[[], PostgresLedger]]:
    """Fresh ledgers, as many as asked for."""
    opened: list[tuple[Any, Engine]] = []

    def new() -> PostgresLedger:
        database = fresh_database(postgres_server, migrated_template)
        engine = make_engine(database.__enter__())
        opened.append((database, engine))
        return PostgresLedger(engine, NODE_ID)

    yield new
    for database, engine in opened:
        engine.dispose()
        database.__exit__(None, None, None)


def tables(ledger: PostgresLedger) -> dict[str, list[str]]:
    return read_tables(ledger._engine)


def test_each_call_made_twice_in_a_row_leaves_the_ledger_as_once(
    connect: Connect, new_ledger: Callable[[], PostgresLedger]
) -> None:
    once, twice = new_ledger(), new_ledger()
    made = list(everything(connect(to=once, limits=ONE_ITEM)))
    assert made.count("insertEvents") > 2
    list(everything(connect(to=twice, limits=ONE_ITEM), times=2))
    assert differences(tables(once), tables(twice)) == []
    assert len(tables(once)["scan_receipts"]) == len(STREAMS)


def test_a_caller_that_dies_after_any_call_and_begins_again_leaves_the_ledger_as_if_it_had_not(
    connect: Connect, new_ledger: Callable[[], PostgresLedger]
) -> None:
    whole = new_ledger()
    calls = len(list(everything(connect(to=whole, limits=ONE_ITEM))))
    for survived in range(calls + 1):
        crashed = new_ledger()
        for _ in zip(range(survived), everything(connect(to=crashed, limits=ONE_ITEM)), strict=False):
            pass
        list(everything(connect(to=crashed, limits=ONE_ITEM)))
        assert differences(tables(whole), tables(crashed)) == [], f"died after {survived} calls"


def test_pieces_stored_and_cursors_saved_in_any_order_leave_the_ledger_the_same(
    connect: Connect, new_ledger: Callable[[], PostgresLedger]
) -> None:
    in_order, out_of_order = new_ledger(), new_ledger()
    list(everything(connect(to=in_order, limits=ONE_ITEM)))
    call = connect(to=out_of_order, limits=ONE_ITEM)
    pieces = [call("collectFromSource", COLLECT)]
    while not pieces[-1]["complete"]:
        pieces.append(call("collectFromSource", {**COLLECT, "scan": pieces[-1]["scan"]}))
    for stream in reversed(STREAMS):
        last = pieces[-1]
        saved = {**PLACE, "stream": stream, "cursorValue": last["nextCursorValue"], "scan": last["scan"]}
        call("saveCursor", saved)
    for piece in reversed(pieces):
        call("insertEvents", {**piece, "ignored": True})
    call("ensureEpochForWindow", WINDOW)
    assert differences(tables(in_order), tables(out_of_order)) == []


def test_an_old_scan_saved_after_a_newer_one_moves_nothing_back(
    github: Simulator, call: Calls, ledger: PostgresLedger
) -> None:
    old = call("collectFromSource", COLLECT)
    github.set_clock(NOW + HOUR)
    new = call("collectFromSource", COLLECT)
    for answer in (new, old):
        saved = {**PLACE, "stream": "issues", "cursorValue": answer["nextCursorValue"], "scan": answer["scan"]}
        call("saveCursor", saved)
    assert load(call) == iso_millis(NOW + HOUR)


def test_two_scopes_are_kept_apart(connect: Connect, ledger: PostgresLedger) -> None:
    call = connect(scope(NAME), scope(NAME, scope_key="other", scope_id=OTHER_SCOPE_ID))
    second_scope = {"scopeId": str(OTHER_SCOPE_ID)}
    answer = call("collectFromSource", {**COLLECT, **second_scope})
    call("insertEvents", {"events": answer["events"], "producerVersion": "1", **second_scope})
    saved = {**PLACE, "stream": "issues", "cursorValue": answer["nextCursorValue"], "scan": answer["scan"]}
    assert call.refusal("saveCursor", saved).message.startswith("scan.scopeId: ")
    call("saveCursor", {**saved, **second_scope})
    assert _holds(ledger, SCOPE_ID) == (0, 0)
    assert _holds(ledger, OTHER_SCOPE_ID) == (len(answer["events"]), 1)


def _holds(ledger: PostgresLedger, scope_id: UUID) -> tuple[int, int]:
    events = ledger.events.within(scope_id, EpochWindow(weeks(1, "2026-02-02")[0].start, window().end))
    return len(list(events)), len(ledger.scans.cursors(scope_id, "github"))


def test_a_repository_without_news_is_told_by_its_head_alone(github: Simulator, connect: Connect) -> None:
    github.replace_world(World((repository(merged(1, NOW - 30 * 24 * HOUR)),)))
    answer = connect()("collectFromSource", COLLECT)
    assert (answer["complete"], answer["events"], answer["scan"]["pages"]) == (True, [], 0)
    assert len(github.requests) == 1


# Items that cannot be read.


def known_unread(ledger: PostgresLedger) -> list[int]:
    return [row.item.key.number for row in ledger.unread.items(SCOPE_ID)]


def stored(ledger: PostgresLedger) -> set[str]:
    return {event.id for event in ledger.events.within(SCOPE_ID, window())}


def test_an_item_that_cannot_be_read_is_remembered_with_the_cursor_and_asked_for_again(
    call: Calls, github: Simulator, ledger: PostgresLedger
) -> None:
    github.faults.when(lambda _: True, HeavyItem(1))
    for _ in everything(call):
        pass
    assert known_unread(ledger) == [1]
    assert f"github:pr:{NAME}:1" not in stored(ledger)
    assert {cursor.watermark for cursor in ledger.scans.cursors(SCOPE_ID, "github").values()} == {NOW}
    github.faults.clear()
    github.set_clock(NOW + HOUR)
    calls = list(everything(call, times=2))
    assert calls.count("collectFromSource") == 1
    assert {f"github:pr:{NAME}:1", f"github:review:{NAME}:1:4000000001"} <= stored(ledger)
    assert known_unread(ledger) == []


def test_a_covered_window_is_asked_for_nothing_but_what_could_not_be_read(
    call: Calls, github: Simulator, ledger: PostgresLedger
) -> None:
    covered = [cursor("2026-03-01", stream=stream, source_scope=NAME) for stream in STREAMS]
    ledger.scans.finish(SCOPE_ID, covered, NOW)
    note_unread(ledger, unread(1), source_scope=NAME)
    answer = call("collectFromSource", COLLECT)
    assert {event["metadata"]["number"] for event in answer["events"]} == {1}
    assert (answer["complete"], answer["scan"]["coverage"]) == (True, [])
    assert known_unread(ledger) == [1]
    call("saveCursor", {**PLACE, "stream": "issues", "cursorValue": iso_millis(NOW), "scan": answer["scan"]})
    assert known_unread(ledger) == []


def test_a_caller_who_does_not_hand_the_scan_back_moves_no_cursor_past_an_unread_item(
    call: Calls, github: Simulator, ledger: PostgresLedger
) -> None:
    github.faults.when(lambda _: True, HeavyItem(1))
    asked = dict(COLLECT)
    while not (answer := call("collectFromSource", asked))["complete"]:
        asked["scan"] = answer["scan"]
    assert answer["nextCursorValue"] == WINDOW["periodStart"]
    call("saveCursor", {**PLACE, "stream": "pull_requests", "cursorValue": answer["nextCursorValue"]})
    github.faults.clear()
    again = call("collectFromSource", {**COLLECT, "cursorValue": answer["nextCursorValue"]})
    assert f"github:pr:{NAME}:1" in {event["id"] for event in again["events"]}


def test_an_item_is_forgotten_only_after_the_last_time_it_could_not_be_read(
    call: Calls, github: Simulator, ledger: PostgresLedger
) -> None:
    note_unread(ledger, unread(1), source_scope=NAME)
    asked = dict(COLLECT)
    while not (answer := call("collectFromSource", asked))["complete"]:
        asked["scan"] = answer["scan"]
    note_unread(ledger, unread(1), at=NOW + HOUR, source_scope=NAME)
    call("saveCursor", {**PLACE, "stream": "issues", "cursorValue": answer["nextCursorValue"], "scan": answer["scan"]})
    assert known_unread(ledger) == [1]


def test_an_item_without_a_number_is_forgotten_once_the_scan_has_read_past_it(
    call: Calls, github: Simulator, ledger: PostgresLedger
) -> None:
    github.faults.when(lambda _: True, NullNode("issues"))
    for _ in everything(call):
        pass
    assert known_unread(ledger) == [0]
    github.faults.clear()
    github.set_clock(NOW + HOUR)
    for _ in everything(call):
        pass
    assert known_unread(ledger) == []


def test_an_unread_item_that_is_none_of_ours_is_refused(call: Calls) -> None:
    answer = call("collectFromSource", COLLECT)
    scan = {**answer["scan"], "unread": [{"kind": "commit", "number": 1, "reason": "x", "earliest": None}]}
    refused = call.refusal("saveCursor", {**PLACE, "stream": "issues", "cursorValue": iso_millis(NOW), "scan": scan})
    assert "scan.unread[0].kind" in str(refused)
