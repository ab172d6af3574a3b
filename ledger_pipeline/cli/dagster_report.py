"""What a command has changed of an epoch, told to Dagster at once: else its pages lag until the next sensor."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ledger_pipeline.cli.ledger_access import LedgerAccess
from ledger_pipeline.cli.output import note
from ledger_pipeline.core.errors import DagsterError, DagsterUnavailable
from ledger_pipeline.dagster_contract import ACTIVITY_EVENTS_ASSET, format_partition_key

if TYPE_CHECKING:
    from ledger_pipeline.store.records import Epoch


def tell_dagster(access: LedgerAccess, epoch_name: str, command: str, *, status_moved: bool = False) -> None:
    """Have Dagster show the epoch as the ledger has it now; its activity too where its status moved.

    The checks of that activity are evaluated by the run that the sensor `closed_epochs` then asks for: of results
    without a run Dagster's storage takes one for each check and partition, and refuses the second.

    The change is made whatever becomes of it. Where nobody answers at an address that nobody gave, no Dagster runs, and
    nothing is said.
    """
    # Here, for most commands tell nothing, and it takes a second to load.
    from ledger_pipeline.cli.epoch_review import review_of
    from ledger_pipeline.pipeline.epoch_state import epoch_numbers
    from ledger_pipeline.temporal_bridge.collection.dagster_client import dagster_client

    epoch = access.epoch(epoch_name)
    numbers = epoch_numbers(review_of(access, epoch), access.ledger.curation.summary(epoch))
    key = format_partition_key(epoch.window.key, access.scope.scope_key)
    trigger = f"ledger-pipeline {command}"
    try:
        dagster = dagster_client(access.settings)
        dagster.check(access.spec)
        if status_moved and (activity := _activity_metadata(access, epoch)) is not None:
            dagster.report(ACTIVITY_EVENTS_ASSET, key, {**activity, "trigger": trigger})
        for asset, metadata in numbers.items():
            dagster.report(asset, key, {**metadata, "trigger": trigger})
    except DagsterUnavailable as error:
        if "dagster_url" in access.settings.model_fields_set:
            note(f"Dagster shows this after its next run: {error}")
    except DagsterError as error:
        note(f"Dagster shows this after its next run: {error}")


def _activity_metadata(access: LedgerAccess, epoch: "Epoch") -> dict[str, Any] | None:
    """What the epoch's square says, instants as text; None where that epoch is not read, so that none turns green."""
    from ledger_pipeline.pipeline.completeness import window_completeness
    from ledger_pipeline.pipeline.epoch_state import activity_numbers

    read = window_completeness(access.ledger, access.scope, [epoch.window])[epoch.window]
    if read.until is None:
        return None
    [digest] = access.ledger.events.digests(access.scope.scope_id, [epoch.window])
    numbers = activity_numbers(digest, epoch, access.scope, read, datetime.now(UTC))
    return {label: value.isoformat() if isinstance(value, datetime) else value for label, value in numbers.items()}
