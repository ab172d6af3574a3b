"""Charts in a materialization's metadata: pictures of the window, where people would rather look than read numbers."""

from base64 import b64encode
from collections.abc import Mapping, Sequence

import dagster as dg

from ledger_pipeline.charts import events_per_day_png, units_per_contributor_png
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.contributions import contributions
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import Epoch

# Of a run over more windows only the latest are drawn: nobody looks at 1,300 pictures, and each is stored.
WINDOWS_DRAWN = 13


def windows_to_draw(windows: Sequence[EpochWindow]) -> frozenset[EpochWindow]:
    """Which windows of a run get charts: the latest WINDOWS_DRAWN."""
    return frozenset(sorted(windows)[-WINDOWS_DRAWN:])


def chart_metadata(
    store: PostgresLedger, scope: Scope, window: EpochWindow, epoch: Epoch | None
) -> Mapping[str, dg.MetadataValue]:
    """Events per day and stream, and units per contributor by the weights that are pinned in `epoch`."""
    weights = scope.weights_milli if epoch is None else epoch.weights_milli
    people = contributions(store.events.per_person(scope.scope_id, window), weights)
    days = store.events.per_day(scope.scope_id, window)
    return {
        "events_per_day": picture("Events per day and stream", events_per_day_png(days, window, scope.stream_kinds)),
        "units_per_contributor": picture("Units per contributor", units_per_contributor_png(people, window)),
    }


def picture(title: str, png: bytes) -> dg.MetadataValue:
    """A PNG as metadata that the UI shows."""
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{b64encode(png).decode()})")
