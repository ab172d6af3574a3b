"""What a command has changed of an epoch, told to Dagster at once: else its pages lag until the next sensor."""

from ledger_pipeline.cli.ledger_access import LedgerAccess
from ledger_pipeline.cli.output import note
from ledger_pipeline.core.errors import DagsterError, DagsterUnavailable
from ledger_pipeline.dagster_contract import format_partition_key


def tell_dagster(access: LedgerAccess, epoch_name: str, command: str) -> None:
    """Have Dagster show the epoch as the ledger has it now.

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
    try:
        dagster = dagster_client(access.settings)
        dagster.check(access.spec)
        for asset, metadata in numbers.items():
            dagster.report(asset, key, {**metadata, "trigger": f"ledger-pipeline {command}"})
    except DagsterUnavailable as error:
        if "dagster_url" in access.settings.model_fields_set:
            note(f"Dagster shows this after its next run: {error}")
    except DagsterError as error:
        note(f"Dagster shows this after its next run: {error}")
