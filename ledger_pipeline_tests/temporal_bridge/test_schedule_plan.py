"""What is to be done with schedules, decided without a server: what a repo-spec wants, and each outcome of the plan."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import assume, given
from hypothesis import strategies as st

from ledger_pipeline.core.errors import SpecError
from ledger_pipeline.core.spec import SourceSpec
from ledger_pipeline.temporal_bridge.contract import CollectEpochPayload, parse
from ledger_pipeline.temporal_bridge.schedules.calendar import Calendar, calendars_of, times_text
from ledger_pipeline.temporal_bridge.schedules.contents import RetryTimes, ScheduleContents
from ledger_pipeline.temporal_bridge.schedules.plan import (
    PAUSE_NOTE,
    WRITES,
    Action,
    FoundSchedule,
    OurMemo,
    ScheduleStep,
    desired,
    is_our_id,
    plan,
    plan_one,
)
from ledger_pipeline_tests.builders import NODE_ID, OTHER_SCOPE_ID, SCOPE_ID, scope
from ledger_pipeline_tests.temporal_bridge.temporal_schedules import (
    DEFAULT,
    WEBSITE,
    repo_spec,
    scheduled,
    website,
)

WANTED = desired(repo_spec(scheduled()))
UNWANTED = desired(repo_spec(scope()))
CONTENTS = WANTED.schedules[DEFAULT].contents
MEMO = OurMemo(str(NODE_ID), CONTENTS.fingerprint)
AS_WANTED = FoundSchedule(DEFAULT, CONTENTS, paused=False, note="", memo=MEMO)
OTHER_NODE = OurMemo(str(OTHER_SCOPE_ID), CONTENTS.fingerprint)
ELSEWHERE = UUID("4ff8eac1-0000-0000-0000-00000000000f")


def payload_for(scope_id: object) -> ScheduleContents:
    return replace(CONTENTS, payload={"input": {"scopeId": str(scope_id)}})


# What a repo-spec wants.


@pytest.mark.parametrize("charter", ["LEDGER_INGEST", "ledger_ingest", "Ledger_Ingest"])
def test_the_charter_is_found_in_any_case(charter: str) -> None:
    assert list(desired(repo_spec(scheduled(charter=charter))).schedules) == [DEFAULT]


def test_other_charters_want_nothing_of_us() -> None:
    assert desired(repo_spec(scheduled(charter="LEDGER_INGEST_2"), website())).schedules == {}


def test_the_default_scope_has_the_bare_id_whatever_its_key() -> None:
    first = scheduled(scope(scope_key="cogni"))
    assert list(desired(repo_spec(first, scheduled(website()))).schedules) == [DEFAULT, WEBSITE]


@pytest.mark.parametrize(
    ("schedule_id", "ours"),
    [
        (DEFAULT, True),
        (WEBSITE, True),
        (f"{DEFAULT}:", False),
        (f"{DEFAULT}:Website", False),
        (f"{DEFAULT}:a:b", False),
        (f"{DEFAULT}:{'a' * 33}", False),
        (f"{DEFAULT}\n", False),
        (f"{DEFAULT}s", False),
        (f"my:{DEFAULT}", False),
        ("governance:heartbeat", False),
    ],
)
def test_ids_of_our_form(schedule_id: str, ours: bool) -> None:
    assert is_our_id(schedule_id) is ours


def test_the_payload_keeps_the_contract_and_leaves_out_what_is_not_set() -> None:
    wallet = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    full = replace(scheduled(), base_issuance_credits=10_000, approvers=(wallet,), auto_close_grace_hours=0)
    parsed = [
        parse(CollectEpochPayload, desired(repo_spec(payload)).schedules[DEFAULT].contents.payload).input
        for payload in (scheduled(), full)
    ]
    assert [schedule.base_issuance_credits for schedule in parsed] == [None, "10000"]
    assert [schedule.approvers for schedule in parsed] == [None, (wallet,)]
    assert [schedule.auto_close_grace_period_ms for schedule in parsed] == [86_400_000, 0]
    assert {schedule.scope_id for schedule in parsed} == {SCOPE_ID}


@pytest.mark.parametrize("cron", ["0 6 L * *", "0 6 LW * *", "0 6 * * 5#2", "0 6 * * 5L", "0 6 1 * 1,5#2"])
def test_a_cron_no_calendar_can_say_is_refused_naming_file_and_key(cron: str) -> None:
    with pytest.raises(SpecError, match="Temporal knows no L and no #") as caught:
        desired(repo_spec(scheduled(), replace(scheduled(website(), cron), file="projects/website.yaml")))
    assert (caught.value.file, caught.value.key) == ("projects/website.yaml", "governance.schedules[0].cron")


def test_a_payload_the_workflow_would_refuse_is_refused_here() -> None:
    odd = replace(scheduled(), sources=(SourceSpec("gitlab", "cogni-v0.0", ("a/b",), ("issues",)),))
    with pytest.raises(SpecError, match=r"^repo-spec\.yaml: payload of .*activitySources.*gitlab"):
        desired(repo_spec(odd))


# Cron lines and calendars.


@pytest.mark.parametrize(
    ("cron", "text"),
    [
        ("00 06 * * *", "0 6 * * *"),
        ("0 6 * * 7", "0 6 * * 0"),
        ("0 6 * * mon-fri", "0 6 * * 1-5"),
        ("0 6 * * 0-7", "0 6 * * *"),
        ("*/15 * * * *", "0,15,30,45 * * * *"),
        ("0 6 1 * 1", "0 6 * * 1 and 0 6 1 * *"),
        ("0 6 */10 * 1", "0 6 1,11,21,31 * * only on weekdays 1"),
    ],
)
def test_the_same_times_have_the_same_text(cron: str, text: str) -> None:
    assert times_text(calendars_of(cron)) == text


def test_seconds_and_years_of_other_clients_are_shown() -> None:
    [calendar] = calendars_of("0 6 * * *")
    odd = replace(calendar, seconds=frozenset({0, 30}), years=frozenset({2026, 2027}))
    assert str(odd) == "0 6 * * * at seconds 0,30 in years 2026-2027"
    assert times_text(()) == "never"


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    pair = st.tuples(value, value).map(sorted)
    step = st.integers(1, high)
    field_text = st.one_of(
        st.just("*"),
        value.map(str),
        pair.map(lambda ends: f"{ends[0]}-{ends[1]}"),
        step.map(lambda by: f"*/{by}"),
        st.tuples(pair, step).map(lambda both: f"{both[0][0]}-{both[0][1]}/{both[1]}"),
    )
    return st.one_of(st.just("*"), field_text, st.lists(field_text, min_size=2, max_size=3).map(",".join))


CRONS = st.tuples(_field(0, 59), _field(0, 23), _field(1, 31), _field(1, 12), _field(0, 7)).map(" ".join)


def _matches(calendar: Calendar, at: datetime) -> bool:
    return (
        at.minute in calendar.minutes
        and at.hour in calendar.hours
        and at.day in calendar.days
        and at.month in calendar.months
        and at.isoweekday() % 7 in calendar.weekdays
    )


@given(CRONS, st.integers(0, 4 * 365 * 24 * 60), st.integers(1, 40 * 24 * 60))
def test_calendars_match_exactly_when_cron_does(cron: str, after: int, minutes: int) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=after)
    try:
        due = list(islice(CronSim(cron, start), 3))
    except CronSimError:
        assume(False)
    calendars = calendars_of(cron)
    assert all(any(_matches(calendar, at) for calendar in calendars) for at in due)
    some = start + timedelta(minutes=minutes)
    is_due = next(CronSim(cron, some - timedelta(minutes=1)), None) == some
    assert any(_matches(calendar, some) for calendar in calendars) is is_due


# One schedule, every outcome.


@pytest.mark.parametrize(
    ("existing", "resume", "action", "reason"),
    [
        (None, False, Action.CREATED, "missing"),
        (AS_WANTED, False, Action.IN_SYNC, "as wanted"),
        (AS_WANTED, True, Action.IN_SYNC, "as wanted"),
        (replace(AS_WANTED, memo=None), False, Action.UPDATED, "made by another client"),
        (replace(AS_WANTED, memo=OurMemo(MEMO.node_id, "old")), False, Action.UPDATED, "for its memo"),
        (replace(AS_WANTED, paused=True, note=PAUSE_NOTE), False, Action.RESUMED, "wanted again"),
        (replace(AS_WANTED, paused=True, note="mine"), False, Action.LEFT_PAUSED, "by an operator: mine"),
        (replace(AS_WANTED, paused=True), False, Action.LEFT_PAUSED, "by an operator: no note"),
        (replace(AS_WANTED, paused=True, note="mine"), True, Action.RESUMED, "was paused by an operator: mine"),
        (replace(AS_WANTED, paused=True, note=f"{PAUSE_NOTE}!"), False, Action.LEFT_PAUSED, "by an operator"),
        (replace(AS_WANTED, note=PAUSE_NOTE), False, Action.IN_SYNC, "as wanted"),
        (replace(AS_WANTED, memo=OTHER_NODE), True, Action.CONFLICT, f"of node {OTHER_SCOPE_ID}"),
        (replace(AS_WANTED, memo=None, contents=payload_for(ELSEWHERE)), True, Action.CONFLICT, str(ELSEWHERE)),
        (replace(AS_WANTED, memo=None, contents=payload_for("?")), False, Action.UPDATED, "another client"),
        (replace(AS_WANTED, contents=payload_for(ELSEWHERE)), False, Action.UPDATED, "edited by another client"),
    ],
)
def test_a_wanted_schedule(existing: FoundSchedule | None, resume: bool, action: Action, reason: str) -> None:
    step = plan_one(WANTED, DEFAULT, existing, resume=resume)
    assert step.action is action
    assert reason in step.reason


@pytest.mark.parametrize(
    ("existing", "action", "reason"),
    [
        (AS_WANTED, Action.PAUSED, "no longer in the repo-spec"),
        (replace(AS_WANTED, memo=None), Action.PAUSED, "no longer in the repo-spec"),
        (replace(AS_WANTED, paused=True, note=PAUSE_NOTE), Action.IN_SYNC, "paused already"),
        (replace(AS_WANTED, paused=True, note="mine"), Action.LEFT_PAUSED, "mine"),
        (replace(AS_WANTED, memo=OTHER_NODE), Action.LEFT_ALONE, f"of node {OTHER_SCOPE_ID}"),
        (replace(AS_WANTED, memo=None, contents=payload_for(ELSEWHERE)), Action.LEFT_ALONE, str(ELSEWHERE)),
        (replace(AS_WANTED, memo=None, contents=payload_for("?")), Action.LEFT_ALONE, "no scope that it names"),
        (None, Action.IN_SYNC, "deleted"),
    ],
)
def test_a_schedule_no_longer_wanted(existing: FoundSchedule | None, action: Action, reason: str) -> None:
    for resume in (False, True):
        step = plan_one(UNWANTED, DEFAULT, existing, resume=resume)
        assert step.action is action
        assert reason in step.reason


def test_a_change_names_the_part_and_both_values() -> None:
    retry = RetryTimes(1, 1.5, 10, 0, ("BadPayload",))
    existing = replace(AS_WANTED, contents=replace(CONTENTS, timezone="Asia/Tokyo", retry=retry))
    [zone, retries] = plan_one(WANTED, DEFAULT, existing).changes
    assert str(zone) == "time zone: Asia/Tokyo -> UTC"
    assert str(retries) == (
        "retries: endless attempts, after 1 s, x 1.5, at most 10 s, never for BadPayload"
        " -> 4 attempts, after 300 s, x 2, at most 3600 s"
    )


def test_null_in_a_payload_is_the_same_as_left_out() -> None:
    payload = CONTENTS.payload
    assert isinstance(payload, dict)
    existing = replace(AS_WANTED, contents=replace(CONTENTS, payload={**payload, "executionGrantId": None}))
    assert plan_one(WANTED, DEFAULT, existing).action is Action.IN_SYNC


# All of them.

PARTS = st.fixed_dictionaries(
    {},
    optional={
        "calendars": st.just(calendars_of("0 7 * * *")),
        "timezone": st.just("Europe/Berlin"),
        "payload": st.sampled_from([None, [], {}, {"input": {"scopeId": str(ELSEWHERE)}}, {"input": []}]),
        "task_queue": st.just("other"),
        "retry": st.none(),
        "catchup_seconds": st.just(60.0),
    },
)
FOUND = st.builds(
    lambda parts, paused, note, memo: FoundSchedule(DEFAULT, replace(CONTENTS, **parts), paused, note, memo),
    PARTS,
    st.booleans(),
    st.sampled_from(["", PAUSE_NOTE, "mine"]),
    st.sampled_from([None, MEMO, OTHER_NODE, OurMemo(str(NODE_ID), "old")]),
)


def applied(step: ScheduleStep, existing: FoundSchedule | None) -> FoundSchedule | None:
    """What a server holds after the step."""
    if step.action is Action.PAUSED:
        assert existing is not None
        return replace(existing, paused=True, note=PAUSE_NOTE)
    if step.action not in WRITES:
        return existing
    state = existing if existing is not None and step.action is Action.UPDATED else AS_WANTED
    return replace(state, contents=CONTENTS, memo=MEMO)


@given(st.booleans(), st.none() | FOUND, st.booleans())
def test_a_plan_applied_leaves_nothing_to_write_and_undoes_no_operator(
    wanted: bool, existing: FoundSchedule | None, resume: bool
) -> None:
    want = WANTED if wanted else UNWANTED
    step = plan_one(want, DEFAULT, existing, resume=resume)
    after = applied(step, existing)
    assert plan_one(want, DEFAULT, after, resume=resume).action not in WRITES
    if existing is not None and existing.memo == OTHER_NODE:
        assert step.action in (Action.CONFLICT, Action.LEFT_ALONE)
    if existing is not None and existing.paused and existing.note != PAUSE_NOTE and not resume:
        assert after is not None
        assert (after.paused, after.note) == (True, existing.note)


def test_a_plan_has_one_step_for_each_wanted_then_for_each_found() -> None:
    spec = repo_spec(scheduled(), scheduled(website()))
    ids = [f"{DEFAULT}:b", f"{DEFAULT}:a", WEBSITE]
    steps = plan(desired(spec), {schedule_id: replace(AS_WANTED, schedule_id=schedule_id) for schedule_id in ids})
    assert [step.schedule_id for step in steps] == [DEFAULT, WEBSITE, f"{DEFAULT}:a", f"{DEFAULT}:b"]
    assert [step.action for step in steps] == [Action.CREATED, Action.UPDATED, Action.PAUSED, Action.PAUSED]
