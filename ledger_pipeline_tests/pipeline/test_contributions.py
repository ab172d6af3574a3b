"""Each person's units are their counted events times the weights; nobody's event is lost or counted twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.pipeline.contributions import contributions, drift_text, units_text, weights_text
from ledger_pipeline.store.records import PersonCount
from ledger_pipeline_tests.builders import instant

WEIGHTS = {"github:pr_merged": 1000, "github:review_submitted": 500}


def count(user: str, kind: str = "pr_merged", events: int = 1, *, login: str = "", day: int = 16) -> PersonCount:
    return PersonCount("github", user, login or user, kind, events, instant(f"2026-02-{day}"))


def test_units_are_events_times_weights_summed_by_person_most_first() -> None:
    people = contributions([count("1", events=2), count("1", "review_submitted", 3), count("2", events=4)], WEIGHTS)
    assert [(person.user_id, person.events, person.units_milli) for person in people] == [
        ("2", 4, 4000),
        ("1", 5, 3500),
    ]


def test_what_has_no_weight_is_worth_nothing_and_still_an_event() -> None:
    [person] = contributions([count("1", "issue_closed", 7)], WEIGHTS)
    assert (person.events, person.units_milli) == (7, 0)


def test_a_person_goes_by_the_login_they_used_last() -> None:
    counts = [count("1", login="new", day=18), count("1", "review_submitted", login="old", day=17)]
    assert [contribution.login for contribution in contributions(counts, WEIGHTS)] == ["new"]


def test_equal_units_are_in_the_order_of_user_ids() -> None:
    assert [contribution.user_id for contribution in contributions([count("b"), count("10"), count("9")], WEIGHTS)] == [
        "10",
        "9",
        "b",
    ]


@given(st.lists(st.builds(count, st.sampled_from("abc"), st.sampled_from(["pr_merged", "x"]), st.integers(0, 10**18))))
def test_no_event_and_no_unit_is_lost_or_made_up(counts: list[PersonCount]) -> None:
    people = contributions(counts, WEIGHTS)
    assert sum(person.events for person in people) == sum(count.events for count in counts)
    assert sum(person.units_milli for person in people) == sum(
        count.events * 1000 for count in counts if count.event_type == "pr_merged"
    )


@pytest.mark.parametrize(
    ("units_milli", "text"),
    [(0, "0"), (1000, "1"), (2500, "2.5"), (1, "0.001"), (1234567, "1,234.567"), (-300, "-0.3")],
)
def test_units_are_written_exactly(units_milli: int, text: str) -> None:
    assert units_text(units_milli) == text


def test_weights_and_what_changed_of_them_read_in_units() -> None:
    assert weights_text(WEIGHTS) == {"github:pr_merged": "1", "github:review_submitted": "0.5"}
    wanted = {"github:pr_merged": 9000, "github:issue_closed": 300}
    assert drift_text(WEIGHTS, wanted) == {
        "github:pr_merged": "1 -> 9",
        "github:review_submitted": "0.5 -> none",
        "github:issue_closed": "none -> 0.3",
    }
