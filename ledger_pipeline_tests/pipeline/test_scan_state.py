"""A scan's state is pure: each page moves it on, nothing that it counted is lost, and JSON gives it back exactly."""

import json
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zlib import compress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.errors import PayloadError, SourceUnavailable
from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.core.unread import ItemKey, UnreadItem
from ledger_pipeline.core.windows import EpochCalendar
from ledger_pipeline.pipeline.finish import Sighting
from ledger_pipeline.pipeline.scan_codec import (
    MOST_EPOCHS_COUNTED,
    checkpoint_of,
    from_shape,
    state_of,
    to_json,
)
from ledger_pipeline.pipeline.scan_shape import MOST_ITEMS, ScanShape
from ledger_pipeline.pipeline.scan_state import STATE_LIFETIME, TIMES_REPLACED, ScanState
from ledger_pipeline.sources.port import RequestUsage, ScanPage, UpdateSpan
from ledger_pipeline.store.scan_records import StreamCoverage
from ledger_pipeline_tests.builders import REPO, SCOPE_ID, instant, issue, pull_request, skipped, weeks, window

WEEK = EpochCalendar(7)
START = window().start
NOW = instant("2026-02-18T12:00")
SECOND = timedelta(seconds=1)
OVERLAP = timedelta(minutes=10)
COVERAGE = tuple(StreamCoverage(stream, START - OVERLAP, START) for stream in GITHUB_STREAMS)
BEGINNING = ScanState(
    scope_id=SCOPE_ID,
    source="github",
    source_scope=REPO,
    windows=(window(),),
    calendar=WEEK,
    streams=GITHUB_STREAMS,
    coverage=COVERAGE,
    collected=GITHUB_STREAMS,
)
PAGE = ScanPage(
    source_scope_name=REPO,
    events=(pull_request(at="2026-02-17T12:00:00Z"),),
    skipped=(skipped(),),
    began_at=NOW,
    retrieved_at=NOW + SECOND,
    updates={},
    reached=None,
    usage=RequestUsage(1, 1, 4999),
    position={"after": "x"},
    source_scope_id="1",
)
LAST = replace(PAGE, position=None)


def test_a_scan_is_complete_behind_its_last_page_and_says_nothing_before() -> None:
    assert BEGINNING.finished() is None
    going_on = BEGINNING.after(PAGE)
    assert (going_on.is_complete, going_on.position, going_on.watermark) == (False, PAGE.position, NOW)
    assert going_on.finished() is None
    finished = going_on.after(replace(LAST, began_at=NOW + SECOND)).finished()
    assert finished is not None
    assert (finished.watermark, finished.pages) == (NOW, 2)


def test_what_every_page_met_is_counted_by_epoch_and_stream() -> None:
    state = BEGINNING.after(PAGE).after(replace(LAST, events=(issue(at="2026-02-16T00:00:00Z"),)))
    counts = state.sightings[window()]
    assert counts["pull_requests"].seen + counts["issues"].seen + counts.get("reviews", Sighting()).seen == 4
    assert sum(sum(sighting.skipped_by_reason.values()) for sighting in counts.values()) == 2


def test_what_is_met_of_epochs_that_the_scan_does_not_cover_is_not_counted() -> None:
    old = pull_request(at="2026-02-03T12:00:00Z")
    assert window("2026-02-02") not in BEGINNING.after(replace(PAGE, events=(old,))).sightings


def test_a_position_is_trusted_for_two_days_and_two_hours_of_the_sources_time() -> None:
    assert not BEGINNING.is_stale(NOW)
    state = BEGINNING.after(PAGE)
    assert not state.is_stale(PAGE.retrieved_at + STATE_LIFETIME)
    assert state.is_stale(PAGE.retrieved_at + STATE_LIFETIME + SECOND)


