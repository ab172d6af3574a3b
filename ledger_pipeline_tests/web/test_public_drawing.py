"""Bars and lines of charts: in proportion, inside of the picture, and exact for amounts of any size."""

from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.web.public.drawing import HEIGHT, WIDTH, Amounts, chart

AMOUNTS = st.lists(
    st.builds(Amounts, st.just("2026-01-05"), st.integers(0, 2**63), st.integers(0, 2**63)), max_size=120
)


@given(AMOUNTS)
def test_bars_stand_beside_each_other_inside_of_the_picture(amounts: list[Amounts]) -> None:
    drawn = chart(amounts, running_total=True)
    assert len(drawn.bars) == len(amounts)
    right = 0.0
    for bar in drawn.bars:
        assert right - 0.02 <= float(bar.x)
        right = float(bar.x) + float(bar.width)
        assert 0 <= float(bar.reserved_y) <= float(bar.paid_y) + 0.02 <= HEIGHT + 0.02
        assert float(bar.paid_y) + float(bar.paid_height) <= HEIGHT + 0.02
    assert right <= WIDTH + 0.02
    heights = [float(point.split(",")[1]) for point in drawn.line.split()]
    assert heights == sorted(heights, reverse=True)
    assert len(heights) == len(amounts)


def test_a_bar_is_as_high_as_its_part_of_the_largest_and_says_so_in_words() -> None:
    drawn = chart([Amounts("2026-01-05", 100), Amounts("2026-01-12", 300, 100), Amounts("2026-01-19", 0)])
    assert [(bar.paid_height, bar.reserved_height) for bar in drawn.bars] == [("35", "0"), ("105", "35"), ("0", "0")]
    assert drawn.bars[1].title == "2026-01-12: 400 credits, 100 of them reserved"
    assert (drawn.largest, list(drawn.days), drawn.line) == (400, ["2026-01-05", "2026-01-12", "2026-01-19"], "")


def test_without_epochs_nothing_is_drawn() -> None:
    drawn = chart([], running_total=True)
    assert (drawn.bars, drawn.days, drawn.largest, drawn.line) == ([], [], 0, "")
