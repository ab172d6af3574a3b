"""What a refused epoch says: the epoch in the way, and the way out."""

from itertools import permutations

import pytest

from ledger_pipeline.core.windows import EpochCalendar, EpochWindow
from ledger_pipeline.store.overlap import epoch_overlap
from ledger_pipeline_tests.builders import instant, weeks, window

FORTNIGHTS = [window("2026-02-02", days=14), window("2026-02-16", days=14)]


def said(refused: EpochWindow, stored: list[EpochWindow]) -> str:
    """The advice alone."""
    message = str(epoch_overlap(refused, stored, "epoch 1", stored[0]))
    assert "\n" not in message
    return message.partition("covers part of it")[2]


@pytest.mark.parametrize(
    ("refused", "stored", "advice"),
    [
        # 14 -> 7: where one ends, the other can begin.
        (
            window("2026-02-23"),
            FORTNIGHTS,
            ". Put epoch_length_days back to 14; or for epochs of 7 days set activity_ledger.first_epoch to 2026-03-02",
        ),
        # 14 -> 21: no number of old epochs fills the days between; both begin on a later day.
        (
            window("2026-02-16", days=21),
            FORTNIGHTS,
            ". Put epoch_length_days back to 14; or for epochs of 21 days set activity_ledger.first_epoch to "
            "2026-03-09, which leaves 2026-03-02 to 2026-03-09 in no epoch, or to 2026-03-30 once epochs of 14 days "
            "are collected up to there, which leaves none",
        ),
        # The length was changed already, and first_epoch is lost.
        (
            window("2026-02-16", days=14),
            [*weeks(2), window("2026-03-02", days=14)],
            ". For epochs of 14 days set activity_ledger.first_epoch to 2026-03-02",
        ),
        # Windows of no calendar: nothing in the repo-spec makes them.
        (EpochWindow(instant("2026-02-17"), instant("2026-02-24")), weeks(2), ""),
    ],
)
def test_the_way_out_is_the_old_length_or_the_first_day_that_the_new_one_can_begin(
    refused: EpochWindow, stored: list[EpochWindow], advice: str
) -> None:
    assert said(refused, stored) == advice


@pytest.mark.parametrize(("old", "new"), list(permutations([1, 7, 14, 28, 77, 84], 2)))
def test_no_window_from_the_advised_day_on_cuts_a_stored_epoch(old: int, new: int) -> None:
    stored = [EpochCalendar(old).window_at(instant("2026-02-18"))]
    refused = EpochCalendar(new).window_at(instant("2026-02-18"))
    day = said(refused, stored).partition("first_epoch to ")[2][:10]
    assert window(day, days=new).start >= stored[0].end
    assert window(day, days=new).start - stored[0].end < EpochCalendar(new).length