def test_a_scan_whose_totals_say_more_than_is_accounted_for_reads_back_and_counts_from_new() -> None:
    back_to = START - timedelta(14)
    waiting = replace(BEGINNING, accounted={"issues": 4}, back_to=back_to)
    explained = waiting.after(replace(LAST, totals={"issues": 5}, newer={"issues": 1}))
    assert explained.is_complete
    again = waiting.after(replace(LAST, totals={"issues": 6}, newer={"issues": 1}))
    assert (again.is_complete, again.position, again.sightings, again.pages) == (False, None, {}, 1)
    assert {stream.covered_from for stream in again.coverage} == {back_to}
    # It reads all there is then, and no total makes it begin a third time.
    assert again.after(replace(LAST, totals={"issues": 60})).is_complete


def test_a_scan_that_reads_from_the_oldest_open_epoch_already_reads_nothing_twice() -> None:
    reading = replace(BEGINNING, accounted={"issues": 1}, back_to=START)
    assert reading.after(replace(LAST, totals={"issues": 5})).is_complete


def test_totals_are_not_said_by_a_scan_that_began_again_from_the_front() -> None:
    state = BEGINNING.after(replace(PAGE, totals={"issues": 5})).from_the_front()
    finished = state.after(replace(LAST, totals={"issues": 6})).finished()
    assert finished is not None
    assert (finished.totals, finished.pages) == ({}, 1)


def test_a_name_that_passes_on_again_and_again_is_given_up() -> None:
    state = BEGINNING.after(PAGE)
    for number in range(2, 1 + TIMES_REPLACED):
        page = replace(PAGE, source_scope_id=str(number))
        assert state.is_of_another(page)
        state = state.anew(page)
        assert (state.source_scope_id, state.position, state.sightings) == (str(number), None, {})
    with pytest.raises(SourceUnavailable, match="its name passes from one repository to another"):
        state.anew(replace(PAGE, source_scope_id="9"))


def test_a_stream_that_is_refused_is_left_out_of_what_the_scan_covers() -> None:
    state = BEGINNING.after(replace(LAST, refused={"issues": "no permission"}))
    finished = state.finished()
    assert finished is not None
    assert {cursor.stream for cursor in finished.cursors()} == set(GITHUB_STREAMS) - {"issues"}
    assert state.refused == {"issues": "no permission"}


_instants = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
_counts = st.integers(0, 2**40)
_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
_keys = st.builds(ItemKey, st.sampled_from(["pull_request", "issue"]), _counts)
_streams = st.sampled_from(GITHUB_STREAMS)
_items = st.integers(0, MOST_ITEMS)
_sightings = st.dictionaries(_streams, st.builds(Sighting, _items, st.dictionaries(_text, _items, max_size=2)))
_states = st.builds(
    ScanState,
    scope_id=st.just(SCOPE_ID),
    source=st.just("github"),
    source_scope=st.just(REPO),
    windows=st.sampled_from([(week,) for week in weeks(3)]),
    calendar=st.just(WEEK),
    streams=st.just(GITHUB_STREAMS),
    coverage=_instants.map(
        lambda floor: tuple(StreamCoverage(stream, floor, floor + OVERLAP) for stream in GITHUB_STREAMS)
    ),
    is_complete=st.booleans(),
    watermark=_instants,
    position=st.none() | st.dictionaries(_text, _counts | _text | st.none() | st.booleans()),
    saved_at=_instants,
    source_scope_name=st.none() | _text,
    pages=_items,
    sightings=st.dictionaries(st.sampled_from(weeks(60)), _sightings, max_size=4).map(
        lambda sightings: {epoch: of_epoch for epoch, of_epoch in sightings.items() if of_epoch}
    ),
    updates=st.dictionaries(_streams, st.builds(UpdateSpan, _instants, _instants, st.none() | _counts)),
    source_scope_id=st.none() | _text,
    totals=st.dictionaries(_streams, _counts),
    accounted=st.dictionaries(_streams, _counts),
    back_to=st.none() | _instants,
    collected=st.just(GITHUB_STREAMS),
    to_ask=st.lists(_keys, max_size=3).map(tuple),
    unread=st.lists(
        st.builds(UnreadItem, _keys, st.just("it cannot be read"), st.none() | _instants, _instants), max_size=3
    ).map(tuple),
    settled=st.lists(_keys, max_size=3).map(tuple),
    began_again=st.booleans(),
    refused=st.dictionaries(_streams, st.just("no permission")),
    times_replaced=st.integers(0, 2),
)


