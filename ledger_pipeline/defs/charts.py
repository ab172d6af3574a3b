"""Charts in a materialization's metadata: pictures of the window, where people would rather look than read numbers."""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256

import dagster as dg

from ledger_pipeline.charts import events_per_day_png, units_per_contributor_png
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.contributions import contributions
from ledger_pipeline.store.port import Epoch, LedgerStore

# Of a run over more windows only the latest are drawn: nobody looks at 1,300 pictures, and each is stored. Nobody tells
# us that a partition's page is opened, and it shows what is stored, so a picture is drawn where it is a new one.
WINDOWS_DRAWN = 13


def windows_to_draw(windows: Sequence[EpochWindow]) -> frozenset[EpochWindow]:
    """Which windows of a run get charts: the latest WINDOWS_DRAWN."""
    return frozenset(sorted(windows)[-WINDOWS_DRAWN:])


def chart_metadata(
    store: LedgerStore, scope: Scope, window: EpochWindow, epoch: Epoch | None, shown: Mapping[str, dg.MetadataValue]
) -> Mapping[str, dg.MetadataValue]:
    """Events per day and stream, and units per contributor by the weights that are pinned in `epoch`.

    A picture of `shown`, the partition's metadata until now, is taken over where it is of the same numbers: drawing
    takes longer than all else that a collection of a covered epoch does.
    """
    weights = scope.weights_milli if epoch is None else epoch.weights_milli
    people = contributions(store.events_per_person(scope.scope_id, window), weights)
    days = store.events_per_day(scope.scope_id, window)
    pictures: Mapping[str, tuple[str, object, Callable[[], bytes]]] = {
        "events_per_day": ("Events per day and stream", days, lambda: events_per_day_png(days, window)),
        "units_per_contributor": ("Units per contributor", people, lambda: units_per_contributor_png(people, window)),
    }
    return {
        name: _taken_over(shown.get(name), numbers) or picture(title, draw(), _of(numbers))
        for name, (title, numbers, draw) in pictures.items()
    }


def picture(title: str, png: bytes, fragment: str = "") -> dg.MetadataValue:
    """A PNG as metadata that the UI shows; no browser takes a fragment for a part of the picture."""
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{b64encode(png).decode()}{fragment})")


def _taken_over(shown: dg.MetadataValue | None, numbers: object) -> dg.MetadataValue | None:
    """The picture that is shown, where it is of these numbers."""
    is_same = isinstance(shown, dg.MarkdownMetadataValue) and (shown.md_str or "").endswith(f"{_of(numbers)})")
    return shown if is_same else None


def _of(numbers: object) -> str:
    """The fragment of a picture's address that says what it is of."""
    return f"#{sha256(repr(numbers).encode()).hexdigest()[:16]}"
