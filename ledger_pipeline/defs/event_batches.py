"""Events of a run that Dagster's storage is to keep together, in one transaction."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

# Dagster has no public way to yield events of a step as one batch: its own materializations of a range are batched so.
from dagster._core.events import DagsterEventBatchMetadata, generate_event_batch_id

_T = TypeVar("_T")


def in_one_batch(items: Sequence[_T]) -> Iterator[tuple[_T, DagsterEventBatchMetadata]]:
    """Each of `items` with what its event has to say of the batch; the last one says that the batch is whole."""
    batch_id = generate_event_batch_id()  # type: ignore[no-untyped-call]  # Dagster's
    for number, item in enumerate(items, 1):
        yield item, DagsterEventBatchMetadata(batch_id, is_end=number == len(items))