@given(_states)
def test_json_gives_a_state_back_exactly(state: ScanState) -> None:
    value = json.loads(json.dumps(to_json(state)))
    assert from_shape(ScanShape.model_validate(value), WEEK) == state


@given(_states)
def test_a_checkpoint_gives_back_where_its_scan_stood(state: ScanState) -> None:
    restored = state_of(checkpoint_of(state), replace(BEGINNING, windows=tuple(weeks(9))))
    assert restored is not None
    assert restored.windows == tuple(weeks(9))
    assert (restored.unread, restored.settled, restored.refused) == ((), (), {})
    assert (restored.sightings, restored.position, restored.pages) == (state.sightings, state.position, state.pages)


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"scopeId": str(BEGINNING.scope_id)[::-1]}, {"sourceRef": "dao/other"}, {"coverage": "x"}, {}],
    ids=str,
)
def test_a_checkpoint_of_another_scan_or_of_nobodys_is_not_gone_on_with(change: dict[str, object]) -> None:
    checkpoint = checkpoint_of(BEGINNING.after(PAGE))
    state = {**checkpoint.state, **change} if change else {}
    assert state_of(replace(checkpoint, state=state), BEGINNING) is None
    assert state_of(replace(checkpoint, watermark=NOW + SECOND), BEGINNING) is None


def test_a_checkpoint_of_very_many_epochs_keeps_no_counts() -> None:
    counts = {window: {"issues": Sighting(1)} for window in weeks(MOST_EPOCHS_COUNTED + 1, "1980-01-07")}
    state = replace(BEGINNING.after(PAGE), sightings=counts)
    restored = state_of(checkpoint_of(state), BEGINNING)
    assert restored is not None
    assert restored.sightings == {}
    assert len(json.dumps(checkpoint_of(replace(state, sightings=dict(list(counts.items())[1:]))).state)) < 1_000_000


def test_what_the_counts_of_many_epochs_take_is_little_of_what_a_page_takes() -> None:
    counts = {epoch: {stream: Sighting(17, {"bot": 3}) for stream in GITHUB_STREAMS} for epoch in weeks(520)}
    state = replace(BEGINNING.after(PAGE), sightings=counts)
    checkpoint = checkpoint_of(state)
    assert len(json.dumps(checkpoint.state)) < 20_000
    restored = state_of(checkpoint, BEGINNING)
    assert restored is not None
    assert restored.sightings == counts
    # Nor is what a page does not change copied with it.
    later = state.after(PAGE).sightings
    assert [epoch for epoch in counts if later[epoch] is not counts[epoch]] == [window()]


@pytest.mark.parametrize(
    "change",
    [
        {"pages": MOST_ITEMS + 1},
        {"backTo": "0001-01-01T00:00:00.000Z"},
        {"backTo": "9999-12-31T23:59:59.999Z"},
        {"totals": {"issues": 2**63}},
        {"accounted": {"issues": -1}},
        {"sourceScopeId": "x" * 1001},
        {"sourceScopeName": "x" * 1001},
        {"updates": {"issues": {"oldest": "0001-01-01T00:00:00Z", "newest": "2026-02-16T00:00:00Z"}}},
        *({"counts": counts} for counts in (None, 7, "", "\u00e9", "AAAA", b64encode(compress(b"{}")).decode()[:-4])),
        *(
            {"counts": b64encode(compress(counts)).decode()}
            for counts in (
                b"[]",
                b"{",
                b"[" * 100_000,
                b'{"x": {}}',
                b'{"1": {}, "999999999999": {}}',
                b'{"738000": {"issues": [-1, {}]}}',
                b'{"738000": {"issues": [2147483647, {}]}}',
                b'{"738000": {"issues": [1, {"\\u0000": 1}]}}',
                b" " * 5_000_000 + b"{}",
            )
        ),
    ],
    ids=lambda change: str(change)[:60],
)
def test_a_checkpoint_that_no_ledger_could_take_the_end_of_is_not_gone_on_with(change: dict[str, object]) -> None:
    checkpoint = checkpoint_of(BEGINNING.after(PAGE))
    assert state_of(checkpoint, BEGINNING) is not None
    assert state_of(replace(checkpoint, state={**checkpoint.state, **change}), BEGINNING) is None


