"""How many of something reads right for one, for none and for many, and is spelt in one place."""

import re
from pathlib import Path

import pytest

import ledger_pipeline
from ledger_pipeline.core.counts import counted, named

SOURCE = Path(ledger_pipeline.__file__).parent
# A number in a text, and after it a word that is wrong for one of them. Messages of the sources are of limits.
SPELT_BY_HAND = re.compile(
    r"\{(?:len\([^{}]*\)|[\w.]+)\} (?:(?:new|more|API|curated|earlier) )*"
    r"(?:accounts|bindings|contributors|differences|epochs|events|items|partitions|requests|schedules|users)\b"
)
READ_BY_PEOPLE = ("cli", "defs", "doctor", "local")


@pytest.mark.parametrize(("number", "text"), [(0, "0 epochs"), (1, "1 epoch"), (2, "2 epochs"), (1300, "1,300 epochs")])
def test_one_is_one(number: int, text: str) -> None:
    assert counted(number, "epoch") == text


def test_a_noun_may_have_a_plural_of_its_own() -> None:
    assert [counted(number, "repository", "repositories") for number in (1, 2)] == ["1 repository", "2 repositories"]


def test_names_follow_their_noun() -> None:
    assert named("epoch", ["2026-02-16"]) == "epoch 2026-02-16"
    assert named("epoch", ["2026-02-16", "2026-02-23"]) == "epochs 2026-02-16, 2026-02-23"


def test_nobody_writes_a_count_by_hand_where_people_read() -> None:
    files = [SOURCE / "charts.py", *(file for name in READ_BY_PEOPLE for file in (SOURCE / name).rglob("*.py"))]
    by_hand = [
        f"{file.relative_to(SOURCE)}: {match.group()}"
        for file in files
        for match in SPELT_BY_HAND.finditer(file.read_text("utf-8"))
    ]
    assert by_hand == []
    assert SPELT_BY_HAND.search('f"{len(rows)} epochs"')
    assert SPELT_BY_HAND.search('f"{run.api_requests} API requests, "')
