"""What a materialization says of a stream is what whoever reads it back is told."""

from dataclasses import asdict, replace

import pytest

from ledger_pipeline.dagster_contract import StreamCounts
from ledger_pipeline.store.records import REJECTED, AppendOutcome

COUNTS = StreamCounts(seen=21, new=1, duplicate=2, renamed=3, skipped=4, late=5, replaced=6, conflict=7)


def test_counts_read_back_are_those_that_were_written() -> None:
    metadata = {**COUNTS.metadata(), "cursors": "a table", "new events": 99}
    assert StreamCounts.of_metadata(metadata) == COUNTS


def test_what_a_materialization_does_not_say_counts_nothing() -> None:
    assert StreamCounts.of_metadata({"asked": False, "not_collected": "no stream of this scope"}) == StreamCounts()
    earlier = {label: count for label, count in asdict(COUNTS).items() if label not in ("renamed", "replaced")}
    assert StreamCounts.of_metadata(earlier) == replace(COUNTS, renamed=0, replaced=0)


@pytest.mark.parametrize("outcome", sorted(AppendOutcome))
def test_rejected_is_what_the_ledger_keeps_aside_whatever_the_reason(outcome: AppendOutcome) -> None:
    counts = StreamCounts.of_metadata({outcome.value: 1})
    assert counts.rejected == (outcome in REJECTED)