def test_a_checkpoint_from_long_after_now_is_not_gone_on_with_for_ever() -> None:
    state = BEGINNING.after(replace(PAGE, retrieved_at=NOW + timedelta(365)))
    assert state.is_stale(NOW)


def test_a_checkpoint_that_tells_no_id_is_of_the_repository_that_the_cursors_know() -> None:
    checkpoint = checkpoint_of(BEGINNING.after(replace(PAGE, source_scope_id=None)))
    restored = state_of(checkpoint, replace(BEGINNING, source_scope_id="1"))
    assert restored is not None
    assert restored.is_of_another(replace(PAGE, source_scope_id="2"))


def test_a_scan_that_goes_on_reads_back_to_where_each_stream_has_to_be_read_from() -> None:
    # Issues were refused before, for so long that their cursor stands before the oldest open epoch.
    issues, *others = sorted(COVERAGE, key=lambda stream: stream.stream != "issues")
    long_ago = START - timedelta(90)
    beginning = replace(
        BEGINNING, coverage=(replace(issues, covered_from=long_ago), *others), back_to=START - timedelta(14)
    )
    before = replace(beginning, coverage=tuple(others), accounted={"pull_requests": 1})
    restored = state_of(checkpoint_of(before.after(PAGE)), beginning)
    assert restored is not None
    back = restored.after(replace(LAST, totals={"pull_requests": 2}))
    assert {stream.covered_from for stream in back.coverage} == {long_ago}


def test_a_scan_of_single_items_alone_reads_another_repository_from_now_on() -> None:
    asking = replace(BEGINNING, coverage=(), source_scope_id="1", to_ask=(ItemKey("issue", 1),))
    assert {stream.covered_from for stream in asking.anew(replace(PAGE, source_scope_id="2")).coverage} == {NOW}


def test_a_checkpoint_is_of_a_page() -> None:
    with pytest.raises(ValueError, match="no page of"):
        checkpoint_of(BEGINNING)


def test_a_state_that_covers_what_it_did_not_read_is_refused() -> None:
    odd = replace(BEGINNING, coverage=(StreamCoverage("issues", START, START - SECOND),))
    with pytest.raises(PayloadError, match="covers what it did not read"):
        from_shape(ScanShape.model_validate(to_json(odd)), WEEK)


def test_what_the_source_reads_again_from_the_front_is_counted_once() -> None:
    begun = replace(BEGINNING, accounted={"issues": 7}, back_to=START - timedelta(14))
    state = begun.after(replace(PAGE, events=(issue(), pull_request()), totals={"issues": 7}))
    again = state.after(replace(PAGE, events=(issue(),), read_again=frozenset({"issues"})))
    last = again.after(replace(LAST, events=(issue(2),), totals={"issues": 9}))
    assert {stream: sighting.seen for stream, sighting in last.sightings[window()].items()} == {
        "issues": 2,
        "pull_requests": 4,
    }
    finished = last.finished()
    assert finished is not None
    # What was made since counts for nothing twice: so no total may be built upon.
    assert (finished.totals, finished.watermark) == ({}, NOW)
