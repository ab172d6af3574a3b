"""The jobs: what a person, a schedule or the bridge asks Dagster to run."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

COLLECT_EPOCH = "collect_epoch"


def collect_epoch(partitions: dg.PartitionsDefinition) -> UnresolvedAssetJobDefinition:
    """Collect the selected epochs of one scope and say what the ledger holds of them."""
    return dg.define_asset_job(
        COLLECT_EPOCH,
        selection=dg.AssetSelection.groups("ingestion"),
        partitions_def=partitions,
        description="Collects the selected epochs of a scope: one scan for all of them, then the ledger's digest.",
    )
