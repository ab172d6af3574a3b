"""The jobs: what a person, a schedule or the bridge asks Dagster to run."""

import dagster as dg

from ledger_pipeline.defs.ingestion import GROUP

collect_epoch = dg.define_asset_job(
    "collect_epoch",
    selection=dg.AssetSelection.groups(GROUP),
    description="Collects the selected epochs of a scope: one scan for all of them, then the ledger's digest.",
)
