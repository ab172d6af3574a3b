"""Of what a page holds, the ledger is given what it can hold: one look over an item's JSON says the same as all."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from ledger_pipeline.core.storable_text import is_storable
from ledger_pipeline.core.windows import EpochCalendar
from ledger_pipeline.pipeline.unread import usable
from ledger_pipeline.sources.port import ScanPage
from ledger_pipeline_tests.builders import REPO, instant, pull_request

NOW = instant("2026-02-18T12:00")
PAGE = ScanPage(REPO, (), NOW, NOW + timedelta(seconds=1), None)


@given(st.text(st.characters() | st.sampled_from("\0\ud800\udfffu0d\\")))
@example("\U0001f600 \\u0000 \\ud800 \ud7ff")
@example("\\\0")
def test_an_event_is_usable_where_the_ledger_can_hold_its_text(title: str) -> None:
    page = replace(PAGE, events=(replace(pull_request(), metadata={"title": title}),))
    assert len(usable(page, EpochCalendar(7)).events) == is_storable(title)
